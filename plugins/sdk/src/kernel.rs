//! The erased form of a prepared element-wise method: what the engine drives.

use std::any::Any;

use crate::error::MethodError;

/// Elements of a tile: what a kernel sees at once. Tiles start at multiples of it; the last of a tensor may be shorter. Small
/// enough for the buffers of a few inputs to stay in the first-level cache.
pub const TILE: usize = 2 * 1024;

/// Elements of a block: partial statistics are taken per block and absorbed in block order, so that they do not depend on
/// threads or chunks. A multiple of [`TILE`].
pub const BLOCK: usize = 512 * TILE;

/// The same stretch of elements from every input, in f32.
pub struct Tile<'a> {
    /// Index of the tensor in its group.
    pub tensor: usize,
    /// Position of the first element in the tensor (row-major), a multiple of [`TILE`].
    pub offset: u64,
    /// One slice per input in port order, all as long as the tile.
    pub inputs: &'a [&'a [f32]],
}

impl Tile<'_> {
    /// Elements in the tile.
    pub fn len(&self) -> usize {
        self.inputs.first().map_or(0, |input| input.len())
    }

    /// Whether it has no element (an input tensor of size zero).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index of the tile in its tensor.
    pub fn index(&self) -> usize {
        (self.offset / TILE as u64) as usize
    }
}

/// An element-wise method prepared for one group of tensors. See [`crate::Elementwise`] and [`crate::Observe`] for the meaning of
/// each function.
pub trait Kernel: Send + Sync {
    /// Whether another observe pass is due.
    fn observing(&self) -> bool;
    /// Whether the current pass wants to see this tile of this tensor; what it does not want is not read.
    fn wants(&self, tensor: usize, tile: usize) -> bool;
    /// What went wrong in a function that returns no error: only kernels behind the C contract have such trouble. Asked after each
    /// chunk and block.
    fn trouble(&self) -> Option<MethodError> {
        None
    }
    /// A fresh partial state for one block.
    fn partial(&self) -> Box<dyn Any + Send>;
    /// Adds a tile to a partial state.
    fn observe(&self, partial: &mut (dyn Any + Send), tile: &Tile<'_>);
    /// Takes a block's partial state, in order of (tensor, block), and leaves it blank for use in another block.
    fn absorb(&mut self, partial: &mut (dyn Any + Send));
    /// Ends the pass.
    fn finish_pass(&mut self) -> Result<(), MethodError>;
    /// The input that is copied to this tensor instead of calling the method.
    fn copies(&self, _tensor: usize) -> Option<usize> {
        None
    }
    /// Computes a tile of the result.
    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]);
    /// Bytes of state and of one partial state, for the memory budget.
    fn state_bytes(&self) -> (usize, usize);
    /// The concrete kernel, for a method's form on a burn device.
    fn as_any(&self) -> &dyn Any;
}
