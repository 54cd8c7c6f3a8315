//! What the training loop costs beside its steps: batches, metrics, history, progress, recorders, against gradient and update alone on
//! the same batches, and against the loop that burn's users write.
//!
//! Everything is measured twice: on the wall, and in processor time of all threads, where making batches counts although it happens
//! aside, and where other programs on the machine disturb less.
#![allow(missing_docs, reason = "criterion's macros")]

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use fusion_benches::training::clock::cpu;
use fusion_benches::training::{CASES, Training};
use fusion_learn::record::{Collect, CollectParams};
use fusion_sdk::Params as _;
use serde_json::{Map, json};

/// The product's: see `src/main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An eighth of MNIST: 63 or 16 steps, an epoch.
const EXAMPLES: usize = 8_000;

/// Processor time of all threads.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        cpu() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn collect(settings: serde_json::Value) -> Vec<Collect> {
    let settings = settings.as_object().expect("an object");
    let params = CollectParams::from_settings(settings).expect("they are known");
    vec![Collect { name: "models".to_owned(), params }]
}

fn loops<M: Measurement>(c: &mut Criterion<M>, clock: &str) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    for case in CASES.into_iter().filter(|case| case.name.starts_with("mlp")) {
        let training = Training::new(case, EXAMPLES).expect("the case is known");
        let steps = EXAMPLES.div_ceil(case.batch) as u64;
        let batches = training.batches(steps).expect("there are data");
        let mut network = training.network().expect("a network");
        let params = |shards: usize| {
            let mut more = Map::new();
            more.insert("shards".to_owned(), shards.into());
            training.params(steps, &more).expect("settings fit")
        };
        let mut group = c.benchmark_group(format!("{} {clock}", case.name));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(3))
            .sampling_mode(SamplingMode::Flat)
            .throughput(Throughput::Elements(EXAMPLES as u64));
        // The same work is compared: the same bits come out.
        let mut whole = training.sharded(1, 1).expect("a network");
        let trained = training.train(&mut whole, &params(1), &[]).expect("it trains");
        let bare = pool.install(|| training.bare(&mut network, &batches, steps)).expect("it trains");
        assert!(trained.last.weights == bare, "the loops do not do the same");

        group.bench_function("bare", |b| {
            b.iter(|| pool.install(|| training.bare(&mut network, &batches, steps)).expect("it trains"));
        });
        let swa = collect(json!({ "recorder": "swa" }));
        let ema = collect(json!({ "recorder": "ema" }));
        for (name, shards, collects) in [
            ("train", 1, &[][..]),
            ("train, SWA of epochs", 1, &swa),
            ("train, EMA of steps", 1, &ema),
            ("train, 2 shards on one thread", 2, &[]),
        ] {
            let (params, mut network) = (params(shards), training.sharded(shards, 1).expect("a network"));
            group.bench_function(name, |b| {
                b.iter(|| {
                    pool.install(|| training.train(&mut network, &params, collects)).expect("it trains")
                });
            });
        }
        group.bench_function("burn", |b| {
            b.iter(|| pool.install(|| training.burn(&batches, steps)).expect("it trains"));
        });
        group.finish();
    }
}

fn wall(c: &mut Criterion) {
    loops(c, "wall");
}

fn processors(c: &mut Criterion<CpuTime>) {
    loops(c, "cpu");
}

criterion_group!(on_the_wall, wall);
criterion_group!(
    name = of_processors;
    config = Criterion::default().with_measurement(CpuTime);
    targets = processors
);
criterion_main!(on_the_wall, of_processors);
