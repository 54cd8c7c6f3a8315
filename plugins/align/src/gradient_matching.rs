//! `gradient_matching`: the permutation along which the reference's loss falls fastest; a baseline.
//!
//! π minimises ⟨∇𝓛(A), π(B)⟩, the slope of 𝓛 at A on the way to π(B) but for a constant, by the coordinate descent of `weight_matching` with
//! −∇𝓛(A) in the place of A. ∇𝓛(A) is the mean over `batches` batches. Near a minimum the gradient is small and mostly noise, so this
//! says little about trained networks: it is there to be compared with.
//!
//! *Cost*: `batches` gradients, and one weight matching. Memory: two more copies of the weights, and the costs of weight matching.
//!
//! Ainsworth, Hayase, Srinivasa, "Git Re-Basin", ICLR 2023; the script on matching by steepest descent of samuela/git-re-basin.

use fusion_sdk::align::{Align, Aligned, FlatSource, Incoming, Matching, Vectors};
use fusion_sdk::{About, Category, Claim, MethodError, Params};

use crate::cost::{Pair, Precision};
use crate::search::{self, Between};
use crate::weight_matching::descent::{Descent, Order};
use crate::weight_matching::starts::highest;

/// Stage parameters of `gradient_matching`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct GradientMatchingParams {
    /// batches that the gradient is the mean of (default: an epoch)
    #[param(range = 1..)]
    pub batches: Option<u64>,
    /// in which order nodes are solved
    #[param(default = Order::Random)]
    pub order: Order,
    /// runs with random orders, of which the best is kept
    #[param(range = 1..=10_000, default = 6)]
    pub restarts: u32,
    /// most sweeps of a run
    #[param(range = 1..=10_000, default = 100)]
    pub sweeps: u32,
}

/// The kernel of `gradient_matching`.
#[derive(Clone, Debug)]
pub struct GradientMatching(GradientMatchingParams);

impl Align for GradientMatching {
    type Params = GradientMatchingParams;

    fn about() -> About {
        About {
            id: "gradient_matching",
            version: 1,
            category: Category::Align,
            summary: "the permutation along which the loss of the reference falls fastest; a baseline",
            formula: "π = argmin ⟨∇𝓛(A), π(B)⟩, node by node",
            citation: "Ainsworth, Hayase, Srinivasa, Git Re-Basin, ICLR 2023",
            ports: search::ports(),
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: GradientMatchingParams, incoming: Incoming) -> Result<Self, MethodError> {
        search::exactly_two("gradient_matching", incoming)?;
        Ok(GradientMatching(params))
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let [a, b] = matching.models else {
            return Err(MethodError::invalid("`gradient_matching` takes two models"));
        };
        let (params, symmetries, seed, context) = (&self.0, matching.target, matching.seed, matching.context);
        let start = search::state(symmetries, matching.alignments)?;
        let mut between = Between::new(matching)?;
        let batches = params.batches.unwrap_or_else(|| between.loss.steps_per_epoch());
        let length = between.a.weights.len();
        let (mut sum, mut gradient) = (vec![0.0_f64; length], vec![0.0; length]);
        for step in 0..batches {
            let loss = between.loss.gradient(step, between.a.weights, &mut gradient)?;
            sum.iter_mut().zip(&gradient).for_each(|(sum, value)| *sum += f64::from(*value));
            between.loss.progress(step + 1, batches, loss);
        }
        let downhill: Vec<f32> = sum.into_iter().map(|value| (-value / batches as f64) as f32).collect();
        let vectors = Vectors { weights: &downhill, statistics: between.a.statistics };
        let source = FlatSource::new(symmetries, vectors);
        let pair = Pair {
            symmetries,
            a: &source,
            b: b.source,
            names: [a.name, b.name],
            precision: Precision::Single,
            context,
        };
        let descent = Descent::new(pair, params.order, params.sweeps)?;
        let before = pair.objective(&start)?;
        let run = highest(&descent, params.order, std::slice::from_ref(&start), params.restarts, seed)?;
        let facts = vec![
            ("slope".to_owned(), -run.after),
            ("start_slope".to_owned(), -before),
            ("sweeps".to_owned(), run.trace.len() as f64),
        ];
        let trace = run.trace.iter().map(|value| -value).collect();
        let alignment = run.state.alignment(symmetries, symmetries);
        Ok(Aligned { alignments: vec![alignment], shared: Vec::new(), facts, trace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;
    use crate::toy::{Backwards, Mlp, brought, chain, matching, network, random_mlp, source};
    use fusion_sdk::ErrorKind;
    use fusion_sdk::context::{Alone, Host};
    use fusion_sdk::objective::Objective;

    const DIMS: [usize; 3] = [4, 6, 3];
    const INCOMING: Incoming = Incoming { reference: 1, from: 1, data: true };

    fn run([a, b]: [&[f32]; 2], toy: &mut Mlp, host: &dyn Host) -> Result<Aligned, MethodError> {
        let symmetries = chain(&DIMS);
        let (source_a, source_b) = (source(&symmetries, a), source(&symmetries, b));
        let candidates = [network("a", &symmetries, &source_a, a), network("b", &symmetries, &source_b, b)];
        let mut matching = matching(&candidates, true, 2, host);
        matching.objective = Some(toy);
        let params =
            GradientMatchingParams { batches: None, order: Order::Forward, restarts: 1, sweeps: 100 };
        GradientMatching::prepare(params, INCOMING)?.align(matching)
    }

    /// One hidden layer: of all 720 permutations the one that is found has the least slope; by the gradient in f32, so to 10⁻⁵.
    #[test]
    fn one_layer_has_the_steepest_of_all() {
        let (symmetries, a, b) = (chain(&DIMS), random_mlp(&DIMS, 1), random_mlp(&DIMS, 2));
        let mut toy = Mlp::taught(&DIMS, &random_mlp(&DIMS, 3), 30).with_batch(10);
        let found = run([&a, &b], &mut toy, &Alone).unwrap();
        let mut gradient = vec![0.0_f64; a.len()];
        for step in 0..3 {
            let mut batch = vec![0.0; a.len()];
            toy.gradient(step, &a, &mut batch).unwrap();
            gradient.iter_mut().zip(batch).for_each(|(sum, value)| *sum += f64::from(value) / 3.0);
        }
        let slope = |order: &[u32]| {
            let mut state = State::identity(&symmetries);
            state.set(fusion_sdk::symmetry::NodeId(0), vec![order.to_vec()]);
            let moved = brought(&symmetries, &b, &state);
            gradient.iter().zip(moved).map(|(gradient, weight)| gradient * f64::from(weight)).sum::<f64>()
        };
        let mut least = f64::INFINITY;
        permutations(&mut vec![0, 1, 2, 3, 4, 5], 0, &mut |order| least = least.min(slope(order)));
        assert!((found.facts[0].1 - least).abs() < 1e-5 * least.abs(), "{:?} {least}", found.facts);
        assert!((found.facts[1].1 - slope(&[0, 1, 2, 3, 4, 5])).abs() < 1e-5, "{:?}", found.facts);
        let again = run([&a, &b], &mut toy, &Backwards::new(usize::MAX)).unwrap();
        assert_eq!(found, again);
    }

    fn permutations(order: &mut Vec<u32>, from: usize, visit: &mut dyn FnMut(&[u32])) {
        if from == order.len() {
            return visit(order);
        }
        for at in from..order.len() {
            order.swap(from, at);
            permutations(order, from + 1, visit);
            order.swap(from, at);
        }
    }

    #[test]
    fn what_does_not_go_is_said() {
        let (a, b) = (random_mlp(&DIMS, 1), random_mlp(&DIMS, 2));
        let mut toy = Mlp::taught(&DIMS, &a, 8).with_batch(2);
        toy.broken_at = Some(3);
        let error = run([&a, &b], &mut toy, &Alone).unwrap_err();
        assert!(error.message.contains("NaN in step 3"), "{error}");
        let mut toy = Mlp::taught(&DIMS, &a, 8);
        let error = run([&a, &b], &mut toy, &Backwards::new(1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
}
