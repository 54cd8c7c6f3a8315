//! Lines over one axis, with what is pointed at: endpoints, the barrier's bracket, chords and levels.

use plotters::style::RGBColor;

use crate::model::{Curve, Dash, Marker, Series};
use crate::svg::canvas::{Anchor, Canvas, Font, Layer, Rect, fit};
use crate::svg::frame::{self, BELOW, EDGE, Frame, NOTE, TICK, TITLE, WIDTH};
use crate::svg::label::{Placer, Spot, around};
use crate::svg::legend::{Legend, Sample};
use crate::svg::marks;
use crate::svg::scale::{Ends, Span};
use crate::svg::theme::{self, INK, MUTED, PAPER};

/// Height of the area.
const AREA: f64 = 300.0;

pub(super) fn draw(plot: &Curve) -> Canvas {
    let xs = plot.series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let x = Span::of(xs.chain(plot.markers.iter().flat_map(marker_xs)), &plot.x, Ends::Tight);
    let ys = plot.series.iter().flat_map(series_ys).chain(plot.markers.iter().flat_map(marker_ys));
    let y = Span::of(ys, &plot.y, Ends::Loose);
    let (Some(x), Some(y)) = (x, y) else {
        let count = plot.series.iter().map(|series| series.points.len()).sum();
        return frame::empty(&plot.title, &super::left_out(count, "point"));
    };

    let (y_ticks, x_ticks) = (y.ticks(6), x.ticks(8));
    let left = EDGE + frame::left_of(&y_ticks, &plot.y);
    let mut entries = Legend::series(&plot.series);
    entries.extend(plot.markers.iter().filter_map(chord_entry));
    let legend = Legend::new(entries, left - 4.0, WIDTH - EDGE - left);
    let top = EDGE + TITLE + legend.height() + 8.0;
    let frame = Frame { area: Rect::new(left, top, WIDTH - EDGE - 10.0 - left, AREA), x, y };
    let missing = plot.series.iter().map(|series| lost(&frame, series)).sum();
    let notes = super::left_out(missing, "point");

    let mut canvas = Canvas::new(WIDTH, top + AREA + BELOW + notes.len() as f64 * NOTE + EDGE * 0.6);
    frame::title(&mut canvas, &plot.title);
    legend.draw(&mut canvas, EDGE + TITLE);
    frame.draw_y(&mut canvas, &y_ticks, &plot.y, true);
    frame.draw_x(&mut canvas, &x_ticks, Some(&plot.x), false);
    frame::notes(&mut canvas, &notes, top + AREA + BELOW);

    let mut placer = Placer::new(frame.area);
    lines(&mut canvas, &frame, &plot.series, &mut placer);
    pointed(&mut canvas, &frame, &plot.markers, &mut placer);
    canvas
}

/// Draws series into a frame and tells the placer where they are.
pub(super) fn lines(canvas: &mut Canvas, frame: &Frame, series: &[Series], placer: &mut Placer) {
    for series in series {
        band(canvas, frame, series);
    }
    for series in series {
        let pieces = marks::pieces(&series.points, |x, y| frame.place(x, y));
        let colour = theme::colour(series.style.colour);
        canvas.layer(marks::layer(&series.name, series.style.dash), |pen| {
            for piece in &pieces {
                pen.line(piece, colour, marks::LINE);
            }
        });
        canvas.layer(Layer::titled(&series.name), |pen| marks::marks(pen, series.style, &pieces));
        for piece in &pieces {
            placer.avoid_line(piece);
        }
    }
}

/// The area between the lower and the upper ends.
fn band(canvas: &mut Canvas, frame: &Frame, series: &Series) {
    let mut runs: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new()];
    for ((x, _), (low, high)) in series.points.iter().zip(&series.band) {
        match (frame.across(*x), frame.up(*low), frame.up(*high)) {
            (Some(x), Some(low), Some(high)) => {
                runs.last_mut().into_iter().for_each(|run| run.push((x, low, high)))
            }
            _ => runs.push(Vec::new()),
        }
    }
    canvas.layer(Layer::titled(&series.name), |pen| {
        for run in runs.iter().filter(|run| run.len() > 1) {
            let up = run.iter().map(|(x, _, high)| (*x, *high));
            let back = run.iter().rev().map(|(x, low, _)| (*x, *low));
            pen.polygon(&up.chain(back).collect::<Vec<_>>(), theme::colour(series.style.colour), 0.16);
        }
    });
}

/// How many points of a series cannot be drawn.
pub(super) fn lost(frame: &Frame, series: &Series) -> usize {
    series.points.iter().filter(|(x, y)| frame.place(*x, *y).is_none()).count()
}

/// All heights of a series.
pub(super) fn series_ys(series: &Series) -> impl Iterator<Item = f64> + '_ {
    let ends = series.band.iter().flat_map(|(low, high)| [*low, *high]);
    series.points.iter().map(|point| point.1).chain(ends)
}

fn pointed(canvas: &mut Canvas, frame: &Frame, markers: &[Marker], placer: &mut Placer) {
    // Lines first: labels of every marker must keep clear of all of them.
    for marker in markers {
        thin_line(canvas, frame, marker, placer);
    }
    for marker in markers {
        let Marker::Point { x, y, .. } = marker else { continue };
        if let Some(at) = frame.place(*x, *y) {
            placer.avoid_mark(at, 6.0);
            canvas.layer(Layer::default(), |pen| {
                pen.disc(at, 5.0, PAPER);
                pen.ring(at, 5.0, INK, 1.8);
            });
        }
    }
    for marker in markers {
        if let Some((name, spots, colour)) = named(frame, marker) {
            let name = fit(name, TICK, frame.area.w * 0.6);
            if let Some(((x, y, anchor), _)) = placer.place(&name, TICK, &spots) {
                let layer = Layer::default().halo(PAPER);
                canvas.layer(layer, |pen| pen.text((x, y), &name, Font::new(TICK, colour, anchor)));
            }
        }
    }
}

fn thin_line(canvas: &mut Canvas, frame: &Frame, marker: &Marker, placer: &mut Placer) {
    let area = frame.area;
    match marker {
        Marker::Chord { name, from, to } => {
            let ends = (frame.place(from.0, from.1), frame.place(to.0, to.1));
            if let (Some(from), Some(to)) = ends {
                canvas.layer(marks::layer(name, Dash::Dotted), |pen| pen.line(&[from, to], MUTED, 1.3));
                placer.avoid_line(&[from, to]);
            }
        }
        Marker::Level { name, y, .. } => {
            if let Some(y) = frame.up(*y) {
                let line = [(area.x, y), (area.right(), y)];
                canvas.layer(marks::layer(name, Dash::DashDot), |pen| pen.line(&line, MUTED, 1.3));
                placer.avoid_line(&line);
            }
        }
        Marker::Bracket { name, x, from, to } => {
            if let (Some(low), Some(high)) = (frame.place(*x, *from), frame.place(*x, *to)) {
                canvas.layer(Layer::titled(name), |pen| {
                    pen.line(&[low, high], INK, 1.3);
                    for (x, y) in [low, high] {
                        pen.line(&[(x - 5.0, y), (x + 5.0, y)], INK, 1.3);
                    }
                });
                placer.avoid_line(&[low, high]);
            }
        }
        Marker::Point { .. } => {}
    }
}

/// What is written at a marker, where it may stand, and its colour.
fn named<'a>(frame: &Frame, marker: &'a Marker) -> Option<(&'a str, Vec<Spot>, RGBColor)> {
    let area = frame.area;
    match marker {
        Marker::Point { name, x, y } => Some((name, around(frame.place(*x, *y)?, 10.0), INK)),
        Marker::Bracket { name, x, from, to } => {
            let ((x, low), (_, high)) = (frame.place(*x, *from)?, frame.place(*x, *to)?);
            let parts = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8];
            let spots = parts.iter().flat_map(|part| {
                let y = low + (high - low) * part;
                [(x + 8.0, y, Anchor::Start), (x - 8.0, y, Anchor::End)]
            });
            let ends = [(x, low.min(high) - 11.0, Anchor::Middle), (x, low.max(high) + 11.0, Anchor::Middle)];
            Some((name, spots.chain(ends).collect(), INK))
        }
        Marker::Level { name, y } => {
            let y = frame.up(*y)?;
            let spots = [1.0, 0.0, 0.75, 0.5, 0.25].iter().flat_map(|part| {
                let x = area.x + 6.0 + part * (area.w - 12.0);
                let anchor = match *part {
                    p if p > 0.9 => Anchor::End,
                    p if p < 0.1 => Anchor::Start,
                    _ => Anchor::Middle,
                };
                [(x, y - 9.0, anchor), (x, y + 9.0, anchor)]
            });
            Some((name, spots.collect(), MUTED))
        }
        Marker::Chord { .. } => None,
    }
}

fn chord_entry(marker: &Marker) -> Option<(Sample, String)> {
    match marker {
        Marker::Chord { name, .. } if !name.is_empty() => {
            let sample = Sample::Line { colour: MUTED, dash: Dash::Dotted, shape: None, width: 1.3 };
            Some((sample, name.clone()))
        }
        _ => None,
    }
}

fn marker_xs(marker: &Marker) -> Vec<f64> {
    match marker {
        Marker::Point { x, .. } | Marker::Bracket { x, .. } => vec![*x],
        Marker::Chord { from, to, .. } => vec![from.0, to.0],
        Marker::Level { .. } => Vec::new(),
    }
}

fn marker_ys(marker: &Marker) -> Vec<f64> {
    match marker {
        Marker::Point { y, .. } | Marker::Level { y, .. } => vec![*y],
        Marker::Bracket { from, to, .. } => vec![*from, *to],
        Marker::Chord { from, to, .. } => vec![from.1, to.1],
    }
}
