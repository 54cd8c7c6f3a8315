//! Ensembles of outputs: the mean of several models' probabilities (soft vote), the line every fused model is measured against.

use crate::measure::MeasureError;
use crate::measure::predictions::Predictions;

use super::predictions::log_sum_exp;

/// ln of (1/n) Σ softmax over the members, row by row. An example on which a member's scores are no distribution has none either.
///
/// # Errors
/// No members, or members that were asked about different examples.
pub fn soft_vote(members: &[&Predictions]) -> Result<Predictions, MeasureError> {
    let Some((first, rest)) = members.split_first() else {
        return Err(MeasureError::empty("the ensemble"));
    };
    for member in rest {
        MeasureError::length("classes of an ensemble's member", first.classes(), member.classes())?;
        MeasureError::length("predictions of an ensemble's member", first.len(), member.len())?;
        if member.labels() != first.labels() {
            return Err(MeasureError::unsuitable(
                "the members of the ensemble predict different examples",
                "measure all of them on the same data, in the same order",
            ));
        }
    }
    let scores: Vec<&[f32]> = members.iter().map(|member| member.scores()).collect();
    let mut out = Vec::with_capacity(first.scores().len());
    vote(first.classes(), &scores, &mut out);
    Predictions::from_logits(first.classes(), out, first.labels().to_vec())
}

/// Appends the logarithms of the mean probabilities: `members` are row-major scores of one length, a multiple of `classes`.
pub(crate) fn vote(classes: usize, members: &[&[f32]], out: &mut Vec<f32>) {
    let rows = members[0].len() / classes;
    let mut mean = vec![0.0_f64; classes];
    for row in 0..rows {
        mean.fill(0.0);
        for member in members {
            let scores = &member[row * classes..(row + 1) * classes];
            let sum = log_sum_exp(scores).unwrap_or(f64::NAN);
            for (mean, &score) in mean.iter_mut().zip(scores) {
                *mean += (f64::from(score) - sum).exp();
            }
        }
        out.extend(mean.iter().map(|mean| (mean / members.len() as f64).ln() as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::metrics::{accuracy, cross_entropy};

    fn of(p: &[f32], labels: &[u32]) -> Predictions {
        Predictions::from_probabilities(2, p.to_vec(), labels.to_vec()).expect("fits")
    }

    /// (0.9, 0.1) and (0.2, 0.8) give (0.55, 0.45): the mean of probabilities, not of logits (whose vote is class 0 by
    /// √(0.9·0.2) against √(0.1·0.8), p = 0.6).
    #[test]
    fn the_mean_is_that_of_probabilities() {
        let vote = soft_vote(&[&of(&[0.9, 0.1], &[0]), &of(&[0.2, 0.8], &[0])]).expect("fits");
        let mut p = [0.0; 2];
        vote.probabilities(0, &mut p);
        assert!((p[0] - 0.55).abs() < 1e-7, "{p:?}");
        assert!((cross_entropy(&vote) + 0.55_f64.ln()).abs() < 1e-7);
    }

    /// By Jensen the ensemble's loss is at most the members' mean.
    #[test]
    fn the_vote_is_not_worse_than_the_mean_member() {
        let a = of(&[0.9, 0.1, 0.3, 0.7, 0.6, 0.4], &[0, 0, 1]);
        let b = of(&[0.4, 0.6, 0.8, 0.2, 0.1, 0.9], &[0, 0, 1]);
        let vote = soft_vote(&[&a, &b]).expect("fits");
        assert_eq!(accuracy(&vote), 1.0);
        assert!(cross_entropy(&vote) <= 0.5 * (cross_entropy(&a) + cross_entropy(&b)));
        let alone = soft_vote(&[&a]).expect("fits");
        assert!((cross_entropy(&alone) - cross_entropy(&a)).abs() < 1e-6);
    }

    #[test]
    fn members_must_agree_on_the_examples() {
        let a = of(&[0.9, 0.1], &[0]);
        assert!(soft_vote(&[]).is_err());
        assert!(soft_vote(&[&a, &of(&[0.9, 0.1], &[1])]).is_err());
        assert!(soft_vote(&[&a, &of(&[0.9, 0.1, 0.5, 0.5], &[0, 0])]).is_err());
        let nan = Predictions::from_logits(2, vec![f32::NAN, 0.0], vec![0]).expect("fits");
        assert_eq!(soft_vote(&[&a, &nan]).expect("fits").invalid(), 1);
    }
}
