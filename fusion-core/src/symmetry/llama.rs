//! Llama and its kin: decoders of one stream with rotated queries and keys, whatever their norms, biases, heads and feed-forward layers are
//! (`experts`); and our own `transformer`.
//!
//! | family | what differs (`models/…/modeling_*.py` of transformers) |
//! |---|---|
//! | Mistral, Qwen2, Granite | heads of keys, biases, scales that are numbers of `config.json` |
//! | Gemma, Gemma 2, Gemma 3 | the embedding is the head; four norms a layer; in Gemma 3 norms over each head |
//! | Qwen3, OLMo, OLMo 2, Cohere | norms of queries and keys over a head, or over all heads; norms without parameters |
//! | Mixtral, Qwen-MoE, OLMoE, Granite-MoE | experts |
//! | Phi-3 | `qkv_proj` and `gate_up_proj` in one |
//! | Phi, StableLM, Nemotron, GLM | only the first numbers of a head are rotated: `partial_rotary_factor` |
//! | StarCoder2 | LayerNorm, `c_fc`, `c_proj` |
//!
//! A norm over a head scales its dimensions alike in all heads, so the dimensions of queries and keys stay where there is one. StableLM 2 with a
//! norm for each head keeps heads in their places.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::attention::{Heads, Inner, Maps, attend, inner, rotated};
use super::builder::{Builder, Units, pin, times};
use super::config::Config;
use super::experts::feed_forward;
use super::outputs;

const PREFIXES: &[&str] = &["model.", "", "language_model.model.", "model.language_model."];

/// `model_type` of those that rotate the first `partial_rotary_factor` of a head and leave the rest as it is.
const PARTIAL: &[&str] = &["phi", "stablelm", "nemotron", "glm", "glm4", "glm4_moe"];

/// Norms on the stream.
const NORMS: &[&str] = &[
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
    "post_self_attn_layernorm",
    "post_mlp_layernorm",
];

/// `model_type` of those whose embedding is the head where `config.json` does not say it.
const TIED: &[&str] = &["gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2", "starcoder2"];

/// Parts that see and hear; what they make becomes a part of the stream.
const OTHERS: &[&str] = &[
    "vision_tower.",
    "vision_model.",
    "vision_embed_tokens.",
    "visual.",
    "audio_tower.",
    "embed_vision.",
    "embed_audio.",
    "image_newline",
    "multi_modal_projector.",
];

/// Finds such parts; they share nothing but the stream with the rest.
fn others(builder: &mut Builder<'_>) -> Option<String> {
    let all = OTHERS.iter().flat_map(|other| [(*other).to_owned(), format!("model.{other}")]);
    let there: Vec<String> =
        all.filter(|other| builder.names().any(|name| name.starts_with(other.as_str()))).collect();
    there.iter().for_each(|other| builder.elsewhere(other.as_str()));
    there.first().map(|other| other.trim_end_matches('.').to_owned())
}

fn prefix(builder: &Builder<'_>) -> Option<&'static str> {
    PREFIXES.iter().copied().find(|prefix| {
        builder.has(&format!("{prefix}embed_tokens.weight"))
            && ["q_proj", "qkv_proj"]
                .iter()
                .any(|map| builder.has(&format!("{prefix}layers.0.self_attn.{map}.weight")))
    })
}

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    prefix(builder).is_some()
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = prefix(builder).unwrap_or_default();
    let embedding = format!("{prefix}embed_tokens.weight");
    let heads = ["lm_head", "language_model.lm_head", "score"];
    let heads: Vec<&str> = heads.into_iter().filter(|head| builder.has(&format!("{head}.weight"))).collect();
    let tied = TIED
        .iter()
        .any(|name| config.says("model_type", name) || config.part("text_config").says("model_type", name));
    let pinned = match others(builder) {
        Some(other) => Some(format!("`{other}` writes to them, which the template does not know")),
        None => outputs::pinned_unless_tied(config, !heads.is_empty(), tied)?,
    };
    // Models that see images have a part for texts; older ones say its numbers at the top.
    let part = config.part("text_config");
    let said = |config: &Config<'_>| config.find("num_attention_heads");
    let config =
        if said(&part)?.is_some() || (part.is_there() && said(config)?.is_none()) { &part } else { config };
    let stream = builder.stream("stream", builder.length(&embedding, 1)?, pinned);
    builder.table(&embedding, &stream, if heads.is_empty() { Side::Both } else { Side::Writes })?;
    let positions = format!("{prefix}embed_positions.weight");
    let learned = builder.has(&positions);
    if learned {
        builder.table(&positions, &stream, Side::Writes)?;
    }
    builder.buffer(&format!("{prefix}rotary_emb.inv_freq"));
    let first = format!("{prefix}layers.0.self_attn");
    let fused = builder.has(&format!("{first}.qkv_proj.weight"));
    let width =
        if fused { width_of_fused(builder, config, &first)? } else { width(builder, config, &first)? };
    let told = PARTIAL.iter().any(|name| config.says("model_type", name));
    let rotated = match (learned, told) {
        (true, _) => 0,
        (false, true) => rotated(config, &["partial_rotary_factor"], width)?,
        (false, false) => width,
    };
    let ending = if fused { "self_attn.qkv_proj.weight" } else { "self_attn.q_proj.weight" };
    for layer in 0..builder.layers(&format!("{prefix}layers"), ending) {
        let layer = format!("{prefix}layers.{layer}");
        match fused {
            true => together(builder, config, &layer, width, &stream)?,
            false => apart(builder, config, &layer, width, rotated, &stream)?,
        }
        builder.buffer(&format!("{layer}.self_attn.rotary_emb.inv_freq"));
        for norm in NORMS {
            builder.optional_norm(&format!("{layer}.{norm}"), &stream)?;
        }
        feed_forward(builder, config, &layer, &stream)?;
    }
    for norm in ["norm", "final_layernorm"] {
        builder.optional_norm(&format!("{prefix}{norm}"), &stream)?;
    }
    heads.iter().try_for_each(|head| builder.head(head, &stream))
}

/// The numbers of a head: of `config.json`, of a norm over it, or by the number of heads.
fn width(builder: &Builder<'_>, config: &Config<'_>, first: &str) -> Result<usize, NamesError> {
    if let Some(width) = config.find("head_dim")? {
        return Ok(width);
    }
    let query = format!("{first}.q_proj.weight");
    let rows = builder.length(&query, 0)?;
    for norm in ["q_norm", "q_layernorm"] {
        let norm = format!("{first}.{norm}.weight");
        let Ok(shape) = builder.shape(&norm) else { continue };
        // Over a head, [heads, width], or over all heads, which does not tell.
        match shape.last() {
            Some(width) if *width < rows => return Ok(*width),
            _ => {}
        }
    }
    builder.over(&query, rows, config.number("num_attention_heads")?, "heads")
}

/// The same where queries, keys and values are one matrix: by what the output takes.
fn width_of_fused(builder: &Builder<'_>, config: &Config<'_>, first: &str) -> Result<usize, NamesError> {
    let output = format!("{first}.o_proj.weight");
    builder.over(&output, builder.length(&output, 1)?, config.number("num_attention_heads")?, "heads")
}

/// Queries, keys and values behind each other: [(queries + 2 · keys) · width, stream].
fn together(
    builder: &mut Builder<'_>,
    config: &Config<'_>,
    layer: &str,
    width: usize,
    stream: &Units,
) -> Result<(), NamesError> {
    let module = format!("{layer}.self_attn");
    let (fused, output) = (format!("{module}.qkv_proj"), format!("{module}.o_proj"));
    let (weight, columns) = (format!("{fused}.weight"), format!("{output}.weight"));
    let all = builder.over(&weight, builder.length(&weight, 0)?, width, "numbers of a head")?;
    let queries = builder.over(&columns, builder.length(&columns, 1)?, width, "numbers of a head")?;
    let keys = match all.checked_sub(queries) {
        Some(rest) => builder.over(&weight, rest, 2, "heads of keys and of values")?,
        None => return Err(builder.misshapen(&weight, format!("it should have {queries} heads of queries"))),
    };
    builder.over(&weight, queries, keys, "heads of keys")?;
    as_said(builder, config, [&weight, &weight], [queries, keys], width)?;
    // What lies beside heads of other parts is no product: what is not rotated stays too.
    let heads = Heads { queries, keys, width, rotated: width, placed: false };
    let units = inner(builder, heads, &module, &fused, &format!("{fused}.v"));
    builder.linear(&fused, &units.fused(), stream)?;
    builder.linear(&output, stream, &units.output)
}

/// Queries, keys and values by themselves.
fn apart(
    builder: &mut Builder<'_>,
    config: &Config<'_>,
    layer: &str,
    width: usize,
    rotated: usize,
    stream: &Units,
) -> Result<(), NamesError> {
    let module = format!("{layer}.self_attn");
    let has = |map: &str| builder.has(&format!("{module}.{map}.weight"));
    let output = ["o_proj", "dense"].into_iter().find(|output| has(output)).unwrap_or("o_proj");
    let maps = Maps::of(module.as_str(), ["q_proj", "k_proj", "v_proj", output]);
    let count = |map: &str| {
        let name = format!("{map}.weight");
        builder.over(&name, builder.length(&name, 0)?, width, "numbers of a head")
    };
    let (queries, keys) = (count(&maps.query)?, count(&maps.key)?);
    builder.over(&format!("{}.weight", maps.query), queries, keys, "heads of keys")?;
    let tensors = [format!("{}.weight", maps.query), format!("{}.weight", maps.key)];
    as_said(builder, config, [&tensors[0], &tensors[1]], [queries, keys], width)?;
    let placed = has("q_layernorm.norms.0");
    let normed = placed || NORMED.iter().any(|(norm, _)| has(norm));
    let rotated = if normed { width } else { rotated };
    let units =
        inner(builder, Heads { queries, keys, width, rotated, placed }, &module, &maps.query, &maps.value);
    attend(builder, &maps, &units, stream, stream)?;
    norms(builder, &module, &units, width)
}

/// Holds the heads that shapes give against those that `config.json` says: where they differ, the numbers of a head are others.
fn as_said(
    builder: &Builder<'_>,
    config: &Config<'_>,
    tensors: [&str; 2],
    found: [usize; 2],
    width: usize,
) -> Result<(), NamesError> {
    let fields = ["num_attention_heads", "num_key_value_heads"];
    for ((field, tensor), found) in fields.into_iter().zip(tensors).zip(found) {
        if let Some(said) = config.find(field)?.filter(|said| *said != found) {
            let wanted = format!(
                "`{field}` in `config.json` says {said}, which does not go with {found} heads of {width} numbers each"
            );
            return Err(builder.misshapen(tensor, wanted));
        }
    }
    Ok(())
}

/// Norms of queries (false) and keys (true).
const NORMED: &[(&str, bool)] =
    &[("q_norm", false), ("k_norm", true), ("q_layernorm", false), ("k_layernorm", true)];

/// Norms of queries and keys: over a head, over all heads, [heads, width], or one for each head.
fn norms(builder: &mut Builder<'_>, module: &str, units: &Inner, width: usize) -> Result<(), NamesError> {
    let one = pin(width);
    for (norm, of_keys) in NORMED {
        let heads = if *of_keys { &units.key_heads } else { &units.heads };
        let all = times(&[heads, &one]);
        let each = (0..builder.width(heads)).map(|head| format!("{module}.{norm}.norms.{head}"));
        let names: Vec<String> = std::iter::once(format!("{module}.{norm}")).chain(each).collect();
        for name in names {
            for field in ["weight", "bias"] {
                let name = format!("{name}.{field}");
                match builder.shape(&name).unwrap_or_default() {
                    [] => {}
                    [length] if *length == width => builder.tensor(&name, &[(&one, Side::Writes)])?,
                    [_] => builder.tensor(&name, &[(&all, Side::Writes)])?,
                    _ => builder.tensor(&name, &[(heads, Side::Writes), (&one, Side::Writes)])?,
                }
            }
        }
    }
    Ok(())
}
