//! Links of replicas on quadratics, against recursions in f64 that are written down from the papers.

use fusion_sdk::MethodError;
use fusion_sdk::rng::Key;
use serde_json::{Value as Json, json};

use super::super::{Frozen, Gradients, Quiet, Setup, StepLoss, TrainParams, Trained, run};
use super::*;

/// ½(θ − c − n)² in one dimension, where n depends on (replica, step).
struct Toy(u64);

const GOAL: f64 = 2.0;
const RATE: f64 = 0.25;

fn noise(replica: u64, step: u64) -> f64 {
    f64::from(Key::new(replica, "toy", 0).normal(step))
}

impl Gradients for Toy {
    fn len(&self) -> usize {
        1
    }

    fn statistics_len(&self) -> usize {
        1
    }

    fn steps_per_epoch(&self) -> u64 {
        4
    }

    fn gradient(
        &mut self,
        step: u64,
        weights: &[f32],
        statistics: &mut [f32],
        gradient: &mut [f32],
    ) -> Result<StepLoss, MethodError> {
        gradient[0] = (f64::from(weights[0]) - GOAL - noise(self.0, step)) as f32;
        statistics[0] = self.0 as f32;
        Ok(StepLoss { loss: 1.0, samples: 1, correct: None, answers: 1 })
    }
}

fn train(settings: Json) -> Trained {
    let mut all = json!({ "epochs": 3, "rate": RATE, "momentum": 0 });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let params = TrainParams::read("sgd", all.as_object().unwrap()).unwrap();
    let mut toys: Vec<Toy> = (0..params.replicas() as u64).map(Toy).collect();
    let setup = Setup {
        params: &params,
        collects: &[],
        frozen: &Frozen::default(),
        validated: false,
        identity: "",
        resume: None,
        watch: &Quiet,
    };
    run(&mut toys, &Flat { weights: vec![0.5], statistics: vec![0.0] }, &setup).unwrap()
}

/// A step of plain gradient descent.
fn step(theta: f64, replica: u64, step: u64) -> f64 {
    theta - RATE * (theta - GOAL - noise(replica, step))
}

fn mean_of(thetas: &[f64]) -> f64 {
    thetas.iter().sum::<f64>() / thetas.len() as f64
}

/// Values are of order 1 and twelve steps add rounding errors of 2⁻²⁴ each.
fn close(found: &[f32], exact: f64) {
    assert!((f64::from(found[0]) - exact).abs() < 2e-6, "{found:?} is not {exact}");
}

fn steps(n: u64) -> Json {
    json!({ "value": n, "unit": "step" })
}

#[test]
fn local_sgd_averages_every_so_often() {
    let found = train(json!({ "parallel": "local_sgd", "replicas": 3, "average_every": steps(5) }));
    let mut thetas = [0.5; 3];
    for at in 0..12 {
        for (replica, theta) in thetas.iter_mut().enumerate() {
            *theta = step(*theta, replica as u64, at);
        }
        if (at + 1) % 5 == 0 {
            thetas = [mean_of(&thetas); 3];
        }
    }
    close(&found.last.weights, mean_of(&thetas));
    for (member, theta) in found.members.iter().zip(thetas) {
        close(&member.weights, theta);
    }
    // Statistics are averaged too: 0, 1 and 2.
    assert_eq!(found.last.statistics, [1.0]);
}

/// Averaging weights in every step, or gradients, is the same for plain gradient descent: one training with a batch three times as
/// large.
#[test]
fn shared_gradients_are_a_larger_batch() {
    let mut theta = 0.5;
    for at in 0..12 {
        theta = mean_of(&[0, 1, 2].map(|replica| step(theta, replica, at)));
    }
    let weights = train(json!({ "parallel": "local_sgd", "replicas": 3, "average_every": steps(1) }));
    close(&weights.last.weights, theta);
    let gradients = train(json!({ "parallel": "swap", "replicas": 3, "synchronous": 3 }));
    close(&gradients.last.weights, theta);
    assert!(gradients.members.iter().all(|member| member.weights == gradients.last.weights));
}

#[test]
fn swap_lets_them_go_and_averages_at_the_end() {
    let found = train(json!({ "parallel": "swap", "replicas": 2, "synchronous": 2 }));
    let mut thetas = [0.5; 2];
    for at in 0..12 {
        let next = [step(thetas[0], 0, at), step(thetas[1], 1, at)];
        thetas = if at < 8 { [mean_of(&next); 2] } else { next };
    }
    assert!((thetas[0] - thetas[1]).abs() > 0.1);
    close(&found.last.weights, mean_of(&thetas));
    close(&found.members[1].weights, thetas[1]);
    let post = train(json!({
        "parallel": "local_sgd", "replicas": 2, "synchronous": 2, "average_every": steps(3),
    }));
    let mut thetas = [0.5; 2];
    for at in 0..12 {
        thetas = [step(thetas[0], 0, at), step(thetas[1], 1, at)];
        if at < 8 || at + 1 == 11 {
            thetas = [mean_of(&thetas); 2];
        }
    }
    close(&post.members[0].weights, thetas[0]);
}

#[test]
fn hwa_averages_the_newest_means() {
    let found = train(json!({ "parallel": "hwa", "replicas": 2, "average_every": steps(3), "window": 2 }));
    let (mut thetas, mut means) = ([0.5; 2], Vec::new());
    for at in 0..12 {
        thetas = [step(thetas[0], 0, at), step(thetas[1], 1, at)];
        if (at + 1) % 3 == 0 {
            thetas = [mean_of(&thetas); 2];
            means.push(thetas[0]);
        }
    }
    close(&found.last.weights, mean_of(&means[2..]));
}

#[test]
fn papa_pulls_to_the_mean() {
    let found = train(json!({ "parallel": "papa", "replicas": 2, "average_every": steps(2), "pull": 0.75 }));
    let mut thetas = [0.5; 2];
    for at in 0..12 {
        thetas = [step(thetas[0], 0, at), step(thetas[1], 1, at)];
        if (at + 1) % 2 == 0 {
            let mean = mean_of(&thetas);
            thetas = thetas.map(|theta| 0.75 * theta + 0.25 * mean);
        }
    }
    assert!((thetas[0] - thetas[1]).abs() > 0.05);
    close(&found.last.weights, mean_of(&thetas));
    close(&found.members[0].weights, thetas[0]);
}

#[test]
fn pswa_starts_again_from_its_mean() {
    let found = train(json!({ "parallel": "pswa", "average_every": steps(5), "sample_every": steps(2) }));
    let (mut theta, mut samples) = (0.5, Vec::new());
    for at in 0..12 {
        theta = step(theta, 0, at);
        let place = (at + 1) % 5;
        if [0, 2, 4].contains(&place) {
            samples.push(theta);
        }
        if place == 0 {
            theta = mean_of(&samples);
            samples.clear();
        }
    }
    // The last period has one sample, of step 12.
    assert_eq!(samples.len(), 1);
    close(&found.last.weights, mean_of(&samples));
    assert!(found.members.is_empty());
    // A training that ends with a period gives the mean that the next one would start from.
    let whole = train(json!({ "parallel": "pswa", "average_every": steps(6), "sample_every": steps(6) }));
    let mut theta = 0.5;
    for at in 0..12 {
        theta = step(theta, 0, at);
    }
    close(&whole.last.weights, theta);
}

/// Lengths that do and do not fill a run.
#[test]
fn exchanges_cover_every_element() {
    for len in [0, 1, RUN - 1, RUN, 2 * RUN + 3] {
        let replica = |offset: usize| Replica {
            weights: (0..len).map(|index| (index + offset) as f32).collect(),
            statistics: Vec::new(),
            optimizer: Optimizer::new(fusion_sdk::optim::Rule::PLAIN, len),
            gradient: Vec::new(),
        };
        let mut replicas = [replica(0), replica(2), replica(7)];
        let wanted: Vec<f32> = (0..len).map(|index| (index + 3) as f32).collect();
        let mut out = vec![9.0];
        mean(&replicas, |replica| &replica.weights, &mut out);
        assert_eq!(out, wanted);
        average(&mut replicas);
        assert!(replicas.iter().all(|replica| replica.weights == wanted));
    }
}
