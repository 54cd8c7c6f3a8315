//! GPT-J: attention and feed-forward side by side behind one norm; the first `rotary_dim` numbers of queries and keys are rotated.
//!
//! Names and layout: `models/gptj/modeling_gptj.py` of transformers. Without `rotary_dim` in `config.json` all dimensions of queries and keys
//! stay.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Maps, attention, equal_heads};
use super::builder::Builder;
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["transformer.", ""];
const FIRST: &str = "h.0.attn.q_proj.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder
        .prefix(PREFIXES, FIRST)
        .is_some_and(|prefix| builder.has(&format!("{prefix}h.0.mlp.fc_in.weight")))
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FIRST).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let words = at("wte.weight");
    let head = builder.has("lm_head.weight");
    let stream = builder.stream("stream", builder.length(&words, 1)?, outputs::pinned(config, head));
    builder.table(&words, &stream, Side::Writes)?;
    let count = config.number("n_head")?;
    let rotated = config.find("rotary_dim")?;
    for layer in 0..builder.layers(&at("h"), "attn.q_proj.weight") {
        let layer = at(&format!("h.{layer}"));
        let maps = Maps::of(format!("{layer}.attn"), ["q_proj", "k_proj", "v_proj", "out_proj"]);
        let mut heads = equal_heads(builder, &maps.query, 0, count)?;
        heads.rotated = rotated.map_or(heads.width, |rotated| rotated.next_multiple_of(2).min(heads.width));
        attention(builder, &maps, heads, &stream)?;
        for buffer in ["bias", "masked_bias", "embed_positions"] {
            builder.buffer(&format!("{layer}.attn.{buffer}"));
        }
        builder.norm(&format!("{layer}.ln_1"), &stream)?;
        let (up, down) = (format!("{layer}.mlp.fc_in"), format!("{layer}.mlp.fc_out"));
        builder.two_layers(&up, &down, &stream, &stream)?;
    }
    builder.norm(&at("ln_f"), &stream)?;
    if head { builder.head("lm_head", &stream) } else { Ok(()) }
}
