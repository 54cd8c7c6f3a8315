//! Calibration: whether a probability of 80 % is right in 80 % of cases.

use serde::Serialize;

use crate::measure::MeasureError;
use crate::measure::predictions::Predictions;

/// Examples whose confidence lies in one interval: a bar of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Confidences above this (the first bin: from this).
    pub low: f64,
    /// Up to this.
    pub high: f64,
    /// Examples.
    pub count: u64,
    /// Mean confidence; NaN for an empty bin.
    pub confidence: f64,
    /// Share that is right; NaN for an empty bin.
    pub accuracy: f64,
}

/// Expected calibration error and what it is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Σ (count/n)·|accuracy − confidence| over the bins; NaN with scores that are no distribution, or without examples.
    pub ece: f64,
    /// The largest |accuracy − confidence| of a bin with examples; NaN as `ece`.
    pub mce: f64,
    /// In order of confidence.
    pub bins: Vec<Bin>,
    /// Examples in no bin: their scores are no distribution.
    pub invalid: u64,
}

/// Expected calibration error with `bins` intervals of equal width (low, high] for the highest probability (Guo et al.,
/// "On calibration of modern neural networks", 2017; they use 15).
///
/// # Errors
/// `bins` is 0.
pub fn calibration(predictions: &Predictions, bins: usize) -> Result<Calibration, MeasureError> {
    if bins == 0 {
        return Err(MeasureError::unsuitable("a calibration error over 0 bins", "set `bins` to at least 1"));
    }
    let mut sums = vec![(0_u64, 0.0_f64, 0_u64); bins];
    let mut invalid = 0;
    for (row, &label) in predictions.rows().zip(predictions.labels()) {
        let Some(predicted) = row.predicted else {
            invalid += 1;
            continue;
        };
        // ⌈c·bins⌉ − 1 with (low, high]; 0 cannot occur, the highest of k probabilities is at least 1/k.
        let bin = ((row.confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        let (count, confidence, right) = &mut sums[bin];
        *count += 1;
        *confidence += row.confidence;
        *right += u64::from(predicted == label as usize);
    }
    let (mut ece, mut mce) = (0.0, 0.0_f64);
    let n = predictions.len() as f64;
    let edge = |index: usize| index as f64 / bins as f64;
    let bins = sums.iter().enumerate().map(|(index, &(count, confidence, right))| {
        let (confidence, accuracy) = (confidence / count as f64, right as f64 / count as f64);
        if count > 0 {
            let gap = (accuracy - confidence).abs();
            ece += gap * count as f64 / n;
            mce = mce.max(gap);
        }
        Bin { low: edge(index), high: edge(index + 1), count, confidence, accuracy }
    });
    let bins = bins.collect();
    if invalid > 0 || predictions.is_empty() {
        (ece, mce) = (f64::NAN, f64::NAN);
    }
    Ok(Calibration { ece, mce, bins, invalid })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten examples at 0.8 with eight right are calibrated; at 0.8 with five right the error is 0.3. Two bins: 0.8 and 0.4
    /// weigh by their counts. f32 logarithms are good to 1e-7.
    #[test]
    fn values_by_hand() {
        let at = |p: f32, right: usize, n: usize| {
            let rest = (1.0 - p) / 3.0;
            let scores = [p, rest, rest, rest].repeat(n);
            let labels = (0..n).map(|i| u32::from(i >= right)).collect::<Vec<_>>();
            (scores, labels)
        };
        let of = |parts: &[(Vec<f32>, Vec<u32>)], bins| {
            let scores = parts.iter().flat_map(|(scores, _)| scores.clone()).collect();
            let labels = parts.iter().flat_map(|(_, labels)| labels.clone()).collect();
            calibration(&Predictions::from_probabilities(4, scores, labels).expect("fits"), bins)
                .expect("bins")
        };
        assert!(of(&[at(0.8, 8, 10)], 15).ece < 1e-7);
        assert!((of(&[at(0.8, 5, 10)], 15).ece - 0.3).abs() < 1e-7);
        let both = of(&[at(0.8, 5, 10), at(0.4, 20, 30)], 2);
        let low = 2.0 / 3.0 - 0.4;
        assert!((both.ece - (0.25 * 0.3 + 0.75 * low)).abs() < 1e-7, "{both:?}");
        assert!((both.mce - 0.3).abs() < 1e-7);
        assert_eq!(both.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [30, 10]);
        // One bin: |accuracy − confidence| over everything.
        let one = of(&[at(0.8, 5, 10), at(0.4, 20, 30)], 1);
        assert!((one.ece - (25.0 / 40.0 - 0.5_f64).abs()).abs() < 1e-7);
        assert!(both.bins[0].low == 0.0 && both.bins[1].high == 1.0);
    }

    /// A confidence on an edge belongs to the bin below it, as in the paper; 1.0 to the last.
    #[test]
    fn edges_belong_to_the_bin_below() {
        let scores = vec![0.0, 0.0, 0.0, f32::NEG_INFINITY];
        let p = Predictions::from_logits(2, scores, vec![0, 0]).expect("fits");
        let bins = calibration(&p, 2).expect("bins").bins;
        assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn nan_is_in_no_bin() {
        let p = Predictions::from_logits(2, vec![f32::NAN, 0.0, 0.0, 1.0], vec![0, 1]).expect("fits");
        let found = calibration(&p, 15).expect("bins");
        assert_eq!(found.invalid, 1);
        assert!(found.ece.is_nan() && found.mce.is_nan());
        assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<u64>(), 1);
        assert!(calibration(&p, 0).is_err());
    }
}
