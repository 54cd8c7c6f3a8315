//! ConvNeXt and ConvNeXt V2 as Hugging Face names them: a stream for each stage, convolutions by channel, and two linear layers a block.
//!
//! Names and layout: `models/convnext/modeling_convnext.py` and `models/convnextv2/modeling_convnextv2.py` of transformers. The response
//! normalisation of V2 divides by the mean over the channels of their norms, so channels may change places.

use fusion_sdk::symmetry::Side;

use super::NamesError;
use super::builder::{Builder, Units, pin};
use super::config::Config;
use super::outputs;

const PREFIXES: &[&str] = &["convnext.", "convnextv2.", ""];
const FIRST: &str = "encoder.stages.0.layers.0.dwconv.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.prefix(PREFIXES, FIRST).is_some()
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let prefix = builder.prefix(PREFIXES, FIRST).unwrap_or_default();
    let at = |name: &str| format!("{prefix}{name}");
    let stages = builder.layers(&at("encoder.stages"), "layers.0.dwconv.weight");
    let head = builder.has("classifier.weight");
    let patches = at("embeddings.patch_embeddings");
    let width = |builder: &Builder<'_>, name: &str| builder.length(&format!("{name}.weight"), 0);
    let size = width(builder, &patches)?;
    // The last stage's stream is read by the head, those in front of it by the next stage.
    let pinned = |stage: usize| if stage + 1 < stages { None } else { outputs::pinned(config, head) };
    let mut stream = builder.stream("stage0.stream", size, pinned(0));
    let colours = pin(builder.length(&format!("{patches}.weight"), 1)?);
    builder.conv(&patches, &stream, &colours)?;
    builder.norm(&at("embeddings.layernorm"), &stream)?;
    for stage in 0..stages {
        let name = at(&format!("encoder.stages.{stage}"));
        let down = format!("{name}.downsampling_layer.1");
        if builder.has(&format!("{down}.weight")) {
            builder.norm(&format!("{name}.downsampling_layer.0"), &stream)?;
            let size = width(builder, &down)?;
            let next = builder.stream(format!("stage{stage}.stream"), size, pinned(stage));
            builder.conv(&down, &next, &stream)?;
            stream = next;
        }
        for layer in 0..builder.layers(&format!("{name}.layers"), "dwconv.weight") {
            block(builder, &format!("{name}.layers.{layer}"), &stream)?;
        }
    }
    builder.optional_norm(&at("layernorm"), &stream)?;
    if head { builder.head("classifier", &stream) } else { Ok(()) }
}

fn block(builder: &mut Builder<'_>, name: &str, stream: &Units) -> Result<(), NamesError> {
    // One filter a channel: [channels, 1, height, width].
    builder.conv(&format!("{name}.dwconv"), stream, &pin(1))?;
    builder.norm(&format!("{name}.layernorm"), stream)?;
    let (up, down) = (format!("{name}.pwconv1"), format!("{name}.pwconv2"));
    let hidden = builder.two_layers(&up, &down, stream, stream)?;
    for field in ["weight", "bias"] {
        let grn = format!("{name}.grn.{field}");
        let one = (&pin(1), Side::Writes);
        builder.optional(&grn, &[one, one, one, (&hidden, Side::Writes)])?;
    }
    builder.optional(&format!("{name}.layer_scale_parameter"), &[(stream, Side::Writes)])
}
