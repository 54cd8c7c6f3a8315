//! T5, mT5, UMT5, Flan-T5: an encoder and a decoder on one embedding of words.
//!
//! Names and layout: `models/t5/modeling_t5.py` of transformers. The first block of a stack has a table of biases by distance,
//! [distances, heads], that the self-attentions of all its blocks add to their products: so the heads of a stack move together. In UMT5
//! (`models/umt5/modeling_umt5.py`) every block has one of its own. Attention on the encoder has none.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Heads, Maps, attend, inside};
use super::builder::{Builder, Units, pin};
use super::config::Config;
use super::outputs;

const FIRST: &str = "encoder.block.0.layer.0.SelfAttention.q.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.has(FIRST)
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let size = builder.length(FIRST, 1)?;
    let decodes = builder.has("decoder.block.0.layer.0.SelfAttention.q.weight");
    let untied = builder.has("lm_head.weight");
    let pinned = match decodes {
        true => outputs::pinned_unless_tied(config, untied, true)?,
        false => outputs::pinned(config, false),
    };
    let stream = builder.stream("stream", size, pinned);
    // The embedding is there once or under three names.
    for name in ["shared", "encoder.embed_tokens", "decoder.embed_tokens"] {
        let name = format!("{name}.weight");
        if builder.has(&name) {
            let side = if untied || !decodes { Side::Writes } else { Side::Both };
            builder.table(&name, &stream, side)?;
        }
    }
    stack(builder, "encoder", &stream)?;
    if decodes {
        stack(builder, "decoder", &stream)?;
    }
    if untied { builder.head("lm_head", &stream) } else { Ok(()) }
}

fn stack(builder: &mut Builder<'_>, name: &str, stream: &Units) -> Result<(), NamesError> {
    let first = format!("{name}.block.0.layer.0.SelfAttention");
    let count = builder.length(&format!("{first}.relative_attention_bias.weight"), 1)?;
    let mut shared = Units::new();
    for block in 0..builder.layers(&format!("{name}.block"), "layer.0.SelfAttention.q.weight") {
        let block = format!("{name}.block.{block}");
        let own = format!("{block}.layer.0.SelfAttention");
        let table = format!("{own}.relative_attention_bias.weight");
        if builder.has(&table) {
            shared = builder.units(format!("{own}.head"), count, &[]);
            builder.table(&table, &shared, Side::Writes)?;
        }
        attention(builder, own, count, shared.clone(), stream)?;
        builder.norm(&format!("{block}.layer.0.layer_norm"), stream)?;
        let cross = format!("{block}.layer.1.EncDecAttention");
        let mut last = 1;
        if builder.has(&format!("{cross}.q.weight")) {
            let head = builder.units(format!("{cross}.head"), count, &[]);
            attention(builder, cross, count, head, stream)?;
            builder.norm(&format!("{block}.layer.1.layer_norm"), stream)?;
            last = 2;
        }
        let dense = format!("{block}.layer.{last}.DenseReluDense");
        let ups: Vec<String> = ["wi", "wi_0", "wi_1"]
            .into_iter()
            .map(|map| format!("{dense}.{map}"))
            .filter(|map| builder.has(&format!("{map}.weight")))
            .collect();
        let down = format!("{dense}.wo");
        let hidden = builder.units(down.clone(), builder.length(&format!("{down}.weight"), 1)?, &[]);
        for up in ups {
            builder.linear(&up, &hidden, stream)?;
        }
        builder.linear(&down, stream, &hidden)?;
        builder.norm(&format!("{block}.layer.{last}.layer_norm"), stream)?;
    }
    builder.norm(&format!("{name}.final_layer_norm"), stream)
}

/// An attention with these heads. Encoder and decoder share the units of the stream, since they share the embedding.
fn attention(
    builder: &mut Builder<'_>,
    module: String,
    count: usize,
    head: Units,
    stream: &Units,
) -> Result<(), NamesError> {
    let maps = Maps::of(module, ["q", "k", "v", "o"]);
    let weight = format!("{}.weight", maps.query);
    let width = builder.over(&weight, builder.length(&weight, 0)?, count, "heads")?;
    let heads = Heads { queries: count, keys: count, width, rotated: 0, placed: false };
    let units = inside(builder, heads, head, pin(1), &maps.query, &maps.value);
    attend(builder, &maps, &units, stream, stream)
}
