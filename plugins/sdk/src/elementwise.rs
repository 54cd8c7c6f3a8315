//! The trait for methods that compute each element from the same element of every input.

use std::any::Any;

use crate::about::About;
use crate::error::MethodError;
use crate::kernel::{Kernel, Tile};
use crate::task::{Params, Scope, Tasks};

/// An element-wise method. The implementing type is the *prepared kernel* of one group of tensors.
///
/// A method that needs statistics first implements [`Observe`](crate::Observe) as well.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an element-wise method: it does not implement `Elementwise`",
    note = "a method is named with the trait that it implements: `Elementwise`, `Observe`, `WholeTensor`, `Group` or `WholeModel`"
)]
pub trait Elementwise: Send + Sync + Sized + 'static {
    /// Stage-level parameters.
    type Params: Params;
    /// Per-input parameters (edges); [`crate::NoParams`] for none.
    type Input: Params;

    /// Name, texts, ports.
    fn about() -> About;

    /// Which tensors share a state. The parameters are those of the stage without rules.
    fn scope(_params: &Self::Params) -> Scope {
        Scope::Tensor
    }

    /// Checks the settings and builds the kernel. Called once by the planner, so that mistakes show before weights are read,
    /// and again by the engine.
    fn prepare(tasks: Tasks<Self::Params, Self::Input>) -> Result<Self, MethodError>;

    /// Computes `out` (as long as the tile). Must be a pure function of the kernel and the tile. Called for every tile, in any order
    /// and from any thread.
    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]);
}

/// The kernel of a method that observes nothing.
pub(crate) struct Plain<K>(pub(crate) K);

impl<K: Elementwise> Kernel for Plain<K> {
    fn observing(&self) -> bool {
        false
    }

    fn wants(&self, _: usize, _: usize) -> bool {
        false
    }

    fn partial(&self) -> Box<dyn Any + Send> {
        Box::new(())
    }

    fn observe(&self, _: &mut (dyn Any + Send), _: &Tile<'_>) {}

    fn absorb(&mut self, _: &mut (dyn Any + Send)) {}

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        Ok(())
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        self.0.apply(tile, out);
    }

    fn state_bytes(&self) -> (usize, usize) {
        (0, 0)
    }

    fn as_any(&self) -> &dyn Any {
        &self.0
    }
}
