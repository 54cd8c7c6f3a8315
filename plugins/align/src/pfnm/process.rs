//! Which units of which clients are the same: the most probable assignment to global units under a Beta-Bernoulli process.
//!
//! A global unit i has g = Σ w/σ over the units that were assigned to it, s = 1/σ₀ + m/σ for m of them, and the mean g/s. For one client,
//! with all others assigned, its unit with weights w gains
//!
//! ```text
//! existing i     ‖w/σ + gᵢ‖²/(1/σ + sᵢ) − ‖gᵢ‖²/sᵢ + log(min(mᵢ, 10)/(J − mᵢ))
//! k-th new one   ‖w/σ‖²/(1/σ + 1/σ₀) + 2·log(γ/J) − 2·log k
//! ```
//! for J clients, and the best assignment is exact. The widest client begins, the others follow, then each is taken out and assigned again in
//! several passes of random order.

use std::sync::{Mutex, PoisonError};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fusion_sdk::rng::Key;
use fusion_sdk::{Context, MethodError, assign};

use crate::rows::Rows;
use crate::state::shuffle;

/// Units whose gains are computed at a time, whatever the number of threads.
const BLOCK: usize = 64;

/// How often a global unit counts at most.
const POPULAR: f64 = 10.0;

/// The prior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Variance of a client's unit around the global one.
    pub sigma: f64,
    /// Variance of global units around 0.
    pub sigma0: f64,
    /// Expected number of a client's units that are new.
    pub gamma: f64,
}

impl Prior {
    /// What each of `m` units contributes to the mean of their global unit: (1/σ)/(1/σ₀ + m/σ).
    #[must_use]
    pub fn share(&self, m: usize) -> f64 {
        1.0 / self.sigma / (1.0 / self.sigma0 + m as f64 / self.sigma)
    }
}

/// An assignment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Assigned {
    /// For each client the global unit of each of its units.
    pub(crate) units: Vec<Vec<usize>>,
    /// Units of each global unit.
    pub(crate) counts: Vec<usize>,
    /// Sum of the gains of all clients: of the first assignment, then of each pass.
    pub(crate) trace: Vec<f64>,
}

/// Finds it. Clients have the same columns; `key` gives the order of clients in the passes.
///
/// # Errors
/// The user asked to stop, or a gain is not finite.
pub(crate) fn assign_all(
    clients: &[Rows],
    prior: &Prior,
    passes: usize,
    key: Key,
    context: Context<'_>,
) -> Result<Assigned, MethodError> {
    let mut state = State { clients, prior, units: vec![None; clients.len()], context };
    let mut order: Vec<usize> = (0..clients.len()).collect();
    // Stable: of equally wide ones the first begins.
    order.sort_by_key(|client| std::cmp::Reverse(clients[*client].rows));
    if let Some(rest) = order.get_mut(1..) {
        rest.sort_unstable();
    }
    let mut trace = Vec::with_capacity(passes + 1);
    for pass in 0..=passes {
        if pass > 0 {
            order = (0..clients.len()).collect();
            shuffle(&mut order, key, (pass as u64) << 32);
        }
        let mut sum = 0.0;
        for &client in &order {
            context.check()?;
            sum += state.assign(client)?;
        }
        trace.push(sum);
    }
    let units: Vec<Vec<usize>> = state.units.into_iter().map(Option::unwrap_or_default).collect();
    let mut counts = vec![0; units.iter().flatten().max().map_or(0, |most| most + 1)];
    units.iter().flatten().for_each(|unit| counts[*unit] += 1);
    Ok(Assigned { units, counts, trace })
}

struct State<'a> {
    clients: &'a [Rows],
    prior: &'a Prior,
    /// Global units of each client that is in.
    units: Vec<Option<Vec<usize>>>,
    context: Context<'a>,
}

/// Global units without one client.
struct Global {
    /// g of each, row-major.
    sums: Vec<f64>,
    counts: Vec<usize>,
}

impl State<'_> {
    /// Takes a client out, drops global units that nobody has any more, and assigns it anew; its gain.
    fn assign(&mut self, client: usize) -> Result<f64, MethodError> {
        self.units[client] = None;
        self.close_ranks();
        let global = self.global();
        let rows = self.clients[client].rows;
        let gains = gains(&self.clients[client], &global, self.prior, self.clients.len(), self.context)?;
        let found = assign::solve(&gains, rows, global.counts.len() + rows, true);
        let found = found.map_err(|error| MethodError::invalid(error.to_string()))?;
        let width = global.counts.len() + rows;
        let (mut gain, mut fresh) = (0.0, global.counts.len());
        let mut units = Vec::with_capacity(rows);
        for (row, column) in found.into_iter().enumerate() {
            let column = column.unwrap_or(width - 1);
            gain += gains[row * width + column];
            if column < global.counts.len() {
                units.push(column);
            } else {
                units.push(fresh);
                fresh += 1;
            }
        }
        self.units[client] = Some(units);
        Ok(gain)
    }

    /// Numbers global units without gaps, in their order.
    fn close_ranks(&mut self) {
        let used = self.units.iter().flatten().flatten();
        let mut place = vec![None; used.clone().max().map_or(0, |most| most + 1)];
        used.for_each(|unit| place[*unit] = Some(0));
        place.iter_mut().flatten().enumerate().for_each(|(next, own)| *own = next);
        for unit in self.units.iter_mut().flatten().flatten() {
            *unit = place[*unit].unwrap_or(*unit);
        }
    }

    /// Summed anew each time, over clients in order, so that nothing is left of one that was taken out.
    fn global(&self) -> Global {
        let columns = self.clients.first().map_or(0, |rows| rows.columns);
        let n = self.units.iter().flatten().flatten().max().map_or(0, |most| most + 1);
        let mut global = Global { sums: vec![0.0; n * columns], counts: vec![0; n] };
        for (rows, units) in self.clients.iter().zip(&self.units) {
            for (row, &unit) in units.iter().flatten().enumerate() {
                global.counts[unit] += 1;
                let sums = &mut global.sums[unit * columns..(unit + 1) * columns];
                sums.iter_mut().zip(rows.row(row)).for_each(|(sum, w)| *sum += w / self.prior.sigma);
            }
        }
        global
    }
}

/// Gains of a client's units (rows) at all global ones and as many new ones.
fn gains(
    client: &Rows,
    global: &Global,
    prior: &Prior,
    clients: usize,
    context: Context<'_>,
) -> Result<Vec<f64>, MethodError> {
    let (n, columns) = (global.counts.len(), client.columns);
    let width = n + client.rows;
    let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    let lengths: Vec<f64> =
        (0..n).map(|unit| square(&global.sums[unit * columns..(unit + 1) * columns])).collect();
    let mut gains = vec![0.0; client.rows * width];
    let blocks: Vec<Mutex<&mut [f64]>> = gains.chunks_mut(BLOCK * width.max(1)).map(Mutex::new).collect();
    let j = clients as f64;
    context.for_each(blocks.len(), |index| {
        let mut block = blocks[index].lock().unwrap_or_else(PoisonError::into_inner);
        let (first, count) = (index * BLOCK, block.len() / width);
        let mut products = vec![0.0; count * n];
        if n > 0 {
            let rows = &client.values[first * columns..(first + count) * columns];
            matmul(
                MatMut::from_row_major_slice_mut(&mut products, count, n),
                Accum::Replace,
                MatRef::from_row_major_slice(rows, count, columns),
                MatRef::from_row_major_slice(&global.sums, n, columns).transpose(),
                1.0 / prior.sigma,
                Par::Seq,
            );
        }
        for (row, line) in block.chunks_exact_mut(width).enumerate() {
            let own = square(client.row(first + row)) / (prior.sigma * prior.sigma);
            for (unit, (&m, &length)) in global.counts.iter().zip(&lengths).enumerate() {
                let s = 1.0 / prior.sigma0 + m as f64 / prior.sigma;
                let joined = (own + 2.0 * products[row * n + unit] + length) / (1.0 / prior.sigma + s);
                let popularity = (m as f64).min(POPULAR) / (j - m as f64);
                line[unit] = joined - length / s + libm::log(popularity);
            }
            let alone = own / (1.0 / prior.sigma + 1.0 / prior.sigma0) + 2.0 * libm::log(prior.gamma / j);
            for (k, gain) in line[n..].iter_mut().enumerate() {
                *gain = alone - 2.0 * libm::log((k + 1) as f64);
            }
        }
        Ok(())
    })?;
    Ok(gains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::uniform;
    use fusion_sdk::context::Alone;

    const PRIOR: Prior = Prior { sigma: 0.7, sigma0: 1.5, gamma: 2.0 };

    fn rows(seed: u64, rows: usize, columns: usize) -> Rows {
        Rows { rows, columns, values: uniform(seed, rows * columns) }
    }

    fn run(clients: &[Rows], prior: &Prior, passes: usize) -> Assigned {
        assign_all(clients, prior, passes, Key::new(1, "pfnm", 0), Context::new(&Alone)).unwrap()
    }

    /// The gain of a client's assignment given the others, from the definition: posteriors with and without it, popularities, new units.
    fn gain(clients: &[Rows], units: &[Vec<usize>], client: usize, prior: &Prior) -> f64 {
        let j = clients.len() as f64;
        let fit = |members: &[(usize, usize)]| {
            let columns = clients[0].columns;
            let g: Vec<f64> = (0..columns)
                .map(|d| members.iter().map(|(c, row)| clients[*c].row(*row)[d] / prior.sigma).sum())
                .collect();
            let s = 1.0 / prior.sigma0 + members.len() as f64 / prior.sigma;
            g.iter().map(|g| g * g).sum::<f64>() / s
        };
        let (mut total, mut fresh) = (0.0, 0.0);
        for (row, unit) in units[client].iter().enumerate() {
            let others: Vec<(usize, usize)> = (0..clients.len())
                .filter(|other| *other != client)
                .flat_map(|other| units[other].iter().enumerate().map(move |(row, unit)| (other, row, unit)))
                .filter(|(_, _, own)| *own == unit)
                .map(|(other, row, _)| (other, row))
                .collect();
            let mut all = others.clone();
            all.push((client, row));
            total += fit(&all) - fit(&others);
            if others.is_empty() {
                fresh += 1.0;
                total += 2.0 * (prior.gamma / j).ln() - 2.0 * f64::ln(fresh);
            } else {
                let m = others.len() as f64;
                total += (m.min(10.0) / (j - m)).ln();
            }
        }
        total
    }

    /// Every way to give units different global ones among the others' and new ones.
    fn brute(clients: &[Rows], units: &[Vec<usize>], client: usize, prior: &Prior) -> f64 {
        fn go(
            clients: &[Rows],
            units: &mut Vec<Vec<usize>>,
            client: usize,
            prior: &Prior,
            known: usize,
            best: &mut f64,
        ) {
            let row = units[client].len();
            if row == clients[client].rows {
                *best = best.max(gain(clients, units, client, prior));
                return;
            }
            for unit in 0..known + clients[client].rows {
                // New ones are alike: they are taken in order.
                let next = units[client]
                    .iter()
                    .copied()
                    .filter(|own| *own >= known)
                    .max()
                    .map_or(known, |own| own + 1);
                if units[client].contains(&unit) || unit > next {
                    continue;
                }
                units[client].push(unit);
                go(clients, units, client, prior, known, best);
                units[client].pop();
            }
        }
        let mut units = units.to_vec();
        units[client].clear();
        let known = units.iter().flatten().max().map_or(0, |most| most + 1);
        let mut best = f64::NEG_INFINITY;
        go(clients, &mut units, client, prior, known, &mut best);
        best
    }

    /// The second of two clients has the best of all assignments; so has any of three that is taken out and assigned again.
    #[test]
    fn assignments_are_the_best_of_all() {
        let mut gains_found = Vec::new();
        for seed in 0..12 {
            let two = [rows(seed, 3, 2), rows(seed + 50, 3, 2)];
            let found = run(&two, &PRIOR, 0);
            let own = gain(&two, &found.units, 1, &PRIOR);
            assert!((own - brute(&two, &found.units, 1, &PRIOR)).abs() < 1e-12, "seed {seed}");
            gains_found.push(found.counts.len());
            let three = [rows(seed, 2, 3), rows(seed + 50, 3, 3), rows(seed + 100, 2, 3)];
            let found = run(&three, &PRIOR, 2);
            for client in 0..3 {
                let units = found.units.iter().cloned().map(Some).collect();
                let context = Context::new(&Alone);
                let mut state = State { clients: &three, prior: &PRIOR, units, context };
                let value = state.assign(client).unwrap();
                let units: Vec<Vec<usize>> = state.units.into_iter().flatten().collect();
                let best = brute(&three, &units, client, &PRIOR);
                assert!((value - best).abs() < 1e-12, "seed {seed} client {client}: {value} {best}");
                assert!((value - gain(&three, &units, client, &PRIOR)).abs() < 1e-12);
            }
        }
        // Some are matched and some are new.
        assert!(gains_found.iter().any(|units| *units < 6) && gains_found.iter().any(|units| *units > 3));
    }

    #[test]
    fn equal_clients_share_all_units_and_far_ones_none() {
        let one = Rows { rows: 3, columns: 2, values: vec![9.0, 0.0, 0.0, 9.0, -9.0, 1.0] };
        let turned = Rows { rows: 3, columns: 2, values: vec![-9.0, 1.0, 9.0, 0.0, 0.0, 9.0] };
        let found = run(&[one.clone(), turned, one.clone()], &PRIOR, 5);
        assert_eq!(found.counts, [3, 3, 3]);
        let client = |at: usize| &found.units[at];
        assert_eq!(client(0), client(2));
        assert_eq!(*client(1), [client(0)[2], client(0)[0], client(0)[1]]);
        assert_eq!(found.trace.len(), 6);
        let far = Rows { rows: 1, columns: 2, values: vec![0.0, -9.0] };
        let found = run(&[far, one], &PRIOR, 2);
        assert_eq!((found.counts.len(), found.units[0].len(), found.units[1].len()), (4, 1, 3));
    }
}
