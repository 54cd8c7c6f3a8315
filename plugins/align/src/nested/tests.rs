use fusion_sdk::context::Alone;

use super::*;
use crate::cost::{Pair, Precision, Which};
use crate::family::families;
use crate::oracle::values;

/// Calls `visit` with every permutation.
fn permutations(size: usize, visit: &mut dyn FnMut(&[u32])) {
    fn go(order: &mut Vec<u32>, at: usize, visit: &mut dyn FnMut(&[u32])) {
        if at == order.len() {
            return visit(order);
        }
        for other in at..order.len() {
            order.swap(at, other);
            go(order, at + 1, visit);
            order.swap(at, other);
        }
    }
    go(&mut (0..size as u32).collect(), 0, visit);
}

/// The highest worth of all states, by trying each.
fn brute(symmetries: &Symmetries, joints: &[Joint], state: &mut State, tables: &[(NodeId, usize)]) -> f64 {
    let Some((&(id, copy), rest)) = tables.split_first() else {
        return joints.iter().map(|joint| joint.value(symmetries, state)).sum();
    };
    let mut best = f64::NEG_INFINITY;
    permutations(symmetries.node(id).size, &mut |order| {
        let mut all = state.tables(id).clone();
        all[copy] = order.to_vec();
        let mut next = state.clone();
        next.set(id, all);
        best = best.max(brute(symmetries, joints, &mut next, rest));
    });
    best
}

/// What is found, and the best there is.
fn both(text: &str, seed: u64) -> (f64, f64) {
    let symmetries = Symmetries::parse(text).unwrap();
    let (a, b) = (values(&symmetries, 2 * seed), values(&symmetries, 2 * seed + 1));
    let pair = Pair {
        symmetries: &symmetries,
        a: &a,
        b: &b,
        names: ["a", "b"],
        precision: Precision::Double,
        context: Context::new(&Alone),
    };
    let mut state = State::identity(&symmetries);
    let family = &families(&symmetries)[0];
    assert!(family.nested && family.nodes.len() == symmetries.nodes.len());
    let joints = pair.joints(family, &state, Which::All).unwrap();
    let tables: Vec<(NodeId, usize)> =
        symmetries.ids().flat_map(|id| (0..symmetries.copies(id)).map(move |copy| (id, copy))).collect();
    let best = brute(&symmetries, &joints, &mut state, &tables);
    let found = solve(&symmetries, family, &joints, Context::new(&Alone)).unwrap();
    let value = found.value;
    found.put(&mut state);
    // The value is that of the tables.
    assert!((pair.objective(&state).unwrap() - value).abs() < 1e-12);
    (value, best)
}

#[test]
fn trees_of_three_levels_are_solved_exactly() {
    let text =
        "node u[2]\nnode v[2] in u\nnode w[3] in u, v\nx = u · v · w, pin[3]\ny = u · v\nz = u, pin[2]";
    for seed in 0..4 {
        let (found, best) = both(text, seed);
        assert!((found - best).abs() < 1e-12, "{found} {best}");
    }
}

#[test]
fn children_that_do_not_meet_are_solved_exactly() {
    let text = "node h[3]\nnode d[2] in h\nnode e[3] in h\nq = h · d, pin[2]\nv = h · e, pin[2]";
    for seed in 0..4 {
        let (found, best) = both(text, seed);
        assert!((found - best).abs() < 1e-12, "{found} {best}");
    }
}

/// Children that meet are solved in turn, which need not end at the best; from either of them first it does so for most random costs.
#[test]
fn children_that_meet_are_solved_in_turn() {
    let text = "node h[2]\nnode r[2] in h\nnode d[3] in h\nq = h · r, pin[2]\nv = h · d, pin[2]\no = h · r · d, pin[2]";
    let ends: Vec<(f64, f64)> = (0..10).map(|seed| both(text, seed)).collect();
    assert!(ends.iter().all(|(found, best)| *found <= best + 1e-12));
    assert!(ends.iter().filter(|(found, best)| best - found < 1e-12).count() >= 6, "{ends:?}");
}

/// A node in two nodes that do not lie in each other: each of its copies takes its best, given theirs.
#[test]
fn nodes_of_two_parents_are_solved_alone() {
    let symmetries =
        Symmetries::parse("node u[2]\nnode v[2]\nnode w[3] in u, v\nx = u · v · w, pin[3]").unwrap();
    let family = &families(&symmetries)[0];
    assert!(!family.nested);
    let (a, b) = (values(&symmetries, 1), values(&symmetries, 2));
    let pair = Pair {
        symmetries: &symmetries,
        a: &a,
        b: &b,
        names: ["a", "b"],
        precision: Precision::Double,
        context: Context::new(&Alone),
    };
    let mut state = State::random(&symmetries, 3);
    let joints = pair.joints(family, &state, Which::All).unwrap();
    let w = NodeId(2);
    let tables = single(&symmetries, w, &joints, &state).unwrap();
    let best = brute(&symmetries, &joints, &mut state, &(0..4).map(|copy| (w, copy)).collect::<Vec<_>>());
    state.set(w, tables);
    assert!((pair.objective(&state).unwrap() - best).abs() < 1e-12);
}
