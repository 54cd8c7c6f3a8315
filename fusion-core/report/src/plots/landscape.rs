//! Losses over a plane: filled contours, the models, the paths between them.
//!
//! Levels are spaced logarithmically above the least value and end at the 95% quantile, as in the plots of Garipov et al.
//! (2018): what matters is the shape of the valleys, not how high the mountains are.

use plotters::style::RGBColor;

use crate::model::Landscape;
use crate::number;
use crate::svg::canvas::{Anchor, Canvas, Font, Layer, Rect, fit};
use crate::svg::frame::{self, BELOW, EDGE, Frame, LABEL, NOTE, TITLE, WIDTH};
use crate::svg::label::{Placer, Spot, around};
use crate::svg::legend::{Legend, Sample};
use crate::svg::marks;
use crate::svg::scale::{self, Ends, Span, drawable};
use crate::svg::theme::{self, BLACK, GRID, WHITE, viridis};

use super::colorbar;
use super::contour::{Grid, Line, area};
use super::levels;

/// Highest area.
const HIGHEST: f64 = 470.0;
/// Room for the scale of values.
const SCALE: f64 = 104.0;
/// Size of the numbers on contours.
const NUMBER: f64 = 10.0;

pub(super) fn draw(plot: &Landscape) -> Canvas {
    let finite: Vec<f64> = plot.values.iter().copied().filter(|value| drawable(*value)).collect();
    let places = |pick: fn((f64, f64)) -> f64| {
        let points = plot.points.iter().map(|point| (point.x, point.y));
        points.chain(plot.paths.iter().flat_map(|path| path.points.iter().copied())).map(pick)
    };
    let x_axis = plot.x.clone().linear();
    let y_axis = plot.y.clone().linear();
    let x = Span::of(plot.xs.iter().copied().chain(places(|point| point.0)), &x_axis, Ends::Tight);
    let y = Span::of(plot.ys.iter().copied().chain(places(|point| point.1)), &y_axis, Ends::Tight);
    let (Some(x), Some(y), false) = (x, y, finite.is_empty() || plot.xs.len() < 2 || plot.ys.len() < 2)
    else {
        return frame::empty(&plot.title, &super::left_out(plot.values.len(), "value"));
    };

    let levels: Vec<f64> = if plot.levels.is_empty() { levels::choose(&finite) } else { plot.levels.clone() };
    let y_ticks = y.ticks(6);
    let left = EDGE + frame::left_of(&y_ticks, &y_axis);
    let entries = plot.paths.iter().filter(|path| !path.name.is_empty());
    let entries = entries.map(|path| (Sample::Cased { dash: path.dash }, path.name.clone())).collect();
    let legend = Legend::new(entries, left - 4.0, WIDTH - EDGE - left);
    let top = EDGE + TITLE + legend.height() + 8.0;
    let (w, h) = size(x.length(), y.length(), WIDTH - EDGE - SCALE - left);
    let frame = Frame { area: Rect::new(left, top, w, h), x, y };
    let blank = plot.values.len() - finite.len();
    let notes = match blank {
        0 => Vec::new(),
        n => vec![format!("{n} of {} values are not finite; their places are blank.", plot.values.len())],
    };

    let mut canvas = Canvas::new(WIDTH, top + h + BELOW + notes.len() as f64 * NOTE + EDGE * 0.6);
    frame::title(&mut canvas, &plot.title);
    legend.draw(&mut canvas, EDGE + TITLE);
    let grid = pixel_grid(plot, &frame, &finite);
    filled(&mut canvas, &grid, &levels, &plot.value.label);
    blanks(&mut canvas, plot, &frame);
    frame.draw_y(&mut canvas, &y_ticks, &y_axis, false);
    frame.draw_x(&mut canvas, &x.ticks(7), Some(&x_axis), false);

    let mut placer = Placer::new(frame.area);
    for path in &plot.paths {
        for piece in marks::pieces(&path.points, |x, y| frame.place(x, y)) {
            placer.avoid_line(&piece);
        }
    }
    for point in &plot.points {
        if let Some(at) = frame.place(point.x, point.y) {
            placer.avoid_mark(at, 7.0);
        }
    }
    let names = point_names(plot, &frame, &mut placer);
    numbers(&mut canvas, &grid, &levels, &mut placer);
    paths(&mut canvas, plot, &frame);
    points(&mut canvas, plot, &frame, &names);

    let bar = Rect::new(frame.area.right() + 20.0, top, 16.0, h);
    let bands: Vec<RGBColor> = (0..=levels.len()).map(|band| colour(band, levels.len())).collect();
    colorbar::draw(
        &mut canvas,
        bar,
        &bands,
        &levels::labels(&levels, &finite, h),
        &scale::label(&plot.value),
    );
    frame::notes(&mut canvas, &notes, top + h + BELOW);
    canvas
}

/// Both directions to one scale where that leaves a readable shape: distances in weight space are equal in all directions.
fn size(x: f64, y: f64, widest: f64) -> (f64, f64) {
    let scale = (widest / x).min(HIGHEST / y);
    let (w, h) = (x * scale, y * scale);
    if w >= 220.0 && h >= 160.0 { (w, h) } else { (widest.min(HIGHEST), HIGHEST * 0.8) }
}

/// The grid in pixels with y upwards (so negative). Infinity is as high as the highest value, and what is no number takes the
/// mean of its neighbours, so that lines pass behind the blank place without a rim around it.
fn pixel_grid(plot: &Landscape, frame: &Frame, finite: &[f64]) -> Grid {
    let most = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let xs: Vec<f64> = plot.xs.iter().filter_map(|x| frame.across(*x)).collect();
    let ys: Vec<f64> = plot.ys.iter().filter_map(|y| frame.up(*y).map(|y| -y)).collect();
    let (w, h) = (plot.xs.len(), plot.ys.len());
    let around = |place: usize| {
        let (i, j) = (place % w, place / w);
        let rows = j.saturating_sub(1)..=(j + 1).min(h - 1);
        let near = rows.flat_map(|j| (i.saturating_sub(1)..=(i + 1).min(w - 1)).map(move |i| j * w + i));
        let near: Vec<f64> = near.map(|place| plot.values[place]).filter(|value| drawable(*value)).collect();
        if near.is_empty() { most } else { near.iter().sum::<f64>() / near.len() as f64 }
    };
    let values = plot.values.iter().enumerate().map(|(place, value)| match *value {
        value if drawable(value) => value,
        value if value > 0.0 => most,
        _ => around(place),
    });
    Grid::new(&xs, &ys, values.collect())
}

/// Back to pixels with y downwards.
fn down(line: &Line) -> Line {
    line.iter().map(|(x, y)| (*x, -y)).collect()
}

fn colour(band: usize, levels: usize) -> RGBColor {
    viridis(band as f64 / levels.max(1) as f64)
}

/// Every closed contour is filled with the colour of the band just inside it, large ones first: what lies within is painted over.
fn filled(canvas: &mut Canvas, grid: &Grid, levels: &[f64], name: &str) {
    let closed = grid.closed();
    let mut shapes: Vec<(i64, RGBColor, Line)> = Vec::new();
    let mut holes: Vec<(i64, RGBColor, Line)> = Vec::new();
    for line in closed.lines(f64::MIN) {
        shapes.push((i64::MAX, colour(0, levels.len()), down(&line)));
    }
    for (place, level) in levels.iter().enumerate() {
        for line in closed.lines(*level) {
            let size = area(&line);
            // In sixteenths of a pixel, so that two lines which are the same compare as the same.
            let rank = (size.abs() * 16.0).round() as i64;
            match rank {
                0 => {}
                _ if size > 0.0 => shapes.push((rank, colour(place + 1, levels.len()), down(&line))),
                _ => holes.push((rank, colour(place, levels.len()), down(&line))),
            }
        }
    }
    // Among equals the higher region and the lower hole come last.
    holes.reverse();
    shapes.append(&mut holes);
    shapes.sort_by_key(|(rank, ..)| std::cmp::Reverse(*rank));
    canvas.layer(Layer::titled(name), |pen| {
        for (_, colour, line) in &shapes {
            pen.polygon(line, *colour, 1.0);
        }
    });
    canvas.layer(Layer::default(), |pen| {
        for level in levels {
            for line in grid.lines(*level) {
                pen.line(&down(&line), WHITE, 0.5);
            }
        }
    });
}

/// Blank boxes where nothing was measured.
fn blanks(canvas: &mut Canvas, plot: &Landscape, frame: &Frame) {
    let half = |line: &[f64], k: usize| {
        let before = if k == 0 { line[0] } else { (line[k - 1] + line[k]) / 2.0 };
        let after = if k + 1 == line.len() { line[k] } else { (line[k] + line[k + 1]) / 2.0 };
        (before, after)
    };
    canvas.layer(Layer::default(), |pen| {
        for (place, _) in plot.values.iter().enumerate().filter(|(_, value)| !drawable(**value)) {
            let (x0, x1) = half(&plot.xs, place % plot.xs.len());
            let (y0, y1) = half(&plot.ys, place / plot.xs.len());
            if let (Some((x0, y0)), Some((x1, y1))) = (frame.place(x0, y0), frame.place(x1, y1)) {
                pen.rect(Rect::new(x0, y1, x1 - x0, y0 - y1), GRID, 1.0);
            }
        }
    });
}

/// One number on a line of each level, where it hides no path and no model, and far from the other numbers.
fn numbers(canvas: &mut Canvas, grid: &Grid, levels: &[f64], placer: &mut Placer) {
    let mut placed: Vec<(f64, f64)> = Vec::new();
    for (place, level) in levels.iter().enumerate() {
        let text = number::significant(*level, 4);
        let mut spots = Vec::new();
        for line in grid.lines(*level) {
            let line = down(&line);
            let length: f64 =
                line.windows(2).map(|pair| (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1)).sum();
            if length > 70.0 {
                let every = (line.len() / 24).max(1);
                spots.extend(line.iter().step_by(every).map(|(x, y)| (*x, *y, Anchor::Middle)));
            }
        }
        spots.retain(|spot| placer.try_out(&text, NUMBER, *spot) < 1.0);
        // Beyond a hundred pixels it is far enough; then the first wins.
        let clear =
            |spot: &Spot| placed.iter().map(|(x, y)| (spot.0 - x).hypot(spot.1 - y)).fold(100.0, f64::min);
        let mut best: Option<(Spot, f64)> = None;
        for spot in spots {
            let clear = clear(&spot);
            if best.is_none_or(|(_, most)| clear > most) {
                best = Some((spot, clear));
            }
        }
        let Some((spot, _)) = best else { continue };
        placer.place(&text, NUMBER, &[spot]);
        placed.push((spot.0, spot.1));
        let below = colour(place, levels.len());
        canvas.layer(Layer::default().halo(below), |pen| {
            pen.text((spot.0, spot.1), &text, Font::new(NUMBER, theme::on(below), Anchor::Middle));
        });
    }
}

fn paths(canvas: &mut Canvas, plot: &Landscape, frame: &Frame) {
    for path in &plot.paths {
        let pieces = marks::pieces(&path.points, |x, y| frame.place(x, y));
        canvas.layer(Layer::titled(&path.name).round(), |pen| {
            pieces.iter().for_each(|piece| pen.line(piece, BLACK, 4.6));
        });
        canvas.layer(marks::layer(&path.name, path.dash), |pen| {
            pieces.iter().for_each(|piece| pen.line(piece, WHITE, 2.2));
        });
    }
}

type Name = (String, f64, f64, Anchor);

fn point_names(plot: &Landscape, frame: &Frame, placer: &mut Placer) -> Vec<Name> {
    let mut names = Vec::new();
    for point in &plot.points {
        let Some(at) = frame.place(point.x, point.y) else { continue };
        let name = fit(&point.name, LABEL, frame.area.w * 0.5);
        if let Some(((x, y, anchor), _)) = placer.place(&name, LABEL, &around(at, 11.0)) {
            names.push((name, x, y, anchor));
        }
    }
    names
}

fn points(canvas: &mut Canvas, plot: &Landscape, frame: &Frame, names: &[Name]) {
    for point in &plot.points {
        if let Some(at) = frame.place(point.x, point.y) {
            canvas.layer(Layer::titled(&point.name), |pen| {
                pen.disc(at, 6.2, BLACK);
                pen.disc(at, 4.6, WHITE);
            });
        }
    }
    canvas.layer(Layer::default().halo(WHITE), |pen| {
        for (name, x, y, anchor) in names {
            pen.text((*x, *y), name, Font { bold: true, ..Font::new(LABEL, BLACK, *anchor) });
        }
    });
}
