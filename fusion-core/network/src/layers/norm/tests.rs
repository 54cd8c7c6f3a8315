use burn::tensor::{Device, Tensor, TensorData};
use fusion_sdk::rng::Key;

use super::{EPSILON, flex};

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// The definition, in f64: outputs, means, biased variances.
fn reference(
    x: &[f64],
    gamma: &[f64],
    beta: &[f64],
    [examples, channels, area]: [usize; 3],
) -> [Vec<f64>; 3] {
    let mut found = [vec![0.0; x.len()], vec![0.0; channels], vec![0.0; channels]];
    for channel in 0..channels {
        let places = || {
            (0..examples)
                .flat_map(move |example| (0..area).map(move |at| (example * channels + channel) * area + at))
        };
        let count = (examples * area) as f64;
        let mean = places().map(|place| x[place]).sum::<f64>() / count;
        let variance = places().map(|place| (x[place] - mean).powi(2)).sum::<f64>() / count;
        for place in places() {
            found[0][place] =
                (x[place] - mean) / (variance + EPSILON).sqrt() * gamma[channel] + beta[channel];
        }
        (found[1][channel], found[2][channel]) = (mean, variance);
    }
    found
}

/// Outputs and statistics against the definition; gradients of Σ y·slope against central differences of it in f64, whose error of about 1e-9 is
/// below that of f32.
#[test]
fn it_is_the_definition_with_its_gradients() {
    for (dims, shift) in [([3, 2, 4, 5], 0.0), ([1, 3, 4, 4], 2.0), ([2, 1, 16, 1], 1000.0)] {
        let shape = [dims[0], dims[1], dims[2] * dims[3]];
        let draws = |stream: u64, len: usize| -> Vec<f32> {
            (0..len as u64).map(|index| Key::new(1, "norm", stream).normal(index)).collect()
        };
        let len: usize = dims.iter().product();
        let x: Vec<f32> = draws(1, len).iter().map(|value| value + shift).collect();
        let (gamma, beta, slope) = (draws(2, dims[1]), draws(3, dims[1]), draws(4, len));
        let device = Device::flex().autodiff();
        let input = Tensor::<4>::from_data(TensorData::new(x.clone(), dims), &device).require_grad();
        let vector = |values: &Vec<f32>| {
            Tensor::<1>::from_data(TensorData::new(values.clone(), [dims[1]]), &device).require_grad()
        };
        let (weight, bias) = (vector(&gamma), vector(&beta));
        let (y, mean, variance) =
            flex::batch_norm(&input, weight.clone(), bias.clone(), EPSILON).expect("it is ours");
        let exact = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let mut arguments = [exact(&x), exact(&gamma), exact(&beta)];
        let wanted = reference(&arguments[0], &arguments[1], &arguments[2], shape);
        // Inputs are rounded to f32 about `shift`, and the mean too.
        let bound = 1e-5 + 1e-6 * f64::from(shift);
        for (found, wanted) in
            [read(y.clone()), read(mean.inner()), read(variance.inner())].iter().zip(&wanted)
        {
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(
                    (f64::from(*found) - wanted).abs() < bound * (1.0 + wanted.abs()),
                    "{found}, not {wanted}"
                );
            }
        }
        let slopes = Tensor::<4>::from_data(TensorData::new(slope.clone(), dims), &device);
        let gradients = (y * slopes).sum().backward();
        let found = [
            read(input.grad(&gradients).unwrap()),
            read(weight.grad(&gradients).unwrap()),
            read(bias.grad(&gradients).unwrap()),
        ];
        for which in 0..3 {
            for place in 0..arguments[which].len() {
                let mut at = |change: f64| {
                    arguments[which][place] += change;
                    let y = &reference(&arguments[0], &arguments[1], &arguments[2], shape)[0];
                    let sum = y.iter().zip(&slope).map(|(y, slope)| y * f64::from(*slope)).sum::<f64>();
                    arguments[which][place] -= change;
                    sum
                };
                let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
                let found = f64::from(found[which][place]);
                assert!(
                    (found - wanted).abs() < 10.0 * bound * (1.0 + wanted.abs()),
                    "{which} {place}: {found}, not {wanted}"
                );
            }
        }
    }
}

#[test]
fn small_planes_are_left_to_burn() {
    let device = Device::flex();
    let x = Tensor::<2>::zeros([4, 3], &device);
    let ones = || Tensor::<1>::ones([3], &device);
    assert!(flex::batch_norm(&x, ones(), ones(), EPSILON).is_none());
}
