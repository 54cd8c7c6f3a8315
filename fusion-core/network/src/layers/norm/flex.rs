//! BatchNorm of a batch on `flex`, with its gradients, as one operation of burn's autodiff. burn's is made of a dozen operations, each of which
//! reads and writes the whole tensor, some in another order of axes; this one reads it twice on each way. Sums are in f64.

use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData};
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::{Flex, FlexTensor};
use fusion_sdk::{simd, stats};

use crate::layers::flex::{Keeping, Tracked, tensor, values};

/// Numbers of a plane, at least: sums go plane by plane.
const LEAST: usize = 16;

/// What a layer gives: outputs, mean and biased variance by channel.
pub(super) type Normalized<const D: usize> = (Tensor<D>, Tensor<1>, Tensor<1>);

/// x̂·γ + β with x̂ = (x − μ)/√(σ² + ε) for [examples, channels, …]. `None` for other devices and types of numbers,
/// and for planes so small that burn is as good.
pub(super) fn batch_norm<const D: usize>(
    x: &Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Option<Normalized<D>> {
    let (device, dims) = (x.device(), x.dims());
    let shape = [dims[0], dims[1], dims[2..].iter().product()];
    if shape[0] == 0 || shape[1] == 0 || shape[2] < LEAST {
        return None;
    }
    let (y, moments) = if device.is_autodiff() {
        let x = x.clone().try_into_primitive::<Tracked>().ok()?;
        let weight = weight.try_into_primitive::<Tracked>().ok()?;
        let bias = bias.try_into_primitive::<Tracked>().ok()?;
        let (y, moments) = forward([x.primitive(), weight.primitive(), bias.primitive()], shape, epsilon)?;
        let (y, nodes) = (tensor(y, dims), [x.node(), weight.node(), bias.node()]);
        let y = match BatchNorm.prepare::<Keeping>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let inputs = (prepared.checkpoint(&x), prepared.checkpoint(&weight));
                prepared.finish((inputs.0, inputs.1, moments.clone(), dims.to_vec()), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        };
        (Tensor::from_primitive::<Tracked>(y), moments)
    } else {
        let x = x.clone().try_into_primitive::<Flex>().ok()?;
        let weight = weight.try_into_primitive::<Flex>().ok()?;
        let bias = bias.try_into_primitive::<Flex>().ok()?;
        let (y, moments) = forward([&x, &weight, &bias], shape, epsilon)?;
        (Tensor::from_primitive::<Flex>(tensor(y, dims)), moments)
    };
    let channel = |of: fn(&Channel) -> f64| {
        let all = moments.channels.iter().map(|channel| of(channel) as f32).collect::<Vec<f32>>();
        Tensor::<1>::from_data(TensorData::new(all, [shape[1]]), &device)
    };
    Some((y, channel(|channel| channel.mean), channel(|channel| channel.variance)))
}

/// Input, γ and β to outputs; `None` for numbers other than f32.
fn forward(inputs: [&FlexTensor; 3], shape: [usize; 3], epsilon: f64) -> Option<(Vec<f32>, Moments)> {
    if inputs.iter().any(|tensor| tensor.dtype() != DType::F32) {
        return None;
    }
    let [x, gamma, beta] = inputs.map(FlexTensor::to_contiguous);
    let moments = Moments::of(values(&x), shape, epsilon);
    let y = moments.apply(values(&x), values(&gamma), values(&beta));
    Some((y, moments))
}

/// The way back. Parents: input, γ, β.
#[derive(Debug)]
struct BatchNorm;

impl Backward<Flex, 3> for BatchNorm {
    type State = (NodeId, NodeId, Moments, Vec<usize>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let slope = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, weight, moments, dims) = ops.state;
        let x = checkpointer.retrieve_node_output::<FlexTensor>(x).to_contiguous();
        let weight = checkpointer.retrieve_node_output::<FlexTensor>(weight).to_contiguous();
        let [to_x, to_weight, to_bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let (by_x, by_weight, by_bias) = moments.backward(values(&x), values(&weight), values(&slope));
        let channels = by_weight.len();
        if let Some(node) = to_x {
            grads.register::<Flex>(node, tensor(by_x, dims));
        }
        if let Some(node) = to_weight {
            grads.register::<Flex>(node, tensor(by_weight, [channels]));
        }
        if let Some(node) = to_bias {
            grads.register::<Flex>(node, tensor(by_bias, [channels]));
        }
    }
}

#[derive(Clone, Debug)]
struct Channel {
    mean: f64,
    /// Biased.
    variance: f64,
    /// 1/√(σ² + ε)
    scale: f64,
}

/// Mean and variance by channel of [examples, channels, area].
#[derive(Clone, Debug)]
struct Moments {
    shape: [usize; 3],
    channels: Arc<[Channel]>,
}

impl Moments {
    fn of(x: &[f32], shape: [usize; 3], epsilon: f64) -> Moments {
        let [examples, channels, area] = shape;
        let count = (examples * area) as f64;
        let ones = vec![1.0; area];
        let mut sums = vec![(0.0, 0.0); channels];
        for (index, plane) in x.chunks_exact(area).enumerate() {
            // Squares of f32 are exact in f64: a mean of a thousand deviations still leaves ten digits of the variance.
            let [squares, _, sum] = stats::dots(plane, &ones);
            let entry: &mut (f64, f64) = &mut sums[index % channels];
            (entry.0, entry.1) = (entry.0 + sum, entry.1 + squares);
        }
        let of = |(sum, squares): (f64, f64)| {
            let mean = sum / count;
            // Not below 0; NaN stays.
            let variance = squares / count - mean * mean;
            let variance = if variance < 0.0 { 0.0 } else { variance };
            Channel { mean, variance, scale: 1.0 / (variance + epsilon).sqrt() }
        };
        Moments { shape, channels: sums.into_iter().map(of).collect() }
    }

    fn apply(&self, x: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f32> {
        let [_, channels, area] = self.shape;
        let mut y = vec![0.0; x.len()];
        for (index, (plane, x)) in y.chunks_exact_mut(area).zip(x.chunks_exact(area)).enumerate() {
            let channel = &self.channels[index % channels];
            let (mean, beta) = (channel.mean as f32, beta[index % channels]);
            let scale = (channel.scale * f64::from(gamma[index % channels])) as f32;
            simd(
                #[inline(always)]
                || plane.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale + beta),
            );
        }
        y
    }

    /// Gradients by input, γ and β: ∂γ = Σ g·x̂, ∂β = Σ g, ∂x = γ/√(σ² + ε)·(g − ∂β/n − x̂·∂γ/n).
    fn backward(&self, x: &[f32], gamma: &[f32], slope: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let [examples, channels, area] = self.shape;
        let count = (examples * area) as f64;
        let ones = vec![1.0; area];
        let mut sums = vec![(0.0, 0.0); channels];
        for (index, (slope, x)) in slope.chunks_exact(area).zip(x.chunks_exact(area)).enumerate() {
            let entry: &mut (f64, f64) = &mut sums[index % channels];
            (entry.0, entry.1) = (entry.0 + stats::dot(slope, &ones), entry.1 + stats::dot(slope, x));
        }
        let totals = sums.iter().zip(&*self.channels);
        let totals: Vec<(f64, f64)> = totals
            .map(|(&(sum, with_x), channel)| (sum, (with_x - channel.mean * sum) * channel.scale))
            .collect();
        let mut by_x = vec![0.0; x.len()];
        let planes = by_x.chunks_exact_mut(area).zip(x.chunks_exact(area)).zip(slope.chunks_exact(area));
        for (index, ((by_x, x), slope)) in planes.enumerate() {
            let (channel, (sum, with_x)) = (&self.channels[index % channels], totals[index % channels]);
            let mean = channel.mean as f32;
            let factor = (channel.scale * f64::from(gamma[index % channels])) as f32;
            let (shift, tilt) = ((sum / count) as f32, (channel.scale * with_x / count) as f32);
            simd(
                #[inline(always)]
                || {
                    for ((by_x, x), slope) in by_x.iter_mut().zip(x).zip(slope) {
                        *by_x = factor * ((slope - shift) - (x - mean) * tilt);
                    }
                },
            );
        }
        let (by_bias, by_weight) =
            totals.into_iter().map(|(sum, with_x)| (sum as f32, with_x as f32)).unzip();
        (by_x, by_weight, by_bias)
    }
}
