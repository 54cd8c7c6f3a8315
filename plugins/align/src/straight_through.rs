//! `straight_through`: weight matching of a free copy of the reference, which learns from the loss halfway.
//!
//! θ̃ begins as A. For each batch, π = weight matching of θ̃ and B (coordinate descent from the last π); the loss is 𝓛(½(A + π(B))), and its
//! gradient in π(B), which is ½∇𝓛, is passed straight through the assignment to θ̃: θ̃ ← SGD(θ̃, ½∇𝓛). So θ̃ becomes what B would have to be
//! matched to for the loss to fall. Every `evaluate` steps, if π has changed, the loss halfway is taken over `batches` batches in a fixed
//! order; the best π is kept, with the start and the first weight matching among those that are looked at.
//!
//! The reference code keeps the π of the lowest loss of a batch by a name that the search goes on writing to, so it really returns the
//! last one; here it is a copy. It also trains for 250 epochs.
//!
//! *Cost* of a step: a weight matching from a warm start (one to three sweeps) and one gradient of the network. Memory: five copies of
//! the weights, and the costs of weight matching.
//!
//! Ainsworth, Hayase, Srinivasa, "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, section 3.3; code
//! samuela/git-re-basin.

use fusion_sdk::align::{Align, Aligned, FlatSource, Incoming, Matching, Vectors};
use fusion_sdk::optim::{Optimizer, Rule};
use fusion_sdk::{About, Category, Claim, ErrorKind, MethodError, Params};

use crate::cost::{Pair, Precision};
use crate::search::{self, Between, blend};
use crate::weight_matching::descent::{Descent, Order};

/// Stage parameters of `straight_through`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct StraightThroughParams {
    /// passes over the data
    #[param(above = 0, default = 20.0)]
    pub epochs: f64,
    /// steps, instead of `epochs`
    #[param(range = 1..)]
    pub steps: Option<u64>,
    /// learning rate of the free copy
    #[param(above = 0, default = 1e-2)]
    pub rate: f64,
    /// momentum of the free copy
    #[param(range = 0..=1, default = 0.9)]
    pub momentum: f64,
    /// most sweeps of a weight matching
    #[param(range = 1..=10_000, default = 100)]
    pub sweeps: u32,
    /// steps between looks at the loss halfway (default: an epoch)
    #[param(range = 1..)]
    pub evaluate: Option<u64>,
    /// batches that the loss halfway is taken on (default: all)
    #[param(range = 1..)]
    pub batches: Option<u64>,
}

/// The kernel of `straight_through`.
#[derive(Clone, Debug)]
pub struct StraightThrough {
    params: StraightThroughParams,
    rule: Rule,
}

impl Align for StraightThrough {
    type Params = StraightThroughParams;

    fn about() -> About {
        About {
            id: "straight_through",
            version: 1,
            category: Category::Align,
            summary: "weight matching of a free copy of the reference that learns from the loss halfway",
            formula: "π = weight matching of θ̃ and B;  θ̃ ← θ̃ − η∇𝓛(½(A + π(B))), straight through π",
            citation: "Ainsworth, Hayase, Srinivasa, Git Re-Basin, ICLR 2023, section 3.3",
            ports: search::ports(),
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: StraightThroughParams, incoming: Incoming) -> Result<Self, MethodError> {
        search::exactly_two("straight_through", incoming)?;
        let rule = Rule::Sgd { momentum: params.momentum as f32, nesterov: false, weight_decay: 0.0 };
        rule.check()?;
        Ok(StraightThrough { params, rule })
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let [a, b] = matching.models else {
            return Err(MethodError::invalid("`straight_through` takes two models"));
        };
        let (params, symmetries, seed, context) =
            (&self.params, matching.target, matching.seed, matching.context);
        let mut state = search::state(symmetries, matching.alignments)?;
        let mut between = Between::new(matching)?;
        let per_epoch = between.loss.steps_per_epoch();
        let steps = params.steps.unwrap_or_else(|| (params.epochs * per_epoch as f64).round() as u64).max(1);
        let evaluate = params.evaluate.unwrap_or(per_epoch);
        let mut free = between.a.weights.to_vec();
        let mut optimizer = Optimizer::new(self.rule, free.len());
        let mut gradient = vec![0.0; free.len()];
        let start = between.midpoint(&state, params.batches)?;
        let (mut best, mut lowest, mut best_step) = (state.clone(), start, 0);
        let (mut last, mut looks, mut first) = (state.clone(), 1_u64, start);
        let mut trace = Vec::new();
        for step in 0..steps {
            let vectors = Vectors { weights: &free, statistics: between.a.statistics };
            let source = FlatSource::new(symmetries, vectors);
            let pair = Pair {
                symmetries,
                a: &source,
                b: b.source,
                names: [a.name, b.name],
                precision: Precision::Single,
                context,
            };
            // Another random order of nodes for every batch.
            state = Descent::new(pair, Order::Random, params.sweeps)?.run(&state, seed, step)?.state;
            if (step % evaluate == 0 || step + 1 == steps) && state != last {
                let loss = between.midpoint(&state, params.batches)?;
                looks += 1;
                if loss < lowest {
                    (best, lowest, best_step) = (state.clone(), loss, step);
                }
                if step == 0 {
                    first = loss;
                }
                last = state.clone();
            }
            let mut middle = between.brought(&state)?;
            blend(between.a.weights, 0.5, &mut middle);
            trace.push(between.loss.gradient(step, &middle, &mut gradient)?);
            gradient.iter_mut().for_each(|value| *value *= 0.5);
            optimizer.step(params.rate, &mut free, &gradient);
            if let Some(at) = free.iter().position(|value| !value.is_finite()) {
                return Err(MethodError::new(
                    ErrorKind::Failed,
                    format!("weight {at} of the free copy is {} after step {}", free[at], step + 1),
                )
                .at("rate")
                .help("lower `rate`"));
            }
            between.loss.progress(step + 1, steps, lowest);
        }
        let facts = vec![
            ("loss".to_owned(), lowest),
            ("start_loss".to_owned(), start),
            ("matching_loss".to_owned(), first),
            ("best_step".to_owned(), best_step as f64),
            ("looks".to_owned(), looks as f64),
        ];
        let alignment = best.alignment(symmetries, symmetries);
        Ok(Aligned { alignments: vec![alignment], shared: Vec::new(), facts, trace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;
    use crate::toy::{Backwards, Mlp, brought, chain, matching, network, random_mlp, source};
    use fusion_sdk::context::{Alone, Host};
    use fusion_sdk::objective::Objective;

    const DIMS: [usize; 4] = [4, 9, 8, 3];
    const INCOMING: Incoming = Incoming { reference: 1, from: 1, data: true };

    fn settings(steps: u64, rate: f64) -> StraightThroughParams {
        StraightThroughParams {
            epochs: 1.0,
            steps: Some(steps),
            rate,
            momentum: 0.9,
            sweeps: 100,
            evaluate: Some(1),
            batches: None,
        }
    }

    fn run(
        [a, b]: [&[f32]; 2],
        params: StraightThroughParams,
        toy: &mut Mlp,
        host: &dyn Host,
    ) -> Result<Aligned, MethodError> {
        let symmetries = chain(&DIMS);
        let (source_a, source_b) = (source(&symmetries, a), source(&symmetries, b));
        let candidates = [network("a", &symmetries, &source_a, a), network("b", &symmetries, &source_b, b)];
        let mut matching = matching(&candidates, true, 2, host);
        matching.objective = Some(toy);
        StraightThrough::prepare(params, INCOMING)?.align(matching)
    }

    fn fact(aligned: &Aligned, name: &str) -> f64 {
        aligned.facts.iter().find(|(own, _)| own == name).unwrap().1
    }

    #[test]
    fn a_planted_permutation_is_found_at_once() {
        let (symmetries, a) = (chain(&DIMS), random_mlp(&DIMS, 1));
        let b = brought(&symmetries, &a, &State::random(&symmetries, 6));
        let mut toy = Mlp::taught(&DIMS, &a, 40).with_batch(10);
        let found = run([&a, &b], settings(3, 1e-2), &mut toy, &Alone).unwrap();
        let state = State::of(&symmetries, &found.alignments[0]).unwrap();
        assert_eq!(brought(&symmetries, &b, &state), a, "{:?}", found.facts);
        assert!(fact(&found, "loss") < 1e-12 && fact(&found, "start_loss") > 0.01, "{:?}", found.facts);
    }

    /// Two unrelated networks: learning goes below what weight matching finds, and its best is what is returned.
    #[test]
    fn the_loss_falls_below_that_of_weight_matching() {
        let (symmetries, a, b) = (chain(&DIMS), random_mlp(&DIMS, 1), random_mlp(&DIMS, 2));
        let toy = || Mlp::taught(&DIMS, &random_mlp(&DIMS, 1), 60).with_batch(30);
        let found = run([&a, &b], settings(60, 0.1), &mut toy(), &Alone).unwrap();
        let (loss, matched) = (fact(&found, "loss"), fact(&found, "matching_loss"));
        assert!(loss < 0.9 * matched, "{:?}", found.facts);
        // Kept, not aliased: the permutation that is returned has the loss that is told.
        let state = State::of(&symmetries, &found.alignments[0]).unwrap();
        let mut middle = brought(&symmetries, &b, &state);
        blend(&a, 0.5, &mut middle);
        assert_eq!(toy().loss(&middle, None).unwrap(), loss);
        assert_eq!(found.trace.len(), 60);
        assert_eq!(found, run([&a, &b], settings(60, 0.1), &mut toy(), &Backwards::new(usize::MAX)).unwrap());
    }

    #[test]
    fn what_does_not_go_is_said() {
        let (a, b) = (random_mlp(&DIMS, 1), random_mlp(&DIMS, 2));
        let mut toy = Mlp::taught(&DIMS, &a, 8);
        toy.broken_at = Some(4);
        let error = run([&a, &b], settings(9, 1e-2), &mut toy, &Alone).unwrap_err();
        assert!(error.kind == ErrorKind::Failed && error.message.contains("NaN"), "{error}");
        let mut toy = Mlp::taught(&DIMS, &a, 8);
        for patience in [0, 30] {
            let error = run([&a, &b], settings(9, 1e-2), &mut toy, &Backwards::new(patience)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Cancelled);
        }
        let error = run([&a, &b], settings(200, 1e300), &mut toy, &Alone).unwrap_err();
        assert_eq!(error.parameter, Some("rate"), "{error}");
        let longer = Mlp::taught(&[4, 9, 9, 3], &random_mlp(&[4, 9, 9, 3], 1), 4);
        let error = run([&a, &b], settings(2, 1e-2), &mut { longer }, &Alone).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Shape);
        let heavy = StraightThroughParams { momentum: 1.0, ..settings(2, 1e-2) };
        assert_eq!(StraightThrough::prepare(heavy, INCOMING).unwrap_err().parameter, Some("momentum"));
    }
}
