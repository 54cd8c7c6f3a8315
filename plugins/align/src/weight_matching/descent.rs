//! Coordinate descent over families of nodes: each takes the assignment that is best given all others, until none gains.
//!
//! A family whose neighbours have not moved since it was solved is passed over, and costs are kept between visits as far as the budget goes
//! (`cost::Kept`), so late sweeps cost what moves. The objective never falls: a step is taken only if it gains more than 10⁻¹² Σ|C|.

use std::borrow::Cow;

use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{Factor, Symmetries};
use fusion_sdk::{MethodError, Words, assign};

use crate::cost::{Joint, Kept, Pair, Which};
use crate::family::{Family, families};
use crate::nested;
use crate::search;
use crate::state::{State, shuffle};

/// In which order nodes are solved in a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Order {
    /// another one in every sweep, drawn from the seed
    Random,
    /// from the input on
    Forward,
    /// from the output on
    Backward,
    /// forward and backward in turn
    Alternate,
}

/// Values of costs that may be kept in any case, for all families together (128 MiB); otherwise as many as the largest family has.
const KEPT: usize = 1 << 24;

/// Share of Σ|C| that a step must gain.
const LEAST: f64 = 1e-12;

/// Coordinate descent on one pair of models.
pub(crate) struct Descent<'a> {
    pub(crate) pair: Pair<'a>,
    pub(crate) families: Vec<Family>,
    order: Order,
    sweeps: u32,
    /// Families that share a tensor with each.
    neighbours: Vec<Vec<usize>>,
    /// What all runs begin with, of those families whose costs are kept.
    kept: Vec<Option<Kept>>,
}

/// Where a run has ended.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The permutations.
    pub(crate) state: State,
    /// f at the start, and at the end, in f64.
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// f after each sweep, the last one included, in which nothing was gained.
    pub(crate) trace: Vec<f64>,
}

/// Duals of the assignments that were solved before.
type Duals = Vec<Vec<f64>>;

impl<'a> Descent<'a> {
    /// Prepares runs on a pair of models.
    ///
    /// # Errors
    /// Those of the costs.
    pub(crate) fn new(pair: Pair<'a>, order: Order, sweeps: u32) -> Result<Descent<'a>, MethodError> {
        let families = families(pair.symmetries);
        let sizes: Vec<usize> = families.iter().map(|family| pair.size(family)).collect::<Result<_, _>>()?;
        let budget = sizes.iter().copied().max().unwrap_or(0).max(KEPT);
        let mut ascending: Vec<usize> = (0..families.len()).collect();
        ascending.sort_by_key(|family| sizes[*family]);
        let mut kept: Vec<Option<Kept>> = vec![None; families.len()];
        let mut used = 0;
        let mut chosen = Vec::new();
        for family in ascending {
            used += sizes[family];
            if used <= budget {
                chosen.push(family);
            }
        }
        let found = search::all(pair.context, chosen.len(), |at| Kept::new(&pair, &families[chosen[at]]))?;
        chosen.into_iter().zip(found).for_each(|(family, costs)| kept[family] = Some(costs));
        let neighbours = families.iter().map(|family| neighbours(pair.symmetries, &families, family));
        let neighbours = neighbours.collect();
        Ok(Descent { pair, order, sweeps, neighbours, kept, families })
    }

    /// Whether several runs may go on side by side: all their costs are kept, and small.
    pub(crate) fn is_small(&self) -> bool {
        self.kept.iter().all(Option::is_some)
    }

    /// Runs until a sweep gains nothing. `draw` numbers the random orders of a seed.
    ///
    /// # Errors
    /// Those of the costs, or the user asked to stop.
    pub(crate) fn run(&self, start: &State, seed: u64, draw: u64) -> Result<Run, MethodError> {
        let before = self.pair.objective(start)?;
        let mut run = self.run_from(start, before, seed, draw)?;
        run.after = self.pair.objective(&run.state)?;
        Ok(run)
    }

    /// The same from a start with a known objective; the objective at the end is that of the trace.
    ///
    /// # Errors
    /// As for [`Descent::run`].
    pub(crate) fn run_from(
        &self,
        start: &State,
        before: f64,
        seed: u64,
        draw: u64,
    ) -> Result<Run, MethodError> {
        let mut state = start.clone();
        let mut kept: Vec<Option<Cow<'_, Kept>>> =
            self.kept.iter().map(|kept| kept.as_ref().map(Cow::Borrowed)).collect();
        let mut duals: Duals = vec![Vec::new(); self.families.len()];
        let (mut value, mut trace) = (before, Vec::new());
        // When each family was solved and moved last.
        let (mut solved, mut moved) = (vec![0_u64; self.families.len()], vec![1_u64; self.families.len()]);
        let mut now = 1;
        let key = Key::new(seed, "weight_matching.order", draw);
        for sweep in 0..self.sweeps {
            let mut gained = false;
            for at in self.order(key, sweep) {
                let settled =
                    solved[at] > 0 && self.neighbours[at].iter().all(|other| moved[*other] < solved[at]);
                if settled {
                    continue;
                }
                self.pair.context.check()?;
                let family = &self.families[at];
                let fresh;
                let joints = match &mut kept[at] {
                    Some(kept) => kept.to_mut().at(&self.pair, family, &state)?,
                    None => {
                        fresh = self.pair.joints(family, &state, Which::All)?;
                        &fresh
                    }
                };
                let gain = self.step(family, joints, &mut state, &mut duals[at])?;
                now += 1;
                solved[at] = now;
                if gain > 0.0 {
                    now += 1;
                    moved[at] = now;
                    value += gain;
                    gained = true;
                }
            }
            trace.push(value);
            if !gained {
                break;
            }
        }
        Ok(Run { state, before, after: value, trace })
    }

    fn order(&self, key: Key, sweep: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.families.len()).collect();
        match self.order {
            Order::Random => shuffle(&mut order, key, u64::from(sweep) << 32),
            Order::Forward => {}
            Order::Backward => order.reverse(),
            Order::Alternate if sweep % 2 == 1 => order.reverse(),
            Order::Alternate => {}
        }
        order
    }

    /// Solves a family; returns what was gained, 0 if it stays as it is.
    fn step(
        &self,
        family: &Family,
        joints: &[Joint],
        state: &mut State,
        duals: &mut Vec<f64>,
    ) -> Result<f64, MethodError> {
        let symmetries = self.pair.symmetries;
        let least = LEAST * joints.iter().map(Joint::magnitude).sum::<f64>();
        let worth = |state: &State| joints.iter().map(|joint| joint.value(symmetries, state)).sum::<f64>();
        if !family.nested {
            let mut all = 0.0;
            for &node in &family.nodes {
                let mut next = state.clone();
                next.set(node, nested::single(symmetries, node, joints, state)?);
                let gain = self.gain(family, joints, state, &next, worth)?;
                if gain > least {
                    *state = next;
                    all += gain;
                }
            }
            return Ok(all);
        }
        let mut next = state.clone();
        match (family.nodes.as_slice(), joints) {
            ([node], [joint]) => {
                let found = assign::solve_again(&joint.values, joint.length(), true, duals);
                let found = found.map_err(|error| MethodError::invalid(error.to_string()))?;
                next.set(*node, vec![found.into_iter().map(|unit| unit as u32).collect()]);
            }
            _ => nested::solve(symmetries, family, joints, self.pair.context)?.put(&mut next),
        }
        let gain = self.gain(family, joints, state, &next, worth)?;
        if gain <= least {
            return Ok(0.0);
        }
        *state = next;
        Ok(gain)
    }

    /// What a step gains: by the costs, or by the objective itself where those are only its linearisation.
    fn gain(
        &self,
        family: &Family,
        joints: &[Joint],
        state: &State,
        next: &State,
        worth: impl Fn(&State) -> f64,
    ) -> Result<f64, MethodError> {
        if joints.is_empty() || state == next {
            return Ok(0.0);
        }
        if !family.quadratic {
            return Ok(worth(next) - worth(state));
        }
        let tensors = || family.tensors.iter().copied();
        Ok(self.pair.objective_of(next, tensors())? - self.pair.objective_of(state, tensors())?)
    }
}

/// The families whose nodes the costs of a family depend on; itself among them if it is quadratic.
fn neighbours(symmetries: &Symmetries, families: &[Family], family: &Family) -> Vec<usize> {
    let near = |other: &Family| match other == family {
        true => family.quadratic,
        false => family.tensors.iter().any(|tensor| {
            let factors =
                symmetries.tensors[*tensor].axes.iter().flat_map(|axis| axis.segments.iter().flatten());
            factors.copied().any(|factor| matches!(factor, Factor::Node(id) if other.has(id)))
        }),
    };
    (0..families.len()).filter(|other| near(&families[*other])).collect()
}
