//! The legend: rows above the data, never on it.

use plotters::style::RGBColor;

use crate::model::{Dash, Series, Shape, Style};

use super::canvas::{Anchor, Canvas, Font, Layer, Rect, fit, width};
use super::marks;
use super::theme::{self, BLACK, INK, WHITE};

const SIZE: f64 = 12.0;
const ROW: f64 = 19.0;
/// Length of the sample and its distance to the text.
const SAMPLE: f64 = 34.0;
const GAP: f64 = 7.0;
/// Between two entries.
const BETWEEN: f64 = 22.0;

/// What stands before a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    Line {
        colour: RGBColor,
        dash: Dash,
        shape: Option<Shape>,
        width: f64,
    },
    Fill {
        colour: RGBColor,
        alpha: f64,
    },
    Edge {
        colour: RGBColor,
    },
    /// White on black, as over a landscape.
    Cased {
        dash: Dash,
    },
}

impl Sample {
    pub(crate) fn of(style: Style) -> Sample {
        Sample::Line {
            colour: theme::colour(style.colour),
            dash: style.dash,
            shape: style.shape,
            width: marks::LINE,
        }
    }
}

/// Names with samples, laid out in rows.
pub(crate) struct Legend {
    /// x, row, sample, name.
    entries: Vec<(f64, usize, Sample, String)>,
    rows: usize,
}

impl Legend {
    /// Rows of at most this width, beginning at `left`.
    pub(crate) fn new(entries: Vec<(Sample, String)>, left: f64, most: f64) -> Legend {
        let mut legend = Legend { entries: Vec::new(), rows: 0 };
        let mut x = left;
        for (sample, name) in entries {
            let name = fit(&name, SIZE, most - SAMPLE - GAP);
            let wide = SAMPLE + GAP + width(&name, SIZE);
            if x > left && x + wide > left + most {
                x = left;
                legend.rows += 1;
            }
            legend.entries.push((x, legend.rows, sample, name));
            x += wide + BETWEEN;
        }
        if !legend.entries.is_empty() {
            legend.rows += 1;
        }
        legend
    }

    /// The series of a plot, each name once.
    pub(crate) fn series<'a>(series: impl IntoIterator<Item = &'a Series>) -> Vec<(Sample, String)> {
        let mut entries: Vec<(Sample, String)> = Vec::new();
        for series in series {
            if !series.name.is_empty() && entries.iter().all(|(_, name)| *name != series.name) {
                entries.push((Sample::of(series.style), series.name.clone()));
            }
        }
        entries
    }

    pub(crate) fn height(&self) -> f64 {
        self.rows as f64 * ROW
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas, top: f64) {
        for (x, row, sample, name) in &self.entries {
            let y = top + (*row as f64 + 0.5) * ROW;
            match *sample {
                Sample::Line { colour, dash, shape, width } => {
                    canvas.layer(marks::layer("", dash), |pen| {
                        pen.line(&[(*x, y), (x + SAMPLE, y)], colour, width)
                    });
                    if let Some(shape) = shape {
                        let middle = (x + SAMPLE / 2.0, y);
                        canvas.layer(Layer::default(), |pen| marks::mark(pen, shape, middle, 3.6, colour));
                    }
                }
                Sample::Fill { colour, alpha } => {
                    let area = Rect::new(x + 8.0, y - 6.0, SAMPLE - 8.0, 12.0);
                    canvas.layer(Layer::default(), |pen| pen.rect(area, colour, alpha));
                }
                Sample::Cased { dash } => {
                    let line = [(*x, y), (x + SAMPLE, y)];
                    canvas.layer(Layer::default().round(), |pen| pen.line(&line, BLACK, 4.6));
                    canvas.layer(marks::layer("", dash), |pen| pen.line(&line, WHITE, 2.2));
                }
                Sample::Edge { colour } => {
                    let area = Rect::new(x + 8.0, y - 6.0, SAMPLE - 8.0, 12.0);
                    canvas.layer(Layer::default().dashed(&[4.0, 3.0]), |pen| pen.outline(area, colour, 1.5));
                }
            }
            let font = Font::new(SIZE, INK, Anchor::Start);
            canvas.layer(Layer::default(), |pen| pen.text((x + SAMPLE + GAP, y), name, font));
        }
    }
}
