//! CLIP: a tower for texts and one for images, each with a stream of its own. Their common embeddings are outputs.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads};
use super::builder::{Builder, Units, pin};
use super::config::Config;

const FIRST: &str = "encoder.layers.0.self_attn.q_proj.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.has(&format!("text_model.{FIRST}")) || builder.has(&format!("vision_model.{FIRST}"))
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    if builder.has(&format!("text_model.{FIRST}")) {
        texts(builder, config)?;
    }
    if builder.has(&format!("vision_model.{FIRST}")) {
        images(builder, config)?;
    }
    builder.buffer("logit_scale");
    Ok(())
}

/// Heads of a tower: of its part of `config.json`, or of the whole for a tower on its own.
fn heads(config: &Config<'_>, part: &str) -> Result<usize, NamesError> {
    let own = config.part(part);
    match (own.find("num_attention_heads")?, config.find("num_attention_heads")?) {
        (Some(heads), _) | (None, Some(heads)) => Ok(heads),
        (None, None) => own.number("num_attention_heads"),
    }
}

fn texts(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let words = "text_model.embeddings.token_embedding.weight";
    let projected = builder.has("text_projection.weight");
    let stream = builder.stream("text_model.stream", builder.length(words, 1)?, projected);
    builder.table(words, &stream, Side::Writes)?;
    builder.table("text_model.embeddings.position_embedding.weight", &stream, Side::Writes)?;
    builder.buffer("text_model.embeddings.position_ids");
    let heads = heads(config, "text_config")?;
    layers(builder, "text_model", heads, &stream)?;
    builder.norm("text_model.final_layer_norm", &stream)?;
    if projected { builder.head("text_projection", &stream) } else { Ok(()) }
}

fn images(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let class = "vision_model.embeddings.class_embedding";
    let projected = builder.has("visual_projection.weight");
    let stream = builder.stream("vision_model.stream", builder.length(class, 0)?, projected);
    builder.tensor(class, &[(&stream, Side::Writes)])?;
    let patches = "vision_model.embeddings.patch_embedding";
    let colours = pin(builder.length(&format!("{patches}.weight"), 1)?);
    builder.conv(patches, &stream, &colours)?;
    builder.table("vision_model.embeddings.position_embedding.weight", &stream, Side::Writes)?;
    builder.buffer("vision_model.embeddings.position_ids");
    // Hugging Face's spelling.
    builder.norm("vision_model.pre_layrnorm", &stream)?;
    let heads = heads(config, "vision_config")?;
    layers(builder, "vision_model", heads, &stream)?;
    builder.norm("vision_model.post_layernorm", &stream)?;
    if projected { builder.head("visual_projection", &stream) } else { Ok(()) }
}

fn layers(builder: &mut Builder<'_>, tower: &str, heads: usize, stream: &Units) -> Result<(), NamesError> {
    let layers = format!("{tower}.encoder.layers");
    for layer in 0..builder.layers(&layers, "self_attn.q_proj.weight") {
        let layer = format!("{layers}.{layer}");
        let of = |map: &str| format!("{layer}.self_attn.{map}_proj");
        let maps = Maps {
            query: of("q"),
            key: of("k"),
            value: of("v"),
            output: of("out"),
            module: format!("{layer}.self_attn"),
        };
        let heads = equal_heads(builder, &maps.query, 0, heads)?;
        attention(builder, &maps, heads, stream)?;
        builder.norm(&format!("{layer}.layer_norm1"), stream)?;
        builder.norm(&format!("{layer}.layer_norm2"), stream)?;
        let up = format!("{layer}.mlp.fc1");
        let hidden = builder.units(up.clone(), builder.length(&format!("{up}.weight"), 0)?, &[]);
        builder.linear(&up, &hidden, stream)?;
        builder.linear(&format!("{layer}.mlp.fc2"), stream, &hidden)?;
    }
    Ok(())
}
