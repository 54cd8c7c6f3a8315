//! Residual networks as torchvision names them: basic blocks and bottlenecks, with projections where the stream changes its width, also
//! with grouped convolutions (ResNeXt); and those for CIFAR, whose head is called `linear` and whose projections are called `shortcut`.
//!
//! Where the stream becomes wider and a block has no projection, its shortcut is padded with channels of zeros (option A of He et al., "Deep
//! residual learning for image recognition", CVPR 2016). Names do not say where:
//! - `both`: as many in front as behind, `low ++ stream ++ high` (akamaster/pytorch_resnet_cifar10, `F.pad(…, planes // 4, planes // 4)`);
//! - `behind`: all behind, `stream ++ rest` (fb.resnet.torch, `cat((x, x.mul(0)), 1)`).
//!
//! `shortcut_padding` in `config.json` says which. Without it a network of three stages, each twice as wide as the one before, with a head called
//! `linear`, is taken for akamaster's, with a note; any other is refused. Channels of zeros could also go from one side to the other;
//! that is left out, since it takes a node in two places.

use super::NamesError;
use super::builder::{Builder, Units, beside, pin, times};
use super::config::{Config, NORM};

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

const PADDING: &str = "shortcut_padding";

/// Where zeros are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Both,
    Behind,
}

/// What the shortcuts are like.
struct Shortcuts<'a> {
    config: &'a Config<'a>,
    /// Whether names and widths are those of akamaster's networks.
    known: bool,
    scalable: bool,
}

impl Shortcuts<'_> {
    /// The padding from a width to another.
    fn padding(&self, builder: &mut Builder<'_>, from: usize, to: usize) -> Result<Padding, NamesError> {
        let more = to - from;
        match self.config.word(PADDING, &["both", "behind"])? {
            Some("both") if more.is_multiple_of(2) => Ok(Padding::Both),
            Some("both") => Err(self.config.error(PADDING, &format!("{more} channels have no halves"))),
            Some(_) => Ok(Padding::Behind),
            None if self.known => {
                builder.warn(format!(
                    "shortcuts are taken to be padded with zeros on both sides, as in pytorch_resnet_cifar10; if they are padded behind, say \
                     `\"{PADDING}\": \"behind\"` in `config.json`"
                ));
                Ok(Padding::Both)
            }
            None => Err(self.config.error(
                PADDING,
                &format!(
                    "nothing tells where the shortcuts from {from} to {to} channels are padded with zeros: `both` ({} in front, {} behind) or \
                     `behind` ({more})",
                    more / 2,
                    more / 2
                ),
            )),
        }
    }

    /// A wider stream of a padded shortcut.
    fn padded(
        &self,
        builder: &mut Builder<'_>,
        stage: usize,
        stream: &Units,
        to: usize,
    ) -> Result<Units, NamesError> {
        let from = builder.width(stream);
        let padding = self.padding(builder, from, to)?;
        let mut zeros = |name: &str, size: usize| {
            let units = builder.units(format!("layer{stage}.{name}"), size, &[]);
            if self.scalable { builder.scalable(units) } else { units }
        };
        Ok(match padding {
            Padding::Both => {
                let low = zeros("low", (to - from) / 2);
                beside(&[&low, stream, &zeros("high", (to - from) / 2)])
            }
            Padding::Behind => beside(&[stream, &zeros("rest", to - from)]),
        })
    }
}

/// Refuses normalisations without running statistics, which may be of groups of channels: then only those within a group may change places.
fn known_norms(builder: &Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    if config.norm_is_alike()? {
        return Ok(());
    }
    let norm = |name: &str| {
        let norm = name.strip_suffix(".weight")?;
        let (module, last) = norm.rsplit_once('.').unwrap_or(("", norm));
        let shortcut = last == "1" && (module.ends_with("downsample") || module.ends_with("shortcut"));
        (last.starts_with("bn") || shortcut).then(|| norm.to_owned())
    };
    let found = builder.names().filter_map(norm).find(|norm| !builder.has(&format!("{norm}.running_var")));
    match found {
        None => Ok(()),
        Some(norm) => Err(config.error(
            NORM,
            &format!(
                "`{norm}` has no running statistics: if it normalises groups of channels, these may not change places freely; `layer` or `instance` \
                 says that it does not"
            ),
        )),
    }
}

/// The projection of a block.
fn projection(builder: &Builder<'_>, block: &str) -> Option<String> {
    let names = ["downsample", "shortcut"].map(|name| format!("{block}.{name}"));
    names.into_iter().find(|name| builder.has(&format!("{name}.0.weight")))
}

/// Whether stages are three, each twice as wide as the one before, with the head that akamaster's have.
fn akamasters(builder: &Builder<'_>, stages: usize) -> bool {
    let width = |stage: usize| builder.length(&format!("layer{stage}.0.conv1.weight"), 0).ok();
    let doubles = |stage: usize| width(stage).map(|width| 2 * width) == width(stage + 1);
    stages == 3 && builder.has("linear.weight") && doubles(1) && doubles(2)
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    known_norms(builder, config)?;
    let scalable = batch_norm(builder);
    if builder.has("layer1.0.bn1.weight") && !builder.has("bn1.weight") {
        // Norms in front of convolutions: another kind of network.
        return Err(builder.missing("bn1.weight"));
    }
    let stages = builder.layers_of("layer", "0.conv1.weight");
    let shortcuts = Shortcuts { config, known: akamasters(builder, stages), scalable };
    let name = if projection(builder, "layer1.0").is_some() { "conv1" } else { "layer1.stream" };
    let colours = pin(builder.length("conv1.weight", 1)?);
    let mut stream = channels(builder, name, "conv1", scalable)?;
    builder.conv("conv1", &stream, &colours)?;
    builder.optional_norm("bn1", &stream)?;
    for stage in 1..=stages {
        for block in 0..builder.layers(&format!("layer{stage}"), "conv1.weight") {
            let block = format!("layer{stage}.{block}");
            stream = self::block(builder, &block, stage, &stream, &shortcuts)?;
        }
    }
    builder.head(if builder.has("linear.weight") { "linear" } else { "fc" }, &stream)
}

/// A block; gives the stream behind it.
fn block(
    builder: &mut Builder<'_>,
    block: &str,
    stage: usize,
    stream: &Units,
    shortcuts: &Shortcuts<'_>,
) -> Result<Units, NamesError> {
    let scalable = shortcuts.scalable;
    let convs = (1..=3).take_while(|conv| builder.has(&format!("{block}.conv{conv}.weight"))).count();
    let last = format!("{block}.conv{convs}");
    let width = builder.length(&format!("{last}.weight"), 0)?;
    let out = match projection(builder, block) {
        Some(shortcut) => {
            let out = channels(builder, &format!("layer{stage}.stream"), &last, scalable)?;
            builder.conv(&format!("{shortcut}.0"), &out, stream)?;
            builder.optional_norm(&format!("{shortcut}.1"), &out)?;
            out
        }
        None if width > builder.width(stream) => shortcuts.padded(builder, stage, stream, width)?,
        None => stream.clone(),
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
    builder.optional_norm(&format!("{block}.bn{conv}"), to)
}
