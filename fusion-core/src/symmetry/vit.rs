//! Vision transformers as Hugging Face names them.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads};
use super::builder::{Builder, pin};
use super::config::Config;

const PREFIXES: &[&str] = &["vit.", ""];
const FIRST: &str = "encoder.layer.0.attention.attention.query.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FIRST).is_some()
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FIRST).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let class = at("embeddings.cls_token");
    let head = builder.has("classifier.weight");
    let stream = builder.stream("stream", builder.length(&class, 2)?, head);
    let one = pin(1);
    for name in [class, at("embeddings.mask_token")] {
        builder.optional(&name, &[(&one, Side::Writes), (&one, Side::Writes), (&stream, Side::Writes)])?;
    }
    let positions = at("embeddings.position_embeddings");
    let places = pin(builder.length(&positions, 1)?);
    builder.tensor(&positions, &[(&one, Side::Writes), (&places, Side::Writes), (&stream, Side::Writes)])?;
    let patches = at("embeddings.patch_embeddings.projection");
    let colours = pin(builder.length(&format!("{patches}.weight"), 1)?);
    builder.conv(&patches, &stream, &colours)?;
    let heads = config.number("num_attention_heads")?;
    for layer in 0..builder.layers(&at("encoder.layer"), "attention.attention.query.weight") {
        let layer = at(&format!("encoder.layer.{layer}"));
        let of = |map: &str| format!("{layer}.attention.attention.{map}");
        let maps = Maps {
            query: of("query"),
            key: of("key"),
            value: of("value"),
            output: format!("{layer}.attention.output.dense"),
            module: format!("{layer}.attention"),
        };
        let heads = equal_heads(builder, &maps.query, 0, heads)?;
        builder.norm(&format!("{layer}.layernorm_before"), &stream)?;
        attention(builder, &maps, heads, &stream)?;
        builder.norm(&format!("{layer}.layernorm_after"), &stream)?;
        let up = format!("{layer}.intermediate.dense");
        let hidden = builder.units(up.clone(), builder.length(&format!("{up}.weight"), 0)?, &[]);
        builder.linear(&up, &hidden, &stream)?;
        builder.linear(&format!("{layer}.output.dense"), &stream, &hidden)?;
    }
    builder.norm(&at("layernorm"), &stream)?;
    if builder.has(&at("pooler.dense.weight")) {
        builder.head(&at("pooler.dense"), &stream)?;
    }
    match head {
        true => builder.head("classifier", &stream),
        false => Ok(()),
    }
}
