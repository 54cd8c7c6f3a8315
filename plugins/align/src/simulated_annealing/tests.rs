use super::*;
use crate::toy::{Backwards, Mlp, brought, chain, matching, network, random_mlp, source};
use fusion_sdk::ErrorKind;
use fusion_sdk::context::{Alone, Host};

const INCOMING: Incoming = Incoming { reference: 1, from: 1, data: true };

fn settings(energy: Energy, swaps: u64) -> SimulatedAnnealingParams {
    SimulatedAnnealingParams { energy, swaps, hot: 1e-2, cold: 1e-6, batches: 1, points: None }
}

fn run(
    dims: &[usize],
    [a, b]: [&[f32]; 2],
    params: SimulatedAnnealingParams,
    toy: &mut Mlp,
    host: &dyn Host,
) -> Result<Aligned, MethodError> {
    let symmetries = chain(dims);
    let (source_a, source_b) = (source(&symmetries, a), source(&symmetries, b));
    let candidates = [network("a", &symmetries, &source_a, a), network("b", &symmetries, &source_b, b)];
    let mut matching = matching(&candidates, true, 2, host);
    matching.objective = Some(toy);
    SimulatedAnnealing::prepare(params, INCOMING)?.align(matching)
}

fn fact(aligned: &Aligned, name: &str) -> f64 {
    aligned.facts.iter().find(|(own, _)| own == name).unwrap().1
}

#[test]
fn a_planted_permutation_of_a_small_layer_is_found() {
    let dims = [3, 5, 2];
    let (symmetries, a) = (chain(&dims), random_mlp(&dims, 1));
    let b = brought(&symmetries, &a, &State::random(&symmetries, 3));
    for energy in [Energy::Midpoint, Energy::Barrier] {
        let mut toy = Mlp::taught(&dims, &random_mlp(&dims, 1), 30);
        let found = run(&dims, [&a, &b], settings(energy, 600), &mut toy, &Alone).unwrap();
        assert!(fact(&found, "energy") < 1e-12, "{:?}", found.facts);
        let state = State::of(&symmetries, &found.alignments[0]).unwrap();
        assert_eq!(brought(&symmetries, &b, &state), a);
        assert_eq!(found.trace.len(), 600);
        let mut toy = Mlp::taught(&dims, &random_mlp(&dims, 1), 30);
        let again = run(&dims, [&a, &b], settings(energy, 600), &mut toy, &Backwards::new(usize::MAX));
        assert_eq!(found, again.unwrap());
    }
}

/// Oracle O9 of the reference notes: two networks with one function, between which no permutation takes the barrier away. 200 × 200
/// cell-centred grid on [−1, 1]²; accuracies to the digits given, and the search finds the best of the four.
#[test]
fn a_pair_that_no_permutation_connects_stays_apart() {
    let a = [-1.0, 0.0, 0.0, -1.0, 1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 1.0, 0.0, -1.0, -1.0, 0.0];
    let b = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0, 0.0, 1.0, -1.0, -1.0, 0.0];
    let grid = |side: usize| -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let centre = |at: usize| (2 * at + 1) as f64 / side as f64 - 1.0;
        let inputs = (0..side * side).map(|at| vec![centre(at / side), centre(at % side)]);
        let truth = |input: &Vec<f64>| vec![f64::from(u8::from(input[0] <= 0.0 && input[1] >= 0.0))];
        inputs.map(|input| (input.clone(), truth(&input))).unzip()
    };
    let dims = [2, 2, 2, 1];
    let (inputs, targets) = grid(200);
    let toy = Mlp::new(&dims, 0.01, inputs.clone(), targets.clone());
    let symmetries = chain(&dims);
    let accuracy = |weights: &[f32]| {
        let right = |(input, target): &(&Vec<f64>, &Vec<f64>)| {
            // Halfway many outputs are 0 but for rounding.
            (toy.forward(weights, input)[3][0] >= -1e-12) == (target[0] > 0.5)
        };
        inputs.iter().zip(&targets).filter(right).count() as f64 / inputs.len() as f64
    };
    let at = |[first, second]: [bool; 2], lambda: f32| {
        let mut state = State::identity(&symmetries);
        for (node, swap) in [(0, first), (1, second)] {
            state.set(NodeId(node), vec![if swap { vec![1, 0] } else { vec![0, 1] }]);
        }
        let mut theta = brought(&symmetries, &b, &state);
        blend(&a, lambda, &mut theta);
        theta
    };
    let mut lowest = f64::INFINITY;
    let (coarse, goals) = grid(20);
    let mut small = Mlp::new(&dims, 0.01, coarse, goals);
    for (swaps, wanted) in [
        ([false, false], [0.99875, 0.75, 0.75, 0.75, 0.99875]),
        ([true, false], [0.99875, 0.88212, 0.7475, 0.88212, 0.99875]),
        ([false, true], [0.99875, 0.75, 0.75, 0.75, 0.99875]),
        ([true, true], [0.99875, 0.91512, 0.7475, 0.91512, 0.99875]),
    ] {
        for (step, wanted) in wanted.into_iter().enumerate() {
            let found = accuracy(&at(swaps, step as f32 / 4.0));
            assert!((found - wanted).abs() < 1e-5, "{swaps:?} {step}: {found}");
        }
        lowest =
            lowest.min(fusion_sdk::objective::Objective::loss(&mut small, &at(swaps, 0.5), None).unwrap());
    }
    let found = run(&dims, [&a, &b], settings(Energy::Midpoint, 60), &mut small, &Alone).unwrap();
    assert_eq!(fact(&found, "energy"), lowest);
}

#[test]
fn what_does_not_go_is_said() {
    let dims = [3, 5, 2];
    let (a, b) = (random_mlp(&dims, 1), random_mlp(&dims, 2));
    let mut toy = Mlp::taught(&dims, &a, 5);
    toy.broken_at = Some(7);
    let error = run(&dims, [&a, &b], settings(Energy::Midpoint, 20), &mut toy, &Alone).unwrap_err();
    assert!(error.kind == ErrorKind::Failed && error.message.contains("NaN"), "{error}");
    let mut toy = Mlp::taught(&dims, &a, 5);
    for patience in [0, 9] {
        let host = Backwards::new(patience);
        let error = run(&dims, [&a, &b], settings(Energy::Midpoint, 20), &mut toy, &host).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
    let warm = SimulatedAnnealingParams { cold: 1.0, ..settings(Energy::Midpoint, 20) };
    assert_eq!(SimulatedAnnealing::prepare(warm, INCOMING).unwrap_err().parameter, Some("cold"));
    let points = SimulatedAnnealingParams { points: Some(4), ..settings(Energy::Midpoint, 20) };
    assert_eq!(SimulatedAnnealing::prepare(points, INCOMING).unwrap_err().parameter, Some("points"));
}
