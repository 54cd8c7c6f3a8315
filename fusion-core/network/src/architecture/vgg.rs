//! `vgg`: the VGG family for small images, with one linear layer as classifier.
//!
//! In PyTorch: torchvision's `features` (convolution, normalisation, ReLU and pooling are numbered through) and an `nn.Linear`
//! called `classifier`, as usual for CIFAR. Pooling that would leave nothing of a small image is left out.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Device;
use burn::tensor::activation::relu;
use fusion_sdk::{MethodError, Params};

use super::words::NormKind;
use super::{Design, sizes};
use crate::layers::{Forward, Input, Normalization, Outputs, Pass, convolve, max_pool};

/// Arguments of `vgg`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct Vgg {
    /// layers with weights in the original: 11, 13, 16 or 19
    #[param(range = 11..=19)]
    pub depth: usize,
    /// numbers of a prediction
    #[param(range = 1.., default = 10)]
    pub classes: usize,
    /// factor of all widths
    #[param(above = 0, range = ..=16, default = 1.0)]
    pub width: f64,
    /// normalisation behind convolutions
    #[param(default = NormKind::None)]
    pub norm: NormKind,
    /// image: [channels, height, width]
    #[param(range = 1.., default = vec![3, 32, 32])]
    pub input: Vec<usize>,
}

/// Channels of the five groups of convolutions; pooling comes behind each.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

impl Vgg {
    /// Convolutions in each group.
    fn groups(&self) -> Option<[usize; 5]> {
        match self.depth {
            11 => Some([1, 1, 2, 2, 2]),
            13 => Some([2, 2, 2, 2, 2]),
            16 => Some([2, 2, 3, 3, 3]),
            19 => Some([2, 2, 4, 4, 4]),
            _ => None,
        }
    }

    /// For each convolution: its channels, and whether pooling follows.
    fn plan(&self) -> Vec<(usize, bool)> {
        let mut length = self.input[1..].iter().copied().min().unwrap_or(1);
        let mut plan = Vec::new();
        for (count, channels) in self.groups().unwrap_or_default().into_iter().zip(CHANNELS) {
            let pooled = length > 1;
            length = (length / 2).max(1);
            for index in 0..count {
                plan.push((sizes::scaled(channels, self.width), pooled && index + 1 == count));
            }
        }
        plan
    }

    /// Number in `features` of each convolution.
    fn places(&self) -> Vec<usize> {
        let step = if self.norm == NormKind::None { 2 } else { 3 };
        let starts = self.plan().into_iter().scan(0, |next, (_, pooled)| {
            let place = *next;
            *next += step + usize::from(pooled);
            Some(place)
        });
        starts.collect()
    }
}

/// The module of [`Vgg`].
#[derive(Module, Debug)]
pub(crate) struct VggModel {
    blocks: Vec<Block>,
    classifier: Linear,
}

/// Convolution, normalisation, ReLU, perhaps pooling.
#[derive(Module, Debug)]
pub(crate) struct Block {
    conv: Conv2d,
    norm: Option<Normalization>,
    #[module(skip)]
    pooled: bool,
    /// Number of the convolution in `features`.
    #[module(skip)]
    place: usize,
}

impl Design for Vgg {
    type Model = VggModel;
    const NAME: &'static str = "vgg";
    const SUMMARY: &'static str = "VGG 11, 13, 16 or 19 for small images, any width.";
    const CITATION: &'static str =
        "Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition, 2015";
    const TENSORS: &'static str = "torchvision's `features.N` (convolutions, normalisations, ReLUs and poolings numbered through) and `classifier`, one `nn.Linear`.";
    const POSITIONAL: &'static [&'static str] = &["depth", "classes"];

    fn check_together(&self) -> Result<(), MethodError> {
        sizes::image(&self.input)?;
        match self.groups() {
            Some(_) => Ok(()),
            None => Err(MethodError::invalid(format!("there is no VGG of depth {}", self.depth))
                .at("depth")
                .help("take 11, 13, 16 or 19")),
        }
    }

    fn build(&self, device: &Device) -> VggModel {
        let mut channels = self.input[0];
        let (mut height, mut width) = (self.input[1], self.input[2]);
        let mut blocks = Vec::new();
        for ((out, pooled), place) in self.plan().into_iter().zip(self.places()) {
            let conv = Conv2dConfig::new([channels, out], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device);
            blocks.push(Block { conv, norm: Normalization::of(self.norm, out, device), pooled, place });
            channels = out;
            if pooled {
                (height, width) = (height / 2, width / 2);
            }
        }
        let classifier =
            LinearConfig::new(channels.saturating_mul(height).saturating_mul(width), self.classes)
                .init(device);
        VggModel { blocks, classifier }
    }

    fn input(&self) -> Vec<usize> {
        self.input.clone()
    }

    fn outputs(&self) -> usize {
        self.classes
    }

    fn name(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        match parts.as_slice() {
            ["blocks", block, module, field] => {
                let place = block.parse().ok().and_then(|block: usize| self.places().get(block).copied());
                let place = place.unwrap_or_default() + usize::from(*module == "norm");
                format!("features.{place}.{field}")
            }
            _ => path.to_owned(),
        }
    }

    fn layer(&self, name: &str) -> String {
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["features", place, _] => {
                let place = place.parse().unwrap_or(0_usize);
                let conv = self.places().into_iter().rfind(|&conv| conv <= place).unwrap_or(0);
                format!("features.{conv}")
            }
            _ => "classifier".to_owned(),
        }
    }
}

impl Forward for VggModel {
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
        let mut x = input.images();
        for block in &self.blocks {
            let name = || format!("features.{}", block.place);
            x = pass.before(convolve(&block.conv, x), block.norm.as_ref(), name);
            if let Some(norm) = &block.norm {
                x = norm.forward(x, pass);
            }
            x = relu(x);
            pass.image_feature(&x, name);
            if block.pooled {
                x = max_pool(x, 2);
            }
            pass.after(&x, name);
        }
        self.classifier.forward(x.flatten::<2>(1, 3))
    }
}
