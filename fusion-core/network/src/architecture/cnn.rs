//! `cnn`: a small convolutional network in the manner of LeNet.
//!
//! In PyTorch: lists `convs` of `nn.Conv2d`, `norms` of `nn.BatchNorm2d` (or a LayerNorm over channels at each position), `layers`
//! of `nn.Linear`. Each convolution is followed by normalisation, activation and max pooling; then come linear layers with the
//! activation between them, on the image flattened as [channel, row, column].

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Device;
use fusion_sdk::{MethodError, Params};

use super::words::{Activation, NormKind};
use super::{Design, sizes};
use crate::layers::{Forward, Input, Normalization, Outputs, Pass, activate, convolve, max_pool};

/// Arguments of `cnn`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct Cnn {
    /// image: [channels, height, width]
    #[param(range = 1..)]
    pub input: Vec<usize>,
    /// channels behind each convolution
    #[param(range = 1..)]
    pub channels: Vec<usize>,
    /// numbers of a prediction, for instance classes
    #[param(range = 1..)]
    pub outputs: usize,
    /// height and width of the kernels
    #[param(range = 1..=31, default = 5)]
    pub kernel: usize,
    /// zeros around the image in front of each convolution (default: half the kernel, which keeps the size for odd kernels)
    #[param(range = 0..=31)]
    pub padding: Option<usize>,
    /// max pooling behind each convolution: height, width and stride; 1 for none
    #[param(range = 1..=32, default = 2)]
    pub pool: usize,
    /// widths of the linear layers in front of the last one
    #[param(range = 1.., default = vec![128])]
    pub hidden: Vec<usize>,
    /// activation of hidden layers
    #[param(default = Activation::Relu)]
    pub activation: Activation,
    /// normalisation behind convolutions
    #[param(default = NormKind::None)]
    pub norm: NormKind,
    /// share of hidden units of linear layers that are dropped in training
    #[param(unit = fraction, range = 0..=0.99, default = 0.0)]
    pub dropout: f64,
}

impl Cnn {
    fn padding(&self) -> usize {
        self.padding.unwrap_or(self.kernel / 2)
    }

    /// Height or width behind all convolutions.
    fn end(&self, length: usize) -> Option<usize> {
        self.channels.iter().try_fold(length, |length, _| {
            let convolved = sizes::behind(length, self.kernel, 1, self.padding())?;
            sizes::behind(convolved, self.pool, self.pool, 0)
        })
    }
}

/// The module of [`Cnn`].
#[derive(Module, Debug)]
pub(crate) struct CnnModel {
    convs: Vec<Conv2d>,
    norms: Vec<Normalization>,
    layers: Vec<Linear>,
    #[module(skip)]
    pool: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    dropout: f64,
}

impl Design for Cnn {
    type Model = CnnModel;
    const NAME: &'static str = "cnn";
    const SUMMARY: &'static str = "Convolutions with pooling, then linear layers, in the manner of LeNet.";
    const CITATION: &'static str =
        "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998";
    const TENSORS: &'static str = "`convs.N` (`nn.Conv2d`), `norms.N` (`nn.BatchNorm2d`, or a LayerNorm over channels at each position), `layers.N` (`nn.Linear`) on the image flattened as [channel, row, column].";
    const POSITIONAL: &'static [&'static str] = &["input", "channels", "outputs"];

    fn check_together(&self) -> Result<(), MethodError> {
        let [_, height, width] = sizes::image(&self.input)?;
        match (self.end(height), self.end(width)) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err(MethodError::invalid(format!(
                "an image of {height} × {width} is used up before the last of {} convolutions",
                self.channels.len()
            ))
            .at("channels")
            .help("take fewer convolutions, a smaller `kernel` or `pool`, or more `padding`")),
        }
    }

    fn build(&self, device: &Device) -> CnnModel {
        let channels: Vec<usize> = self.input[..1].iter().chain(&self.channels).copied().collect();
        let ends = self.input[1..].iter().map(|&length| self.end(length).unwrap_or(1));
        let flat = ends.fold(channels[channels.len() - 1], usize::saturating_mul);
        let widths: Vec<usize> =
            [flat].into_iter().chain(self.hidden.iter().copied()).chain([self.outputs]).collect();
        let padding = self.padding();
        let conv = |pair: &[usize]| {
            Conv2dConfig::new([pair[0], pair[1]], [self.kernel, self.kernel])
                .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
                .init(device)
        };
        let norm = |&width: &usize| Normalization::of(self.norm, width, device);
        let linear = |pair: &[usize]| LinearConfig::new(pair[0], pair[1]).init(device);
        CnnModel {
            convs: channels.windows(2).map(conv).collect(),
            norms: self.channels.iter().filter_map(norm).collect(),
            layers: widths.windows(2).map(linear).collect(),
            pool: self.pool,
            activation: self.activation,
            dropout: self.dropout,
        }
    }

    fn input(&self) -> Vec<usize> {
        self.input.clone()
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn layer(&self, name: &str) -> String {
        let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
        module.replace("norms.", "convs.")
    }
}

impl Forward for CnnModel {
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
        let mut x = input.images();
        for (index, conv) in self.convs.iter().enumerate() {
            let norm = self.norms.get(index);
            x = pass.before(convolve(conv, x), norm, || format!("convs.{index}"));
            if let Some(norm) = norm {
                x = norm.forward(x, pass);
            }
            x = activate(self.activation, x);
            pass.image_feature(&x, || format!("convs.{index}"));
            if self.pool > 1 {
                x = max_pool(x, self.pool);
            }
            pass.after(&x, || format!("convs.{index}"));
        }
        let mut x = x.flatten::<2>(1, 3);
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if index + 1 < self.layers.len() {
                x = pass.before(x, None, || format!("layers.{index}"));
                x = activate(self.activation, x);
                pass.feature(&x, || format!("layers.{index}"));
                pass.after(&x, || format!("layers.{index}"));
                x = pass.dropout(x, self.dropout);
            }
        }
        x
    }
}
