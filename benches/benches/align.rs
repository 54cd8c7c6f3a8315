//! Assignment on random, Gram and planted matrices, and weight matching of an MLP, beside the peers in `peers/weight_matching.py`.
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fusion_align::weight_matching::{Order, Precision, Start, WeightMatching, WeightMatchingParams};
use fusion_sdk::align::{Align, Candidate, FlatSource, Incoming, Matching, Vectors};
use fusion_sdk::assign;
use fusion_sdk::context::{Context, Host};
use fusion_sdk::rng::Key;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

#[path = "../../plugins/align/examples/common/mlp.rs"]
mod made_up;

/// All threads of the machine, as in the engine.
struct Pool;

impl Host for Pool {
    fn cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).into_par_iter().for_each(body);
    }
}

/// n × n products of normal vectors with as many dimensions: the costs of one layer of two networks that have nothing in common.
fn gram(n: usize, noise: f64) -> Vec<f64> {
    let draw = |stream: u64| -> Vec<f64> {
        let key = Key::new(1, "gram", stream);
        (0..(n * n) as u64).map(|index| f64::from(key.normal(index))).collect()
    };
    let (a, b) = (draw(0), draw(1));
    let mut costs = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            // With noise: units in reverse order under noise, instead of other units.
            let from = n - 1 - j;
            let other = |k: usize| match noise > 0.0 {
                true => a[from * n + k] + noise * b[j * n + k],
                false => b[j * n + k],
            };
            costs[i * n + j] = (0..n).map(|k| a[i * n + k] * other(k)).sum();
        }
    }
    costs
}

fn assignment(c: &mut Criterion) {
    let mut group = c.benchmark_group("assign");
    group.sample_size(10);
    for n in [128, 512, 1024] {
        let key = Key::new(1, "random", 0);
        let random: Vec<f64> = (0..(n * n) as u64).map(|index| f64::from(key.uniform(index))).collect();
        for (name, costs) in [("random", random), ("gram", gram(n, 0.0)), ("planted", gram(n, 1.0))] {
            group.bench_with_input(BenchmarkId::new(name, n), &costs, |b, costs| {
                b.iter(|| assign::solve(std::hint::black_box(costs), n, n, true));
            });
        }
    }
    group.finish();
}

/// 784-512-512-512-10, two networks drawn alone (He): the hardest case, in which searches are longest.
fn mlp(c: &mut Criterion) {
    let dims = [784, 512, 512, 512, 10];
    let Some(symmetries) = made_up::symmetries(&dims) else { return };
    let values: [Vec<f32>; 2] = [made_up::drawn(&dims, 1), made_up::drawn(&dims, 2)];
    let sources =
        values.each_ref().map(|weights| FlatSource::new(&symmetries, Vectors { weights, statistics: &[] }));
    let models = [0, 1].map(|index| Candidate {
        name: "model",
        symmetries: &symmetries,
        source: &sources[index],
        vectors: None,
    });
    let default = WeightMatchingParams {
        order: Order::Random,
        sweeps: 100,
        restarts: None,
        start: Start::Best,
        precision: Precision::Single,
    };
    let one = WeightMatchingParams { restarts: Some(1), start: Start::Identity, ..default.clone() };
    let mut group = c.benchmark_group("weight_matching 784-512-512-512-10");
    group.sample_size(10);
    for (name, params) in [("default", default), ("one run", one)] {
        let incoming = Incoming { reference: 1, from: 1, data: false };
        let Ok(method) = WeightMatching::prepare(params, incoming) else { continue };
        group.bench_function(name, |b| {
            b.iter(|| {
                method.align(Matching {
                    models: &models,
                    reference: true,
                    target: &symmetries,
                    features: None,
                    objective: None,
                    alignments: &[],
                    seed: 0,
                    context: Context::new(&Pool),
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, assignment, mlp);
criterion_main!(benches);
