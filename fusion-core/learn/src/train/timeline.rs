//! The time of a training in steps: how long it is, and the learning rate of each.

use fusion_sdk::MethodError;
use fusion_sdk::schedule::{Schedule, Span};

use super::params::TrainParams;

/// The time of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    steps_per_epoch: u64,
    batch: usize,
    total: u64,
    warmup: u64,
    rate: Schedule,
    may_stop_early: bool,
}

impl Timeline {
    /// The time of a training whose epochs have `steps_per_epoch` batches.
    ///
    /// # Errors
    /// If nothing is to be done, the warm-up fills all of the time, or a learning rate is negative.
    pub fn new(params: &TrainParams, steps_per_epoch: u64) -> Result<Self, MethodError> {
        let batch = params.common.batch;
        let steps = |span: Span| span.steps(steps_per_epoch, batch);
        let (total, warmup) = (steps(params.common.epochs), steps(params.common.warmup));
        if steps_per_epoch == 0 {
            return Err(MethodError::invalid("the data has no example to train on").at("data"));
        }
        if total == 0 {
            return Err(MethodError::invalid("`epochs` must be longer than nothing").at("epochs"));
        }
        if warmup >= total {
            return Err(MethodError::invalid(format!(
                "`warmup` takes {warmup} steps, the whole training has {total}"
            ))
            .at("warmup")
            .help("shorten `warmup` or raise `epochs`"));
        }
        if params.rate.bounds().0 < 0.0 {
            return Err(MethodError::invalid("a learning rate is at least 0").at("rate"));
        }
        Ok(Timeline {
            steps_per_epoch,
            batch,
            total,
            warmup,
            rate: params.rate.clone(),
            may_stop_early: params.common.early_stopping.is_some(),
        })
    }

    /// Steps of an epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// Examples of a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Steps of the whole training.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Steps of the warm-up, after which the schedule starts.
    #[must_use]
    pub fn warmup(&self) -> u64 {
        self.warmup
    }

    /// Whether the training may end before its time.
    #[must_use]
    pub fn may_stop_early(&self) -> bool {
        self.may_stop_early
    }

    /// A span in steps.
    #[must_use]
    pub fn steps(&self, span: Span) -> u64 {
        span.steps(self.steps_per_epoch, self.batch)
    }

    /// Steps of a cycle of the learning rate, if it has cycles. They count from the end of the warm-up.
    #[must_use]
    pub fn cycle(&self) -> Option<u64> {
        self.rate.cycle(self.steps_per_epoch)
    }

    /// The learning rate of step `step` (from 0): in a warm-up of w steps η₀(step+1)/w, where η₀ is the schedule's first value; then the
    /// schedule over the time that is left.
    #[must_use]
    pub fn rate(&self, step: u64) -> f64 {
        let left = self.total - self.warmup;
        match step.checked_sub(self.warmup) {
            Some(step) => self.rate.at(step, left, self.steps_per_epoch),
            None => self.rate.at(0, left, self.steps_per_epoch) * (step + 1) as f64 / self.warmup as f64,
        }
    }
}
