//! Whether a report fits together, before anything is drawn or written.

use crate::error::ReportError;

use super::{Plot, Report, Series, Table};

impl Report {
    /// Checks that rows are as long as tables are wide, grids have a value at each point and edges lead to nodes.
    ///
    /// # Errors
    /// [`ReportError::Shape`], which names the part.
    pub fn check(&self) -> Result<(), ReportError> {
        let nodes = self.graph.nodes.len();
        for (from, to) in &self.graph.edges {
            if *from >= nodes || *to >= nodes {
                return Err(shape(
                    "the graph",
                    "edges",
                    format!("nodes below {nodes}"),
                    format!("{from} → {to}"),
                ));
            }
        }
        for section in &self.sections {
            section.tables.iter().try_for_each(Table::check)?;
            section.plots.iter().try_for_each(Plot::check)?;
        }
        Ok(())
    }
}

impl Table {
    /// Checks that each row has a cell for each column.
    ///
    /// # Errors
    /// [`ReportError::Shape`].
    pub fn check(&self) -> Result<(), ReportError> {
        for (number, row) in self.rows.iter().enumerate() {
            if row.len() != self.columns.len() {
                let what = format!("cells in row {number}");
                return Err(shape(&self.title, &what, self.columns.len(), row.len()));
            }
        }
        Ok(())
    }
}

impl Plot {
    /// Checks that values and coordinates are as many as they must be, and that grid lines rise.
    ///
    /// # Errors
    /// [`ReportError::Shape`].
    pub fn check(&self) -> Result<(), ReportError> {
        match self {
            Plot::Curve(plot) => plot.series.iter().try_for_each(|series| bands(&plot.title, series)),
            Plot::Training(plot) => {
                let mut series = plot.panels.iter().flat_map(|panel| &panel.series);
                series.try_for_each(|series| bands(&plot.title, series))
            }
            Plot::Landscape(plot) => {
                count(&plot.title, "values", plot.xs.len() * plot.ys.len(), plot.values.len())?;
                for (name, line) in [("xs", &plot.xs), ("ys", &plot.ys), ("levels", &plot.levels)] {
                    if line.iter().any(|at| !at.is_finite()) || line.windows(2).any(|pair| pair[0] >= pair[1])
                    {
                        return Err(shape(&plot.title, name, "finite, rising", format!("{line:?}")));
                    }
                }
                Ok(())
            }
            Plot::Matrix(plot) => {
                count(&plot.title, "values", plot.names.len() * plot.names.len(), plot.values.len())
            }
            Plot::Reliability(_) | Plot::Bars(_) => Ok(()),
        }
    }
}

fn bands(title: &str, series: &Series) -> Result<(), ReportError> {
    if series.band.is_empty() {
        return Ok(());
    }
    count(title, &format!("ends of the band of `{}`", series.name), series.points.len(), series.band.len())
}

fn count(title: &str, what: &str, expected: usize, found: usize) -> Result<(), ReportError> {
    if expected == found { Ok(()) } else { Err(shape(title, what, expected, found)) }
}

fn shape(part: &str, what: &str, expected: impl ToString, found: impl ToString) -> ReportError {
    ReportError::Shape {
        part: part.to_owned(),
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}
