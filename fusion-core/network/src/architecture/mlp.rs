//! `mlp`: fully connected layers.
//!
//! In PyTorch: two lists, `layers` of `nn.Linear` and, with normalisation, `norms` of `nn.BatchNorm1d` or `nn.LayerNorm`; each
//! hidden layer computes dropout(activation(norm(linear(x)))), the last one only linear(x). Inputs of more dimensions are
//! flattened.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use fusion_sdk::{MethodError, Params};

use super::Design;
use super::words::{Activation, NormKind};
use crate::layers::{Forward, Input, Normalization, Outputs, Pass, activate};

/// Arguments of `mlp`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct Mlp {
    /// numbers of an example
    #[param(range = 1..)]
    pub inputs: usize,
    /// widths of the hidden layers; none for a linear model
    #[param(range = 1..)]
    pub hidden: Vec<usize>,
    /// numbers of a prediction, for instance classes
    #[param(range = 1..)]
    pub outputs: usize,
    /// activation of hidden layers
    #[param(default = Activation::Relu)]
    pub activation: Activation,
    /// whether linear layers have a bias
    #[param(default = true)]
    pub bias: bool,
    /// normalisation in front of the activation
    #[param(default = NormKind::None)]
    pub norm: NormKind,
    /// share of hidden units that are dropped in training
    #[param(unit = fraction, range = 0..=0.99, default = 0.0)]
    pub dropout: f64,
}

/// The module of [`Mlp`].
#[derive(Module, Debug)]
pub(crate) struct MlpModel {
    layers: Vec<Linear>,
    norms: Vec<Normalization>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    dropout: f64,
}

impl Design for Mlp {
    type Model = MlpModel;
    const NAME: &'static str = "mlp";
    const SUMMARY: &'static str = "Fully connected layers of any widths.";
    const CITATION: &'static str =
        "Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, 1986";
    const TENSORS: &'static str = "`layers.N` (`nn.Linear`) and, with normalisation, `norms.N` (`nn.BatchNorm1d` or `nn.LayerNorm`): dropout(activation(norm(linear(x)))) for hidden layers, linear(x) for the last.";
    const POSITIONAL: &'static [&'static str] = &["inputs", "hidden", "outputs"];

    fn check_together(&self) -> Result<(), MethodError> {
        Ok(())
    }

    fn build(&self, device: &Device) -> MlpModel {
        let widths: Vec<usize> =
            [self.inputs].into_iter().chain(self.hidden.iter().copied()).chain([self.outputs]).collect();
        let linear = |pair: &[usize]| LinearConfig::new(pair[0], pair[1]).with_bias(self.bias).init(device);
        MlpModel {
            layers: widths.windows(2).map(linear).collect(),
            norms: self
                .hidden
                .iter()
                .filter_map(|&width| Normalization::of(self.norm, width, device))
                .collect(),
            activation: self.activation,
            dropout: self.dropout,
        }
    }

    fn input(&self) -> Vec<usize> {
        vec![self.inputs]
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn layer(&self, name: &str) -> String {
        let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
        module.replace("norms.", "layers.")
    }
}

impl Forward for MlpModel {
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
        let mut x = input.rows();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if index + 1 == self.layers.len() {
                break;
            }
            let norm = self.norms.get(index);
            x = pass.before(x, norm, || format!("layers.{index}"));
            if let Some(norm) = norm {
                x = norm.forward(x, pass);
            }
            x = activate(self.activation, x);
            pass.feature(&x, || format!("layers.{index}"));
            pass.after(&x, || format!("layers.{index}"));
            x = pass.dropout(x, self.dropout);
        }
        x
    }
}
