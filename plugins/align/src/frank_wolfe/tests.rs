use super::*;
use crate::held::Held;
use crate::oracle::{candidate, chain, moved, params, values};
use crate::toy::{Backwards, matching};
use fusion_sdk::ErrorKind;
use fusion_sdk::alignment::Transform;
use fusion_sdk::context::{Alone, Host};
use fusion_sdk::symmetry::Symmetries;

fn run(
    symmetries: &Symmetries,
    models: &[&Held],
    reference: bool,
    start: Start,
    host: &dyn Host,
) -> Result<Aligned, MethodError> {
    let names = ["a", "b", "c", "d"];
    let candidates: Vec<_> =
        models.iter().zip(names).map(|(held, name)| candidate(name, symmetries, held)).collect();
    let params = FrankWolfeParams { start, trials: 1, steps: 400, tolerance: 1e-9 };
    FrankWolfe(params).align(matching(&candidates, reference, 1, host))
}

fn fact(aligned: &Aligned, name: &str) -> f64 {
    aligned.facts.iter().find(|(own, _)| own == name).unwrap().1
}

fn table(aligned: &Aligned, model: usize, node: usize) -> Vec<u32> {
    match &aligned.alignments[model].nodes[node].1 {
        Transform::Permutation(tables) => tables[0].clone(),
        other => panic!("{other:?}"),
    }
}

/// Brings a model over.
fn brought(symmetries: &Symmetries, aligned: &Aligned, model: usize, held: &Held) -> Held {
    moved(symmetries, held, &State::of(symmetries, &aligned.alignments[model]).unwrap())
}

/// Oracle O1 of the reference notes; twelve digits are given. One node: the global optimum.
#[test]
fn one_layer_is_solved_exactly() {
    let dims = [2, 10, 3];
    let symmetries = chain(&dims);
    let (a, b) = (params(1, &dims), params(2, &dims));
    for start in [Start::Identity, Start::Barycentre, Start::Sinkhorn, Start::Random] {
        let found = run(&symmetries, &[&a, &b], true, start, &Alone).unwrap();
        assert!((fact(&found, "objective") - 11.690_627_841_853).abs() < 1e-11);
        assert_eq!(table(&found, 0, 0), [3, 0, 2, 4, 8, 5, 1, 9, 7, 6]);
        if start == Start::Identity {
            assert!((fact(&found, "start_objective") + 1.027_819_285_802).abs() < 1e-11);
        }
    }
}

/// Oracle O2: both runs to the digits given, with their permutations and steps.
#[test]
fn two_layers_are_those_of_the_reference() {
    let dims = [8, 16, 12, 5];
    let symmetries = chain(&dims);
    let (a, b) = (params(3, &dims), params(4, &dims));
    let check = |start, begin: f64, end: f64, steps: f64, tables: [&[u32]; 2]| {
        let found = run(&symmetries, &[&a, &b], true, start, &Alone).unwrap();
        assert!((fact(&found, "start_objective") - begin).abs() < 1e-11, "{:?}", found.facts);
        assert!((fact(&found, "objective") - end).abs() < 1e-11, "{:?}", found.facts);
        // The iterate ends at a vertex.
        assert!((fact(&found, "soft_objective") - end).abs() < 1e-11, "{:?}", found.facts);
        assert_eq!(fact(&found, "iterations"), steps, "{:?}", found.trace);
        assert!(found.trace.windows(2).all(|pair| pair[1] >= pair[0] - 1e-12), "{:?}", found.trace);
        assert_eq!(table(&found, 0, 0), tables[0]);
        assert_eq!(table(&found, 0, 1), tables[1]);
    };
    check(
        Start::Identity,
        15.712_232_509_118,
        52.707_708_846_369,
        6.0,
        [&[0, 3, 10, 15, 4, 5, 6, 7, 8, 1, 12, 2, 14, 13, 9, 11], &[4, 2, 11, 3, 0, 5, 6, 10, 8, 9, 7, 1]],
    );
    check(
        Start::Barycentre,
        1.891_288_320_758,
        57.151_578_367_723,
        9.0,
        [&[12, 3, 5, 8, 0, 13, 11, 7, 4, 15, 6, 2, 1, 9, 10, 14], &[11, 2, 4, 5, 8, 10, 3, 0, 7, 9, 1, 6]],
    );
}

#[test]
fn planted_permutations_are_found() {
    let dims = [6, 14, 14, 4];
    let symmetries = chain(&dims);
    for seed in 0..5 {
        let a = params(1000 + seed, &dims);
        let b = moved(&symmetries, &a, &State::random(&symmetries, seed));
        let found = run(&symmetries, &[&a, &b], true, Start::Barycentre, &Alone).unwrap();
        assert_eq!(brought(&symmetries, &found, 0, &b), a, "{seed}");
    }
    // A model with itself is the identity.
    let a = params(7, &dims);
    let found = run(&symmetries, &[&a, &a], true, Start::Barycentre, &Alone).unwrap();
    assert_eq!(found.alignments[0].moved(&symmetries).0, 0);
}

#[test]
fn heads_with_their_dimensions_are_found() {
    let text = "node head[3]\nnode qk[4] in head\nnode v[4] in head\n\
        q = head · qk, reads pin[9]\nk = head · qk, reads pin[9]\nv = head · v, reads pin[9]\n\
        o = pin[9], reads head · v\n";
    let symmetries = Symmetries::parse(text).unwrap();
    for seed in 1..4 {
        let a = values(&symmetries, seed);
        let b = moved(&symmetries, &a, &State::random(&symmetries, seed));
        let found = run(&symmetries, &[&a, &b], true, Start::Barycentre, &Alone).unwrap();
        assert_eq!(brought(&symmetries, &found, 0, &b), a, "{seed}");
    }
}

/// One node on both axes of a tensor: the objective is quadratic in it, and the ascent still exact and monotone.
#[test]
fn a_recurrent_matrix_is_aligned() {
    let symmetries = Symmetries::parse(
        "node h[7]\nhh = h ++ h, reads h\nih = h ++ h, reads pin[5]\nfc = pin[2], reads h\n",
    );
    let symmetries = symmetries.unwrap();
    let a = values(&symmetries, 4);
    let b = moved(&symmetries, &a, &State::random(&symmetries, 9));
    let found = run(&symmetries, &[&a, &b], true, Start::Barycentre, &Alone).unwrap();
    assert!(found.trace.windows(2).all(|pair| pair[1] >= pair[0] - 1e-12), "{:?}", found.trace);
    assert_eq!(brought(&symmetries, &found, 0, &b), a);
}

#[test]
fn many_models_meet_in_one_order() {
    let dims = [6, 12, 10, 4];
    let symmetries = chain(&dims);
    let a = params(11, &dims);
    let planted: Vec<Held> =
        (0..3).map(|seed| moved(&symmetries, &a, &State::random(&symmetries, 20 + seed))).collect();
    let models = [&planted[0], &planted[1], &planted[2], &a];
    let found = run(&symmetries, &models, false, Start::Barycentre, &Alone).unwrap();
    assert_eq!(found.alignments.len(), 4);
    assert_eq!(found.alignments[0].moved(&symmetries).0, 0, "told in the order of the first");
    for (model, held) in models.into_iter().enumerate() {
        assert_eq!(&brought(&symmetries, &found, model, held), models[0], "{model}");
    }
    // With a reference the universe has its order, and it is not among the results.
    let found = run(&symmetries, &models, true, Start::Barycentre, &Alone).unwrap();
    assert_eq!(found.alignments.len(), 3);
    for (model, held) in models.into_iter().skip(1).enumerate() {
        assert_eq!(&brought(&symmetries, &found, model, held), models[0], "{model}");
    }
}

/// Unrelated models: f is a quartic along a segment, the ascent monotone, and going round a cycle of pairs is the identity.
#[test]
fn unrelated_models_are_cycle_consistent() {
    let dims = [5, 9, 8, 3];
    let symmetries = chain(&dims);
    let models: Vec<Held> = (31..34).map(|seed| params(seed, &dims)).collect();
    let models: Vec<&Held> = models.iter().collect();
    let found = run(&symmetries, &models, false, Start::Identity, &Alone).unwrap();
    assert!(found.trace.windows(2).all(|pair| pair[1] >= pair[0] - 1e-11), "{:?}", found.trace);
    assert!(fact(&found, "objective") > fact(&found, "start_objective"));
    // From b's order to a's, from c's to b's, from a's to c's.
    let to = |model: usize| found.alignments[model].clone();
    let between = |to_model: usize, from_model: usize| {
        to(from_model).then(&to(to_model).inverse(&symmetries).unwrap(), &symmetries).unwrap()
    };
    let cycle =
        between(2, 0).then(&between(1, 2), &symmetries).unwrap().then(&between(0, 1), &symmetries).unwrap();
    assert_eq!(cycle.moved(&symmetries).0, 0);
    let backwards = run(&symmetries, &models, false, Start::Identity, &Backwards::new(usize::MAX)).unwrap();
    assert_eq!(found, backwards, "any order of threads gives the same bits");
}

#[test]
fn trials_keep_the_best_and_a_stop_is_heard() {
    let dims = [8, 16, 12, 5];
    let symmetries = chain(&dims);
    let (a, b) = (params(3, &dims), params(4, &dims));
    let candidates = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
    let of = |trials| {
        let params = FrankWolfeParams { start: Start::Identity, trials, steps: 400, tolerance: 1e-9 };
        let found = FrankWolfe(params).align(matching(&candidates, true, 3, &Alone)).unwrap();
        fact(&found, "objective")
    };
    assert!(of(4) > of(1));
    for patience in [0, 5, 40] {
        let error =
            run(&symmetries, &[&a, &b], true, Start::Identity, &Backwards::new(patience)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
    let mut broken = b.clone();
    broken.tensors[2][5] = f64::NAN;
    let error = run(&symmetries, &[&a, &broken], true, Start::Identity, &Alone).unwrap_err();
    assert!(error.message.contains("element 5 of `w1` in `b` is NaN") && error.input == Some(1), "{error}");
}
