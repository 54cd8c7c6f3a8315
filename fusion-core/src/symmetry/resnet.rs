//! Residual networks as torchvision names them: basic blocks and bottlenecks, with projections where the stream changes its width, also
//! with grouped convolutions (ResNeXt).

use super::NamesError;
use super::builder::{Builder, Units, pin, times};
use super::config::Config;

const FIRST: &str = "layer1.0.conv1.weight";

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.has(FIRST) && builder.has("conv1.weight")
}

/// Whether units may be scaled: BatchNorm follows, and ReLU.
fn batch_norm(builder: &Builder<'_>) -> bool {
    builder.has("bn1.running_var")
}

fn channels(builder: &mut Builder<'_>, name: &str, conv: &str, scalable: bool) -> Result<Units, NamesError> {
    let units = builder.units(name, builder.length(&format!("{conv}.weight"), 0)?, &[]);
    Ok(if scalable { builder.scalable(units) } else { units })
}

fn normed(builder: &mut Builder<'_>, norm: &str, units: &Units) -> Result<(), NamesError> {
    if builder.has(&format!("{norm}.weight")) { builder.norm(norm, units) } else { Ok(()) }
}

pub(super) fn build(builder: &mut Builder<'_>, _config: &Config<'_>) -> Result<(), NamesError> {
    let scalable = batch_norm(builder);
    let stages = builder.layers_of("layer", "0.conv1.weight");
    let projects =
        |builder: &Builder<'_>, stage: usize| builder.has(&format!("layer{stage}.0.downsample.0.weight"));
    let name = if projects(builder, 1) { "conv1" } else { "layer1.stream" };
    let colours = pin(builder.length("conv1.weight", 1)?);
    let mut stream = channels(builder, name, "conv1", scalable)?;
    builder.share(&stream);
    builder.conv("conv1", &stream, &colours)?;
    normed(builder, "bn1", &stream)?;
    for stage in 1..=stages {
        for block in 0..builder.layers(&format!("layer{stage}"), "conv1.weight") {
            let block = format!("layer{stage}.{block}");
            stream = self::block(builder, &block, stage, &stream, scalable)?;
        }
    }
    builder.head("fc", &stream)
}

/// A block; gives the stream behind it.
fn block(
    builder: &mut Builder<'_>,
    block: &str,
    stage: usize,
    stream: &Units,
    scalable: bool,
) -> Result<Units, NamesError> {
    let convs = (1..=3).take_while(|conv| builder.has(&format!("{block}.conv{conv}.weight"))).count();
    let last = format!("{block}.conv{convs}");
    let shortcut = format!("{block}.downsample.0");
    let out = match builder.has(&format!("{shortcut}.weight")) {
        true => {
            let out = channels(builder, &format!("layer{stage}.stream"), &last, scalable)?;
            builder.share(&out);
            builder.conv(&shortcut, &out, stream)?;
            normed(builder, &format!("{block}.downsample.1"), &out)?;
            out
        }
        false => stream.clone(),
    };
    let mut from = stream.clone();
    let mut conv = 1;
    while conv < convs {
        let (name, next) = (format!("{block}.conv{conv}"), format!("{block}.conv{}", conv + 1));
        let width = builder.length(&format!("{name}.weight"), 0)?;
        let taken = builder.length(&format!("{next}.weight"), 1)?;
        if taken == width || conv + 1 == convs {
            let to = channels(builder, &name, &name, scalable)?;
            convolution(builder, block, conv, &to, &from)?;
            from = to;
            conv += 1;
        } else {
            let weight = format!("{next}.weight");
            let groups = builder.over(&weight, width, taken, "channels of a group")?;
            let outputs = builder.over(&weight, builder.length(&weight, 0)?, groups, "groups")?;
            let group = builder.units(format!("{name}.group"), groups, &[]);
            let channel = builder.units(name, taken, &[&group]);
            let inner = builder.units(next, outputs, &[&group]);
            convolution(builder, block, conv, &times(&[&group, &channel]), &from)?;
            from = times(&[&group, &inner]);
            convolution(builder, block, conv + 1, &from, &channel)?;
            conv += 2;
        }
    }
    convolution(builder, block, convs, &out, &from)?;
    Ok(out)
}

/// A convolution of a block with the normalisation behind it.
fn convolution(
    builder: &mut Builder<'_>,
    block: &str,
    conv: usize,
    to: &Units,
    from: &Units,
) -> Result<(), NamesError> {
    builder.conv(&format!("{block}.conv{conv}"), to, from)?;
    normed(builder, &format!("{block}.bn{conv}"), to)
}
