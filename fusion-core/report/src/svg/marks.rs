//! Lines and the marks on them: what tells two series apart besides the colour.

use plotters::style::RGBColor;

use crate::model::{Dash, Shape, Style};

use super::canvas::{Layer, Pen};
use super::theme;

/// Width of a series' line.
pub(crate) const LINE: f64 = 2.0;
/// At most about so many marks on a line; more would hide it.
const MARKS: usize = 26;

/// Lengths of dashes and gaps in pixels; ends are round, which takes a line's width of each gap.
pub(crate) fn dashes(dash: Dash) -> &'static [f64] {
    match dash {
        Dash::Solid => &[],
        Dash::Dashed => &[7.0, 5.0],
        Dash::Dotted => &[0.5, 4.5],
        Dash::DashDot => &[9.0, 4.5, 0.5, 4.5],
    }
}

/// The layer of a series' line.
pub(crate) fn layer(name: &str, dash: Dash) -> Layer {
    Layer::titled(name).dashed(dashes(dash)).round()
}

/// A mark.
pub(crate) fn mark(pen: &mut Pen<'_>, shape: Shape, (x, y): (f64, f64), radius: f64, colour: RGBColor) {
    let r = radius;
    match shape {
        Shape::Circle => pen.disc((x, y), r, colour),
        Shape::Square => {
            let r = r * 0.89;
            pen.polygon(&[(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)], colour, 1.0);
        }
        Shape::Triangle => {
            let r = r * 1.2;
            pen.polygon(
                &[(x, y - r), (x + r * 0.95, y + r * 0.75), (x - r * 0.95, y + r * 0.75)],
                colour,
                1.0,
            );
        }
        Shape::Diamond => {
            let r = r * 1.25;
            pen.polygon(&[(x, y - r), (x + r, y), (x, y + r), (x - r, y)], colour, 1.0);
        }
    }
}

/// The pieces of a line between the points that cannot be drawn, in pixels.
pub(crate) fn pieces(
    points: &[(f64, f64)],
    place: impl Fn(f64, f64) -> Option<(f64, f64)>,
) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = vec![Vec::new()];
    for (x, y) in points {
        match (place(*x, *y), pieces.last_mut()) {
            (Some(at), Some(piece)) => piece.push(at),
            (None, Some(piece)) if !piece.is_empty() => pieces.push(Vec::new()),
            _ => {}
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Draws the marks of a series: all of them where there are few, else some at equal distances, and always the ends.
pub(crate) fn marks(pen: &mut Pen<'_>, style: Style, pieces: &[Vec<(f64, f64)>]) {
    let colour = theme::colour(style.colour);
    // A point between two gaps has no line, so it is marked in any case.
    for piece in pieces.iter().filter(|piece| piece.len() == 1) {
        mark(pen, style.shape.unwrap_or(Shape::Circle), piece[0], 3.2, colour);
    }
    let Some(shape) = style.shape else { return };
    let points: Vec<_> = pieces.iter().flatten().copied().collect();
    let every = points.len().div_ceil(MARKS).max(1);
    for (place, at) in points.iter().enumerate() {
        if place % every == 0 || place + 1 == points.len() {
            mark(pen, shape, *at, 3.2, colour);
        }
    }
}
