//! `transformer`: a decoder-only language model over characters or tokens, which predicts the next token at every position.
//!
//! In PyTorch: Hugging Face's names for Llama without the `model.` in front (`embed_tokens`, `layers.0.self_attn.q_proj`,
//! `layers.0.mlp.up_proj`, `norm`, `lm_head`), with `embed_positions` for learned positions. A tied head has no tensor of its own.
//! ε of the normalisations is 1e-5; rotary positions rotate the pairs (i, i + d/2) with base 10000.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use fusion_sdk::{MethodError, Params, Words};

use super::{Design, Reads};
use crate::initial::{Place, Start};
use crate::layers::{BlockShape, Forward, Input, Normalization, Outputs, Pass, TransformerBlock};

/// Arguments of `transformer`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct Transformer {
    /// different tokens
    #[param(range = 1..)]
    pub vocabulary: usize,
    /// longest number of tokens
    #[param(range = 1..)]
    pub context: usize,
    /// blocks
    #[param(range = 1..=1024, default = 4)]
    pub layers: usize,
    /// width of the residual stream
    #[param(range = 1.., default = 128)]
    pub dim: usize,
    /// query heads; they divide `dim`
    #[param(range = 1.., default = 4)]
    pub heads: usize,
    /// heads of keys and values; they divide `heads` (default: as many)
    #[param(range = 1..)]
    pub kv_heads: Option<usize>,
    /// width of the MLP (default: 4 × dim for GELU; 8/3 × dim, rounded up to a multiple of 8, for SwiGLU)
    #[param(range = 1..)]
    pub hidden: Option<usize>,
    /// how positions are told apart
    #[param(default = Positions::Learned)]
    pub positions: Positions,
    /// activation of the MLP
    #[param(default = Gate::Gelu)]
    pub activation: Gate,
    /// normalisation in front of attention and MLP
    #[param(default = StreamNorm::Layer)]
    pub norm: StreamNorm,
    /// whether the head is the transpose of the embedding
    #[param(default = true)]
    pub tied: bool,
    /// whether linear layers have a bias; the head has none
    #[param(default = true)]
    pub bias: bool,
    /// share of what is added to the stream that is dropped in training
    #[param(unit = fraction, range = 0..=0.99, default = 0.0)]
    pub dropout: f64,
}

/// How positions are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub(crate) enum Positions {
    /// a trained vector for each position
    Learned,
    /// queries and keys are rotated by their position
    Rope,
}

/// Activation of a transformer's MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub(crate) enum Gate {
    /// GELU
    Gelu,
    /// a second matrix, through SiLU, as gate
    Swiglu,
}

/// Normalisation of the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub(crate) enum StreamNorm {
    /// LayerNorm
    Layer,
    /// RMSNorm (Zhang and Sennrich, 2019)
    Rms,
}

impl Transformer {
    fn shape(&self) -> BlockShape {
        let gated = self.activation == Gate::Swiglu;
        let usual = if gated { (8 * self.dim).div_ceil(3).next_multiple_of(8) } else { 4 * self.dim };
        BlockShape {
            dim: self.dim,
            heads: self.heads,
            kv_heads: self.kv_heads.unwrap_or(self.heads),
            hidden: self.hidden.unwrap_or(usual),
            gated,
            rms: self.norm == StreamNorm::Rms,
            bias: self.bias,
            causal: true,
            rotary: self.positions == Positions::Rope,
            dropout: self.dropout,
        }
    }
}

/// Whether heads divide widths.
pub(crate) fn check_heads(
    dim: usize,
    heads: usize,
    kv_heads: usize,
    rotary: bool,
) -> Result<(), MethodError> {
    if !dim.is_multiple_of(heads) {
        return Err(MethodError::invalid(format!("`dim = {dim}` is not a multiple of {heads} heads"))
            .at("heads")
            .help("every head has dim / heads numbers"));
    }
    if !heads.is_multiple_of(kv_heads) {
        return Err(MethodError::invalid(format!(
            "{heads} heads are not a multiple of {kv_heads} `kv_heads`"
        ))
        .at("kv_heads")
        .help("every head of keys and values serves as many query heads"));
    }
    if rotary && !(dim / heads).is_multiple_of(2) {
        return Err(MethodError::invalid(format!(
            "heads of {} numbers have no pairs to rotate",
            dim / heads
        ))
        .at("positions")
        .help("take an even dim / heads, or learned positions"));
    }
    Ok(())
}

/// How a transformer's values are drawn.
pub(crate) fn start(place: &Place<'_>, layers: usize) -> Start {
    const DEVIATION: f64 = 0.02;
    let writes = place.name.ends_with("o_proj.weight") || place.name.ends_with("down_proj.weight");
    match (place.container, place.field) {
        ("Struct:Normalization", _) => place.usual(),
        (_, "bias") => Start::Constant(0.0),
        _ if writes => Start::Normal(DEVIATION / (2.0 * layers as f64).sqrt()),
        _ => Start::Normal(DEVIATION),
    }
}

/// Blocks as layers: attention and MLP on their own, with the normalisation in front of them.
pub(crate) fn layer(name: &str) -> String {
    let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
    let module =
        module.replace(".input_layernorm", ".self_attn").replace(".post_attention_layernorm", ".mlp");
    match module.rsplit_once('.') {
        Some((block, projection)) if projection.ends_with("_proj") => block.to_owned(),
        _ => module,
    }
}

/// The module of [`Transformer`].
#[derive(Module, Debug)]
pub(crate) struct TransformerModel {
    embed_tokens: Embedding,
    embed_positions: Option<Embedding>,
    layers: Vec<TransformerBlock>,
    norm: Normalization,
    lm_head: Option<Linear>,
    #[module(skip)]
    dropout: f64,
}

impl Design for Transformer {
    type Model = TransformerModel;
    const NAME: &'static str = "transformer";
    const SUMMARY: &'static str = "A decoder-only language model: GPT-2 or Llama in small.";
    const CITATION: &'static str =
        "Vaswani et al.: Attention is all you need, 2017; Radford et al., 2019; Touvron et al., 2023";
    const TENSORS: &'static str = "Hugging Face's names for Llama without `model.`: `embed_tokens`, `layers.0.self_attn.q_proj`, `layers.0.mlp.up_proj`, `norm`, `lm_head` (none if tied), and `embed_positions` for learned positions.";
    const POSITIONAL: &'static [&'static str] = &["vocabulary", "context"];

    fn check_together(&self) -> Result<(), MethodError> {
        let shape = self.shape();
        check_heads(shape.dim, shape.heads, shape.kv_heads, shape.rotary)
    }

    fn build(&self, device: &Device) -> TransformerModel {
        let (shape, learned) = (self.shape(), self.positions == Positions::Learned);
        TransformerModel {
            embed_tokens: EmbeddingConfig::new(self.vocabulary, self.dim).init(device),
            embed_positions: learned.then(|| EmbeddingConfig::new(self.context, self.dim).init(device)),
            layers: (0..self.layers).map(|_| shape.build(device)).collect(),
            norm: shape.norm(device),
            lm_head: (!self.tied)
                .then(|| LinearConfig::new(self.dim, self.vocabulary).with_bias(false).init(device)),
            dropout: self.dropout,
        }
    }

    fn input(&self) -> Vec<usize> {
        vec![self.context]
    }

    fn outputs(&self) -> usize {
        self.vocabulary
    }

    fn reads(&self) -> Reads {
        Reads::Tokens(self.vocabulary)
    }

    fn layer(&self, name: &str) -> String {
        layer(name)
    }

    fn start(&self, place: &Place<'_>) -> Start {
        start(place, self.layers)
    }
}

impl Forward for TransformerModel {
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
        let tokens = input.tokens();
        let [examples, length] = tokens.dims();
        let mut x = self.embed_tokens.forward(tokens);
        if let Some(positions) = &self.embed_positions {
            let places = Tensor::<1, Int>::arange(0..length as i64, &x.device());
            x = x + positions.forward(places.reshape([1, length]));
        }
        pass.after(&x, || "embed_tokens".to_owned());
        x = pass.dropout(x, self.dropout);
        for (index, block) in self.layers.iter().enumerate() {
            x = block.forward(x, pass, &format!("layers.{index}"));
        }
        let dim = x.dims()[2];
        let rows = self.norm.over_last(x).reshape([examples * length, dim]);
        match &self.lm_head {
            Some(head) => head.forward(rows),
            None => rows.matmul(self.embed_tokens.weight.val().transpose()),
        }
    }
}
