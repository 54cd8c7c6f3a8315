//! Plots as SVG.
//!
//! A drawing is 720 pixels wide, its bytes depend on nothing but the data, and it follows a reader's light or dark screen where
//! the program that shows it understands style rules; on paper and elsewhere it is light.

pub(crate) mod canvas;
pub(crate) mod frame;
pub(crate) mod label;
pub(crate) mod legend;
pub(crate) mod marks;
pub(crate) mod scale;
pub(crate) mod theme;

use crate::error::ReportError;
use crate::model::{Graph, Plot};
use crate::plots;

/// A plot as a document of its own.
///
/// # Errors
/// [`ReportError::Shape`]: the plot's parts do not fit together.
pub fn plot(plot: &Plot) -> Result<String, ReportError> {
    plot.check()?;
    Ok(plots::draw(plot).finish(plot.title(), &theme::dark()))
}

/// A plot as an element of a page that has the rules of [`theme::dark`]. The plot has been checked.
pub(crate) fn inline(plot: &Plot) -> String {
    plots::draw(plot).finish(plot.title(), "")
}

/// A recipe's graph as an element of a page. The graph has been checked.
pub(crate) fn graph(graph: &Graph) -> String {
    plots::graph(graph).finish("the graph of the recipe", "")
}
