//! Who can be merged with whom: the barrier on the straight line between every two of several models.

use fusion_sdk::path::blend_into;
use fusion_sdk::stats::delta_dot;
use serde::Serialize;

use crate::measure::MeasureError;
use crate::measure::barrier::Barrier;
use crate::measure::batches::Batches;
use crate::measure::evaluate::{Point, score};
use crate::measure::forward::Model;
use crate::measure::metric::{Metric, barrier_of};
use crate::measure::metrics::Score;
use crate::measure::norm::NormSource;
use crate::measure::workers::Run;

/// Lines between all pairs of models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mergeable {
    /// The models.
    pub names: Vec<String>,
    /// Every pair once, by its indices.
    pub pairs: Vec<Pair>,
}

/// The line between two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Index of the model at t = 0.
    pub first: usize,
    /// Index of the model at t = 1.
    pub second: usize,
    /// ‖θ₂ − θ₁‖.
    pub distance: f64,
    /// By data set, in the order given: barriers of the loss and, for classes, of the accuracy.
    pub sets: Vec<(Barrier, Option<Barrier>)>,
}

impl Mergeable {
    /// The symmetric matrix of `value`, 0 on the diagonal, for one data set; `None` where a regression has no accuracy.
    #[must_use]
    pub fn matrix(&self, set: usize, metric: Metric, value: fn(&Barrier) -> f64) -> Option<Vec<Vec<f64>>> {
        let n = self.names.len();
        let mut matrix = vec![vec![0.0; n]; n];
        for pair in &self.pairs {
            let (loss, accuracy) = &pair.sets[set];
            let found = match metric {
                Metric::Loss => value(loss),
                Metric::CrossEntropy => accuracy.as_ref().map(|_| value(loss))?,
                // All that differs between error and accuracy is the direction, which barriers do not show.
                Metric::Accuracy | Metric::Error => value(accuracy.as_ref()?),
            };
            matrix[pair.first][pair.second] = found;
            matrix[pair.second][pair.first] = found;
        }
        Some(matrix)
    }
}

/// Measures the lines at each `t` (see [`grid`](super::barrier::grid)); the models themselves are measured once.
///
/// # Errors
/// Fewer than two models, models of different networks, or what [`walk`](super::path::walk) fails for.
pub fn mergeable(
    models: &[Model<'_>],
    t: &[f64],
    norm: &NormSource<'_>,
    data: &[&Batches<'_>],
    run: &Run<'_>,
) -> Result<Mergeable, MeasureError> {
    let [first, _, ..] = models else {
        return Err(MeasureError::unsuitable("barriers need two models", "connect another model to `from`"));
    };
    if data.is_empty() || t.len() < 3 {
        return Err(MeasureError::empty("the list of data sets or of t"));
    }
    for model in models {
        MeasureError::length(
            &format!("weights of `{}`", model.name),
            first.weights.len(),
            model.weights.len(),
        )?;
        if first.statistics.is_empty() || model.statistics.is_empty() {
            continue;
        }
        let statistics = (first.statistics.len(), model.statistics.len());
        MeasureError::length(&format!("running statistics of `{}`", model.name), statistics.0, statistics.1)?;
    }
    let inner = &t[1..t.len() - 1];
    let n = models.len();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect();

    let make = || Ok((first.build()?, vec![0.0; first.weights.len()]));
    let scores = run.each("pairs", n + pairs.len() * inner.len(), make, |(network, weights), job| {
        let (coefficients, ends) = match job.checked_sub(n) {
            None => ([1.0, 0.0], [&models[job], &models[job]]),
            Some(at) => {
                let ((i, j), t) = (pairs[at / inner.len()], inner[at % inner.len()]);
                ([1.0 - t, t], [&models[i], &models[j]])
            }
        };
        blend_into(&coefficients, &ends.map(|model| model.weights), weights);
        let statistics = norm.statistics(&mut **network, weights, || {
            let [a, b] = ends;
            Ok(fusion_sdk::path::blend(&coefficients, &[a.own_statistics()?, b.own_statistics()?]))
        })?;
        let point = Point { weights, statistics: statistics.as_deref() };
        data.iter().map(|data| score(&mut **network, point, data, run)).collect::<Result<Vec<Score>, _>>()
    })?;

    let pairs = pairs.iter().enumerate().map(|(index, &(i, j))| {
        let (a, b) = (models[i].weights, models[j].weights);
        let distance = delta_dot(a, a, b).sqrt();
        let pieces: Vec<f64> = t.windows(2).map(|pair| distance * (pair[1] - pair[0])).collect();
        let from = n + index * inner.len();
        let sets = (0..data.len()).map(|set| {
            let between = scores[from..from + inner.len()].iter().map(|sets| sets[set]);
            let line: Vec<Score> = std::iter::once(scores[i][set])
                .chain(between)
                .chain(std::iter::once(scores[j][set]))
                .collect();
            let of = |metric| barrier_of(metric, t, &pieces, &line);
            let loss = of(Metric::Loss)?.ok_or_else(|| MeasureError::empty("the loss"))?;
            Ok((loss, of(Metric::Accuracy)?))
        });
        Ok(Pair { first: i, second: j, distance, sets: sets.collect::<Result<_, MeasureError>>()? })
    });
    let pairs = pairs.collect::<Result<_, MeasureError>>()?;
    Ok(Mergeable { names: models.iter().map(|model| model.name.to_owned()).collect(), pairs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::barrier::grid;
    use crate::measure::toy::{Examples, batches, double_well, run};

    /// Four minima of (x² + y² − 1)²: opposite ones have the barrier 1, neighbours the midpoint ½ from the circle: ¼.
    #[test]
    fn neighbours_are_nearer_than_opposites() {
        let source = Examples::numbers(&[1.0, 2.0], 0.0);
        let data = batches(&source, 2);
        let weights: [&[f32]; 4] = [&[1.0, 0.0], &[0.0, 1.0], &[-1.0, 0.0], &[0.0, -1.0]];
        let models: Vec<Model<'_>> = ["e", "n", "w", "s"]
            .iter()
            .zip(weights)
            .map(|(name, weights)| Model { name, network: &double_well, weights, statistics: &[] })
            .collect();
        let t = grid(5).expect("enough");
        let of = |threads| mergeable(&models, &t, &NormSource::KEEP, &[&data], &run(threads)).expect("fits");
        let found = of(1);
        assert_eq!(found.pairs.len(), 6);
        let matrix = found.matrix(0, Metric::Loss, |barrier| barrier.height).expect("a loss");
        let (near, far) = (0.25, 1.0);
        assert_eq!(matrix[0], [0.0, near, far, near]);
        assert_eq!(matrix[3], [near, far, near, 0.0]);
        assert_eq!(found.matrix(0, Metric::Accuracy, |barrier| barrier.gap), None);
        assert!((found.pairs[1].distance - 2.0).abs() < 1e-15);
        assert_eq!(of(3), found);
        assert!(mergeable(&models[..1], &t, &NormSource::KEEP, &[&data], &run(1)).is_err());
    }
}
