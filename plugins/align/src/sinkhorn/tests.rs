use super::*;
use crate::oracle::{candidate, moved, params, values};
use crate::toy::{Backwards, Mlp, brought, matching, network, random_mlp, source};
use fusion_sdk::context::{Alone, Host};
use fusion_sdk::objective::Objective;
use fusion_sdk::symmetry::Symmetries;

fn settings(loss: Goal, gradient: Gradient, steps: u64) -> SinkhornParams {
    SinkhornParams {
        loss,
        gradient,
        steps: Some(steps),
        rate: 0.1,
        weight_decay: 0.01,
        temperature: 1.0,
        iterations: 20,
        evaluate: None,
        batches: None,
        matched: (loss != Goal::L2).then_some(false),
    }
}

const INCOMING: Incoming = Incoming { reference: 1, from: 1, data: true };

fn fact(aligned: &Aligned, name: &str) -> f64 {
    aligned.facts.iter().find(|(own, _)| own == name).unwrap().1
}

#[test]
fn the_distance_finds_planted_permutations() {
    let dims = [5, 8, 7, 3];
    let symmetries = crate::oracle::chain(&dims);
    for (seed, gradient) in [(1, Gradient::Implicit), (2, Gradient::Unrolled)] {
        let a = params(40 + seed, &dims);
        let b = moved(&symmetries, &a, &State::random(&symmetries, seed));
        let candidates = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
        let kernel = Sinkhorn::prepare(settings(Goal::L2, gradient, 60), INCOMING).unwrap();
        let found = kernel.align(matching(&candidates, true, seed, &Alone)).unwrap();
        let state = State::of(&symmetries, &found.alignments[0]).unwrap();
        assert_eq!(moved(&symmetries, &b, &state), a, "{:?}", found.facts);
        assert_eq!(fact(&found, "loss"), 0.0);
        assert!(fact(&found, "start_loss") > 0.0);
        assert!(found.trace[found.trace.len() - 1] < found.trace[0]);
        let again = kernel.align(matching(&candidates, true, seed, &Backwards::new(usize::MAX))).unwrap();
        assert_eq!(found, again);
    }
}

#[test]
fn heads_with_their_dimensions_are_found() {
    let text = "node head[2]\nnode qk[3] in head\nnode v[3] in head\n\
        q = head · qk, reads pin[6]\nk = head · qk, reads pin[6]\nv = head · v, reads pin[6]\n\
        o = pin[6], reads head · v\n";
    let symmetries = Symmetries::parse(text).unwrap();
    let a = values(&symmetries, 5);
    let b = moved(&symmetries, &a, &State::random(&symmetries, 8));
    let candidates = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
    let kernel = Sinkhorn::prepare(settings(Goal::L2, Gradient::Implicit, 100), INCOMING).unwrap();
    let found = kernel.align(matching(&candidates, true, 1, &Alone)).unwrap();
    let state = State::of(&symmetries, &found.alignments[0]).unwrap();
    assert_eq!(moved(&symmetries, &b, &state), a, "{:?}", found.facts);
}

/// Heads whose queries, keys and values stand together: the fused matrix has a head's dimensions behind the head.
#[test]
fn heads_in_one_matrix_are_found() {
    let text = "node s[6]\nnode head[3]\nnode qk[3] in head\nnode v[4] in head\nemb = pin[9], s\n\
        qkv = head · (pin[2] ++ qk ++ pin[2] ++ qk ++ v), reads s\nbias = head · (pin[2] ++ qk ++ pin[2] ++ qk ++ v)\n\
        o = s, reads head · v\n";
    let symmetries = Symmetries::parse(text).unwrap();
    for seed in 0..5 {
        let a = values(&symmetries, 5 + seed);
        let b = moved(&symmetries, &a, &State::random(&symmetries, 8 + seed));
        let candidates = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
        let kernel = Sinkhorn::prepare(settings(Goal::L2, Gradient::Implicit, 100), INCOMING).unwrap();
        let found = kernel.align(matching(&candidates, true, 1, &Alone)).unwrap();
        let state = State::of(&symmetries, &found.alignments[0]).unwrap();
        assert_eq!(moved(&symmetries, &b, &state), a, "{:?}", found.facts);
        // So does weight matching, from the identity.
        let pair = Pair::of(&candidates[0], &candidates[1], Precision::Double, Context::new(&Alone));
        let descent = Descent::new(pair, Order::Forward, 100).unwrap();
        let state = descent.run(&State::identity(&symmetries), 1, 0).unwrap().state;
        assert_eq!(moved(&symmetries, &b, &state), a, "{seed}");
    }
}

const DIMS: [usize; 4] = [4, 8, 8, 3];

fn learned(
    params: SinkhornParams,
    toy: &mut Mlp,
    seed: u64,
    host: &dyn Host,
) -> Result<Aligned, MethodError> {
    let symmetries = crate::toy::chain(&DIMS);
    let a = random_mlp(&DIMS, 1);
    let b = brought(&symmetries, &a, &State::random(&symmetries, 4));
    let (source_a, source_b) = (source(&symmetries, &a), source(&symmetries, &b));
    let candidates = [network("a", &symmetries, &source_a, &a), network("b", &symmetries, &source_b, &b)];
    let mut matching = matching(&candidates, true, seed, host);
    matching.objective = Some(toy);
    Sinkhorn::prepare(params, INCOMING)?.align(matching)
}

/// The loss on the segment between a network and a permuted copy is 0 where the copy is brought back. The descent has valleys beside it, in
/// which units of little effect are exchanged: a loss of one part in seventy of that at the start.
#[test]
fn losses_on_the_segment_fall() {
    for goal in [Goal::Midpoint, Goal::Random] {
        let mut toy = Mlp::taught(&DIMS, &random_mlp(&DIMS, 1), 60).with_batch(20);
        let params = SinkhornParams { evaluate: Some(5), ..settings(goal, Gradient::Implicit, 150) };
        let found = learned(params, &mut toy, 2, &Alone).unwrap();
        assert!(fact(&found, "loss") < fact(&found, "start_loss") / 30.0, "{goal:?} {:?}", found.facts);
    }
}

/// With weight matching among what is looked at, planted permutations are found from any start of the descent, and the descent is the same.
#[test]
fn planted_permutations_are_found_by_losses() {
    let symmetries = crate::toy::chain(&DIMS);
    for (goal, plant) in
        [Goal::Midpoint, Goal::Random].into_iter().flat_map(|goal| (0..4).map(move |p| (goal, p)))
    {
        let a = random_mlp(&DIMS, 1 + plant);
        let b = brought(&symmetries, &a, &State::random(&symmetries, 4 + plant));
        let (source_a, source_b) = (source(&symmetries, &a), source(&symmetries, &b));
        let candidates = [network("a", &symmetries, &source_a, &a), network("b", &symmetries, &source_b, &b)];
        let run = |matched: bool| {
            let mut toy = Mlp::taught(&DIMS, &a, 60).with_batch(20);
            let mut matching = matching(&candidates, true, 2, &Alone);
            matching.objective = Some(&mut toy);
            let params = SinkhornParams { matched: Some(matched), ..settings(goal, Gradient::Implicit, 40) };
            Sinkhorn::prepare(params, INCOMING).unwrap().align(matching).unwrap()
        };
        let (with, without) = (run(true), run(false));
        let state = State::of(&symmetries, &with.alignments[0]).unwrap();
        assert_eq!(brought(&symmetries, &b, &state), a, "{goal:?} {plant} {:?}", with.facts);
        assert!(fact(&with, "loss") <= fact(&without, "loss"));
        assert_eq!(with.trace, without.trace);
    }
}

/// Networks that no permutation connects: what is looked at is never worse than what weight matching finds.
#[test]
fn a_result_is_never_worse_than_weight_matching() {
    let symmetries = crate::toy::chain(&DIMS);
    let (a, b) = (random_mlp(&DIMS, 1), random_mlp(&DIMS, 2));
    let (source_a, source_b) = (source(&symmetries, &a), source(&symmetries, &b));
    let candidates = [network("a", &symmetries, &source_a, &a), network("b", &symmetries, &source_b, &b)];
    let pair = Pair::of(&candidates[0], &candidates[1], Precision::Single, Context::new(&Alone));
    let descent = Descent::new(pair, Order::Forward, 100).unwrap();
    let matched = descent.run(&State::identity(&symmetries), 0, 0).unwrap().state;
    let mut middle = brought(&symmetries, &b, &matched);
    search::blend(&a, 0.5, &mut middle);
    let mut toy = Mlp::taught(&DIMS, &a, 60).with_batch(20);
    let least = toy.loss(&middle, None).unwrap();
    for goal in [Goal::Midpoint, Goal::Random] {
        let mut matching = matching(&candidates, true, 2, &Alone);
        matching.objective = Some(&mut toy);
        let params = SinkhornParams { matched: Some(true), ..settings(goal, Gradient::Implicit, 1) };
        let found = Sinkhorn::prepare(params, INCOMING).unwrap().align(matching).unwrap();
        assert!(fact(&found, "loss") <= least, "{goal:?} {:?}", found.facts);
    }
}

#[test]
fn what_does_not_go_is_said() {
    let mut toy = Mlp::taught(&DIMS, &random_mlp(&DIMS, 1), 10);
    toy.broken_at = Some(4);
    let error = learned(settings(Goal::Midpoint, Gradient::Implicit, 9), &mut toy, 2, &Alone).unwrap_err();
    assert!(error.message.contains("NaN in step"), "{error}");
    let mut toy = Mlp::taught(&DIMS, &random_mlp(&DIMS, 1), 10);
    for patience in [0, 20, 60] {
        let host = Backwards::new(patience);
        let error = learned(settings(Goal::Midpoint, Gradient::Implicit, 9), &mut toy, 2, &host).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
    let without = Incoming { data: false, ..INCOMING };
    let error = Sinkhorn::prepare(settings(Goal::Midpoint, Gradient::Implicit, 9), without).unwrap_err();
    assert_eq!(error.parameter, Some("loss"));
    let two = Incoming { from: 2, ..INCOMING };
    assert!(Sinkhorn::prepare(settings(Goal::L2, Gradient::Implicit, 9), two).is_err());
}
