//! `train` on small networks and data made here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fusion_data::{BatchOptions, Batches, Dataset};
use fusion_learn::record::{Collect, CollectParams};
use fusion_learn::shards::Shards;
use fusion_learn::train::{Frozen, Job, Quiet, Resume, TrainError, TrainParams, Trained, Watch, train};
use fusion_network::{Architecture, Device, Flat, Norm, StepOptions};
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::optim::Optimizer;
use fusion_sdk::rng::Key;
use serde_json::{Value as Json, json};

/// Three clouds in the plane, `n` points.
pub(crate) fn clouds(n: usize, seed: u64) -> Arc<Dataset> {
    let key = Key::new(seed, "clouds", 0);
    let mut rows = Vec::new();
    for at in 0..n {
        let angle = std::f32::consts::TAU * (at % 3) as f32 / 3.0;
        rows.push(2.0 * angle.cos() + 0.5 * key.normal(2 * at as u64));
        rows.push(2.0 * angle.sin() + 0.5 * key.normal(2 * at as u64 + 1));
    }
    let labels = (0..n).map(|at| (at % 3) as u32).collect();
    Arc::new(Dataset::of_rows(rows, 2, Targets::Classes(labels), 3).unwrap())
}

pub(crate) fn network(arguments: Json) -> (Shards, Flat) {
    let mut all = json!({ "inputs": 2, "hidden": [8], "outputs": 3 });
    all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
    let architecture = Architecture::parse("mlp", all.as_object().unwrap()).unwrap();
    let network = Shards::new(&architecture, &Device::flex(), 1, 1).unwrap();
    let flat = network.flatten(&architecture.initial(1)).unwrap();
    (network, flat)
}

fn read(settings: Json) -> TrainParams {
    let mut all = json!({ "epochs": 4, "batch": 16 });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    TrainParams::read("sgd", all.as_object().unwrap()).unwrap()
}

static ALL_LEARN: Frozen = Frozen { weights: Vec::new(), statistics: Vec::new() };

fn job<'a>(params: &'a TrainParams, data: &'a Arc<Dataset>) -> Job<'a> {
    Job {
        params,
        collects: &[],
        frozen: &ALL_LEARN,
        data,
        validate: None,
        seed: 7,
        resume: None,
        watch: &Quiet,
    }
}

fn clean(mut trained: Trained) -> Trained {
    trained.history = trained.history.without_times();
    trained
}

fn empty() -> Batch {
    Batch { inputs: Values::Floats(Vec::new()), shape: Vec::new(), targets: Targets::Classes(Vec::new()) }
}

/// The loop adds nothing to, and leaves nothing out of, the one that anybody would write: the same bits.
#[test]
fn the_loop_is_the_bare_loop() {
    let data = clouds(50, 0);
    let params = read(json!({ "rate": 0.1, "weight_decay": 0.01, "label_smoothing": 0.1, "mixup": 0.4 }));
    let (mut network, start) = network(json!({ "norm": "batch" }));
    let trained = train(std::slice::from_mut(&mut network), &start, &job(&params, &data)).unwrap();

    let options = BatchOptions { size: 16, seed: 7, mixup: Some(0.4), ..BatchOptions::default() };
    let batches = Batches::new(Arc::clone(&data), options).unwrap();
    let mut optimizer = Optimizer::new(params.rule, start.weights.len());
    let Flat { mut weights, mut statistics } = start;
    let mut gradient = vec![0.0; weights.len()];
    let (mut batch, mut losses) = (empty(), Vec::new());
    for step in 0..4 * batches.steps_per_epoch() {
        batches.batch(step, &mut batch);
        let options = StepOptions { label_smoothing: 0.1, dropout_seed: step };
        let found = network.gradient(&weights, &batch, &options, &mut gradient).unwrap();
        optimizer.step(0.1, &mut weights, &gradient);
        losses.push(found.loss);
        for (running, batch) in statistics.iter_mut().zip(&found.batch_statistics) {
            *running = 0.9_f32 * *running + 0.1_f32 * batch;
        }
    }
    assert_eq!(trained.last.weights, weights);
    for (found, exact) in trained.last.statistics.iter().zip(&statistics) {
        // 1 − 0.1 is not quite 0.9 in f32.
        assert!((found - exact).abs() < 1e-6 * exact.abs().max(1.0), "{found} {exact}");
    }
    let noted: Vec<f64> = trained.history.points.iter().map(|point| point.loss).collect();
    for (noted, loss) in noted.iter().zip(&losses) {
        assert!((noted - loss).abs() < 1e-12);
    }
    assert_eq!((trained.steps, noted.len()), (16, 16));
}

#[test]
fn a_network_learns_and_repeats_itself() {
    let (data, valid) = (clouds(240, 0), clouds(90, 1));
    let params = read(json!({ "rate": { "cosine": { "from": 0.1, "to": 0 } }, "epochs": 6 }));
    let (mut network, start) = network(json!({ "dropout": 0.1 }));
    let mut once = |seed| {
        let job = Job { validate: Some(&valid), seed, ..job(&params, &data) };
        clean(train(std::slice::from_mut(&mut network), &start, &job).unwrap())
    };
    let first = once(7);
    assert_eq!(first, once(7));
    assert_ne!(first.last, once(8).last);
    // Clouds four deviations apart: an optimal classifier errs in less than 1 % of the cases.
    let epochs = &first.history.epochs;
    let score = epochs.last().unwrap().validation.unwrap();
    assert!(score.accuracy.unwrap() > 0.95 && score.loss < 0.2, "{score:?}");
    assert!(epochs[5].loss < 0.5 * epochs[0].loss && epochs[5].accuracy > Some(0.9), "{epochs:?}");

    // The validation is what anybody would compute.
    let mut batch = empty();
    valid.gather(&(0..90).collect::<Vec<_>>(), &mut batch);
    let last = &first.last;
    let outputs = network.outputs(&last.weights, &last.statistics, &batch, Norm::Running).unwrap();
    let right = outputs
        .chunks(3)
        .zip(valid.labels().unwrap())
        .filter(|(row, label)| (0..3).all(|class| row[class] <= row[**label as usize]));
    assert_eq!(right.count() as f64 / 90.0, score.accuracy.unwrap());
}

/// Says stop after some steps.
struct Stopping(AtomicU64);

impl Watch for Stopping {
    fn cancelled(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 0
    }
}

#[test]
fn an_interrupted_training_goes_on_with_the_same_bits() {
    let data = clouds(50, 0);
    let collects = ["snapshots", "swa", "ema", "swag"].map(|word| Collect {
        name: word.to_owned(),
        params: serde_json::from_value::<CollectParams>(json!({ "recorder": word })).unwrap(),
    });
    let params = read(json!({ "mixup": 0.2, "rate": 0.05 }));
    let (mut network, start) = network(json!({ "norm": "batch", "dropout": 0.2 }));
    let job = Job { collects: &collects, ..job(&params, &data) };
    let networks = std::slice::from_mut(&mut network);
    let through = clean(train(networks, &start, &job).unwrap());
    let folder = tempfile::tempdir().unwrap();
    for stop in [1, 6, 15] {
        let resume = Resume::new(folder.path());
        resume.clear().unwrap();
        let stopping = Stopping(stop.into());
        let broken = Job { resume: Some(&resume), watch: &stopping, ..job };
        let error = train(networks, &start, &broken).unwrap_err();
        assert!(matches!(error, TrainError::Cancelled { done, .. } if done == stop), "{error}");
        // Other data is another training.
        let other = clouds(50, 1);
        let wrong = Job { data: &other, resume: Some(&resume), ..job };
        assert!(matches!(train(networks, &start, &wrong).unwrap_err(), TrainError::Checkpoint { .. }));
        let again = train(networks, &start, &Job { resume: Some(&resume), ..job }).unwrap();
        assert_eq!(through, clean(again), "stopped after {stop}");
    }
}

#[test]
fn replicas_see_the_data_in_orders_of_their_own() {
    let data = clouds(60, 0);
    let settings = json!({ "parallel": "hwa", "replicas": 3, "rate": 0.05, "window": 2 });
    let params = read(settings);
    let make = || (0..3).map(|_| network(json!({})).0).collect::<Vec<_>>();
    let start = network(json!({})).1;
    let first = clean(train(&mut make(), &start, &job(&params, &data)).unwrap());
    assert_eq!(first, clean(train(&mut make(), &start, &job(&params, &data)).unwrap()));
    // The last step ends a period: all have the same weights, and the result is another mean.
    assert_eq!(first.members.len(), 3);
    assert_eq!(first.members[0].weights, first.members[2].weights);
    assert_ne!(first.members[0].weights, first.last.weights);
    // Left alone, they differ.
    let alone = read(json!({ "parallel": "swap", "replicas": 2, "synchronous": 1, "rate": 0.05 }));
    let swap = train(&mut make()[..2], &start, &job(&alone, &data)).unwrap();
    assert_ne!(swap.members[0].weights, swap.members[1].weights);
}

#[test]
fn what_does_not_suit_the_network_is_an_error() {
    let (mut network, start) = network(json!({ "norm": "batch" }));
    let networks = std::slice::from_mut(&mut network);
    let mut failed = |settings: Json, data: &Arc<Dataset>| {
        train(networks, &start, &job(&read(settings), data)).unwrap_err().to_string()
    };
    let wide = Arc::new(Dataset::of_rows(vec![0.0; 20 * 5], 5, Targets::Classes(vec![0; 20]), 3).unwrap());
    assert!(failed(json!({}), &wide).contains("shape [5]"));
    let many = Arc::new(Dataset::of_rows(vec![0.0; 40], 2, Targets::Classes(vec![7; 20]), 8).unwrap());
    assert!(failed(json!({}), &many).contains("class 7"));
    // 33 = 2·16 + 1: the last batch has one example, and BatchNorm no variance.
    let odd = clouds(33, 0);
    assert!(failed(json!({}), &odd).contains("drop the last batch"));
    assert!(failed(json!({ "drop_last": true, "batch": 64 }), &odd).contains("do not fill one batch"));
    train(networks, &start, &job(&read(json!({ "drop_last": true })), &odd)).unwrap();
}

/// Parts of a batch are added in their own order, so threads change nothing; and the sum is that of the whole batch up to the rounding of
/// f32 sums in another order (losses near 1, gradients near 0.1).
#[test]
fn shards_give_the_same_bits_on_any_number_of_threads() {
    let data = clouds(150, 0);
    let mut batch = empty();
    data.gather(&(0..150).collect::<Vec<_>>(), &mut batch);
    let arguments = json!({ "inputs": 2, "hidden": [8], "outputs": 3 });
    let architecture = Architecture::parse("mlp", arguments.as_object().unwrap()).unwrap();
    let once = |shards, threads| {
        let mut network = Shards::new(&architecture, &Device::flex(), shards, threads).unwrap();
        let weights = network.flatten(&architecture.initial(1)).unwrap().weights;
        let mut gradient = vec![f32::NAN; weights.len()];
        let step = network.gradient(&weights, &batch, &StepOptions::default(), &mut gradient).unwrap();
        (step, gradient)
    };
    let (whole, of_whole) = once(1, 1);
    for shards in [2, 3, 4] {
        let first = once(shards, 1);
        for threads in [2, 3, 5] {
            assert_eq!(first, once(shards, threads), "{shards} shards on {threads} threads");
        }
        let (step, gradient) = first;
        assert_eq!((step.correct, step.predictions), (whole.correct, whole.predictions));
        assert!((step.loss - whole.loss).abs() < 1e-6);
        assert!(gradient.iter().zip(&of_whole).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

/// A network with BatchNorm sees whole batches, whatever `shards` says.
#[test]
fn batch_norm_is_not_cut() {
    let data = clouds(150, 0);
    let mut batch = empty();
    data.gather(&(0..150).collect::<Vec<_>>(), &mut batch);
    let arguments = json!({ "inputs": 2, "hidden": [8], "outputs": 3, "norm": "batch" });
    let architecture = Architecture::parse("mlp", arguments.as_object().unwrap()).unwrap();
    let once = |shards| {
        let mut network = Shards::new(&architecture, &Device::flex(), shards, 2).unwrap();
        let weights = network.flatten(&architecture.initial(1)).unwrap().weights;
        let mut gradient = vec![0.0; weights.len()];
        let step = network.gradient(&weights, &batch, &StepOptions::default(), &mut gradient).unwrap();
        (step, gradient)
    };
    assert_eq!(once(1), once(4));
}

/// Against the step that anybody would write, with gradients of a network that knows nothing of it: v ← μv + (g + λθ), θ ← θ − ηv where it
/// learns, the rest bit by bit as it was. With BatchNorm's parameters and statistics among the frozen.
#[test]
fn frozen_layers_stay_and_the_others_learn_as_if_their_gradient_were_zero() {
    let data = clouds(50, 0);
    let arguments = json!({ "hidden": [8, 6], "norm": "batch" });
    let params = read(json!({ "rate": 0.1, "weight_decay": 0.01, "frozen": ["layers.0", "norms.0"] }));
    let (mut bare, start) = network(arguments.clone());
    let is_frozen = |name: &str| name.starts_with("layers.0.") || name.starts_with("norms.0.");
    let places: Vec<_> =
        bare.segments().iter().filter(|one| is_frozen(&one.name)).map(|one| one.range()).collect();
    let counted = bare.network().statistics().filter(|(name, _)| is_frozen(name)).map(|(_, range)| range);
    let frozen = Frozen { weights: places.clone(), statistics: counted.collect() };
    assert_eq!((frozen.weights.len(), frozen.statistics.len()), (4, 2));

    let batches =
        Batches::new(Arc::clone(&data), BatchOptions { size: 16, seed: 7, ..BatchOptions::default() });
    let batches = batches.unwrap();
    let (mut weights, mut velocity) = (start.weights.clone(), vec![0.0_f32; start.weights.len()]);
    let (mut batch, mut gradient) = (empty(), vec![0.0; weights.len()]);
    for step in 0..4 * batches.steps_per_epoch() {
        batches.batch(step, &mut batch);
        let options = StepOptions { dropout_seed: step, ..StepOptions::default() };
        bare.gradient(&weights, &batch, &options, &mut gradient).unwrap();
        for at in (0..weights.len()).filter(|at| !places.iter().any(|range| range.contains(at))) {
            velocity[at] = 0.9 * velocity[at] + (gradient[at] + 0.01 * weights[at]);
            weights[at] -= 0.1 * velocity[at];
        }
    }
    // With the way back cut short and without: the same bits.
    for skips in [true, false] {
        let (mut network, _) = network(arguments.clone());
        if skips {
            network.freeze(is_frozen);
        }
        let job = Job { frozen: &frozen, ..job(&params, &data) };
        let trained = train(std::slice::from_mut(&mut network), &start, &job).unwrap();
        assert_eq!(trained.last.weights, weights);
        for (name, range) in network.network().statistics() {
            let (own, from) = (&trained.last.statistics[range.clone()], &start.statistics[range]);
            assert_eq!(own == from, is_frozen(name), "{name}");
        }
        for segment in network.segments() {
            let (own, from) = (&trained.last.weights[segment.range()], &start.weights[segment.range()]);
            assert_eq!(own == from, is_frozen(&segment.name), "{}", segment.name);
        }
    }
}
