//! What goes wrong in a training, with the place and the fix.

use std::path::PathBuf;

use fusion_sdk::MethodError;

/// An error of a training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss is NaN or infinite.
    #[error(
        "the loss of step {step} (epoch {epoch:.2}) is {loss}; the learning rate was {rate}. Lower `rate`, add a `warmup`, or set `clip`"
    )]
    NotFinite {
        /// Step, from 0.
        step: u64,
        /// Epochs that have passed.
        epoch: f64,
        /// The loss.
        loss: f64,
        /// Learning rate of the step.
        rate: f64,
    },
    /// A weight is NaN or infinite after the last step.
    #[error(
        "weights are not finite after the last step, whose learning rate was {rate}. Lower `rate`, add a `warmup`, or set `clip`"
    )]
    Weights {
        /// Learning rate of the last step.
        rate: f64,
    },
    /// What the loop is given does not fit together.
    #[error("{what}: {expected} needed, {found} given")]
    Length {
        /// Which.
        what: &'static str,
        /// That fits.
        expected: usize,
        /// That is there.
        found: usize,
    },
    /// Settings, data or device.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The user asked to stop.
    #[error("stopped after {done} of {total} steps{}", if *.kept { "; the next run goes on from there" } else { "" })]
    Cancelled {
        /// Steps done.
        done: u64,
        /// Steps of the whole training.
        total: u64,
        /// Whether a checkpoint has them.
        kept: bool,
    },
    /// A checkpoint that cannot be written.
    #[error("`{}` cannot be written: {cause}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A checkpoint that cannot be read, or is of another training.
    #[error("`{}` is no checkpoint of this training: {cause}. Delete it to start from the beginning", .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}
