use serde_json::json;

use super::*;
use crate::activations::{Backwards, Chains, runnable};
use crate::held::Held;
use crate::oracle::{candidate, chain, moved, params, uniform, values};
use crate::state::State;
use fusion_sdk::align::{Candidate, Features};
use fusion_sdk::context::{Alone, Context, Host};
use fusion_sdk::symmetry::Symmetries;

const DEFAULTS: OtFusionParams = OtFusionParams {
    features: None,
    at: None,
    metric: Metric::Euclidean,
    scaling: Scaling::None,
    solver: Solver::Exact,
    reg: None,
    iterations: None,
    mass: Mass::Uniform,
    readers: Readers::Spread,
    residual: Residual::All,
};

fn prepared(params: OtFusionParams, data: bool) -> OtFusion {
    OtFusion::prepare(params, Incoming { reference: 1, from: 1, data }).unwrap()
}

fn aligned_on<'a>(
    host: &'a dyn Host,
    method: &OtFusion,
    models: &'a [Candidate<'a>],
    features: Option<&'a mut (dyn Features + 'a)>,
) -> Result<Aligned, MethodError> {
    method.align(Matching {
        models,
        reference: true,
        target: models[0].symmetries,
        features,
        objective: None,
        alignments: &[],
        seed: 0,
        context: Context::new(host),
    })
}

fn aligned(params: OtFusionParams, models: &[Candidate<'_>]) -> Result<Aligned, MethodError> {
    aligned_on(&Alone, &prepared(params, false), models, None)
}

/// All tensors of a model under an alignment, which is checked.
fn applied(alignment: &Alignment, from: &Symmetries, to: &Symmetries, held: &Held) -> Held {
    alignment.check(from, to).unwrap();
    let each = held.tensors.iter().enumerate();
    Held { tensors: each.map(|(at, values)| alignment.apply_f64(from, to, at, values).unwrap()).collect() }
}

fn near(a: &Held, b: &Held, tolerance: f64) {
    for (a, b) in a.tensors.iter().flatten().zip(b.tensors.iter().flatten()) {
        assert!((a - b).abs() <= tolerance, "{a} {b}");
    }
}

/// Oracle O7 through the method: hidden layers are those of the reference, the output stays; half and half with the reference, the layers have the
/// norms of the fused ones. Biases of this chain do not take part: they do not go by the names of their matrices.
#[test]
fn the_mean_with_the_reference_is_the_fused_model() {
    let symmetries = chain(&[8, 16, 12, 5]);
    let (a, b) = (params(3, &[8, 16, 12, 5]), params(4, &[8, 16, 12, 5]));
    let models = [candidate("b", &symmetries, &b), candidate("a", &symmetries, &a)];
    let found = aligned(DEFAULTS, &models).unwrap();
    let alignment = &found.alignments[0];
    let result = applied(alignment, &symmetries, &symmetries, &a);
    for (tensor, wanted) in [(0, 5.529_093_102_695), (2, 6.739_103_363_479)] {
        let pairs = result.tensors[tensor].iter().zip(&b.tensors[tensor]);
        let norm = pairs.map(|(a, b)| (0.5 * (a + b)).powi(2)).sum::<f64>().sqrt();
        assert!((norm - wanted).abs() < 1e-12, "{norm}");
    }
    assert!(alignment.permutes());
    assert_eq!(found.facts[0].0, "cost");
    let cost = 16.0 * 1.476_463_517_420 + 12.0 * 2.681_581_556_989;
    assert!((found.facts[0].1 - cost).abs() < 1e-10, "{}", found.facts[0].1);
    assert_eq!(found.facts[1], ("mixed".to_owned(), 0.0));
}

/// A stream with two blocks, attention with heads, gate and up, norms, grouped convolution behind: every planted permutation is found, whatever
/// of the stream's writers counts.
#[test]
fn planted_permutations_are_found() {
    let text = "node s[10]\nnode head[3]\nnode qk[4] in head\nnode v[5] in head\nnode f[9]\nnode g[3]\nnode o[2] in g\nnode i[4] in g\n\
        emb.weight = pin[11], s\nnorm.weight = s\nq.weight = head · qk, reads s\nq.bias = head · qk\n\
        k.weight = head · qk, reads s\nv.weight = head · v, reads s\no.weight = s, reads head · v\n\
        gate.weight = f, reads s\nup.weight = f, reads s\ndown.weight = s, reads f\ndown.bias = s\n\
        into.weight = g · i, reads s\nconv.weight = g · o, reads i, pin[3]\nhead.weight = pin[7], reads g · o\n";
    let symmetries = Symmetries::parse(text).unwrap();
    for seed in 1..=4 {
        let held = values(&symmetries, seed);
        let other = moved(&symmetries, &held, &State::random(&symmetries, seed));
        let models = [candidate("a", &symmetries, &held), candidate("b", &symmetries, &other)];
        for residual in [Residual::All, Residual::Mean, Residual::First, Residual::Last] {
            for metric in [Metric::Euclidean, Metric::Squared, Metric::Cosine] {
                let found = aligned(OtFusionParams { residual, metric, ..DEFAULTS }, &models).unwrap();
                let result = applied(&found.alignments[0], &symmetries, &symmetries, &other);
                assert_eq!(result, held, "{residual:?} {metric:?}");
            }
        }
        // A stream that stays, and a model that is the reference itself.
        let found = aligned(OtFusionParams { residual: Residual::Identity, ..DEFAULTS }, &models).unwrap();
        assert_eq!(*found.alignments[0].transform(NodeId(0)), Transform::Identity);
        let found = aligned(DEFAULTS, &[models[0], models[0]]).unwrap();
        assert_eq!(found.alignments[0].moved(&symmetries).0, 0);
    }
}

/// The recurrent matrix has its node on both axes and four times on one: seen in the second sweep.
#[test]
fn recurrent_units_are_found() {
    let text = "node h[8]\nih.weight = h ++ h ++ h ++ h, reads pin[2]\nhh.weight = h ++ h ++ h ++ h, reads h\nout.weight = pin[3], reads h\n";
    let symmetries = Symmetries::parse(text).unwrap();
    let held = values(&symmetries, 5);
    let other = moved(&symmetries, &held, &State::random(&symmetries, 6));
    let models = [candidate("a", &symmetries, &held), candidate("b", &symmetries, &other)];
    let found = aligned(DEFAULTS, &models).unwrap();
    assert_eq!(applied(&found.alignments[0], &symmetries, &symmetries, &other), held);
    let wider = symmetries.resized(&[11]);
    let held = values(&wider, 7);
    let found = aligned(DEFAULTS, &[models[0], candidate("wide", &wider, &held)]).unwrap();
    found.alignments[0].check(&wider, &symmetries).unwrap();
}

/// Every unit of the reference is there twice, with halves of its outgoing weights: the narrow network comes back exactly. The paper's rule for
/// readers gives half of the outgoing weights.
#[test]
fn doubled_units_become_one() {
    let (narrow, wide) = (chain(&[3, 4, 2]), chain(&[3, 8, 2]));
    let held = params(1, &[3, 4, 2]);
    let mut double = Held::default();
    let rows = |values: &[f64], width: usize| {
        values.chunks(width).flat_map(|row| [row, row].concat()).collect::<Vec<f64>>()
    };
    double.tensors.push(rows(&held.tensors[0], 3));
    double.tensors.push(rows(&held.tensors[1], 1));
    double.tensors.push(held.tensors[2].iter().flat_map(|value| [0.5 * value; 2]).collect());
    double.tensors.push(held.tensors[3].clone());
    let models = [candidate("narrow", &narrow, &held), candidate("wide", &wide, &double)];
    let found = aligned(DEFAULTS, &models).unwrap();
    near(&applied(&found.alignments[0], &wide, &narrow, &double), &held, 1e-15);
    let found = aligned(OtFusionParams { readers: Readers::Mean, ..DEFAULTS }, &models).unwrap();
    let result = applied(&found.alignments[0], &wide, &narrow, &double);
    result.tensors[2].iter().zip(&held.tensors[2]).for_each(|(a, b)| assert!((a - 0.5 * b).abs() < 1e-15));
    // And the other way round: the narrow one is spread over the wide one's units.
    let found = aligned(DEFAULTS, &[models[1], models[0]]).unwrap();
    near(&applied(&found.alignments[0], &narrow, &wide, &held), &double, 1e-15);
}

/// Six units into four and so on, with all solvers and masses; heads of different dimensions. All values are finite, and rows of `merge` sum to 1.
#[test]
fn widths_may_differ() {
    let text = |s: usize, d: usize, f: usize| {
        let text = format!(
            "node s[{s}]\nnode head[2]\nnode d[{d}] in head\nnode f[{f}]\nemb = pin[9], s\nv.weight = head · d, reads s\n\
             o.weight = s, reads head · d\nup.weight = f, reads s\ndown.weight = s, reads f\nout = pin[3], reads s\n"
        );
        Symmetries::parse(&text).unwrap()
    };
    let (to, from) = (text(6, 3, 4), text(4, 5, 6));
    let (a, b) = (values(&to, 1), values(&from, 2));
    let models = [candidate("a", &to, &a), candidate("b", &from, &b)];
    for (solver, reg) in [(Solver::Exact, None), (Solver::Sinkhorn, Some(0.05))] {
        for scaling in [Scaling::None, Scaling::Max, Scaling::Median, Scaling::Mean, Scaling::Log1p] {
            for (mass, residual) in
                [(Mass::Uniform, Residual::All), (Mass::L1, Residual::Mean), (Mass::L2, Residual::Last)]
            {
                let found =
                    aligned(OtFusionParams { solver, reg, scaling, mass, residual, ..DEFAULTS }, &models)
                        .unwrap();
                let alignment = &found.alignments[0];
                let result = applied(alignment, &from, &to, &b);
                assert!(result.tensors.iter().flatten().all(|value| value.is_finite()));
                for (_, transform) in &alignment.nodes {
                    let Transform::Map(mixes) = transform else { continue };
                    for row in mixes.iter().flat_map(|mix| mix.merge.values.chunks(mix.merge.columns)) {
                        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                    }
                }
            }
        }
    }
    let error = aligned(OtFusionParams { residual: Residual::Identity, ..DEFAULTS }, &models).unwrap_err();
    assert!(error.message.contains("`s` has 4 units in `b` and 6 in `a`"), "{error}");
}

#[test]
fn activations_find_a_planted_permutation_on_any_threads() {
    let symmetries = chain(&[5, 9, 8, 3]);
    let held = params(1, &[5, 9, 8, 3]);
    let other = moved(&symmetries, &held, &State::random(&symmetries, 2));
    let third = params(3, &[5, 9, 8, 3]);
    let models = [
        runnable("a", &symmetries, &held),
        runnable("b", &symmetries, &other),
        runnable("c", &symmetries, &third),
    ];
    let each = [(&symmetries, &held), (&symmetries, &other), (&symmetries, &third)];
    for at in [Place::Before, Place::After] {
        let method = prepared(OtFusionParams { at: Some(at), ..DEFAULTS }, true);
        let mut features = Chains::new(&each, &[40, 17]);
        let found = aligned_on(&Alone, &method, &models, Some(&mut features)).unwrap();
        assert_eq!(applied(&found.alignments[0], &symmetries, &symmetries, &other), held);
        assert_eq!(found.alignments.len(), 2);
        assert_eq!(found.facts.last().unwrap(), &("unwatched".to_owned(), 0.0));
        let again = aligned_on(&Backwards, &method, &models, Some(&mut features)).unwrap();
        assert_eq!(again, found);
    }
    let soft = OtFusionParams { solver: Solver::Sinkhorn, mass: Mass::L2, ..DEFAULTS };
    let found = [&Alone as &dyn Host, &Backwards]
        .map(|host| aligned_on(host, &prepared(soft.clone(), false), &models, None));
    assert_eq!(found[0], found[1]);
    let mut broken = held.clone();
    broken.tensors[0][7] = f64::NAN;
    let models = [models[0], runnable("broken", &symmetries, &broken)];
    let mut features = Chains::new(&[each[0], (&symmetries, &broken)], &[4]);
    let error = aligned_on(&Alone, &prepared(DEFAULTS, true), &models, Some(&mut features)).unwrap_err();
    assert!(error.message.contains("`w0` of `broken` is NaN"), "{error}");
    let error = aligned(DEFAULTS, &models).unwrap_err();
    assert!(error.message.contains("element 7 of `w0` in `broken`"), "{error}");
}

#[test]
fn dead_units_are_no_trouble() {
    let symmetries = chain(&[3, 6, 2]);
    let mut held = params(1, &[3, 6, 2]);
    held.tensors[0][3..12].fill(0.0);
    let other = params(2, &[3, 6, 2]);
    let models = [candidate("a", &symmetries, &held), candidate("b", &symmetries, &other)];
    for metric in [Metric::Euclidean, Metric::Cosine] {
        for mass in [Mass::Uniform, Mass::L2] {
            let found = aligned(OtFusionParams { metric, mass, ..DEFAULTS }, &models).unwrap();
            let result = applied(&found.alignments[0], &symmetries, &symmetries, &other);
            assert!(result.tensors.iter().flatten().all(|value| value.is_finite()));
        }
    }
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let refused = |settings: serde_json::Value, data: bool| {
        let incoming = Incoming { reference: 1, from: 1, data };
        let method = fusion_sdk::align::method::<OtFusion>();
        method.prepare(settings.as_object().unwrap(), incoming).err().unwrap().parameter
    };
    assert_eq!(refused(json!({"features": "activations"}), false), Some("features"));
    assert_eq!(refused(json!({"features": "weights"}), true), Some("features"));
    assert_eq!(refused(json!({"at": "after"}), false), Some("at"));
    assert_eq!(refused(json!({"reg": 0.1}), false), Some("reg"));
    assert_eq!(refused(json!({"reg": 0.0, "solver": "sinkhorn"}), false), Some("reg"));
    let (one, deeper) = (chain(&[3, 4, 2]), chain(&[3, 4, 4, 2]));
    let (a, b) = (params(1, &[3, 4, 2]), params(1, &[3, 4, 4, 2]));
    let error = aligned(DEFAULTS, &[candidate("a", &one, &a), candidate("b", &deeper, &b)]).unwrap_err();
    assert!(error.message.contains("different structure"), "{error}");
    let narrow = chain(&[2, 4, 2]);
    let c = Held { tensors: vec![uniform(1, 8), uniform(2, 4), uniform(3, 8), uniform(4, 2)] };
    let error = aligned(DEFAULTS, &[candidate("a", &one, &a), candidate("c", &narrow, &c)]).unwrap_err();
    assert!(error.message.contains("`w0` of `c` does not fit that of `a`"), "{error}");
}
