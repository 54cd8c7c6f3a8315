//! What a training was like: the numbers behind a training curve.

use serde::{Deserialize, Serialize};

use super::gradients::{Score, StepLoss};

/// Points of a curve, at most.
const POINTS: u64 = 500;

/// The course of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// A few hundred points over the whole time, evenly spaced in steps.
    pub points: Vec<Point>,
    /// One for each epoch, the last perhaps not a whole one.
    pub epochs: Vec<Epoch>,
    /// Validations, wherever they fell.
    pub validations: Vec<Validation>,
    /// Time spent in all, validation included. Resumed runs add up.
    pub seconds: f64,
}

/// A stretch of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps done at its end.
    pub step: u64,
    /// Learning rate of its last step.
    pub rate: f64,
    /// Mean training loss over it.
    pub loss: f64,
    /// Share of right answers over it.
    pub accuracy: Option<f64>,
}

/// An epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Epochs done at its end.
    pub epoch: f64,
    /// Steps done at its end.
    pub step: u64,
    /// Learning rate of its last step.
    pub rate: f64,
    /// Mean training loss over it, while the weights changed.
    pub loss: f64,
    /// Share of right answers over it.
    pub accuracy: Option<f64>,
    /// The newest validation at its end.
    pub validation: Option<Score>,
    /// Training time, validation not included.
    pub seconds: f64,
    /// Examples a second, of all replicas.
    pub samples_per_second: f64,
}

/// A validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Steps done.
    pub step: u64,
    /// What came out.
    pub score: Score,
}

impl History {
    /// The history without times, which differ from run to run.
    #[must_use]
    pub fn without_times(mut self) -> Self {
        self.seconds = 0.0;
        for epoch in &mut self.epochs {
            (epoch.seconds, epoch.samples_per_second) = (0.0, 0.0);
        }
        self
    }
}

/// Steps of a [`Point`] in a training of `total` steps.
pub(crate) fn stride(total: u64) -> u64 {
    total.div_ceil(POINTS).max(1)
}

/// Means over some steps. Losses are weighted by the answers of their batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meter {
    loss: f64,
    correct: u64,
    /// Answers of which somebody knows whether they are right.
    judged: u64,
    answers: u64,
    samples: u64,
    /// Time of the steps.
    pub seconds: f64,
}

impl Meter {
    pub(crate) fn add(&mut self, step: &StepLoss) {
        self.loss += step.loss * step.answers as f64;
        self.answers += step.answers;
        self.samples += step.samples;
        if let Some(correct) = step.correct {
            self.correct += correct;
            self.judged += step.answers;
        }
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss / self.answers.max(1) as f64
    }

    pub(crate) fn accuracy(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.correct as f64 / self.judged as f64)
    }

    pub(crate) fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.seconds.max(1e-9)
    }

    pub(crate) fn take(&mut self) -> Meter {
        std::mem::take(self)
    }
}
