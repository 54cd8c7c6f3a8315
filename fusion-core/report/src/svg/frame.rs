//! The frame of a plot: the area with its grid, ticks and labels of axes, and the parts around it.

use crate::model::Axis;

use super::canvas::{Anchor, Canvas, Font, Layer, Rect, fit, width};
use super::scale::{Span, Tick, label};
use super::theme::{AXIS, GRID, INK, MUTED};

/// Width of every plot.
pub(crate) const WIDTH: f64 = 720.0;
/// Around everything.
pub(crate) const EDGE: f64 = 14.0;
/// Height of the title's row.
pub(crate) const TITLE: f64 = 26.0;
/// Font sizes.
pub(crate) const LABEL: f64 = 12.0;
pub(crate) const TICK: f64 = 11.0;
/// Height below an area for ticks and the axis' label.
pub(crate) const BELOW: f64 = 42.0;
/// Height of a line of notes.
pub(crate) const NOTE: f64 = 17.0;

/// An area with a scale in each direction.
pub(crate) struct Frame {
    pub(crate) area: Rect,
    pub(crate) x: Span,
    pub(crate) y: Span,
}

/// The title at the top left.
pub(crate) fn title(canvas: &mut Canvas, text: &str) {
    let font = Font { bold: true, ..Font::new(13.5, INK, Anchor::Start) };
    let text = fit(text, 14.5, WIDTH - 2.0 * EDGE);
    canvas.layer(Layer::default(), |pen| pen.text((EDGE, EDGE + 7.0), &text, font));
}

/// Lines of notes, the first with its middle at `top` + half a line.
pub(crate) fn notes(canvas: &mut Canvas, notes: &[String], top: f64) {
    let font = Font::new(TICK, MUTED, Anchor::Start);
    canvas.layer(Layer::default(), |pen| {
        for (place, note) in notes.iter().enumerate() {
            let y = top + (place as f64 + 0.5) * NOTE;
            pen.text((EDGE, y), &fit(note, TICK, WIDTH - 2.0 * EDGE), font);
        }
    });
}

/// What is said instead of data.
pub(crate) fn no_data(canvas: &mut Canvas, area: Rect) {
    let middle = (area.x + area.w / 2.0, area.y + area.h / 2.0);
    canvas.layer(Layer::default(), |pen| {
        pen.outline(area, GRID, 1.0);
        pen.text(middle, "no data", Font::new(14.0, MUTED, Anchor::Middle));
    });
}

/// A whole plot that has nothing to show.
pub(crate) fn empty(text: &str, reasons: &[String]) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, EDGE * 2.0 + TITLE + 120.0 + reasons.len() as f64 * NOTE);
    title(&mut canvas, text);
    no_data(&mut canvas, Rect::new(EDGE, EDGE + TITLE, WIDTH - 2.0 * EDGE, 120.0));
    notes(&mut canvas, reasons, EDGE + TITLE + 124.0);
    canvas
}

/// How much room the labels of an upright axis need to the left of the area.
pub(crate) fn left_of(ticks: &[Tick], axis: &Axis) -> f64 {
    let widest = ticks.iter().map(|tick| width(&tick.label, TICK)).fold(0.0, f64::max);
    let named = !label(axis).is_empty();
    (widest + 10.0 + if named { 22.0 } else { 0.0 }).ceil()
}

impl Frame {
    /// Where a point is, in pixels.
    pub(crate) fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.across(x)?, self.up(y)?))
    }

    /// Where an x is.
    pub(crate) fn across(&self, x: f64) -> Option<f64> {
        self.x.at(x).map(|at| self.area.x + at * self.area.w)
    }

    /// Where a y is.
    pub(crate) fn up(&self, y: f64) -> Option<f64> {
        self.y.at(y).map(|at| self.area.bottom() - at * self.area.h)
    }

    /// Grid, lines, ticks and their labels for the x axis.
    pub(crate) fn draw_x(&self, canvas: &mut Canvas, ticks: &[Tick], axis: Option<&Axis>, grid: bool) {
        let Rect { x, y, w, .. } = self.area;
        let bottom = self.area.bottom();
        canvas.layer(Layer::default(), |pen| {
            for tick in ticks {
                let Some(at) = self.across(tick.at).filter(|at| (x - 0.5..=x + w + 0.5).contains(at)) else {
                    continue;
                };
                let named = !tick.label.is_empty();
                if grid {
                    pen.line(&[(at, y), (at, bottom)], GRID, if named { 1.0 } else { 0.4 });
                }
                pen.line(&[(at, bottom), (at, bottom + if named { 4.0 } else { 2.0 })], AXIS, 1.0);
                if named {
                    pen.text((at, bottom + 13.0), &tick.label, Font::new(TICK, MUTED, Anchor::Middle));
                }
            }
            pen.line(&[(x, bottom), (x + w, bottom)], AXIS, 1.0);
            if let Some(axis) = axis {
                let text = fit(&label(axis), LABEL, WIDTH - 2.0 * EDGE);
                pen.text((x + w / 2.0, bottom + 32.0), &text, Font::new(LABEL, INK, Anchor::Middle));
            }
        });
    }

    /// The same for the y axis.
    pub(crate) fn draw_y(&self, canvas: &mut Canvas, ticks: &[Tick], axis: &Axis, grid: bool) {
        let Rect { x, y, w, h } = self.area;
        let bottom = self.area.bottom();
        let room = left_of(ticks, axis);
        canvas.layer(Layer::default(), |pen| {
            for tick in ticks {
                let Some(at) = self.up(tick.at).filter(|at| (y - 0.5..=bottom + 0.5).contains(at)) else {
                    continue;
                };
                let named = !tick.label.is_empty();
                if grid {
                    pen.line(&[(x, at), (x + w, at)], GRID, if named { 1.0 } else { 0.4 });
                }
                pen.line(&[(x - if named { 4.0 } else { 2.0 }, at), (x, at)], AXIS, 1.0);
                if named {
                    pen.text((x - 8.0, at), &tick.label, Font::new(TICK, MUTED, Anchor::End));
                }
            }
            pen.line(&[(x, y), (x, bottom)], AXIS, 1.0);
            let text = fit(&label(axis), LABEL, h.max(60.0) + 40.0);
            let font = Font { up: true, ..Font::new(LABEL, INK, Anchor::Middle) };
            if !text.is_empty() {
                pen.text((x - room + 8.0, y + h / 2.0), &text, font);
            }
        });
    }
}
