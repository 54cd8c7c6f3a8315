//! DistilBERT with its heads: masked tokens (whose projector is the embedding), classes of a sequence or of tokens, answers.
//!
//! Names and layout: `models/distilbert/modeling_distilbert.py` of transformers.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads};
use super::builder::{Builder, pin};
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["distilbert.", ""];
const FIRST: &str = "transformer.layer.0.attention.q_lin.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FIRST).is_some()
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FIRST).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let words = at("embeddings.word_embeddings.weight");
    let masked = builder.has("vocab_transform.weight");
    let read = ["pre_classifier.weight", "classifier.weight", "qa_outputs.weight"];
    let read = masked || read.into_iter().any(|head| builder.has(head));
    let stream = builder.stream("stream", builder.length(&words, 1)?, outputs::pinned(config, read));
    builder.table(&words, &stream, if masked { Side::Both } else { Side::Writes })?;
    builder.table(&at("embeddings.position_embeddings.weight"), &stream, Side::Writes)?;
    builder.norm(&at("embeddings.LayerNorm"), &stream)?;
    let count = match config.find("n_heads")? {
        Some(count) => count,
        None => config.number("num_attention_heads")?,
    };
    for layer in 0..builder.layers(&at("transformer.layer"), "attention.q_lin.weight") {
        let layer = at(&format!("transformer.layer.{layer}"));
        let maps = Maps::of(format!("{layer}.attention"), ["q_lin", "k_lin", "v_lin", "out_lin"]);
        let heads = equal_heads(builder, &maps.query, 0, count)?;
        attention(builder, &maps, heads, &stream)?;
        builder.norm(&format!("{layer}.sa_layer_norm"), &stream)?;
        builder.two_layers(&format!("{layer}.ffn.lin1"), &format!("{layer}.ffn.lin2"), &stream, &stream)?;
        builder.norm(&format!("{layer}.output_layer_norm"), &stream)?;
    }
    if masked {
        // What the embedding reads is the stream again.
        builder.linear("vocab_transform", &stream, &stream)?;
        builder.norm("vocab_layer_norm", &stream)?;
        let vocabulary = pin(builder.length(&words, 0)?);
        builder.optional("vocab_projector.bias", &[(&vocabulary, Side::Writes)])?;
        let axes = [(&vocabulary, Side::Writes), (&stream, Side::Reads)];
        builder.optional("vocab_projector.weight", &axes)?;
    }
    let mut pooled = stream.clone();
    if builder.has("pre_classifier.weight") {
        // ReLU follows.
        let units = builder.units("pre_classifier", builder.length("pre_classifier.weight", 0)?, &[]);
        let units = builder.scalable(units);
        builder.linear("pre_classifier", &units, &stream)?;
        // A classifier of tokens reads the stream, whatever else is left in the file.
        if !config.class(&["ForTokenClassification"]) {
            pooled = units;
        }
    }
    if builder.has("classifier.weight") {
        builder.head("classifier", &pooled)?;
    }
    if builder.has("qa_outputs.weight") {
        builder.head("qa_outputs", &stream)?;
    }
    Ok(())
}
