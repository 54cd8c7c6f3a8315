//! Layers that burn-nn does not have in the form needed here, and what travels through a network besides tensors.

mod attention;
mod convolution;
#[cfg(feature = "flex")]
mod flex;
mod norm;
mod pooling;
mod recurrent;
mod taps;

use burn::tensor::{Int, Tensor, TensorData, activation};
use fusion_sdk::rng::{Key, threshold};

pub(crate) use attention::{BlockShape, TransformerBlock};
pub(crate) use convolution::convolve;
pub(crate) use norm::{BatchStatistic, Normalization};
pub(crate) use pooling::max_pool;
pub(crate) use recurrent::Recurrence;
pub(crate) use taps::{Action, List, Listed, Probe, Seen, Taps};

use crate::architecture::Activation;
use crate::network::Norm;

/// One row for each prediction.
pub(crate) type Outputs = Tensor<2>;

/// A batch on the device.
pub(crate) enum Input {
    /// [examples, features], with the shape of one example.
    Numbers(Tensor<2>, Vec<usize>),
    /// [examples, tokens]
    Tokens(Tensor<2, Int>),
}

impl Input {
    /// As rows of features.
    pub(crate) fn rows(self) -> Tensor<2> {
        match self {
            Input::Numbers(rows, _) => rows,
            // Checked before: networks of numbers never see tokens.
            Input::Tokens(tokens) => tokens.float(),
        }
    }

    /// As images [examples, channels, height, width].
    pub(crate) fn images(self) -> Tensor<4> {
        let shape = match &self {
            Input::Numbers(_, shape) => shape.clone(),
            Input::Tokens(_) => Vec::new(),
        };
        let rows = self.rows();
        let [examples, features] = rows.dims();
        match *shape.as_slice() {
            [channels, height, width] => rows.reshape([examples, channels, height, width]),
            [height, width] => rows.reshape([examples, 1, height, width]),
            _ => rows.reshape([examples, 1, 1, features]),
        }
    }

    /// As tokens.
    pub(crate) fn tokens(self) -> Tensor<2, Int> {
        match self {
            Input::Tokens(tokens) => tokens,
            // Checked before, as above.
            Input::Numbers(rows, _) => rows.int(),
        }
    }
}

/// A module that computes outputs.
pub(crate) trait Forward {
    /// The outputs of a batch, one row for each prediction.
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs;
}

/// What one run through a network takes and brings back.
pub(crate) struct Pass {
    /// What BatchNorm divides by.
    pub norm: Norm,
    /// Seed of dropout; `None` for no dropout.
    pub dropout: Option<u64>,
    /// Dropout layers so far.
    dropped: u64,
    /// Of BatchNorm layers, where they use the batch.
    pub statistics: Vec<BatchStatistic>,
    /// Outputs of hidden layers, if they are wanted.
    pub features: Option<Vec<(String, Tensor<2>)>>,
    /// What is done where units can be watched.
    pub taps: Taps,
}

impl Pass {
    /// A pass without dropout that keeps no features.
    pub(crate) fn new(norm: Norm) -> Pass {
        Pass { norm, dropout: None, dropped: 0, statistics: Vec::new(), features: None, taps: Taps::Off }
    }

    /// Drops elements with probability `p` and divides the rest by 1 − p (Srivastava et al., 2014). The mask depends on the
    /// seed, the number of the dropout layer in this pass, and the element.
    pub(crate) fn dropout<const D: usize>(&mut self, x: Tensor<D>, p: f64) -> Tensor<D> {
        let Some(seed) = self.dropout.filter(|_| p > 0.0) else { return x };
        let key = Key::new(seed, "dropout", self.dropped);
        self.dropped += 1;
        let (share, scale) = (threshold(p), (1.0 / (1.0 - p)) as f32);
        let shape = x.shape();
        let mask: Vec<f32> = (0..shape.num_elements() as u64)
            .map(|index| if key.below(index, share) { 0.0 } else { scale })
            .collect();
        let mask = Tensor::from_data(TensorData::new(mask, shape), &x.device());
        x * mask
    }

    /// Keeps the outputs of a hidden layer, [examples, width].
    pub(crate) fn feature(&mut self, x: &Tensor<2>, layer: impl FnOnce() -> String) {
        if let Some(features) = &mut self.features {
            features.push((layer(), x.clone()));
        }
    }

    /// Keeps the outputs of a hidden layer of images, averaged over positions.
    pub(crate) fn image_feature(&mut self, x: &Tensor<4>, layer: impl FnOnce() -> String) {
        if self.features.is_some() {
            let [examples, channels, height, width] = x.dims();
            let pooled = x.clone().reshape([examples, channels, height * width]).mean_dim(2);
            self.feature(&pooled.reshape([examples, channels]), layer);
        }
    }

    /// Keeps the outputs of a hidden layer of tokens, one row for each.
    pub(crate) fn token_feature(&mut self, x: &Tensor<3>, layer: impl FnOnce() -> String) {
        if self.features.is_some() {
            let [examples, length, width] = x.dims();
            self.feature(&x.clone().reshape([examples * length, width]), layer);
        }
    }

    /// Keeps the states of a recurrent layer: all of them, or the last one.
    pub(crate) fn sequence_feature(
        &mut self,
        states: &[Tensor<2>],
        all: bool,
        layer: impl FnOnce() -> String,
    ) {
        match states {
            [.., last] if !all => self.feature(last, layer),
            [_, ..] if self.features.is_some() => self.feature(&rows(states.to_vec()), layer),
            _ => {}
        }
    }
}

/// Applies an activation.
pub(crate) fn activate<const D: usize>(kind: Activation, x: Tensor<D>) -> Tensor<D> {
    match kind {
        Activation::Relu => activation::relu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::Tanh => activation::tanh(x),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::LeakyRelu => activation::leaky_relu(x, 0.01),
        Activation::Identity => x,
    }
}

/// Steps of [examples, width] as rows in the order (example, step).
pub(crate) fn rows(sequence: Vec<Tensor<2>>) -> Tensor<2> {
    let stacked: Tensor<3> = Tensor::stack(sequence, 1);
    let [examples, length, width] = stacked.dims();
    stacked.reshape([examples * length, width])
}
