//! Confidence against accuracy, and how many samples have which confidence.

use crate::model::{Axis, Bin, Dash, Digits, Reliability};
use crate::number;
use crate::svg::canvas::{Anchor, Canvas, Font, Layer, Rect};
use crate::svg::frame::{self, BELOW, EDGE, Frame, LABEL, NOTE, TITLE, WIDTH};
use crate::svg::legend::{Legend, Sample};
use crate::svg::marks;
use crate::svg::scale::{Ends, Span};
use crate::svg::theme::{INK, MUTED, colour};

/// Side of the square.
const SIDE: f64 = 320.0;

pub(super) fn draw(plot: &Reliability) -> Canvas {
    let usable = |bin: &&Bin| {
        bin.count > 0
            && [bin.low, bin.high, bin.confidence, bin.accuracy]
                .iter()
                .all(|value| (0.0..=1.0).contains(value))
    };
    let bins: Vec<&Bin> = plot.bins.iter().filter(usable).collect();
    let lost = plot.bins.iter().filter(|bin| bin.count > 0).count() - bins.len();
    let notes = match lost {
        0 => Vec::new(),
        n => vec![format!("{n} bins have a confidence or an accuracy outside of 0 to 1 and are left out.")],
    };
    if bins.is_empty() {
        return frame::empty(&plot.title, &notes);
    }

    let samples: u64 = bins.iter().map(|bin| bin.count).sum();
    let share = |bin: &Bin| bin.count as f64 / samples as f64;
    let axes = [Axis::new("confidence", "%"), Axis::new("accuracy", "%"), Axis::new("samples", "%")];
    let unit = Span::exactly(0.0, 1.0, true);
    let ticks = unit.ticks(5);
    let left = EDGE + frame::left_of(&ticks, &axes[1]);
    let entries = vec![
        (Sample::Fill { colour: colour(0), alpha: 0.8 }, "accuracy".to_owned()),
        (Sample::Edge { colour: colour(1) }, "gap to the mean confidence".to_owned()),
        (line(), "perfect calibration".to_owned()),
    ];
    let legend = Legend::new(entries, left - 4.0, WIDTH - EDGE - left);
    let top = EDGE + TITLE + legend.height() + 8.0;
    let square = Frame { area: Rect::new(left, top, SIDE, SIDE), x: unit, y: unit };

    let mut canvas = Canvas::new(WIDTH, top + SIDE + BELOW + notes.len() as f64 * NOTE + EDGE * 0.6);
    frame::title(&mut canvas, &plot.title);
    legend.draw(&mut canvas, EDGE + TITLE);
    square.draw_y(&mut canvas, &ticks, &axes[1], true);
    square.draw_x(&mut canvas, &ticks, Some(&axes[0]), false);
    bars(&mut canvas, &square, &bins);

    let shares = Span::of(bins.iter().map(|bin| share(bin)), &axes[2], Ends::Zero).unwrap_or(unit);
    let share_ticks = shares.ticks(5);
    let left = left + SIDE + 24.0 + frame::left_of(&share_ticks, &axes[2]);
    let area = Rect::new(left, top + 52.0, WIDTH - EDGE - 10.0 - left, SIDE - 52.0);
    let histogram = Frame { area, x: unit, y: shares };
    histogram.draw_y(&mut canvas, &share_ticks, &axes[2], true);
    histogram.draw_x(&mut canvas, &unit.ticks(4), Some(&axes[0]), false);
    canvas.layer(Layer::titled("samples"), |pen| {
        for bin in &bins {
            if let Some(area) = column(&histogram, bin, 0.0, share(bin)) {
                pen.rect(area, colour(6), 0.55);
            }
        }
    });
    canvas.layer(Layer::default(), |pen| {
        let ece = format!("ECE {}", number::show(plot.ece, Digits::Percent(2)));
        let font = Font { bold: true, ..Font::new(15.0, INK, Anchor::Start) };
        pen.text((area.x, top + 8.0), &ece, font);
        let count =
            format!("{} samples in {} bins", number::show(samples as f64, Digits::Fixed(0)), bins.len());
        pen.text((area.x, top + 28.0), &count, Font::new(LABEL, MUTED, Anchor::Start));
    });
    frame::notes(&mut canvas, &notes, top + SIDE + BELOW);
    canvas
}

fn line() -> Sample {
    Sample::Line { colour: INK, dash: Dash::Dashed, shape: None, width: 1.3 }
}

fn bars(canvas: &mut Canvas, frame: &Frame, bins: &[&Bin]) {
    canvas.layer(Layer::titled("accuracy"), |pen| {
        for bin in bins {
            if let Some(area) = column(frame, bin, 0.0, bin.accuracy) {
                pen.rect(area, colour(0), 0.8);
            }
        }
    });
    canvas.layer(Layer::titled("gap to the mean confidence").dashed(&[4.0, 3.0]), |pen| {
        for bin in bins {
            let (low, high) = (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence));
            if let Some(area) = column(frame, bin, low, high) {
                pen.rect(area, colour(1), 0.18);
                pen.outline(area, colour(1), 1.5);
            }
        }
    });
    let diagonal: Vec<(f64, f64)> = [0.0, 1.0].iter().filter_map(|at| frame.place(*at, *at)).collect();
    canvas.layer(marks::layer("perfect calibration", Dash::Dashed), |pen| pen.line(&diagonal, INK, 1.3));
}

/// The column of a bin between two heights, with a little room to its neighbours.
fn column(frame: &Frame, bin: &Bin, low: f64, high: f64) -> Option<Rect> {
    let (x0, y0) = frame.place(bin.low, low)?;
    let (x1, y1) = frame.place(bin.high, high)?;
    let room = if x1 - x0 > 6.0 { 1.0 } else { 0.0 };
    Some(Rect::new(x0 + room, y1, x1 - x0 - 2.0 * room, y0 - y1))
}
