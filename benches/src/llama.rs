//! Which tensors a Llama-shaped model has, and the small files that stand beside them in a Hugging Face folder.

use serde_json::{Value, json};

/// The sizes that decide a model's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of transformer layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Inner width of the MLP.
    pub mlp: usize,
    /// Rows of the embedding and of the separate output head.
    pub vocabulary: usize,
    /// Attention heads for queries.
    pub heads: usize,
    /// Attention heads for keys and values.
    pub kv_heads: usize,
}

impl Shape {
    /// 0.1 M parameters, for tests.
    pub const TINY: Self = Self { layers: 2, hidden: 64, mlp: 176, vocabulary: 256, heads: 4, kv_heads: 2 };
    /// 1.10 G parameters, the sizes of TinyLlama.
    pub const ONE_B: Self =
        Self { layers: 22, hidden: 2048, mlp: 5632, vocabulary: 32_000, heads: 32, kv_heads: 4 };
    /// 11.1 G parameters, ten times [`Shape::ONE_B`], from the widths of Llama 2 13B.
    pub const TEN_B: Self =
        Self { layers: 39, hidden: 5120, mlp: 13_824, vocabulary: 32_000, heads: 40, kv_heads: 8 };

    /// All tensors in the model's own order, named as `transformers` names them.
    #[must_use]
    pub fn tensors(&self) -> Vec<Tensor> {
        let Self { hidden, mlp, vocabulary, .. } = *self;
        let kv = hidden / self.heads * self.kv_heads;
        let matrix = |name: String, rows, columns| Tensor { name, shape: vec![rows, columns] };
        let mut tensors = vec![matrix("model.embed_tokens.weight".into(), vocabulary, hidden)];
        for layer in 0..self.layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            tensors.extend([
                Tensor { name: name("input_layernorm"), shape: vec![hidden] },
                matrix(name("self_attn.q_proj"), hidden, hidden),
                matrix(name("self_attn.k_proj"), kv, hidden),
                matrix(name("self_attn.v_proj"), kv, hidden),
                matrix(name("self_attn.o_proj"), hidden, hidden),
                Tensor { name: name("post_attention_layernorm"), shape: vec![hidden] },
                matrix(name("mlp.gate_proj"), mlp, hidden),
                matrix(name("mlp.up_proj"), mlp, hidden),
                matrix(name("mlp.down_proj"), hidden, mlp),
            ]);
        }
        tensors.push(Tensor { name: "model.norm.weight".into(), shape: vec![hidden] });
        tensors.push(matrix("lm_head.weight".into(), vocabulary, hidden));
        tensors
    }

    /// `config.json` for `LlamaForCausalLM`, with `dtype` in the words of `transformers` (`bfloat16`).
    #[must_use]
    pub fn config(&self, dtype: &str) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "head_dim": self.hidden / self.heads,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.mlp,
            "max_position_embeddings": 2048,
            "mlp_bias": false,
            "model_type": "llama",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0,
            "tie_word_embeddings": false,
            "torch_dtype": dtype,
            "use_cache": true,
            "vocab_size": self.vocabulary,
        })
    }
}

/// One tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name in the checkpoint.
    pub name: String,
    /// Extent of each axis.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The mean of its values: 1 for the scales of norms (the only vectors of a Llama), else 0.
    #[must_use]
    pub fn mean(&self) -> f32 {
        if self.shape.len() == 1 { 1.0 } else { 0.0 }
    }
}

/// `generation_config.json`.
#[must_use]
pub fn generation_config() -> Value {
    json!({ "_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2 })
}

/// `tokenizer.json`: the smallest that `tokenizers` opens, three special tokens and nothing else.
#[must_use]
pub fn tokenizer() -> Value {
    let special = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": { "<unk>": 0, "<s>": 1, "</s>": 2 }, "unk_token": "<unk>" },
    })
}

/// `tokenizer_config.json`.
#[must_use]
pub fn tokenizer_config() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": 2048,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_documented() {
        let parameters = |shape: Shape| shape.tensors().iter().map(Tensor::elements).sum::<usize>();
        assert_eq!(parameters(Shape::ONE_B), 1_100_048_384);
        assert_eq!(Shape::ONE_B.tensors().len(), 201);
        let ratio = parameters(Shape::TEN_B) as f64 / parameters(Shape::ONE_B) as f64;
        assert!((ratio - 10.0).abs() < 0.1, "{ratio}");
    }
}
