//! The devices under test, and small batches.

use fusion_network::{Architecture, Device};
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::rng::Key;
use serde_json::{Map, Value as Json};

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
