//! Coordinate descent over families of nodes: each takes the assignment that is best given all others, until none gains.
//!
//! A family whose neighbours have not moved since it was solved is passed over, and costs are kept between visits as far as the budget goes
//! (`cost::Kept`), so late sweeps cost what moves. The objective never falls: a step is taken only if it gains more than 10⁻¹² Σ|C|, with C as it
//! was at the family's first visit where costs are kept.

use std::borrow::Cow;

use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{Factor, Symmetries};
use fusion_sdk::{MethodError, Words, assign};

use crate::cost::{Joint, Kept, Pair, Rooms, Which};
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

/// Values of costs that a run may keep in any case, for all families together (128 MiB); otherwise as many as the largest family has. Where
/// runs begin at the same state, theirs are computed once if they fit in as much.
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
    /// Which families' costs are kept, and how many values those are.
    keeps: Vec<bool>,
    kept: usize,
}

/// Costs that several runs begin with, of those families that keep them.
pub(crate) type Base = Vec<Option<Kept>>;

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
        let (mut keeps, mut kept) = (vec![false; families.len()], 0);
        for family in ascending {
            if kept + sizes[family] > budget {
                break;
            }
            kept += sizes[family];
            keeps[family] = true;
        }
        let neighbours = families.iter().map(|family| neighbours(pair.symmetries, &families, family));
        let neighbours = neighbours.collect();
        Ok(Descent { pair, order, sweeps, neighbours, keeps, kept, families })
    }

    /// Whether several runs may go on side by side: all their costs are kept, and small.
    pub(crate) fn is_small(&self) -> bool {
        self.keeps.iter().all(|keeps| *keeps)
    }

    /// Whether all costs may be kept at some states beside those of the runs.
    pub(crate) fn is_small_at(&self, states: usize) -> bool {
        self.is_small() && self.kept * (1 + states) <= KEPT
    }

    /// What runs from a state begin with; from any state, only what depends on none.
    ///
    /// # Errors
    /// Those of the costs.
    pub(crate) fn base(&self, state: Option<&State>) -> Result<Base, MethodError> {
        search::all(self.pair.context, self.families.len(), |at| {
            let family = &self.families[at];
            Ok(match (self.keeps[at], state) {
                (false, _) => None,
                (true, None) => Some(Kept::new(&self.pair, family)?),
                (true, Some(state)) => Some(Kept::fresh(&self.pair, family, state, &mut Rooms::default())?),
            })
        })
    }

    /// Runs until a sweep gains nothing. `draw` numbers the random orders of a seed.
    ///
    /// # Errors
    /// Those of the costs, or the user asked to stop.
    pub(crate) fn run(&self, start: &State, seed: u64, draw: u64) -> Result<Run, MethodError> {
        let before = self.pair.objective(start)?;
        let mut run = self.run_from(start, before, None, (seed, draw))?;
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
        base: Option<&Base>,
        (seed, draw): (u64, u64),
    ) -> Result<Run, MethodError> {
        let mut state = start.clone();
        let mut kept: Vec<Option<Cow<'_, Kept>>> = match base {
            Some(base) => base.iter().map(|kept| kept.as_ref().map(Cow::Borrowed)).collect(),
            None => vec![None; self.families.len()],
        };
        let mut duals: Duals = vec![Vec::new(); self.families.len()];
        let (mut rooms, mut room) = (Rooms::default(), assign::Room::default());
        let (mut value, mut trace) = (before, Vec::new());
        // When each family was solved and moved last.
        let (mut solved, mut moved) = (vec![0_u64; self.families.len()], vec![1_u64; self.families.len()]);
        let mut now = 1;
        let key = Key::new(seed, "weight_matching.order", draw);
        for sweep in 0..self.sweeps {
            let mut gained = false;
            for (done, at) in self.order(key, sweep).into_iter().enumerate() {
                // Small runs go on side by side, and are soon over.
                if !self.is_small() {
                    let note = format!("sets of units, sweep {}", sweep + 1);
                    self.pair.context.progress(done as u64, self.families.len() as u64, &note);
                }
                let settled =
                    solved[at] > 0 && self.neighbours[at].iter().all(|other| moved[*other] < solved[at]);
                if settled {
                    continue;
                }
                self.pair.context.check()?;
                let family = &self.families[at];
                let fresh;
                if self.keeps[at] && kept[at].is_none() {
                    kept[at] = Some(Cow::Owned(Kept::fresh(&self.pair, family, &state, &mut rooms)?));
                }
                let (joints, magnitude) = match &mut kept[at] {
                    Some(kept) => kept.to_mut().at(&self.pair, family, &state, &mut rooms)?,
                    None => {
                        fresh = self.pair.joints(family, &state, Which::All)?;
                        (fresh.as_slice(), fresh.iter().map(Joint::magnitude).sum())
                    }
                };
                let gain =
                    self.step(family, joints, LEAST * magnitude, &mut state, (&mut duals[at], &mut room))?;
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

    /// Solves a family; returns what was gained, 0 if it stays as it is because that would be no more than `least`.
    fn step(
        &self,
        family: &Family,
        joints: &[Joint],
        least: f64,
        state: &mut State,
        (duals, room): (&mut Vec<f64>, &mut assign::Room),
    ) -> Result<f64, MethodError> {
        let symmetries = self.pair.symmetries;
        let worth = |state: &State| joints.iter().map(|joint| joint.value(symmetries, state)).sum::<f64>();
        if !family.nested {
            let mut all = 0.0;
            for &node in &family.nodes {
                let mut next = state.clone();
                next.set(node, nested::single(symmetries, node, joints, state)?);
                let gain = self.gain(family, joints, state, &next, || worth(&next) - worth(state))?;
                if gain > least {
                    *state = next;
                    all += gain;
                }
            }
            return Ok(all);
        }
        let mut next = state.clone();
        let gain = match (family.nodes.as_slice(), joints) {
            ([node], [joint]) => {
                let found = assign::solve_again(&joint.values, joint.length(), true, duals, room);
                let found = found.map_err(|error| MethodError::invalid(error.to_string()))?;
                next.set(*node, vec![found.into_iter().map(|unit| unit as u32).collect()]);
                let rows = joint.values.chunks_exact(joint.length().max(1));
                let pairs = next.table(*node, 0).iter().zip(state.table(*node, 0));
                // Rows that stay gain exactly nothing.
                let each = rows.zip(pairs).filter(|(_, (new, old))| new != old);
                let each = each.map(|(row, (new, old))| row[*new as usize] - row[*old as usize]);
                self.gain(family, joints, state, &next, || each.sum())?
            }
            _ => {
                nested::solve(symmetries, family, joints, self.pair.context)?.put(&mut next);
                self.gain(family, joints, state, &next, || worth(&next) - worth(state))?
            }
        };
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
        by_costs: impl FnOnce() -> f64,
    ) -> Result<f64, MethodError> {
        if joints.is_empty() || state == next {
            return Ok(0.0);
        }
        if !family.quadratic {
            return Ok(by_costs());
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
