//! Our fused steps against burn's optimisers, which compute the same formulas one operation after the other.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, LionConfig, Optimizer as BurnOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use fusion_sdk::optim::{Optimizer, Rule};
use fusion_sdk::rng::Key;

const LEN: usize = 103;
const STEPS: u64 = 25;

fn numbers(stream: u64) -> Vec<f32> {
    let key = Key::new(3, "optimizers", stream);
    (0..LEN as u64).map(|index| key.normal(index)).collect()
}

/// The same gradients to both; rounding differs by the order of operations, so weights of about 1 differ by some 2⁻²³ a step.
fn compare(name: &str, rule: Rule, burn: &impl BurnOptimizer) {
    let device = Device::flex();
    let tensor = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [LEN]), &device);
    let mut ours = numbers(0);
    let (mut theirs, mut state) = (tensor(ours.clone()), None);
    let mut optimizer = Optimizer::new(rule, LEN);
    for step in 0..STEPS {
        let rate = 0.02 / (1.0 + step as f64);
        let gradient = numbers(1 + step);
        optimizer.step(rate, &mut ours, &gradient);
        (theirs, state) = burn.step(rate, theirs, tensor(gradient), state);
    }
    let theirs: Vec<f32> = theirs.into_data().try_to_vec().unwrap();
    let moved = numbers(0).iter().zip(&ours).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(moved > 1e-3, "{name} stands still");
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() < 5e-6, "{name}: {a} and burn's {b}");
    }
}

#[test]
fn sgd_is_burns() {
    let decay = || Some(WeightDecayConfig::new(0.01));
    let sgd = |momentum, nesterov, weight_decay| Rule::Sgd { momentum, nesterov, weight_decay };
    compare("plain", sgd(0.0, false, 0.01), &SgdConfig::new().with_weight_decay(decay()).build());
    for nesterov in [false, true] {
        // burn dampens by default, PyTorch does not.
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(nesterov);
        let burn = SgdConfig::new().with_weight_decay(decay()).with_momentum(Some(momentum)).build();
        compare("momentum", sgd(0.9, nesterov, 0.01), &burn);
    }
}

#[test]
fn adam_is_burns() {
    let rule = |weight_decay, decoupled| Rule::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay,
        decoupled,
    };
    let adam = AdamConfig::new().with_epsilon(1e-8);
    compare("adam", rule(0.0, false), &adam.clone().build());
    let decayed = adam.with_weight_decay(Some(WeightDecayConfig::new(0.1)));
    compare("adam with decay", rule(0.1, false), &decayed.build());
    let adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1);
    compare("adamw", rule(0.1, true), &adamw.build());
}

#[test]
fn lion_is_burns() {
    let rule = Rule::Lion { beta1: 0.9, beta2: 0.99, weight_decay: 0.1 };
    compare("lion", rule, &LionConfig::new().with_weight_decay(0.1).build());
}
