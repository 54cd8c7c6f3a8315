//! `mlp` and `cnn` with BatchNorm against an implementation of their own in f64: plain loops, gradients by differences of 1e-5.

use fusion_network::{Architecture, Network, Norm, State, StepOptions};
use fusion_sdk::batch::{Batch, Targets, Values};
use serde_json::json;

use crate::devices::{architecture, devices, numbers};

const EPSILON: f64 = 1e-5;

/// [examples][channels][positions]
type Maps = Vec<Vec<Vec<f64>>>;

/// Values of the tensors by name, in f64.
struct Weights(Vec<(String, Vec<f64>)>);

impl Weights {
    fn get(&self, name: &str) -> &[f64] {
        &self.0.iter().find(|(tensor, _)| tensor == name).unwrap_or_else(|| panic!("{name}")).1
    }
}

/// Mean and unbiased variance of each layer in order.
type Statistics = Vec<(Vec<f64>, Vec<f64>)>;

fn normalize(x: &mut Maps, weights: &Weights, name: &str, running: bool, found: &mut Statistics) {
    let channels = x[0].len();
    let count = (x.len() * x[0][0].len()) as f64;
    let (mut means, mut variances) = (Vec::new(), Vec::new());
    for channel in 0..channels {
        let values: Vec<f64> = x.iter().flat_map(|maps| maps[channel].iter().copied()).collect();
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        means.push(mean);
        variances.push(squares / (count - 1.0));
        let (mean, variance) = match running {
            true => (
                weights.get(&format!("{name}.running_mean"))[channel],
                weights.get(&format!("{name}.running_var"))[channel],
            ),
            false => (mean, squares / count),
        };
        let (scale, shift) =
            (weights.get(&format!("{name}.weight"))[channel], weights.get(&format!("{name}.bias"))[channel]);
        for maps in x.iter_mut() {
            for value in &mut maps[channel] {
                *value = (*value - mean) / (variance + EPSILON).sqrt() * scale + shift;
            }
        }
    }
    found.push((means, variances));
}

/// [out, in] on rows of one position.
fn linear(x: &Maps, weight: &[f64], bias: &[f64]) -> Maps {
    let row = |maps: &Vec<Vec<f64>>| {
        let inputs: Vec<f64> = maps.iter().flatten().copied().collect();
        let unit = |(row, bias): (&[f64], &f64)| {
            vec![row.iter().zip(&inputs).map(|(w, x)| w * x).sum::<f64>() + bias]
        };
        weight.chunks(inputs.len()).zip(bias).map(unit).collect()
    };
    x.iter().map(row).collect()
}

/// 3x3 with one row and column of zeros around, on images of height × width.
fn convolve(x: &Maps, weight: &[f64], bias: &[f64], height: usize, width: usize) -> Maps {
    let channels = x[0].len();
    let at = |map: &[f64], row: usize, column: usize| match (row.checked_sub(1), column.checked_sub(1)) {
        (Some(row), Some(column)) if row < height && column < width => map[row * width + column],
        _ => 0.0,
    };
    let map = |maps: &Vec<Vec<f64>>, out: usize| -> Vec<f64> {
        let pixel = |place: usize| {
            let (row, column) = (place / width, place % width);
            let mut sum = bias[out];
            for (channel, map) in maps.iter().enumerate() {
                for offset in 0..9 {
                    let w = weight[(out * channels + channel) * 9 + offset];
                    sum += w * at(map, row + offset / 3, column + offset % 3);
                }
            }
            sum
        };
        (0..height * width).map(pixel).collect()
    };
    x.iter().map(|maps| (0..bias.len()).map(|out| map(maps, out)).collect()).collect()
}

/// Largest of 2 × 2.
fn pool(x: &Maps, height: usize, width: usize) -> Maps {
    let map = |map: &Vec<f64>| {
        let pixel = |place: usize| {
            let (row, column) = (place / (width / 2) * 2, place % (width / 2) * 2);
            let at = |down: usize, right: usize| map[(row + down) * width + column + right];
            at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1))
        };
        (0..height / 2 * (width / 2)).map(pixel).collect()
    };
    x.iter().map(|maps| maps.iter().map(map).collect()).collect()
}

fn activate(x: &mut Maps) {
    x.iter_mut().flatten().flatten().for_each(|value| *value = value.tanh());
}

/// Outputs of `mlp(5, [6, 4], 3, norm: batch, activation: tanh)`.
fn mlp(weights: &Weights, x: &Maps, running: bool, found: &mut Statistics) -> Maps {
    let mut x = x.clone();
    for layer in 0..3 {
        let tensor = |field: &str| weights.get(&format!("layers.{layer}.{field}"));
        x = linear(&x, tensor("weight"), tensor("bias"));
        if layer < 2 {
            normalize(&mut x, weights, &format!("norms.{layer}"), running, found);
            activate(&mut x);
        }
    }
    x
}

/// Outputs of `cnn([2, 6, 5], [3], 3, kernel: 3, hidden: [4], norm: batch, activation: tanh)`.
fn cnn(weights: &Weights, x: &Maps, running: bool, found: &mut Statistics) -> Maps {
    let mut x = convolve(x, weights.get("convs.0.weight"), weights.get("convs.0.bias"), 6, 5);
    normalize(&mut x, weights, "norms.0", running, found);
    activate(&mut x);
    x = pool(&x, 6, 5);
    x = linear(&x, weights.get("layers.0.weight"), weights.get("layers.0.bias"));
    activate(&mut x);
    linear(&x, weights.get("layers.1.weight"), weights.get("layers.1.bias"))
}

fn cross_entropy(outputs: &Maps, classes: &[u32], smoothing: f64) -> f64 {
    let row = |(maps, &class): (&Vec<Vec<f64>>, &u32)| {
        let values: Vec<f64> = maps.iter().flatten().copied().collect();
        let log_sum = values.iter().map(|value| value.exp()).sum::<f64>().ln();
        let even = values.iter().map(|value| log_sum - value).sum::<f64>() / values.len() as f64;
        (1.0 - smoothing) * (log_sum - values[class as usize]) + smoothing * even
    };
    outputs.iter().zip(classes).map(row).sum::<f64>() / classes.len() as f64
}

type Forward = fn(&Weights, &Maps, bool, &mut Statistics) -> Maps;

/// f32 keeps 6e-8 of a number, sums of some ten to hundred products and two normalisations lose two digits more: 2e-5 of the largest.
fn close(name: &str, what: &str, found: &[f32], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{name}: {what}");
    let largest = wanted.iter().fold(1e-3_f64, |largest, value| largest.max(value.abs()));
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let difference = (f64::from(*found) - wanted).abs();
        assert!(difference <= 2e-5 * largest, "{name}, {what} {index}: {found}, reference {wanted}");
    }
}

fn compare(architecture: &Architecture, batch: &Batch, forward: Forward) {
    let (Values::Floats(inputs), Targets::Classes(classes)) = (&batch.inputs, &batch.targets) else {
        panic!("numbers and classes");
    };
    let channels = batch.shape[1];
    let positions: usize = batch.shape[2..].iter().product();
    let image = |values: &[f32]| -> Vec<Vec<f64>> {
        values.chunks(positions).map(|map| map.iter().map(|&value| f64::from(value)).collect()).collect()
    };
    let x: Maps = inputs.chunks(channels * positions).map(image).collect();
    for (name, device) in devices() {
        let mut network = Network::new(architecture, &device).unwrap();
        let mut flat = network.flatten(&architecture.initial(3)).unwrap();
        let shake = crate::devices::normal(8, flat.weights.len() + flat.statistics.len());
        for (value, shake) in flat.weights.iter_mut().chain(&mut flat.statistics).zip(&shake) {
            *value += 0.1 * shake;
        }
        let state = network.unflatten(&flat, 5).unwrap();
        let weights = |state: &State| {
            let tensors = state.tensors().iter().filter_map(|tensor| match &tensor.data {
                fusion_network::Data::F32(values) => {
                    Some((tensor.spec.name.clone(), values.iter().map(|&value| f64::from(value)).collect()))
                }
                fusion_network::Data::I64(_) => None,
            });
            Weights(tensors.collect())
        };
        let mut reference = weights(&state);
        let rows = |outputs: Maps| -> Vec<f64> { outputs.into_iter().flatten().flatten().collect() };
        for (norm, running) in [(Norm::Running, true), (Norm::Batch, false)] {
            let outputs = network.outputs(&flat.weights, &flat.statistics, batch, norm).unwrap();
            close(name, "output", &outputs, &rows(forward(&reference, &x, running, &mut Vec::new())));
        }
        let mut found = Vec::new();
        forward(&reference, &x, false, &mut found);
        let statistics: Vec<f64> =
            found.into_iter().flat_map(|(mean, variance)| [mean, variance].concat()).collect();
        close(name, "statistic", &network.batch_statistics(&flat.weights, batch).unwrap(), &statistics);

        let options = StepOptions { label_smoothing: 0.1, ..StepOptions::default() };
        let mut gradient = vec![0.0; network.len()];
        let step = network.gradient(&flat.weights, batch, &options, &mut gradient).unwrap();
        close(name, "statistic", &step.batch_statistics, &statistics);
        let smoothing = f64::from(0.1_f32);
        let wanted = cross_entropy(&forward(&reference, &x, false, &mut Vec::new()), classes, smoothing);
        assert!((step.loss - wanted).abs() < 1e-6, "{name}: loss {}, reference {wanted}", step.loss);
        let flat_gradient =
            fusion_network::Flat { weights: gradient, statistics: vec![0.0; network.statistics_len()] };
        let named = weights(&network.unflatten(&flat_gradient, 0).unwrap());
        for tensor in 0..reference.0.len() {
            let tensor_name = reference.0[tensor].0.clone();
            if tensor_name.contains("running") {
                continue;
            }
            let mut slopes = Vec::new();
            for index in 0..reference.0[tensor].1.len() {
                let mut at = |h: f64| {
                    reference.0[tensor].1[index] += h;
                    let loss =
                        cross_entropy(&forward(&reference, &x, false, &mut Vec::new()), classes, smoothing);
                    reference.0[tensor].1[index] -= h;
                    loss
                };
                slopes.push((at(1e-5) - at(-1e-5)) / 2e-5);
            }
            let found: Vec<f32> = named.get(&tensor_name).iter().map(|&value| value as f32).collect();
            // A bias in front of BatchNorm has no effect: its gradient is zero up to rounding, here against 1e-3.
            close(name, &tensor_name, &found, &slopes);
        }
    }
}

#[test]
fn mlp_with_batch_norm() {
    let arguments =
        json!({"inputs": 5, "hidden": [6, 4], "outputs": 3, "norm": "batch", "activation": "tanh"});
    compare(&architecture("mlp", arguments), &numbers(1, 9, &[5], 3), mlp);
}

#[test]
fn cnn_with_batch_norm() {
    let arguments = json!({"input": [2, 6, 5], "channels": [3], "outputs": 3, "kernel": 3, "hidden": [4],
        "norm": "batch", "activation": "tanh"});
    compare(&architecture("cnn", arguments), &numbers(2, 4, &[2, 6, 5], 3), cnn);
}
