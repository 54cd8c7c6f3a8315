//! VGG as torchvision names it: numbered convolutions with or without BatchNorm, then linear layers on the flattened image.

use super::NamesError;
use super::builder::{Builder, Units, pin, times};
use super::config::Config;

pub(super) fn fits(builder: &Builder<'_>) -> bool {
    builder.length("features.0.weight", 3).is_ok()
        && (builder.has("classifier.weight") || builder.has("classifier.0.weight"))
}

pub(super) fn build(builder: &mut Builder<'_>, config: &Config<'_>) -> Result<(), NamesError> {
    let convs: Vec<String> = (0..MOST)
        .map(|place| format!("features.{place}"))
        .filter(|name| builder.length(&format!("{name}.weight"), 3).is_ok())
        .collect();
    let alike = config.norm_is_alike()?;
    let mut from = pin(builder.length("features.0.weight", 1)?);
    for (index, conv) in convs.iter().enumerate() {
        let width = builder.length(&format!("{conv}.weight"), 0)?;
        let norm = norm_behind(builder, conv, convs.get(index + 1));
        // Other normalisations than BatchNorm fix the scale, and may be of groups of channels.
        let scalable = norm.as_ref().is_none_or(|norm| builder.has(&format!("{norm}.running_var")));
        let units = match scalable || alike {
            true => builder.units(conv.clone(), width, &[]),
            false => {
                builder.note(
                    "channels stay where their normalisation has no running statistics, since it may be of groups of them; `\"norm\": \"layer\"` or \
                     `\"instance\"` in `config.json` says that it is not",
                );
                pin(width)
            }
        };
        builder.conv(conv, &units, &from)?;
        let units = if scalable { builder.scalable(units) } else { units };
        if let Some(norm) = norm {
            builder.norm(&norm, &units)?;
        }
        from = units;
    }
    let linears: Vec<String> = match builder.has("classifier.weight") {
        true => vec!["classifier".to_owned()],
        false => (0..MOST)
            .map(|place| format!("classifier.{place}"))
            .filter(|name| builder.has(&format!("{name}.weight")))
            .collect(),
    };
    let Some((last, hidden)) = linears.split_last() else { return Err(builder.missing("classifier.weight")) };
    from = flattened(builder, &from, linears.first().unwrap_or(last))?;
    for name in hidden {
        let units = builder.units(name.clone(), builder.length(&format!("{name}.weight"), 0)?, &[]);
        let units = builder.scalable(units);
        builder.linear(name, &units, &from)?;
        from = units;
    }
    builder.head(last, &from)
}

/// Numbers in `features` are below this: VGG-19 with normalisation has 53.
const MOST: usize = 256;

/// The normalisation between a convolution and the next.
fn norm_behind(builder: &Builder<'_>, conv: &str, next: Option<&String>) -> Option<String> {
    let place = |name: &str| name.rsplit('.').next().and_then(|place| place.parse::<usize>().ok());
    let start = place(conv)? + 1;
    let end = next.and_then(|next| place(next)).unwrap_or(MOST);
    let names = (start..end).map(|place| format!("features.{place}"));
    names.into_iter().find(|name| builder.has(&format!("{name}.weight")))
}

/// Channels, each with its positions.
fn flattened(builder: &Builder<'_>, channels: &Units, linear: &str) -> Result<Units, NamesError> {
    let name = format!("{linear}.weight");
    let positions = builder.over(&name, builder.length(&name, 1)?, builder.width(channels), "channels")?;
    Ok(times(&[channels, &pin(positions)]))
}
