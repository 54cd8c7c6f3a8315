//! The metrics that barriers and landscapes can be about, by their words.

use crate::measure::MeasureError;
use crate::measure::barrier::{Barrier, Better, Curve, barrier};
use crate::measure::metrics::Score;

/// The value that a barrier is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, fusion_sdk::Words)]
pub enum Metric {
    /// the cross entropy, or the mean squared error of a regression
    Loss,
    /// the cross entropy
    CrossEntropy,
    /// the share of examples whose class is found
    Accuracy,
    /// 1 − accuracy
    Error,
}

impl Metric {
    /// The word in recipes and names of results.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Metric::Loss => "loss",
            Metric::CrossEntropy => "cross_entropy",
            Metric::Accuracy => "accuracy",
            Metric::Error => "error",
        }
    }

    /// Which way is better.
    #[must_use]
    pub const fn better(self) -> Better {
        match self {
            Metric::Loss | Metric::CrossEntropy | Metric::Error => Better::Lower,
            Metric::Accuracy => Better::Higher,
        }
    }

    /// Its value; `None` for what a regression has not.
    #[must_use]
    pub fn of(self, score: &Score) -> Option<f64> {
        match self {
            Metric::Loss => Some(score.loss),
            Metric::CrossEntropy => score.accuracy.map(|_| score.loss),
            Metric::Accuracy => score.accuracy,
            Metric::Error => score.accuracy.map(|accuracy| 1.0 - accuracy),
        }
    }

    /// Whether barriers of both are the same.
    pub(crate) fn like(self, other: Metric) -> bool {
        let kind = |metric| matches!(metric, Metric::Loss | Metric::CrossEntropy);
        kind(self) == kind(other)
    }

    /// That the data has no such metric.
    pub(crate) fn missing(self) -> MeasureError {
        MeasureError::unsuitable(
            format!("the data has numbers for targets, which have no `{}`", self.word()),
            "set `metric` to `loss`",
        )
    }
}

/// The barrier of scores along `t`; `None` where the metric has no values.
///
/// # Errors
/// Those of [`barrier`].
pub fn barrier_of(
    metric: Metric,
    t: &[f64],
    pieces: &[f64],
    scores: &[Score],
) -> Result<Option<Barrier>, MeasureError> {
    let Some(values) = scores.iter().map(|score| metric.of(score)).collect::<Option<Vec<f64>>>() else {
        return Ok(None);
    };
    let curve = Curve { t, values: &values, lengths: pieces, better: metric.better() };
    barrier(&curve).map(Some)
}
