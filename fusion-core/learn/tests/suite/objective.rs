//! A network as an objective.

use fusion_data::BatchOptions;
use fusion_learn::objective::NetworkObjective;
use fusion_sdk::objective::Objective;
use serde_json::json;

use super::networks::{clouds, network};

fn options(size: usize) -> BatchOptions {
    BatchOptions { size, seed: 3, ..BatchOptions::default() }
}

/// With one batch of all examples the gradient is that of the loss: central differences, whose error in f32 is about 10⁻³ of losses near
/// 1 at this step.
#[test]
fn gradients_are_those_of_the_loss() {
    for norm in ["none", "batch"] {
        let data = clouds(30, 0);
        let (mut network, start) = network(json!({ "norm": norm, "activation": "tanh" }));
        let mut objective = NetworkObjective::new(&mut network, &data, options(30), 0.0).unwrap();
        assert_eq!((objective.len(), objective.steps_per_epoch()), (start.weights.len(), 1));
        let mut weights = start.weights;
        let mut gradient = vec![f32::NAN; weights.len()];
        let loss = objective.gradient(0, &weights, &mut gradient).unwrap();
        assert!((loss - objective.loss(&weights, None).unwrap()).abs() < 1e-6);
        let step = 1e-2;
        for index in 0..weights.len() {
            let middle = weights[index];
            let mut at = |value: f32| {
                weights[index] = value;
                objective.loss(&weights, None).unwrap()
            };
            let slope = (at(middle + step) - at(middle - step)) / (2.0 * f64::from(step));
            weights[index] = middle;
            assert!((slope - f64::from(gradient[index])).abs() < 1e-3, "{norm} {index}: {slope}");
        }
    }
}

#[test]
fn batches_have_numbers_and_another_order_on_request() {
    let data = clouds(30, 0);
    let (mut network, start) = network(json!({ "dropout": 0.3 }));
    let mut objective = NetworkObjective::new(&mut network, &data, options(8), 0.1).unwrap();
    assert_eq!(objective.steps_per_epoch(), 4);
    let mut gradient = vec![0.0; start.weights.len()];
    let mut loss = |objective: &mut NetworkObjective<'_>, step| {
        objective.gradient(step, &start.weights, &mut gradient).unwrap()
    };
    let forward: Vec<f64> = (0..6).map(|step| loss(&mut objective, step)).collect();
    let backward: Vec<f64> = (0..6).rev().map(|step| loss(&mut objective, step)).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    let whole = objective.loss(&start.weights, None).unwrap();
    let two = objective.loss(&start.weights, Some(2)).unwrap();
    assert_ne!(whole, two);
    objective.reorder(4);
    assert_ne!(loss(&mut objective, 0), forward[0]);
    assert_eq!(
        (objective.loss(&start.weights, None).unwrap(), objective.loss(&start.weights, Some(2)).unwrap()),
        (whole, two)
    );
    objective.reorder(3);
    assert_eq!(loss(&mut objective, 0), forward[0]);
}
