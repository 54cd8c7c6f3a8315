//! States: names and layout as PyTorch has them, and back without loss.

use fusion_network::{Data, Network, Norm, Role, State, StateError};
use fusion_sdk::batch::{Batch, Targets, Values};
use serde_json::json;

use crate::devices::{architecture, devices};

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> (String, Vec<usize>, Data) {
    (name.to_owned(), shape.to_vec(), Data::F32(values.to_vec()))
}

/// By hand: linear [out, in] = [[1, 2, 3], [4, 5, 6]] + (10, 20) of (1, 0, −1) is (8, 18). BatchNorm with running mean (7, 16),
/// running variance 4 − 1e-5 (so that √(σ² + ε) = 2), scale (1, 2), shift (0.5, 0): (1/2 + 0.5, 2) = (1, 2). Then (3, −1)·(1, 2) + 5 = 6.
/// All sums are of small integers and halves, only 1/2 is rounded: tolerance 1e-5.
#[test]
fn layout_is_that_of_pytorch() {
    let mlp = architecture(
        "mlp",
        json!({"inputs": 3, "hidden": [2], "outputs": 1, "norm": "batch", "activation": "identity"}),
    );
    let variance = 4.0 - 1e-5;
    let state = State::new(
        &mlp,
        [
            tensor("norms.0.running_var", &[2], &[variance, variance]),
            tensor("norms.0.running_mean", &[2], &[7.0, 16.0]),
            ("norms.0.num_batches_tracked".to_owned(), vec![], Data::I64(vec![12])),
            tensor("layers.0.weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            tensor("layers.0.bias", &[2], &[10.0, 20.0]),
            tensor("norms.0.weight", &[2], &[1.0, 2.0]),
            tensor("norms.0.bias", &[2], &[0.5, 0.0]),
            tensor("layers.1.weight", &[1, 2], &[3.0, -1.0]),
            tensor("layers.1.bias", &[1], &[5.0]),
        ],
    )
    .unwrap();
    assert_eq!(state.batches_tracked(), 12);
    let batch = Batch {
        inputs: Values::Floats(vec![1.0, 0.0, -1.0]),
        shape: vec![1, 3],
        targets: Targets::Classes(Vec::new()),
    };
    for (name, device) in devices() {
        let mut network = Network::new(&mlp, &device).unwrap();
        let flat = network.flatten(&state).unwrap();
        // [in, out] in the flat vector.
        assert_eq!(flat.weights[..6], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(flat.statistics, [7.0, 16.0, variance, variance]);
        let outputs = network.outputs(&flat.weights, &flat.statistics, &batch, Norm::Running).unwrap();
        assert!((outputs[0] - 6.0).abs() < 1e-5, "{name}: {outputs:?}");
        assert_eq!(network.unflatten(&flat, 12).unwrap(), state);
    }
}

#[test]
fn initial_values_depend_on_the_seed_and_names_alone() {
    let mlp = |hidden: usize| {
        architecture("mlp", json!({"inputs": 3, "hidden": [hidden, 4], "outputs": 5, "norm": "batch"}))
    };
    let (a, b, other) = (mlp(9).initial(1), mlp(9).initial(1), mlp(9).initial(2));
    assert_eq!(a, b);
    for (one, two) in a.tensors().iter().zip(other.tensors()) {
        let drawn = one.spec.role == Role::Parameter && one.spec.name.starts_with("layers");
        assert_eq!(one.data != two.data, drawn, "{}", one.spec.name);
    }
    // Another width elsewhere changes nothing here.
    assert_eq!(a.get("layers.2.weight"), mlp(8).initial(1).get("layers.2.weight"));
}

#[test]
fn states_that_do_not_fit_are_errors() {
    let mlp = architecture("mlp", json!({"inputs": 2, "hidden": [], "outputs": 1}));
    let new = |tensors: Vec<(String, Vec<usize>, Data)>| State::new(&mlp, tensors).unwrap_err();
    let weight = tensor("layers.0.weight", &[1, 2], &[1.0, 2.0]);
    let bias = tensor("layers.0.bias", &[1], &[1.0]);
    assert_eq!(new(vec![weight.clone()]), StateError::Missing { name: "layers.0.bias".into() });
    assert_eq!(
        new(vec![weight.clone(), weight.clone()]),
        StateError::Twice { name: "layers.0.weight".into() }
    );
    let error = new(vec![tensor("layers.0.weight", &[2, 1], &[1.0, 2.0]), bias.clone()]);
    assert_eq!(error.to_string(), "tensor `layers.0.weight` has shape [2, 1], the network wants [1, 2]");
    let error = new(vec![weight.clone(), bias.clone(), tensor("extra", &[1], &[1.0])]);
    assert_eq!(error, StateError::Unexpected { name: "extra".into() });
    let error = new(vec![weight, ("layers.0.bias".into(), vec![1], Data::F32(vec![]))]);
    assert_eq!(error.to_string(), "tensor `layers.0.bias` holds 0 of f32, the network wants 1 of f32");
}
