//! What a classifier said of some examples, in the one form that every metric reads: log-scores and labels.

use crate::measure::MeasureError;

/// Scores and labels of examples, one row of `classes` scores for each.
///
/// Scores are logits, or logarithms of probabilities: softmax takes both to the same probabilities, so the mean of several
/// models' probabilities (an ensemble) is a `Predictions` like any other. For language models each position is an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    classes: usize,
    scores: Vec<f32>,
    labels: Vec<u32>,
}

/// One example seen through softmax, in f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The class with the highest score, the lowest index of several; `None` where the scores are no distribution: NaN or +∞
    /// among them, or nothing but −∞.
    pub predicted: Option<usize>,
    /// −ln p(label). +∞ for probability 0; NaN where `predicted` is `None`.
    pub loss: f64,
    /// The highest probability; NaN where `predicted` is `None`.
    pub confidence: f64,
}

/// ln Σ exp(score) in f64, shifted by the highest score. `None` where that is not finite.
pub(crate) fn log_sum_exp(scores: &[f32]) -> Option<f64> {
    // `f32::max` would drop NaN.
    let mut top = f32::NEG_INFINITY;
    for &score in scores {
        if score.is_nan() {
            return None;
        }
        top = top.max(score);
    }
    if !top.is_finite() {
        return None;
    }
    let top = f64::from(top);
    Some(top + scores.iter().map(|&score| (f64::from(score) - top).exp()).sum::<f64>().ln())
}

/// The index of the highest score, the lowest of several; NaN is never higher.
pub(crate) fn top(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = index;
        }
    }
    best
}

/// Scores of one example and its label.
pub(crate) fn row(scores: &[f32], label: u32) -> Row {
    let Some(sum) = log_sum_exp(scores) else {
        return Row { predicted: None, loss: f64::NAN, confidence: f64::NAN };
    };
    let predicted = top(scores);
    Row {
        predicted: Some(predicted),
        loss: sum - f64::from(scores[label as usize]),
        confidence: (f64::from(scores[predicted]) - sum).exp(),
    }
}

impl Predictions {
    /// From a network's outputs, row-major [examples, classes].
    ///
    /// # Errors
    /// `classes` is 0, the lengths do not fit, or a label has no output. NaN is allowed: see [`Row`].
    pub fn from_logits(classes: usize, logits: Vec<f32>, labels: Vec<u32>) -> Result<Self, MeasureError> {
        if classes == 0 {
            return Err(MeasureError::empty("a row of predictions"));
        }
        MeasureError::length("predictions", labels.len() * classes, logits.len())?;
        check_labels(classes, &labels)?;
        Ok(Predictions { classes, scores: logits, labels })
    }

    /// From probabilities, row-major [examples, classes]. Rows are normalised; a row of zeros or with NaN is no distribution.
    ///
    /// # Errors
    /// Those of [`Predictions::from_logits`], and numbers below 0 or above 1 (with 10⁻⁵ for rounding).
    pub fn from_probabilities(
        classes: usize,
        mut probabilities: Vec<f32>,
        labels: Vec<u32>,
    ) -> Result<Self, MeasureError> {
        for (at, p) in probabilities.iter_mut().enumerate() {
            if *p < 0.0 || *p > 1.0 + 1e-5 {
                return Err(MeasureError::Probability { index: at / classes.max(1), value: *p });
            }
            *p = p.ln();
        }
        Self::from_logits(classes, probabilities, labels)
    }

    /// Row length.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of each example.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Scores of each example, row-major [examples, classes].
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// Number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Each example through softmax.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.scores.chunks_exact(self.classes).zip(&self.labels).map(|(scores, &label)| row(scores, label))
    }

    /// The predicted class of each example.
    pub fn predicted(&self) -> impl Iterator<Item = Option<usize>> {
        self.rows().map(|row| row.predicted)
    }

    /// Probabilities of example `index` in f64; NaN where the scores are no distribution.
    ///
    /// # Panics
    /// `index` is out of range or `out` not as long as a row.
    pub fn probabilities(&self, index: usize, out: &mut [f64]) {
        softmax(&self.scores[index * self.classes..(index + 1) * self.classes], out);
    }

    /// How many examples have scores that are no distribution.
    #[must_use]
    pub fn invalid(&self) -> usize {
        self.scores.chunks_exact(self.classes).filter(|scores| log_sum_exp(scores).is_none()).count()
    }
}

/// exp(score − ln Σ exp); NaN where that is undefined.
pub(crate) fn softmax(scores: &[f32], out: &mut [f64]) {
    assert_eq!(scores.len(), out.len());
    let sum = log_sum_exp(scores).unwrap_or(f64::NAN);
    for (p, &score) in out.iter_mut().zip(scores) {
        *p = (f64::from(score) - sum).exp();
    }
}

pub(crate) fn check_labels(classes: usize, labels: &[u32]) -> Result<(), MeasureError> {
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(index) => Err(MeasureError::Label { index, label: labels[index], classes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln(e⁰ + e^{ln 3}) = ln 4, whatever is added to the scores; f32 rounds the shifted scores to 2⁻¹⁴ at 1000.
    #[test]
    fn softmax_is_shifted_before_it_overflows() {
        for shift in [-1000.0_f32, 0.0, 1000.0] {
            let scores = [shift, shift + 3_f32.ln()];
            let mut p = [0.0; 2];
            softmax(&scores, &mut p);
            assert!((p[0] - 0.25).abs() < 1e-4 && (p[1] - 0.75).abs() < 1e-4, "{p:?}");
            assert!((row(&scores, 0).loss - 4_f64.ln()).abs() < 2e-4);
        }
    }

    #[test]
    fn scores_that_are_no_distribution_are_counted() {
        let inf = f32::INFINITY;
        let scores = vec![f32::NAN, 0.0, 0.0, f32::NAN, inf, 0.0, -inf, -inf, -inf, 2.0];
        let all = Predictions::from_logits(2, scores, vec![1, 0, 0, 0, 0]).expect("fits");
        assert_eq!(all.invalid(), 4);
        let rows: Vec<_> = all.rows().collect();
        assert!(rows[..4].iter().all(|row| row.predicted.is_none() && row.loss.is_nan()));
        assert_eq!((rows[4].predicted, rows[4].loss, rows[4].confidence), (Some(1), f64::INFINITY, 1.0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = |classes, scores: &[f32], labels: &[u32]| {
            Predictions::from_logits(classes, scores.to_vec(), labels.to_vec()).unwrap_err()
        };
        assert!(matches!(error(0, &[], &[]), MeasureError::Empty { .. }));
        assert!(matches!(error(2, &[0.0; 3], &[0]), MeasureError::Length { expected: 2, found: 3, .. }));
        let label = MeasureError::Label { index: 1, label: 2, classes: 2 };
        assert_eq!(error(2, &[0.0; 4], &[0, 2]), label);
        let wrong = Predictions::from_probabilities(2, vec![0.5, 0.5, 1.5, -0.5], vec![0, 0]).unwrap_err();
        assert_eq!(wrong, MeasureError::Probability { index: 1, value: 1.5 });
    }
}
