//! `resnet`: the CIFAR family of residual networks: three stages of n blocks of two convolutions, 6n + 2 layers.
//!
//! In PyTorch: torchvision's names (`conv1`, `bn1`, `layer1.0.conv1`, `layer1.0.bn1`, `layer2.0.downsample.0`, `fc`), channels 16,
//! 32, 64 times the width. LayerNorm has the names of the BatchNorm that it replaces.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Tensor};
use fusion_sdk::{MethodError, Params, Words};

use super::words::NormKind;
use super::{Design, sizes};
use crate::layers::{Forward, Input, Normalization, Outputs, Pass, convolve};

/// Arguments of `resnet`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct Resnet {
    /// layers with weights: 6n + 2, for instance 20, 32, 44, 56
    #[param(range = 8..=1202)]
    pub depth: usize,
    /// numbers of a prediction
    #[param(range = 1.., default = 10)]
    pub classes: usize,
    /// factor of all widths; 1 has 16, 32 and 64 channels
    #[param(above = 0, range = ..=64, default = 1.0)]
    pub width: f64,
    /// normalisation behind convolutions
    #[param(default = BlockNorm::Batch)]
    pub norm: BlockNorm,
    /// how the stream gets more channels between stages
    #[param(default = Shortcut::Projection)]
    pub shortcut: Shortcut,
    /// image: [channels, height, width]
    #[param(range = 1.., default = vec![3, 32, 32])]
    pub input: Vec<usize>,
}

/// Normalisation of residual networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub(crate) enum BlockNorm {
    /// BatchNorm
    Batch,
    /// LayerNorm over the channels at each position
    Layer,
}

/// How the stream gets more channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub(crate) enum Shortcut {
    /// a 1x1 convolution with normalisation (the paper's option B)
    Projection,
    /// every second row and column, with channels of zeros on both sides (option A)
    ZeroPadded,
}

impl Resnet {
    fn norm(&self) -> NormKind {
        match self.norm {
            BlockNorm::Batch => NormKind::Batch,
            BlockNorm::Layer => NormKind::Layer,
        }
    }

    fn block(&self, from: usize, to: usize, stride: usize, device: &Device) -> Block {
        let changes = stride != 1 || from != to;
        let norm = |width| Normalization::of(self.norm(), width, device);
        let projects = changes && self.shortcut == Shortcut::Projection;
        Block {
            conv1: conv(from, to, 3, stride, device),
            bn1: norm(to),
            conv2: conv(to, to, 3, 1, device),
            bn2: norm(to),
            downsample: projects
                .then(|| Downsample { conv: conv(from, to, 1, stride, device), norm: norm(to) }),
            stride,
            added: if projects { 0 } else { to.saturating_sub(from) },
        }
    }
}

fn conv(from: usize, to: usize, kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let padding = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .init(device)
}

/// The module of [`Resnet`].
#[derive(Module, Debug)]
pub(crate) struct ResnetModel {
    conv1: Conv2d,
    bn1: Option<Normalization>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    fc: Linear,
}

/// Two convolutions beside a shortcut.
#[derive(Module, Debug)]
pub(crate) struct Block {
    conv1: Conv2d,
    bn1: Option<Normalization>,
    conv2: Conv2d,
    bn2: Option<Normalization>,
    downsample: Option<Downsample>,
    #[module(skip)]
    stride: usize,
    /// Channels of zeros on both sides of the stream.
    #[module(skip)]
    added: usize,
}

/// A projection.
#[derive(Module, Debug)]
pub(crate) struct Downsample {
    conv: Conv2d,
    norm: Option<Normalization>,
}

impl Design for Resnet {
    type Model = ResnetModel;
    const NAME: &'static str = "resnet";
    const SUMMARY: &'static str = "Residual networks for small images: depth 20, 32, 44, 56, any width.";
    const CITATION: &'static str =
        "He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2016, section 4.2";
    const TENSORS: &'static str = "torchvision's names: `conv1`, `bn1`, `layer1.0.conv1`, `layer1.0.bn1`, `layer2.0.downsample.0`, `fc`.";
    const POSITIONAL: &'static [&'static str] = &["depth", "classes"];

    fn check_together(&self) -> Result<(), MethodError> {
        sizes::image(&self.input)?;
        if !(self.depth - 2).is_multiple_of(6) {
            let below = (self.depth - 2) / 6 * 6 + 2;
            return Err(MethodError::invalid(format!("a depth of {} is not 6n + 2", self.depth))
                .at("depth")
                .help(format!("take {below} or {}", below + 6)));
        }
        Ok(())
    }

    fn build(&self, device: &Device) -> ResnetModel {
        let blocks = (self.depth - 2) / 6;
        let [a, b, c] = [16, 32, 64].map(|channels| sizes::scaled(channels, self.width));
        let stage = |from: usize, to: usize, stride: usize| -> Vec<Block> {
            let block = |index| match index {
                0 => self.block(from, to, stride, device),
                _ => self.block(to, to, 1, device),
            };
            (0..blocks).map(block).collect()
        };
        ResnetModel {
            conv1: conv(self.input[0], a, 3, 1, device),
            bn1: Normalization::of(self.norm(), a, device),
            layer1: stage(a, a, 1),
            layer2: stage(a, b, 2),
            layer3: stage(b, c, 2),
            fc: LinearConfig::new(c, self.classes).init(device),
        }
    }

    fn input(&self) -> Vec<usize> {
        self.input.clone()
    }

    fn outputs(&self) -> usize {
        self.classes
    }

    fn name(&self, path: &str) -> String {
        path.replace("downsample.conv", "downsample.0").replace("downsample.norm", "downsample.1")
    }

    fn layer(&self, name: &str) -> String {
        let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
        module.replace("bn", "conv").replace("downsample.1", "downsample.0")
    }
}

/// Of the convolution with this name.
fn normalized(
    norm: &Option<Normalization>,
    x: Tensor<4>,
    pass: &mut Pass,
    name: impl FnOnce() -> String,
) -> Tensor<4> {
    let x = pass.before(x, norm.as_ref(), name);
    match norm {
        Some(norm) => norm.forward(x, pass),
        None => x,
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>, pass: &mut Pass, name: &str) -> Tensor<4> {
        let (conv1, conv2) = (|| format!("{name}.conv1"), || format!("{name}.conv2"));
        let inner = relu(normalized(&self.bn1, convolve(&self.conv1, x.clone()), pass, conv1));
        pass.image_feature(&inner, conv1);
        pass.after(&inner, conv1);
        let branch = normalized(&self.bn2, convolve(&self.conv2, inner), pass, conv2);
        let x = relu(branch + self.shortcut(x, pass, name));
        pass.image_feature(&x, || name.to_owned());
        pass.after(&x, || name.to_owned());
        x
    }

    fn shortcut(&self, x: Tensor<4>, pass: &mut Pass, name: &str) -> Tensor<4> {
        if let Some(downsample) = &self.downsample {
            let own = || format!("{name}.downsample.0");
            return normalized(&downsample.norm, convolve(&downsample.conv, x), pass, own);
        }
        // Pooling over one pixel takes every second one.
        let stride = [self.stride, self.stride];
        let x = match self.stride {
            1 => x,
            _ => avg_pool2d(x, AvgPoolOptions::new([1, 1]).with_stride(stride)),
        };
        if self.added == 0 {
            return x;
        }
        let ([examples, _, height, width], device) = (x.dims(), x.device());
        let zeros = |channels| Tensor::<4>::zeros([examples, channels, height, width], &device);
        let (before, behind) = (self.added / 2, self.added - self.added / 2);
        let mut parts = vec![x, zeros(behind)];
        if before > 0 {
            parts.insert(0, zeros(before));
        }
        Tensor::cat(parts, 1)
    }
}

impl Forward for ResnetModel {
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
        let x = convolve(&self.conv1, input.images());
        let mut x = relu(normalized(&self.bn1, x, pass, || "conv1".to_owned()));
        pass.image_feature(&x, || "conv1".to_owned());
        pass.after(&x, || "conv1".to_owned());
        for (stage, blocks) in [&self.layer1, &self.layer2, &self.layer3].into_iter().enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                x = block.forward(x, pass, &format!("layer{}.{index}", stage + 1));
            }
        }
        let [examples, channels, height, width] = x.dims();
        let pooled = x.reshape([examples, channels, height * width]).mean_dim(2);
        self.fc.forward(pooled.reshape([examples, channels]))
    }
}
