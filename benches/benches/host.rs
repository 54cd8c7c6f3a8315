//! What the C contract costs: the same `linear` kernel linked in and behind a loaded library, tile by tile on one thread.
//!
//! Whole tiles compare what users get; tiles of 16 elements have next to no arithmetic, so their difference is the call itself.
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{Criterion, criterion_group, criterion_main};
// Links the library in, so that cargo builds it.
use fusion_average_dynamic as _;
use fusion_core::host::load;
use fusion_core::method::Registry;
use fusion_sdk::testing::tensor;
use fusion_sdk::{Kernel, RawGroup, TILE, Tile};
use serde_json::json;

/// Elements of the tensor; its tiles are walked through again and again.
const N: usize = 8 << 20;
const TILES: usize = 512;

fn calls(c: &mut Criterion) {
    let folder = std::env::current_exe().ok().and_then(|path| path.parent().map(ToOwned::to_owned));
    let name =
        format!("{}fusion_average_dynamic{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = folder.map(|folder| folder.join(name)).expect("a bench lies in a folder");
    let plugin = load(&library).unwrap_or_else(|error| panic!("{error}"));
    let dynamic = plugin.methods.iter().find(|method| method.describe().about.id == "linear");
    let mut registry = Registry::new();
    fusion_average::register(&mut registry);
    let built_in = registry.get("linear").and_then(|entry| entry.method.as_deref());
    let inputs = vec![("from", json!({"weight": 0.3})); 3];
    let group = RawGroup { tensors: vec![tensor("w", &[N], &json!({}), &inputs)], seed: 0 };
    let mut bench = c.benchmark_group("host");
    for len in [TILE, 16] {
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

criterion_group!(benches, calls);
criterion_main!(benches);
