//! What BatchNorm's running statistics are at weights that nobody trained: between two models, or averaged ones.
//!
//! Running statistics describe the activations of one set of weights. Interpolated statistics do not describe those of
//! interpolated weights, and a network that uses them collapses although its weights are good; so the policy is always named.

use fusion_sdk::Words;

use crate::measure::MeasureError;
use crate::measure::batches::Batches;
use crate::measure::forward::Forward;

/// Where a point's statistics come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum NormPolicy {
    /// those of the models, combined like the weights
    Keep,
    /// counted again on training data, as cumulative means
    Reset,
    /// those of the models, moved towards training batches with a momentum
    Ema,
    /// those of each batch that is measured
    Batch,
}

/// Statistics for weights on the way.
#[derive(Clone, Copy)]
pub struct NormSource<'a> {
    /// The policy; `None` is an error for networks with BatchNorm.
    pub policy: Option<NormPolicy>,
    /// Batches of training data, with the training's augmentation, shuffled: for `reset` and `ema`.
    pub train: Option<&'a Batches<'a>>,
    /// For `ema`.
    pub momentum: f64,
}

impl NormSource<'_> {
    /// For models that are measured with the statistics they were trained with.
    pub const KEEP: NormSource<'static> =
        NormSource { policy: Some(NormPolicy::Keep), train: None, momentum: 0.1 };

    /// The statistics at `weights`, or `None` where those of each batch are used. `start` gives the models' own, combined like the
    /// weights; it is asked only by the policies that need it. Networks without BatchNorm have the empty vector, whatever the policy.
    ///
    /// - `reset`: Σ bᵢ·sᵢ / Σ bᵢ over the batches, with their sizes bᵢ, means and unbiased variances sᵢ, in f64: the limit of
    ///   momentum b/(n+b) (Garipov et al., 2018).
    /// - `ema`: s ← (1−m)·s + m·sᵢ from `start`, in the order of the batches (Ainsworth et al., 2023).
    ///
    /// # Errors
    /// No policy or no training data where they are needed, or the network or the data fail. Activations that are not finite are none:
    /// they give statistics, and then losses, that are NaN.
    pub fn statistics(
        &self,
        network: &mut dyn Forward,
        weights: &[f32],
        start: impl FnOnce() -> Result<Vec<f32>, MeasureError>,
    ) -> Result<Option<Vec<f32>>, MeasureError> {
        if network.statistics() == 0 {
            return Ok(Some(Vec::new()));
        }
        let policy = self.policy.ok_or(MeasureError::NoPolicy)?;
        let mut sums: Vec<f64> = match policy {
            NormPolicy::Batch => return Ok(None),
            NormPolicy::Keep => return Ok(Some(start()?)),
            NormPolicy::Reset => vec![0.0; network.statistics()],
            NormPolicy::Ema => start()?.into_iter().map(f64::from).collect(),
        };
        let train = self.train.ok_or_else(|| {
            MeasureError::unsuitable(
                "BatchNorm's statistics cannot be counted again without training data",
                "connect the port `train`, or choose another `norm`",
            )
        })?;
        let mut seen = 0.0;
        for index in 0..train.count() {
            let batch = train.get(index)?;
            let found = network.batch_statistics(weights, &batch)?;
            MeasureError::length("statistics of a batch", sums.len(), found.len())?;
            // b/(n+b) makes the running value the mean of all that was seen.
            let share = match policy {
                NormPolicy::Ema => self.momentum,
                _ => {
                    seen += batch.len() as f64;
                    batch.len() as f64 / seen
                }
            };
            for (sum, &value) in sums.iter_mut().zip(&found) {
                *sum += share * (f64::from(value) - *sum);
            }
        }
        Ok(Some(sums.into_iter().map(|sum| sum as f32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::toy::{Examples, batches, double_well, normed};

    fn statistics(
        policy: Option<NormPolicy>,
        inputs: &[f32],
        size: usize,
        momentum: f64,
    ) -> Option<Vec<f32>> {
        let source = Examples::numbers(inputs, 0.0);
        let train = batches(&source, size);
        let norm = NormSource { policy, train: Some(&train), momentum };
        let mut network = normed().expect("a toy");
        norm.statistics(&mut *network, &[2.0], || Ok(vec![10.0, 8.0])).expect("training data")
    }

    /// w = 2 on (1, 3), (5, 7), (0, 2, 1): batches of 2 have means 4, 12 and unbiased variances 8, 8. All values are small
    /// integers, exact in f32.
    #[test]
    fn reset_is_the_mean_of_what_batches_have() {
        let reset = Some(NormPolicy::Reset);
        assert_eq!(statistics(reset, &[1.0, 3.0, 5.0, 7.0], 2, 0.1), Some(vec![8.0, 8.0]));
        // Batches of 4 and 2: means 8 and 1·2 = 2, weighed 4 : 2; variances 80/3 and 8.
        let uneven = statistics(reset, &[1.0, 3.0, 5.0, 7.0, 0.0, 2.0], 4, 0.1).expect("statistics");
        assert!((uneven[0] - (4.0 * 8.0 + 2.0 * 2.0) / 6.0).abs() < 1e-6);
        assert!((uneven[1] - (4.0 * 80.0 / 3.0 + 2.0 * 8.0) / 6.0).abs() < 1e-5);
    }

    /// From (10, 8) with momentum ½: the mean goes to 7 and to 9.5.
    #[test]
    fn ema_moves_from_the_models_own() {
        let ema = Some(NormPolicy::Ema);
        assert_eq!(statistics(ema, &[1.0, 3.0, 5.0, 7.0], 2, 0.5), Some(vec![9.5, 8.0]));
        assert_eq!(statistics(ema, &[1.0, 3.0, 5.0, 7.0], 2, 1.0), Some(vec![12.0, 8.0]));
    }

    #[test]
    fn keep_and_batch_need_no_data() {
        assert_eq!(statistics(Some(NormPolicy::Keep), &[1.0], 1, 0.1), Some(vec![10.0, 8.0]));
        assert_eq!(statistics(Some(NormPolicy::Batch), &[1.0], 1, 0.1), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut network = normed().expect("a toy");
        let mut none = NormSource { policy: None, train: None, momentum: 0.1 };
        let start = || Ok(vec![0.0, 1.0]);
        assert_eq!(none.statistics(&mut *network, &[1.0], start), Err(MeasureError::NoPolicy));
        // Without BatchNorm no policy is needed.
        let mut plain = double_well().expect("a toy");
        assert_eq!(none.statistics(&mut *plain, &[1.0, 0.0], start), Ok(Some(vec![])));
        for policy in [NormPolicy::Reset, NormPolicy::Ema] {
            none.policy = Some(policy);
            let error = none.statistics(&mut *network, &[1.0], start).unwrap_err();
            assert!(matches!(error, MeasureError::Unsuitable { .. }));
        }
    }
}
