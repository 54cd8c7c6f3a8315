//! How long `weight_matching` takes on an MLP: seconds of processor and clock, on the matrices that the peer in NumPy gets.
//!
//! `cargo run --release -p fusion-align --example speed -- 784,512,512,512,10 [FOLDER] [NOISE] [THREADS]` writes the two models as raw f32 into
//! FOLDER (not if that is empty). With NOISE the second one is a permuted copy of the first under as much noise; with `-`, both are drawn alone.
//! THREADS are 2 unless they are 1.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures")]

mod common;
#[path = "common/mlp.rs"]
mod mlp;

use std::time::Instant;

use fusion_align::weight_matching::{Order, Precision, Start, WeightMatching, WeightMatchingParams};
use fusion_sdk::align::{Align, Candidate, FlatSource, Incoming, Matching, Vectors};
use fusion_sdk::alignment::Alignment;
use fusion_sdk::context::{Alone, Context};

use common::{Two, processor};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dims: Vec<usize> = arguments[0].split(',').map(|size| size.parse().unwrap()).collect();
    let noise: Option<f32> =
        arguments.get(2).filter(|noise| *noise != "-").map(|noise| noise.parse().unwrap());
    let alone = arguments.get(3).is_some_and(|threads| threads == "1");
    let symmetries = mlp::symmetries(&dims).unwrap();
    let (a, mut b) = (mlp::drawn(&dims, 1), mlp::drawn(&dims, 2));
    if let Some(noise) = noise {
        let mixed: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + noise * b).collect();
        let alignment = Alignment::random(&symmetries, 3);
        b = alignment.apply_flat(&symmetries, &symmetries, &mixed, &[]).unwrap().0;
    }
    if let Some(folder) = arguments.get(1).filter(|folder| !folder.is_empty()) {
        std::fs::create_dir_all(folder).unwrap();
        for (name, model) in [("a", &a), ("b", &b)] {
            let bytes: Vec<u8> = model.iter().flat_map(|value| value.to_le_bytes()).collect();
            std::fs::write(format!("{folder}/{name}.f32"), bytes).unwrap();
        }
    }
    let vectors = [&a, &b].map(|weights| Vectors { weights, statistics: &[] });
    let sources = vectors.map(|vectors| FlatSource::new(&symmetries, vectors));
    let models = [0, 1].map(|index| Candidate {
        name: ["a", "b"][index],
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
    let pass = WeightMatchingParams { start: Start::OnePass, ..one.clone() };
    let runs = [("default", default), ("one run from one pass", pass), ("one run from the identity", one)];
    for (name, params) in runs {
        let incoming = Incoming { reference: 1, from: 1, data: false };
        let method = WeightMatching::prepare(params, incoming).unwrap();
        let (clock, used) = (Instant::now(), processor());
        let rounds = 10;
        let mut facts = Vec::new();
        for _ in 0..rounds {
            let matching = Matching {
                models: &models,
                reference: true,
                target: &symmetries,
                features: None,
                objective: None,
                alignments: &[],
                seed: 0,
                context: if alone { Context::new(&Alone) } else { Context::new(&Two) },
            };
            facts = method.align(matching).unwrap().facts;
        }
        let each = f64::from(rounds);
        println!(
            "{name}: {:.3} s of clock, {:.3} s of processor; {facts:?}",
            clock.elapsed().as_secs_f64() / each,
            (processor() - used) / each
        );
    }
}
