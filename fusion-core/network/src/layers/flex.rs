//! What our own operations on burn's `flex` share.

use burn::tensor::{Shape, TensorData};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_flex::{Flex, FlexTensor};

/// `flex` with gradients.
pub(super) type Tracked = Autodiff<Flex>;

/// What [`Tracked`] keeps for the way back: everything.
pub(super) type Keeping = NoCheckpointing;

/// The numbers of a tensor that was made contiguous before.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// A tensor of these numbers, row-major.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}
