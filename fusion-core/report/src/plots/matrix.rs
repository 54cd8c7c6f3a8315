//! A value for every pair of names, as cells with numbers.

use plotters::style::RGBColor;

use crate::model::{Axis, Matrix};
use crate::svg::canvas::{Anchor, Canvas, Font, Layer, Rect, fit, width};
use crate::svg::frame::{self, EDGE, LABEL, NOTE, TICK, TITLE, WIDTH};
use crate::svg::scale::{self, Ends, Span, drawable};
use crate::svg::theme::{self, GRID, INK, MUTED, viridis};

use super::colorbar;

/// Largest cell, widest row label, highest column label.
const CELL: f64 = 74.0;
const ROW: f64 = 170.0;
const COLUMN: f64 = 150.0;
/// Room for the scale of values.
const SCALE: f64 = 110.0;

pub(super) fn draw(plot: &Matrix) -> Canvas {
    let n = plot.names.len();
    let axis = Axis { scale: crate::model::Scale::Linear, ..plot.value.clone() };
    let Some(span) = Span::of(plot.values.iter().copied(), &axis, Ends::Tight) else {
        return frame::empty(&plot.title, &super::left_out(plot.values.len(), "value"));
    };
    let blank = plot.values.iter().filter(|value| !drawable(**value)).count();
    let notes = match blank {
        0 => Vec::new(),
        blank => {
            vec![format!("{blank} of {} values are not finite; their cells are blank.", plot.values.len())]
        }
    };

    let names: Vec<String> = plot.names.iter().map(|name| fit(name, LABEL, ROW)).collect();
    let widest = names.iter().map(|name| width(name, LABEL)).fold(0.0, f64::max);
    let left = EDGE + widest + 10.0;
    let cell = ((WIDTH - EDGE - SCALE - left) / n as f64).min(CELL).min((560.0 / n as f64).max(6.0));
    let top = EDGE + TITLE + 6.0;
    let area = Rect::new(left, top, cell * n as f64, cell * n as f64);
    let upright = widest > cell - 6.0;
    let below = if upright { widest.min(COLUMN) + 14.0 } else { 26.0 };
    let height = area.h.max(90.0);

    let mut canvas = Canvas::new(WIDTH, top + height + below + notes.len() as f64 * NOTE + EDGE);
    frame::title(&mut canvas, &plot.title);
    cells(&mut canvas, plot, &span, area, cell);
    // Where cells are smaller than a letter, only some are named.
    let every = (13.0 / cell).ceil().max(1.0) as usize;
    canvas.layer(Layer::default(), |pen| {
        for (k, name) in names.iter().enumerate().step_by(every) {
            let middle = (k as f64 + 0.5) * cell;
            pen.text((left - 7.0, top + middle), name, Font::new(LABEL, INK, Anchor::End));
            if upright {
                let font = Font { up: true, ..Font::new(LABEL, INK, Anchor::End) };
                pen.text((left + middle, area.bottom() + 8.0), &fit(name, LABEL, COLUMN), font);
            } else {
                pen.text((left + middle, area.bottom() + 14.0), name, Font::new(LABEL, INK, Anchor::Middle));
            }
        }
    });
    let bar = Rect::new(area.right() + 22.0, top, 16.0, height);
    let bands: Vec<RGBColor> = (0..32).map(|band| viridis(f64::from(band) / 31.0)).collect();
    let labels: Vec<(f64, String)> = span
        .ticks((height / 45.0) as usize)
        .into_iter()
        .filter_map(|tick| {
            span.at(tick.at).filter(|at| (-0.001..=1.001).contains(at)).map(|at| (at, tick.label))
        })
        .collect();
    colorbar::draw(&mut canvas, bar, &bands, &labels, &scale::label(&plot.value));
    frame::notes(&mut canvas, &notes, top + height + below);
    canvas
}

fn cells(canvas: &mut Canvas, plot: &Matrix, span: &Span, area: Rect, cell: f64) {
    let n = plot.names.len();
    let shown = span.alike(&plot.values);
    let widest = shown.iter().map(|text| width(text, TICK)).fold(0.0, f64::max);
    let numbers = widest < cell - 4.0 && cell > 16.0;
    let room = if cell > 16.0 { 1.0 } else { 0.0 };
    canvas.layer(Layer::titled(&plot.value.label).crisp(), |pen| {
        for (place, value) in plot.values.iter().enumerate() {
            let corner = (area.x + (place % n) as f64 * cell, area.y + (place / n) as f64 * cell);
            let rect = Rect::new(corner.0 + room, corner.1 + room, cell - 2.0 * room, cell - 2.0 * room);
            let middle = (corner.0 + cell / 2.0, corner.1 + cell / 2.0);
            let Some(at) = span.at(*value) else {
                pen.outline(rect, GRID, 1.0);
                if numbers {
                    pen.text(middle, "–", Font::new(TICK, MUTED, Anchor::Middle));
                }
                continue;
            };
            let colour = viridis(at);
            pen.rect(rect, colour, 1.0);
            if numbers {
                pen.text(middle, &shown[place], Font::new(TICK, theme::on(colour), Anchor::Middle));
            }
        }
    });
}
