//! Gradients against finite differences of the loss.

use fusion_network::{Architecture, Flat, Network, NetworkError, StepOptions};
use fusion_sdk::batch::{Batch, Targets};
use fusion_sdk::rng::Key;
use serde_json::json;

use crate::devices::{architecture, devices, normal, numbers, tokens};

/// Weights a little away from their start, so that biases and shifts are not zero.
fn weights(network: &Network, architecture: &Architecture) -> Flat {
    let mut flat = network.flatten(&architecture.initial(3)).unwrap();
    let key = Key::new(5, "shake", 0);
    for (index, weight) in flat.weights.iter_mut().enumerate() {
        *weight += 0.05 * key.normal(index as u64);
    }
    flat
}

/// Compares the gradient with (L(w + h·d) − L(w − h·d))/2h along random directions d of length 1 within each tensor.
///
/// The loss is f64, but outputs are f32: an error of some 1e-6 in the loss is 1e-6/h here, curvature adds some h², and a kink that a
/// unit crosses in between (ReLU, max pooling) some h. So three steps are tried and one has to agree to 2e-6/h plus 2 % of the
/// gradient's length in the tensor. A wrong gradient is off by its own size for all of them.
pub(crate) fn check(architecture: &Architecture, batch: &Batch, options: &StepOptions) {
    const STEPS: [f32; 3] = [3e-3, 1e-3, 3e-4];
    for (name, device) in devices() {
        let mut network = Network::new(architecture, &device).unwrap();
        let flat = weights(&network, architecture);
        let mut gradient = vec![f32::NAN; network.len()];
        let mut unused = gradient.clone();
        network.gradient(&flat.weights, batch, options, &mut gradient).unwrap();
        for (index, segment) in network.segments().to_vec().into_iter().enumerate() {
            let key = Key::new(11, &segment.name, index as u64);
            let mut direction: Vec<f32> = (0..segment.len as u64).map(|at| key.normal(at)).collect();
            let length = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
            direction.iter_mut().for_each(|d| *d /= length);
            let mut loss_at = |h: f32| {
                let mut moved = flat.weights.clone();
                for (weight, d) in moved[segment.range()].iter_mut().zip(&direction) {
                    *weight += h * d;
                }
                network.gradient(&moved, batch, options, &mut unused).unwrap().loss
            };
            let slopes = &gradient[segment.range()];
            let slope: f64 = slopes.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            let size = slopes.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
            let mut differences = Vec::new();
            let agrees = STEPS.into_iter().any(|h| {
                let difference = (loss_at(h) - loss_at(-h)) / (2.0 * f64::from(h));
                differences.push(difference);
                (slope - difference).abs() <= 2e-6 / f64::from(h) + 0.02 * size
            });
            assert!(
                agrees,
                "{architecture} on {name}, {}: gradient {slope}, differences {differences:?}, length {size}",
                segment.name
            );
        }
    }
}

#[test]
fn mlp() {
    for norm in ["none", "batch", "layer"] {
        for activation in ["gelu", "tanh", "sigmoid", "identity"] {
            let arguments =
                json!({"inputs": 5, "hidden": [7, 6], "outputs": 3, "norm": norm, "activation": activation});
            let mlp = architecture("mlp", arguments);
            check(&mlp, &numbers(1, 8, &[5], 3), &StepOptions::default());
        }
    }
}

/// Kinks make differences wrong where a unit crosses zero; with few units and a fixed batch none does.
#[test]
fn mlp_with_kinks_dropout_and_smoothing() {
    for activation in ["relu", "leaky_relu"] {
        let arguments =
            json!({"inputs": 4, "hidden": [6], "outputs": 3, "activation": activation, "dropout": 0.3});
        let options = StepOptions { label_smoothing: 0.1, dropout_seed: 9 };
        check(&architecture("mlp", arguments), &numbers(2, 4, &[4], 3), &options);
    }
}

#[test]
fn cnn() {
    for norm in ["none", "batch", "layer"] {
        let arguments = json!({"input": [2, 6, 5], "channels": [3, 4], "outputs": 3, "kernel": 3, "hidden": [5],
            "norm": norm, "activation": "tanh"});
        check(&architecture("cnn", arguments), &numbers(1, 4, &[2, 6, 5], 3), &StepOptions::default());
    }
    let arguments =
        json!({"input": [1, 9, 9], "channels": [3], "outputs": 3, "padding": 0, "pool": 1, "hidden": []});
    check(&architecture("cnn", arguments), &numbers(1, 4, &[1, 9, 9], 3), &StepOptions::default());
}

#[test]
fn vgg() {
    for norm in ["none", "batch"] {
        let arguments = json!({"depth": 11, "classes": 3, "width": 0.03, "norm": norm, "input": [1, 8, 8]});
        check(&architecture("vgg", arguments), &numbers(1, 12, &[1, 8, 8], 3), &StepOptions::default());
    }
}

#[test]
fn resnet() {
    for (norm, shortcut) in [("batch", "projection"), ("layer", "zero_padded")] {
        let arguments = json!({"depth": 8, "classes": 3, "width": 0.1, "norm": norm, "shortcut": shortcut,
            "input": [2, 8, 8]});
        check(&architecture("resnet", arguments), &numbers(1, 6, &[2, 8, 8], 3), &StepOptions::default());
    }
}

#[test]
fn transformer() {
    let base = json!({"vocabulary": 7, "context": 5, "layers": 2, "dim": 8, "heads": 4, "hidden": 12});
    let changes = [
        json!({}),
        json!({"kv_heads": 2, "positions": "rope", "activation": "swiglu", "norm": "rms", "tied": false, "bias": false}),
        json!({"kv_heads": 1, "positions": "rope", "dropout": 0.2}),
    ];
    for change in changes {
        let mut arguments = base.as_object().unwrap().clone();
        arguments.extend(change.as_object().unwrap().clone());
        check(&architecture("transformer", arguments.into()), &tokens(1, 3, 5, 7), &StepOptions::default());
    }
}

#[test]
fn vit() {
    let arguments = json!({"input": [2, 4, 6], "patch": 2, "classes": 3, "layers": 2, "dim": 8, "heads": 2, "hidden": 12});
    check(&architecture("vit", arguments), &numbers(1, 4, &[2, 4, 6], 3), &StepOptions::default());
}

#[test]
fn lstm() {
    let language =
        json!({"vocabulary": 7, "context": 5, "hidden": 6, "layers": 2, "embedding": 4, "dropout": 0.2});
    check(&architecture("lstm", language), &tokens(1, 3, 4, 7), &StepOptions::default());
    let images = json!({"input": [2, 5, 3], "hidden": 6, "outputs": 3});
    check(&architecture("lstm", images), &numbers(1, 4, &[2, 5, 3], 3), &StepOptions::default());
}

#[test]
fn other_targets() {
    let mlp = architecture(
        "mlp",
        json!({"inputs": 4, "hidden": [6], "outputs": 3, "activation": "tanh", "bias": false}),
    );
    let mut batch = numbers(3, 5, &[4], 3);
    batch.targets = Targets::Numbers { width: 3, rows: normal(4, 15) };
    check(&mlp, &batch, &StepOptions::default());
    let soft = [0.5, 0.25, 0.25, 0.0, 1.0, 0.0, 0.1, 0.2, 0.7, 0.3, 0.3, 0.4, 1.0, 0.0, 0.0];
    batch.targets = Targets::Soft { classes: 3, rows: soft.to_vec() };
    check(&mlp, &batch, &StepOptions { label_smoothing: 0.2, ..StepOptions::default() });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mlp = architecture("mlp", json!({"inputs": 4, "hidden": [6], "outputs": 3, "norm": "batch"}));
    let mut network = Network::new(&mlp, &devices()[0].1).unwrap();
    let flat = weights(&network, &mlp);
    let mut gradient = vec![0.0; network.len()];
    let good = numbers(3, 5, &[4], 3);
    let options = StepOptions::default();
    let mut step = |weights: &[f32], batch: &Batch, options: &StepOptions, gradient: &mut [f32]| {
        network.gradient(weights, batch, options, gradient).unwrap_err()
    };
    let error = step(&flat.weights[1..], &good, &options, &mut gradient);
    assert!(matches!(error, NetworkError::Length { part: "weights", .. }), "{error}");
    let error = step(&flat.weights, &good, &options, &mut gradient[1..]);
    assert!(matches!(error, NetworkError::Length { part: "gradient", .. }), "{error}");
    let error = step(&flat.weights, &numbers(3, 5, &[5], 3), &options, &mut gradient);
    assert_eq!(error.to_string(), "inputs: an example has shape [5], the network wants [4]");
    let error = step(&flat.weights, &numbers(3, 1, &[4], 3), &options, &mut gradient);
    assert_eq!(error, NetworkError::BatchTooSmall);
    let error = step(&flat.weights, &numbers(3, 0, &[4], 3), &options, &mut gradient);
    assert_eq!(error.to_string(), "inputs: the batch is empty");
    let error = step(
        &flat.weights,
        &Batch { targets: Targets::Classes(vec![0, 1, 2, 3, 0]), ..good.clone() },
        &options,
        &mut gradient,
    );
    assert_eq!(error.to_string(), "targets: class 3 is not below the network's 3 outputs");
    let error = step(
        &flat.weights,
        &Batch { targets: Targets::Classes(vec![0]), ..good.clone() },
        &options,
        &mut gradient,
    );
    assert_eq!(error.to_string(), "targets: there are 1 for 5 predictions");
    for label_smoothing in [f32::NAN, -0.1, 1.0] {
        let error = step(&flat.weights, &good, &StepOptions { label_smoothing, ..options }, &mut gradient);
        assert!(matches!(error, NetworkError::Option { option: "label_smoothing", .. }), "{error}");
    }
}
