//! What the training loop needs of whatever it trains.

use fusion_sdk::MethodError;

/// What a step says of its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLoss {
    /// Mean over the examples.
    pub loss: f64,
    /// Examples in the batch.
    pub samples: u64,
    /// Right answers, where the targets are classes.
    pub correct: Option<u64>,
    /// Answers that `correct` counts among: examples, or positions of a language model. At least 1.
    pub answers: u64,
}

/// What validation says.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Score {
    /// Mean loss. JSON has no NaN and no infinity: both are null there and come back as NaN.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Share of right answers, where there are classes.
    pub accuracy: Option<f64>,
}

fn number_or_nan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(<Option<f64> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A function with a gradient, estimated on batches. Batch `step` must be a pure function of `step`: a run that is resumed sees the same.
pub trait Gradients {
    /// Length of the flat weights.
    fn len(&self) -> usize;

    /// Whether there is nothing to learn.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the running statistics, 0 without BatchNorm.
    fn statistics_len(&self) -> usize {
        0
    }

    /// Batches of an epoch, at least 1.
    fn steps_per_epoch(&self) -> u64;

    /// Loss and gradient of batch `step` at `weights`, with this step's dropout. The gradient is overwritten, running statistics are
    /// updated.
    ///
    /// # Errors
    /// The device fails, or the data cannot be read.
    fn gradient(
        &mut self,
        step: u64,
        weights: &[f32],
        statistics: &mut [f32],
        gradient: &mut [f32],
    ) -> Result<StepLoss, MethodError>;

    /// Loss and accuracy on the validation data; `None` where there is none.
    ///
    /// # Errors
    /// As for [`Gradients::gradient`].
    fn validate(&mut self, _weights: &[f32], _statistics: &[f32]) -> Result<Option<Score>, MethodError> {
        Ok(None)
    }
}
