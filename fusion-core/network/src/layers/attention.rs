//! The block of transformers: attention and a gated or plain MLP on a residual stream, normalised in front of each.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{gelu, silu, softmax};
use burn::tensor::{Device, Tensor, TensorData};

use super::{Normalization, Pass};

/// What a block is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockShape {
    /// Width of the stream.
    pub dim: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of the MLP.
    pub hidden: usize,
    /// SwiGLU instead of GELU.
    pub gated: bool,
    /// RMSNorm instead of LayerNorm.
    pub rms: bool,
    /// Whether linear layers have a bias.
    pub bias: bool,
    /// Whether a position sees only those before it.
    pub causal: bool,
    /// Whether queries and keys are rotated by their position.
    pub rotary: bool,
    /// Share of the branches' outputs that is dropped in training.
    pub dropout: f64,
}

/// One block, named as in Hugging Face's Llama.
#[derive(Module, Debug)]
pub(crate) struct TransformerBlock {
    input_layernorm: Normalization,
    self_attn: Attention,
    post_attention_layernorm: Normalization,
    mlp: Mlp,
    #[module(skip)]
    dropout: f64,
}

/// Grouped-query attention (Ainslie et al., 2023).
#[derive(Module, Debug)]
pub(crate) struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    causal: bool,
    #[module(skip)]
    rotary: bool,
}

/// GELU(x U) D, or SiLU(x G) ∘ (x U) D (Shazeer, 2020).
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    gate_proj: Option<Linear>,
    up_proj: Linear,
    down_proj: Linear,
}

impl BlockShape {
    pub(crate) fn norm(&self, device: &Device) -> Normalization {
        match self.rms {
            true => Normalization::rms(self.dim, device),
            false => Normalization::layer(self.dim, device),
        }
    }

    pub(crate) fn build(&self, device: &Device) -> TransformerBlock {
        let linear = |from, to| LinearConfig::new(from, to).with_bias(self.bias).init(device);
        let kv = self.dim / self.heads * self.kv_heads;
        TransformerBlock {
            input_layernorm: self.norm(device),
            self_attn: Attention {
                q_proj: linear(self.dim, self.dim),
                k_proj: linear(self.dim, kv),
                v_proj: linear(self.dim, kv),
                o_proj: linear(self.dim, self.dim),
                heads: self.heads,
                kv_heads: self.kv_heads,
                causal: self.causal,
                rotary: self.rotary,
            },
            post_attention_layernorm: self.norm(device),
            mlp: Mlp {
                gate_proj: self.gated.then(|| linear(self.dim, self.hidden)),
                up_proj: linear(self.dim, self.hidden),
                down_proj: linear(self.hidden, self.dim),
            },
            dropout: self.dropout,
        }
    }
}

impl TransformerBlock {
    /// [examples, positions, dim] to the same; features get the block's name.
    pub(crate) fn forward(&self, x: Tensor<3>, pass: &mut Pass, name: &str) -> Tensor<3> {
        let branch = self.self_attn.forward(self.input_layernorm.over_last(x.clone()), pass, name);
        let x = x + pass.dropout(branch, self.dropout);
        let inner = self.mlp.inner(self.post_attention_layernorm.over_last(x.clone()), pass, name);
        pass.token_feature(&inner, || format!("{name}.mlp"));
        pass.after(&inner, || format!("{name}.mlp.up_proj"));
        let branch = self.mlp.down_proj.forward(inner);
        let branch = pass.before(branch, None, || format!("{name}.mlp.down_proj"));
        let x = x + pass.dropout(branch, self.dropout);
        pass.token_feature(&x, || name.to_owned());
        pass.after(&x, || name.to_owned());
        x
    }
}

impl Mlp {
    fn inner(&self, x: Tensor<3>, pass: &mut Pass, name: &str) -> Tensor<3> {
        let up =
            |x, pass: &mut Pass| pass.before(self.up_proj.forward(x), None, || format!("{name}.mlp.up_proj"));
        match &self.gate_proj {
            Some(gate) => {
                let gate = gate.forward(x.clone());
                let gate = pass.before(gate, None, || format!("{name}.mlp.gate_proj"));
                silu(gate) * up(x, pass)
            }
            None => gelu(up(x, pass)),
        }
    }
}

impl Attention {
    /// softmax(q kᵀ/√d) v by head, in the block of this name.
    fn forward(&self, x: Tensor<3>, pass: &mut Pass, name: &str) -> Tensor<3> {
        let mut project = |linear: &Linear, x: Tensor<3>, own: &str| {
            pass.before(linear.forward(x), None, || format!("{name}.self_attn.{own}"))
        };
        let [examples, length, dim] = x.dims();
        let (device, width) = (x.device(), dim / self.heads);
        let split = |y: Tensor<3>, heads: usize| y.reshape([examples, length, heads, width]).swap_dims(1, 2);
        let mut q = split(project(&self.q_proj, x.clone(), "q_proj"), self.heads);
        let mut k = split(project(&self.k_proj, x.clone(), "k_proj"), self.kv_heads);
        let v = split(project(&self.v_proj, x, "v_proj"), self.kv_heads);
        if self.rotary {
            let [cosine, sine] = rotations(length, width, &device);
            q = rotate(q, &cosine, &sine);
            k = rotate(k, &cosine, &sine);
        }
        let (k, v) = (self.repeated(k), self.repeated(v));
        let mut scores = q.matmul(k.transpose()) * (1.0 / (width as f64).sqrt());
        if self.causal {
            scores = scores + mask(length, &device);
        }
        let mixed = softmax(scores, 3).matmul(v);
        let mixed = mixed.swap_dims(1, 2).reshape([examples, length, dim]);
        pass.after(&mixed, || format!("{name}.self_attn.v_proj"));
        pass.before(self.o_proj.forward(mixed), None, || format!("{name}.self_attn.o_proj"))
    }

    /// Every head of keys or values as often as queries use it.
    fn repeated(&self, x: Tensor<4>) -> Tensor<4> {
        let times = self.heads / self.kv_heads;
        if times == 1 {
            return x;
        }
        let [examples, heads, length, width] = x.dims();
        let repeated = x.unsqueeze_dim::<5>(2).repeat_dim(2, times);
        repeated.reshape([examples, heads * times, length, width])
    }
}

/// Zero where a position may look, very low where not.
fn mask(length: usize, device: &Device) -> Tensor<4> {
    const HIDDEN: f32 = -1e30;
    let at = |index: usize| if index % length > index / length { HIDDEN } else { 0.0 };
    let values: Vec<f32> = (0..length * length).map(at).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, length, length]), device)
}

/// Cosines and sines of position·10000^(−2i/width) (Su et al., RoFormer, 2021).
fn rotations(length: usize, width: usize, device: &Device) -> [Tensor<4>; 2] {
    let half = width / 2;
    let angle = |index: usize| {
        let (position, pair) = (index / half, index % half);
        position as f64 * 10_000_f64.powf(-2.0 * pair as f64 / width as f64)
    };
    [f64::cos, f64::sin].map(|function| {
        let values: Vec<f32> = (0..length * half).map(|index| function(angle(index)) as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, 1, length, half]), device)
    })
}

/// Rotates the pairs (i, i + width/2), as Hugging Face's Llama does.
fn rotate(x: Tensor<4>, cosine: &Tensor<4>, sine: &Tensor<4>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let first = a.clone() * cosine.clone() - b.clone() * sine.clone();
    let second = b * cosine.clone() + a * sine.clone();
    Tensor::cat(vec![first, second], 3)
}
