use fusion_sdk::context::{Alone, Host};

use super::*;
use crate::family::families;
use crate::oracle::{Threads, chain, moved, params, values};

/// Everything that the expressions can say at once: heads, grouped heads, a grouped convolution, fused and concatenated axes, a recurrent
/// matrix, a vocabulary.
const TEXT: &str = "node s[4]
node kv[2]
node r[3] in kv
node dv[2] in kv
node g[2]
node o[2] in g
node i[3] in g
node h[3]
emb = pin[5], s
q.weight = kv · r · pin[2], reads s
v.weight = kv · dv, reads s
o.weight = s, reads kv · r · dv
conv.weight = g · o, reads i, pin[2]
in.weight = g · i, reads s
out.weight = pin[2], reads g · o
cat.weight = h ++ pin[1] ++ h, reads s
ih = h ++ h, reads s
hh = h ++ h, reads h
norm.running_var (variance) = s
";

fn pair<'a>(
    symmetries: &'a Symmetries,
    a: &'a dyn Source,
    b: &'a dyn Source,
    host: &'a dyn Host,
    precision: Precision,
) -> Pair<'a> {
    Pair { symmetries, a, b, names: ["a", "b"], precision, context: Context::new(host) }
}

/// K at the tables of a state is the family's part of the objective: sums in another order, so equal to rounding. For a quadratic family
/// both factors take their turn, so K counts those tensors twice.
#[test]
fn costs_at_a_state_are_the_objective() {
    let symmetries = Symmetries::parse(TEXT).unwrap();
    let (mut a, b) = (values(&symmetries, 1), values(&symmetries, 2));
    // The pinned row belongs to no family of rows, and is in the objective.
    a.tensors[symmetries.tensor("cat.weight").unwrap()][12..16].fill(0.0);
    let pair = pair(&symmetries, &a, &b, &Alone, Precision::Double);
    for seed in 0..5 {
        let state = State::random(&symmetries, seed);
        for family in families(&symmetries) {
            let joints = pair.joints(&family, &state, Which::All).unwrap();
            let found: f64 = joints.iter().map(|joint| joint.value(&symmetries, &state)).sum();
            let mut wanted = pair.objective_of(&state, family.tensors.iter().copied()).unwrap();
            if family.quadratic {
                wanted += pair.objective_of(&state, symmetries.tensor("hh")).unwrap();
            }
            assert!((found - wanted).abs() < 1e-12, "{family:?}: {found} {wanted}");
        }
        // The objective is that of the moved model.
        let moved = moved(&symmetries, &b, &state);
        let dot: f64 = a
            .tensors
            .iter()
            .zip(&moved.tensors)
            .take(symmetries.tensors.len() - 1)
            .fold(0.0, |sum, (a, b)| sum + a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>());
        assert!((pair.objective(&state).unwrap() - dot).abs() < 1e-12);
    }
}

/// Row blocks are the same for any host; sums of f32 panels differ from f64 by rounding only.
#[test]
fn costs_do_not_depend_on_threads() {
    let dims = [20, 300, 40];
    let symmetries = chain(&dims);
    let (a, b) = (params(1, &dims), params(2, &dims));
    let state = State::random(&symmetries, 1);
    let family = &families(&symmetries)[0];
    let of = |host: &dyn Host, precision| {
        pair(&symmetries, &a, &b, host, precision).joints(family, &state, Which::All).unwrap()
    };
    let alone = of(&Alone, Precision::Single);
    assert_eq!(alone, of(&Threads, Precision::Single));
    let exact = of(&Alone, Precision::Double);
    assert_eq!(exact, of(&Threads, Precision::Double));
    for (single, double) in alone[0].values.iter().zip(&exact[0].values) {
        // 61 products below 1 in f32.
        assert!((single - double).abs() < 1e-5, "{single} {double}");
    }
}

#[test]
fn a_value_that_is_not_finite_is_named() {
    let dims = [2, 3, 1];
    let symmetries = chain(&dims);
    let (a, mut b) = (params(1, &dims), params(2, &dims));
    b.tensors[2][1] = f64::NAN;
    let pair = pair(&symmetries, &a, &b, &Alone, Precision::Single);
    let error = pair.objective(&State::identity(&symmetries)).unwrap_err();
    assert!(error.message.contains("element 1 of `w1` in `b` is NaN"), "{error}");
}

/// Costs that were kept from another state are those that are computed anew, to rounding.
#[test]
fn kept_costs_follow_the_state() {
    let symmetries = Symmetries::parse(TEXT).unwrap();
    let (a, b) = (values(&symmetries, 3), values(&symmetries, 4));
    let pair = pair(&symmetries, &a, &b, &Alone, Precision::Double);
    for family in families(&symmetries) {
        let mut kept = Kept::new(&pair, &family).unwrap();
        for seed in 0..3 {
            let state = State::random(&symmetries, seed);
            let wanted = pair.joints(&family, &state, Which::All).unwrap();
            for found in kept.at(&pair, &family, &state, &mut Rooms::default()).unwrap().0 {
                let wanted = wanted.iter().find(|wanted| wanted.nodes == found.nodes).unwrap();
                let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
                assert!(found.values.iter().zip(&wanted.values).all(close));
            }
        }
    }
}

/// Rows that are longer than what is brought together at a time, and blocks of several elements.
#[test]
fn the_objective_of_long_rows_is_that_of_the_moved_model() {
    let text = "node h[2500]\nnode g[70]\nw = reads pin[3], h\nk = h, pin[3]\nu = g, pin[2100]\n";
    let symmetries = Symmetries::parse(text).unwrap();
    let (a, b) = (values(&symmetries, 5), values(&symmetries, 6));
    let pair = pair(&symmetries, &a, &b, &Alone, Precision::Double);
    let state = State::random(&symmetries, 9);
    let moved = moved(&symmetries, &b, &state);
    let each = a.tensors.iter().zip(&moved.tensors);
    let wanted: f64 = each.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()).sum();
    // 160 000 products below 1, in another order.
    assert!((pair.objective(&state).unwrap() - wanted).abs() < 1e-9);
}
