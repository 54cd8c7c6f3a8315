//! One value for each name, as bars from the left, with the spread over seeds where there is one.

use crate::model::Bars;
use crate::svg::canvas::{Anchor, Canvas, Font, Layer, Rect, fit, width};
use crate::svg::frame::{self, BELOW, EDGE, Frame, LABEL, NOTE, TICK, TITLE, WIDTH};
use crate::svg::scale::{Ends, Span, drawable};
use crate::svg::theme::{AXIS, INK, MUTED, PAPER, colour};

/// Height of a row and of its bar.
const ROW: f64 = 28.0;
const BAR: f64 = 17.0;
/// Widest label.
const NAME: f64 = 210.0;

pub(super) fn draw(plot: &Bars) -> Canvas {
    let ends = plot.bars.iter().flat_map(|bar| {
        let spread = bar.spread.map(|(low, high)| [low, high]).into_iter().flatten();
        spread.chain([bar.value])
    });
    let lost = plot.bars.iter().filter(|bar| !drawable(bar.value)).count();
    let notes = super::left_out(lost, "value");
    let Some(x) = Span::of(ends, &plot.value, Ends::Zero) else {
        return frame::empty(&plot.title, &notes);
    };

    let names: Vec<String> = plot.bars.iter().map(|bar| fit(&bar.name, LABEL, NAME)).collect();
    let widest = names.iter().map(|name| width(name, LABEL)).fold(0.0, f64::max);
    let left = EDGE + widest + 12.0;
    let top = EDGE + TITLE + 6.0;
    let height = plot.bars.len() as f64 * ROW;
    // Room at the right for the numbers behind the bars.
    let frame = Frame {
        area: Rect::new(left, top, WIDTH - EDGE - 60.0 - left, height),
        x,
        y: Span::exactly(0.0, 1.0, false),
    };

    let mut canvas = Canvas::new(WIDTH, top + height + BELOW + notes.len() as f64 * NOTE + EDGE * 0.6);
    frame::title(&mut canvas, &plot.title);
    frame.draw_x(&mut canvas, &x.ticks(7), Some(&plot.value), true);
    let shown = x.alike(&plot.bars.iter().map(|bar| bar.value).collect::<Vec<_>>());
    let zero = frame.across(0.0).unwrap_or(left).max(left);
    for (place, (bar, name)) in plot.bars.iter().zip(&names).enumerate() {
        let y = top + (place as f64 + 0.5) * ROW;
        canvas.layer(Layer::titled(&bar.name), |pen| {
            pen.text((left - 8.0, y), name, Font::new(LABEL, INK, Anchor::End));
            let Some(end) = frame.across(bar.value) else {
                pen.text((zero + 6.0, y), "–", Font::new(TICK, MUTED, Anchor::Start));
                return;
            };
            pen.rect(Rect::new(zero.min(end), y - BAR / 2.0, (end - zero).abs(), BAR), colour(0), 0.85);
            let mut tip = end;
            let spread = bar.spread.and_then(|(low, high)| Some((frame.across(low)?, frame.across(high)?)));
            if let Some((low, high)) = spread {
                // On paper and on the bar alike.
                pen.line(&[(low, y), (high, y)], PAPER, 3.4);
                pen.line(&[(low, y), (high, y)], INK, 1.4);
                for x in [low, high] {
                    pen.line(&[(x, y - 4.5), (x, y + 4.5)], INK, 1.4);
                }
                tip = if bar.value < 0.0 { end.min(low) } else { end.max(high) };
            }
            let (x, anchor) =
                if bar.value < 0.0 { (tip - 6.0, Anchor::End) } else { (tip + 6.0, Anchor::Start) };
            pen.text((x, y), &shown[place], Font::new(TICK, INK, anchor));
        });
    }
    canvas.layer(Layer::default(), |pen| pen.line(&[(zero, top), (zero, top + height)], AXIS, 1.0));
    frame::notes(&mut canvas, &notes, top + height + BELOW);
    canvas
}
