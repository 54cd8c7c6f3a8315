//! Trainings as they are measured: the product's loop, the same steps without it, and the loop that burn's users write.
//!
//! [`CASES`] are the networks that the aims name; [`Training`] is one of them with data in memory; [`clock`] measures several side by
//! side. `benches/peers/train_pytorch.py` has the same cases by the same names.

mod burn_loop;
pub mod clock;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fusion_data::{BatchOptions, Batches, Dataset, buffer};
use fusion_learn::record::Collect;
use fusion_learn::shards::Shards;
use fusion_learn::train::{Frozen, Job, Quiet, TrainParams, Trained, train};
use fusion_network::{Architecture, Device, Flat, Network, StepOptions};
use fusion_sdk::batch::Batch;
use fusion_sdk::optim::Optimizer;
use fusion_sdk::rng::Key;
use serde_json::{Map, Value as Json, json};

/// Start of all draws.
const SEED: u64 = 1;
/// Small enough for noise to be trained on for any number of steps.
const RATE: f64 = 1e-3;
const MOMENTUM: f32 = 0.9;

/// A network, the images that it reads and the size of its batches.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// As `train_rate` and `train_pytorch.py` call it.
    pub name: &'static str,
    /// Examples of a step.
    pub batch: usize,
    architecture: &'static str,
    /// JSON.
    arguments: &'static str,
    /// [channels, height, width]
    image: [usize; 3],
}

const MLP: &str = r#"{ "inputs": 784, "hidden": [512, 512], "outputs": 10 }"#;
const CNN: &str =
    r#"{ "input": [3, 32, 32], "channels": [16, 32, 64], "outputs": 10, "kernel": 3, "hidden": [] }"#;
const RESNET: &str = r#"{ "depth": 20, "classes": 10 }"#;

/// What is measured: images of MNIST's shape for the MLP, of CIFAR-10's for the others.
pub const CASES: [Case; 4] = [
    Case { name: "mlp-128", batch: 128, architecture: "mlp", arguments: MLP, image: [1, 28, 28] },
    Case { name: "mlp-500", batch: 500, architecture: "mlp", arguments: MLP, image: [1, 28, 28] },
    Case { name: "cnn-128", batch: 128, architecture: "cnn", arguments: CNN, image: [3, 32, 32] },
    Case { name: "resnet20-128", batch: 128, architecture: "resnet", arguments: RESNET, image: [3, 32, 32] },
];

/// A case with its data.
pub struct Training {
    case: Case,
    architecture: Architecture,
    data: Arc<Dataset>,
    start: Flat,
}

impl Training {
    /// With `examples` images of random bytes, which cost what real ones cost.
    ///
    /// # Errors
    /// The case is not what its architecture wants.
    pub fn new(case: Case, examples: usize) -> Result<Self> {
        let arguments: Map<String, Json> = serde_json::from_str(case.arguments)?;
        let architecture = Architecture::parse(case.architecture, &arguments)?;
        let key = Key::new(SEED, "benches.train", 0);
        let words = (examples * case.image.iter().product::<usize>()).div_ceil(4) as u64;
        let mut bytes: Vec<u8> = (0..words).flat_map(|word| key.bits(word).to_le_bytes()).collect();
        bytes.truncate(examples * case.image.iter().product::<usize>());
        let labels = (0..examples).map(|index| (index % 10) as u32).collect();
        let data = Arc::new(Dataset::of_images(bytes, case.image, labels, 10)?);
        let network = Network::new(&architecture, &Device::flex())?;
        let start = network.flatten(&architecture.initial(SEED))?;
        Ok(Training { case, architecture, data, start })
    }

    /// The settings of a training of `steps` steps: SGD with momentum, and `more` of the product's own settings (`shards`, `clip`, …).
    ///
    /// # Errors
    /// There is no such setting.
    pub fn params(&self, steps: u64, more: &Map<String, Json>) -> Result<TrainParams> {
        let mut settings = json!({
            "epochs": { "value": steps, "unit": "step" }, "batch": self.case.batch, "rate": RATE, "momentum": MOMENTUM,
        });
        settings.as_object_mut().context("an object")?.extend(more.clone());
        Ok(TrainParams::read("sgd", settings.as_object().context("an object")?)?)
    }

    /// A network for [`Training::train`]: `shards` parts of a batch on at most `threads` threads.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn sharded(&self, shards: usize, threads: usize) -> Result<Shards> {
        Ok(Shards::new(&self.architecture, &Device::flex(), shards, threads)?)
    }

    /// A network for [`Training::bare`].
    ///
    /// # Errors
    /// The device fails.
    pub fn network(&self) -> Result<Network> {
        Ok(Network::new(&self.architecture, &Device::flex())?)
    }

    /// Batches `0..count` of the product's loop.
    ///
    /// # Errors
    /// There are no data.
    pub fn batches(&self, count: u64) -> Result<Vec<Batch>> {
        let options = BatchOptions { size: self.case.batch, seed: SEED, ..BatchOptions::default() };
        let batches = Batches::new(Arc::clone(&self.data), options)?;
        let make = |step| {
            let mut batch = buffer();
            batches.batch(step, &mut batch);
            batch
        };
        Ok((0..count).map(make).collect())
    }

    /// The product's loop: batches made ahead on a thread of their own, metrics, history, progress, recorders.
    ///
    /// # Errors
    /// Those of [`train`].
    pub fn train(&self, network: &mut Shards, params: &TrainParams, collects: &[Collect]) -> Result<Trained> {
        let job = Job {
            params,
            collects,
            frozen: &Frozen::default(),
            data: &self.data,
            validate: None,
            seed: SEED,
            resume: None,
            watch: &Quiet,
        };
        Ok(train(std::slice::from_mut(network), &self.start, &job)?)
    }

    /// The steps alone: gradients and updates on batches that lie ready, again from the first one after the last. Returns the weights,
    /// which are those of [`Training::train`] with one shard on the same batches.
    ///
    /// # Errors
    /// The device fails, or there are no batches.
    pub fn bare(&self, network: &mut Network, batches: &[Batch], steps: u64) -> Result<Vec<f32>> {
        ensure!(!batches.is_empty(), "there are no batches");
        let mut weights = self.start.weights.clone();
        let mut gradient = vec![0.0; weights.len()];
        let mut optimizer = Optimizer::new(self.params(1, &Map::new())?.rule, weights.len());
        for step in 0..steps {
            let batch = &batches[(step % batches.len() as u64) as usize];
            network.gradient(&weights, batch, &StepOptions::default(), &mut gradient)?;
            optimizer.step(RATE, &mut weights, &gradient);
        }
        Ok(weights)
    }

    /// The loop of burn's book on the same batches, with burn's modules, loss and optimiser; `None` where it is not written down: for all
    /// but the MLP. Returns the last loss.
    ///
    /// # Errors
    /// A batch is not one of images and classes.
    pub fn burn(&self, batches: &[Batch], steps: u64) -> Result<Option<f64>> {
        match self.case.architecture {
            "mlp" => burn_loop::run(batches, steps, RATE, f64::from(MOMENTUM)).map(Some),
            _ => Ok(None),
        }
    }
}
