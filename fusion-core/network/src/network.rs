//! An architecture on a device: losses, gradients, outputs and statistics as pure functions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, Int, Tensor, TensorData};
use fusion_sdk::batch::{Batch, Values};
use fusion_sdk::objective::Segment;

use crate::architecture::{Architecture, Model};
use crate::check;
use crate::error::{NetworkError, StateError};
use crate::graph::{self, CapturedNetwork};
use crate::layers::{BatchStatistic, Input, Pass};
use crate::layout::{Layout, Part};
use crate::load;
use crate::loss;
use crate::state::{Flat, State};

/// What BatchNorm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// The running statistics, as in evaluation.
    Running,
    /// Those of the batch, as in training.
    Batch,
}

/// Settings of one training step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepOptions {
    /// Share of the target that all classes get, 0 to 1 (not 1). Squared errors ignore it.
    pub label_smoothing: f32,
    /// What dropout masks are drawn from; networks without dropout ignore it. Give every step another one.
    pub dropout_seed: u64,
}

/// What a training step finds besides the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Mean loss over predictions, label smoothing included; NaN where outputs are NaN.
    pub loss: f64,
    /// Predictions whose largest output is the right class; 0 for numbers as targets.
    pub correct: usize,
    /// Predictions: examples, or tokens for language models.
    pub predictions: usize,
    /// Mean and unbiased variance of this batch for every BatchNorm layer, laid out like the statistics; empty without BatchNorm.
    pub batch_statistics: Vec<f32>,
}

/// Outputs of a hidden layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Name of the layer that they come from.
    pub layer: String,
    /// Units.
    pub width: usize,
    /// Row-major, one row for each example (for each token in language models).
    pub values: Vec<f32>,
}

/// An architecture on a device.
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    device: Device,
    training: Device,
    /// Without values.
    model: Model,
    layout: Layout,
}

impl Network {
    /// Prepares a network. It holds no values; they come with every call.
    ///
    /// # Errors
    /// If the device cannot be used.
    pub fn new(architecture: &Architecture, device: &Device) -> Result<Network, NetworkError> {
        contained(|| {
            let device = device.clone().without_autodiff();
            let (model, layout) = architecture.build(&device);
            let training = device.clone().autodiff();
            Ok(Network { architecture: architecture.clone(), device, training, model, layout })
        })
    }

    /// What it computes.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Trainable tensors, in the order of the flat weights. Matrices lie there as [in, out], the transpose of the file.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.layout.segments
    }

    /// Length of the flat weights.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout.weights
    }

    /// Whether there is nothing to train.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the flat statistics.
    #[must_use]
    pub fn statistics_len(&self) -> usize {
        self.layout.statistics
    }

    /// Names of the running statistics and where they lie in the flat statistics; empty without BatchNorm.
    pub fn statistics(&self) -> impl Iterator<Item = (&str, std::ops::Range<usize>)> {
        let slots = self.layout.slots.iter().filter(|slot| slot.part == Part::Statistics);
        slots.map(|slot| (slot.name.as_str(), slot.range()))
    }

    /// From now on tensors with these names have a gradient of zeros, which costs nothing; layers before the first that learns cost no way
    /// back. Names of no weights are passed over. Without one that learns [`Network::gradient`] fails.
    pub fn freeze(&mut self, frozen: impl Fn(&str) -> bool) {
        for slot in &mut self.layout.slots {
            slot.frozen = slot.part == Part::Weights && frozen(&slot.name);
        }
    }

    /// Puts a state into flat vectors, bit by bit. Counters are left out: see [`State::batches_tracked`].
    ///
    /// # Errors
    /// If the state belongs to another architecture.
    pub fn flatten(&self, state: &State) -> Result<Flat, StateError> {
        state.flatten(&self.layout)
    }

    /// The inverse of [`Network::flatten`]; every counter gets `batches_tracked`.
    ///
    /// # Errors
    /// If the vectors have another length.
    pub fn unflatten(&self, flat: &Flat, batches_tracked: i64) -> Result<State, StateError> {
        State::unflatten(&self.layout, flat, batches_tracked)
    }

    /// The mean loss of a batch and its gradient by the weights, in training mode: BatchNorm uses the batch, dropout draws from
    /// the seed. Overwrites `gradient`.
    ///
    /// # Errors
    /// If a length does not fit, the batch does not suit the network, or the device fails.
    pub fn gradient(
        &mut self,
        weights: &[f32],
        batch: &Batch,
        options: &StepOptions,
        gradient: &mut [f32],
    ) -> Result<Step, NetworkError> {
        check::length("weights", weights.len(), self.layout.weights)?;
        check::length("gradient", gradient.len(), self.layout.weights)?;
        if !(0.0..1.0).contains(&options.label_smoothing) {
            return Err(NetworkError::Option {
                option: "label_smoothing",
                wanted: "be at least 0 and below 1",
                found: options.label_smoothing.to_string(),
            });
        }
        let predictions = check::batch(&self.architecture, batch, Norm::Batch)?;
        let outputs = self.architecture.outputs();
        loss::check(&batch.targets, predictions, outputs)?;
        contained(|| {
            let model = self.loaded(weights, None, &self.training);
            let mut pass = Pass::new(Norm::Batch);
            pass.dropout = Some(options.dropout_seed);
            let output = model.forward(self.input(batch, &self.training), &mut pass);
            let shape = output.shape();
            let values = load::floats(output.clone().inner()).map_err(device_error)?;
            let loss = loss::loss(&values, outputs, &batch.targets, options.label_smoothing);
            // d(Σ output·c) = Σ c·d(output) with c = ∂loss/∂output: the gradient of the loss without its kernels.
            let slope = Tensor::<2>::from_data(TensorData::new(loss.derivative, shape), &self.training);
            let gradients = (output * slope).sum().backward();
            load::gather(&model, &self.layout.slots, gradients, gradient).map_err(device_error)?;
            let batch_statistics = self.statistics_of(pass.statistics)?;
            Ok(Step { loss: loss.value, correct: loss.correct, predictions, batch_statistics })
        })
    }

    /// The outputs (logits) of a batch, row-major, without dropout. Targets play no part.
    ///
    /// # Errors
    /// As for [`Network::gradient`].
    pub fn outputs(
        &mut self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
        norm: Norm,
    ) -> Result<Vec<f32>, NetworkError> {
        self.evaluate(weights, statistics, batch, Pass::new(norm)).map(|(outputs, _)| outputs)
    }

    /// Mean and unbiased variance of a batch for every BatchNorm layer, all layers normalised with the batch, without dropout.
    ///
    /// # Errors
    /// As for [`Network::gradient`].
    pub fn batch_statistics(&mut self, weights: &[f32], batch: &Batch) -> Result<Vec<f32>, NetworkError> {
        if self.layout.statistics == 0 {
            check::length("weights", weights.len(), self.layout.weights)?;
            check::batch(&self.architecture, batch, Norm::Batch)?;
            return Ok(Vec::new());
        }
        let statistics = vec![0.0; self.layout.statistics];
        let (_, pass) = self.evaluate(weights, &statistics, batch, Pass::new(Norm::Batch))?;
        contained(|| self.statistics_of(pass.statistics))
    }

    /// Outputs of every hidden layer behind its activation, with running statistics; those of images are averaged over positions.
    ///
    /// # Errors
    /// As for [`Network::gradient`].
    pub fn features(
        &mut self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
    ) -> Result<Vec<Feature>, NetworkError> {
        let mut pass = Pass::new(Norm::Running);
        pass.features = Some(Vec::new());
        let (_, pass) = self.evaluate(weights, statistics, batch, pass)?;
        contained(|| {
            let read = |(layer, tensor): (String, Tensor<2>)| {
                let [_, width] = tensor.dims();
                let values = load::floats(tensor).map_err(device_error)?;
                Ok(Feature { layer, width, values })
            };
            pass.features.unwrap_or_default().into_iter().map(read).collect()
        })
    }

    /// The network's graph of operations in evaluation mode, recorded without computing anything.
    ///
    /// # Errors
    /// If burn cannot record it.
    pub fn graph(&self) -> Result<CapturedNetwork, NetworkError> {
        contained(|| graph::capture(&self.architecture))
    }

    /// Where the tensors lie.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A run without gradients.
    pub(crate) fn evaluate(
        &self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
        mut pass: Pass,
    ) -> Result<(Vec<f32>, Pass), NetworkError> {
        check::length("weights", weights.len(), self.layout.weights)?;
        check::length("statistics", statistics.len(), self.layout.statistics)?;
        check::batch(&self.architecture, batch, pass.norm)?;
        contained(|| {
            let model = self.loaded(weights, Some(statistics), &self.device);
            let output = model.forward(self.input(batch, &self.device), &mut pass);
            Ok((load::floats(output).map_err(device_error)?, pass))
        })
    }

    fn loaded(&self, weights: &[f32], statistics: Option<&[f32]>, device: &Device) -> Model {
        load::load(self.model.clone(), &self.layout.slots, weights, statistics, device)
    }

    /// The batch on a device; it has been checked.
    fn input(&self, batch: &Batch, device: &Device) -> Input {
        let examples = batch.len();
        let features = batch.shape[1..].iter().product();
        match &batch.inputs {
            Values::Floats(values) => {
                let rows = TensorData::new(values.clone(), [examples, features]);
                Input::Numbers(Tensor::from_data(rows, device), self.architecture.input().to_vec())
            }
            Values::Tokens(tokens) => {
                let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
                Input::Tokens(Tensor::<2, Int>::from_data(TensorData::new(ids, [examples, features]), device))
            }
        }
    }

    /// The statistics of a pass in flat order.
    fn statistics_of(&self, found: Vec<BatchStatistic>) -> Result<Vec<f32>, NetworkError> {
        let mut flat = vec![0.0; self.layout.statistics];
        for layer in found {
            let Some(slot) = self.layout.slots.iter().find(|slot| slot.id == layer.id) else { continue };
            if layer.count < 2 {
                return Err(NetworkError::BatchTooSmall);
            }
            let mean = load::floats(layer.mean.inner()).map_err(device_error)?;
            let variance = load::floats(layer.variance.inner()).map_err(device_error)?;
            let unbiased = layer.count as f64 / (layer.count as f64 - 1.0);
            let (start, middle, end) = (slot.start, slot.start + slot.len, slot.start + 2 * slot.len);
            flat[start..middle].copy_from_slice(&mean);
            for (target, value) in flat[middle..end].iter_mut().zip(variance) {
                *target = (f64::from(value) * unbiased) as f32;
            }
        }
        Ok(flat)
    }
}

pub(crate) fn device_error(message: String) -> NetworkError {
    NetworkError::Device { message }
}

/// Turns a panic of burn into an error. What is checked before does not come here; a device that runs out of memory does.
pub(crate) fn contained<R>(body: impl FnOnce() -> Result<R, NetworkError>) -> Result<R, NetworkError> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(device_error(text.to_owned()))
    })
}
