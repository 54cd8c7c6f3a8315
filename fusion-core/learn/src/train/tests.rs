//! The loop on functions whose answer is known.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fusion_network::Flat;
use fusion_sdk::MethodError;
use fusion_sdk::rng::Key;
use serde_json::{Value as Json, json};

use super::*;
use crate::record::{Collect, CollectParams};

/// ½ Σ (θ−c)² with noise in the gradient that depends on (seed, step), and statistics that follow the weights.
struct Quadratic {
    goal: Vec<f32>,
    noise: f32,
    seed: u64,
    steps_per_epoch: u64,
    /// The validation loss is the distance to it.
    valid: Option<Vec<f32>>,
    calls: u64,
    validations: u64,
    /// Fails at this step.
    fails: Option<u64>,
}

impl Quadratic {
    fn new(goal: &[f32], noise: f32, seed: u64) -> Self {
        Quadratic {
            goal: goal.to_vec(),
            noise,
            seed,
            steps_per_epoch: 4,
            valid: None,
            calls: 0,
            validations: 0,
            fails: None,
        }
    }

    fn drawn(&self, step: u64, index: usize) -> f32 {
        self.noise * Key::new(self.seed, "noise", step).normal(index as u64)
    }
}

impl Gradients for Quadratic {
    fn len(&self) -> usize {
        self.goal.len()
    }

    fn statistics_len(&self) -> usize {
        1
    }

    fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    fn gradient(
        &mut self,
        step: u64,
        weights: &[f32],
        statistics: &mut [f32],
        gradient: &mut [f32],
    ) -> Result<StepLoss, MethodError> {
        if self.fails == Some(step) {
            return Err(MethodError::invalid("pulled the plug"));
        }
        self.calls += 1;
        let mut loss = 0.0;
        for (index, (w, goal)) in weights.iter().zip(&self.goal).enumerate() {
            gradient[index] = w - goal + self.drawn(step, index);
            loss += 0.5 * f64::from(w - goal).powi(2);
        }
        statistics[0] = 0.9 * statistics[0] + 0.1 * weights[0];
        Ok(StepLoss { loss, samples: 2, correct: Some(step % 2), answers: 2 })
    }

    fn validate(&mut self, weights: &[f32], _: &[f32]) -> Result<Option<Score>, MethodError> {
        self.validations += 1;
        Ok(self.valid.as_ref().map(|valid| {
            let distance = weights.iter().zip(valid).map(|(w, v)| f64::from(w - v).powi(2)).sum();
            Score { loss: distance, accuracy: None }
        }))
    }
}

/// Stops after some questions; remembers what it hears.
#[derive(Default)]
struct Watcher {
    left: Option<AtomicU64>,
    heard: Mutex<Vec<Progress>>,
}

impl Watcher {
    fn stopping(after: u64) -> Self {
        Watcher { left: Some(after.into()), heard: Mutex::default() }
    }
}

impl Watch for Watcher {
    fn cancelled(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 0)
    }

    fn progress(&self, progress: &Progress) {
        self.heard.lock().unwrap().push(*progress);
    }
}

fn read(method: &str, settings: Json) -> TrainParams {
    TrainParams::read(method, settings.as_object().unwrap()).unwrap()
}

fn refused(method: &str, settings: Json) -> MethodError {
    TrainParams::read(method, settings.as_object().unwrap()).unwrap_err()
}

fn start(weights: &[f32]) -> Flat {
    Flat { weights: weights.to_vec(), statistics: vec![0.0] }
}

fn collect(name: &str, settings: Json) -> Collect {
    Collect { name: name.to_owned(), params: serde_json::from_value::<CollectParams>(settings).unwrap() }
}

fn setup<'a>(params: &'a TrainParams, collects: &'a [Collect], watch: &'a dyn Watch) -> Setup<'a> {
    Setup { params, collects, frozen: &ALL_LEARN, validated: false, identity: "toy", resume: None, watch }
}

static ALL_LEARN: Frozen = Frozen { weights: Vec::new(), statistics: Vec::new() };

fn steps(n: u64) -> Json {
    json!({ "value": n, "unit": "step" })
}

/// θₜ − c = (1−η)ᵗ(θ₀ − c), in f32: t roundings of relative 2⁻²⁴ each.
#[test]
fn gradient_descent_on_a_quadratic_has_a_closed_form() {
    let params = read("sgd", json!({ "epochs": 5, "rate": 0.1, "momentum": 0 }));
    let mut learner = [Quadratic::new(&[1.0, -2.0], 0.0, 0)];
    let watch = Watcher::default();
    let trained = run(&mut learner, &start(&[3.0, 5.0]), &setup(&params, &[], &watch)).unwrap();
    let factor = 0.9_f64.powi(20);
    for (w, exact) in trained.last.weights.iter().zip([1.0 + 2.0 * factor, -2.0 + 7.0 * factor]) {
        assert!((f64::from(*w) - exact).abs() < 5e-6, "{w} {exact}");
    }
    assert_eq!((trained.steps, trained.stopped_early, trained.members.len()), (20, false, 0));
    // One gradient for each step, no validation without data.
    assert_eq!((learner[0].calls, learner[0].validations), (20, 0));
    let history = &trained.history;
    assert_eq!((history.points.len(), history.epochs.len()), (20, 5));
    for (t, point) in history.points.iter().enumerate() {
        let exact = 0.5 * (4.0 + 49.0) * 0.9_f64.powi(2 * t as i32);
        assert!((point.loss / exact - 1.0).abs() < 1e-5, "{point:?} {exact}");
        assert_eq!((point.step, point.rate, point.accuracy), (t as u64 + 1, 0.1, Some(0.5 * (t % 2) as f64)));
    }
    let mean = history.points[4..8].iter().map(|point| point.loss).sum::<f64>() / 4.0;
    assert!((history.epochs[1].loss - mean).abs() < 1e-12);
    assert_eq!(
        (history.epochs[1].epoch, history.epochs[1].step, history.epochs[1].accuracy),
        (2.0, 8, Some(0.25))
    );
    let heard = watch.heard.into_inner().unwrap();
    let last = heard.last().unwrap();
    assert_eq!((last.done, last.total, last.epoch, last.seconds_left), (20, 20, 5.0, 0.0));
}

#[test]
fn rates_and_clipping_reach_the_weights() {
    // Gradients of a far goal, cut to norm 1: weights move by the rate along (0.6, 0.8).
    let settings = json!({
        "epochs": 2, "momentum": 0, "clip": 1, "warmup": steps(4), "rate": { "steps": [0.4, 0.1] },
    });
    let params = read("sgd", settings);
    let mut learner = [Quadratic::new(&[6e6, 8e6], 0.0, 0)];
    let trained = run(&mut learner, &start(&[0.0, 0.0]), &setup(&params, &[], &Quiet)).unwrap();
    // 0.1 + 0.2 + 0.3 + 0.4 in warm-up, then two steps of 0.4 and two of 0.1.
    let [x, y] = trained.last.weights[..] else { panic!() };
    assert!((x - 1.2).abs() < 1e-5 && (y - 1.6).abs() < 1e-5, "{x} {y}");
    let rates: Vec<f64> = trained.history.points.iter().map(|point| point.rate).collect();
    assert_eq!(rates, [0.1, 0.2, 0.4 * 3.0 / 4.0, 0.4, 0.4, 0.4, 0.1, 0.1]);
    let params = read("sgd", json!({ "epochs": 1, "momentum": 0, "clip_value": 2, "rate": 0.5 }));
    let mut learner = [Quadratic::new(&[1e6, -1e6], 0.0, 0)];
    let trained = run(&mut learner, &start(&[0.0, 0.0]), &setup(&params, &[], &Quiet)).unwrap();
    assert_eq!(trained.last.weights, [4.0, -4.0]);
}

#[test]
fn a_loss_that_is_not_finite_names_step_and_rate() {
    let params = read("sgd", json!({ "epochs": 100, "momentum": 0, "rate": 1e6 }));
    let mut learner = [Quadratic::new(&[1.0], 0.0, 0)];
    let error = run(&mut learner, &start(&[3.0]), &setup(&params, &[], &Quiet)).unwrap_err();
    // |θ−1| grows by 10⁶ a step and leaves f32 at 10³⁸·⁵: at step 7 the weight is infinite.
    let TrainError::NotFinite { step, rate, .. } = error else { panic!("{error}") };
    assert_eq!((step, rate), (7, 1e6));
    assert!(error.to_string().contains("Lower `rate`"), "{error}");
    let short = read("sgd", json!({ "epochs": steps(7), "momentum": 0, "rate": 1e6 }));
    let error = run(&mut learner, &start(&[3.0]), &setup(&short, &[], &Quiet)).unwrap_err();
    assert!(matches!(error, TrainError::Weights { .. }), "{error}");
    let nan = run(&mut learner, &start(&[f32::NAN]), &setup(&short, &[], &Quiet)).unwrap_err();
    assert!(matches!(nan, TrainError::NotFinite { step: 0, .. }), "{nan}");
}

#[test]
fn early_stopping_takes_the_best() {
    let settings = json!({
        "epochs": 50, "momentum": 0, "rate": 0.1, "early_stopping": 2, "validate_every": steps(2),
    });
    let params = read("sgd", settings);
    // On the way from 0 to 10 the weights pass 5: 10(1−0.9ᵗ) is nearest to it at t = 6 (4.69) among even steps (t = 8: 5.70).
    let mut learner = [Quadratic::new(&[10.0], 0.0, 0)];
    learner[0].valid = Some(vec![5.0]);
    let setup = Setup { validated: true, ..setup(&params, &[], &Quiet) };
    let trained = run(&mut learner, &start(&[0.0]), &setup).unwrap();
    assert!(trained.stopped_early);
    assert_eq!((trained.steps, learner[0].validations), (14, 7));
    assert!((trained.last.weights[0] - 4.685_59).abs() < 1e-4, "{:?}", trained.last);
    assert_eq!(trained.history.validations.len(), 7);
    assert_eq!(trained.history.epochs.last().unwrap().epoch, 3.5);
    let score = trained.history.epochs[1].validation.unwrap();
    assert_eq!(score, trained.history.validations[3].score);

    // A loss that is NaN is no best.
    learner[0].valid = Some(vec![f32::NAN]);
    let nan = run(&mut learner, &start(&[0.0]), &setup).unwrap();
    assert_eq!((nan.steps, nan.stopped_early), (10, true));

    let missing = run(&mut learner, &start(&[0.0]), &Setup { validated: false, ..setup }).unwrap_err();
    let TrainError::Method(missing) = missing else { panic!("{missing}") };
    assert_eq!(missing.parameter, Some("validate_every"));
}

/// Every optimiser and link with every recorder that suits it, stopped after any step and gone on with: the same bits, histories too.
#[test]
fn a_resumed_run_is_the_run() {
    let everything = [
        collect("points", json!({ "every": steps(2) })),
        collect("swa", json!({ "recorder": "swa" })),
        collect("ema", json!({ "recorder": "ema", "decay": 0.9 })),
        collect("lawa", json!({ "recorder": "lawa", "every": steps(3), "last": 2 })),
        collect("swag", json!({ "recorder": "swag", "every": steps(1), "last": 2 })),
        collect("swad", json!({ "recorder": "swad", "converged": 2 })),
    ];
    let ahead =
        [collect("slow", json!({ "recorder": "lookahead", "every": steps(3), "momentum": "pullback" }))];
    let cases: [(&str, Json, &[Collect]); 9] = [
        ("sgd", json!({ "nesterov": true, "weight_decay": 0.01 }), &everything),
        ("sgd", json!({ "early_stopping": 9 }), &everything[1..4]),
        ("adamw", json!({ "warmup": 1 }), &everything),
        ("lion", json!({}), &ahead),
        (
            "sgd",
            json!({ "parallel": "local_sgd", "replicas": 2, "average_every": steps(3), "synchronous": steps(4) }),
            &everything,
        ),
        ("sgd", json!({ "parallel": "swap", "replicas": 3, "synchronous": 1 }), &everything),
        (
            "adam",
            json!({ "parallel": "hwa", "replicas": 2, "average_every": steps(2), "window": 2 }),
            &everything,
        ),
        ("sgd", json!({ "parallel": "papa", "replicas": 2, "average_every": steps(2) }), &everything),
        (
            "sgd",
            json!({ "parallel": "pswa", "average_every": steps(5), "sample_every": steps(2) }),
            &everything,
        ),
    ];
    for (method, settings, collects) in cases {
        let mut all = json!({ "epochs": 3, "rate": 0.05 });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let params = read(method, all);
        let learners = || {
            let one = |seed: usize| Quadratic {
                valid: Some(vec![0.5; 5]),
                ..Quadratic::new(&[1.0, -1.0, 0.5, 2.0, 0.0], 0.5, seed as u64)
            };
            (0..params.replicas()).map(one).collect::<Vec<_>>()
        };
        let from = start(&[0.1, 0.2, 0.3, 0.4, 0.5]);
        let base = Setup { validated: true, ..setup(&params, collects, &Quiet) };
        let clean = |mut trained: Trained| {
            trained.history = trained.history.without_times();
            trained
        };
        let through = clean(run(&mut learners(), &from, &base).unwrap());
        assert_eq!(through, clean(run(&mut learners(), &from, &base).unwrap()), "{settings}");
        assert_eq!(through.collected.len(), collects.len());
        let folder = tempfile::tempdir().unwrap();
        for stop in 0..=through.steps {
            let resume = Resume::new(folder.path());
            resume.clear().unwrap();
            let stopping = Watcher::stopping(stop);
            let first =
                run(&mut learners(), &from, &Setup { resume: Some(&resume), watch: &stopping, ..base });
            if stop < through.steps {
                let error = first.unwrap_err();
                let TrainError::Cancelled { done, kept: true, .. } = error else { panic!("{error}") };
                assert_eq!(done, stop);
            }
            let again = run(&mut learners(), &from, &Setup { resume: Some(&resume), ..base }).unwrap();
            assert_eq!(through, clean(again), "{settings} stopped after {stop}");
        }
        // Killed in the middle of a step, with a checkpoint after each.
        let resume = Resume { every: Duration::ZERO, ..Resume::new(folder.path()) };
        resume.clear().unwrap();
        let mut dying = learners();
        dying[0].fails = Some(7);
        run(&mut dying, &from, &Setup { resume: Some(&resume), ..base }).unwrap_err();
        let mut fresh = learners();
        let again = run(&mut fresh, &from, &Setup { resume: Some(&resume), ..base }).unwrap();
        assert_eq!(through, clean(again), "{settings}");
        assert_eq!(fresh[0].calls, through.steps - 7, "it went on from the last checkpoint");
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["training.safetensors"]);
    }
}

/// JSON has no NaN, and a validation may be one.
#[test]
fn a_validation_that_is_nan_does_not_spoil_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let resume = Resume::new(folder.path());
    let params = read("sgd", json!({ "epochs": 3, "rate": 0.1 }));
    let learner = || [Quadratic { valid: Some(vec![f32::NAN]), ..Quadratic::new(&[1.0], 0.1, 0) }];
    let watch = Watcher::stopping(9);
    let base = Setup { validated: true, resume: Some(&resume), ..setup(&params, &[], &watch) };
    run(&mut learner(), &start(&[0.0]), &base).unwrap_err();
    let resumed = run(&mut learner(), &start(&[0.0]), &Setup { watch: &Quiet, ..base }).unwrap();
    assert_eq!(resumed.history.validations.len(), 3);
    assert!(resumed.history.validations.iter().all(|validation| validation.score.loss.is_nan()));
    resume.clear().unwrap();
    let through = run(&mut learner(), &start(&[0.0]), &Setup { watch: &Quiet, ..base }).unwrap();
    assert_eq!(through.last, resumed.last);
}

#[test]
fn checkpoints_of_other_trainings_and_broken_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let resume = Resume::new(folder.path());
    let from = start(&[0.0, 1.0]);
    let params = read("adam", json!({ "epochs": 3 }));
    let attempt = |params: &TrainParams, from: &Flat, identity: &str| {
        let watch = Watcher::stopping(2);
        let base = setup(params, &[], &watch);
        let mut learner = [Quadratic::new(&[1.0, 1.0], 0.1, 0)];
        run(&mut learner, from, &Setup { identity, resume: Some(&resume), ..base }).unwrap_err()
    };
    let cancelled = attempt(&params, &from, "a");
    assert_eq!(cancelled.to_string(), "stopped after 2 of 12 steps; the next run goes on from there");
    for (params, from, identity) in [
        (&read("adam", json!({ "epochs": 3, "rate": 0.5 })), &from, "a"),
        (&read("adamw", json!({ "epochs": 3, "weight_decay": 0 })), &from, "a"),
        (&params, &start(&[0.0, 2.0]), "a"),
        (&params, &from, "b"),
    ] {
        let error = attempt(params, from, identity);
        assert!(error.to_string().contains("other settings, data or start"), "{error}");
        assert!(error.to_string().contains("Delete it"), "{error}");
    }
    let whole = std::fs::read(resume.file()).unwrap();
    for cut in [0, 7, 100, whole.len() - 1] {
        std::fs::write(resume.file(), &whole[..cut]).unwrap();
        let error = attempt(&params, &from, "a");
        assert!(matches!(error, TrainError::Checkpoint { .. }), "{cut}: {error}");
    }
    let missing = Resume::new(folder.path().join("nowhere"));
    let watch = Watcher::stopping(2);
    let mut learner = [Quadratic::new(&[1.0, 1.0], 0.1, 0)];
    let nowhere = Setup { resume: Some(&missing), ..setup(&params, &[], &watch) };
    let error = run(&mut learner, &from, &nowhere).unwrap_err();
    assert!(matches!(error, TrainError::Write { .. }), "{error}");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let params = read("sgd", json!({ "epochs": 1 }));
    let mut two = [Quadratic::new(&[1.0], 0.0, 0), Quadratic::new(&[1.0], 0.0, 0)];
    let base = setup(&params, &[], &Quiet);
    let error = run(&mut two, &start(&[0.0]), &base).unwrap_err();
    assert!(error.to_string().contains("replicas: 1 needed, 2 given"), "{error}");
    let error = run(&mut two[..1], &start(&[0.0, 0.0]), &base).unwrap_err();
    assert!(error.to_string().contains("weights to start from: 1"), "{error}");
    let error = run::<Quadratic>(&mut [], &start(&[0.0]), &base).unwrap_err();
    assert!(error.to_string().contains("no network"), "{error}");
    let ahead = || collect("a", json!({ "recorder": "lookahead", "every": steps(2) }));
    let twice = [ahead(), ahead()];
    let error = run(&mut two[..1], &start(&[0.0]), &setup(&params, &twice, &Quiet)).unwrap_err();
    assert!(error.to_string().contains("lookahead"), "{error}");

    let parameter = |method, settings| refused(method, settings).parameter;
    assert_eq!(parameter("sgd", json!({})), Some("epochs"));
    assert!(refused("sgd", json!({ "epochs": 1, "betas": [0.9, 0.99] })).message.contains("`betas`"));
    assert!(refused("sgd", json!({ "epochs": 1, "lr": 1 })).help.unwrap().contains("`rate`"));
    assert!(refused("rprop", json!({ "epochs": 1 })).help.unwrap().contains("`lion`"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "momentum": 1 })), Some("momentum"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "momentum": 0, "nesterov": true })), Some("nesterov"));
    assert_eq!(parameter("adam", json!({ "epochs": 1, "betas": [0.9] })), Some("betas"));
    assert_eq!(parameter("lion", json!({ "epochs": 1, "betas": [0.9, 1.0] })), Some("betas"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "batch": 0 })), Some("batch"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "label_smoothing": 1 })), Some("label_smoothing"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "rate": { "curve": [] } })), Some("rate"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "replicas": 2 })), Some("replicas"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "parallel": "swap" })), Some("synchronous"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "parallel": "papa", "replicas": 1 })), Some("replicas"));
    assert_eq!(parameter("sgd", json!({ "epochs": 1, "parallel": "hwa", "pull": 0.9 })), Some("pull"));
    let time = |settings| Timeline::new(&read("sgd", settings), 4).unwrap_err().parameter;
    assert_eq!(time(json!({ "epochs": 0 })), Some("epochs"));
    assert_eq!(time(json!({ "epochs": 1, "warmup": 1 })), Some("warmup"));
    assert_eq!(time(json!({ "epochs": 1, "rate": -0.1 })), Some("rate"));
    assert_eq!(Timeline::new(&params, 0).unwrap_err().parameter, Some("data"));
}

#[test]
fn methods_describe_themselves() {
    let all = methods();
    assert_eq!(all.iter().map(|method| method.about.id).collect::<Vec<_>>(), METHODS);
    for method in &all {
        let properties = method.params["properties"].as_object().unwrap();
        assert_eq!(method.params["required"], json!(["epochs"]));
        assert_eq!(properties["epochs"]["x-bare"], "epoch");
        assert_eq!(properties["epochs"]["x-unit"], "span");
        assert_eq!(properties["rate"]["x-unit"], "schedule");
        assert_eq!(properties["seed"]["x-unit"], "seed");
        assert!(properties.contains_key("parallel") && properties.contains_key("weight_decay"));
        assert!(!method.params.to_string().contains("$ref"), "{}", method.params);
        // The defaults are settings.
        let mut defaults: serde_json::Map<String, Json> = properties
            .iter()
            .filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())))
            .filter(|(_, default)| !default.is_null())
            .collect();
        defaults.insert("epochs".into(), 2.into());
        TrainParams::read(method.about.id, &defaults).unwrap();
    }
    assert_eq!(read("sgd", json!({ "epochs": 1 })).steps_per_epoch(1000), 8);
    assert_eq!(read("sgd", json!({ "epochs": 1, "drop_last": true })).steps_per_epoch(1000), 7);
}

fn one(range: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    vec![range]
}

/// Elements of the quadratic do not know of each other, so those that learn must go the way that they go without frozen ones, to the bit.
#[test]
fn what_is_frozen_stays_and_the_rest_goes_its_way() {
    let everything = [
        collect("points", json!({ "every": steps(2) })),
        collect("swa", json!({ "recorder": "swa" })),
        collect("ema", json!({ "recorder": "ema", "decay": 0.9 })),
        collect("lawa", json!({ "recorder": "lawa", "every": steps(3), "last": 2 })),
        collect("swag", json!({ "recorder": "swag", "every": steps(1), "last": 2 })),
    ];
    let ahead =
        [collect("slow", json!({ "recorder": "lookahead", "every": steps(3), "momentum": "pullback" }))];
    let replicas = |kind: &str, own: Json| {
        let mut all = json!({ "parallel": kind });
        all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        all
    };
    let cases: [(&str, Json, &[Collect]); 9] = [
        ("sgd", json!({ "nesterov": true, "weight_decay": 0.01 }), &everything),
        ("adam", json!({ "weight_decay": 0.1 }), &everything),
        ("adamw", json!({ "weight_decay": 0.5 }), &everything),
        ("lion", json!({ "weight_decay": 0.5 }), &ahead),
        (
            "sgd",
            replicas(
                "local_sgd",
                json!({ "replicas": 2, "average_every": steps(3), "synchronous": steps(4) }),
            ),
            &everything,
        ),
        ("sgd", replicas("swap", json!({ "replicas": 3, "synchronous": 1 })), &everything),
        (
            "adam",
            replicas("hwa", json!({ "replicas": 2, "average_every": steps(2), "window": 2 })),
            &everything,
        ),
        (
            "sgd",
            replicas("papa", json!({ "replicas": 3, "average_every": steps(2), "pull": 0.3 })),
            &everything,
        ),
        (
            "sgd",
            replicas("pswa", json!({ "average_every": steps(5), "sample_every": steps(2) })),
            &everything,
        ),
    ];
    let frozen = Frozen { weights: vec![1..2, 3..5], statistics: one(0..1) };
    let from = Flat { weights: vec![0.1, 0.2, 0.3, 0.4, 0.5], statistics: vec![0.7] };
    for (method, settings, collects) in cases {
        let mut all = json!({ "epochs": 3, "rate": 0.05 });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let plain = read(method, all.clone());
        all["frozen"] = json!(["some"]);
        let params = read(method, all);
        let learners = || {
            let one = |seed: usize| Quadratic::new(&[1.0, -1.0, 0.5, 2.0, 0.0], 0.5, seed as u64);
            (0..params.replicas()).map(one).collect::<Vec<_>>()
        };
        let free = run(&mut learners(), &from, &setup(&plain, collects, &Quiet)).unwrap();
        let held = Setup { frozen: &frozen, ..setup(&params, collects, &Quiet) };
        let found = run(&mut learners(), &from, &held).unwrap();
        let same = |own: &Flat, other: &Flat, moment: bool| {
            for at in [0, 2] {
                assert_eq!(own.weights[at].to_bits(), other.weights[at].to_bits(), "{settings}");
            }
            for at in [1, 3, 4] {
                assert_eq!(own.weights[at], if moment { 0.0 } else { from.weights[at] }, "{settings}");
            }
            assert_eq!(own.statistics, from.statistics, "{settings}");
        };
        same(&found.last, &free.last, false);
        assert_ne!(found.last.weights[0], from.weights[0]);
        assert_ne!(free.last.statistics, from.statistics);
        assert_eq!((found.members.len(), found.collected.len()), (free.members.len(), collects.len()));
        found.members.iter().zip(&free.members).for_each(|(own, other)| same(own, other, false));
        for ((name, own), (_, other)) in found.collected.iter().zip(&free.collected) {
            assert_eq!(own.len(), other.len());
            let pairs = own.iter().zip(other).enumerate();
            pairs.for_each(|(at, (own, other))| same(own, other, name == "swag" && at > 0));
        }
        // A training that goes on, too.
        let folder = tempfile::tempdir().unwrap();
        let resume = Resume::new(folder.path());
        let stopping = Watcher::stopping(5);
        run(&mut learners(), &from, &Setup { resume: Some(&resume), watch: &stopping, ..held }).unwrap_err();
        let again = run(&mut learners(), &from, &Setup { resume: Some(&resume), ..held }).unwrap();
        assert_eq!((again.last, again.collected), (found.last, found.collected), "{settings}");
    }
}

/// Clipping sees the gradient of what learns alone.
#[test]
fn frozen_gradients_do_not_count_for_clipping() {
    let params =
        read("sgd", json!({ "epochs": 1, "momentum": 0, "clip": 1, "rate": 0.5, "frozen": ["far"] }));
    let mut learner = [Quadratic::new(&[1e6, -1e6], 0.0, 0)];
    let frozen = Frozen { weights: one(0..1), statistics: Vec::new() };
    let held = Setup { frozen: &frozen, ..setup(&params, &[], &Quiet) };
    let trained = run(&mut learner, &start(&[0.0, 0.0]), &held).unwrap();
    assert_eq!(trained.last.weights, [0.0, -2.0]);
}

#[test]
fn frozen_places_are_checked() {
    let names = read("sgd", json!({ "epochs": 1, "frozen": ["a"] }));
    let error = |params: &TrainParams, frozen: &Frozen| {
        let mut learner = [Quadratic::new(&[1.0, 2.0], 0.0, 0)];
        let error = run(&mut learner, &start(&[0.0, 0.0]), &Setup { frozen, ..setup(params, &[], &Quiet) });
        let TrainError::Method(error) = error.unwrap_err() else { panic!() };
        assert_eq!(error.parameter, Some("frozen"));
        error.message
    };
    let places = |range| Frozen { weights: one(range), statistics: Vec::new() };
    assert!(error(&names, &places(0..2)).contains("nothing to learn"));
    assert!(error(&names, &places(1..3)).contains("outside"));
    // Names without places, places without names.
    assert!(error(&names, &Frozen::default()).contains("places"));
    assert!(error(&read("sgd", json!({ "epochs": 1 })), &places(0..1)).contains("places"));
}
