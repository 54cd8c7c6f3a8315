//! From ground costs to a transform: the plan between units of two models, and what it does where units are made and where they are read.

use std::ops::Range;

use fusion_sdk::alignment::{Matrix, Mix, Transform};
use fusion_sdk::{MethodError, Words, assign};

use crate::distances::{Distances, Lengths, Metric, Scaling};
use crate::transport::{emd, sinkhorn};

/// How a plan is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Solver {
    /// of least cost; a permutation for equally many units of equal mass
    Exact,
    /// with entropy `reg`: smoother, and faster for thousands of units
    Sinkhorn,
}

/// Mass of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Mass {
    /// all the same
    Uniform,
    /// the sum of absolute values of what it is compared by
    L1,
    /// the root of their squares' sum
    L2,
}

/// What the next layer's weights on a unit become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Readers {
    /// spread over slots as the unit's mass is, so that a unit counts as much as before
    Spread,
    /// averaged for each slot, as in the paper; the same for equal widths and masses
    Mean,
}

/// How units are coupled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coupling {
    /// Of units.
    pub metric: Metric,
    /// Of costs, before they are solved.
    pub scaling: Scaling,
    /// Of the plan.
    pub solver: Solver,
    /// Entropy, in units of the scaled costs.
    pub reg: f64,
    /// Of Sinkhorn at most.
    pub iterations: usize,
    /// Of units.
    pub mass: Mass,
}

/// How close Sinkhorn's rows come to their marginals (Σ|error|, of mass 1) before it ends.
const TOLERANCE: f64 = 1e-9;

/// A plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Coupled {
    /// Slot j takes unit p[j].
    Table(Vec<u32>),
    /// Mass from units (rows) to slots.
    Plan(Matrix),
}

/// A plan with what it costs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// Σ P · cost before scaling, for a mass of 1.
    pub(crate) cost: f64,
    /// How far Sinkhorn's marginals are off.
    pub(crate) error: f64,
    /// The plan.
    pub(crate) coupled: Coupled,
}

impl Coupling {
    /// The plan between some units of the first model (rows) and some of the second.
    ///
    /// # Errors
    /// A distance is not finite.
    pub(crate) fn solve(
        &self,
        distances: &Distances,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Found, MethodError> {
        let costs = distances.costs(rows.clone(), columns.clone(), self.metric);
        let mut scaled = costs.clone();
        self.scaling.apply(&mut scaled);
        let (units, slots) = (rows.len(), columns.len());
        if (self.solver, self.mass) == (Solver::Exact, Mass::Uniform) && units == slots {
            return permutation(&costs, &scaled, units);
        }
        let (mu, nu) = (self.masses(&distances.left, rows), self.masses(&distances.right, columns));
        let plan = match self.solver {
            Solver::Exact => emd(&scaled, &mu, &nu),
            Solver::Sinkhorn => sinkhorn(&scaled, &mu, &nu, self.reg, self.iterations, TOLERANCE),
        };
        let plan = plan?;
        let cost = plan.values.iter().zip(&costs).map(|(mass, cost)| mass * cost).sum();
        let matrix = Matrix { rows: units, columns: slots, values: plan.values };
        Ok(Found { cost, error: plan.error, coupled: Coupled::Plan(matrix) })
    }

    /// Masses of some units, 1 in all; uniform if all are 0.
    fn masses(&self, lengths: &Lengths, units: Range<usize>) -> Vec<f64> {
        let n = units.len();
        let mut masses: Vec<f64> = match self.mass {
            Mass::Uniform => vec![1.0; n],
            Mass::L1 => lengths.absolute[units].to_vec(),
            Mass::L2 => lengths.squares[units].iter().map(|square| square.sqrt()).collect(),
        };
        if masses.iter().sum::<f64>() <= 0.0 {
            masses.fill(1.0);
        }
        let sum: f64 = masses.iter().sum();
        masses.iter_mut().for_each(|mass| *mass /= sum);
        masses
    }
}

/// The best permutation of units, ties toward the identity; `cost` is that of a mass of 1.
///
/// # Errors
/// A cost is not finite.
pub(crate) fn permutation(costs: &[f64], scaled: &[f64], size: usize) -> Result<Found, MethodError> {
    let found = assign::solve(scaled, size, size, false).map_err(failed)?;
    let mut table = vec![0; size];
    let mut cost = 0.0;
    for (unit, slot) in found.into_iter().enumerate() {
        let slot = slot.unwrap_or(unit);
        table[slot] = unit as u32;
        cost += costs[unit * size + slot] / size as f64;
    }
    Ok(Found { cost, error: 0.0, coupled: Coupled::Table(table) })
}

fn failed(error: impl std::error::Error) -> MethodError {
    MethodError::new(fusion_sdk::ErrorKind::Failed, error.to_string())
}

impl Found {
    /// The mean of several plans over the same units; equal permutations stay one.
    pub(crate) fn mean(mut all: Vec<Found>, units: usize, slots: usize) -> Found {
        let n = all.len().max(1) as f64;
        let cost = all.iter().map(|found| found.cost).sum::<f64>() / n;
        let error = all.iter().map(|found| found.error).fold(0.0, f64::max);
        let same =
            |found: &Found| matches!(found.coupled, Coupled::Table(_)) && found.coupled == all[0].coupled;
        if all.iter().all(same) && !all.is_empty() {
            return Found { cost, error, coupled: all.swap_remove(0).coupled };
        }
        let mut mean = Matrix::zeros(units, slots);
        for found in &all {
            let plan = found.coupled.plan();
            mean.values.iter_mut().zip(&plan.values).for_each(|(sum, mass)| *sum += mass / n);
        }
        Found { cost, error, coupled: Coupled::Plan(mean) }
    }
}

impl Coupled {
    /// As masses, 1 in all.
    fn plan(&self) -> Matrix {
        match self {
            Coupled::Plan(plan) => plan.clone(),
            Coupled::Table(table) => {
                let mut plan = Matrix::zeros(table.len(), table.len());
                for (slot, unit) in table.iter().enumerate() {
                    plan.values[*unit as usize * table.len() + slot] = 1.0 / table.len() as f64;
                }
                plan
            }
        }
    }

    /// merge = diag(1/β)Pᵀ, and unmerge = diag(1/α)P or P·diag(1/β), where α and β are the plan's own sums of rows and columns. Units and
    /// slots without mass give zeros.
    fn mix(&self, readers: Readers) -> Mix {
        let plan = self.plan();
        let inverse = |sum: f64| if sum > 0.0 { 1.0 / sum } else { 0.0 };
        let mut columns = vec![0.0; plan.columns];
        for row in plan.values.chunks_exact(plan.columns.max(1)) {
            columns.iter_mut().zip(row).for_each(|(sum, mass)| *sum += mass);
        }
        columns.iter_mut().for_each(|sum| *sum = inverse(*sum));
        let (mut merge, mut unmerge) = (Matrix::zeros(plan.columns, plan.rows), plan.clone());
        for (unit, row) in unmerge.values.chunks_exact_mut(plan.columns.max(1)).enumerate() {
            let whole = inverse(row.iter().sum());
            for (slot, mass) in row.iter_mut().enumerate() {
                merge.values[slot * plan.rows + unit] = *mass * columns[slot];
                *mass *= match readers {
                    Readers::Spread => whole,
                    Readers::Mean => columns[slot],
                };
            }
        }
        Mix { merge, unmerge }
    }
}

/// The transform of a node, from one plan for each copy.
pub(crate) fn transform(entries: &[Coupled], readers: Readers) -> Transform {
    let tables = entries.iter().map(|entry| match entry {
        Coupled::Table(table) => Some(table.clone()),
        Coupled::Plan(_) => None,
    });
    let stays = |table: &Vec<u32>| table.iter().enumerate().all(|(slot, unit)| slot == *unit as usize);
    match tables.collect::<Option<Vec<Vec<u32>>>>() {
        Some(tables) if tables.iter().all(stays) => Transform::Identity,
        Some(tables) => Transform::Permutation(tables),
        None => Transform::Map(entries.iter().map(|entry| entry.mix(readers)).collect()),
    }
}

#[cfg(test)]
mod tests;
