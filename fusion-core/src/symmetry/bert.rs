//! BERT and RoBERTa with their heads: masked tokens (whose decoder is the embedding), next sentences, classes of a sequence or of tokens,
//! answers.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads};
use super::builder::{Builder, Units, pin};
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["bert.", "roberta.", ""];
const FIRST: &str = "encoder.layer.0.attention.self.query.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FIRST).is_some_and(|prefix| has_words(builder, prefix))
}

fn has_words(builder: &Builder<'_>, prefix: &str) -> bool {
    builder.has(&format!("{prefix}embeddings.word_embeddings.weight"))
}

/// LayerNorm; old files call its tensors `gamma` and `beta`.
fn norm(builder: &mut Builder<'_>, name: &str, units: &Units) -> Result<(), NamesError> {
    if !builder.has(&format!("{name}.gamma")) {
        return builder.norm(name, units);
    }
    builder.tensor(&format!("{name}.gamma"), &[(units, Side::Writes)])?;
    builder.tensor(&format!("{name}.beta"), &[(units, Side::Writes)])
}

/// What `classifier` reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Classifier {
    Tokens,
    Pooled,
    /// Nothing tells which.
    Either,
}

/// Files of classifiers of tokens often have a pooler, which nothing reads, so its tensors do not tell.
fn classifier(builder: &Builder<'_>, config: &Config<'_>, pools: bool) -> Option<Classifier> {
    let tokens = config.class(&["ForTokenClassification"]);
    let pooled = config.class(&["ForSequenceClassification", "ForMultipleChoice"]);
    builder.has("classifier.weight").then_some(match (pools, tokens, pooled) {
        (false, ..) | (true, true, false) => Classifier::Tokens,
        (true, false, true) => Classifier::Pooled,
        (true, ..) => Classifier::Either,
    })
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FIRST).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let words = at("embeddings.word_embeddings.weight");
    // Heads that read the stream itself, or pooled vectors.
    let masked = ["cls.predictions.transform.dense", "lm_head.dense"]
        .into_iter()
        .find(|head| builder.has(&format!("{head}.weight")));
    let pools = builder.has(&at("pooler.dense.weight"));
    let sequence = builder.has("classifier.dense.weight");
    let classifier = classifier(builder, config, pools);
    let reads_tokens = masked.is_some()
        || sequence
        || builder.has("qa_outputs.weight")
        || classifier == Some(Classifier::Tokens);
    let reads_pooled =
        pools && (classifier == Some(Classifier::Pooled) || builder.has("cls.seq_relationship.weight"));
    let pinned = match classifier {
        Some(Classifier::Either) => Some(
            "whether `classifier` reads the tokens or the pooled vector is in `architectures` of `config.json`, and that does not say it"
                .to_owned(),
        ),
        _ => outputs::pinned(config, reads_tokens || reads_pooled),
    };
    // Then the pooled vector may be read as well, or given out.
    let reads_pooled = reads_pooled && pinned.is_none();
    let stream = builder.stream("stream", builder.length(&words, 1)?, pinned);
    builder.table(&words, &stream, if masked.is_some() { Side::Both } else { Side::Writes })?;
    for table in ["embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"] {
        if builder.has(&at(table)) {
            builder.table(&at(table), &stream, Side::Writes)?;
        }
    }
    builder.buffer(&at("embeddings.position_ids"));
    builder.buffer(&at("embeddings.token_type_ids"));
    norm(builder, &at("embeddings.LayerNorm"), &stream)?;
    let heads = config.number("num_attention_heads")?;
    for layer in 0..builder.layers(&at("encoder.layer"), "attention.self.query.weight") {
        let layer = at(&format!("encoder.layer.{layer}"));
        let maps =
            Maps::of(format!("{layer}.attention"), ["self.query", "self.key", "self.value", "output.dense"]);
        let mut heads = equal_heads(builder, &maps.query, 0, heads)?;
        let distances = format!("{layer}.attention.self.distance_embedding.weight");
        if builder.has(&distances) {
            // Relative positions: one table for all heads is multiplied by queries (and keys), so their dimensions stay.
            heads.rotated = heads.width;
            builder.table(&distances, &pin(heads.width), Side::Reads)?;
        }
        attention(builder, &maps, heads, &stream)?;
        norm(builder, &format!("{layer}.attention.output.LayerNorm"), &stream)?;
        let (up, down) = (format!("{layer}.intermediate.dense"), format!("{layer}.output.dense"));
        builder.two_layers(&up, &down, &stream, &stream)?;
        norm(builder, &format!("{layer}.output.LayerNorm"), &stream)?;
    }
    let mut pooled = stream.clone();
    if pools {
        let dense = at("pooler.dense");
        let width = builder.length(&format!("{dense}.weight"), 0)?;
        pooled = if reads_pooled { builder.units(dense.clone(), width, &[]) } else { pin(width) };
        builder.linear(&dense, &pooled, &stream)?;
    }
    if let Some(dense) = masked {
        masked_tokens(builder, dense, &words, &stream)?;
    }
    if builder.has("cls.seq_relationship.weight") {
        builder.head("cls.seq_relationship", &pooled)?;
    }
    if sequence {
        let width = builder.length("classifier.dense.weight", 0)?;
        let dense = builder.units("classifier.dense", width, &[]);
        builder.linear("classifier.dense", &dense, &stream)?;
        builder.head("classifier.out_proj", &dense)?;
    }
    match classifier {
        Some(Classifier::Tokens) => builder.head("classifier", &stream)?,
        Some(_) => builder.head("classifier", &pooled)?,
        None => {}
    }
    if builder.has("qa_outputs.weight") {
        builder.head("qa_outputs", &stream)?;
    }
    Ok(())
}

/// The decoder of masked tokens is the embedding of words, so what it reads is the stream again.
fn masked_tokens(
    builder: &mut Builder<'_>,
    dense: &str,
    words: &str,
    stream: &Units,
) -> Result<(), NamesError> {
    let (base, layer_norm) = match dense.strip_suffix(".transform.dense") {
        Some(base) => (base, format!("{base}.transform.LayerNorm")),
        None => ("lm_head", "lm_head.layer_norm".to_owned()),
    };
    builder.linear(dense, stream, stream)?;
    norm(builder, &layer_norm, stream)?;
    let vocabulary = pin(builder.length(words, 0)?);
    builder.optional(&format!("{base}.bias"), &[(&vocabulary, Side::Writes)])?;
    builder.optional(&format!("{base}.decoder.bias"), &[(&vocabulary, Side::Writes)])?;
    builder.optional(&format!("{base}.decoder.weight"), &[(&vocabulary, Side::Writes), (stream, Side::Reads)])
}
