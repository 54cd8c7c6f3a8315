//! Max pooling on `flex`, with its gradient, as one operation of burn's autodiff.

use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::{Flex, FlexTensor};
use fusion_sdk::simd;

use crate::layers::flex::{Keeping, Tracked, tensor, values};

/// `None` for other devices and types of numbers.
pub(super) fn max_pool(x: &Tensor<4>, size: usize) -> Option<Tensor<4>> {
    let windows = Windows::new(x.dims(), size)?;
    if !x.device().is_autodiff() {
        let x = x.clone().try_into_primitive::<Flex>().ok()?;
        let (y, _) = windows.forward(&x)?;
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    let x = x.clone().try_into_primitive::<Tracked>().ok()?;
    let (y, chosen) = windows.forward(x.primitive())?;
    let y = match Pooling.prepare::<Keeping>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((windows, chosen.into()), y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Tracked>(y))
}

/// The way back.
#[derive(Debug)]
struct Pooling;

impl Backward<Flex, 1> for Pooling {
    type State = (Windows, Arc<[u16]>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let slope = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (windows, chosen) = ops.state;
        if let [Some(parent)] = ops.parents {
            grads.register::<Flex>(parent.id, windows.backward(values(&slope), &chosen));
        }
    }
}

/// Squares on images, side by side.
#[derive(Clone, Debug)]
struct Windows {
    /// [examples, channels, height, width]
    shape: [usize; 4],
    size: usize,
    /// [height, width]
    output: [usize; 2],
}

impl Windows {
    fn new(shape: [usize; 4], size: usize) -> Option<Windows> {
        // A place in a square is kept in 16 bits.
        if !(1..=256).contains(&size) {
            return None;
        }
        let output = [shape[2] / size, shape[3] / size];
        (shape[0] * shape[1] * output[0] * output[1] > 0).then_some(Windows { shape, size, output })
    }

    fn planes(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Outputs, and the place of each in its square.
    fn forward(&self, x: &FlexTensor) -> Option<(FlexTensor, Vec<u16>)> {
        if x.dtype() != DType::F32 {
            return None;
        }
        let x = x.to_contiguous();
        let (x, [_, _, height, width], [_, across]) = (values(&x), self.shape, self.output);
        let len = self.planes() * self.output[0] * self.output[1];
        let (mut y, mut chosen) = (vec![0.0; len], vec![0; len]);
        let lines = y.chunks_exact_mut(across).zip(chosen.chunks_exact_mut(across)).enumerate();
        simd(
            #[inline(always)]
            || {
                for (line, (best, chosen)) in lines {
                    let (plane, row) = (line / self.output[0], line % self.output[0]);
                    for i in 0..self.size {
                        let source = &x[(plane * height + row * self.size + i) * width..][..width];
                        match self.size {
                            // A constant is a shuffle of vectors, a variable one number at a time.
                            2 => larger::<2>(source, i, best, chosen),
                            3 => larger::<3>(source, i, best, chosen),
                            _ => largest(source, self.size, i, best, chosen),
                        }
                    }
                }
            },
        );
        Some((tensor(y, [self.shape[0], self.shape[1], self.output[0], across]), chosen))
    }

    fn backward(&self, slope: &[f32], chosen: &[u16]) -> FlexTensor {
        let ([_, _, height, width], [down, across]) = (self.shape, self.output);
        let mut by_x = vec![0.0; self.planes() * height * width];
        let lines = slope.chunks_exact(across).zip(chosen.chunks_exact(across)).enumerate();
        for (line, (slopes, chosen)) in lines {
            let start = (line / down * height + line % down * self.size) * width;
            let band = &mut by_x[start..start + self.size * width];
            for (column, (&slope, &place)) in slopes.iter().zip(chosen).enumerate() {
                let place = usize::from(place);
                band[place / self.size * width + column * self.size + place % self.size] = slope;
            }
        }
        tensor(by_x, self.shape)
    }
}

/// Row `i` of squares of `N`: takes over what is larger than the best so far.
#[inline(always)]
fn larger<const N: usize>(source: &[f32], i: usize, best: &mut [f32], chosen: &mut [u16]) {
    let (squares, _) = source.as_chunks::<N>();
    for ((square, best), chosen) in squares.iter().zip(best).zip(chosen) {
        for (j, &value) in square.iter().enumerate() {
            take(value, i * N + j, best, chosen);
        }
    }
}

#[inline(always)]
fn largest(source: &[f32], size: usize, i: usize, best: &mut [f32], chosen: &mut [u16]) {
    for ((square, best), chosen) in source.chunks_exact(size).zip(best).zip(chosen) {
        for (j, &value) in square.iter().enumerate() {
            take(value, i * size + j, best, chosen);
        }
    }
}

#[inline(always)]
fn take(value: f32, place: usize, best: &mut f32, chosen: &mut u16) {
    let wins = place == 0 || value > *best || value.is_nan();
    *best = if wins { value } else { *best };
    *chosen = if wins { place as u16 } else { *chosen };
}
