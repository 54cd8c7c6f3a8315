//! Every architecture against PyTorch 2.15: a state saved here loads there under its names (`strict=True`) and gives the same outputs,
//! loss, gradients and running statistics. PyTorch's numbers are a fixture; `tests/fixtures/pytorch.py` says how it was made.

use fusion_network::{Architecture, Data, Flat, Network, Norm, Role, State, StepOptions};
use fusion_sdk::batch::{Targets, Values};
use fusion_sdk::rng::Key;
use serde_json::{Value as Json, json};

use crate::devices::{devices, zoo};

const SMOOTHING: f32 = 0.125;

/// Values that depend on names alone, so that neither order nor initialisation can change the fixture.
fn state(architecture: &Architecture) -> State {
    let tensors = architecture.tensors().into_iter().map(|spec| {
        let key = Key::new(3, &spec.name, 0);
        let draw = |index: u64| match spec.name.ends_with("running_var") {
            true => 0.5 + key.uniform(index),
            false => 0.25 * key.normal(index) + 0.125,
        };
        let data = match spec.role {
            Role::Counter => Data::I64(vec![5]),
            _ => Data::F32((0..spec.elements() as u64).map(draw).collect()),
        };
        (spec.name, spec.shape, data)
    });
    State::new(architecture, tensors.collect::<Vec<_>>()).unwrap()
}

/// Sum, length, and the sum weighted by the place, which a transpose or another order changes.
fn digest(values: &[f32]) -> [f64; 3] {
    let sums = values.iter().enumerate().fold([0.0; 3], |[sum, squares, weighted], (index, &value)| {
        let value = f64::from(value);
        [sum + value, squares + value * value, weighted + value * (index + 1) as f64 / values.len() as f64]
    });
    [sums[0], sums[1].sqrt(), sums[2]]
}

/// Outputs are good to 2e-5 of the largest. Gradients: f32 sums of up to some thousand products through up to twenty layers lose
/// three to four digits: 1e-4 of the longest gradient of the network. Other devices than flex have burn's general derivative of
/// GELU, which is that of the tanh form, up to 4e-4 beside the exact one: 1e-3 there.
#[test]
fn agrees_with_pytorch() {
    let fixture: Vec<Json> = serde_json::from_str(include_str!("../fixtures/pytorch.json")).unwrap();
    let zoo = zoo();
    assert_eq!(zoo.len(), fixture.len());
    for ((architecture, batch), wanted) in zoo.into_iter().zip(fixture) {
        assert_eq!(serde_json::to_value(&architecture).unwrap(), wanted["architecture"]);
        for (name, device) in devices() {
            let mut network = Network::new(&architecture, &device).unwrap();
            let flat = network.flatten(&state(&architecture)).unwrap();
            let outputs = network.outputs(&flat.weights, &flat.statistics, &batch, Norm::Running).unwrap();
            let theirs: Vec<f64> = serde_json::from_value(wanted["outputs"].clone()).unwrap();
            let largest = theirs.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            for (ours, theirs) in outputs.iter().zip(&theirs) {
                let difference = (f64::from(*ours) - theirs).abs();
                assert!(difference <= 2e-5 * largest, "{architecture} on {name}: {ours}, PyTorch {theirs}");
            }
            let mut gradient = vec![0.0; network.len()];
            let options = StepOptions { label_smoothing: SMOOTHING, ..StepOptions::default() };
            let step = network.gradient(&flat.weights, &batch, &options, &mut gradient).unwrap();
            let loss = wanted["loss"].as_f64().unwrap();
            assert!(
                (step.loss - loss).abs() <= 2e-6 * loss.max(1.0),
                "{architecture} on {name}: {}, PyTorch {loss}",
                step.loss
            );
            let found =
                network.unflatten(&Flat { weights: gradient, statistics: step.batch_statistics }, 0).unwrap();
            let tolerance = if name == "flex" { 1e-4 } else { 1e-3 };
            let theirs =
                |name: &str| -> [f64; 3] { serde_json::from_value(wanted["digests"][name].clone()).unwrap() };
            let longest = found
                .tensors()
                .iter()
                .filter(|tensor| tensor.spec.role == Role::Parameter)
                .fold(0.0_f64, |longest, tensor| longest.max(theirs(&tensor.spec.name)[1]));
            for tensor in found.tensors() {
                let Data::F32(values) = &tensor.data else { continue };
                let (ours, theirs) = (digest(values), theirs(&tensor.spec.name));
                let size = if tensor.spec.role == Role::Parameter { longest } else { theirs[1] };
                for (a, b) in ours.into_iter().zip(theirs) {
                    let tensor = &tensor.spec.name;
                    assert!(
                        (a - b).abs() <= tolerance * size,
                        "{architecture} on {name}, {tensor}: {ours:?}, PyTorch {theirs:?}"
                    );
                }
            }
        }
    }
}

/// The first half of making the fixture.
#[test]
#[ignore = "writes what tests/fixtures/pytorch.py reads"]
fn export() {
    let network = |(architecture, batch): (Architecture, fusion_sdk::batch::Batch)| {
        let tensor = |tensor: &fusion_network::StateTensor| {
            let (dtype, values) = match &tensor.data {
                Data::F32(values) => ("float32", json!(values)),
                Data::I64(values) => ("int64", json!(values)),
            };
            json!({"name": tensor.spec.name, "shape": tensor.spec.shape, "dtype": dtype, "values": values})
        };
        let inputs = match &batch.inputs {
            Values::Floats(values) => json!(values),
            Values::Tokens(tokens) => json!(tokens),
        };
        let Targets::Classes(classes) = &batch.targets else { panic!("classes") };
        let state: Vec<Json> = state(&architecture).tensors().iter().map(tensor).collect();
        json!({"architecture": architecture, "state": state, "inputs": inputs, "shape": batch.shape, "classes": classes,
            "smoothing": SMOOTHING})
    };
    let all: Vec<Json> = zoo().into_iter().map(network).collect();
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/networks.json");
    std::fs::write(path, serde_json::to_string(&all).unwrap()).unwrap();
}
