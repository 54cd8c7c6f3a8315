//! Whether a head reads the stream, or whether the stream is what the model gives out: a body on its own (`MistralModel`) and a model whose head is
//! its embedding have the same tensors, so `config.json` decides, and what it does not say stays.

use super::NamesError;
use super::config::Config;

/// Endings of the classes whose head may be the embedding.
const WITH_HEAD: &[&str] = &["ForCausalLM", "HeadModel", "HeadsModel", "ForConditionalGeneration"];

/// The class that says that the model has no head: `GPT2Model`, `BertModel`, `T5EncoderModel`. Such a model's output is its stream, whatever heads
/// are in the file.
pub(super) fn bare<'a>(config: &Config<'a>) -> Option<&'a str> {
    let heads = ["HeadModel", "HeadsModel"];
    let bare = |class: &&str| class.ends_with("Model") && !heads.iter().any(|head| class.ends_with(head));
    config.classes().into_iter().find(bare)
}

/// Why the units of a stream have to stay, or `None` where a head in the file reads them (`head`).
pub(super) fn pinned(config: &Config<'_>, head: bool) -> Option<String> {
    match (bare(config), head) {
        (Some(class), _) => Some(format!("they are the output of a `{class}`")),
        (None, false) => Some("they are the output, since no head in the file reads them".to_owned()),
        (None, true) => None,
    }
}

/// The same for a model whose head may be its embedding. That is so where its class has a head and `tie_word_embeddings` is true; `tied` is what
/// transformers takes where `config.json` does not say it.
pub(super) fn pinned_unless_tied(
    config: &Config<'_>,
    head: bool,
    tied: bool,
) -> Result<Option<String>, NamesError> {
    let part = config.part("text_config");
    let said = config.yes("tie_word_embeddings")?.or(part.yes("tie_word_embeddings")?);
    if head || bare(config).is_some() {
        return Ok(pinned(config, head));
    }
    Ok(match (config.class(WITH_HEAD), said.unwrap_or(tied)) {
        (true, true) => None,
        (true, false) => {
            Some("no head in the file reads them, and by `config.json` the embedding is none".to_owned())
        }
        (false, _) => Some(
            "no head in the file reads them; where the embedding is the head, `config.json` says so by `architectures` (`…ForCausalLM`) and \
             `tie_word_embeddings`"
                .to_owned(),
        ),
    })
}
