//! `frank_wolfe`: all nodes of two or more networks matched at once, in the relaxation to doubly stochastic matrices.
//!
//! With X_p = P_p(A_p), model p in the common order (`relaxed`), it maximises f(P) = Σ_{p<q} Σ_l ⟨X_p^l, X_q^l⟩ over the convex hull of
//! permutations. Two models of which one is a reference give Σ_l tr(A_lᵀ P_l B_l P_{l−1}ᵀ). Each step:
//! - G = ∂f/∂P for all nodes of all models together;
//! - D = the permutations that maximise ⟨G, D⟩: one exact assignment for each node, nested for nodes that lie in others (`nested`);
//! - η = the maximum over [0, 1] of f((1 − η)P + ηD), which is a polynomial: quadratic for a reference and one model of a chain of layers,
//!   quartic for many models. Value and slope at 0 are known, so degree − 1 further values give it exactly;
//! - P ← (1 − η)P + ηD.
//!
//! f never falls. It ends when ⟨G, D − P⟩ ≤ `tolerance` · Σ_{p<q} ‖A_p‖‖A_q‖, that is when no permutation is a direction uphill. P is then
//! rounded to the permutations that maximise ⟨P, V⟩; the best of `trials` by f after rounding is kept.
//!
//! Facts: `objective` (of the permutations), `soft_objective` and `start_objective` (before rounding), `iterations` (assignments of all nodes,
//! with the last, which found no way up), `gap` at the end. The trace is f after each step.
//!
//! *Many models.* Each model has permutations of its own into one common order, the universe, so going from B to A by P_AᵀP_B is
//! consistent along every cycle. A `reference` is in the sum as it is, and the universe has its order. Without one the universe's
//! order is arbitrary; results are told in that of the first model, which therefore stays. So that the symmetric start (all
//! entries 1/n for all models, where all directions are alike) does not occur, the first model starts at the identity.
//!
//! *Differences from C2M3's code*: the step is a closed form rather than a bounded scalar search; a negative best objective is kept; `random` starts at
//! a permutation and `sinkhorn` at a doubly stochastic matrix, where the code starts at a matrix that is neither; heads are matched as
//! heads rather than by one permutation across all of them; running statistics are not in f. Skips stay identities.
//!
//! *Cost* of a step, for N models: 2 N products of n · n matrices with every tensor for each of its nodes, degree − 1 further
//! values at half of that, and N assignments a node. Memory: 3 N matrices of n² f64 for every node, 4 N
//! where f is of higher degree than 2 (n counts heads · dimensions for a node in heads), and one tensor of each model with copies.
//!
//! Crisostomi, Fumero, Baieri, Bernard, Rodolà, "C²M³: Cycle-consistent multi-model merging", NeurIPS 2024; code
//! crisostomi/cycle-consistent-model-merging.

mod ascent;
mod line;

use fusion_sdk::align::{Align, Aligned, Incoming, Matching};
use fusion_sdk::{About, Category, Claim, MethodError, Params, Port, Words};

use crate::ports;
use crate::relaxed::Relaxed;
use crate::search;
use crate::state::State;

use ascent::{Ascent, Joined};

/// Stage parameters of `frank_wolfe`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct FrankWolfeParams {
    /// where the first trial begins
    #[param(default = Start::Barycentre)]
    pub start: Start,
    /// runs; the second and later ones begin at random doubly stochastic matrices, and the best is kept
    #[param(range = 1..=1000, default = 1)]
    pub trials: u32,
    /// most steps of a run
    #[param(range = 1..=100_000, default = 400)]
    pub steps: u32,
    /// a run ends when no direction promises more than this share of the product of the models' norms
    #[param(range = 0..=1, default = 1e-9)]
    pub tolerance: f64,
}

/// Where the ascent begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Start {
    /// all entries 1/n: every unit could go everywhere
    Barycentre,
    /// every unit stays
    Identity,
    /// a random doubly stochastic matrix
    Sinkhorn,
    /// a random permutation
    Random,
}

/// The kernel of `frank_wolfe`.
#[derive(Clone, Debug)]
pub struct FrankWolfe(FrankWolfeParams);

impl Align for FrankWolfe {
    type Params = FrankWolfeParams;

    fn about() -> About {
        About {
            id: "frank_wolfe",
            version: 1,
            category: Category::Align,
            summary: "all nodes of two or more models matched at once, cycle-consistently",
            formula: "max Σ_{p<q} ⟨P_p(A_p), P_q(A_q)⟩ over doubly stochastic P\n\
                      D = argmax ⟨∇f, D⟩ (assignments);  P ← P + η(D − P), η exact;  P rounded at the end",
            citation: "Crisostomi et al., C²M³: Cycle-consistent multi-model merging, NeurIPS 2024",
            ports: vec![
                Port {
                    doc: "a model whose order of units the result has; it is not changed",
                    ..ports::maybe_reference()
                },
                ports::from(1, None, "the models that are brought into one order"),
            ],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: FrankWolfeParams, incoming: Incoming) -> Result<Self, MethodError> {
        search::at_least("frank_wolfe", incoming, 2)?;
        Ok(FrankWolfe(params))
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        ports::same(matching.models)?;
        let symmetries = matching.target;
        let relaxed = Relaxed::new(symmetries)?;
        let joined = Joined::new(&relaxed, matching.models, matching.reference, matching.context)?;
        let mut best: Option<(f64, Ascent, Vec<State>)> = None;
        for trial in 0..u64::from(self.0.trials) {
            let start = if trial == 0 { self.0.start } else { Start::Sinkhorn };
            let points = joined.start(start, matching.seed, trial)?;
            let ascent = joined.ascend(points, self.0.steps, self.0.tolerance)?;
            let states = joined.round(&ascent.points)?;
            let rounded =
                joined.value(&states.iter().map(|state| relaxed.vertex(state)).collect::<Vec<_>>())?;
            if best.as_ref().is_none_or(|(value, ..)| rounded > *value) {
                best = Some((rounded, ascent, states));
            }
        }
        let Some((objective, ascent, states)) = best else {
            return Err(MethodError::invalid("there is nothing to align"));
        };
        let mut alignments: Vec<_> =
            states.iter().map(|state| state.alignment(symmetries, symmetries)).collect();
        if !matching.reference {
            // The universe in the order of the first model.
            let wrong =
                |error: fusion_sdk::alignment::AlignmentError| MethodError::invalid(error.to_string());
            let back = alignments[0].inverse(symmetries).map_err(wrong)?;
            for alignment in &mut alignments {
                *alignment = alignment.then(&back, symmetries).map_err(wrong)?;
            }
        }
        let facts = vec![
            ("objective".to_owned(), objective),
            ("soft_objective".to_owned(), ascent.trace.last().copied().unwrap_or(ascent.start)),
            ("start_objective".to_owned(), ascent.start),
            ("iterations".to_owned(), ascent.iterations as f64),
            ("gap".to_owned(), ascent.gap),
        ];
        Ok(Aligned { alignments, shared: Vec::new(), facts, trace: ascent.trace })
    }
}

#[cfg(test)]
mod tests;
