use fusion_sdk::Context;
use fusion_sdk::align::{Align, Aligned, Candidate, Incoming, Matching};
use fusion_sdk::alignment::Transform;
use fusion_sdk::context::{Alone, Host};
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::Symmetries;

use super::descent::{Descent, Order};
use super::*;
use crate::held::Held;
use crate::oracle::{Threads, candidate, chain, moved, params, uniform, values};

fn settings() -> WeightMatchingParams {
    WeightMatchingParams {
        order: Order::Random,
        sweeps: 100,
        restarts: None,
        start: Start::Best,
        precision: Precision::Single,
    }
}

fn aligned_on(
    host: &dyn Host,
    params: WeightMatchingParams,
    models: &[Candidate<'_>],
    reference: bool,
    seed: u64,
) -> Aligned {
    let incoming = Incoming {
        reference: usize::from(reference),
        from: models.len() - usize::from(reference),
        data: false,
    };
    let matching = Matching {
        models,
        reference,
        target: models[0].symmetries,
        features: None,
        objective: None,
        alignments: &[],
        seed,
        context: Context::new(host),
    };
    WeightMatching::prepare(params, incoming).unwrap().align(matching).unwrap()
}

fn aligned(params: WeightMatchingParams, models: &[Candidate<'_>], seed: u64) -> Aligned {
    aligned_on(&Alone, params, models, true, seed)
}

fn fact(aligned: &Aligned, name: &str) -> f64 {
    aligned.facts.iter().find(|(own, _)| own == name).unwrap().1
}

/// The one table of a node without parents.
fn table(aligned: &Aligned, model: usize, node: usize) -> Vec<u32> {
    match &aligned.alignments[model].nodes[node].1 {
        Transform::Permutation(tables) => tables[0].clone(),
        other => panic!("{other:?}"),
    }
}

/// How many planted permutations of a network are found again, exactly, with these settings. The reference is moved by π and the model is
/// what it was, so π itself is the answer.
fn planted(symmetries: &Symmetries, params: &WeightMatchingParams, cases: u64, noise: f64) -> u64 {
    let found = |case: &u64| {
        let model = values(symmetries, 1000 + case);
        let state = State::random(symmetries, 77 + case);
        let mut reference = moved(symmetries, &model, &state);
        for (tensor, values) in reference.tensors.iter_mut().enumerate() {
            let add = uniform(50_000 + 100 * case + tensor as u64, values.len());
            values.iter_mut().zip(add).for_each(|(value, add)| *value += noise * add);
        }
        let models = [candidate("a", symmetries, &reference), candidate("b", symmetries, &model)];
        let found = aligned(params.clone(), &models, *case);
        found.alignments[0] == state.alignment(symmetries, symmetries)
    };
    (0..cases).filter(found).count() as u64
}

/// The notes' O1. Values have twelve digits there.
#[test]
fn one_node_is_solved_at_once() {
    let dims = [2, 10, 3];
    let symmetries = chain(&dims);
    let (a, b) = (params(1, &dims), params(2, &dims));
    let models = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
    let exact = WeightMatchingParams { precision: Precision::Double, start: Start::Identity, ..settings() };
    let found = aligned(exact, &models, 0);
    assert_eq!(table(&found, 0, 0), [3, 0, 2, 4, 8, 5, 1, 9, 7, 6]);
    assert!((fact(&found, "objective_before") + 1.027819285802).abs() < 1e-12);
    assert!((fact(&found, "objective") - 11.690627841853).abs() < 1e-12);
    assert_eq!(fact(&found, "sweeps"), 2.0);
    // In f32 the same permutation.
    let found = aligned(settings(), &models, 0);
    assert_eq!(table(&found, 0, 0), [3, 0, 2, 4, 8, 5, 1, 9, 7, 6]);
}

/// The notes' O2: forward and backward from the identity.
#[test]
fn two_nodes_are_solved_in_turn() {
    let dims = [8, 16, 12, 5];
    let symmetries = chain(&dims);
    let (a, b) = (params(3, &dims), params(4, &dims));
    let models = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
    let ordered = |order| WeightMatchingParams {
        order,
        precision: Precision::Double,
        start: Start::Identity,
        ..settings()
    };
    let forward = aligned(ordered(Order::Forward), &models, 0);
    assert!((fact(&forward, "objective_before") - 15.712232509118).abs() < 1e-12);
    // Ten digits are given.
    assert!((fact(&forward, "objective") - 50.2810703069).abs() < 1e-10);
    assert!((forward.trace[0] - forward.trace[1]).abs() < 1e-12 && forward.trace.len() == 2);
    assert_eq!(table(&forward, 0, 0), [0, 10, 3, 8, 4, 5, 14, 6, 15, 1, 12, 2, 7, 13, 9, 11]);
    assert_eq!(table(&forward, 0, 1), [4, 1, 9, 3, 0, 5, 6, 7, 8, 10, 11, 2]);
    let backward = aligned(ordered(Order::Backward), &models, 0);
    assert!((fact(&backward, "objective") - 52.647878492004).abs() < 1e-12);
    assert_eq!(backward.trace.len(), 3);
    // The default is no worse than either.
    assert!(fact(&aligned(settings(), &models, 0), "objective") >= 52.647878);
}

/// The notes' O3 for chains, 20-64-64-64-10: all are found, by a single run from the identity as there.
#[test]
fn planted_permutations_of_a_chain_are_found() {
    let symmetries = chain(&[20, 64, 64, 64, 10]);
    let once = WeightMatchingParams { restarts: Some(1), start: Start::Identity, ..settings() };
    assert_eq!(planted(&symmetries, &once, 50, 0.0), 50);
    assert_eq!(planted(&symmetries, &settings(), 10, 0.0), 10);
}

/// A residual network: a stream that three blocks write into, each with an inner node.
fn residual(input: usize, stream: usize, inner: usize) -> Symmetries {
    let mut text = format!("node s[{stream}]\n");
    (0..3).for_each(|block| text += &format!("node h{block}[{inner}]\n"));
    text += &format!("in = s, reads pin[{input}]\nin.bias = s\n");
    for block in 0..3 {
        text += &format!("up{block} = h{block}, reads s\nup{block}.bias = h{block}\n");
        text += &format!("down{block} = s, reads h{block}\ndown{block}.bias = s\n");
    }
    text += "out = pin[10], reads s\nout.bias = pin[10]\n";
    Symmetries::parse(&text).unwrap()
}

/// The notes' O3 for residual networks: 16 of 40 by one run from the identity, at least 38 with restarts.
#[test]
fn restarts_find_planted_permutations_of_a_residual_network() {
    let symmetries = residual(3, 30, 50);
    let found = planted(&symmetries, &settings(), 40, 0.0);
    assert!(found >= 38, "{found} of 40");
    assert_eq!(planted(&residual(30, 50, 50), &settings(), 10, 0.0), 10);
}

/// The notes' O15: heads with their dimensions of queries and keys, and of values and outputs.
#[test]
fn planted_heads_are_found() {
    let heads = "node head[8]
node qk[16] in head
node vo[16] in head
q = head · qk, reads pin[32]
k = head · qk, reads pin[32]
v = head · vo, reads pin[32]
o = pin[32], reads head · vo
";
    let symmetries = Symmetries::parse(heads).unwrap();
    let forward = WeightMatchingParams { order: Order::Forward, start: Start::Identity, ..settings() };
    assert_eq!(planted(&symmetries, &forward, 20, 0.0), 20);
    // Noise as large as the values.
    assert_eq!(planted(&symmetries, &forward, 20, 1.0), 20);
}

/// Grouped heads: query heads and value dimensions meet in the output matrix, and a stream around it all.
#[test]
fn planted_grouped_heads_are_found() {
    let grouped = "node s[24]
node kv[4]
node r[3] in kv
node dv[8] in kv
emb = pin[30], s
q = kv · r · pin[8], reads s
k = kv · pin[8], reads s
v = kv · dv, reads s
o = s, reads kv · r · dv
out = pin[10], reads s
";
    let symmetries = Symmetries::parse(grouped).unwrap();
    assert_eq!(planted(&symmetries, &settings(), 20, 0.0), 20);
    assert_eq!(planted(&symmetries, &settings(), 10, 0.5), 10);
}

/// The recurrent matrix of an LSTM has its node on both axes: quadratic.
#[test]
fn planted_recurrent_units_are_found() {
    let lstm = "node h[24]
ih = h ++ h ++ h ++ h, reads pin[6]
hh = h ++ h ++ h ++ h, reads h
bias = h ++ h ++ h ++ h
out = pin[5], reads h
";
    let symmetries = Symmetries::parse(lstm).unwrap();
    assert_eq!(planted(&symmetries, &settings(), 20, 0.0), 20);
    assert_eq!(planted(&symmetries, &settings(), 10, 0.3), 10);
}

/// Everything else that the expressions can say: convolutions, flattened and grouped, fused and concatenated axes.
#[test]
fn planted_permutations_of_other_structures_are_found() {
    let mixed = "node c[12]
node g[3]
node o[4] in g
node i[4] in g
node head[3]
node d[4] in head
node e[4] in head
node low[5]
conv1 = c, reads pin[3], pin[3], pin[3]
conv2 = g · i, reads c, pin[3], pin[3]
grouped = g · o, reads i, pin[3], pin[3]
flat = low ++ c, reads g · o · pin[4]
qkv = head · d ++ head · d ++ head · e, reads low ++ c
proj = pin[9], reads head · e
";
    let symmetries = Symmetries::parse(mixed).unwrap();
    assert_eq!(planted(&symmetries, &settings(), 10, 0.0), 10);
}

/// The notes' O9: all four permutations of the pair that none can connect are stationary or worse than one of them; f is highest at one of
/// them, and that one is found from anywhere.
#[test]
fn the_pair_that_no_permutation_connects() {
    let symmetries = Symmetries::parse(
        "node h0[2]\nnode h1[2]\nk0 = reads pin[2], h0\nb0 = h0\nk1 = reads h0, h1\nb1 = h1\nk2 = reads h1, pin[1]",
    )
    .unwrap();
    let a = Held {
        tensors: vec![
            vec![-1.0, 0.0, 0.0, -1.0],
            vec![1.0, 0.0],
            vec![-1.0, 0.0, 0.0, 1.0],
            vec![1.0, 0.0],
            vec![-1.0, -1.0],
        ],
    };
    let b = Held {
        tensors: vec![
            vec![1.0, 0.0, 0.0, 1.0],
            vec![0.0, 1.0],
            vec![1.0, 0.0, 0.0, -1.0],
            vec![0.0, 1.0],
            vec![-1.0, -1.0],
        ],
    };
    // Accuracy along the line from B (weight 0 on A) to A, on the notes' grid.
    let accuracy = |moved: &Held, weight: f64| {
        let at = |tensor: usize, index: usize| {
            weight * a.tensors[tensor][index] + (1.0 - weight) * moved.tensors[tensor][index]
        };
        let act = |x: f64| if x > 0.0 { x } else { 0.01 * x };
        let mut right = 0;
        for row in 0..200 {
            for column in 0..200 {
                let x = [row, column].map(|at| -1.0 + (f64::from(at) + 0.5) / 100.0);
                let layer = |x: [f64; 2], weights: usize| {
                    [0, 1]
                        .map(|j| act(x[0] * at(weights, j) + x[1] * at(weights, 2 + j) + at(weights + 1, j)))
                };
                let h = layer(layer(x, 0), 2);
                let y = h[0] * at(4, 0) + h[1] * at(4, 1);
                right += usize::from((y >= 0.0) == (x[0] <= 0.0 && x[1] >= 0.0));
            }
        }
        f64::from(right as u32) / 40_000.0
    };
    let swapped = |first: bool, second: bool| {
        let mut state = State::identity(&symmetries);
        for (id, swap) in symmetries.ids().zip([first, second]) {
            if swap {
                state.set(id, vec![vec![1, 0]]);
            }
        }
        moved(&symmetries, &b, &state)
    };
    let rows = [
        ((false, false), [0.99875, 0.75, 0.75, 0.75, 0.99875]),
        ((true, false), [0.99875, 0.88212, 0.7475, 0.88212, 0.99875]),
        ((false, true), [0.99875, 0.75, 0.75, 0.75, 0.99875]),
        ((true, true), [0.99875, 0.91512, 0.7475, 0.91512, 0.99875]),
    ];
    for ((first, second), wanted) in rows {
        let moved = swapped(first, second);
        for (quarter, wanted) in wanted.into_iter().enumerate() {
            let found = accuracy(&moved, quarter as f64 / 4.0);
            // Five digits are given.
            assert!((found - wanted).abs() < 6e-6, "{first} {second} {quarter}: {found} {wanted}");
        }
    }
    // f of the four, and the method's answer.
    let models = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
    let found = aligned(settings(), &models, 0);
    let pair = Pair::of(&models[0], &models[1], Precision::Double, Context::new(&Alone));
    let best = [(false, false), (true, false), (false, true), (true, true)]
        .map(|(first, second)| {
            let moved = swapped(first, second);
            let own = candidate("m", &symmetries, &moved);
            Pair { b: own.source, ..pair }.objective(&State::identity(&symmetries)).unwrap()
        })
        .into_iter()
        .fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(fact(&found, "objective"), best);
}

#[test]
fn a_model_with_itself_stays_and_starts_are_not_changed() {
    let dims = [6, 20, 20, 4];
    let symmetries = chain(&dims);
    let mut a = params(5, &dims);
    // Two units that are equal, and two that are dead.
    let row: Vec<f64> = a.tensors[0][7 * 6..8 * 6].to_vec();
    a.tensors[0][3 * 6..4 * 6].copy_from_slice(&row);
    a.tensors[1][3] = a.tensors[1][7];
    (0..20).for_each(|row| a.tensors[2][row * 20 + 3] = a.tensors[2][row * 20 + 7]);
    for dead in [1, 4] {
        a.tensors[0][dead * 6..dead * 6 + 6].fill(0.0);
        a.tensors[1][dead] = 0.0;
        (0..20).for_each(|row| a.tensors[2][row * 20 + dead] = 0.0);
    }
    let models = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &a)];
    let found = aligned(settings(), &models, 3);
    assert_eq!(fact(&found, "moved"), 0.0);
    assert_eq!(found.alignments[0], fusion_sdk::alignment::Alignment::identity(&symmetries));
    let pair = Pair::of(&models[0], &models[1], Precision::Single, Context::new(&Alone));
    let descent = Descent::new(pair, Order::Random, 100).unwrap();
    let start = State::random(&symmetries, 1);
    let copy = start.clone();
    descent.run(&start, 0, 0).unwrap();
    assert_eq!(start, copy);
}

/// Each sweep gains; the trace ends at the objective, which is computed anew from the models.
#[test]
fn the_objective_never_falls() {
    for (symmetries, seed) in [(chain(&[12, 40, 30, 5]), 1), (residual(3, 20, 15), 2)] {
        let (a, b) = (values(&symmetries, seed), values(&symmetries, seed + 10));
        let models = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
        let pair = Pair::of(&models[0], &models[1], Precision::Double, Context::new(&Alone));
        let descent = Descent::new(pair, Order::Random, 100).unwrap();
        for draw in 0..4 {
            let run = descent.run(&State::random(&symmetries, draw), 1, draw).unwrap();
            assert!(run.trace.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", run.trace);
            assert!(run.before <= run.trace[0]);
            assert!((run.after - run.trace[run.trace.len() - 1]).abs() < 1e-11);
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let dims = [30, 200, 150, 10];
    let symmetries = chain(&dims);
    let (a, b) = (params(7, &dims), params(8, &dims));
    let models = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
    let alone = aligned_on(&Alone, settings(), &models, true, 5);
    assert_eq!(alone, aligned_on(&Threads, settings(), &models, true, 5));
}

/// Four copies of a model under noise, each permuted: brought together they are what they were before, whoever is the first.
#[test]
fn many_are_brought_together() {
    let dims = [10, 32, 24, 4];
    let symmetries = chain(&dims);
    let base = params(9, &dims);
    let noisy = |index: u64| {
        let mut own = base.clone();
        for (tensor, values) in own.tensors.iter_mut().enumerate() {
            let key = Key::new(index, "noise", tensor as u64);
            values
                .iter_mut()
                .enumerate()
                .for_each(|(at, value)| *value += 0.2 * f64::from(key.normal(at as u64)));
        }
        own
    };
    let origin: Vec<Held> = (0..4).map(noisy).collect();
    let spread: Vec<Held> = origin
        .iter()
        .enumerate()
        .map(|(index, own)| moved(&symmetries, own, &State::random(&symmetries, 40 + index as u64)))
        .collect();
    let models: Vec<Candidate<'_>> = spread.iter().map(|own| candidate("m", &symmetries, own)).collect();
    let plain: Vec<Candidate<'_>> = origin.iter().map(|own| candidate("m", &symmetries, own)).collect();
    let found = aligned_on(&Alone, settings(), &models, false, 0);
    let identity = vec![State::identity(&symmetries); 4];
    let method = WeightMatching { params: settings() };
    let wanted = many::together(&method, &plain, &identity, Context::new(&Alone)).unwrap();
    assert_eq!(found.alignments.len(), 4);
    assert!((fact(&found, "objective") - wanted).abs() < 1e-4 * wanted, "{:?} {wanted}", found.facts);
    assert!(found.trace.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
    // From the identity, as in the paper.
    let plain = WeightMatchingParams { start: Start::Identity, ..settings() };
    let found = aligned_on(&Alone, plain, &models, false, 0);
    assert!(fact(&found, "objective") > fact(&found, "objective_before"));
}

#[test]
fn models_that_do_not_fit_are_named() {
    let (short, long, wide) = (chain(&[4, 6, 2]), chain(&[4, 6, 6, 2]), chain(&[4, 8, 2]));
    let held = [&short, &long, &wide].map(|symmetries| values(symmetries, 1));
    let try_on = |a: Candidate<'_>, b: Candidate<'_>| {
        let models = [a, b];
        let matching = Matching {
            models: &models,
            reference: true,
            target: models[0].symmetries,
            features: None,
            objective: None,
            alignments: &[],
            seed: 0,
            context: Context::new(&Alone),
        };
        WeightMatching { params: settings() }.align(matching).unwrap_err()
    };
    let error = try_on(candidate("a", &short, &held[0]), candidate("b", &long, &held[1]));
    assert!(error.message.contains("`b` has the nodes `h0`, `h1`, `a` has `h0`"), "{error}");
    let error = try_on(candidate("a", &short, &held[0]), candidate("b", &wide, &held[2]));
    assert!(error.message.contains("`b` has 8 units in `h0`, `a` has 6"), "{error}");
    let alone = Incoming { reference: 0, from: 1, data: false };
    assert!(WeightMatching::prepare(settings(), alone).is_err());
    let start = WeightMatchingParams { start: Start::Activations, ..settings() };
    let two = Incoming { reference: 1, from: 1, data: false };
    assert_eq!(WeightMatching::prepare(start, two).unwrap_err().parameter, Some("start"));
}

/// Hears how far the search is.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<(u64, u64, String)>>);

impl Host for Heard {
    fn cancelled(&self) -> bool {
        false
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        self.0.lock().unwrap().push((done, total, note.to_owned()));
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).for_each(body);
    }
}

#[test]
fn the_search_tells_how_far_it_is() {
    let symmetries = chain(&[4, 6, 5, 2]);
    let (a, b) = (values(&symmetries, 1), values(&symmetries, 2));
    let models = [candidate("a", &symmetries, &a), candidate("b", &symmetries, &b)];
    let heard = Heard::default();
    let params = WeightMatchingParams { start: Start::OnePass, restarts: Some(1), ..settings() };
    aligned_on(&heard, params, &models, true, 0);
    // One model is no list to count; both sets of units are.
    let notes = heard.0.into_inner().unwrap();
    let pass: Vec<(u64, u64)> = notes
        .iter()
        .filter(|(.., note)| note.contains("first pass"))
        .map(|(done, total, _)| (*done, *total))
        .collect();
    assert_eq!(pass, [(0, 2), (1, 2)]);
    assert!(notes.iter().all(|(.., note)| note != "models"), "{notes:?}");
}
