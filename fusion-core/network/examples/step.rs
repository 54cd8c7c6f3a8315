//! Measures training steps: `cargo run --release -p fusion-network --example step [seconds per row]`.
//!
//! `gradient` is `Network::gradient` with a plain SGD update of the flat weights; `bare` is the usual burn loop on the same burn
//! modules' shapes (MLP only): module, autodiff, burn's SGD.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Int, Tensor, TensorData};
use fusion_network::{Architecture, Device, Network, Norm, StepOptions};
use fusion_sdk::batch::{Batch, Targets, Values};
use serde_json::{Value as Json, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn architecture(name: &str, arguments: Json) -> Architecture {
    Architecture::parse(name, arguments.as_object().unwrap()).unwrap()
}

fn batch(architecture: &Architecture, examples: usize) -> Batch {
    let shape: Vec<usize> = [examples].into_iter().chain(architecture.input().iter().copied()).collect();
    let len: usize = shape.iter().product();
    let key = fusion_sdk::rng::Key::new(1, "batch", 0);
    let inputs = Values::Floats((0..len as u64).map(|index| key.uniform(index)).collect());
    let classes = (0..examples).map(|example| (example % architecture.outputs()) as u32).collect();
    Batch { inputs, shape, targets: Targets::Classes(classes) }
}

/// Examples per second.
fn rate(examples: usize, time: Duration, mut step: impl FnMut()) -> f64 {
    (0..3).for_each(|_| step());
    let (start, mut steps) = (Instant::now(), 0);
    while start.elapsed() < time {
        step();
        steps += 1;
    }
    (steps * examples) as f64 / start.elapsed().as_secs_f64()
}

fn gradient(architecture: &Architecture, device: &Device, examples: usize, time: Duration) -> f64 {
    let mut network = Network::new(architecture, device).unwrap();
    let batch = batch(architecture, examples);
    let mut weights = network.flatten(&architecture.initial(1)).unwrap().weights;
    let mut gradient = vec![0.0; weights.len()];
    let options = StepOptions::default();
    rate(examples, time, || {
        network.gradient(&weights, &batch, &options, &mut gradient).unwrap();
        weights.iter_mut().zip(&gradient).for_each(|(weight, slope)| *weight -= 0.01 * slope);
    })
}

fn evaluation(architecture: &Architecture, device: &Device, examples: usize, time: Duration) -> f64 {
    let mut network = Network::new(architecture, device).unwrap();
    let batch = batch(architecture, examples);
    let flat = network.flatten(&architecture.initial(1)).unwrap();
    rate(examples, time, || {
        network.outputs(&flat.weights, &flat.statistics, &batch, Norm::Running).unwrap();
    })
}

#[derive(Module, Debug)]
struct Bare {
    layers: Vec<Linear>,
}

fn bare(device: &Device, examples: usize, time: Duration) -> f64 {
    let device = device.clone().autodiff();
    let widths = [784, 512, 512, 10];
    let linear = |pair: &[usize]| LinearConfig::new(pair[0], pair[1]).init(&device);
    let mut model = Some(Bare { layers: widths.windows(2).map(linear).collect() });
    let mut optimizer = SgdConfig::new().init();
    let data = batch(&architecture("mlp", json!({"0": 784, "1": [512, 512], "2": 10})), examples);
    let Values::Floats(values) = data.inputs else { return 0.0 };
    let classes: Vec<i32> = (0..examples as i32).map(|example| example % 10).collect();
    rate(examples, time, || {
        let module = model.take().unwrap();
        let mut x = Tensor::<2>::from_data(TensorData::new(values.clone(), [examples, 784]), &device);
        for (index, layer) in module.layers.iter().enumerate() {
            x = layer.forward(x);
            if index < 2 {
                x = relu(x);
            }
        }
        let targets = Tensor::<1, Int>::from_data(TensorData::new(classes.clone(), [examples]), &device);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(x, targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        let _: Vec<f32> = loss.into_data().try_into_vec().unwrap();
        model = Some(optimizer.step(0.01, module, gradients));
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let only = arguments.next().unwrap_or_default();
    let time = Duration::from_secs_f64(seconds);
    let flex = Device::flex();
    let mlp = architecture("mlp", json!({"0": 784, "1": [512, 512], "2": 10}));
    let small =
        json!({"input": [3, 32, 32], "channels": [16, 32, 64], "outputs": 10, "kernel": 3, "hidden": []});
    let (cnn, resnet) = (architecture("cnn", small), architecture("resnet", json!({"depth": 20})));
    let alone = |architecture: &Architecture, examples: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| gradient(architecture, &flex, examples, time))
    };
    let row = |name: &str, measure: &dyn Fn() -> f64| {
        if name.contains(&only) {
            println!("{name}: {:.0}/s", measure());
        }
    };
    for (name, architecture, examples) in [
        ("mlp 128", &mlp, 128),
        ("mlp 500", &mlp, 500),
        ("cnn 128", &cnn, 128),
        ("resnet20 128", &resnet, 128),
    ] {
        if name.starts_with("mlp") {
            row(&format!("{name} bare"), &|| bare(&flex, examples, time));
        }
        row(&format!("{name} gradient"), &|| gradient(architecture, &flex, examples, time));
        row(&format!("{name} one thread"), &|| alone(architecture, examples));
        row(&format!("{name} side by side, both together"), &|| {
            std::thread::scope(|scope| {
                let both = [0, 1].map(|_| scope.spawn(|| alone(architecture, examples)));
                both.map(|one| one.join().unwrap()).iter().sum()
            })
        });
        row(&format!("{name} evaluation"), &|| evaluation(architecture, &flex, examples, time));
    }
}
