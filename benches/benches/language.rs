//! The front end on long recipes: time per stage must not grow with their number.
#![allow(missing_docs, reason = "criterion's macros")]

use std::fmt::Write;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn recipe(stages: usize) -> String {
    let mut text = String::from("fusion 1\n\nmodel base from \"base\"\nmodel chat from \"chat\"\n\n");
    for i in 0..stages {
        let _ = writeln!(
            text,
            "average m{i} using ties {{\n  base base\n  from chat {{ weight = ramp(0.2, 0.6) }}\n  density = 50%\n  on \"**.mlp.**\" {{ density = 75% }}\n}}\n"
        );
    }
    text
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    group.sample_size(10);
    for stages in [100, 1_000, 10_000] {
        let text = recipe(stages);
        group.throughput(Throughput::Elements(stages as u64));
        group.bench_with_input(BenchmarkId::from_parameter(stages), &text, |b, text| {
            b.iter(|| {
                let parsed = fusion_dsl::parse(std::hint::black_box(text));
                assert!(parsed.1.is_empty());
                parsed
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
