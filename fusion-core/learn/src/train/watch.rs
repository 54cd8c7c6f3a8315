//! How a training is watched from outside: progress, and the wish to stop.

use super::gradients::Score;

/// Who watches a training.
pub trait Watch: Sync {
    /// Whether to stop. Asked before each step.
    fn cancelled(&self) -> bool {
        false
    }

    /// Hears how far the training is: about ten times a second, after each validation and at the end.
    fn progress(&self, _progress: &Progress) {}
}

/// How far a training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps of the whole training.
    pub total: u64,
    /// Epochs done, with the begun one's share.
    pub epoch: f64,
    /// Mean training loss since the last report.
    pub loss: f64,
    /// Share of right answers since then.
    pub accuracy: Option<f64>,
    /// Learning rate of the last step.
    pub rate: f64,
    /// Examples a second since then, of all replicas.
    pub samples_per_second: f64,
    /// Seconds until the end, as far as the last steps tell.
    pub seconds_left: f64,
    /// The newest validation.
    pub validation: Option<Score>,
}

/// Watches nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Watch for Quiet {}
