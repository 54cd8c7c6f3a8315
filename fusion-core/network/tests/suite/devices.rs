//! The devices under test, and small batches.

use fusion_network::{Architecture, Device};
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::rng::Key;
use serde_json::{Map, Value as Json, json};

/// Every device that is built in, by name.
pub(crate) fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("flex", Device::flex())];
    #[allow(deprecated)]
    devices.push(("ndarray", Device::ndarray()));
    #[cfg(feature = "cuda")]
    devices.push(("cuda", Device::cuda(0_usize)));
    devices
}

/// `mlp` with `{"inputs": 3, …}`.
pub(crate) fn architecture(name: &str, arguments: Json) -> Architecture {
    let arguments: Map<String, Json> = arguments.as_object().cloned().unwrap_or_default();
    Architecture::parse(name, &arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// Standard normal inputs.
pub(crate) fn normal(seed: u64, len: usize) -> Vec<f32> {
    let key = Key::new(seed, "inputs", 0);
    (0..len as u64).map(|index| key.normal(index)).collect()
}

/// Classes below `classes`.
pub(crate) fn classes(seed: u64, len: usize, classes: usize) -> Vec<u32> {
    let key = Key::new(seed, "classes", 0);
    (0..len as u64).map(|index| key.bits(index) % classes as u32).collect()
}

/// A batch of numbers with classes.
pub(crate) fn numbers(seed: u64, examples: usize, shape: &[usize], outputs: usize) -> Batch {
    let full: Vec<usize> = [examples].into_iter().chain(shape.iter().copied()).collect();
    let len = full.iter().product();
    Batch {
        inputs: Values::Floats(normal(seed, len)),
        shape: full,
        targets: Targets::Classes(classes(seed, examples, outputs)),
    }
}

/// A batch of tokens with the next ones.
pub(crate) fn tokens(seed: u64, examples: usize, length: usize, vocabulary: usize) -> Batch {
    Batch {
        inputs: Values::Tokens(classes(seed + 1, examples * length, vocabulary)),
        shape: vec![examples, length],
        targets: Targets::Classes(classes(seed, examples * length, vocabulary)),
    }
}

/// One small network of every architecture and its kinds.
pub(crate) fn zoo() -> Vec<(Architecture, Batch)> {
    let image = |channels, height, width| numbers(1, 4, &[channels, height, width], 3);
    let mlp = |more: Json| {
        let mut arguments = json!({"inputs": 5, "hidden": [7, 6], "outputs": 3}).as_object().unwrap().clone();
        arguments.extend(more.as_object().unwrap().clone());
        (architecture("mlp", arguments.into()), numbers(1, 4, &[5], 3))
    };
    let cnn = json!({"input": [2, 6, 5], "channels": [3, 4], "outputs": 3, "kernel": 3, "hidden": [5], "norm": "batch"});
    let vgg = json!({"depth": 11, "classes": 3, "width": 0.05, "norm": "batch", "input": [1, 8, 8]});
    let resnet = |shortcut: &str| json!({"depth": 8, "classes": 3, "width": 0.2, "shortcut": shortcut, "input": [2, 8, 8]});
    let gpt = json!({"vocabulary": 7, "context": 5, "layers": 2, "dim": 8, "heads": 4, "hidden": 12});
    let llama = json!({"vocabulary": 7, "context": 5, "layers": 1, "dim": 8, "heads": 4, "kv_heads": 2,
        "positions": "rope", "activation": "swiglu", "norm": "rms", "tied": false, "bias": false});
    let vit = json!({"input": [2, 4, 6], "patch": 2, "classes": 3, "layers": 1, "dim": 8, "heads": 2, "hidden": 12});
    let language = json!({"vocabulary": 7, "context": 5, "hidden": 6, "layers": 2, "embedding": 4});
    let rows = json!({"input": [2, 5, 3], "hidden": 6, "outputs": 3});
    vec![
        mlp(json!({})),
        mlp(json!({"norm": "batch", "activation": "gelu"})),
        mlp(json!({"norm": "layer", "bias": false})),
        (architecture("cnn", cnn), image(2, 6, 5)),
        (architecture("vgg", vgg), image(1, 8, 8)),
        (architecture("resnet", resnet("projection")), image(2, 8, 8)),
        (architecture("resnet", resnet("zero_padded")), image(2, 8, 8)),
        (architecture("transformer", gpt), tokens(1, 3, 5, 7)),
        (architecture("transformer", llama), tokens(1, 3, 5, 7)),
        (architecture("vit", vit), image(2, 4, 6)),
        (architecture("lstm", language), tokens(1, 3, 5, 7)),
        (architecture("lstm", rows), image(2, 5, 3)),
    ]
}
