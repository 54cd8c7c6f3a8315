//! What goes wrong while measuring, with the place and the fix.

use fusion_sdk::MethodError;

/// An error of measuring.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// Nothing to measure.
    #[error("{what} is empty: there is nothing to measure")]
    Empty {
        /// Data set, curve, features.
        what: String,
    },
    /// Two things that must fit do not.
    #[error("{what}: {expected} values are needed, {found} are there")]
    Length {
        /// Which slice.
        what: String,
        /// Length that fits.
        expected: usize,
        /// Length that is there.
        found: usize,
    },
    /// A label without an output.
    #[error("example {index} has class {label}, but the network has outputs for {classes} classes only")]
    Label {
        /// Row among the examples.
        index: usize,
        /// The class.
        label: u32,
        /// Outputs.
        classes: usize,
    },
    /// A number that is no probability.
    #[error("example {index} has probability {value} for a class: probabilities lie between 0 and 1")]
    Probability {
        /// Row among the examples.
        index: usize,
        /// The number.
        value: f32,
    },
    /// The measure does not suit what it is asked of.
    #[error("{what}; {help}")]
    Unsuitable {
        /// What does not fit.
        what: String,
        /// How to fix it.
        help: String,
    },
    /// A network with BatchNorm between two models, and nobody said what its statistics are.
    #[error(
        "the network has BatchNorm, whose running statistics belong to the weights they were counted at and are wrong at \
         the weights in between; set `norm` to `reset` (count them again on training data, at every point), `ema`, `batch` \
         or `keep`"
    )]
    NoPolicy,
    /// A network, a data set or a path that fails, or the user asked to stop.
    #[error("{0}")]
    Method(#[from] MethodError),
}

impl From<MeasureError> for MethodError {
    fn from(error: MeasureError) -> Self {
        match error {
            MeasureError::Method(error) => error,
            MeasureError::Unsuitable { what, help } => MethodError::invalid(what).help(help),
            other => MethodError::invalid(other.to_string()),
        }
    }
}

impl MeasureError {
    /// [`MeasureError::Length`] unless the lengths agree.
    pub(crate) fn length(what: &str, expected: usize, found: usize) -> Result<(), Self> {
        match expected == found {
            true => Ok(()),
            false => Err(MeasureError::Length { what: what.to_owned(), expected, found }),
        }
    }

    /// [`MeasureError::Unsuitable`].
    pub(crate) fn unsuitable(what: impl Into<String>, help: impl Into<String>) -> Self {
        MeasureError::Unsuitable { what: what.into(), help: help.into() }
    }

    /// [`MeasureError::Empty`].
    pub(crate) fn empty(what: &str) -> Self {
        MeasureError::Empty { what: what.to_owned() }
    }
}
