//! What methods that learn see of a network and its data: the loss and its gradient at any weights.
//!
//! Weights are one flat vector of f32, all trainable tensors behind each other in the order of [`Objective::segments`]; so a
//! method of the connect family is arithmetic on slices, and its tests need no network: any function with a gradient will do.

use crate::error::MethodError;

/// What a trainable tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// Matrix of a linear layer, kernel of a convolution, embedding.
    Weight,
    /// Bias of such a layer.
    Bias,
    /// Scale or shift of a normalisation.
    Norm,
}

/// A trainable tensor's place in the flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The tensor's name.
    pub name: String,
    /// First element.
    pub start: usize,
    /// Number of elements.
    pub len: usize,
    /// What it is for.
    pub kind: SegmentKind,
    /// Index of the layer that it belongs to, counted from the input: tensors of one layer share it.
    pub layer: u32,
}

impl Segment {
    /// Its elements in the flat vector.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

/// A differentiable loss over flat weights, estimated on batches of data.
///
/// Batches are numbered: batch `step` is a pure function of (the objective's seed, `step`), so a run that is repeated or resumed
/// sees the same data. Losses are means over examples, without any decay of weights.
pub trait Objective: Send {
    /// Trainable tensors in flat order. They cover the vector without gaps.
    fn segments(&self) -> &[Segment];

    /// Length of the flat vector.
    fn len(&self) -> usize {
        self.segments().last().map_or(0, |segment| segment.start + segment.len)
    }

    /// Whether there is nothing to learn.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Batches of one epoch, at least 1.
    fn steps_per_epoch(&self) -> u64;

    /// From now on batches come in the order that this seed gives (`instability`: children that see the data in another order).
    fn reorder(&mut self, seed: u64);

    /// The mean loss of batch `step` at `weights`; its gradient overwrites `gradient`. Both slices are as long as the vector.
    ///
    /// # Errors
    /// The device fails, or the data cannot be read.
    fn gradient(&mut self, step: u64, weights: &[f32], gradient: &mut [f32]) -> Result<f64, MethodError>;

    /// The mean loss at `weights` over the first `batches` batches of the training data in a fixed order, all of it for `None`.
    /// The same function for every call, so values can be compared. Normalisation uses the statistics of each batch.
    ///
    /// # Errors
    /// As for [`Objective::gradient`].
    fn loss(&mut self, weights: &[f32], batches: Option<u64>) -> Result<f64, MethodError>;
}
