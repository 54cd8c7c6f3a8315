//! CLIP and SigLIP: a tower for texts and one for images, each with a stream of its own. Their common embeddings are outputs.
//!
//! Names and layout: `models/{clip,siglip}/modeling_*.py` of transformers. SigLIP has no class token: a learned probe attends to the patches, and
//! what it gets, with a feed-forward layer on it, is the embedding.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads, inner};
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
    builder.buffer("logit_bias");
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

/// Why a tower's stream stays: as [`super::outputs::pinned`], but `CLIPModel` has heads.
fn pinned(config: &Config<'_>, tower: &str, head: bool) -> Option<String> {
    match (config.class(&[tower]), head) {
        (true, _) => Some(format!("they are the output of a `…{tower}`")),
        (false, false) => Some("they are the output, since no head in the file reads them".to_owned()),
        (false, true) => None,
    }
}

fn texts(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let words = "text_model.embeddings.token_embedding.weight";
    // CLIP's, SigLIP's.
    let names = ["text_projection", "text_model.head"];
    let head = names.into_iter().find(|head| builder.has(&format!("{head}.weight")));
    let pinned = pinned(config, "TextModel", head.is_some());
    let stream = builder.stream("text_model.stream", builder.length(words, 1)?, pinned);
    builder.table(words, &stream, Side::Writes)?;
    builder.table("text_model.embeddings.position_embedding.weight", &stream, Side::Writes)?;
    builder.buffer("text_model.embeddings.position_ids");
    let heads = heads(config, "text_config")?;
    layers(builder, "text_model", heads, &stream)?;
    builder.norm("text_model.final_layer_norm", &stream)?;
    head.map_or(Ok(()), |head| builder.head(head, &stream))
}

fn images(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let class = "vision_model.embeddings.class_embedding";
    let projected = builder.has("visual_projection.weight");
    let probed = builder.has("vision_model.head.probe");
    let patches = "vision_model.embeddings.patch_embedding";
    let size = builder.length(&format!("{patches}.weight"), 0)?;
    let pinned = pinned(config, "VisionModel", projected || probed);
    let stream = builder.stream("vision_model.stream", size, pinned);
    builder.optional(class, &[(&stream, Side::Writes)])?;
    let colours = pin(builder.length(&format!("{patches}.weight"), 1)?);
    builder.conv(patches, &stream, &colours)?;
    builder.table("vision_model.embeddings.position_embedding.weight", &stream, Side::Writes)?;
    builder.buffer("vision_model.embeddings.position_ids");
    // Hugging Face's spelling.
    builder.optional_norm("vision_model.pre_layrnorm", &stream)?;
    let heads = heads(config, "vision_config")?;
    layers(builder, "vision_model", heads, &stream)?;
    builder.norm("vision_model.post_layernorm", &stream)?;
    if probed {
        probe(builder, heads, &stream)?;
    }
    if projected { builder.head("visual_projection", &stream) } else { Ok(()) }
}

/// The probe of SigLIP is multiplied by the same matrix as the patches, so it has their units; what comes out is the model's output.
fn probe(builder: &mut Builder<'_>, heads: usize, stream: &Units) -> Result<(), NamesError> {
    let head = "vision_model.head";
    let (one, out) = (pin(1), pin(builder.width(stream)));
    let axes = [(&one, Side::Writes), (&one, Side::Writes), (stream, Side::Writes)];
    builder.tensor(&format!("{head}.probe"), &axes)?;
    let output = format!("{head}.attention.out_proj");
    let heads = equal_heads(builder, &output, 1, heads)?;
    // PyTorch's own attention: queries, keys and values behind each other.
    let fused = format!("{head}.attention.in_proj");
    let units = inner(builder, heads, &format!("{head}.attention"), &fused, &format!("{fused}.v"));
    let rows = units.fused();
    builder.tensor(&format!("{fused}_weight"), &[(&rows, Side::Writes), (stream, Side::Reads)])?;
    builder.tensor(&format!("{fused}_bias"), &[(&rows, Side::Writes)])?;
    builder.linear(&output, &out, &units.output)?;
    builder.norm(&format!("{head}.layernorm"), &out)?;
    builder.two_layers(&format!("{head}.mlp.fc1"), &format!("{head}.mlp.fc2"), &out, &out)?;
    Ok(())
}

fn layers(builder: &mut Builder<'_>, tower: &str, heads: usize, stream: &Units) -> Result<(), NamesError> {
    let layers = format!("{tower}.encoder.layers");
    for layer in 0..builder.layers(&layers, "self_attn.q_proj.weight") {
        let layer = format!("{layers}.{layer}");
        let maps = Maps::of(format!("{layer}.self_attn"), ["q_proj", "k_proj", "v_proj", "out_proj"]);
        let heads = equal_heads(builder, &maps.query, 0, heads)?;
        attention(builder, &maps, heads, stream)?;
        builder.norm(&format!("{layer}.layer_norm1"), stream)?;
        builder.norm(&format!("{layer}.layer_norm2"), stream)?;
        builder.two_layers(&format!("{layer}.mlp.fc1"), &format!("{layer}.mlp.fc2"), stream, stream)?;
    }
    Ok(())
}
