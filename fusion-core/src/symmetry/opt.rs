//! OPT: learned positions, ReLU, norms in front of the layers or (350m) behind them, where words are also narrower than the stream.
//!
//! Names and layout: `models/opt/modeling_opt.py` of transformers; the head is the embedding of words.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads};
use super::builder::{Builder, pin};
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["model.decoder.", "decoder.", ""];
const FIRST: &str = "layers.0.self_attn.q_proj.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FIRST).is_some_and(|prefix| {
        builder.has(&format!("{prefix}layers.0.self_attn_layer_norm.weight"))
            && builder.has(&format!("{prefix}layers.0.fc1.weight"))
            && builder.has(&format!("{prefix}embed_positions.weight"))
            && !builder.has(&format!("{prefix}layers.0.encoder_attn.q_proj.weight"))
    })
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FIRST).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let (table, project) = (at("embed_tokens.weight"), at("project_in"));
    let narrow = builder.has(&format!("{project}.weight"));
    let width = builder.length(&at("layers.0.self_attn.q_proj.weight"), 1)?;
    let tied = !builder.has("lm_head.weight");
    let pinned = outputs::pinned_unless_tied(config, !tied, true)?;
    // Where words are narrower, what comes out is as narrow.
    let stream = builder.stream("stream", width, pinned.clone().filter(|_| !narrow));
    let words = match narrow {
        true => builder.stream("words", builder.length(&table, 1)?, pinned),
        false => stream.clone(),
    };
    builder.table(&table, &words, if tied { Side::Both } else { Side::Writes })?;
    if narrow {
        builder.linear(&project, &stream, &words)?;
        builder.linear(&at("project_out"), &words, &stream)?;
    }
    builder.table(&at("embed_positions.weight"), &stream, Side::Writes)?;
    let count = config.number("num_attention_heads")?;
    let relu = config.says("activation_function", "relu");
    for layer in 0..builder.layers(&at("layers"), "self_attn.q_proj.weight") {
        let layer = at(&format!("layers.{layer}"));
        let maps = Maps::of(format!("{layer}.self_attn"), ["q_proj", "k_proj", "v_proj", "out_proj"]);
        let heads = equal_heads(builder, &maps.query, 0, count)?;
        attention(builder, &maps, heads, &stream)?;
        builder.norm(&format!("{layer}.self_attn_layer_norm"), &stream)?;
        builder.norm(&format!("{layer}.final_layer_norm"), &stream)?;
        let (up, down) = (format!("{layer}.fc1"), format!("{layer}.fc2"));
        let hidden = builder.two_layers(&up, &down, &stream, &stream)?;
        if relu {
            builder.scalable(hidden);
        }
    }
    builder.optional_norm(&at("final_layer_norm"), &stream)?;
    let vocabulary = pin(builder.length(&table, 0)?);
    builder.optional("lm_head.weight", &[(&vocabulary, Side::Writes), (&words, Side::Reads)])
}
