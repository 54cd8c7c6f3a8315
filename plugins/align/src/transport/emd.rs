//! Exact transport: the plan of least cost, for marginals of any mass.
//!
//! min ⟨P, C⟩ under P1 = μ, Pᵀ1 = ν, P ≥ 0, by the network simplex on a spanning tree of rows and columns. Masses become whole numbers
//! (2⁶⁰ in all; for uniform marginals m in every row and n in every column), so flows are exact, and trees are strongly feasible
//! (Cunningham, "A network simplex method", 1976), so a tie never makes it cycle. It begins with a staircase that takes the cheapest free
//! row or column at each step; rows are priced in turn, and the best column of a row enters. Potentials are computed anew along the tree
//! wherever it changes, so their rounding does not add up. Same costs, same plan, on every machine; single-threaded.
//!
//! Uniform marginals over equally many units give a permutation over n (Birkhoff); `fusion_sdk::assign` finds it faster.

use std::borrow::Cow;

use super::{Plan, TransportError, check};

/// No node.
const NONE: u32 = u32::MAX;

/// Flows below this share of their row's and their column's mass come from rounding marginals to whole numbers.
const CRUMB: f64 = 1.0 / (1_u64 << 40) as f64;

/// The exact plan. `cost` is row-major, rows of `mu` by columns of `nu`. Its cost is within 10⁻¹³ of the largest |cost| times the mass of the
/// least one. At most rows + columns − 1 values are above 0. Rows and columns without mass get none. Memory: the plan, and a
/// tree of rows + columns nodes.
///
/// # Errors
/// See [`TransportError`].
pub fn emd(cost: &[f64], mu: &[f64], nu: &[f64]) -> Result<Plan, TransportError> {
    check(cost, mu, nu)?;
    let (rows, columns) = (mu.len(), nu.len());
    let massive = |side: &[f64]| (0..side.len()).filter(|at| side[*at] > 0.0).collect::<Vec<usize>>();
    let (kept_rows, kept_columns) = (massive(mu), massive(nu));
    let (supply, demand, unit) = whole(mu, nu, &kept_rows, &kept_columns);
    let inner = match kept_rows.len() == rows && kept_columns.len() == columns {
        true => Cow::Borrowed(cost),
        false => {
            let pairs = kept_rows.iter().flat_map(|row| kept_columns.iter().map(move |column| (row, column)));
            Cow::Owned(pairs.map(|(row, column)| cost[row * columns + column]).collect())
        }
    };
    let mut tree = Tree::staircase(&inner, &supply, &demand);
    let pivots = tree.optimise();
    let mut values = vec![0.0; rows * columns];
    for (row, column, flow) in tree.arcs() {
        let least = supply[row].min(demand[column]) as f64;
        if flow as f64 > CRUMB * least {
            values[kept_rows[row] * columns + kept_columns[column]] = flow as f64 * unit;
        }
    }
    let total = values.iter().zip(cost).map(|(mass, cost)| mass * cost).sum();
    let off = |(row, mass): (&[f64], &f64)| (row.iter().sum::<f64>() - mass).abs();
    let error = values.chunks_exact(columns).zip(mu).map(off).sum();
    Ok(Plan { rows, columns, values, cost: total, iterations: pivots, error })
}

/// Masses as whole numbers with equal sums, and the mass of one.
fn whole(mu: &[f64], nu: &[f64], rows: &[usize], columns: &[usize]) -> (Vec<i64>, Vec<i64>, f64) {
    let total: f64 = mu.iter().sum();
    let uniform = |side: &[f64], kept: &[usize]| kept.iter().all(|at| side[*at] == side[kept[0]]);
    if uniform(mu, rows) && uniform(nu, columns) {
        let (n, m) = (rows.len() as i64, columns.len() as i64);
        return (vec![m; rows.len()], vec![n; columns.len()], total / (n * m) as f64);
    }
    let scale = (1_u64 << 60) as f64;
    let parts = |side: &[f64], kept: &[usize]| {
        let sum: f64 = side.iter().sum();
        kept.iter().map(|at| ((side[*at] / sum * scale).round() as i64).max(1)).collect::<Vec<i64>>()
    };
    let (mut supply, mut demand) = (parts(mu, rows), parts(nu, columns));
    // Rounding leaves a difference of some 2⁻⁵³; the largest mass of the lighter side takes it.
    let difference = supply.iter().sum::<i64>() - demand.iter().sum::<i64>();
    let lighter = if difference < 0 { &mut supply } else { &mut demand };
    let largest = (0..lighter.len()).rev().max_by_key(|at| lighter[*at]).unwrap_or(0);
    lighter[largest] += difference.abs();
    (supply, demand, total / scale)
}

/// A basis: a spanning tree of rows (nodes 0..rows) and columns (the nodes after them), rooted at row 0. Every node but the root has an arc
/// to its parent with a flow; a flow of 0 only lies on arcs whose row is the child, so that every node can send something to the root.
struct Tree<'a> {
    cost: &'a [f64],
    rows: usize,
    columns: usize,
    parent: Vec<u32>,
    flow: Vec<i64>,
    depth: Vec<u32>,
    /// Children as doubly linked lists.
    first: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    /// uᵢ and vⱼ, with Cᵢⱼ = uᵢ + vⱼ on arcs of the tree.
    potential: Vec<f64>,
    stack: Vec<u32>,
}

impl<'a> Tree<'a> {
    /// The first basis. From the corner of row 0 and its cheapest column one of both is used up at each step, and the cheapest free column
    /// of the row, or row of the column, comes next.
    fn staircase(cost: &'a [f64], supply: &[i64], demand: &[i64]) -> Tree<'a> {
        let (rows, columns) = (supply.len(), demand.len());
        let nodes = rows + columns;
        let mut tree = Tree {
            cost,
            rows,
            columns,
            parent: vec![NONE; nodes],
            flow: vec![0; nodes],
            depth: vec![0; nodes],
            first: vec![NONE; nodes],
            next: vec![NONE; nodes],
            previous: vec![NONE; nodes],
            potential: vec![0.0; nodes],
            stack: Vec::new(),
        };
        let mut free_rows: Vec<usize> = (1..rows).collect();
        let mut free_columns: Vec<usize> = (0..columns).collect();
        let at = |row: usize, column: usize| cost[row * columns + column];
        let (mut row, mut left_row) = (0, supply[0]);
        let mut column = cheapest(&mut free_columns, |column| at(row, column)).unwrap_or(0);
        let mut left_column = demand[column];
        tree.hang(rows + column, row, left_row.min(left_column));
        loop {
            let flow = left_row.min(left_column);
            (left_row, left_column) = (left_row - flow, left_column - flow);
            // Where both are used up a row comes next: its flow of 0 may only lie below a column.
            let down = match left_row {
                0 => cheapest(&mut free_rows, |row| at(row, column)),
                _ => None,
            };
            if let Some(found) = down {
                row = found;
                left_row = supply[row];
                tree.hang(row, rows + column, left_row.min(left_column));
                continue;
            }
            let Some(found) = cheapest(&mut free_columns, |column| at(row, column)) else { break };
            column = found;
            left_column = demand[column];
            tree.hang(rows + column, row, left_row.min(left_column));
        }
        tree.refresh(0);
        tree
    }

    /// Pivots until no arc has a reduced cost below −10⁻¹³ of the largest cost; the number of pivots.
    fn optimise(&mut self) -> usize {
        let largest = self.cost.iter().fold(0.0_f64, |most, cost| most.max(cost.abs()));
        let mut tolerance = 1e-13 * largest;
        // Far more than are ever needed. Should rounding make it turn in circles, a looser tolerance ends it.
        let many = 1000 * (self.rows + self.columns);
        let (mut pivots, mut row, mut idle) = (0, 0, 0);
        while idle < self.rows {
            let costs = &self.cost[row * self.columns..(row + 1) * self.columns];
            let (column, reduced) = least_difference(costs, &self.potential[self.rows..]);
            if reduced - self.potential[row] < -tolerance {
                self.pivot(row, self.rows + column);
                pivots += 1;
                idle = 0;
                if pivots % many == 0 {
                    tolerance *= 10.0;
                }
            } else {
                idle += 1;
            }
            row = (row + 1) % self.rows;
        }
        pivots
    }

    /// Arcs as (row, column, flow).
    fn arcs(&self) -> impl Iterator<Item = (usize, usize, i64)> + '_ {
        (1..self.parent.len()).map(|node| {
            let (row, column) = self.arc(node);
            (row, column, self.flow[node])
        })
    }

    /// The arc of a node to its parent.
    fn arc(&self, node: usize) -> (usize, usize) {
        let parent = self.parent[node] as usize;
        match node < self.rows {
            true => (node, parent - self.rows),
            false => (parent, node - self.rows),
        }
    }

    /// Brings the arc from a row to a column (as a node) into the basis.
    fn pivot(&mut self, row: usize, column: usize) {
        // Flow goes row → column → … → their meeting point → … → row. It takes from arcs of rows above `row` and of columns above
        // `column`. Of those that run dry first the last one along the cycle, begun at the meeting point, leaves.
        let (mut low, mut high) = (row, column);
        let (mut dry, mut dry_high) = ((i64::MAX, row), (i64::MAX, column));
        while low != high {
            if self.depth[low] >= self.depth[high] {
                if low < self.rows && self.flow[low] < dry.0 {
                    dry = (self.flow[low], low);
                }
                low = self.parent[low] as usize;
            } else {
                if high >= self.rows && self.flow[high] <= dry_high.0 {
                    dry_high = (self.flow[high], high);
                }
                high = self.parent[high] as usize;
            }
        }
        let meeting = low;
        let above_column = dry_high.0 <= dry.0;
        let (amount, leaving) = if above_column { dry_high } else { dry };
        if amount > 0 {
            for (from, takes_rows) in [(row, true), (column, false)] {
                let mut node = from;
                while node != meeting {
                    let takes = (node < self.rows) == takes_rows;
                    self.flow[node] += if takes { -amount } else { amount };
                    node = self.parent[node] as usize;
                }
            }
        }
        // The part that is cut off hangs from the new arc; the path in it is turned round.
        let (top, below) = if above_column { (column, row) } else { (row, column) };
        let (mut node, mut parent, mut flow) = (top, below, amount);
        loop {
            let (old_parent, old_flow) = (self.parent[node] as usize, self.flow[node]);
            self.unhang(node);
            self.hang(node, parent, flow);
            if node == leaving {
                break;
            }
            (parent, flow, node) = (node, old_flow, old_parent);
        }
        self.refresh(top);
    }

    fn hang(&mut self, node: usize, parent: usize, flow: i64) {
        self.parent[node] = parent as u32;
        self.flow[node] = flow;
        let sibling = std::mem::replace(&mut self.first[parent], node as u32);
        self.next[node] = sibling;
        self.previous[node] = NONE;
        if sibling != NONE {
            self.previous[sibling as usize] = node as u32;
        }
    }

    fn unhang(&mut self, node: usize) {
        let (previous, next) = (self.previous[node], self.next[node]);
        match previous {
            NONE => self.first[self.parent[node] as usize] = next,
            _ => self.next[previous as usize] = next,
        }
        if next != NONE {
            self.previous[next as usize] = previous;
        }
    }

    /// Depths and potentials of a node and all below it.
    fn refresh(&mut self, top: usize) {
        let mut stack = std::mem::take(&mut self.stack);
        stack.push(top as u32);
        while let Some(node) = stack.pop() {
            let node = node as usize;
            if self.parent[node] != NONE {
                let parent = self.parent[node] as usize;
                let (row, column) = self.arc(node);
                self.depth[node] = self.depth[parent] + 1;
                self.potential[node] = self.cost[row * self.columns + column] - self.potential[parent];
            }
            let mut child = self.first[node];
            while child != NONE {
                stack.push(child);
                child = self.next[child as usize];
            }
        }
        self.stack = stack;
    }
}

/// Takes the free index of least cost, the first of several.
fn cheapest(free: &mut Vec<usize>, cost: impl Fn(usize) -> f64) -> Option<usize> {
    let (mut best, mut least) = (None, f64::INFINITY);
    for (place, &index) in free.iter().enumerate() {
        let cost = cost(index);
        if best.is_none() || cost < least {
            (best, least) = (Some(place), cost);
        }
    }
    best.map(|place| free.remove(place))
}

/// Where a − b is least, and its value: the first of several. In eight lanes, for the sake of speed.
fn least_difference(a: &[f64], b: &[f64]) -> (usize, f64) {
    let mut lanes = [f64::INFINITY; 8];
    let (full_a, full_b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = full_a.remainder().iter().zip(full_b.remainder());
    for (a, b) in full_a.zip(full_b) {
        for lane in 0..8 {
            let difference = a[lane] - b[lane];
            lanes[lane] = if difference < lanes[lane] { difference } else { lanes[lane] };
        }
    }
    let least = lanes.into_iter().chain(rest.map(|(a, b)| a - b)).fold(f64::INFINITY, f64::min);
    let place = a.iter().zip(b).position(|(a, b)| a - b == least).unwrap_or(0);
    (place, least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::uniform;
    use fusion_sdk::assign;
    use fusion_sdk::rng::Key;

    fn normed(values: Vec<f64>) -> Vec<f64> {
        let sum: f64 = values.iter().sum();
        values.into_iter().map(|value| value / sum).collect()
    }

    fn absolute(seed: u64, n: usize) -> Vec<f64> {
        uniform(seed, n).into_iter().map(f64::abs).collect()
    }

    /// Oracle O6 (POT): 12 digits are given.
    #[test]
    fn the_plan_is_that_of_the_reference() {
        let plan = emd(&absolute(12, 24), &normed(absolute(13, 4)), &normed(absolute(14, 6))).unwrap();
        assert!((plan.cost - 0.310_972_641_827).abs() < 1e-12, "{}", plan.cost);
        assert_eq!(plan.values.iter().filter(|mass| **mass > 0.0).count(), 9);
        assert!(plan.error < 1e-15, "{}", plan.error);
    }

    /// O6: uniform marginals over 16 and 16 give the assignment, and its cost over 16.
    #[test]
    fn uniform_marginals_give_the_assignment() {
        let cost = absolute(15, 256);
        let plan = emd(&cost, &[1.0 / 16.0; 16], &[1.0 / 16.0; 16]).unwrap();
        assert!((plan.cost - 0.095_090_865_664).abs() < 1e-12, "{}", plan.cost);
        for (row, column) in assign::solve(&cost, 16, 16, false).unwrap().into_iter().enumerate() {
            let masses = &plan.values[row * 16..(row + 1) * 16];
            for (other, mass) in masses.iter().enumerate() {
                assert_eq!(*mass, if Some(other) == column { 1.0 / 16.0 } else { 0.0 });
            }
        }
    }

    /// Columns fit too, and potentials prove the optimum: Σ μu + Σ νv is no more than any plan's cost, and equal to this one's.
    fn prove(cost: &[f64], mu: &[f64], nu: &[f64]) -> Plan {
        let plan = emd(cost, mu, nu).unwrap();
        for (column, wanted) in nu.iter().enumerate() {
            let sum: f64 = (0..mu.len()).map(|row| plan.values[row * nu.len() + column]).sum();
            assert!((sum - wanted).abs() < 1e-14, "column {column}: {sum} {wanted}");
        }
        assert!(plan.error < 1e-13 && plan.values.iter().all(|mass| *mass >= 0.0));
        assert!(plan.values.iter().filter(|mass| **mass > 0.0).count() < mu.len() + nu.len());
        plan
    }

    /// Masses in eighths are units that can be told apart: the assignment of single units is the oracle.
    #[test]
    fn plans_are_those_of_single_units() {
        for case in 0..60 {
            let key = Key::new(case, "emd", 0);
            let (rows, columns) = (1 + key.bits(0) as usize % 5, 1 + key.bits(1) as usize % 5);
            let units = 12;
            let split = |parts: usize, stream: u64| {
                let mut masses = vec![0_usize; parts];
                (0..units).for_each(|at| masses[key.bits(stream + at) as usize % parts] += 1);
                masses
            };
            let (supply, demand) = (split(rows, 100), split(columns, 200));
            // Whole numbers: ties everywhere, and exact sums.
            let cost: Vec<f64> =
                (0..rows * columns).map(|at| f64::from(key.bits(300 + at as u64) % 5)).collect();
            let spread = |masses: &[usize]| {
                let each = masses.iter().enumerate();
                each.flat_map(|(at, mass)| vec![at; *mass]).collect::<Vec<usize>>()
            };
            let (from, to) = (spread(&supply), spread(&demand));
            let single: Vec<f64> = from
                .iter()
                .flat_map(|row| to.iter().map(|column| cost[row * columns + column]).collect::<Vec<f64>>())
                .collect();
            let found = assign::solve(&single, 12, 12, false).unwrap();
            let least: f64 = found
                .iter()
                .enumerate()
                .filter_map(|(row, column)| Some(single[row * 12 + (*column)?]))
                .sum();
            let mass = |masses: &[usize]| masses.iter().map(|mass| *mass as f64 / 12.0).collect::<Vec<f64>>();
            let plan = prove(&cost, &mass(&supply), &mass(&demand));
            assert!((plan.cost - least / 12.0).abs() < 1e-14, "case {case}: {} {}", plan.cost, least / 12.0);
        }
    }

    #[test]
    fn degenerate_and_larger_problems_end() {
        // Every plan costs the same.
        assert!((prove(&[1.0; 35], &[0.2; 5], &[1.0 / 7.0; 7]).cost - 1.0).abs() < 1e-14);
        assert_eq!(emd(&[3.0], &[2.0], &[2.0]).unwrap().cost, 6.0);
        // Units without mass, and all costs negative.
        let plan = prove(&[-1.0, -9.0, -2.0, -3.0, -9.0, -1.0], &[0.25, 0.75], &[0.5, 0.0, 0.5]);
        assert_eq!((plan.cost, plan.values[1], plan.values[4]), (-2.0 * 0.25 - 3.0 * 0.5 - 0.25, 0.0, 0.0));
        // Duality gap on 120 × 90, by an assignment-like bound: a perturbed plan is never cheaper.
        let (mu, nu) = (normed(absolute(21, 120)), normed(absolute(22, 90)));
        let cost = absolute(23, 120 * 90);
        let plan = prove(&cost, &mu, &nu);
        let narrow = prove(&cost.iter().map(|cost| 1.0 + cost).collect::<Vec<f64>>(), &mu, &nu);
        assert!((narrow.cost - 1.0 - plan.cost).abs() < 1e-12, "{} {}", narrow.cost, plan.cost);
    }

    #[test]
    fn what_is_no_problem_is_named() {
        assert!(matches!(emd(&[1.0], &[1.0], &[0.5, 0.5]), Err(TransportError::Length { .. })));
        assert!(matches!(emd(&[f64::NAN], &[1.0], &[1.0]), Err(TransportError::Cost { row: 0, column: 0 })));
        assert!(matches!(emd(&[1.0], &[-1.0], &[-1.0]), Err(TransportError::Marginal { side: "rows", .. })));
        assert!(matches!(emd(&[], &[], &[]), Err(TransportError::Mass { .. })));
    }
}
