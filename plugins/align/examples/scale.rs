//! How long `weight_matching` takes, and how much memory, on descriptions of large networks whose values are made up as they are read.
//!
//! `cargo run --release -p fusion-align --example scale -- resnet50|llama1b|llama1b-2 [SWEEPS] [NOISE]`: the second model is the first one under as
//! much noise with its units in place (as two fine-tunings of one model are), or drawn alone without NOISE (the longest search). `llama1b-2` has
//! two layers of the sixteen.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures")]

mod common;

use std::fmt::Write;
use std::time::Instant;

use fusion_align::weight_matching::{Order, Precision, Start, WeightMatching, WeightMatchingParams};
use fusion_sdk::MethodError;
use fusion_sdk::align::{Align, Candidate, Incoming, Matching, Source};
use fusion_sdk::context::Context;
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::Symmetries;

use common::{Two, processor};

/// Values that are a function of the tensor and the element.
struct Drawn {
    own: u64,
    noise: Option<f32>,
}

impl Source for Drawn {
    fn read(&self, tensor: usize, start: usize, out: &mut [f32]) -> Result<(), MethodError> {
        let (base, own) = (Key::new(0, "base", tensor as u64), Key::new(self.own, "own", tensor as u64));
        for (at, value) in out.iter_mut().enumerate() {
            let index = (start + at) as u64;
            let draw = own.uniform(index) - 0.5;
            *value = match self.noise {
                Some(noise) => base.uniform(index) - 0.5 + noise * draw,
                None => draw,
            };
        }
        Ok(())
    }
}

fn llama1b(layers: usize) -> String {
    let mut text = String::from("node s[2048]\n");
    for layer in 0..layers {
        let _ = write!(
            text,
            "node kv{layer}[8]\nnode r{layer}[4] in kv{layer}\nnode dv{layer}[64] in kv{layer}\nnode f{layer}[8192]\n"
        );
    }
    text += "embed = pin[128256], both s\nnorm = s\n";
    for l in 0..layers {
        let _ = write!(
            text,
            "q{l} = kv{l} · r{l} · pin[64], reads s\nk{l} = kv{l} · pin[64], reads s\nv{l} = kv{l} · dv{l}, reads s\n\
             o{l} = s, reads kv{l} · r{l} · dv{l}\nn{l} = s\nm{l} = s\n\
             gate{l} = f{l}, reads s\nup{l} = f{l}, reads s\ndown{l} = s, reads f{l}\n"
        );
    }
    text
}

fn resnet50() -> String {
    let (mut nodes, mut tensors) =
        (String::from("node stem[64]\n"), String::from("conv1 = stem, pin[3], pin[7], pin[7]\nbn1 = stem\n"));
    let mut stream = "stem".to_owned();
    for (stage, (blocks, width)) in [(3, 64), (4, 128), (6, 256), (3, 512)].into_iter().enumerate() {
        let own = format!("s{stage}");
        let _ = writeln!(nodes, "node {own}[{}]", 4 * width);
        for block in 0..blocks {
            let name = format!("{stage}x{block}");
            let _ = write!(nodes, "node a{name}[{width}]\nnode b{name}[{width}]\n");
            let from = if block == 0 { &stream } else { &own };
            let _ = write!(
                tensors,
                "c1_{name} = a{name}, reads {from}, pin[1], pin[1]\nn1_{name} = a{name}\n\
                 c2_{name} = b{name}, reads a{name}, pin[3], pin[3]\nn2_{name} = b{name}\n\
                 c3_{name} = {own}, reads b{name}, pin[1], pin[1]\nn3_{name} = {own}\n"
            );
            if block == 0 {
                let _ =
                    write!(tensors, "down_{name} = {own}, reads {from}, pin[1], pin[1]\nnd_{name} = {own}\n");
            }
        }
        stream = own;
    }
    format!("{nodes}{tensors}fc = pin[1000], reads {stream}\n")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = match arguments[0].as_str() {
        "llama1b" => llama1b(16),
        "llama1b-2" => llama1b(2),
        _ => resnet50(),
    };
    let symmetries = Symmetries::parse(&text).unwrap();
    let values: usize =
        (0..symmetries.tensors.len()).map(|t| symmetries.shape(t).iter().product::<usize>()).sum();
    println!("{} nodes, {:.1} M values", symmetries.nodes.len(), values as f64 / 1e6);
    let noise = arguments.get(2).map(|noise| noise.parse().unwrap());
    let sources = [1, 2].map(|own| Drawn { own, noise });
    let models = [0, 1].map(|index| Candidate {
        name: ["a", "b"][index],
        symmetries: &symmetries,
        source: &sources[index],
        vectors: None,
    });
    let params = WeightMatchingParams {
        order: Order::Random,
        sweeps: arguments.get(1).map_or(100, |sweeps| sweeps.parse().unwrap()),
        restarts: None,
        start: Start::Best,
        precision: Precision::Single,
    };
    let incoming = Incoming { reference: 1, from: 1, data: false };
    let clock = Instant::now();
    let found = WeightMatching::prepare(params, incoming).unwrap().align(Matching {
        models: &models,
        reference: true,
        target: &symmetries,
        features: None,
        objective: None,
        alignments: &[],
        seed: 0,
        context: Context::new(&Two),
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{:?}", found.unwrap().facts);
    println!(
        "{:.0} s of clock, {:.0} s of processor, {}",
        clock.elapsed().as_secs_f64(),
        processor(),
        status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default()
    );
}
