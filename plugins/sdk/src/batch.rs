//! A batch of examples, as data sets make them and networks take them.

/// Inputs of a batch, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers: rows of features, or images as [channels, height, width].
    Floats(Vec<f32>),
    /// Token ids.
    Tokens(Vec<u32>),
}

/// What a network should say of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// The class of each example; for language models of each position, row-major. The loss is the cross entropy.
    Classes(Vec<u32>),
    /// Probabilities, one row of `classes` for each example (mixup). The loss is the cross entropy.
    Soft {
        /// Row length.
        classes: usize,
        /// Row-major.
        rows: Vec<f32>,
    },
    /// Numbers, one row of `width` for each example. The loss is the mean squared error over all of them.
    Numbers {
        /// Row length.
        width: usize,
        /// Row-major.
        rows: Vec<f32>,
    },
}

/// Some examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Inputs, as long as the product of `shape`.
    pub inputs: Values,
    /// [examples, …]: the shape of one example follows.
    pub shape: Vec<usize>,
    /// What is right.
    pub targets: Targets,
}

impl Batch {
    /// Number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
