//! Llama and its kin: Mistral, Qwen2 (biases), Qwen3 (norms of queries and keys), heads tied or not; and our own `transformer`.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Heads, Maps, attention};
use super::builder::{Builder, pin};
use super::config::Config;

const PREFIXES: &[&str] = &["model.", "", "language_model.model.", "model.language_model."];

fn prefix(builder: &Builder<'_>) -> Option<&'static str> {
    builder
        .prefix(PREFIXES, "layers.0.self_attn.q_proj.weight")
        .filter(|prefix| builder.has(&format!("{prefix}embed_tokens.weight")))
}

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    prefix(builder).is_some()
}

/// The numbers of a head: of a norm over it, of `config.json`, or by the number of heads.
fn width(builder: &Builder<'_>, config: &Config<'_>, first: &str) -> Result<usize, NamesError> {
    let norm = format!("{first}.q_norm.weight");
    if builder.has(&norm) {
        return builder.length(&norm, 0);
    }
    if let Some(width) = config.find("head_dim")? {
        return Ok(width);
    }
    let query = format!("{first}.q_proj.weight");
    builder.over(&query, builder.length(&query, 0)?, config.number("num_attention_heads")?, "heads")
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = prefix(builder).unwrap_or_default();
    let embedding = format!("{prefix}embed_tokens.weight");
    let head = ["lm_head".to_owned(), format!("{prefix}lm_head")]
        .into_iter()
        .find(|head| builder.has(&format!("{head}.weight")));
    let stream = builder.stream("stream", builder.length(&embedding, 1)?, true);
    builder.table(&embedding, &stream, if head.is_some() { Side::Writes } else { Side::Both })?;
    let positions = format!("{prefix}embed_positions.weight");
    let learned = builder.has(&positions);
    if learned {
        builder.table(&positions, &stream, Side::Writes)?;
    }
    let width = width(builder, config, &format!("{prefix}layers.0.self_attn"))?;
    for layer in 0..builder.layers(&format!("{prefix}layers"), "self_attn.q_proj.weight") {
        let layer = format!("{prefix}layers.{layer}");
        let of = |map: &str| format!("{layer}.self_attn.{map}_proj");
        let maps = Maps {
            query: of("q"),
            key: of("k"),
            value: of("v"),
            output: of("o"),
            module: format!("{layer}.self_attn"),
        };
        let count = |map: &str| {
            let name = format!("{map}.weight");
            builder.over(&name, builder.length(&name, 0)?, width, "numbers of a head")
        };
        let (queries, keys) = (count(&maps.query)?, count(&maps.key)?);
        builder.over(&format!("{}.weight", maps.query), queries, keys, "heads of keys")?;
        attention(builder, &maps, Heads { queries, keys, width, rotary: !learned }, &stream)?;
        for norm in ["q_norm", "k_norm"] {
            let name = format!("{layer}.self_attn.{norm}.weight");
            builder.optional(&name, &[(&pin(width), Side::Writes)])?;
        }
        builder.buffer(&format!("{layer}.self_attn.rotary_emb.inv_freq"));
        builder.norm(&format!("{layer}.input_layernorm"), &stream)?;
        builder.norm(&format!("{layer}.post_attention_layernorm"), &stream)?;
        let of = |map: &str| format!("{layer}.mlp.{map}_proj");
        let gated = builder.has(&format!("{}.weight", of("gate")));
        let up = format!("{}.weight", of("up"));
        let name = if gated { of("gate") } else { of("up") };
        let hidden = builder.units(name, builder.length(&up, 0)?, &[]);
        if gated {
            builder.linear(&of("gate"), &hidden, &stream)?;
        }
        builder.linear(&of("up"), &hidden, &stream)?;
        builder.linear(&of("down"), &stream, &hidden)?;
    }
    builder.norm(&format!("{prefix}norm"), &stream)?;
    match head {
        Some(head) => builder.head(&head, &stream),
        None => Ok(()),
    }
}
