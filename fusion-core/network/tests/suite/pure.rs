//! Results are functions of the arguments: the same every time, side by side, and whatever was computed before.

use fusion_network::{Network, Norm, StepOptions};
use fusion_sdk::batch::{Batch, Targets};
use serde_json::json;

use crate::devices::{architecture, devices, numbers, zoo};

/// On one thread a repeated step gives the same bits, alone and beside another network.
#[test]
fn steps_repeat_exactly_also_side_by_side() {
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (architecture, batch) in zoo() {
        let step = || {
            pool().install(|| {
                let mut network = Network::new(&architecture, &devices()[0].1).unwrap();
                let flat = network.flatten(&architecture.initial(1)).unwrap();
                let mut gradient = vec![0.0; network.len()];
                let options = StepOptions { dropout_seed: 3, ..StepOptions::default() };
                let step = network.gradient(&flat.weights, &batch, &options, &mut gradient).unwrap();
                let again = &mut gradient.clone();
                network.outputs(&flat.weights, &flat.statistics, &batch, Norm::Running).unwrap();
                assert_eq!(step, network.gradient(&flat.weights, &batch, &options, again).unwrap());
                assert_eq!(&gradient, again, "{architecture}");
                (step, gradient)
            })
        };
        let alone = step();
        let (a, b) = std::thread::scope(|scope| {
            let (a, b) = (scope.spawn(step), scope.spawn(step));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert!(a == alone && b == alone, "{architecture}");
    }
}

/// Devices agree on outputs and features to f32 rounding over a few layers: 1e-4 of the largest.
#[test]
fn devices_agree() {
    for (architecture, batch) in zoo() {
        let mut first: Option<Vec<f32>> = None;
        for (name, device) in devices() {
            let mut network = Network::new(&architecture, &device).unwrap();
            let flat = network.flatten(&architecture.initial(1)).unwrap();
            let mut all = network.outputs(&flat.weights, &flat.statistics, &batch, Norm::Running).unwrap();
            all.extend(network.outputs(&flat.weights, &flat.statistics, &batch, Norm::Batch).unwrap());
            all.extend(network.batch_statistics(&flat.weights, &batch).unwrap());
            for feature in network.features(&flat.weights, &flat.statistics, &batch).unwrap() {
                assert_eq!(feature.values.len() % feature.width, 0);
                all.extend(feature.values);
            }
            let reference = first.get_or_insert_with(|| all.clone());
            let largest = reference.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            assert!(all.len() == reference.len() && largest.is_finite() && largest > 0.0);
            for (a, b) in all.iter().zip(reference.iter()) {
                assert!((a - b).abs() <= 1e-4 * largest, "{architecture} on {name}: {a} and {b}");
            }
        }
    }
}

#[test]
fn dropout_depends_on_the_seed_and_keeps_the_mean() {
    let mlp = architecture(
        "mlp",
        json!({"inputs": 4, "hidden": [4000], "outputs": 1, "activation": "identity", "dropout": 0.25}),
    );
    let mut network = Network::new(&mlp, &devices()[0].1).unwrap();
    let flat = network.flatten(&mlp.initial(1)).unwrap();
    let mut gradient = vec![0.0; network.len()];
    let batch = numbers(1, 8, &[4], 1);
    let mut of = |dropout_seed: u64| {
        let options = StepOptions { dropout_seed, ..StepOptions::default() };
        let targets = Targets::Numbers { width: 1, rows: vec![0.5; 8] };
        let batch = Batch { targets, ..batch.clone() };
        network.gradient(&flat.weights, &batch, &options, &mut gradient).unwrap();
        // The bias of a dropped unit has no gradient.
        let bias = network.segments()[1].clone();
        let kept = gradient[bias.range()].iter().filter(|slope| **slope != 0.0).count();
        (kept, gradient.clone())
    };
    let (one, two) = (of(1), of(2));
    assert!(one.1 == of(1).1 && one.1 != two.1);
    // With 8 examples a unit is dropped in all of them with 0.25⁸ = 1.5e-5.
    assert!(one.0 >= 3990, "{}", one.0);
}

/// With zero weights every class has probability 1/3: the loss is ln 3, ties go to class 0, and the last bias' gradient is 1/3 − share
/// of the class. NaN makes the loss NaN and nothing right.
#[test]
fn known_losses() {
    let mlp = architecture("mlp", json!({"inputs": 2, "hidden": [4], "outputs": 3}));
    let mut batch = numbers(1, 4, &[2], 3);
    batch.targets = Targets::Classes(vec![0, 0, 1, 2]);
    for (name, device) in devices() {
        let mut network = Network::new(&mlp, &device).unwrap();
        let mut weights = vec![0.0; network.len()];
        let mut gradient = weights.clone();
        let options = StepOptions::default();
        let step = network.gradient(&weights, &batch, &options, &mut gradient).unwrap();
        assert!((step.loss - 3_f64.ln()).abs() < 1e-12, "{name}: {}", step.loss);
        assert_eq!((step.correct, step.predictions), (2, 4));
        let bias = &gradient[gradient.len() - 3..];
        let shares = [0.5_f32, 0.25, 0.25];
        for (slope, share) in bias.iter().zip(shares) {
            assert!((slope - (1.0 / 3.0 - share)).abs() < 1e-6, "{name}: {bias:?}");
        }
        let soft = Targets::Soft { classes: 3, rows: [[0.5, 0.25, 0.25]; 4].concat() };
        let soft = Batch { targets: soft, ..batch.clone() };
        let step = network.gradient(&weights, &soft, &options, &mut gradient).unwrap();
        assert!((step.loss - 3_f64.ln()).abs() < 1e-12 && step.correct == 4, "{name}: {step:?}");
        let numbers = Targets::Numbers { width: 3, rows: [[1.0, -2.0, 0.5]; 4].concat() };
        let numbers = Batch { targets: numbers, ..batch.clone() };
        let step = network.gradient(&weights, &numbers, &options, &mut gradient).unwrap();
        assert!((step.loss - 5.25 / 3.0).abs() < 1e-12 && step.correct == 0, "{name}: {step:?}");

        weights.fill(f32::NAN);
        let step = network.gradient(&weights, &batch, &options, &mut gradient).unwrap();
        assert!(step.loss.is_nan() && step.correct == 0, "{name}: {step:?}");
    }
}

/// A frozen tensor has a gradient of zeros; those of all others, the loss and the statistics stay what they were, to the bit.
#[test]
fn frozen_tensors_have_no_gradient() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (architecture, batch) in zoo() {
        let mut network = Network::new(&architecture, &devices()[0].1).unwrap();
        let flat = network.flatten(&architecture.initial(1)).unwrap();
        let options = StepOptions { dropout_seed: 3, ..StepOptions::default() };
        let step = |network: &mut Network| {
            let mut gradient = vec![f32::NAN; network.len()];
            let found = pool.install(|| network.gradient(&flat.weights, &batch, &options, &mut gradient));
            (found.unwrap(), gradient)
        };
        let (all, whole) = step(&mut network);
        let segments = network.segments().to_vec();
        let half = segments.len() / 2;
        // The front half, the back half, every other one.
        let cuts: [Box<dyn Fn(usize) -> bool>; 3] =
            [Box::new(move |at| at < half), Box::new(move |at| at >= half), Box::new(|at| at % 2 == 0)];
        for cut in cuts {
            let index = |name: &str| segments.iter().position(|segment| segment.name == name).unwrap();
            network.freeze(|name| cut(index(name)));
            let (found, gradient) = step(&mut network);
            assert_eq!(found, all, "{architecture}");
            for (at, segment) in segments.iter().enumerate() {
                let (own, whole) = (&gradient[segment.range()], &whole[segment.range()]);
                match cut(at) {
                    true => assert!(own.iter().all(|value| *value == 0.0), "{architecture} {}", segment.name),
                    false => assert_eq!(own, whole, "{architecture} {}", segment.name),
                }
            }
        }
        network.freeze(|_| false);
        assert_eq!(step(&mut network), (all, whole));
    }
}
