//! How different models are in what they say: an ensemble gains only from members that err on different examples.

use serde::Serialize;

use crate::measure::MeasureError;
use crate::measure::predictions::{Predictions, log_sum_exp};

/// Two models on the same examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairDiversity {
    /// Share of examples where the predicted classes differ. Scores that are no distribution predict nothing, which differs
    /// from every class.
    pub disagreement: f64,
    /// Mean over examples of Σₖ pₖ ln(pₖ/qₖ), p of the first and q of the second model, in nats. +∞ where q is 0 and p is not.
    pub divergence: f64,
    /// The same with p and q exchanged.
    pub reverse: f64,
    /// Pearson's correlation of the indicators of error: 1 for models that err on the same examples, 0 for independent ones. NaN
    /// where a model is always right or always wrong.
    pub error_correlation: f64,
    /// Share of examples where both err.
    pub both_wrong: f64,
}

/// Compares what two models say of the same examples.
///
/// # Errors
/// Different numbers of classes, or labels that differ: the examples are not the same.
pub fn diversity(a: &Predictions, b: &Predictions) -> Result<PairDiversity, MeasureError> {
    MeasureError::length("classes of the second model", a.classes(), b.classes())?;
    MeasureError::length("predictions of the second model", a.len(), b.len())?;
    if a.labels() != b.labels() {
        return Err(MeasureError::unsuitable(
            "the predictions are about different examples",
            "measure both models on the same data, in the same order",
        ));
    }
    if a.is_empty() {
        return Err(MeasureError::empty("the data"));
    }
    let n = a.len() as f64;
    let (mut differ, mut both, mut wrong_a, mut wrong_b) = (0_u64, 0_u64, 0_u64, 0_u64);
    for ((x, y), &label) in a.predicted().zip(b.predicted()).zip(a.labels()) {
        let label = Some(label as usize);
        differ += u64::from(x != y || x.is_none());
        wrong_a += u64::from(x != label);
        wrong_b += u64::from(y != label);
        both += u64::from(x != label && y != label);
    }
    let (mut divergence, mut reverse) = (0.0, 0.0);
    let rows = |of: &'_ Predictions| of.classes();
    for (x, y) in a.scores().chunks_exact(rows(a)).zip(b.scores().chunks_exact(rows(b))) {
        let (forward, backward) = divergences(x, y);
        divergence += forward;
        reverse += backward;
    }
    let (wrong_a, wrong_b, both) = (wrong_a as f64 / n, wrong_b as f64 / n, both as f64 / n);
    let spread = (wrong_a * (1.0 - wrong_a)).sqrt() * (wrong_b * (1.0 - wrong_b)).sqrt();
    let error_correlation = match spread {
        0.0 => f64::NAN,
        _ => ((both - wrong_a * wrong_b) / spread).clamp(-1.0, 1.0),
    };
    Ok(PairDiversity {
        disagreement: differ as f64 / n,
        divergence: divergence / n,
        reverse: reverse / n,
        error_correlation,
        both_wrong: both,
    })
}

/// KL(p‖q) and KL(q‖p) of two rows of scores.
fn divergences(x: &[f32], y: &[f32]) -> (f64, f64) {
    let (Some(sum_x), Some(sum_y)) = (log_sum_exp(x), log_sum_exp(y)) else {
        return (f64::NAN, f64::NAN);
    };
    let (mut forward, mut reverse) = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(y) {
        let (log_p, log_q) = (f64::from(x) - sum_x, f64::from(y) - sum_y);
        let (p, q) = (log_p.exp(), log_q.exp());
        // 0·ln 0 = 0: a class without probability has no part.
        if p > 0.0 {
            forward += p * (log_p - log_q);
        }
        if q > 0.0 {
            reverse += q * (log_q - log_p);
        }
    }
    (forward, reverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(p: &[f32], labels: &[u32]) -> Predictions {
        Predictions::from_probabilities(2, p.to_vec(), labels.to_vec()).expect("fits")
    }

    /// Four examples of class 0: the first model errs on the third and fourth, the second on the second and fourth.
    /// Disagreement 2/4, both wrong 1/4, correlation (1/4 − 1/4)/¼ = 0.
    #[test]
    fn errors_by_hand() {
        let (right, wrong) = ([0.75, 0.25], [0.25, 0.75]);
        let a = of(&[right, right, wrong, wrong].concat(), &[0; 4]);
        let b = of(&[right, wrong, right, wrong].concat(), &[0; 4]);
        let found = diversity(&a, &b).expect("fits");
        assert_eq!((found.disagreement, found.both_wrong, found.error_correlation), (0.5, 0.25, 0.0));
        // KL((¾,¼)‖(¼,¾)) = ½ ln 3, on two of four examples, and by symmetry both ways. f32 logarithms: 1e-7.
        assert!((found.divergence - 0.25 * 3_f64.ln()).abs() < 1e-7, "{found:?}");
        assert!((found.reverse - found.divergence).abs() < 1e-7);
        let same = diversity(&a, &a).expect("fits");
        assert_eq!((same.disagreement, same.divergence, same.reverse), (0.0, 0.0, 0.0));
        assert!((same.error_correlation - 1.0).abs() < 1e-15);
        let opposite = of(&[wrong, wrong, right, right].concat(), &[0; 4]);
        assert!((diversity(&a, &opposite).expect("fits").error_correlation + 1.0).abs() < 1e-15);
    }

    /// KL((½,½)‖(¼,¾)) = ½ ln(4/3); the other way ¼ ln ½ + ¾ ln (3/2).
    #[test]
    fn divergence_has_a_direction() {
        let found = diversity(&of(&[0.5, 0.5], &[0]), &of(&[0.25, 0.75], &[0])).expect("fits");
        assert!((found.divergence - 0.5 * (4.0_f64 / 3.0).ln()).abs() < 1e-7);
        assert!((found.reverse - (0.25 * 0.5_f64.ln() + 0.75 * 1.5_f64.ln())).abs() < 1e-7);
        let certain = diversity(&of(&[0.5, 0.5], &[0]), &of(&[1.0, 0.0], &[0])).expect("fits");
        assert_eq!(certain.divergence, f64::INFINITY);
        assert!((certain.reverse - 2_f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn what_is_undefined_is_nan_and_what_does_not_fit_an_error() {
        let right = of(&[1.0, 0.0, 1.0, 0.0], &[0, 0]);
        assert!(diversity(&right, &right).expect("fits").error_correlation.is_nan());
        let nan = Predictions::from_logits(2, vec![f32::NAN; 4], vec![0, 0]).expect("fits");
        let found = diversity(&nan, &nan).expect("fits");
        assert!(found.divergence.is_nan());
        assert_eq!((found.disagreement, found.both_wrong), (1.0, 1.0));
        assert!(diversity(&right, &of(&[1.0, 0.0, 1.0, 0.0], &[0, 1])).is_err());
        assert!(diversity(&right, &of(&[1.0, 0.0], &[0])).is_err());
        let three = Predictions::from_logits(3, vec![0.0; 6], vec![0, 0]).expect("fits");
        assert!(diversity(&right, &three).is_err());
        let none = Predictions::from_logits(2, vec![], vec![]).expect("fits");
        assert!(diversity(&none, &none).is_err());
    }
}
