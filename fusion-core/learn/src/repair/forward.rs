//! Moments of units by running networks: of the models that were averaged, and of their average behind corrected layers.

use fusion_network::{Flat, Goal, Moments};

use super::{Spread, Work};
use crate::measure::MeasureError;
use crate::measure::network::failed;

impl Work<'_> {
    /// A model's moments, layer by layer, as it is.
    pub(super) fn of(&self, name: &str, flat: &Flat) -> Result<Vec<Moments>, MeasureError> {
        let taps = self.taps();
        let found = self.each(&format!("statistics of {name}"), |network, batch| {
            network.moments(&flat.weights, &flat.statistics, batch, self.norm, &taps).map_err(failed)
        })?;
        self.summed(name, &found)
    }

    /// Those of all models that were averaged.
    pub(super) fn of_endpoints(&self) -> Result<Vec<Vec<Moments>>, MeasureError> {
        let endpoints = self.repair.endpoints.iter();
        endpoints.map(|endpoint| self.of(endpoint.name, endpoint.flat)).collect()
    }

    /// Goals from them: μ* = Σ αᵢ μᵢ, and σ* = Σ αᵢ σᵢ or √(Σ αᵢ σᵢ²).
    pub(super) fn goals(&self, models: &[Vec<Moments>]) -> Vec<Goal> {
        let shares: Vec<f64> = self.repair.endpoints.iter().map(|endpoint| endpoint.share).collect();
        let layer = |index: usize| {
            let units = models[0][index].mean.len();
            let mut goal = Goal { mean: vec![0.0; units], std: vec![0.0; units] };
            for (moments, share) in models.iter().map(|model| &model[index]).zip(&shares) {
                for (unit, variance) in moments.variances().into_iter().enumerate() {
                    goal.mean[unit] += share * moments.mean[unit];
                    goal.std[unit] += share
                        * match self.repair.spread {
                            Spread::Std => variance.sqrt(),
                            Spread::Variance => variance,
                        };
                }
            }
            if self.repair.spread == Spread::Variance {
                goal.std.iter_mut().for_each(|std| *std = std.sqrt());
            }
            goal
        };
        (0..self.sites.len()).map(layer).collect()
    }

    /// The average's moments in front of its corrections, each layer behind corrected ones.
    pub(super) fn corrected(&self, goals: &[Goal]) -> Result<Vec<Moments>, MeasureError> {
        let goals: Vec<(usize, Goal)> =
            self.sites.iter().map(|site| site.tap).zip(goals.iter().cloned()).collect();
        let merged = self.repair.merged;
        let found = self.each("corrected statistics", |network, batch| {
            let (weights, statistics) = (&merged.flat.weights, &merged.flat.statistics);
            network.corrected(weights, statistics, batch, self.norm, self.repair.kind, &goals).map_err(failed)
        })?;
        self.summed(merged.name, &found)
    }

    /// Moments of all batches together, in their order.
    fn summed(&self, name: &str, batches: &[Vec<Moments>]) -> Result<Vec<Moments>, MeasureError> {
        let mut sums = vec![Moments::default(); self.sites.len()];
        for batch in batches {
            self.finite(name, batch)?;
            sums.iter_mut().zip(batch).for_each(|(sum, moments)| sum.absorb(moments));
        }
        Ok(sums)
    }
}
