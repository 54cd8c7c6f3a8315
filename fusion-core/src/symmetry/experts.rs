//! Feed-forward layers of decoders: with or without a gate, gate and rest in one matrix, and mixtures of experts.
//!
//! | stored as | families | what moves |
//! |---|---|---|
//! | `gate_proj`, `up_proj`, `down_proj` | Llama and most others | hidden units, the same in all three |
//! | `up_proj`, `down_proj`; `fc1`, `fc2`; `c_fc`, `c_proj` | Nemotron; Phi, StarCoder2 | hidden units |
//! | `gate_up_proj` [2 · hidden, stream], gate first | Phi-3, GLM | `hidden ++ hidden` |
//! | `experts.N.…`, or `w1` (gate), `w3`, `w2` | Qwen-MoE, OLMoE; Mixtral | hidden units within each expert |
//! | `experts.gate_up_proj` [experts, 2 · hidden, stream] | what transformers 5 holds in memory | experts with the router's rows, hidden units within each |
//! | `input_linear`, `output_linear`, likewise | Granite-MoE | as those |
//!
//! Experts that are tensors of their own stay: a transform moves units within a tensor, not tensors. Where the router picks among groups of
//! experts (`n_group`) they stay too. Layouts: `models/{mixtral,qwen2_moe,phi3,granitemoe}/modeling_*.py` of transformers.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::builder::{Builder, Units, beside, pin};
use super::config::Config;

/// Describes all that is between an attention and the next: `mlp`, `block_sparse_moe` and `shared_mlp` of a layer.
pub(super) fn feed_forward(
    builder: &mut Builder<'_>,
    config: &Config<'_>,
    layer: &str,
    stream: &Units,
) -> Result<(), NamesError> {
    let sparse = ["mlp", "block_sparse_moe"]
        .into_iter()
        .map(|module| format!("{layer}.{module}"))
        .find_map(|module| router(builder, &module).map(|router| (module, router)));
    match sparse {
        Some((module, router)) => mixture(builder, config, &module, &router, stream)?,
        None => dense(builder, &format!("{layer}.mlp"), stream)?,
    }
    let shared = format!("{layer}.shared_mlp");
    if builder.has(&format!("{shared}.input_linear.weight")) {
        return fused(builder, &format!("{shared}.input_linear"), &format!("{shared}.output_linear"), stream);
    }
    Ok(())
}

/// The map that chooses experts.
fn router(builder: &Builder<'_>, module: &str) -> Option<String> {
    let names = ["gate", "router", "router.layer"].map(|name| format!("{module}.{name}"));
    names.into_iter().find(|name| builder.has(&format!("{name}.weight")))
}

/// One layer without choice.
fn dense(builder: &mut Builder<'_>, module: &str, stream: &Units) -> Result<(), NamesError> {
    let at = |name: &str| format!("{module}.{name}");
    if builder.has(&format!("{module}.gate_up_proj.weight")) {
        return fused(builder, &at("gate_up_proj"), &at("down_proj"), stream);
    }
    let (up, down) = [("fc1", "fc2"), ("c_fc", "c_proj")]
        .into_iter()
        .find(|(up, _)| builder.has(&format!("{module}.{up}.weight")))
        .unwrap_or(("up_proj", "down_proj"));
    let (gate, up, down) = (at("gate_proj"), at(up), at(down));
    if !builder.has(&format!("{gate}.weight")) {
        builder.two_layers(&up, &down, stream, stream)?;
        return Ok(());
    }
    let hidden = builder.units(gate.clone(), builder.length(&format!("{up}.weight"), 0)?, &[]);
    builder.linear(&gate, &hidden, stream)?;
    builder.linear(&up, &hidden, stream)?;
    builder.linear(&down, stream, &hidden)
}

/// Gate and rest behind each other.
fn fused(builder: &mut Builder<'_>, up: &str, down: &str, stream: &Units) -> Result<(), NamesError> {
    let weight = format!("{up}.weight");
    let size = builder.over(&weight, builder.length(&weight, 0)?, 2, "halves")?;
    let hidden = builder.units(up, size, &[]);
    builder.linear(up, &beside(&[&hidden, &hidden]), stream)?;
    builder.linear(down, stream, &hidden)
}

/// Experts with their router.
fn mixture(
    builder: &mut Builder<'_>,
    config: &Config<'_>,
    module: &str,
    router: &str,
    stream: &Units,
) -> Result<(), NamesError> {
    let at = |name: &str| format!("{module}.{name}");
    let count = builder.length(&format!("{router}.weight"), 0)?;
    let together = [
        (at("experts.gate_up_proj"), at("experts.down_proj")),
        (at("input_linear.weight"), at("output_linear.weight")),
    ];
    let together = together.into_iter().find(|(up, _)| builder.has(up));
    let grouped = config.find("n_group")?.is_some_and(|groups| groups > 1);
    let expert = match together.is_some() && !grouped {
        true => builder.units(at("expert"), count, &[]),
        false => pin(count),
    };
    builder.linear(router, &expert, stream)?;
    builder.optional(&format!("{router}.e_score_correction_bias"), &[(&expert, Side::Writes)])?;
    match together {
        Some((up, down)) => stacked(builder, &expert, &up, &down, stream)?,
        None => {
            builder.note("experts are tensors of their own: they stay, and units move within each");
            for index in 0..count {
                one(builder, &at(&format!("experts.{index}")), stream)?;
            }
        }
    }
    for name in ["shared_expert", "shared_experts"] {
        let shared = at(name);
        if builder.has(&format!("{shared}.up_proj.weight")) {
            dense(builder, &shared, stream)?;
        }
    }
    let gate = at("shared_expert_gate");
    if builder.has(&format!("{gate}.weight")) { builder.linear(&gate, &pin(1), stream) } else { Ok(()) }
}

/// All experts in two tensors: [experts, 2 · hidden, stream], [experts, stream, hidden].
fn stacked(
    builder: &mut Builder<'_>,
    expert: &Units,
    up: &str,
    down: &str,
    stream: &Units,
) -> Result<(), NamesError> {
    let rows = builder.length(up, 1)?;
    if rows == builder.length(up, 2)? {
        let wanted = "equal lengths do not tell rows from columns";
        return Err(builder.misshapen(up, wanted.to_owned()));
    }
    let size = builder.over(up, rows, 2, "halves")?;
    let hidden = builder.units(up, size, &[expert]);
    let both = beside(&[&hidden, &hidden]);
    builder.tensor(up, &[(expert, Side::Writes), (&both, Side::Writes), (stream, Side::Reads)])?;
    builder.tensor(down, &[(expert, Side::Writes), (stream, Side::Writes), (&hidden, Side::Reads)])
}

/// An expert that is tensors of its own.
fn one(builder: &mut Builder<'_>, expert: &str, stream: &Units) -> Result<(), NamesError> {
    if !builder.has(&format!("{expert}.w1.weight")) {
        return dense(builder, expert, stream);
    }
    let of = |map: &str| format!("{expert}.{map}");
    let size = builder.length(&format!("{}.weight", of("w1")), 0)?;
    let hidden = builder.units(of("w1"), size, &[]);
    builder.linear(&of("w1"), &hidden, stream)?;
    builder.linear(&of("w3"), &hidden, stream)?;
    builder.linear(&of("w2"), stream, &hidden)
}
