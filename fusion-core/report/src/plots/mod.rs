//! One file for each kind of plot: from its data to a drawing.

mod bars;
mod colorbar;
mod contour;
mod curve;
mod graph;
mod landscape;
mod levels;
mod matrix;
mod reliability;
mod training;

use crate::model::Plot;
use crate::svg::canvas::Canvas;

pub(crate) use graph::draw as graph;

/// Draws a plot whose parts fit together.
pub(crate) fn draw(plot: &Plot) -> Canvas {
    match plot {
        Plot::Curve(plot) => curve::draw(plot),
        Plot::Landscape(plot) => landscape::draw(plot),
        Plot::Reliability(plot) => reliability::draw(plot),
        Plot::Training(plot) => training::draw(plot),
        Plot::Matrix(plot) => matrix::draw(plot),
        Plot::Bars(plot) => bars::draw(plot),
    }
}

/// `3 points are not finite …`, or nothing where there are none.
fn left_out(count: usize, what: &str) -> Vec<String> {
    match count {
        0 => Vec::new(),
        1 => vec![format!(
            "1 {what} cannot be drawn (not finite, or not positive on a logarithmic axis) and is left out."
        )],
        n => vec![format!(
            "{n} {what}s cannot be drawn (not finite, or not positive on a logarithmic axis) and are left out."
        )],
    }
}
