//! Colours: what each one is for, its twin on a dark page, and the scale of values.
//!
//! Drawings hold the colours of a light page as plain attributes, so that every program can show them; a browser on a dark page
//! exchanges them by the rules of [`dark`].

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// Behind everything.
pub(crate) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// Titles, chords, brackets.
pub(crate) const INK: RGBColor = RGBColor(0x1F, 0x23, 0x28);
/// Labels of ticks, notes.
pub(crate) const MUTED: RGBColor = RGBColor(0x57, 0x60, 0x6A);
/// Lines of axes.
pub(crate) const AXIS: RGBColor = RGBColor(0x8C, 0x95, 0x9F);
/// Lines of the grid.
pub(crate) const GRID: RGBColor = RGBColor(0xE4, 0xE7, 0xEB);
/// Boxes of the graph.
pub(crate) const BOX: RGBColor = RGBColor(0xF3, 0xF5, 0xF7);
/// Black on every page, for what stands on the scale of values.
pub(crate) const BLACK: RGBColor = RGBColor(0x01, 0x01, 0x01);
/// White on every page.
pub(crate) const WHITE: RGBColor = RGBColor(0xFE, 0xFE, 0xFE);

/// Okabe & Ito, "Color universal design", 2008, without the yellow, which is too light for lines.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x4D, 0x4D, 0x4D),
];

/// Light and dark twins.
const TWINS: [(RGBColor, RGBColor); 13] = [
    (PAPER, RGBColor(0x16, 0x1B, 0x22)),
    (INK, RGBColor(0xE6, 0xED, 0xF3)),
    (MUTED, RGBColor(0xA0, 0xA9, 0xB4)),
    (AXIS, RGBColor(0x6E, 0x76, 0x81)),
    (GRID, RGBColor(0x2B, 0x31, 0x39)),
    (BOX, RGBColor(0x21, 0x27, 0x2F)),
    (PALETTE[0], RGBColor(0x3E, 0xA6, 0xE6)),
    (PALETTE[1], RGBColor(0xFF, 0x8A, 0x45)),
    (PALETTE[2], RGBColor(0x2F, 0xC9, 0x9B)),
    (PALETTE[3], RGBColor(0xE9, 0xA0, 0xC9)),
    (PALETTE[4], RGBColor(0xA5, 0xDA, 0xF8)),
    (PALETTE[5], RGBColor(0xF5, 0xC0, 0x4A)),
    (PALETTE[6], RGBColor(0xC9, 0xC9, 0xC9)),
];

/// The n-th colour of the palette, counted round.
pub(crate) fn colour(n: usize) -> RGBColor {
    PALETTE[n % PALETTE.len()]
}

/// Style rules that exchange the colours on a dark screen. Paper stays light.
pub(crate) fn dark() -> String {
    let mut rules = String::from("@media screen and (prefers-color-scheme: dark) {\n");
    for (light, dark) in TWINS {
        let (light, dark) = (hex(light), hex(dark));
        let _ = writeln!(
            rules,
            "  .fusion-plot [fill=\"{light}\"] {{ fill: {dark} }} .fusion-plot [stroke=\"{light}\"] {{ stroke: {dark} }}"
        );
    }
    rules + "}\n"
}

pub(crate) fn hex(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}

/// Viridis (van der Walt & Smith, 2015) at 0, 1/16, …, 1: equal steps look equal, also without colour.
const VIRIDIS: [(u8, u8, u8); 17] = [
    (68, 1, 84),
    (72, 24, 106),
    (71, 45, 123),
    (66, 64, 134),
    (59, 82, 139),
    (51, 99, 141),
    (44, 114, 142),
    (38, 130, 142),
    (33, 145, 140),
    (31, 160, 136),
    (40, 174, 128),
    (63, 188, 115),
    (94, 201, 98),
    (132, 212, 75),
    (173, 220, 48),
    (216, 226, 25),
    (253, 231, 37),
];

/// The colour of a value between 0 and 1; what lies outside or is NaN takes the nearer end, NaN the lower.
pub(crate) fn viridis(value: f64) -> RGBColor {
    let at = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) * 16.0 };
    let low = (at as usize).min(15);
    let part = at - low as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    let (a, b) = (VIRIDIS[low], VIRIDIS[low + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Black or white, whichever is easier to read on the colour (WCAG 2 contrast).
pub(crate) fn on(colour: RGBColor) -> RGBColor {
    if luminance(colour) > 0.179 { BLACK } else { WHITE }
}

/// Relative luminance (WCAG 2).
pub(crate) fn luminance(colour: RGBColor) -> f64 {
    let part = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(colour.0) + 0.7152 * part(colour.1) + 0.0722 * part(colour.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contrast(a: RGBColor, b: RGBColor) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        (a / b).max(b / a)
    }

    #[test]
    fn text_can_be_read_on_both_pages_and_lines_be_seen() {
        for (place, (light, dark)) in TWINS.into_iter().enumerate() {
            let least = match place {
                1 | 2 => 4.5, // text, WCAG AA
                6..13 => 2.1, // lines; the palette's sky blue and orange are 2.3 on white, hence dashes and shapes
                _ => continue,
            };
            assert!(
                contrast(light, TWINS[0].0) >= least,
                "{} on light: {}",
                hex(light),
                contrast(light, TWINS[0].0)
            );
            assert!(
                contrast(dark, TWINS[0].1) >= 4.5,
                "{} on dark: {}",
                hex(dark),
                contrast(dark, TWINS[0].1)
            );
        }
    }

    #[test]
    fn the_scale_gets_lighter_all_the_way() {
        let steps: Vec<f64> = (0..=64).map(|step| luminance(viridis(f64::from(step) / 64.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!(hex(viridis(f64::NAN)), hex(viridis(0.0)));
        assert_eq!(hex(viridis(7.0)), hex(viridis(1.0)));
    }

    #[test]
    fn text_on_the_scale_can_be_read() {
        for step in 0..=64 {
            let cell = viridis(f64::from(step) / 64.0);
            assert!(contrast(cell, on(cell)) >= 4.4, "{}", hex(cell));
        }
    }
}
