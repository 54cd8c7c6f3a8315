//! GPT-NeoX and Pythia: each head's queries, keys and values stand together in one matrix.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::builder::{Builder, pin, times};
use super::config::Config;

const PREFIXES: &[&str] = &["gpt_neox.", ""];
const FUSED: &str = "layers.0.attention.query_key_value.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FUSED).is_some_and(|prefix| builder.has(&format!("{prefix}embed_in.weight")))
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FUSED).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let embedding = at("embed_in.weight");
    let tied = !builder.has("embed_out.weight");
    let stream = builder.stream("stream", builder.length(&embedding, 1)?, true);
    builder.table(&embedding, &stream, if tied { Side::Both } else { Side::Writes })?;
    let heads = config.number("num_attention_heads")?;
    for layer in 0..builder.layers(&at("layers"), "attention.query_key_value.weight") {
        let layer = at(&format!("layers.{layer}"));
        let (fused, output) =
            (format!("{layer}.attention.query_key_value"), format!("{layer}.attention.dense"));
        let weight = format!("{output}.weight");
        let width = builder.over(&weight, builder.length(&weight, 1)?, heads, "heads")?;
        let head = builder.units(format!("{layer}.attention.head"), heads, &[]);
        builder.linear(&fused, &times(&[&head, &pin(3 * width)]), &stream)?;
        builder.linear(&output, &stream, &times(&[&head, &pin(width)]))?;
        for name in ["attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"] {
            builder.buffer(&format!("{layer}.{name}"));
        }
        builder.norm(&format!("{layer}.input_layernorm"), &stream)?;
        builder.norm(&format!("{layer}.post_attention_layernorm"), &stream)?;
        let (up, down) = (format!("{layer}.mlp.dense_h_to_4h"), format!("{layer}.mlp.dense_4h_to_h"));
        let hidden = builder.units(up.clone(), builder.length(&format!("{up}.weight"), 0)?, &[]);
        builder.linear(&up, &hidden, &stream)?;
        builder.linear(&down, &stream, &hidden)?;
    }
    builder.norm(&at("final_layer_norm"), &stream)?;
    builder.note(
        "queries, keys and values of a head stand together: heads move as wholes, the dimensions in a head stay",
    );
    let vocabulary = pin(builder.length(&embedding, 0)?);
    builder.optional("embed_out.weight", &[(&vocabulary, Side::Writes), (&stream, Side::Reads)])
}
