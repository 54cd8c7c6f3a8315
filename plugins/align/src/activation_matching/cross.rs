//! How the units of two models vary together: sums over examples in f64, for correlations and inner products.

use std::sync::{Mutex, PoisonError};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fusion_sdk::{Context, MethodError};

use super::Cost;
use crate::rows::Rows;

/// Rows of products that are computed at a time, whatever the number of threads.
const BLOCK: usize = 64;

/// Share of a unit's square mean below which its variance is a rounding error.
const ROUNDING: f64 = 1e-12;

/// Sums of the units of one model.
#[derive(Clone, Debug, Default, PartialEq)]
struct Side {
    /// Values of the first example: sums are taken from there on, so that little is lost where means are far from 0, and a unit that never
    /// changes has a variance of exactly 0.
    origin: Vec<f64>,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

/// Sums over examples of two models' units and of their products.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cross {
    examples: f64,
    a: Side,
    b: Side,
    /// Units of the first by units of the second.
    products: Vec<f64>,
}

impl Cross {
    /// Adds a batch: a row for each unit, a column for each example.
    ///
    /// # Errors
    /// The models have different numbers of columns, or the user asked to stop.
    pub(super) fn add(&mut self, context: Context<'_>, a: &Rows, b: &Rows) -> Result<(), MethodError> {
        let terms = a.columns;
        if b.columns != terms {
            return Err(MethodError::invalid(
                "the models give different numbers of activations for the same data",
            ));
        }
        if terms == 0 {
            return Ok(());
        }
        if self.examples == 0.0 {
            self.products = vec![0.0; a.rows * b.rows];
        }
        let (a, b) = (self.a.add(a), self.b.add(b));
        let units = b.len() / terms;
        let left = MatRef::from_row_major_slice(&a, a.len() / terms, terms);
        let right = MatRef::from_row_major_slice(&b, units, terms);
        let blocks: Vec<Mutex<&mut [f64]>> =
            self.products.chunks_mut(BLOCK * units).map(Mutex::new).collect();
        context.for_each(blocks.len(), |index| {
            let mut sums = blocks[index].lock().unwrap_or_else(PoisonError::into_inner);
            let count = sums.len() / units;
            matmul(
                MatMut::from_row_major_slice_mut(&mut sums, count, units),
                Accum::Add,
                left.submatrix(index * BLOCK, 0, count, terms),
                right.transpose(),
                1.0,
                Par::Seq,
            );
            Ok(())
        })?;
        self.examples += terms as f64;
        Ok(())
    }

    /// Adds the costs, larger for units that go together, to a matrix. A unit that never changes has correlation 0 with all.
    pub(super) fn add_to(&self, cost: Cost, sums: &mut [f64]) {
        let (a, b, n) = (&self.a, &self.b, self.examples);
        if n == 0.0 {
            return;
        }
        let (left, right) = (a.deviations(n), b.deviations(n));
        let units = b.origin.len();
        for (i, row) in sums.chunks_exact_mut(units).enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                let product = self.products[i * units + j];
                *sum += match cost {
                    Cost::Correlation => {
                        let scale = left[i] * right[j];
                        if scale > 0.0 { (product - a.sums[i] * b.sums[j] / n) / scale } else { 0.0 }
                    }
                    // Back to the true origin.
                    Cost::InnerProduct => {
                        (product + a.origin[i] * b.sums[j] + b.origin[j] * a.sums[i]) / n
                            + a.origin[i] * b.origin[j]
                    }
                };
            }
        }
    }
}

impl Side {
    /// Adds a batch; returns it, from the origin on.
    fn add(&mut self, batch: &Rows) -> Vec<f64> {
        let terms = batch.columns;
        if self.origin.is_empty() {
            self.origin = batch.values.chunks_exact(terms).map(|row| row[0]).collect();
            self.sums = vec![0.0; batch.rows];
            self.squares = vec![0.0; batch.rows];
        }
        let mut values = batch.values.clone();
        for (unit, row) in values.chunks_exact_mut(terms).enumerate() {
            row.iter_mut().for_each(|value| *value -= self.origin[unit]);
            self.sums[unit] += row.iter().sum::<f64>();
            self.squares[unit] += row.iter().map(|value| value * value).sum::<f64>();
        }
        values
    }

    /// √(n · variance) of each unit; 0 where it is nothing but rounding.
    fn deviations(&self, examples: f64) -> Vec<f64> {
        let each = self.sums.iter().zip(&self.squares).map(|(sum, square)| {
            let variance = square - sum * sum / examples;
            if variance > ROUNDING * square { variance.sqrt() } else { 0.0 }
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::uniform;
    use fusion_sdk::context::Alone;

    /// Against two passes over all examples: batches of different sizes, values far from 0, and a dead unit.
    #[test]
    fn correlations_are_those_of_two_passes() {
        let (units, examples) = (5, 31);
        let mut both = [uniform(5, units * examples), uniform(6, units * examples)];
        both[0][examples * 3..examples * 4].fill(0.1);
        both[1].iter_mut().for_each(|value| *value = *value * 0.5 + 100.0);
        let row = |model: usize, unit: usize| &both[model][unit * examples..(unit + 1) * examples];
        let mut cross = Cross::default();
        for range in [0..9, 9..31] {
            let part = |model: usize| Rows {
                rows: units,
                columns: range.len(),
                values: (0..units).flat_map(|unit| row(model, unit)[range.clone()].to_vec()).collect(),
            };
            cross.add(Context::new(&Alone), &part(0), &part(1)).unwrap();
        }
        let (mut correlations, mut products) = (vec![0.0; 25], vec![0.0; 25]);
        cross.add_to(Cost::Correlation, &mut correlations);
        cross.add_to(Cost::InnerProduct, &mut products);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / examples as f64;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let centred = |values: &[f64]| values.iter().map(|value| value - mean(values)).collect::<Vec<_>>();
        for i in 0..units {
            for j in 0..units {
                let (a, b) = (centred(row(0, i)), centred(row(1, j)));
                let wanted = if i == 3 { 0.0 } else { dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt() };
                // Values of 100 with deviations of a quarter.
                assert!((correlations[i * units + j] - wanted).abs() < 1e-12);
                let wanted = dot(row(0, i), row(1, j)) / examples as f64;
                assert!((products[i * units + j] - wanted).abs() < 1e-11);
            }
        }
    }
}
