//! What the C contract costs: the same `linear` kernel linked in and behind a loaded library, tile by tile on one thread.
//!
//! Tiles of 16 elements have next to no arithmetic, so their difference is the call itself. Whole tiles of three inputs and an output
//! fill a first-level cache of 32 KiB to the last line, so there every line that a call touches costs; half tiles leave room. `merge` is
//! what users get: a whole run of the default chunk size, files in memory, on one thread.
#![allow(missing_docs, reason = "criterion's macros")]

use std::sync::atomic::AtomicBool;

use criterion::{Criterion, criterion_group, criterion_main};
// Links the library in, so that cargo builds it.
use fusion_average_dynamic as _;
use fusion_benches::folder::{Float, Order, make};
use fusion_benches::llama::Shape;
use fusion_core::engine;
use fusion_core::host::{Plugin, load};
use fusion_core::method::Registry;
use fusion_core::plan::{Options, plan};
use fusion_dsl::compile;
use fusion_dsl::world::NoFiles;
use fusion_sdk::testing::tensor;
use fusion_sdk::{Kernel, RawGroup, TILE, Tile};
use serde_json::json;

/// Elements of the tensor; its tiles are walked through again and again.
const N: usize = 8 << 20;
const TILES: usize = 512;
/// 61 M parameters.
const SHAPE: Shape = Shape { layers: 4, hidden: 1024, mlp: 2816, vocabulary: 8000, heads: 16, kv_heads: 4 };

/// The family as a library.
fn loaded() -> Plugin {
    let folder = std::env::current_exe().ok().and_then(|path| path.parent().map(ToOwned::to_owned));
    let name =
        format!("{}fusion_average_dynamic{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = folder.map(|folder| folder.join(name)).expect("a bench lies in a folder");
    load(&library).unwrap_or_else(|error| panic!("{error}"))
}

fn built_in() -> Registry {
    let mut registry = Registry::new();
    fusion_average::register(&mut registry);
    registry
}

fn calls(c: &mut Criterion) {
    let plugin = loaded();
    let dynamic = plugin.methods.iter().find(|method| method.describe().about.id == "linear");
    let registry = built_in();
    let built_in = registry.get("linear").and_then(|entry| entry.method.as_deref());
    let inputs = vec![("from", json!({"weight": 0.3})); 3];
    let group = RawGroup { tensors: vec![tensor("w", &[N], &json!({}), &inputs)], seed: 0 };
    let mut bench = c.benchmark_group("host");
    for len in [TILE, TILE / 2, 16] {
        let values: Vec<Vec<f32>> = (0..3).map(|i| vec![i as f32 + 0.5; len]).collect();
        let views: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
        // One buffer for both: stores that straddle cache lines would cost more than what is measured.
        let mut out = vec![0.0_f32; len];
        for (name, method) in
            [("linear built in", built_in), ("linear behind the contract", dynamic.map(|m| &**m))]
        {
            let kernel: Box<dyn Kernel> =
                method.expect("the family has it").kernel(&group).expect("settings fit");
            bench.bench_function(format!("{name}, {TILES} tiles of {len}"), |b| {
                b.iter(|| {
                    for index in 0..TILES {
                        let offset = (index * TILE) as u64;
                        let tile = Tile { tensor: 0, offset, inputs: std::hint::black_box(&views) };
                        kernel.apply(&tile, std::hint::black_box(&mut out));
                    }
                });
            });
            assert!(kernel.trouble().is_none());
        }
    }
    bench.finish();
}

fn merge(c: &mut Criterion) {
    let memory = std::path::Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
    .expect("a folder for the models");
    let models = ["base", "chat", "code"].map(str::to_owned).to_vec();
    let order =
        Order { shape: SHAPE, dtype: Float::Bf16, seed: 0, shard_bytes: u64::MAX, models, overwrite: false };
    make(folder.path(), &order).expect("room for the models");
    let text = "fusion 1\n\nmodel a from \"base\"\nmodel b from \"chat\"\nmodel c from \"code\"\n\n\
                average m using linear {\n  from a\n  from b { weight = 0.5 }\n  from c\n}\n\nsave m to \"out\"\n";
    let mut dynamic = Registry::new();
    for method in loaded().methods {
        dynamic.add_method(method);
    }
    let mut group = c.benchmark_group("merge");
    group.sample_size(20);
    for (name, registry) in [("linear built in", built_in()), ("linear behind the contract", dynamic)] {
        let compiled = compile(&NoFiles(registry.descriptors()), "merge.fusion", text, &[]);
        let options = Options {
            threads: 1,
            overwrite: true,
            cache: Some(folder.path().join("cache")),
            ..Options::new(folder.path())
        };
        group.bench_function(name, |b| {
            b.iter(|| {
                let _ = std::fs::remove_dir_all(folder.path().join("out"));
                let (plan, found) = plan(&compiled.variants[0].graph, &registry, &options);
                let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
                let run = engine::run(&plan, &registry, &options, text, &|_| {}, &AtomicBool::new(false));
                run.unwrap_or_else(|error| panic!("{error}"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, calls, merge);
criterion_main!(benches);
