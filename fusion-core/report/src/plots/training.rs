//! What happened over a training: one panel for each quantity, above each other, with one x axis.

use crate::model::{Series, Training};
use crate::svg::canvas::{Canvas, Rect};
use crate::svg::frame::{self, BELOW, EDGE, Frame, NOTE, TITLE, WIDTH};
use crate::svg::label::Placer;
use crate::svg::legend::Legend;
use crate::svg::scale::{Ends, Span};

use super::curve;

/// Height of a panel and of the room between two.
const PANEL: f64 = 150.0;
const BETWEEN: f64 = 20.0;

pub(super) fn draw(plot: &Training) -> Canvas {
    let series = || plot.panels.iter().flat_map(|panel| &panel.series);
    let xs = series().flat_map(|series| series.points.iter().map(|point| point.0));
    let Some(x) = Span::of(xs, &plot.x, Ends::Tight) else {
        return frame::empty(
            &plot.title,
            &super::left_out(series().map(|series| series.points.len()).sum(), "point"),
        );
    };
    let spans: Vec<Option<Span>> = plot
        .panels
        .iter()
        .map(|panel| Span::of(panel.series.iter().flat_map(curve::series_ys), &panel.y, Ends::Loose))
        .collect();

    let rooms = spans
        .iter()
        .zip(&plot.panels)
        .map(|(span, panel)| frame::left_of(&span.map(|span| span.ticks(4)).unwrap_or_default(), &panel.y));
    let left = EDGE + rooms.fold(0.0, f64::max);
    let legend = Legend::new(Legend::series(series()), left - 4.0, WIDTH - EDGE - left);
    let top = EDGE + TITLE + legend.height() + 8.0;
    let area = |place: usize| {
        let y = top + place as f64 * (PANEL + BETWEEN);
        Rect::new(left, y, WIDTH - EDGE - 10.0 - left, PANEL)
    };
    let bottom = top + plot.panels.len() as f64 * (PANEL + BETWEEN) - BETWEEN;
    let lost = |series: &Series, span: &Option<Span>| match span {
        Some(y) => curve::lost(&Frame { area: area(0), x, y: *y }, series),
        None => series.points.len(),
    };
    let missing = plot
        .panels
        .iter()
        .zip(&spans)
        .flat_map(|(panel, span)| panel.series.iter().map(move |series| lost(series, span)));
    let notes = super::left_out(missing.sum(), "point");

    let mut canvas = Canvas::new(WIDTH, bottom + BELOW + notes.len() as f64 * NOTE + EDGE * 0.6);
    frame::title(&mut canvas, &plot.title);
    legend.draw(&mut canvas, EDGE + TITLE);
    let x_ticks = x.ticks(8);
    for (place, (panel, span)) in plot.panels.iter().zip(&spans).enumerate() {
        let Some(y) = *span else {
            frame::no_data(&mut canvas, area(place));
            continue;
        };
        let frame = Frame { area: area(place), x, y };
        let last = place + 1 == plot.panels.len();
        frame.draw_y(&mut canvas, &y.ticks(4), &panel.y, true);
        let ticks: Vec<_> = if last {
            x_ticks.clone()
        } else {
            // Lines without numbers: the numbers stand below the last panel.
            x_ticks
                .iter()
                .map(|tick| crate::svg::scale::Tick { label: String::new(), ..tick.clone() })
                .collect()
        };
        frame.draw_x(&mut canvas, &ticks, last.then_some(&plot.x), false);
        curve::lines(&mut canvas, &frame, &panel.series, &mut Placer::new(frame.area));
    }
    frame::notes(&mut canvas, &notes, bottom + BELOW);
    canvas
}
