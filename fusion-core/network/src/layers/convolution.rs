//! Convolutions that train faster than the device's own.
//!
//! On burn's `flex` the gradient of a convolution by its kernel is computed as another convolution with a kernel as large as the image,
//! and inputs are turned from one order of axes into another for every use: matrix products are a third of the time. Here a
//! convolution is a product of the kernels with the patches under them (im2col), a few rows of the image at a time so that patches stay
//! in the cache, and both gradients are products of the same patches. Everything else, and every convolution that is recorded
//! rather than computed, is burn's own.

#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod patches;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

/// `conv` on [examples, channels, height, width]: what `conv.forward` gives, but for the order in which products are added up.
pub(crate) fn convolve(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::convolve(conv, &x) {
        return y;
    }
    conv.forward(x)
}
