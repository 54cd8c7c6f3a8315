//! GPT-2: weights are [in, out], queries, keys and values stand behind each other in one matrix, the head is the embedding.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{equal_heads, inner};
use super::builder::{Builder, pin};
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["transformer.", ""];

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, "h.0.attn.c_attn.weight").is_some()
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, "h.0.attn.c_attn.weight").unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let tied = !builder.has("lm_head.weight");
    let pinned = outputs::pinned_unless_tied(config, !tied, true)?;
    let stream = builder.stream("stream", builder.length(&at("wte.weight"), 1)?, pinned);
    builder.table(&at("wte.weight"), &stream, if tied { Side::Both } else { Side::Writes })?;
    builder.table(&at("wpe.weight"), &stream, Side::Writes)?;
    let heads = config.number("n_head")?;
    for layer in 0..builder.layers(&at("h"), "attn.c_attn.weight") {
        let layer = at(&format!("h.{layer}"));
        let (fused, output) = (format!("{layer}.attn.c_attn"), format!("{layer}.attn.c_proj"));
        // The output's columns are one head behind the other.
        let heads = equal_heads(builder, &output, 0, heads)?;
        let units = inner(builder, heads, &format!("{layer}.attn"), &fused, &format!("{fused}.v"));
        builder.linear_in_out(&fused, &units.fused(), &stream)?;
        builder.linear_in_out(&output, &stream, &units.output)?;
        builder.buffer(&format!("{layer}.attn.bias"));
        builder.buffer(&format!("{layer}.attn.masked_bias"));
        builder.norm(&format!("{layer}.ln_1"), &stream)?;
        builder.norm(&format!("{layer}.ln_2"), &stream)?;
        let (up, down) = (format!("{layer}.mlp.c_fc"), format!("{layer}.mlp.c_proj"));
        let hidden = builder.units(up.clone(), builder.length(&format!("{up}.weight"), 1)?, &[]);
        builder.linear_in_out(&up, &hidden, &stream)?;
        builder.linear_in_out(&down, &stream, &hidden)?;
    }
    builder.norm(&at("ln_f"), &stream)?;
    let vocabulary = pin(builder.length(&at("wte.weight"), 0)?);
    builder.optional("lm_head.weight", &[(&vocabulary, Side::Writes), (&stream, Side::Reads)])
}
