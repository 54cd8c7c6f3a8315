//! The planner on long chains: 1 000 stages over 1 000 tensors, headers only.
#![allow(missing_docs, reason = "criterion's macros")]

use std::fmt::Write as _;
use std::io::Write as _;

use criterion::{Criterion, criterion_group, criterion_main};
use fusion_core::method::Registry;
use fusion_core::plan;
use fusion_dsl::world::NoFiles;

fn model(folder: &std::path::Path, name: &str, tensors: usize) -> std::io::Result<()> {
    let path = folder.join(name);
    std::fs::create_dir_all(&path)?;
    let entries: Vec<String> = (0..tensors)
        .map(|i| {
            let (start, end) = (i * 128, (i + 1) * 128);
            format!(
                r#""model.layers.{}.w{}":{{"dtype":"BF16","shape":[8,8],"data_offsets":[{start},{end}]}}"#,
                i / 10,
                i % 10
            )
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = std::fs::File::create(path.join("model.safetensors"))?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.set_len(8 + header.len() as u64 + tensors as u64 * 128)
}

fn planner(c: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("fusion-bench-plan-{}", std::process::id()));
    for name in ["a", "b"] {
        model(&folder, name, 1_000).expect("the temporary folder is writable");
    }
    let mut text = String::from("fusion 1\n\nmodel a from \"a\"\nmodel b from \"b\"\n\n");
    let mut last = "a".to_owned();
    for i in 0..1_000 {
        let _ = writeln!(
            text,
            "average m{i} using linear {{\n  from {last}\n  from b {{ weight = ramp(0.1, 0.2) }}\n}}\n"
        );
        last = format!("m{i}");
    }
    let _ = writeln!(text, "save {last} to \"out\"");
    let mut registry = Registry::new();
    fusion_average::register(&mut registry);
    let world = NoFiles(registry.descriptors());
    let mut group = c.benchmark_group("planner");
    group.sample_size(10);
    group.bench_function("compile 1000 stages", |b| {
        b.iter(|| fusion_dsl::compile(&world, "bench.fusion", &text, &[]));
    });
    let compiled = fusion_dsl::compile(&world, "bench.fusion", &text, &[]);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    let graph = &compiled.variants[0].graph;
    group.bench_function("plan 1000 stages x 1000 tensors", |b| {
        b.iter(|| {
            let (plan, diagnostics) = plan::plan(graph, &registry, &plan::Options::new(&folder));
            assert!(plan.is_some(), "{diagnostics:?}");
        });
    });
    group.finish();
    let _ = std::fs::remove_dir_all(&folder);
}

criterion_group!(benches, planner);
criterion_main!(benches);
