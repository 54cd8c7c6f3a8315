//! Where descents begin, and which of their ends is kept.

use fusion_sdk::{MethodError, Words};

use super::descent::{Base, Descent, Order, Run};
use crate::cost::{Pair, Which};
use crate::family::Family;
use crate::nested;
use crate::search;
use crate::state::State;

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Start {
    /// one pass, the identity, and with data activation matching; the best end is kept
    Best,
    /// every unit where it is
    Identity,
    /// one pass from the input, in which units are matched by what makes them
    OnePass,
    /// activation matching; needs data
    Activations,
}

/// Greedy from the input on: each family by those tensors that make its units out of units that are settled. Families that nothing settled
/// makes stay as they are.
///
/// # Errors
/// Those of the costs.
pub(crate) fn one_pass(pair: &Pair<'_>, families: &[Family]) -> Result<State, MethodError> {
    let mut state = State::identity(pair.symmetries);
    let mut settled = vec![false; pair.symmetries.nodes.len()];
    for (done, family) in families.iter().enumerate() {
        pair.context.check()?;
        pair.context.progress(done as u64, families.len() as u64, "sets of units, first pass");
        let joints = pair.joints(family, &state, Which::Incoming(&settled))?;
        if family.nested {
            nested::solve(pair.symmetries, family, &joints, pair.context)?.put(&mut state);
        } else {
            for &node in &family.nodes {
                let tables = nested::single(pair.symmetries, node, &joints, &state)?;
                state.set(node, tables);
            }
        }
        family.nodes.iter().for_each(|id| settled[id.index()] = true);
    }
    Ok(state)
}

/// The run that ends highest: of `restarts` runs with random orders, which begin at the starts in turn, or of one run from each start if
/// the order is not random. Of equal ends the first counts.
///
/// # Errors
/// Those of the descent.
pub(crate) fn highest(
    descent: &Descent<'_>,
    order: Order,
    starts: &[State],
    restarts: u32,
    seed: u64,
) -> Result<Run, MethodError> {
    let runs = match order {
        Order::Random => (restarts as usize).max(starts.len()),
        _ => starts.len(),
    };
    let before = starts.iter().map(|start| descent.pair.objective(start)).collect::<Result<Vec<f64>, _>>()?;
    // What several runs have in common is computed once: all costs at their start, or what depends on no start.
    let bases: Vec<Base> = match runs {
        1 => Vec::new(),
        _ if runs > starts.len() && descent.is_small_at(starts.len()) => {
            starts.iter().map(|start| descent.base(Some(start))).collect::<Result<_, _>>()?
        }
        _ => vec![descent.base(None)?],
    };
    let one = |run: usize| {
        let start = run % starts.len();
        let base = bases.get(start).or(bases.first());
        descent.run_from(&starts[start], before[start], base, (seed, run as u64))
    };
    let found: Vec<Run> = match descent.is_small() {
        true => search::all(descent.pair.context, runs, one)?,
        false => (0..runs).map(one).collect::<Result<_, _>>()?,
    };
    let best = found.into_iter().reduce(|best, run| if run.after > best.after { run } else { best });
    let mut best = best.ok_or_else(|| MethodError::invalid("there is nothing to start from"))?;
    // By the models themselves: gains are sums of products in f32.
    best.after = descent.pair.objective(&best.state)?;
    Ok(best)
}
