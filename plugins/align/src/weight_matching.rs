//! `weight_matching`: units are matched so that the weights of two networks agree best.
//!
//! π maximises f(π) = Σ ⟨A, π(B)⟩ over all trained tensors, which is minimal ‖A − π(B)‖². All nodes together are NP-hard; one node with the
//! others fixed is an assignment, so nodes are solved in turn until none gains (coordinate descent). What each run finds depends on where it
//! begins and on the order of nodes, so several are made and the highest f is kept.
//!
//! - Nodes that lie in others are solved together with them, from the inside out (`nested`): a head goes where its dimensions fit best.
//! - Where a node is on both axes of one tensor (the recurrent matrix of an LSTM) f is quadratic in it. The assignment is that of its
//!   linearisation, and it is taken only if f itself rises.
//! - `start = one_pass` looks at incoming weights alone, as OTFusion does; a better start than the identity for networks that were trained
//!   for long. After short trainings activations are the best start; with data the default tries that too, with and without a descent
//!   from it, and keeps what has the lowest loss halfway.
//! - Without a `reference`, models are first brought to the first one, and then in random order each to the mean of the others, until the
//!   spread shrinks no more (merge many).
//!
//! Defaults: 6 runs, one for networks so large that their costs are not kept (more than 128 MiB of them; it begins with one pass). The
//! reference code makes one from the identity. Differences to it: restarts, starts, nested and quadratic nodes, a
//! relative stop (a step must gain 10⁻¹² Σ|C|), starts are never changed, random orders are a function of the seed. Running statistics
//! do not count, as there.
//!
//! Facts: `objective_before` (at the identity), `objective`, `sweeps` of the run that was kept, `moved` and `units`, `from_activations` (1 if
//! that start was the best); over several models sums, and the most sweeps. The trace is f after each sweep.
//!
//! Ainsworth, Hayase, Srinivasa, "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023; code samuela/git-re-basin.

pub(crate) mod descent;
mod many;
pub(crate) mod starts;

use fusion_sdk::align::{Align, Aligned, Candidate, Features, Incoming, Matching};
use fusion_sdk::objective::Objective;
use fusion_sdk::symmetry::Symmetries;
use fusion_sdk::{About, Category, Claim, Context, MethodError, Params};

use crate::activation_matching::{self, Cost, Place};
use crate::cost::Pair;
use crate::state::State;
use crate::{ports, search};

pub use crate::cost::Precision;
pub use descent::Order;
use descent::{Descent, Run};
pub use starts::Start;

/// Stage parameters of `weight_matching`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct WeightMatchingParams {
    /// in which order nodes are solved
    #[param(default = Order::Random)]
    pub order: Order,
    /// most sweeps of a run
    #[param(range = 1.., default = 100)]
    pub sweeps: u32,
    /// runs with random orders, of which the best is kept; other orders have one for each start (default: 6, but 1 where costs are too large to
    /// be kept)
    #[param(range = 1..)]
    pub restarts: Option<u32>,
    /// where runs begin
    #[param(default = Start::Best)]
    pub start: Start,
    /// precision of costs
    #[param(default = Precision::Single)]
    pub precision: Precision,
}

/// The kernel of `weight_matching`.
#[derive(Clone, Debug)]
pub struct WeightMatching {
    params: WeightMatchingParams,
}

impl Align for WeightMatching {
    type Params = WeightMatchingParams;

    fn about() -> About {
        About {
            id: "weight_matching",
            version: 1,
            category: Category::Align,
            summary: "units matched so that the weights agree best, node by node until nothing gains",
            formula: "π = argmax Σ ⟨A, π(B)⟩; for one node: P = argmax ⟨P, C⟩, C = Σ over its tensors of A·π(B)ᵀ",
            citation: "Ainsworth, Hayase, Srinivasa, Git Re-Basin, ICLR 2023",
            ports: vec![
                ports::maybe_reference(),
                ports::from(1, None, "the models that are brought over"),
                ports::data(0),
            ],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: WeightMatchingParams, incoming: Incoming) -> Result<Self, MethodError> {
        search::at_least("weight_matching", incoming, 2)?;
        if params.start == Start::Activations && !incoming.data {
            return Err(MethodError::invalid("`start = activations` needs data to take them on")
                .at("start")
                .help("connect a data set: `data NAME`"));
        }
        Ok(WeightMatching { params })
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        ports::same(matching.models)?;
        let mut looks = Looks { features: matching.features, objective: matching.objective };
        if matching.reference {
            let mut all = Aligned::default();
            let mut sums = Sums::default();
            for index in 1..matching.models.len() {
                let models = [matching.models[0], matching.models[index]];
                let found = self.pair(&models, &mut looks, matching.seed, matching.context)?;
                if matching.models.len() > 2 {
                    matching.context.progress(index as u64, matching.models.len() as u64 - 1, "models");
                }
                sums.add(models[1].symmetries, &found);
                all.alignments.push(found.run.state.alignment(models[1].symmetries, matching.target));
                if index == 1 {
                    all.trace = found.run.trace;
                }
            }
            all.facts = sums.facts();
            return Ok(all);
        }
        many::align(self, matching.models, matching.target, &mut looks, matching.seed, matching.context)
    }
}

/// Runs for networks whose costs are small.
const RESTARTS: u32 = 6;

/// Activations and loss, where there are any.
struct Looks<'a> {
    features: Option<&'a mut dyn Features>,
    objective: Option<&'a mut dyn Objective>,
}

/// What was found for one pair.
struct Found {
    run: Run,
    /// f at the identity.
    identity: f64,
    from_activations: bool,
}

impl WeightMatching {
    fn order(&self) -> Order {
        self.params.order
    }

    /// Searches from all starts.
    fn pair(
        &self,
        models: &[Candidate<'_>; 2],
        looks: &mut Looks<'_>,
        seed: u64,
        context: Context<'_>,
    ) -> Result<Found, MethodError> {
        let pair = Pair::of(&models[0], &models[1], self.params.precision, context);
        let descent = Descent::new(pair, self.order(), self.params.sweeps)?;
        let identity = State::identity(pair.symmetries);
        let before = pair.objective(&identity)?;
        let mut starts = Vec::new();
        if matches!(self.params.start, Start::Best | Start::OnePass) {
            starts.push(starts::one_pass(&pair, &descent.families)?);
        }
        let restarts = self.params.restarts.unwrap_or(if descent.is_small() { RESTARTS } else { 1 });
        if self.params.start == Start::Identity || (self.params.start == Start::Best && restarts > 1) {
            starts.push(identity);
        }
        let mut best = None;
        if !starts.is_empty() {
            best = Some(starts::highest(&descent, self.order(), &starts, restarts, seed)?);
        }
        let wanted = matches!(self.params.start, Start::Best | Start::Activations);
        let mut from_activations = false;
        if wanted && let Some(features) = looks.features.as_deref_mut() {
            let start = activation_matching::states(
                features,
                models,
                Cost::Correlation,
                Place::After,
                None,
                context,
            )?;
            let restarts = if best.is_some() { 1 } else { restarts };
            let run = starts::highest(&descent, self.order(), &start, restarts, seed)?;
            // After short trainings the start itself is often better than what descent makes of it, which only the loss can tell.
            let mut others = vec![run];
            if let Some(state) = start.first() {
                let after = pair.objective(state)?;
                others.push(Run { state: state.clone(), before: after, after, trace: vec![after] });
            }
            let mut half = match &best {
                Some(best) => looks.halfway(models, &best.state, context).transpose()?,
                None => None,
            };
            for other in others {
                let own = looks.halfway(models, &other.state, context).transpose()?;
                let better = match (&best, half, own) {
                    (None, ..) => true,
                    (Some(_), Some(half), Some(own)) => own < half,
                    (Some(best), ..) => other.after > best.after,
                };
                if better {
                    (best, half, from_activations) = (Some(other), own, true);
                }
            }
        }
        let run = best.ok_or_else(|| {
            MethodError::invalid("the networks cannot be run, and `start = activations` needs that")
                .at("start")
        })?;
        Ok(Found { run, identity: before, from_activations })
    }
}

impl Looks<'_> {
    /// The loss at the mean of both models, if there is a loss and both can be run.
    fn halfway(
        &mut self,
        models: &[Candidate<'_>; 2],
        state: &State,
        context: Context<'_>,
    ) -> Option<Result<f64, MethodError>> {
        let objective = self.objective.as_deref_mut()?;
        let (a, b) = (models[0].vectors?, models[1].vectors?);
        if objective.len() != a.weights.len() {
            return None;
        }
        let symmetries = models[1].symmetries;
        let alignment = state.alignment(symmetries, symmetries);
        let moved = alignment.apply_flat(symmetries, symmetries, b.weights, b.statistics);
        let middle = moved.map_err(|error| MethodError::invalid(error.to_string())).and_then(|(moved, _)| {
            let mut middle = moved;
            search::blend(a.weights, 0.5, &mut middle);
            context.check()?;
            objective.loss(&middle, None)
        });
        // A loss that is not finite is a bad one.
        Some(middle.map(|loss| if loss.is_finite() { loss } else { f64::INFINITY }))
    }
}

/// Facts over several models.
#[derive(Default)]
struct Sums {
    before: f64,
    after: f64,
    sweeps: usize,
    moved: usize,
    units: usize,
    from_activations: bool,
}

impl Sums {
    fn add(&mut self, symmetries: &Symmetries, found: &Found) {
        self.before += found.identity;
        self.after += found.run.after;
        self.sweeps = self.sweeps.max(found.run.trace.len());
        self.moved += found.run.state.moved_from(&State::identity(symmetries));
        self.units +=
            symmetries.ids().map(|id| symmetries.copies(id) * symmetries.node(id).size).sum::<usize>();
        self.from_activations |= found.from_activations;
    }

    fn facts(&self) -> Vec<(String, f64)> {
        let facts = [
            ("objective_before", self.before),
            ("objective", self.after),
            ("sweeps", self.sweeps as f64),
            ("moved", self.moved as f64),
            ("units", self.units as f64),
            ("from_activations", f64::from(u8::from(self.from_activations))),
        ];
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests;
