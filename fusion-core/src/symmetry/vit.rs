//! Vision transformers as Hugging Face names them: ViT, DeiT, and DINOv2 with its scaled layers, registers and SwiGLU.
//!
//! Names and layout: `models/{vit,deit,dinov2,dinov2_with_registers}/modeling_*.py` of transformers. The classifier of DINOv2 reads the class
//! token and the mean of the patches behind each other.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads};
use super::builder::{Builder, Units, beside, pin};
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["vit.", "deit.", "dinov2.", "dinov2_with_registers.", ""];
const FIRST: &str = "encoder.layer.0.attention.attention.query.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FIRST).is_some()
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FIRST).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let class = at("embeddings.cls_token");
    let heads = ["classifier", "cls_classifier", "distillation_classifier"];
    let heads: Vec<&str> = heads.into_iter().filter(|head| builder.has(&format!("{head}.weight"))).collect();
    let pinned = outputs::pinned(config, !heads.is_empty());
    let stream = builder.stream("stream", builder.length(&class, 2)?, pinned);
    let one = pin(1);
    for name in [class, at("embeddings.distillation_token")] {
        builder.optional(&name, &[(&one, Side::Writes), (&one, Side::Writes), (&stream, Side::Writes)])?;
    }
    // [1, 1, width] in ViT, [1, width] in DINOv2.
    let mask = at("embeddings.mask_token");
    match builder.shape(&mask).map_or(0, <[usize]>::len) {
        0 => {}
        2 => builder.tensor(&mask, &[(&one, Side::Writes), (&stream, Side::Writes)])?,
        _ => builder.tensor(&mask, &[(&one, Side::Writes), (&one, Side::Writes), (&stream, Side::Writes)])?,
    }
    for name in [at("embeddings.position_embeddings"), at("embeddings.register_tokens")] {
        if builder.has(&name) {
            let places = pin(builder.length(&name, 1)?);
            builder
                .tensor(&name, &[(&one, Side::Writes), (&places, Side::Writes), (&stream, Side::Writes)])?;
        }
    }
    let patches = at("embeddings.patch_embeddings.projection");
    let colours = pin(builder.length(&format!("{patches}.weight"), 1)?);
    builder.conv(&patches, &stream, &colours)?;
    let count = config.number("num_attention_heads")?;
    for layer in 0..builder.layers(&at("encoder.layer"), "attention.attention.query.weight") {
        let layer = at(&format!("encoder.layer.{layer}"));
        let maps = Maps::of(
            format!("{layer}.attention"),
            ["attention.query", "attention.key", "attention.value", "output.dense"],
        );
        let heads = equal_heads(builder, &maps.query, 0, count)?;
        attention(builder, &maps, heads, &stream)?;
        let names = match builder.has(&format!("{layer}.norm1.weight")) {
            true => ["norm1", "norm2"],
            false => ["layernorm_before", "layernorm_after"],
        };
        names.iter().try_for_each(|norm| builder.norm(&format!("{layer}.{norm}"), &stream))?;
        for scale in ["layer_scale1.lambda1", "layer_scale2.lambda1"] {
            builder.optional(&format!("{layer}.{scale}"), &[(&stream, Side::Writes)])?;
        }
        feed_forward(builder, &layer, &stream)?;
    }
    builder.norm(&at("layernorm"), &stream)?;
    if builder.has(&at("pooler.dense.weight")) {
        builder.head(&at("pooler.dense"), &stream)?;
    }
    for head in heads {
        let weight = format!("{head}.weight");
        let both = builder.length(&weight, 1)? == 2 * builder.width(&stream);
        let read = if both { beside(&[&stream, &stream]) } else { stream.clone() };
        builder.head(head, &read)?;
    }
    Ok(())
}

/// Two linear layers, or SwiGLU, whose halves stand behind each other.
fn feed_forward(builder: &mut Builder<'_>, layer: &str, stream: &Units) -> Result<(), NamesError> {
    let names = [
        ("mlp.weights_in", "mlp.weights_out"),
        ("mlp.fc1", "mlp.fc2"),
        ("intermediate.dense", "output.dense"),
    ];
    let has = |up: &str| builder.has(&format!("{layer}.{up}.weight"));
    let (up, down) = names.into_iter().find(|(up, _)| has(up)).unwrap_or(names[2]);
    let (up, down) = (format!("{layer}.{up}"), format!("{layer}.{down}"));
    let hidden = builder.units(up.clone(), builder.length(&format!("{down}.weight"), 1)?, &[]);
    let twice = up.ends_with("weights_in");
    builder.linear(&up, &if twice { beside(&[&hidden, &hidden]) } else { hidden.clone() }, stream)?;
    builder.linear(&down, stream, &hidden)
}
