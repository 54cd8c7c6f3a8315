//! Metrics of predictions, each a mean over examples in f64, in the order of the examples.
//!
//! Scores that are no distribution (see [`Row`](super::predictions::Row)) count as wrong, and make every metric of
//! probabilities NaN: a network that returns NaN has no loss. No examples at all give NaN everywhere.

use crate::measure::MeasureError;
use crate::measure::predictions::{Predictions, check_labels, row};
use fusion_sdk::batch::Targets;

/// Share of examples whose highest score is that of their label; of equal scores the lowest class counts.
#[must_use]
pub fn accuracy(predictions: &Predictions) -> f64 {
    let right = predictions.predicted().zip(predictions.labels());
    let right = right.filter(|&(predicted, &label)| predicted == Some(label as usize)).count();
    right as f64 / predictions.len() as f64
}

/// −(1/n) Σ ln p(label), in nats: the negative log-likelihood. +∞ where a label has probability 0.
#[must_use]
pub fn cross_entropy(predictions: &Predictions) -> f64 {
    predictions.rows().map(|row| row.loss).sum::<f64>() / predictions.len() as f64
}

/// exp of the cross entropy.
#[must_use]
pub fn perplexity(predictions: &Predictions) -> f64 {
    cross_entropy(predictions).exp()
}

/// (1/n) Σ Σₖ (pₖ − [k = label])²: 0 for certainty that is right, 2 for certainty that is wrong (Brier, 1950).
#[must_use]
pub fn brier(predictions: &Predictions) -> f64 {
    let mut p = vec![0.0; predictions.classes()];
    let mut sum = 0.0;
    for (index, &label) in predictions.labels().iter().enumerate() {
        predictions.probabilities(index, &mut p);
        p[label as usize] -= 1.0;
        sum += p.iter().map(|d| d * d).sum::<f64>();
    }
    sum / predictions.len() as f64
}

/// Mean of (output − target)² over all numbers.
///
/// # Errors
/// The lengths differ.
pub fn mean_squared_error(outputs: &[f32], targets: &[f32]) -> Result<f64, MeasureError> {
    MeasureError::length("outputs", targets.len(), outputs.len())?;
    Ok(squares(outputs, targets) / targets.len() as f64)
}

fn squares(outputs: &[f32], targets: &[f32]) -> f64 {
    outputs.iter().zip(targets).map(|(&o, &t)| (f64::from(o) - f64::from(t)).powi(2)).sum()
}

/// Loss and accuracy of some batches, as sums: what a point of a path keeps of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Σ of the loss's terms.
    pub loss: f64,
    /// Number of terms: examples, or numbers for a regression.
    pub terms: u64,
    /// Examples whose class was found; `None` for a regression.
    pub right: Option<u64>,
    /// Examples.
    pub examples: u64,
    /// Examples whose outputs are no distribution, or hold NaN or infinity for a regression.
    pub invalid: u64,
}

/// Means over a data set.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Score {
    /// Cross entropy in nats, or the mean squared error of a regression; NaN where an output was.
    pub loss: f64,
    /// Share of examples whose class was found; `None` for a regression.
    pub accuracy: Option<f64>,
    /// Examples (positions for a language model).
    pub examples: u64,
    /// Examples with outputs that are not usable: see [`Totals::invalid`].
    pub invalid: u64,
}

impl Totals {
    /// Of one batch: `outputs` are row-major, one row for each target.
    ///
    /// # Errors
    /// The outputs do not fit the targets, or a label has no output.
    pub fn of(outputs: &[f32], targets: &Targets) -> Result<Self, MeasureError> {
        let mut totals = Totals::default();
        match targets {
            Targets::Classes(labels) => {
                let classes = width(outputs.len(), labels.len())?;
                check_labels(classes, labels)?;
                totals.right = Some(0);
                for (scores, &label) in outputs.chunks_exact(classes).zip(labels) {
                    let row = row(scores, label);
                    totals.loss += row.loss;
                    totals.invalid += u64::from(row.predicted.is_none());
                    let right = u64::from(row.predicted == Some(label as usize));
                    totals.right = totals.right.map(|sum| sum + right);
                }
                totals.terms = labels.len() as u64;
                totals.examples = totals.terms;
            }
            Targets::Numbers { width, rows } => {
                MeasureError::length("outputs", rows.len(), outputs.len())?;
                let width = (*width).max(1);
                totals.loss = squares(outputs, rows);
                totals.terms = rows.len() as u64;
                totals.examples = (rows.len() / width) as u64;
                let bad = outputs.chunks(width).filter(|row| row.iter().any(|value| !value.is_finite()));
                totals.invalid = bad.count() as u64;
            }
            Targets::Soft { .. } => {
                return Err(MeasureError::unsuitable(
                    "the data has mixed labels",
                    "measure on data without mixup: every example has one class",
                ));
            }
        }
        Ok(totals)
    }

    /// With another batch's.
    #[must_use]
    pub fn plus(self, other: Totals) -> Totals {
        Totals {
            loss: self.loss + other.loss,
            terms: self.terms + other.terms,
            right: match (self.right, other.right) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            },
            examples: self.examples + other.examples,
            invalid: self.invalid + other.invalid,
        }
    }

    /// The means; NaN without examples.
    #[must_use]
    pub fn score(self) -> Score {
        Score {
            loss: self.loss / self.terms as f64,
            accuracy: self.right.map(|right| right as f64 / self.examples as f64),
            examples: self.examples,
            invalid: self.invalid,
        }
    }
}

/// Row length of `values` in `rows` rows.
pub(crate) fn width(values: usize, rows: usize) -> Result<usize, MeasureError> {
    if rows == 0 || values == 0 {
        return Err(MeasureError::empty("a batch"));
    }
    match values % rows {
        0 => Ok(values / rows),
        _ => Err(MeasureError::Length {
            what: format!("outputs of {rows} examples"),
            expected: values.div_ceil(rows) * rows,
            found: values,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Probabilities (1/2, 1/4, 1/4) of class 0, (1/4, 3/4, 0) of class 0, (1/4, 1/4, 1/2) of class 2.
    fn three() -> Predictions {
        let p = vec![0.5, 0.25, 0.25, 0.25, 0.75, 0.0, 0.25, 0.25, 0.5];
        Predictions::from_probabilities(3, p, vec![0, 0, 2]).expect("fits")
    }

    /// By hand: loss (ln 2 + ln 4 + ln 2)/3 = 4/3 ln 2, so perplexity 2^{4/3}; Brier (6/16 + 18/16 + 6/16)/3 = 5/8.
    /// f32 logarithms are good to 1e-7.
    #[test]
    fn values_by_hand() {
        let p = three();
        assert_eq!(accuracy(&p), 2.0 / 3.0);
        assert!((cross_entropy(&p) - 4.0 / 3.0 * 2_f64.ln()).abs() < 1e-7);
        assert!((perplexity(&p) - 2_f64.powf(4.0 / 3.0)).abs() < 1e-6);
        assert!((brier(&p) - 0.625).abs() < 1e-7);
    }

    #[test]
    fn nan_is_wrong_and_has_no_loss() {
        let p = Predictions::from_logits(2, vec![f32::NAN, 0.0, 1.0, 0.0], vec![0, 0]).expect("fits");
        assert_eq!(accuracy(&p), 0.5);
        assert!(cross_entropy(&p).is_nan() && brier(&p).is_nan());
        let none = Predictions::from_logits(2, vec![], vec![]).expect("fits");
        assert!(accuracy(&none).is_nan() && cross_entropy(&none).is_nan() && brier(&none).is_nan());
        let labels = Targets::Classes(vec![0, 0]);
        let score = Totals::of(&[f32::NAN, 0.0, 1.0, 0.0], &labels).expect("fits").score();
        assert_eq!((score.accuracy, score.invalid, score.examples), (Some(0.5), 1, 2));
        assert!(score.loss.is_nan());
    }

    #[test]
    fn regressions_have_no_accuracy() {
        assert_eq!(mean_squared_error(&[1.0, 2.0], &[0.0, 4.0]), Ok(2.5));
        assert!(mean_squared_error(&[1.0], &[0.0, 4.0]).is_err());
        let targets = Targets::Numbers { width: 2, rows: vec![0.0, 4.0, 1.0, 1.0] };
        let score = Totals::of(&[1.0, 2.0, 1.0, 1.0], &targets).expect("fits").score();
        assert_eq!((score.loss, score.accuracy, score.examples), (1.25, None, 2));
        let infinite = Totals::of(&[1.0, 2.0, f32::INFINITY, 1.0], &targets).expect("fits");
        assert_eq!(infinite.invalid, 1);
    }

    #[test]
    fn targets_that_do_not_fit_are_refused() {
        let of = |outputs: &[f32], targets: Targets| Totals::of(outputs, &targets).unwrap_err();
        assert!(matches!(of(&[0.0; 5], Targets::Classes(vec![0, 1])), MeasureError::Length { .. }));
        assert!(matches!(of(&[0.0; 4], Targets::Classes(vec![0, 2])), MeasureError::Label { index: 1, .. }));
        assert!(matches!(of(&[], Targets::Classes(vec![])), MeasureError::Empty { .. }));
        let soft = Targets::Soft { classes: 2, rows: vec![0.5, 0.5] };
        assert!(matches!(of(&[0.0; 2], soft), MeasureError::Unsuitable { .. }));
    }

    proptest! {
        /// Totals of pieces are those of the whole; means stay in their ranges; a shift of all scores changes nothing but
        /// rounding: scores up to 20 have spacing 2e-6 in f32, and so have differences.
        #[test]
        fn sums_and_ranges(
            rows in prop::collection::vec((prop::collection::vec(-10.0_f32..10.0, 4), 0_u32..4), 2..40),
            cut in 1_usize..39,
            shift in -10.0_f32..10.0,
        ) {
            let scores: Vec<f32> = rows.iter().flat_map(|(scores, _)| scores.clone()).collect();
            let labels: Vec<u32> = rows.iter().map(|&(_, label)| label).collect();
            let cut = cut.min(rows.len() - 1);
            let part = |scores: &[f32], labels: &[u32]| Totals::of(scores, &Targets::Classes(labels.to_vec()));
            let whole = part(&scores, &labels).unwrap().score();
            let sum = part(&scores[..4 * cut], &labels[..cut]).unwrap()
                .plus(part(&scores[4 * cut..], &labels[cut..]).unwrap()).score();
            prop_assert_eq!(whole.accuracy, sum.accuracy);
            prop_assert!((whole.loss - sum.loss).abs() < 1e-12 * whole.loss.max(1.0));

            let p = Predictions::from_logits(4, scores.clone(), labels.clone()).unwrap();
            prop_assert_eq!(whole.accuracy, Some(accuracy(&p)));
            prop_assert!((whole.loss - cross_entropy(&p)).abs() < 1e-12 * whole.loss.max(1.0));
            let brier_score = brier(&p);
            prop_assert!((0.0..=2.0).contains(&brier_score));
            prop_assert!(perplexity(&p) >= 1.0);

            let shifted = scores.iter().map(|score| score + shift).collect();
            let shifted = Predictions::from_logits(4, shifted, labels).unwrap();
            prop_assert!((cross_entropy(&shifted) - whole.loss).abs() < 2e-5);
            prop_assert!((brier(&shifted) - brier_score).abs() < 2e-5);
        }
    }
}
