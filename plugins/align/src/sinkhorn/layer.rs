//! A free matrix made doubly stochastic, and the way back for gradients.
//!
//! P = exp(X/τ + f1ᵀ + 1gᵀ) with rows and columns that sum to 1. For W = ∂L/∂P ∘ P:
//! - *implicit*: differentiating the sums gives [diag r, P; Pᵀ, diag c] (α, β) = (W1, Wᵀ1) with r and c the sums of P (1 where the iteration has
//!   converged), and ∂L/∂X = (W − P ∘ (α1ᵀ + 1βᵀ))/τ. The system has the null vector (1, −1), so the last β is 0; the rows
//!   are eliminated, and Cholesky solves the n − 1 columns. Memory does not depend on the number of iterations.
//! - *unrolled*: back through every iteration, from the f and g that each left.
//!
//! Both agree where the iteration has converged. Eisenberger et al., "A unified framework for implicit Sinkhorn differentiation", CVPR 2022.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatRef, Par, Side};
use fusion_sdk::{ErrorKind, MethodError, Words};

use crate::transport::sinkhorn;
use crate::transport::sinkhorn::log_sum_exp;

/// How gradients come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Gradient {
    /// by the implicit function theorem: one linear system a node
    Implicit,
    /// through all iterations
    Unrolled,
}

/// A doubly stochastic matrix with what the way back needs.
#[derive(Clone, Debug)]
pub(super) struct Soft {
    /// P, row-major.
    pub(super) values: Vec<f64>,
    size: usize,
    temperature: f64,
    /// X/τ, and f and g after each iteration; only where gradients are unrolled.
    trail: Option<Trail>,
}

#[derive(Clone, Debug)]
struct Trail {
    scaled: Vec<f64>,
    f: Vec<Vec<f64>>,
    g: Vec<Vec<f64>>,
}

/// P of X, of size × size values, by this many iterations.
///
/// # Errors
/// A value of X is not finite.
pub(super) fn soft(
    x: &[f64],
    size: usize,
    temperature: f64,
    iterations: usize,
    gradient: Gradient,
) -> Result<Soft, MethodError> {
    if gradient == Gradient::Implicit {
        let cost: Vec<f64> = x.iter().map(|value| -value).collect();
        let ones = vec![1.0; size];
        let values = sinkhorn(&cost, &ones, &ones, temperature, iterations, 1e-13)?.values;
        return Ok(Soft { values, size, temperature, trail: None });
    }
    if let Some(value) = x.iter().find(|value| !value.is_finite()) {
        return Err(MethodError::new(ErrorKind::Failed, format!("a free matrix has the value {value}")));
    }
    let scaled: Vec<f64> = x.iter().map(|value| value / temperature).collect();
    let (mut all_f, mut all_g) = (Vec::new(), vec![vec![0.0; size]]);
    for _ in 0..iterations.max(1) {
        let g = &all_g[all_g.len() - 1];
        let f: Vec<f64> = scaled
            .chunks_exact(size)
            .map(|row| -log_sum_exp(row.iter().zip(g).map(|(x, g)| x + g)))
            .collect();
        let column = |at: usize| -log_sum_exp(scaled[at..].iter().step_by(size).zip(&f).map(|(x, f)| x + f));
        all_g.push((0..size).map(column).collect());
        all_f.push(f);
    }
    let values = kernel(&scaled, &all_f[all_f.len() - 1], &all_g[all_g.len() - 1]);
    Ok(Soft { values, size, temperature, trail: Some(Trail { scaled, f: all_f, g: all_g }) })
}

/// exp(X + f1ᵀ + 1gᵀ).
fn kernel(scaled: &[f64], f: &[f64], g: &[f64]) -> Vec<f64> {
    let rows = scaled.chunks_exact(g.len()).zip(f);
    rows.flat_map(|(row, f)| row.iter().zip(g).map(move |(x, g)| libm::exp(x + f + g))).collect()
}

/// Sums of rows and of columns.
fn sums(values: &[f64], size: usize) -> (Vec<f64>, Vec<f64>) {
    let mut columns = vec![0.0; size];
    for row in values.chunks_exact(size) {
        columns.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    (values.chunks_exact(size).map(|row| row.iter().sum()).collect(), columns)
}

impl Soft {
    /// ∂L/∂X from ∂L/∂P.
    ///
    /// # Errors
    /// P has a row without mass (see [`Gradient::Implicit`]).
    pub(super) fn back(&self, slope: &[f64]) -> Result<Vec<f64>, MethodError> {
        let weighted: Vec<f64> = slope.iter().zip(&self.values).map(|(slope, value)| slope * value).collect();
        let mut result = match &self.trail {
            None => self.implicit(&weighted)?,
            Some(trail) => self.unrolled(weighted, trail),
        };
        result.iter_mut().for_each(|value| *value /= self.temperature);
        Ok(result)
    }

    fn implicit(&self, weighted: &[f64]) -> Result<Vec<f64>, MethodError> {
        let size = self.size;
        let (rows, columns) = sums(&self.values, size);
        let (a, b) = sums(weighted, size);
        let p = MatRef::from_row_major_slice(&self.values, size, size);
        // S = diag c − Pᵀ diag(1/r) P without the last column, and the right side that belongs to it.
        let mut scaled = self.values.clone();
        for (row, sum) in scaled.chunks_exact_mut(size).zip(&rows) {
            row.iter_mut().for_each(|value| *value /= sum);
        }
        let left = size - 1;
        let mut system = Mat::<f64>::zeros(left, left);
        let scaled_view = MatRef::from_row_major_slice(&scaled, size, size);
        matmul(
            system.as_mut(),
            Accum::Replace,
            p.subcols(0, left).transpose(),
            scaled_view.subcols(0, left),
            -1.0,
            Par::Seq,
        );
        // Near a permutation the columns come apart and S is nearly 0; so is what it is solved for.
        let ridge = 1e-13 * columns.iter().sum::<f64>() / size as f64;
        let mut right = Mat::<f64>::zeros(left, 1);
        for at in 0..left {
            system[(at, at)] += columns[at] + ridge;
            let known: f64 = scaled[at..].iter().step_by(size).zip(&a).map(|(share, a)| share * a).sum();
            right[(at, 0)] = b[at] - known;
        }
        let factored = system.llt(Side::Lower).map_err(|_| {
            MethodError::new(
                ErrorKind::Failed,
                "the soft assignment has come apart: its gradient is not defined",
            )
            .at("temperature")
            .help("raise `temperature` or lower `rate`, or take `gradient = unrolled`")
        })?;
        factored.solve_in_place(right.as_mut());
        let mut beta: Vec<f64> = (0..left).map(|at| right[(at, 0)]).collect();
        beta.push(0.0);
        let mut result = weighted.to_vec();
        let each = result.chunks_exact_mut(size).zip(self.values.chunks_exact(size)).zip(rows.iter().zip(&a));
        for ((result, values), (sum, a)) in each {
            let known: f64 = values.iter().zip(&beta).map(|(value, beta)| value * beta).sum();
            let alpha = (a - known) / sum;
            for ((result, value), beta) in result.iter_mut().zip(values).zip(&beta) {
                *result -= value * (alpha + beta);
            }
        }
        Ok(result)
    }

    fn unrolled(&self, weighted: Vec<f64>, trail: &Trail) -> Vec<f64> {
        let size = self.size;
        let (mut slope_f, mut slope_g) = sums(&weighted, size);
        let mut result = weighted;
        for (at, f) in trail.f.iter().enumerate().rev() {
            // g = −log Σ_i exp(X + f): columns of this kernel sum to 1.
            let shares = kernel(&trail.scaled, f, &trail.g[at + 1]);
            for ((result, shares), slope_f) in
                result.chunks_exact_mut(size).zip(shares.chunks_exact(size)).zip(&mut slope_f)
            {
                for ((result, share), slope) in result.iter_mut().zip(shares).zip(&slope_g) {
                    *result -= share * slope;
                    *slope_f -= share * slope;
                }
            }
            // f = −log Σ_j exp(X + g before): rows sum to 1.
            slope_g.fill(0.0);
            let shares = kernel(&trail.scaled, f, &trail.g[at]);
            for ((result, shares), slope) in
                result.chunks_exact_mut(size).zip(shares.chunks_exact(size)).zip(&slope_f)
            {
                for ((result, share), slope_g) in result.iter_mut().zip(shares).zip(&mut slope_g) {
                    *result -= share * slope;
                    *slope_g -= share * slope;
                }
            }
            slope_f.fill(0.0);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::uniform;

    const SIZE: usize = 6;

    fn loss(x: &[f64], weights: &[f64], temperature: f64, iterations: usize) -> f64 {
        let soft = soft(x, SIZE, temperature, iterations, Gradient::Unrolled).unwrap();
        soft.values.iter().zip(weights).map(|(value, weight)| weight * value).sum()
    }

    /// Central differences with h = 10⁻⁵ have an error of about 10⁻¹⁰ on values of order 1.
    #[test]
    fn both_gradients_are_those_of_differences() {
        for (temperature, iterations, seed) in [(1.0, 300, 1), (0.3, 3000, 2)] {
            let (x, weights) = (uniform(seed, SIZE * SIZE), uniform(seed + 10, SIZE * SIZE));
            let back = |gradient| {
                let soft = soft(&x, SIZE, temperature, iterations, gradient).unwrap();
                soft.back(&weights).unwrap()
            };
            let (implicit, unrolled) = (back(Gradient::Implicit), back(Gradient::Unrolled));
            for at in 0..x.len() {
                let moved = |by: f64| {
                    let mut x = x.clone();
                    x[at] += by;
                    loss(&x, &weights, temperature, iterations)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((difference - unrolled[at]).abs() < 1e-8, "{at}: {difference} {}", unrolled[at]);
                assert!(
                    (implicit[at] - unrolled[at]).abs() < 1e-9,
                    "{at}: {} {}",
                    implicit[at],
                    unrolled[at]
                );
            }
        }
    }

    /// Few iterations: only the unrolled gradient is that of what was computed.
    #[test]
    fn an_unrolled_gradient_is_exact_before_convergence() {
        let (x, weights) = (uniform(5, SIZE * SIZE), uniform(6, SIZE * SIZE));
        let soft = soft(&x, SIZE, 0.1, 2, Gradient::Unrolled).unwrap();
        let back = soft.back(&weights).unwrap();
        for at in (0..x.len()).step_by(5) {
            let moved = |by: f64| {
                let mut x = x.clone();
                x[at] += by;
                loss(&x, &weights, 0.1, 2)
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((difference - back[at]).abs() < 1e-7, "{at}: {difference} {}", back[at]);
        }
    }

    #[test]
    fn hard_and_single_assignments_have_a_gradient() {
        let mut x = vec![0.0; 9];
        (0..3).for_each(|at| x[at * 4] = 60.0);
        for gradient in [Gradient::Implicit, Gradient::Unrolled] {
            let hard = soft(&x, 3, 1.0, 20, gradient).unwrap();
            assert!((hard.values[0] - 1.0).abs() < 1e-12);
            assert!(hard.back(&uniform(3, 9)).unwrap().iter().all(|value| value.abs() < 1e-9));
            let one = soft(&[0.7], 1, 1.0, 20, gradient).unwrap();
            assert_eq!(one.values, [1.0]);
            assert!(one.back(&[2.0]).unwrap()[0].abs() < 1e-12);
        }
        assert!(soft(&[f64::NAN], 1, 1.0, 20, Gradient::Unrolled).is_err());
        assert!(soft(&[f64::NAN], 1, 1.0, 20, Gradient::Implicit).is_err());
    }
}
