//! A network with its data, as the loop sees it.

use std::sync::Arc;

use fusion_data::{BatchOptions, Batches, DataError, Dataset, Prefetch};
use fusion_network::{Flat, NetworkError, Norm, StepOptions};
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::rng::Key;
use fusion_sdk::{ErrorKind, MethodError, simd};

use crate::measure::MeasureError;
use crate::measure::metrics::Totals;
use crate::record::Collect;
use crate::shards::Shards;

use super::checkpoint::Resume;
use super::error::TrainError;
use super::frozen::Frozen;
use super::gradients::{Gradients, Score, StepLoss};
use super::params::TrainParams;
use super::session::{Setup, Trained, run};
use super::watch::Watch;

/// Weight of the newest batch in BatchNorm's running statistics, PyTorch's default.
const MOMENTUM: f32 = 0.1;
/// Examples of a batch in validation.
const VALIDATED: usize = 500;

/// A training of networks.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The settings.
    pub params: &'a TrainParams,
    /// What is recorded.
    pub collects: &'a [Collect],
    /// What does not learn, as the settings' `frozen` says; the networks may have been told of it (`Shards::freeze`).
    pub frozen: &'a Frozen,
    /// Examples to train on.
    pub data: &'a Arc<Dataset>,
    /// Examples to validate on.
    pub validate: Option<&'a Dataset>,
    /// Starts the draws of order, augmentation, mixup and dropout.
    pub seed: u64,
    /// Where checkpoints go.
    pub resume: Option<&'a Resume>,
    /// Who watches.
    pub watch: &'a dyn Watch,
}

/// Trains networks of one architecture, as many as [`TrainParams::replicas`] says, all from `start`.
///
/// Replica r > 0 draws from (seed, r), so that each sees the data in an order of its own.
///
/// # Errors
/// Those of [`run`]; the data does not suit the network.
pub fn train(networks: &mut [Shards], start: &Flat, job: &Job<'_>) -> Result<Trained, TrainError> {
    let mut learners = Vec::with_capacity(networks.len());
    for (index, network) in networks.iter_mut().enumerate() {
        let seed = match index {
            0 => job.seed,
            _ => Key::new(job.seed, "replica", index as u64).value(),
        };
        learners.push(Learner::new(network, job, seed)?);
    }
    // Hashing the data costs a pass over it: only where somebody asks for it.
    let identity = match job.resume {
        Some(_) => format!("seed {}, data {}", job.seed, hex(&job.data.fingerprint())),
        None => String::new(),
    };
    let setup = Setup {
        params: job.params,
        collects: job.collects,
        frozen: job.frozen,
        validated: job.validate.is_some(),
        identity: &identity,
        resume: job.resume,
        watch: job.watch,
    };
    run(&mut learners, start, &setup)
}

/// How the settings cut the data into batches.
pub(crate) fn batch_options(params: &TrainParams, seed: u64) -> BatchOptions {
    let common = &params.common;
    BatchOptions {
        size: common.batch,
        seed,
        shuffle: true,
        drop_last: common.drop_last,
        augment: true,
        mixup: (common.mixup > 0.0).then_some(common.mixup),
    }
}

/// A network with its batches.
struct Learner<'a> {
    network: &'a mut Shards,
    batches: Arc<Batches>,
    /// Starts with the first step, wherever that is.
    prefetch: Option<Prefetch>,
    label_smoothing: f32,
    seed: u64,
    validate: Option<&'a Dataset>,
}

impl<'a> Learner<'a> {
    fn new(network: &'a mut Shards, job: &Job<'a>, seed: u64) -> Result<Self, MethodError> {
        let batches = Batches::new(Arc::clone(job.data), batch_options(job.params, seed)).map_err(of_data)?;
        Ok(Learner {
            network,
            batches: Arc::new(batches),
            prefetch: None,
            label_smoothing: job.params.common.label_smoothing as f32,
            seed,
            validate: job.validate,
        })
    }
}

impl Gradients for Learner<'_> {
    fn len(&self) -> usize {
        self.network.network().len()
    }

    fn statistics_len(&self) -> usize {
        self.network.network().statistics_len()
    }

    fn steps_per_epoch(&self) -> u64 {
        self.batches.steps_per_epoch()
    }

    fn gradient(
        &mut self,
        step: u64,
        weights: &[f32],
        statistics: &mut [f32],
        gradient: &mut [f32],
    ) -> Result<StepLoss, MethodError> {
        let prefetch = self.prefetch.get_or_insert_with(|| Prefetch::new(Arc::clone(&self.batches), step));
        let batch = prefetch.get(step);
        let options = StepOptions {
            label_smoothing: self.label_smoothing,
            dropout_seed: Key::new(self.seed, "dropout", step).value(),
        };
        let found = self.network.gradient(weights, &batch, &options, gradient).map_err(of_network)?;
        let judged = !matches!(batch.targets, Targets::Numbers { .. });
        let samples = batch.len() as u64;
        prefetch.recycle(batch);
        follow(statistics, &found.batch_statistics);
        Ok(StepLoss {
            loss: found.loss,
            samples,
            correct: judged.then_some(found.correct as u64),
            answers: (found.predictions as u64).max(1),
        })
    }

    fn validate(&mut self, weights: &[f32], statistics: &[f32]) -> Result<Option<Score>, MethodError> {
        let Some(data) = self.validate else { return Ok(None) };
        let mut totals = Totals::default();
        let mut batch = empty();
        let indices: Vec<usize> = (0..data.len()).collect();
        for indices in indices.chunks(VALIDATED) {
            data.gather(indices, &mut batch);
            let outputs =
                self.network.outputs(weights, statistics, &batch, Norm::Running).map_err(of_network)?;
            totals = totals.plus(Totals::of(&outputs, &batch.targets).map_err(of_measure)?);
        }
        let score = totals.score();
        Ok(Some(Score { loss: score.loss, accuracy: score.accuracy }))
    }
}

/// PyTorch's rule: running ← 0.9·running + 0.1·batch.
fn follow(running: &mut [f32], batch: &[f32]) {
    simd(
        #[inline(always)]
        || {
            for (running, &batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - MOMENTUM) * *running + MOMENTUM * batch;
            }
        },
    );
}

/// A batch whose buffers wait to be filled.
pub(crate) fn empty() -> Batch {
    Batch { inputs: Values::Floats(Vec::new()), shape: Vec::new(), targets: Targets::Classes(Vec::new()) }
}

pub(crate) fn of_network(error: NetworkError) -> MethodError {
    MethodError::new(ErrorKind::Failed, error.to_string())
}

pub(crate) fn of_data(error: DataError) -> MethodError {
    MethodError::new(ErrorKind::Invalid, error.to_string())
}

fn of_measure(error: MeasureError) -> MethodError {
    match error {
        MeasureError::Method(error) => error,
        other => MethodError::new(ErrorKind::Failed, other.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
