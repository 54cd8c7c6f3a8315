//! How far units of two models are from each other: sums over tensors or batches, and the ground costs of transport made of them.

use std::sync::{Mutex, PoisonError};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fusion_sdk::{Context, ErrorKind, MethodError, Words};

use crate::rows::Rows;

/// Distance between two units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Metric {
    /// ‖a − b‖
    Euclidean,
    /// ‖a − b‖²
    Squared,
    /// 1 − a·b/(‖a‖‖b‖), at least 0; 1 where one of them is 0
    Cosine,
}

/// What the costs of a node are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Scaling {
    /// nothing
    None,
    /// the largest
    Max,
    /// the median
    Median,
    /// the mean
    Mean,
    /// nothing, but log(1 + cost) is taken
    Log1p,
}

impl Scaling {
    /// Scales costs in place. A divisor of 0 (all costs are 0) changes nothing; the median of an even number is the mean of the middle two.
    pub(crate) fn apply(self, costs: &mut [f64]) {
        let n = costs.len().max(1);
        let divisor = match self {
            Scaling::None => return,
            Scaling::Log1p => return costs.iter_mut().for_each(|cost| *cost = libm::log1p(*cost)),
            Scaling::Max => costs.iter().copied().fold(0.0, f64::max),
            Scaling::Mean => costs.iter().sum::<f64>() / n as f64,
            Scaling::Median => {
                let mut sorted = costs.to_vec();
                sorted.sort_unstable_by(f64::total_cmp);
                let middle = |at: usize| sorted.get(at).copied().unwrap_or(0.0);
                0.5 * (middle((n - 1) / 2) + middle(n / 2))
            }
        };
        if divisor > 0.0 {
            costs.iter_mut().for_each(|cost| *cost /= divisor);
        }
    }
}

/// Rows of the result that are computed at a time, whatever the number of threads.
const BLOCK: usize = 64;

/// Below this share of ‖a‖² + ‖b‖², ‖a − b‖² is summed directly: ‖a‖² + ‖b‖² − 2a·b would lose more than four digits.
const CLOSE: f64 = 1e-4;

/// Σ‖a − b‖², Σ‖a‖² and Σ‖b‖² of all pairs of units, over everything that has been added.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distances {
    /// Row-major, units of the first model by units of the second.
    pub(crate) squares: Vec<f64>,
    /// Squared lengths, and sums of absolute values, of the first model's units.
    pub(crate) left: Lengths,
    /// Of the second's.
    pub(crate) right: Lengths,
}

/// Lengths of units.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Lengths {
    /// Σx².
    pub(crate) squares: Vec<f64>,
    /// Σ|x|.
    pub(crate) absolute: Vec<f64>,
}

impl Lengths {
    fn zeros(units: usize) -> Lengths {
        Lengths { squares: vec![0.0; units], absolute: vec![0.0; units] }
    }

    fn of(rows: &Rows) -> Lengths {
        let mut lengths = Lengths::zeros(rows.rows);
        for row in 0..rows.rows {
            lengths.squares[row] = rows.row(row).iter().map(|value| value * value).sum();
            lengths.absolute[row] = rows.row(row).iter().map(|value| value.abs()).sum();
        }
        lengths
    }

    fn add(&mut self, other: &Lengths) {
        for (sums, more) in [(&mut self.squares, &other.squares), (&mut self.absolute, &other.absolute)] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }
}

impl Distances {
    /// Nothing added yet.
    pub(crate) fn new(left: usize, right: usize) -> Distances {
        Distances {
            squares: vec![0.0; left * right],
            left: Lengths::zeros(left),
            right: Lengths::zeros(right),
        }
    }

    /// Adds what some columns say. Both have the same columns. f64, in fixed blocks.
    ///
    /// # Errors
    /// The numbers of columns or rows differ, or the user asked to stop.
    pub(crate) fn add(&mut self, context: Context<'_>, a: &Rows, b: &Rows) -> Result<(), MethodError> {
        let (units, others, terms) = (a.rows, b.rows, a.columns);
        if terms != b.columns || units * others != self.squares.len() {
            let message = format!("units have {terms} values in one model and {} in the other", b.columns);
            return Err(MethodError::new(ErrorKind::Shape, message).help(
                "layers may differ in their widths, not in their kind, their inputs or their outputs",
            ));
        }
        let (left, right) = (Lengths::of(a), Lengths::of(b));
        if units * others * terms > 0 {
            let blocks: Vec<Mutex<&mut [f64]>> =
                self.squares.chunks_mut(BLOCK * others).map(Mutex::new).collect();
            context.for_each(blocks.len(), |index| {
                let mut sums = blocks[index].lock().unwrap_or_else(PoisonError::into_inner);
                let (first, count) = (index * BLOCK, sums.len() / others);
                let mut dots = vec![0.0; count * others];
                let rows = &a.values[first * terms..(first + count) * terms];
                matmul(
                    MatMut::from_row_major_slice_mut(&mut dots, count, others),
                    Accum::Replace,
                    MatRef::from_row_major_slice(rows, count, terms),
                    MatRef::from_row_major_slice(&b.values, others, terms).transpose(),
                    1.0,
                    Par::Seq,
                );
                for (at, (sum, dot)) in sums.iter_mut().zip(&dots).enumerate() {
                    let (row, column) = (first + at / others, at % others);
                    let lengths = left.squares[row] + right.squares[column];
                    let square = lengths - 2.0 * dot;
                    *sum += match square > CLOSE * lengths {
                        true => square,
                        false => direct(a.row(row), b.row(column)),
                    };
                }
                Ok(())
            })?;
        }
        self.left.add(&left);
        self.right.add(&right);
        Ok(())
    }

    /// Adds another sum over the same units.
    pub(crate) fn join(&mut self, other: &Distances) {
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, more)| *sum += more);
        self.left.add(&other.left);
        self.right.add(&other.right);
    }

    /// Ground costs between some units of the first model and some of the second.
    pub(crate) fn costs(
        &self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        metric: Metric,
    ) -> Vec<f64> {
        let width = self.right.squares.len();
        let mut costs = Vec::with_capacity(rows.len() * columns.len());
        for row in rows {
            for column in columns.clone() {
                let square = self.squares[row * width + column];
                costs.push(match metric {
                    Metric::Squared => square,
                    Metric::Euclidean => square.sqrt(),
                    Metric::Cosine => {
                        let (a, b) = (self.left.squares[row], self.right.squares[column]);
                        match a > 0.0 && b > 0.0 {
                            // 1 − cos as a difference of squares, exact for units that are alike.
                            true => {
                                ((square - (a.sqrt() - b.sqrt()).powi(2)) / (2.0 * (a * b).sqrt())).max(0.0)
                            }
                            false => 1.0,
                        }
                    }
                });
            }
        }
        costs
    }
}

fn direct(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::uniform;
    use fusion_sdk::context::Alone;

    fn rows(seed: u64, rows: usize, columns: usize) -> Rows {
        Rows { rows, columns, values: uniform(seed, rows * columns) }
    }

    #[test]
    fn sums_are_those_of_the_definition() {
        let context = Context::new(&Alone);
        let (a, b, c, d) = (rows(1, 70, 5), rows(2, 3, 5), rows(3, 70, 9), rows(4, 3, 9));
        let mut found = Distances::new(70, 3);
        found.add(context, &a, &b).unwrap();
        found.add(context, &c, &d).unwrap();
        let costs = |metric| found.costs(2..70, 1..3, metric);
        let squared = costs(Metric::Squared);
        for (at, cost) in squared.iter().enumerate() {
            let (row, column) = (2 + at / 2, 1 + at % 2);
            let wanted = direct(a.row(row), b.row(column)) + direct(c.row(row), d.row(column));
            assert!((cost - wanted).abs() < 1e-13, "{cost} {wanted}");
            assert_eq!(costs(Metric::Euclidean)[at], cost.sqrt());
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let both = |x: (&[f64], &[f64]), y: (&[f64], &[f64])| dot(x.0, y.0) + dot(x.1, y.1);
            let (x, y) = ((a.row(row), c.row(row)), (b.row(column), d.row(column)));
            let cosine = 1.0 - both(x, y) / (both(x, x) * both(y, y)).sqrt();
            assert!((costs(Metric::Cosine)[at] - cosine).abs() < 1e-13);
        }
        assert!(found.add(context, &a, &d).unwrap_err().message.contains("5 values"));
    }

    /// Units that are the same are at distance 0, not at the root of a rounding error; a unit without weights is at cosine distance 1.
    #[test]
    fn equal_units_and_dead_ones() {
        let mut a = rows(1, 4, 300);
        a.values[..300].fill(0.0);
        let mut found = Distances::new(4, 4);
        found.add(Context::new(&Alone), &a, &a).unwrap();
        for unit in 0..4 {
            assert_eq!(found.costs(unit..unit + 1, unit..unit + 1, Metric::Euclidean), [0.0]);
        }
        let cosine = found.costs(0..4, 0..4, Metric::Cosine);
        assert_eq!((cosine[0], cosine[1], cosine[5]), (1.0, 1.0, 0.0));
    }

    #[test]
    fn scalings() {
        let scaled = |scaling: Scaling, costs: &[f64]| {
            let mut costs = costs.to_vec();
            scaling.apply(&mut costs);
            costs
        };
        let costs = [1.0, 2.0, 3.0, 10.0];
        assert_eq!(scaled(Scaling::None, &costs), costs);
        assert_eq!(scaled(Scaling::Max, &costs), [0.1, 0.2, 0.3, 1.0]);
        assert_eq!(scaled(Scaling::Mean, &costs), [0.25, 0.5, 0.75, 2.5]);
        assert_eq!(scaled(Scaling::Median, &costs), [0.4, 0.8, 1.2, 4.0]);
        assert_eq!(scaled(Scaling::Log1p, &[0.0]), [0.0]);
        assert_eq!(scaled(Scaling::Max, &[0.0; 2]), [0.0; 2]);
        assert!(scaled(Scaling::Median, &[]).is_empty());
    }
}
