//! Against the sums that define a convolution and its gradients, in f64.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, TensorData};
use fusion_sdk::rng::Key;

use super::patches::Sizes;
use super::{convolve, flex};

fn draws(len: usize, stream: u64) -> Vec<f32> {
    let key = Key::new(1, "convolution", stream);
    (0..len as u64).map(|index| key.normal(index)).collect()
}

/// input [examples, channels, height, width], filters, kernel, stride, padding
type Case = ([usize; 4], usize, [usize; 2], [usize; 2], [usize; 2]);

/// The families' own (3x3 with padding 1, strides of 2, 1x1, patches), and odd ones: kernels that are wider than high, wider than the image
/// without its padding, more padding than kernel, stride beyond the kernel, and enough rows for several matrices.
const CASES: [Case; 11] = [
    ([2, 3, 8, 8], 4, [3, 3], [1, 1], [1, 1]),
    ([3, 4, 7, 9], 5, [3, 3], [2, 2], [1, 1]),
    ([2, 4, 6, 6], 3, [1, 1], [2, 2], [0, 0]),
    ([2, 3, 8, 8], 2, [4, 4], [4, 4], [0, 0]),
    ([1, 1, 5, 6], 2, [5, 5], [1, 1], [2, 2]),
    ([2, 2, 5, 4], 3, [2, 3], [1, 2], [0, 2]),
    ([2, 1, 2, 2], 2, [5, 5], [1, 1], [2, 2]),
    ([1, 2, 4, 4], 2, [1, 3], [3, 1], [2, 1]),
    ([1, 2, 3, 3], 2, [2, 2], [3, 3], [0, 0]),
    ([40, 16, 16, 16], 4, [3, 3], [1, 1], [1, 1]),
    ([2, 40, 30, 30], 3, [3, 3], [1, 1], [1, 1]),
];

/// Output and the gradients of Σ y·slope by input, kernels and bias.
struct Results {
    y: Vec<f64>,
    by_x: Vec<f64>,
    by_weight: Vec<f64>,
    by_bias: Vec<f64>,
}

fn reference(case: &Case, x: &[f32], weight: &[f32], bias: &[f32], slope: &[f32]) -> Results {
    let ([examples, channels, height, width], filters, [kh, kw], [sy, sx], [py, px]) = *case;
    let (oh, ow) = ((height + 2 * py - kh) / sy + 1, (width + 2 * px - kw) / sx + 1);
    let mut found = Results {
        y: vec![0.0; examples * filters * oh * ow],
        by_x: vec![0.0; x.len()],
        by_weight: vec![0.0; weight.len()],
        by_bias: vec![0.0; filters],
    };
    for (output, own) in slope.iter().map(|own| f64::from(*own)).enumerate() {
        let (column, row) = (output % ow, output / ow % oh);
        let (filter, example) = (output / ow / oh % filters, output / ow / oh / filters);
        found.y[output] += f64::from(bias[filter]);
        found.by_bias[filter] += own;
        for element in 0..channels * kh * kw {
            let (j, i, channel) = (element % kw, element / kw % kh, element / kw / kh);
            let (Some(v), Some(u)) = ((row * sy + i).checked_sub(py), (column * sx + j).checked_sub(px))
            else {
                continue;
            };
            if v < height && u < width {
                let pixel = ((example * channels + channel) * height + v) * width + u;
                let place = filter * channels * kh * kw + element;
                found.y[output] += f64::from(x[pixel]) * f64::from(weight[place]);
                found.by_x[pixel] += own * f64::from(weight[place]);
                found.by_weight[place] += own * f64::from(x[pixel]);
            }
        }
    }
    found
}

fn conv(case: &Case, biased: bool, device: &Device) -> Conv2d {
    let ([_, channels, ..], filters, kernel, stride, [py, px]) = *case;
    Conv2dConfig::new([channels, filters], kernel)
        .with_stride(stride)
        .with_padding(PaddingConfig2d::Explicit(py, px, py, px))
        .with_bias(biased)
        .init(device)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// f32 sums of up to 10 240 products of normal draws; the bound is a share of the largest number.
fn close(found: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
    for (index, (&found, &wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((f64::from(found) - wanted).abs() < 1e-5 * largest, "{what}[{index}]: {found}, not {wanted}");
    }
}

#[test]
fn outputs_and_gradients_are_those_of_the_definition() {
    let device = Device::flex().autodiff();
    for case in CASES {
        for biased in [false, true] {
            let weight_shape = [case.1, case.0[1], case.2[0], case.2[1]];
            let x = draws(case.0.iter().product(), 1);
            let weight = draws(weight_shape.iter().product(), 2);
            let bias = if biased { draws(case.1, 3) } else { vec![0.0; case.1] };
            let on = |device: &Device| {
                let mut conv = conv(&case, biased, device);
                conv.weight = conv.weight.map(|_| {
                    let values =
                        Tensor::<4>::from_data(TensorData::new(weight.clone(), weight_shape), device);
                    if device.is_autodiff() { values.require_grad() } else { values }
                });
                conv.bias = conv.bias.map(|own| {
                    own.map(|_| {
                        let values = Tensor::<1>::from_data(TensorData::new(bias.clone(), [case.1]), device);
                        if device.is_autodiff() { values.require_grad() } else { values }
                    })
                });
                conv
            };
            let conv = on(&device);
            let input = Tensor::<4>::from_data(TensorData::new(x.clone(), case.0), &device).require_grad();
            let y = flex::convolve(&conv, &input).expect("it is ours");
            let slope = draws(y.shape().num_elements(), 4);
            let wanted = reference(&case, &x, &weight, &bias, &slope);
            close(&read(y.clone()), &wanted.y, "y");
            let slope = Tensor::<4>::from_data(TensorData::new(slope, y.shape()), &device);
            let gradients = (y * slope).sum().backward();
            close(&read(input.grad(&gradients).unwrap()), &wanted.by_x, "by x");
            close(&read(conv.weight.val().grad(&gradients).unwrap()), &wanted.by_weight, "by weight");
            if let Some(bias) = &conv.bias {
                close(&read(bias.val().grad(&gradients).unwrap()), &wanted.by_bias, "by bias");
            }
            // Without gradients: the same bits.
            let plain = Device::flex();
            let own = Tensor::<4>::from_data(TensorData::new(x, case.0), &plain);
            let bits = |y: Tensor<4>| read(y).iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            let wanted = bits(flex::convolve(&conv, &input).unwrap());
            assert_eq!(bits(flex::convolve(&on(&plain), &own).unwrap()), wanted);
        }
    }
}

#[test]
fn what_is_not_ours_is_left_to_burn() {
    let device = Device::flex();
    let x = Tensor::<4>::zeros([1, 4, 6, 6], &device);
    let config = Conv2dConfig::new([4, 4], [3, 3]);
    for other in [
        config.clone().with_groups(2),
        config.clone().with_dilation([2, 2]),
        config.clone().with_padding(PaddingConfig2d::Explicit(1, 0, 0, 0)),
        config.with_padding(PaddingConfig2d::Same),
    ] {
        let conv = other.init(&device);
        assert!(flex::convolve(&conv, &x).is_none());
        assert_eq!(convolve(&conv, x.clone()).dims(), conv.forward(x.clone()).dims());
    }
    assert!(Sizes::new([1, 1, 2, 2], 1, [3, 3], [1, 1], [0, 0]).is_none());
    assert!(Sizes::new([0, 1, 4, 4], 1, [3, 3], [1, 1], [0, 0]).is_none());
}
