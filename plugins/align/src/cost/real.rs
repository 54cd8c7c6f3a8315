//! The two element types that costs are computed in.

use std::ops::SubAssign;

use faer::traits::ComplexField;
use fusion_sdk::MethodError;
use fusion_sdk::align::Source;

use super::Rooms;
use super::gram::Room;

/// f32 or f64.
pub(crate) trait Real: ComplexField + Copy + Default + SubAssign + Send + Sync + 'static {
    /// 1.
    const ONE: Self;

    /// Reads elements of a tensor.
    ///
    /// # Errors
    /// Those of the source.
    fn read(source: &dyn Source, tensor: usize, start: usize, out: &mut [Self]) -> Result<(), MethodError>;

    /// A whole tensor that lies in memory in this type.
    fn held(source: &dyn Source, tensor: usize) -> Option<&[Self]>;

    /// As f64.
    fn wide(self) -> f64;

    /// The room of this type.
    fn room(rooms: &mut Rooms) -> &mut Room<Self>;
}

impl Real for f32 {
    const ONE: f32 = 1.0;

    fn read(source: &dyn Source, tensor: usize, start: usize, out: &mut [f32]) -> Result<(), MethodError> {
        source.read(tensor, start, out)
    }

    fn held(source: &dyn Source, tensor: usize) -> Option<&[f32]> {
        source.held(tensor)
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn room(rooms: &mut Rooms) -> &mut Room<f32> {
        &mut rooms.single
    }
}

impl Real for f64 {
    const ONE: f64 = 1.0;

    fn read(source: &dyn Source, tensor: usize, start: usize, out: &mut [f64]) -> Result<(), MethodError> {
        source.read_f64(tensor, start, out)
    }

    fn held(_: &dyn Source, _: usize) -> Option<&[f64]> {
        None
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    fn room(rooms: &mut Rooms) -> &mut Room<f64> {
        &mut rooms.double
    }
}
