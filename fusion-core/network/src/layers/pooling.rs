//! Max pooling that trains faster than the device's own: burn's `flex` keeps an index of 64 bits for every output and asks for bounds
//! at every number. Other devices, and what is recorded rather than computed, use burn's.

#[cfg(feature = "flex")]
mod flex;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::tensor::Tensor;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

/// The largest number of each square of `size` by `size`, squares side by side; rows and columns that fill none are left out. NaN wins. The
/// gradient goes to the first of equal numbers.
pub(crate) fn max_pool(x: Tensor<4>, size: usize) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::max_pool(&x, size) {
        return y;
    }
    max_pool2d(x, MaxPoolOptions::new([size, size]))
}
