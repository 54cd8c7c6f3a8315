//! Statistics passes before an element-wise method's apply: norms, dots, selections.

use std::any::Any;

use crate::elementwise::Elementwise;
use crate::error::MethodError;
use crate::kernel::{Kernel, Tile};

/// An element-wise method that looks at all tiles, once or more, before it computes.
///
/// Order of calls: while `observing()`: `observe` over all tiles of all tensors, `absorb` per block in order, `finish_pass`; then
/// `apply` for every tile.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a method with observe passes: it does not implement `Observe`",
    note = "a method is named with the trait that it implements: `Elementwise`, `Observe`, `WholeTensor`, `Group` or `WholeModel`"
)]
pub trait Observe: Elementwise {
    /// Statistics of one block.
    type Partial: Send + 'static;

    /// Passes that are usual, for the plan's estimate; unusual data may need more.
    const PASSES: u32 = 1;

    /// Whether an (or another) observe pass is due.
    fn observing(&self) -> bool;

    /// Whether the current pass wants to see a tile (its index in the tensor); what it does not want is not even read. A pass
    /// that only needs a sample says so here.
    fn wants(&self, _tensor: usize, _tile: usize) -> bool {
        true
    }

    /// A blank partial state for the current pass.
    fn partial(&self) -> Self::Partial;

    /// Adds a tile to the partial state of its block.
    fn observe(&self, partial: &mut Self::Partial, tile: &Tile<'_>);

    /// Takes a block's partial state and leaves it blank. Called in order of tensor, then block.
    fn absorb(&mut self, partial: &mut Self::Partial);

    /// Ends a pass: all blocks have been absorbed.
    fn finish_pass(&mut self) -> Result<(), MethodError>;

    /// Bytes of the state and of one partial state, for the memory budget.
    fn state_bytes(&self) -> (usize, usize) {
        (0, size_of::<Self::Partial>())
    }
}

/// The kernel of a method that observes.
pub(crate) struct Observing<K>(pub(crate) K);

impl<K: Observe> Kernel for Observing<K> {
    fn observing(&self) -> bool {
        self.0.observing()
    }

    fn wants(&self, tensor: usize, tile: usize) -> bool {
        self.0.wants(tensor, tile)
    }

    fn partial(&self) -> Box<dyn Any + Send> {
        Box::new(self.0.partial())
    }

    fn observe(&self, partial: &mut (dyn Any + Send), tile: &Tile<'_>) {
        if let Some(partial) = partial.downcast_mut() {
            self.0.observe(partial, tile);
        }
    }

    fn absorb(&mut self, partial: &mut (dyn Any + Send)) {
        if let Some(partial) = partial.downcast_mut() {
            self.0.absorb(partial);
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.0.finish_pass()
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        self.0.apply(tile, out);
    }

    fn state_bytes(&self) -> (usize, usize) {
        self.0.state_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        &self.0
    }
}
