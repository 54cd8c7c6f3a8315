use super::*;
use crate::activations::{Backwards, Chains, runnable};
use crate::held::Held;
use crate::oracle::{chain, moved, params, uniform};
use crate::state::State;
use crate::toy::matching;
use fusion_sdk::align::Features;
use fusion_sdk::alignment::{Matrix, Mix};
use fusion_sdk::context::{Alone, Host};
use fusion_sdk::symmetry::Symmetries;

const INCOMING: Incoming = Incoming { reference: 1, from: 1, data: true };

fn run(
    symmetries: &Symmetries,
    models: [&Held; 2],
    params: CcaParams,
    host: &dyn Host,
) -> Result<Aligned, MethodError> {
    let mut chains = Chains::new(&[(symmetries, models[0]), (symmetries, models[1])], &[40, 25, 60]);
    let candidates = [runnable("a", symmetries, models[0]), runnable("b", symmetries, models[1])];
    let mut matching = matching(&candidates, true, 0, host);
    matching.features = Some(&mut chains as &mut dyn Features);
    Cca::prepare(params, INCOMING)?.align(matching)
}

fn mixes(transform: &Transform) -> &[Mix] {
    match transform {
        Transform::Map(mixes) => mixes,
        other => panic!("{other:?}"),
    }
}

fn difference(one: &Matrix, other: &Matrix) -> f64 {
    one.values.iter().zip(&other.values).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
}

/// Activations come in f32, and a ridge of 10⁻³ bounds what that is amplified by.
#[test]
fn a_planted_permutation_is_the_map() {
    let dims = [10, 9, 7, 3];
    let symmetries = chain(&dims);
    let a = params(5, &dims);
    let planted = State::random(&symmetries, 3);
    let b = moved(&symmetries, &a, &planted);
    for place in [Place::Before, Place::After] {
        let settings = CcaParams { place, ridge: 1e-3 };
        let found = run(&symmetries, [&a, &b], settings.clone(), &Alone).unwrap();
        let back = planted.alignment(&symmetries, &symmetries).inverse(&symmetries).unwrap();
        for (id, (_, transform)) in symmetries.ids().zip(&found.alignments[0].nodes) {
            let Transform::Permutation(tables) = back.transform(id) else { panic!("planted") };
            let wanted = Matrix::of_permutation(&tables[0]);
            let mix = &mixes(transform)[0];
            assert!(difference(&mix.merge, &wanted) < 1e-4, "{place:?} {:?}", mix.merge);
            assert!(difference(&mix.unmerge, &wanted.transposed()) < 1e-4);
        }
        assert!(found.facts[0].1 > 0.9 && found.facts[0].1 <= 1.0, "{:?}", found.facts);
        assert_eq!(found, run(&symmetries, [&a, &b], settings, &Backwards).unwrap());
    }
}

/// What defines the map: T C_yy Tᵀ = C_xx, T⁻¹ its inverse, and T C_yx symmetric (a polar factor).
#[test]
fn the_map_gives_one_model_the_covariance_of_the_other() {
    let (size, examples) = (5, 40);
    let values = uniform(3, 2 * size * examples);
    let row = |unit: usize| &values[unit * examples..(unit + 1) * examples];
    let covariances: Vec<f64> = (0..4 * size * size)
        .map(|at| row(at / (2 * size)).iter().zip(row(at % (2 * size))).map(|(x, y)| x * y).sum())
        .collect();
    let (mix, _) = maps::maps(&covariances, size, 0.0).unwrap();
    let block = |first: usize, second: usize| {
        let at = |index: usize| covariances[(first + index / size) * 2 * size + second + index % size];
        Matrix { rows: size, columns: size, values: (0..size * size).map(at).collect() }
    };
    let given = mix.merge.times(&block(size, size)).times(&mix.merge.transposed());
    assert!(difference(&given, &block(0, 0)) < 1e-10);
    let mut identity = Matrix::zeros(size, size);
    (0..size).for_each(|at| identity.values[at * size + at] = 1.0);
    assert!(difference(&mix.merge.times(&mix.unmerge), &identity) < 1e-10);
    // U S Uᵀ between two roots of C_xx: what makes the rotation the best one.
    let inner = mix.merge.times(&block(size, 0));
    assert!(difference(&inner, &inner.transposed()) < 1e-10);
}

#[test]
fn dead_units_are_borne_and_dead_layers_named() {
    let dims = [6, 9, 3];
    let symmetries = chain(&dims);
    let (a, mut b) = (params(5, &dims), params(6, &dims));
    let settings = CcaParams { place: Place::After, ridge: 1e-3 };
    b.tensors[1][4] = -1000.0;
    let found = run(&symmetries, [&a, &b], settings.clone(), &Alone).unwrap();
    assert!(mixes(&found.alignments[0].nodes[0].1)[0].merge.values.iter().all(|value| value.is_finite()));
    found.alignments[0].check(&symmetries, &symmetries).unwrap();
    b.tensors[1].fill(-1000.0);
    let error = run(&symmetries, [&a, &b], settings.clone(), &Alone).unwrap_err();
    assert!(error.message.contains("`h0` of `b`: no unit ever changes"), "{error}");
    b.tensors[0][0] = f64::NAN;
    b.tensors[1].fill(0.0);
    let error = run(&symmetries, [&a, &b], settings, &Alone).unwrap_err();
    assert!(error.message.contains("an activation of `w0` of `b` is NaN"), "{error}");
}
