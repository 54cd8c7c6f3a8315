//! `vit`: a small vision transformer: patches as tokens, a class token in front, learned positions.
//!
//! In PyTorch: timm's `patch_embed.proj` (an `nn.Conv2d`), `cls_token`, `pos_embed`, `norm`, `head`, and blocks named as those of
//! `transformer` (`blocks.0.self_attn.q_proj`, …).

use burn::module::{Module, Param, ParamId};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fusion_sdk::{MethodError, Params};

use super::transformer::{Gate, StreamNorm, check_heads, layer, start};
use super::{Design, sizes};
use crate::initial::{Place, Start};
use crate::layers::{BlockShape, Forward, Input, Normalization, Outputs, Pass, TransformerBlock, convolve};

/// Arguments of `vit`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct Vit {
    /// image: [channels, height, width]
    #[param(range = 1.., default = vec![3, 32, 32])]
    pub input: Vec<usize>,
    /// height and width of a patch; they divide those of the image
    #[param(range = 1.., default = 4)]
    pub patch: usize,
    /// numbers of a prediction
    #[param(range = 1.., default = 10)]
    pub classes: usize,
    /// blocks
    #[param(range = 1..=1024, default = 6)]
    pub layers: usize,
    /// width of the residual stream
    #[param(range = 1.., default = 128)]
    pub dim: usize,
    /// heads; they divide `dim`
    #[param(range = 1.., default = 4)]
    pub heads: usize,
    /// width of the MLP (default: 4 × dim)
    #[param(range = 1..)]
    pub hidden: Option<usize>,
    /// activation of the MLP
    #[param(default = Gate::Gelu)]
    pub activation: Gate,
    /// normalisation in front of attention and MLP
    #[param(default = StreamNorm::Layer)]
    pub norm: StreamNorm,
    /// share of what is added to the stream that is dropped in training
    #[param(unit = fraction, range = 0..=0.99, default = 0.0)]
    pub dropout: f64,
}

impl Vit {
    fn shape(&self) -> BlockShape {
        BlockShape {
            dim: self.dim,
            heads: self.heads,
            kv_heads: self.heads,
            hidden: self.hidden.unwrap_or(4 * self.dim),
            gated: self.activation == Gate::Swiglu,
            rms: self.norm == StreamNorm::Rms,
            bias: true,
            causal: false,
            rotary: false,
            dropout: self.dropout,
        }
    }
}

/// The module of [`Vit`].
#[derive(Module, Debug)]
pub(crate) struct VitModel {
    patch_embed: PatchEmbed,
    cls_token: Param<Tensor<3>>,
    pos_embed: Param<Tensor<3>>,
    blocks: Vec<TransformerBlock>,
    norm: Normalization,
    head: Linear,
    #[module(skip)]
    dropout: f64,
}

/// Cuts an image into patches and maps each to the stream.
#[derive(Module, Debug)]
pub(crate) struct PatchEmbed {
    proj: Conv2d,
}

fn zeros(shape: [usize; 3], device: &Device) -> Param<Tensor<3>> {
    let init = move |device: &Device, _: bool| Tensor::zeros(shape, device);
    Param::uninitialized(ParamId::new(), init, device.clone(), true, shape.into())
}

impl Design for Vit {
    type Model = VitModel;
    const NAME: &'static str = "vit";
    const SUMMARY: &'static str = "A small vision transformer.";
    const CITATION: &'static str = "Dosovitskiy et al.: An image is worth 16x16 words: transformers for image recognition at scale, 2021";
    const TENSORS: &'static str = "timm's `patch_embed.proj`, `cls_token`, `pos_embed`, `norm`, `head`; blocks as those of `transformer`: `blocks.0.self_attn.q_proj`.";
    const POSITIONAL: &'static [&'static str] = &["input", "patch", "classes"];

    fn check_together(&self) -> Result<(), MethodError> {
        let [_, height, width] = sizes::image(&self.input)?;
        if height % self.patch != 0 || width % self.patch != 0 {
            let message = format!("patches of {} do not divide an image of {height} × {width}", self.patch);
            return Err(MethodError::invalid(message).at("patch").help("take a `patch` that divides both"));
        }
        check_heads(self.dim, self.heads, self.heads, false)
    }

    fn build(&self, device: &Device) -> VitModel {
        let (shape, patch) = (self.shape(), [self.patch, self.patch]);
        let patches = (self.input[1] / self.patch) * (self.input[2] / self.patch);
        VitModel {
            patch_embed: PatchEmbed {
                proj: Conv2dConfig::new([self.input[0], self.dim], patch).with_stride(patch).init(device),
            },
            cls_token: zeros([1, 1, self.dim], device),
            pos_embed: zeros([1, patches + 1, self.dim], device),
            blocks: (0..self.layers).map(|_| shape.build(device)).collect(),
            norm: shape.norm(device),
            head: LinearConfig::new(self.dim, self.classes).init(device),
            dropout: self.dropout,
        }
    }

    fn input(&self) -> Vec<usize> {
        self.input.clone()
    }

    fn outputs(&self) -> usize {
        self.classes
    }

    fn layer(&self, name: &str) -> String {
        match name {
            "cls_token" | "pos_embed" => "patch_embed.proj".to_owned(),
            _ => layer(name),
        }
    }

    fn start(&self, place: &Place<'_>) -> Start {
        match (place.container, place.field) {
            // A linear map of patches: variance 1/fan_in keeps their size.
            ("Struct:Conv2d", "weight") => Start::Normal((1.0 / place.fan_in.max(1) as f64).sqrt()),
            _ => start(place, self.layers),
        }
    }
}

impl Forward for VitModel {
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
        let patches = convolve(&self.patch_embed.proj, input.images());
        let patches = pass.before(patches, None, || "patch_embed.proj".to_owned());
        let [examples, dim, rows, columns] = patches.dims();
        let patches = patches.reshape([examples, dim, rows * columns]).swap_dims(1, 2);
        let class = self.cls_token.val().repeat_dim(0, examples);
        let x = Tensor::cat(vec![class, patches], 1) + self.pos_embed.val();
        pass.after(&x, || "patch_embed.proj".to_owned());
        let mut x = pass.dropout(x, self.dropout);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, pass, &format!("blocks.{index}"));
        }
        let class = x.narrow(1, 0, 1).reshape([examples, dim]);
        self.head.forward(self.norm.over_last(class))
    }
}
