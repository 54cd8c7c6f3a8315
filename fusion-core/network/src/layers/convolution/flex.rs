//! A convolution on `flex`, with its gradients, as one operation of burn's autodiff.

use std::ops::Range;

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Shape, Tensor};
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::ops::FloatTensorOps;
use burn_flex::{Flex, FlexTensor, Layout};
use fusion_sdk::stats;

use super::patches::{Sizes, add};
use crate::layers::flex::{Keeping, Tracked, tensor, values};

/// Numbers in a matrix of patches, about: 256 KiB, so that one and its gradient stay in the second-level cache.
const PATCHES: usize = 64 * 1024;

/// `None` for what is left to burn: other devices, groups, dilation, and paddings that differ from side to side.
pub(super) fn convolve(conv: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let padding = match &conv.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if top == bottom && left == right => {
            [*top, *left]
        }
        _ => return None,
    };
    if conv.groups != 1 || conv.dilation != [1, 1] {
        return None;
    }
    let weight = conv.weight.val();
    let sizes = Sizes::new(x.dims(), weight.dims()[0], conv.kernel_size, conv.stride, padding)?;
    let bias = conv.bias.as_ref().map(|bias| bias.val());
    if x.device().is_autodiff() { tracked(sizes, x, weight, bias) } else { plain(&sizes, x, weight, bias) }
}

fn plain(sizes: &Sizes, x: &Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Option<Tensor<4>> {
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    let weight = weight.try_into_primitive::<Flex>().ok()?;
    let bias = match bias {
        Some(bias) => Some(bias.try_into_primitive::<Flex>().ok()?),
        None => None,
    };
    let y = sizes.forward(&x, &weight, bias.as_ref())?;
    Some(Tensor::from_primitive::<Flex>(y))
}

fn tracked(sizes: Sizes, x: &Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Option<Tensor<4>> {
    let x = x.clone().try_into_primitive::<Tracked>().ok()?;
    let weight = weight.try_into_primitive::<Tracked>().ok()?;
    let y = match bias {
        None => {
            let y = sizes.forward(x.primitive(), weight.primitive(), None)?;
            match Convolution.prepare::<Keeping>([x.node(), weight.node()]).compute_bound().stateful() {
                OpsKind::Tracked(mut prepared) => {
                    let kept = (prepared.checkpoint(&x), prepared.checkpoint(&weight), sizes);
                    prepared.finish(kept, y)
                }
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        }
        Some(bias) => {
            let bias = bias.try_into_primitive::<Tracked>().ok()?;
            let y = sizes.forward(x.primitive(), weight.primitive(), Some(bias.primitive()))?;
            let nodes = [x.node(), weight.node(), bias.node()];
            match Convolution.prepare::<Keeping>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(mut prepared) => {
                    let kept = (prepared.checkpoint(&x), prepared.checkpoint(&weight), sizes);
                    prepared.finish(kept, y)
                }
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        }
    };
    Some(Tensor::from_primitive::<Tracked>(y))
}

/// The way back. Parents: input, kernels and, where there is one, bias.
#[derive(Debug)]
struct Convolution;

impl<const N: usize> Backward<Flex, N> for Convolution {
    type State = (NodeId, NodeId, Sizes);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let slope = grads.consume::<Flex>(&ops.node);
        let (x, weight, sizes) = ops.state;
        let x = checkpointer.retrieve_node_output::<FlexTensor>(x);
        let weight = checkpointer.retrieve_node_output::<FlexTensor>(weight);
        let mut parents = ops.parents.into_iter().map(|parent| parent.map(|node| node.id));
        let mut next = || parents.next().flatten();
        let (to_x, to_weight, to_bias) = (next(), next(), next());
        let slope = slope.to_contiguous();
        if let Some(node) = to_bias {
            grads.register::<Flex>(node, sizes.of_bias(values(&slope)));
        }
        let (by_x, by_weight) = sizes.backward(&x, &weight, &slope, to_x.is_some(), to_weight.is_some());
        for (node, gradient) in [(to_x, by_x), (to_weight, by_weight)] {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node, gradient);
            }
        }
    }
}

impl Sizes {
    /// Output rows of a matrix of patches.
    fn tile(&self) -> usize {
        (PATCHES / (self.depth() * self.output[1])).clamp(1, self.rows())
    }

    fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (tile, rows) = (self.tile(), self.rows());
        (0..rows.div_ceil(tile)).map(move |index| index * tile..((index + 1) * tile).min(rows))
    }

    /// The kernels as a matrix, a line for each filter.
    fn kernels(&self, weight: &FlexTensor) -> FlexTensor {
        weight.to_contiguous().reshape(Shape::from([self.filters, self.depth()]))
    }

    /// `None` for numbers other than f32.
    fn forward(&self, x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>) -> Option<FlexTensor> {
        if x.dtype() != DType::F32 || weight.dtype() != DType::F32 {
            return None;
        }
        let (x, kernels) = (x.to_contiguous(), self.kernels(weight));
        let bias = bias.map(FlexTensor::to_contiguous);
        let bias = bias.as_ref().map(values);
        let mut y = vec![0.0; self.output_len()];
        let mut patches = Patches::new(self);
        for rows in self.tiles() {
            let patches = patches.of(self, values(&x), rows.clone());
            let product = Flex::float_matmul(kernels.clone(), patches);
            self.spread(values(&product), rows, bias, &mut y);
        }
        Some(tensor(y, [self.examples, self.filters, self.output[0], self.output[1]]))
    }

    /// Gradients by input and kernels, where they are wanted.
    fn backward(
        &self,
        x: &FlexTensor,
        weight: &FlexTensor,
        slope: &FlexTensor,
        to_x: bool,
        to_weight: bool,
    ) -> (Option<FlexTensor>, Option<FlexTensor>) {
        let (x, transposed) = (x.to_contiguous(), self.kernels(weight).transpose(0, 1));
        let mut by_x = vec![0.0; if to_x { self.input_len() } else { 0 }];
        let mut by_weight = vec![0.0; if to_weight { self.filters * self.depth() } else { 0 }];
        let mut patches = Patches::new(self);
        for rows in self.tiles() {
            let count = rows.len() * self.output[1];
            let mut slopes = vec![0.0; self.filters * count];
            self.collect(values(slope), rows.clone(), &mut slopes);
            let slopes = tensor(slopes, [self.filters, count]);
            if to_weight {
                let patches = patches.of(self, values(&x), rows.clone()).transpose(0, 1);
                let product = Flex::float_matmul(slopes.clone(), patches);
                add(values(&product), &mut by_weight);
            }
            if to_x {
                let mut product = Flex::float_matmul(transposed.clone(), slopes);
                self.scatter(product.storage_mut(), rows, count, &mut by_x);
            }
        }
        let [height, width] = self.image;
        let by_x = to_x.then(|| tensor(by_x, [self.examples, self.channels, height, width]));
        let shape = [self.filters, self.channels, self.kernel[0], self.kernel[1]];
        (by_x, to_weight.then(|| tensor(by_weight, shape)))
    }

    /// Sums of slopes over examples and places, in f64.
    fn of_bias(&self, slope: &[f32]) -> FlexTensor {
        let (mut sums, ones) = (vec![0.0; self.filters], vec![1.0; self.area()]);
        for (index, plane) in slope.chunks_exact(self.area()).enumerate() {
            sums[index % self.filters] += stats::dot(plane, &ones);
        }
        tensor(sums.into_iter().map(|sum| sum as f32).collect(), [self.filters])
    }
}

/// A matrix of patches whose memory is used again.
struct Patches {
    buffer: FlexTensor,
}

impl Patches {
    fn new(sizes: &Sizes) -> Patches {
        let len = sizes.depth() * sizes.tile() * sizes.output[1];
        Patches { buffer: tensor(vec![0.0; len], [len]) }
    }

    /// [depth, outputs] of some rows. Drop it before the next one is made: they share their memory.
    fn of(&mut self, sizes: &Sizes, x: &[f32], rows: Range<usize>) -> FlexTensor {
        let count = rows.len() * sizes.output[1];
        sizes.gather(x, rows, count, self.buffer.storage_mut());
        let shape = Shape::from([sizes.depth(), count]);
        self.buffer.clone().with_layout(Layout::contiguous(shape))
    }
}
