//! GPT-NeoX and Pythia: each head's queries, keys and values stand together in one matrix, `head · (q ++ k ++ v)`.
//!
//! Names and layout: `models/gpt_neox/modeling_gpt_neox.py` of transformers: `query_key_value(x).view(…, heads, 3 · width)`, of which the first
//! third are queries, then keys, then values; the first ⌊width · `rotary_pct`⌋ numbers of queries and keys are rotated.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{equal_heads, inner, rotated};
use super::builder::{Builder, beside, pin};
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["gpt_neox.", ""];
const FUSED: &str = "layers.0.attention.query_key_value.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FUSED).is_some_and(|prefix| builder.has(&format!("{prefix}embed_in.weight")))
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FUSED).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let embedding = at("embed_in.weight");
    let tied = !builder.has("embed_out.weight");
    let pinned = outputs::pinned_unless_tied(config, !tied, false)?;
    let stream = builder.stream("stream", builder.length(&embedding, 1)?, pinned);
    builder.table(&embedding, &stream, if tied { Side::Both } else { Side::Writes })?;
    let heads = config.number("num_attention_heads")?;
    for layer in 0..builder.layers(&at("layers"), "attention.query_key_value.weight") {
        let layer = at(&format!("layers.{layer}"));
        let (fused, output) =
            (format!("{layer}.attention.query_key_value"), format!("{layer}.attention.dense"));
        let mut heads = equal_heads(builder, &output, 1, heads)?;
        heads.rotated = rotated(config, &["rotary_pct", "partial_rotary_factor"], heads.width)?;
        let units = inner(builder, heads, &format!("{layer}.attention"), &fused, &format!("{fused}.v"));
        let parts = beside(&[&units.query, &units.key, &units.mixed]);
        builder.linear_in_front(&fused, &units.key_heads, &parts, &stream)?;
        builder.linear(&output, &stream, &units.output)?;
        for name in ["attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"] {
            builder.buffer(&format!("{layer}.{name}"));
        }
        builder.norm(&format!("{layer}.input_layernorm"), &stream)?;
        builder.norm(&format!("{layer}.post_attention_layernorm"), &stream)?;
        let (up, down) = (format!("{layer}.mlp.dense_h_to_4h"), format!("{layer}.mlp.dense_4h_to_h"));
        builder.two_layers(&up, &down, &stream, &stream)?;
    }
    builder.norm(&at("final_layer_norm"), &stream)?;
    let vocabulary = pin(builder.length(&embedding, 0)?);
    builder.optional("embed_out.weight", &[(&vocabulary, Side::Writes), (&stream, Side::Reads)])
}
