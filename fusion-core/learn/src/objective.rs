//! A network with its data as a function of flat weights: what methods that look for paths are given.

use std::sync::Arc;

use fusion_data::{BatchOptions, Batches, Dataset, Prefetch};
use fusion_network::{Norm, StepOptions};
use fusion_sdk::objective::{Objective, Segment};
use fusion_sdk::rng::Key;
use fusion_sdk::{ErrorKind, MethodError};

use crate::measure::metrics::Totals;
use crate::shards::Shards;
use crate::train::{empty, of_data, of_network};

/// A network and training data. Losses carry no decay of weights; batches come in a seeded order with the augmentation of the data set.
pub struct NetworkObjective<'a> {
    network: &'a mut Shards,
    batches: Arc<Batches>,
    prefetch: Option<Prefetch>,
    label_smoothing: f32,
    seed: u64,
}

impl<'a> NetworkObjective<'a> {
    /// An objective over `data`, cut as `options` say. `label_smoothing` is part of the loss.
    ///
    /// # Errors
    /// If the data cannot be cut so.
    pub fn new(
        network: &'a mut Shards,
        data: &Arc<Dataset>,
        options: BatchOptions,
        label_smoothing: f32,
    ) -> Result<Self, MethodError> {
        let seed = options.seed;
        let batches = Arc::new(Batches::new(Arc::clone(data), options).map_err(of_data)?);
        Ok(NetworkObjective { network, batches, prefetch: None, label_smoothing, seed })
    }
}

impl Objective for NetworkObjective<'_> {
    fn segments(&self) -> &[Segment] {
        self.network.segments()
    }

    fn steps_per_epoch(&self) -> u64 {
        self.batches.steps_per_epoch()
    }

    fn reorder(&mut self, seed: u64) {
        let options = BatchOptions { seed, ..self.batches.options().clone() };
        // The options were accepted before; the seed cannot make them worse.
        if let Ok(batches) = Batches::new(Arc::clone(self.batches.data()), options) {
            self.batches = Arc::new(batches);
            self.prefetch = None;
            self.seed = seed;
        }
    }

    fn gradient(&mut self, step: u64, weights: &[f32], gradient: &mut [f32]) -> Result<f64, MethodError> {
        let prefetch = self.prefetch.get_or_insert_with(|| Prefetch::new(Arc::clone(&self.batches), step));
        let batch = prefetch.get(step);
        let options = StepOptions {
            label_smoothing: self.label_smoothing,
            dropout_seed: Key::new(self.seed, "dropout", step).value(),
        };
        let found = self.network.gradient(weights, &batch, &options, gradient).map_err(of_network)?;
        prefetch.recycle(batch);
        Ok(found.loss)
    }

    /// Over examples in the data's order, without augmentation, mixup, dropout and label smoothing. A last batch of one example is left
    /// out where the network has BatchNorm, since it has no variance.
    fn loss(&mut self, weights: &[f32], batches: Option<u64>) -> Result<f64, MethodError> {
        let data = Arc::clone(self.batches.data());
        let size = self.batches.options().size;
        let normed = self.network.network().statistics_len() > 0;
        let statistics = vec![0.0; self.network.network().statistics_len()];
        let most = usize::try_from(batches.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let indices: Vec<usize> = (0..data.len()).collect();
        let (mut totals, mut batch) = (Totals::default(), empty());
        for indices in indices.chunks(size).take(most).filter(|indices| !normed || indices.len() > 1) {
            data.gather(indices, &mut batch);
            let outputs =
                self.network.outputs(weights, &statistics, &batch, Norm::Batch).map_err(of_network)?;
            let found = Totals::of(&outputs, &batch.targets);
            totals =
                totals.plus(found.map_err(|error| MethodError::new(ErrorKind::Failed, error.to_string()))?);
        }
        Ok(totals.score().loss)
    }
}
