//! Entropic transport: smooth in the costs, and far cheaper than exact transport where plans are large.
//!
//! P = argmin ⟨P, C⟩ − reg · H(P) under P1 = μ, Pᵀ1 = ν, which is Pᵢⱼ = exp((fᵢ + gⱼ − Cᵢⱼ)/reg). Rows and columns are fitted in turn
//! (Cuturi, "Sinkhorn distances", 2013) in the log domain, so that a small `reg` neither underflows nor overflows: potentials f and g are
//! kept as logarithms, and between two evaluations of exp they move by factors u and v, which are absorbed as soon as one leaves
//! 10^±100 (Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized transport problems", 2019). A step is then
//! two products of a matrix and a vector. f64 in a fixed order; the same bits on every machine.

use super::{Plan, TransportError, check};

/// Factors between the potentials stay in 1/LIMIT..LIMIT: what has underflowed below 10⁻³⁰⁸ is then below 10⁻¹⁰⁸ in the plan.
const LIMIT: f64 = 1e100;

/// The entropic plan. `cost` is row-major, rows of `mu` by columns of `nu`; `reg` has the unit of the costs. Ends after `iterations` (at
/// least one), or when Σᵢ |Σⱼ Pᵢⱼ − μᵢ| ≤ `tolerance`; columns fit to rounding either way, and [`Plan::error`] tells how far rows are off.
/// Rows and columns without mass get none. Time O(rows · columns) an iteration, memory one matrix beside the plan.
///
/// # Errors
/// See [`TransportError`].
pub fn sinkhorn(
    cost: &[f64],
    mu: &[f64],
    nu: &[f64],
    reg: f64,
    iterations: usize,
    tolerance: f64,
) -> Result<Plan, TransportError> {
    check(cost, mu, nu)?;
    if !(reg > 0.0 && reg.is_finite()) {
        return Err(TransportError::Regularisation(reg));
    }
    let (rows, columns) = (mu.len(), nu.len());
    let mut scaling = Scaling::new(cost, mu, nu, reg);
    let (mut done, mut error) = (0, f64::INFINITY);
    while done < iterations.max(1) && error > tolerance {
        scaling.fit_rows();
        scaling.fit_columns();
        error = scaling.row_error();
        done += 1;
    }
    scaling.absorb();
    let values = scaling.kernel;
    let total = values.iter().zip(cost).map(|(mass, cost)| mass * cost).sum();
    Ok(Plan { rows, columns, values, cost: total, iterations: done, error })
}

/// log Σ exp, exact for empty sums and for −∞.
pub(crate) fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + libm::log(terms.map(|term| libm::exp(term - most)).sum())
}

/// The state of the iteration: Pᵢⱼ = uᵢ Kᵢⱼ vⱼ with Kᵢⱼ = exp(fᵢ + gⱼ − Cᵢⱼ/reg).
struct Scaling<'a> {
    cost: &'a [f64],
    mu: &'a [f64],
    nu: &'a [f64],
    reg: f64,
    f: Vec<f64>,
    g: Vec<f64>,
    u: Vec<f64>,
    v: Vec<f64>,
    kernel: Vec<f64>,
    /// Σⱼ Kᵢⱼ vⱼ and Σᵢ uᵢ Kᵢⱼ.
    row_sums: Vec<f64>,
    column_sums: Vec<f64>,
}

impl<'a> Scaling<'a> {
    /// Starts with g = 0 and the f that fits the rows, so no row of the kernel is empty.
    fn new(cost: &'a [f64], mu: &'a [f64], nu: &'a [f64], reg: f64) -> Self {
        let (rows, columns) = (mu.len(), nu.len());
        let mut scaling = Scaling {
            cost,
            mu,
            nu,
            reg,
            f: vec![0.0; rows],
            // A column without mass takes no part from the start.
            g: nu.iter().map(|mass| if *mass > 0.0 { 0.0 } else { f64::NEG_INFINITY }).collect(),
            u: vec![1.0; rows],
            v: vec![1.0; columns],
            kernel: vec![0.0; rows * columns],
            row_sums: vec![0.0; rows],
            column_sums: vec![0.0; columns],
        };
        scaling.log_rows();
        scaling.rebuild();
        scaling
    }

    fn rebuild(&mut self) {
        let columns = self.nu.len();
        for ((kernel, cost), f) in
            self.kernel.chunks_exact_mut(columns).zip(self.cost.chunks_exact(columns)).zip(&self.f)
        {
            for ((kernel, cost), g) in kernel.iter_mut().zip(cost).zip(&self.g) {
                *kernel = libm::exp(f + g - cost / self.reg);
            }
        }
        self.sum_rows();
    }

    /// Takes the factors into the potentials.
    fn absorb(&mut self) {
        for (potential, factor) in
            self.f.iter_mut().zip(&mut self.u).chain(self.g.iter_mut().zip(&mut self.v))
        {
            *potential += libm::log(*factor);
            *factor = 1.0;
        }
        self.rebuild();
    }

    fn sum_rows(&mut self) {
        for (sum, row) in self.row_sums.iter_mut().zip(self.kernel.chunks_exact(self.nu.len())) {
            *sum = row.iter().zip(&self.v).map(|(kernel, v)| kernel * v).sum();
        }
    }

    /// f from g, in the log domain.
    fn log_rows(&mut self) {
        let columns = self.nu.len();
        for ((f, row), mass) in self.f.iter_mut().zip(self.cost.chunks_exact(columns)).zip(self.mu) {
            let terms = row.iter().zip(&self.g).map(|(cost, g)| g - cost / self.reg);
            *f = libm::log(*mass) - log_sum_exp(terms);
        }
    }

    /// g from f.
    fn log_columns(&mut self) {
        let columns = self.nu.len();
        for (column, (g, mass)) in self.g.iter_mut().zip(self.nu).enumerate() {
            if *mass > 0.0 {
                let terms = self.cost[column..].iter().step_by(columns).zip(&self.f);
                *g = libm::log(*mass) - log_sum_exp(terms.map(|(cost, f)| f - cost / self.reg));
            }
        }
    }

    fn fit_rows(&mut self) {
        for ((u, mass), sum) in self.u.iter_mut().zip(self.mu).zip(&self.row_sums) {
            *u = if *mass > 0.0 { mass / sum } else { 1.0 };
        }
        if !self.u.iter().all(|u| (1.0 / LIMIT..LIMIT).contains(u)) {
            self.u.fill(1.0);
            self.absorb();
            self.log_rows();
            self.rebuild();
        }
    }

    /// Leaves row sums up to date.
    fn fit_columns(&mut self) {
        let columns = self.nu.len();
        self.column_sums.fill(0.0);
        for (row, u) in self.kernel.chunks_exact(columns).zip(&self.u) {
            self.column_sums.iter_mut().zip(row).for_each(|(sum, kernel)| *sum += u * kernel);
        }
        for ((v, mass), sum) in self.v.iter_mut().zip(self.nu).zip(&self.column_sums) {
            *v = if *mass > 0.0 { mass / sum } else { 1.0 };
        }
        if self.v.iter().all(|v| (1.0 / LIMIT..LIMIT).contains(v)) {
            return self.sum_rows();
        }
        self.v.fill(1.0);
        self.absorb();
        self.log_columns();
        self.rebuild();
    }

    fn row_error(&self) -> f64 {
        let rows = self.u.iter().zip(&self.row_sums).zip(self.mu);
        rows.map(|((u, sum), mass)| (u * sum - mass).abs()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::uniform;

    /// Oracle O6 of the reference notes (numpy): |T(12)|, |T(13)|/Σ, |T(14)|/Σ.
    fn problem() -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let absolute = |seed, n| uniform(seed, n).into_iter().map(f64::abs).collect::<Vec<f64>>();
        let normed = |values: Vec<f64>| {
            let sum: f64 = values.iter().sum();
            values.into_iter().map(|value| value / sum).collect::<Vec<f64>>()
        };
        (absolute(12, 24), normed(absolute(13, 4)), normed(absolute(14, 6)))
    }

    /// Ten digits are given; marginals are fitted to 10⁻¹².
    #[test]
    fn plans_are_those_of_the_reference() {
        let (cost, mu, nu) = problem();
        for (reg, total, first) in [
            (1.0, 0.458_793_179_9, 0.011_474_583_7),
            (0.1, 0.335_302_808_6, 0.035_291_738_6),
            (0.01, 0.311_065_837_3, 0.042_495_281_4),
        ] {
            let plan = sinkhorn(&cost, &mu, &nu, reg, 100_000, 1e-12).unwrap();
            assert!((plan.cost - total).abs() < 1e-10, "{reg}: {}", plan.cost);
            assert!((plan.values[0] - first).abs() < 1e-10, "{reg}: {}", plan.values[0]);
            assert!(plan.error <= 1e-12 && plan.iterations < 100_000, "{plan:?}");
        }
    }

    /// As reg falls the plan becomes the exact one (O6: .310972641827); exp(−1/reg) alone would be 0.
    #[test]
    fn a_tiny_regularisation_neither_underflows_nor_overflows() {
        let (cost, mu, nu) = problem();
        let plan = sinkhorn(&cost, &mu, &nu, 1e-4, 200_000, 1e-9).unwrap();
        assert!((plan.cost - 0.310_972_641_827).abs() < 1e-6, "{plan:?}");
        let far: Vec<f64> = cost.iter().map(|cost| cost * 1e6).collect();
        let plan = sinkhorn(&far, &mu, &nu, 1.0, 50, 0.0).unwrap();
        assert!(plan.values.iter().all(|mass| (0.0..=1.0).contains(mass)) && plan.error.is_finite());
    }

    #[test]
    fn units_without_mass_take_no_part() {
        let plan = sinkhorn(&[1.0; 9], &[0.5, 0.0, 0.5], &[0.0, 0.25, 0.75], 0.1, 100, 1e-12).unwrap();
        let wanted = [0.0, 0.125, 0.375, 0.0, 0.0, 0.0, 0.0, 0.125, 0.375];
        for (found, wanted) in plan.values.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{plan:?}");
        }
    }

    #[test]
    fn what_is_no_problem_is_named() {
        let error =
            |cost: &[f64], mu: &[f64], nu: &[f64], reg| sinkhorn(cost, mu, nu, reg, 9, 0.0).unwrap_err();
        assert!(matches!(error(&[1.0], &[1.0], &[0.5, 0.5], 1.0), TransportError::Length { found: 1, .. }));
        assert_eq!(
            error(&[1.0, f64::NAN], &[1.0], &[0.5, 0.5], 1.0),
            TransportError::Cost { row: 0, column: 1 }
        );
        assert!(matches!(
            error(&[1.0; 2], &[1.0], &[1.5, -0.5], 1.0),
            TransportError::Marginal { side: "columns", index: 1, .. }
        ));
        assert!(matches!(error(&[1.0; 2], &[1.0], &[0.5, 0.4], 1.0), TransportError::Mass { .. }));
        assert!(matches!(error(&[], &[], &[], 1.0), TransportError::Mass { .. }));
        assert_eq!(error(&[1.0; 2], &[1.0], &[0.5, 0.5], 0.0), TransportError::Regularisation(0.0));
    }
}
