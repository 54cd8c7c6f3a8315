//! States: names and layout as PyTorch has them, and back without loss.

use fusion_network::{Data, Network, Norm, Role, State, StateError};
use fusion_sdk::batch::{Batch, Targets, Values};
use serde_json::json;

use crate::devices::{architecture, devices, zoo};

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

/// Every bit comes back, of NaN and negative zero too.
#[test]
fn states_go_to_flat_vectors_and_back_without_loss() {
    for (architecture, _) in zoo() {
        let network = Network::new(&architecture, &devices()[0].1).unwrap();
        let mut tensors = architecture.initial(7).into_tensors();
        for tensor in &mut tensors {
            if let Data::F32(values) = &mut tensor.data {
                values[0] = f32::from_bits(0x7fc1_2345);
                if let Some(second) = values.get_mut(1) {
                    *second = -0.0;
                }
            }
        }
        let given = tensors.into_iter().map(|tensor| (tensor.spec.name, tensor.spec.shape, tensor.data));
        let state = State::new(&architecture, given).unwrap();
        let flat = network.flatten(&state).unwrap();
        assert_eq!((flat.weights.len(), flat.statistics.len()), (network.len(), network.statistics_len()));
        let back = network.unflatten(&flat, 0).unwrap();
        for (one, two) in state.tensors().iter().zip(back.tensors()) {
            assert_eq!(one.spec, two.spec);
            let bits = |data: &Data| match data {
                Data::F32(values) => values.iter().map(|value| u64::from(value.to_bits())).collect(),
                Data::I64(values) => values.iter().map(|&value| value as u64).collect::<Vec<_>>(),
            };
            assert_eq!(bits(&one.data), bits(&two.data), "{architecture}: {}", one.spec.name);
        }
    }
}

/// Segments cover the vector without gaps, names are those of the file, a layer's tensors share its number.
#[test]
fn segments_cover_the_vector() {
    for (architecture, _) in zoo() {
        let network = Network::new(&architecture, &devices()[0].1).unwrap();
        let mut next = 0;
        for segment in network.segments() {
            assert_eq!(segment.start, next, "{architecture}: {}", segment.name);
            next += segment.len;
        }
        assert_eq!(next, network.len());
        let names: Vec<String> = network.segments().iter().map(|segment| segment.name.clone()).collect();
        let specs = architecture.tensors();
        let parameters =
            specs.iter().filter(|spec| spec.role == Role::Parameter).map(|spec| spec.name.clone());
        assert_eq!(names, parameters.collect::<Vec<_>>());
    }
}

#[test]
fn names_are_those_that_pytorch_users_write() {
    let names = |index: usize| -> Vec<(String, Vec<usize>)> {
        zoo()[index].0.tensors().into_iter().map(|spec| (spec.name, spec.shape)).collect()
    };
    let has = |index: usize, name: &str, shape: &[usize]| {
        let all = names(index);
        assert!(all.contains(&(name.to_owned(), shape.to_vec())), "{name} {shape:?} in {all:?}");
    };
    has(1, "layers.0.weight", &[7, 5]);
    has(1, "norms.1.num_batches_tracked", &[]);
    has(3, "convs.1.weight", &[4, 3, 3, 3]);
    has(3, "norms.0.running_mean", &[3]);
    // torchvision: conv 0, norm 1, relu 2, pool 3, conv 4.
    has(4, "features.0.bias", &[3]);
    has(4, "features.1.running_var", &[3]);
    has(4, "features.4.weight", &[6, 3, 3, 3]);
    has(4, "classifier.weight", &[3, 26]);
    has(5, "bn1.weight", &[3]);
    has(5, "layer2.0.downsample.0.weight", &[6, 3, 1, 1]);
    has(5, "layer2.0.downsample.1.running_mean", &[6]);
    has(5, "layer3.0.bn2.num_batches_tracked", &[]);
    has(5, "fc.weight", &[3, 13]);
    has(7, "embed_positions.weight", &[5, 8]);
    has(7, "layers.1.self_attn.q_proj.bias", &[8]);
    has(8, "layers.0.self_attn.k_proj.weight", &[4, 8]);
    has(8, "layers.0.mlp.gate_proj.weight", &[24, 8]);
    has(8, "lm_head.weight", &[7, 8]);
    has(9, "patch_embed.proj.weight", &[8, 2, 2, 2]);
    has(9, "pos_embed", &[1, 7, 8]);
    has(10, "lstm.weight_ih_l1", &[24, 6]);
    has(10, "lstm.bias_hh_l0", &[24]);
    has(11, "lstm.weight_ih_l0", &[24, 6]);
    let shared = |index: usize, a: &str, b: &str| {
        let network = Network::new(&zoo()[index].0, &devices()[0].1).unwrap();
        let layer =
            |name: &str| network.segments().iter().find(|segment| segment.name == name).unwrap().layer;
        assert_eq!(layer(a), layer(b));
    };
    shared(1, "layers.1.weight", "norms.1.bias");
    shared(4, "features.4.weight", "features.5.bias");
    shared(5, "layer1.0.conv2.weight", "layer1.0.bn2.weight");
    shared(7, "layers.0.input_layernorm.weight", "layers.0.self_attn.o_proj.bias");
    shared(10, "lstm.weight_ih_l1", "lstm.bias_hh_l1");
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
