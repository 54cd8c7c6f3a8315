//! Inputs of the notes' oracles, for tests: the integer generator, chains of linear layers, planted permutations.

use std::sync::atomic::{AtomicUsize, Ordering};

use fusion_sdk::align::Candidate;
use fusion_sdk::context::Host;
use fusion_sdk::symmetry::Symmetries;

use crate::held::Held;
use crate::state::State;

/// SplitMix64 of the notes (the increment is added first).
fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// U(seed, n): uniform in [−1, 1).
pub(crate) fn uniform(seed: u64, n: usize) -> Vec<f64> {
    let unit = |i: u64| (splitmix64((seed << 32) + i) >> 11) as f64 / (1_u64 << 53) as f64;
    (0..n as u64).map(|i| 2.0 * unit(i) - 1.0).collect()
}

/// params(seed, dims): weights [out, in] and bias of each layer.
pub(crate) fn params(seed: u64, dims: &[usize]) -> Held {
    let layers = dims.windows(2).enumerate();
    let tensors = layers.flat_map(|(layer, pair)| {
        let at = 100 * seed + 2 * layer as u64;
        [uniform(at, pair[1] * pair[0]), uniform(at + 1, pair[1])]
    });
    Held { tensors: tensors.collect() }
}

/// A chain of linear layers with nodes h0, h1, …; input and output are pinned.
pub(crate) fn chain(dims: &[usize]) -> Symmetries {
    let (mut text, last) = (String::new(), dims.len() - 2);
    for (layer, size) in dims[1..=last].iter().enumerate() {
        text += &format!("node h{layer}[{size}]\n");
    }
    for layer in 0..=last {
        let out = if layer == last { format!("pin[{}]", dims[layer + 1]) } else { format!("h{layer}") };
        let into = if layer == 0 { format!("pin[{}]", dims[0]) } else { format!("h{}", layer - 1) };
        text += &format!("w{layer} = {out}, reads {into}\nb{layer} = {out}\n");
    }
    Symmetries::parse(&text).unwrap()
}

/// Values for all tensors of some symmetries, a function of the seed.
pub(crate) fn values(symmetries: &Symmetries, seed: u64) -> Held {
    let each = (0..symmetries.tensors.len()).map(|tensor| {
        let elements = symmetries.shape(tensor).iter().product();
        uniform(1000 * seed + tensor as u64, elements)
    });
    Held { tensors: each.collect() }
}

/// A model with its units where a state says. Values stay exact.
pub(crate) fn moved(symmetries: &Symmetries, held: &Held, state: &State) -> Held {
    let alignment = state.alignment(symmetries, symmetries);
    let each = held.tensors.iter().enumerate().map(|(tensor, values)| {
        let mut out = vec![0.0; values.len()];
        alignment.gather(symmetries, tensor).unwrap().runs(|target, source, length| {
            out[target..target + length].copy_from_slice(&values[source..source + length]);
        });
        out
    });
    Held { tensors: each.collect() }
}

/// A model as a candidate, without vectors.
pub(crate) fn candidate<'a>(name: &'a str, symmetries: &'a Symmetries, held: &'a Held) -> Candidate<'a> {
    Candidate { name, symmetries, source: held, vectors: None }
}

/// A host of four threads, which take indices from the last on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads;

impl Host for Threads {
    fn cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..n.min(4) {
                scope.spawn(|| {
                    while let Some(index) = n.checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
                        body(index);
                    }
                });
            }
        });
    }
}
