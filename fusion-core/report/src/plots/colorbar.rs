//! The scale of values beside a landscape or a matrix.

use plotters::style::RGBColor;

use crate::svg::canvas::{Anchor, Canvas, Font, Layer, Rect, fit};
use crate::svg::frame::{LABEL, TICK};
use crate::svg::theme::{AXIS, INK, MUTED};

/// Bands of equal height from bottom to top, labels at their places (0 is the bottom), and what they measure.
pub(super) fn draw(
    canvas: &mut Canvas,
    area: Rect,
    bands: &[RGBColor],
    labels: &[(f64, String)],
    name: &str,
) {
    let height = area.h / bands.len().max(1) as f64;
    let widest = labels.iter().map(|(_, label)| crate::svg::canvas::width(label, TICK)).fold(0.0, f64::max);
    canvas.layer(Layer::default().crisp(), |pen| {
        for (place, colour) in bands.iter().enumerate() {
            let bottom = area.bottom() - place as f64 * height;
            // A hair higher than the band, so that no seam is seen between two.
            let hair = if place + 1 == bands.len() { 0.0 } else { 0.3 };
            pen.rect(Rect::new(area.x, bottom - height - hair, area.w, height + hair), *colour, 1.0);
        }
    });
    canvas.layer(Layer::default(), |pen| {
        pen.outline(area, AXIS, 0.8);
        for (at, label) in labels {
            let y = area.bottom() - at * area.h;
            pen.line(&[(area.right(), y), (area.right() + 4.0, y)], AXIS, 1.0);
            pen.text((area.right() + 7.0, y), label, Font::new(TICK, MUTED, Anchor::Start));
        }
        let font = Font { up: true, ..Font::new(LABEL, INK, Anchor::Middle) };
        let x = area.right() + 7.0 + widest + 12.0;
        if !name.is_empty() {
            pen.text((x, area.y + area.h / 2.0), &fit(name, LABEL, area.h + 20.0), font);
        }
    });
}
