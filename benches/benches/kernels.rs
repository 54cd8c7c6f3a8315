//! Conversion and merge kernels per dtype, in GB/s of bytes read and written, beside memcpy in the same run.
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fusion_core::method::Registry;
use fusion_core::tensor::{Dtype, from_f32, to_f32};
use fusion_sdk::{RawGroup, RawInput, RawTensor, TILE, Tile};
use serde_json::{Map, Value, json};

/// Elements: 16 MB in bf16, well beyond the L2 cache.
const N: usize = 8 << 20;

fn data(dtype: Dtype, seed: u64) -> Vec<u8> {
    let key = fusion_sdk::rng::Key::new(seed, "bench", 0);
    let values: Vec<f32> = (0..N as u64).map(|i| (key.uniform(i) - 0.5) * 0.04).collect();
    let mut bytes = vec![0; N * dtype.size()];
    let _ = from_f32(dtype, &values, &mut bytes);
    bytes
}

fn memcpy(c: &mut Criterion) {
    let from = data(Dtype::BF16, 1);
    let mut to = vec![0_u8; from.len()];
    let mut group = c.benchmark_group("memcpy");
    group.throughput(Throughput::Bytes(2 * from.len() as u64));
    group.bench_function("16 MB", |b| b.iter(|| to.copy_from_slice(std::hint::black_box(&from))));
    group.finish();
}

/// Load, kernel, round, as the engine does it tile by tile on one thread.
fn methods(c: &mut Criterion) {
    let mut registry = Registry::new();
    fusion_average::register(&mut registry);
    let settings = |pairs: Value| pairs.as_object().cloned().unwrap_or_default();
    let cases = [
        ("linear", 3, Map::new(), settings(json!({"weight": 0.3}))),
        ("mean", 3, Map::new(), Map::new()),
        ("slerp", 2, settings(json!({"t": 0.3})), Map::new()),
        ("task_arithmetic", 4, Map::new(), settings(json!({"weight": 0.3}))),
        ("ties", 4, Map::new(), settings(json!({"weight": 0.3, "density": 0.5}))),
        ("dare", 4, Map::new(), settings(json!({"weight": 0.3, "density": 0.5}))),
        ("model_stock", 4, Map::new(), Map::new()),
    ];
    for (id, count, params, input) in cases {
        let Some(method) = registry.get(id).and_then(|entry| entry.method.as_ref()) else { continue };
        let mut group = c.benchmark_group(id);
        group.sample_size(20);
        for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
            let inputs: Vec<Vec<u8>> = (0..count as u64).map(|i| data(dtype, i)).collect();
            let with_base = matches!(id, "ties" | "task_arithmetic" | "dare" | "model_stock");
            let raw = RawGroup {
                seed: 1,
                tensors: vec![RawTensor {
                    name: "w".into(),
                    shape: vec![N],
                    layer: None,
                    params: params.clone(),
                    inputs: (0..count)
                        .map(|i| RawInput {
                            role: if with_base && i == 0 { "base".into() } else { "from".into() },
                            settings: if with_base && i == 0 { Map::new() } else { input.clone() },
                        })
                        .collect(),
                }],
            };
            let mut kernel = method.kernel(&raw).expect("the bench's settings fit");
            let mut slots = vec![vec![0.0_f32; TILE]; count];
            let mut tiles = |run: &mut dyn FnMut(&Tile<'_>)| {
                for start in (0..N).step_by(TILE) {
                    for (slot, input) in slots.iter_mut().zip(&inputs) {
                        let _ =
                            to_f32(dtype, &input[start * dtype.size()..(start + TILE) * dtype.size()], slot);
                    }
                    let views: Vec<&[f32]> = slots.iter().map(Vec::as_slice).collect();
                    run(&Tile { tensor: 0, offset: start as u64, inputs: &views });
                }
            };
            let bytes = N * dtype.size();
            let mut pass = 1;
            while kernel.observing() {
                group.throughput(Throughput::Bytes((count * bytes) as u64));
                group.bench_function(BenchmarkId::new(format!("observe {pass}"), dtype), |b| {
                    b.iter(|| {
                        let mut partial = kernel.partial();
                        tiles(&mut |tile| {
                            if kernel.wants(0, tile.index()) {
                                kernel.observe(&mut *partial, tile);
                            }
                        });
                        partial
                    });
                });
                let mut partial = kernel.partial();
                tiles(&mut |tile| {
                    if kernel.wants(0, tile.index()) {
                        kernel.observe(&mut *partial, tile);
                    }
                });
                kernel.absorb(&mut *partial);
                kernel.finish_pass().expect("finite data");
                pass += 1;
            }
            let mut out = vec![0.0_f32; TILE];
            let mut written = vec![0_u8; bytes];
            group.throughput(Throughput::Bytes(((count + 1) * bytes) as u64));
            group.bench_function(BenchmarkId::new("apply", dtype), |b| {
                b.iter(|| {
                    tiles(&mut |tile| {
                        kernel.apply(tile, &mut out);
                        let at = tile.offset as usize * dtype.size();
                        let _ = from_f32(dtype, &out, &mut written[at..at + TILE * dtype.size()]);
                    });
                });
            });
        }
        group.finish();
    }
}

fn hashing(c: &mut Criterion) {
    let bytes = data(Dtype::BF16, 1);
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("blake3 blocks", |b| {
        b.iter(|| fusion_core::checkpoint::blocks::hash_blocks(Dtype::BF16, std::hint::black_box(&bytes)));
    });
    group.finish();
}

criterion_group!(benches, memcpy, methods, hashing);
criterion_main!(benches);
