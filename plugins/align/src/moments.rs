//! How the units of several models vary together: one pass over activations, in f64, for correlations within models and across them.

use std::sync::{Mutex, PoisonError};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fusion_sdk::{Context, MethodError};

use crate::rows::Rows;

/// Rows of the products that are computed at a time, whatever the number of threads.
const BLOCK: usize = 64;

/// Share of a unit's square mean below which its variance is a rounding error.
const ROUNDING: f64 = 1e-12;

/// Sums over examples of all units, and of their products, from the first example's values on: so that a unit that never changes has a variance
/// of exactly 0, and little is lost where means are far from 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moments {
    examples: f64,
    origin: Vec<f64>,
    sums: Vec<f64>,
    products: Vec<f64>,
}

impl Moments {
    /// Units of all models.
    pub(crate) fn units(&self) -> usize {
        self.origin.len()
    }

    /// Adds a batch: the units of all models behind each other, with the same columns.
    ///
    /// # Errors
    /// The models have different numbers of columns, or the user asked to stop.
    pub(crate) fn add(&mut self, context: Context<'_>, batch: &[Rows]) -> Result<(), MethodError> {
        let terms = batch.first().map_or(0, |rows| rows.columns);
        if batch.iter().any(|rows| rows.columns != terms) {
            return Err(MethodError::invalid(
                "the models give different numbers of activations for the same data",
            ));
        }
        if terms == 0 {
            return Ok(());
        }
        let units: usize = batch.iter().map(|rows| rows.rows).sum();
        let mut values: Vec<f64> = batch.iter().flat_map(|rows| rows.values.iter().copied()).collect();
        if self.examples == 0.0 {
            self.origin = values.chunks_exact(terms).map(|row| row[0]).collect();
            self.sums = vec![0.0; units];
            self.products = vec![0.0; units * units];
        }
        for ((row, origin), sum) in values.chunks_exact_mut(terms).zip(&self.origin).zip(&mut self.sums) {
            row.iter_mut().for_each(|value| *value -= origin);
            *sum += row.iter().sum::<f64>();
        }
        let all = MatRef::from_row_major_slice(&values, units, terms);
        let blocks: Vec<Mutex<&mut [f64]>> =
            self.products.chunks_mut(BLOCK * units).map(Mutex::new).collect();
        context.for_each(blocks.len(), |index| {
            let mut sums = blocks[index].lock().unwrap_or_else(PoisonError::into_inner);
            let (first, count) = (index * BLOCK, sums.len() / units);
            // From the diagonal on: the rest is the same.
            matmul(
                MatMut::from_row_major_slice_mut(&mut sums, count, units).submatrix_mut(
                    0,
                    first,
                    count,
                    units - first,
                ),
                Accum::Add,
                all.submatrix(first, 0, count, terms),
                all.submatrix(first, 0, units - first, terms).transpose(),
                1.0,
                Par::Seq,
            );
            Ok(())
        })?;
        self.examples += terms as f64;
        Ok(())
    }

    /// Covariances, units by units, over the examples; none without examples.
    pub(crate) fn covariances(&self) -> Vec<f64> {
        let n = self.units();
        let of = |i: usize, j: usize| {
            // The block of the lower index has been computed from the diagonal on.
            (self.products[i.min(j) * n + i.max(j)] - self.sums[i] * self.sums[j] / self.examples)
                / self.examples
        };
        (0..n * n).map(|at| of(at / n, at % n)).collect()
    }

    /// Pearson correlations, units by units; 0 for a unit that never changes, also with itself.
    pub(crate) fn correlations(&self) -> Vec<f64> {
        let n = self.units();
        let covariance = |i: usize, j: usize| {
            // The block of the lower index has been computed from the diagonal on.
            self.products[i.min(j) * n + i.max(j)] - self.sums[i] * self.sums[j] / self.examples
        };
        let deviations: Vec<f64> = (0..n)
            .map(|i| {
                let variance = covariance(i, i);
                if variance > ROUNDING * self.products[i * n + i] { variance.sqrt() } else { 0.0 }
            })
            .collect();
        let mut found = vec![0.0; n * n];
        for i in 0..n {
            for j in i..n {
                let scale = deviations[i] * deviations[j];
                let value = if scale > 0.0 { covariance(i, j) / scale } else { 0.0 };
                (found[i * n + j], found[j * n + i]) = (value, value);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::uniform;
    use fusion_sdk::context::Alone;

    /// Against two passes over all examples; in batches of different sizes, far from 0, with a dead unit.
    #[test]
    fn correlations_are_those_of_two_passes() {
        let (units, examples) = (70, 31);
        let mut all = uniform(5, units * examples);
        all.iter_mut().enumerate().for_each(|(at, value)| *value += 100.0 * (at / examples) as f64);
        all[examples * 3..examples * 4].fill(0.1);
        let row = |unit: usize| &all[unit * examples..(unit + 1) * examples];
        let mut moments = Moments::default();
        for range in [0..9, 9..31] {
            let part = |units: std::ops::Range<usize>| Rows {
                rows: units.len(),
                columns: range.len(),
                values: units.flat_map(|unit| row(unit)[range.clone()].to_vec()).collect(),
            };
            moments.add(Context::new(&Alone), &[part(0..40), part(40..70)]).unwrap();
        }
        let centred: Vec<Vec<f64>> = (0..units)
            .map(|unit| {
                let mean = row(unit).iter().sum::<f64>() / examples as f64;
                row(unit).iter().map(|value| value - mean).collect()
            })
            .collect();
        let dot = |a: usize, b: usize| centred[a].iter().zip(&centred[b]).map(|(x, y)| x * y).sum::<f64>();
        let found = moments.correlations();
        for i in 0..units {
            for j in 0..units {
                let wanted = match i == 3 || j == 3 {
                    true => 0.0,
                    false => dot(i, j) / (dot(i, i) * dot(j, j)).sqrt(),
                };
                // Values of 7000 with deviations of ½ have lost five digits of sixteen.
                assert!(
                    (found[i * units + j] - wanted).abs() < 1e-11,
                    "{i} {j}: {} {wanted}",
                    found[i * units + j]
                );
            }
        }
        assert!(Moments::default().correlations().is_empty());
    }
}
