use fusion_sdk::Context;
use fusion_sdk::align::{
    Align, Aligned, Candidate, Features, Incoming, Matching, Rows, Tap, Vectors, Watched,
};
use fusion_sdk::context::{Alone, Host};
use fusion_sdk::symmetry::Symmetries;

use super::*;
use crate::activations::Chains;
use crate::held::Held;
use crate::oracle::{Threads, chain, moved, params, uniform};

const DIMS: [usize; 4] = [12, 30, 24, 5];

fn settings() -> ActivationMatchingParams {
    ActivationMatchingParams { cost: Cost::Correlation, at: Place::After, examples: None }
}

/// A candidate that can be run; the test's features know its values.
fn network<'a>(name: &'a str, symmetries: &'a Symmetries, held: &'a Held) -> Candidate<'a> {
    let vectors = Some(Vectors { weights: &[], statistics: &[] });
    Candidate { name, symmetries, source: held, vectors }
}

fn aligned(
    host: &dyn Host,
    params: ActivationMatchingParams,
    models: &[Candidate<'_>],
    features: &mut dyn Features,
) -> Result<Aligned, MethodError> {
    let incoming = Incoming { reference: 1, from: models.len() - 1, data: true };
    let matching = Matching {
        models,
        reference: true,
        target: models[0].symmetries,
        features: Some(features),
        objective: None,
        alignments: &[],
        seed: 0,
        context: Context::new(host),
    };
    ActivationMatching::prepare(params, incoming).unwrap().align(matching)
}

fn fact(aligned: &Aligned, name: &str) -> f64 {
    aligned.facts.iter().find(|(own, _)| own == name).unwrap().1
}

/// Two models at once, each a permuted copy; by correlations and inner products, before and after the activation.
#[test]
fn planted_permutations_are_found() {
    let symmetries = chain(&DIMS);
    let b = params(1, &DIMS);
    for (cost, at) in [
        (Cost::Correlation, Place::After),
        (Cost::Correlation, Place::Before),
        (Cost::InnerProduct, Place::Before),
    ] {
        // The reference is one permutation of b, the third model another.
        let (one, two) = (State::random(&symmetries, 3), State::random(&symmetries, 4));
        let (a, c) = (moved(&symmetries, &b, &one), moved(&symmetries, &b, &two));
        let models =
            [network("a", &symmetries, &a), network("b", &symmetries, &b), network("c", &symmetries, &c)];
        let mut chains =
            Chains::new(&[(&symmetries, &a), (&symmetries, &b), (&symmetries, &c)], &[40, 40, 17]);
        let params = ActivationMatchingParams { cost, at, ..settings() };
        let found = aligned(&Alone, params.clone(), &models, &mut chains).unwrap();
        assert_eq!(found.alignments[0], one.alignment(&symmetries, &symmetries));
        // c = π₂ b, so π₁ π₂⁻¹ c = a.
        let back = two.alignment(&symmetries, &symmetries).inverse(&symmetries).unwrap();
        let wanted = back.then(&found.alignments[0], &symmetries).unwrap();
        assert_eq!(found.alignments[1].nodes, wanted.nodes);
        assert_eq!((fact(&found, "unseen"), fact(&found, "examples")), (0.0, 97.0));
        assert_eq!(fact(&found, "units"), 108.0);
        let again = aligned(&Threads, params, &models, &mut chains).unwrap();
        assert_eq!(again, found);
        if cost == Cost::Correlation && at == Place::Before {
            // All units are alive there, and each goes with itself.
            assert!((fact(&found, "objective") - 108.0).abs() < 1e-9);
        }
    }
}

#[test]
fn a_few_examples_suffice_and_dead_units_stay() {
    let symmetries = chain(&DIMS);
    let mut a = params(2, &DIMS);
    for dead in [3, 8, 9] {
        a.tensors[1][dead] = -100.0;
    }
    let models = [network("a", &symmetries, &a), network("b", &symmetries, &a)];
    let mut chains = Chains::new(&[(&symmetries, &a), (&symmetries, &a)], &[20, 20, 20, 20]);
    let params = ActivationMatchingParams { examples: Some(30), ..settings() };
    let found = aligned(&Alone, params, &models, &mut chains).unwrap();
    assert_eq!((fact(&found, "moved"), fact(&found, "examples")), (0.0, 40.0));
}

/// Heads in another order, and dimensions of each in another order, seen where attention gives its output.
#[test]
fn heads_are_matched_with_their_dimensions() {
    struct Heads {
        taps: Vec<Tap>,
        values: [Vec<f32>; 2],
    }
    impl Features for Heads {
        fn taps(&self) -> &[Tap] {
            &self.taps
        }
        fn pass(
            &mut self,
            _: &[Watched<'_>],
            _: &[usize],
            visit: &mut fusion_sdk::align::Visit<'_>,
        ) -> Result<(), MethodError> {
            let rows = self.values.each_ref().map(|values| vec![Rows { width: 20, values }]);
            visit(&rows)
        }
    }
    let symmetries =
        Symmetries::parse("node head[4]\nnode d[5] in head\nnode t[3]\nw = head · d, reads t").unwrap();
    let state = State::random(&symmetries, 9);
    let own: Vec<f32> = uniform(3, 20 * 50).into_iter().map(|value| value as f32).collect();
    let heads = state.table(NodeId(0), 0);
    let order: Vec<usize> = (0..20)
        .map(|at| {
            let (slot, d) = (at / 5, at % 5);
            heads[slot] as usize * 5 + state.table(NodeId(1), slot)[d] as usize
        })
        .collect();
    let brought: Vec<f32> =
        own.chunks_exact(20).flat_map(|row| order.iter().map(|at| row[*at]).collect::<Vec<_>>()).collect();
    let units = symmetries.tensors[0].axes[0].segments.clone();
    let mut features =
        Heads { taps: vec![Tap { layer: "attn".into(), when: When::After, units }], values: [brought, own] };
    let held = Held::default();
    let models = [network("a", &symmetries, &held), network("b", &symmetries, &held)];
    let found = aligned(&Alone, settings(), &models, &mut features).unwrap();
    for id in [NodeId(0), NodeId(1)] {
        assert_eq!(found.alignments[0].transform(id), &state.transforms()[id.index()]);
    }
    // No layer shows t: it stays.
    assert_eq!(fact(&found, "unseen"), 3.0);
    features.values[1][7] = f32::NAN;
    let error = aligned(&Alone, settings(), &models, &mut features).unwrap_err();
    assert!(error.message.contains("an activation of `attn` of `b` is NaN"), "{error}");
}

#[test]
fn it_needs_a_reference_and_data() {
    let both = Incoming { reference: 1, from: 1, data: true };
    assert!(ActivationMatching::prepare(settings(), both).is_ok());
    assert!(ActivationMatching::prepare(settings(), Incoming { data: false, ..both }).is_err());
    assert!(ActivationMatching::prepare(settings(), Incoming { reference: 0, from: 2, ..both }).is_err());
}
