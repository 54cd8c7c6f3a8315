//! A made-up MLP: the same for the program that measures and for the benchmark.

use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::Symmetries;

/// Nodes between linear layers; weights are [in, out].
pub(crate) fn symmetries(dims: &[usize]) -> Option<Symmetries> {
    let (mut text, last) = (String::new(), dims.len().checked_sub(2)?);
    for (layer, size) in dims[1..=last].iter().enumerate() {
        text += &format!("node h{layer}[{size}]\n");
    }
    for layer in 0..=last {
        let out = if layer == last { format!("pin[{}]", dims[layer + 1]) } else { format!("h{layer}") };
        let into = if layer == 0 { format!("pin[{}]", dims[0]) } else { format!("h{}", layer - 1) };
        text += &format!("w{layer} = reads {into}, {out}\nb{layer} = {out}\n");
    }
    Symmetries::parse(&text).ok()
}

/// Flat weights after He, biases 0.
pub(crate) fn drawn(dims: &[usize], seed: u64) -> Vec<f32> {
    let mut weights = Vec::new();
    for (layer, pair) in dims.windows(2).enumerate() {
        let key = Key::new(seed, "w", layer as u64);
        let scale = (2.0 / pair[0] as f32).sqrt();
        weights.extend((0..pair[0] * pair[1]).map(|at| scale * key.normal(at as u64)));
        weights.extend((0..pair[1]).map(|_| 0.0));
    }
    weights
}
