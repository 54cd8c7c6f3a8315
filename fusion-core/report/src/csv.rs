//! Tables and the data of plots as CSV (RFC 4180): for spreadsheets and notebooks.
//!
//! Numbers stand in full, fractions as fractions whatever the page shows; what was not measured is an empty field, and what is
//! not finite is `NaN`, `inf` or `-inf`.

use crate::error::ReportError;
use crate::escape;
use crate::model::{Axis, Cell, Landscape, Plot, Report, Series, Table};
use crate::svg::scale::label;

/// A file: a short name without extension, and its text.
pub type File = (String, String);

/// Everything in the report that is a table: scores, tables, the data of plots, stages. Names are different from each other.
///
/// # Errors
/// [`ReportError::Shape`]: parts do not fit together.
pub fn files(report: &Report) -> Result<Vec<File>, ReportError> {
    report.check()?;
    let mut named: Vec<(String, String)> = Vec::new();
    if !report.facts.is_empty() {
        named.push(("scores".to_owned(), scores(report)));
    }
    for table in report.sections.iter().flat_map(|section| &section.tables) {
        named.push((table.title.clone(), self::table(table)));
    }
    for plot in report.sections.iter().flat_map(|section| &section.plots) {
        named.push((plot.title().to_owned(), self::plot(plot)));
        if let Plot::Landscape(landscape) = plot {
            named.push((format!("{} places", landscape.title), places(landscape)));
        }
    }
    if !report.stages.is_empty() {
        named.push(("stages".to_owned(), stages(report)));
    }
    let slugs = escape::slugs(named.iter().map(|(title, _)| title.as_str()));
    Ok(slugs.into_iter().zip(named.into_iter().map(|(_, text)| text)).collect())
}

/// A table.
pub(crate) fn table(table: &Table) -> String {
    let header = table.columns.iter().map(|column| match column.unit.as_str() {
        "" => column.name.clone(),
        unit => format!("{} ({unit})", column.name),
    });
    let rows = table.rows.iter().map(|row| row.iter().map(cell).collect());
    write(header.collect(), rows)
}

/// The data of a plot; of a landscape, its grid.
pub(crate) fn plot(plot: &Plot) -> String {
    match plot {
        Plot::Curve(plot) => {
            let bands = plot.series.iter().any(|series| !series.band.is_empty());
            let mut header = vec!["series".to_owned(), name(&plot.x, "x"), name(&plot.y, "y")];
            if bands {
                header.extend(["low".to_owned(), "high".to_owned()]);
            }
            write(header, plot.series.iter().flat_map(|line| series(line, bands)))
        }
        Plot::Training(plot) => {
            let header =
                ["panel", "series", &name(&plot.x, "x"), "value", "low", "high"].map(str::to_owned).to_vec();
            let rows = plot.panels.iter().flat_map(|panel| {
                let rows = panel.series.iter().flat_map(|line| series(line, true));
                rows.map(|row| [vec![label(&panel.y)], row].concat())
            });
            write(header, rows)
        }
        Plot::Landscape(plot) => {
            let header = vec![name(&plot.x, "x"), name(&plot.y, "y"), name(&plot.value, "value")];
            let at = |place: usize| (plot.xs[place % plot.xs.len()], plot.ys[place / plot.xs.len()]);
            let rows = plot.values.iter().enumerate().map(|(place, value)| {
                let (x, y) = at(place);
                vec![number(x), number(y), number(*value)]
            });
            write(header, rows)
        }
        Plot::Reliability(plot) => {
            let header = ["low", "high", "confidence", "accuracy", "count"].map(str::to_owned).to_vec();
            let rows = plot.bins.iter().map(|bin| {
                let numbers = [bin.low, bin.high, bin.confidence, bin.accuracy].map(number);
                numbers.into_iter().chain([bin.count.to_string()]).collect()
            });
            write(header, rows)
        }
        Plot::Matrix(plot) => {
            let header = [String::new()].into_iter().chain(plot.names.iter().cloned()).collect();
            let rows = plot.names.iter().zip(plot.values.chunks(plot.names.len().max(1)));
            let rows = rows.map(|(name, row)| {
                [name.clone()].into_iter().chain(row.iter().copied().map(number)).collect()
            });
            write(header, rows)
        }
        Plot::Bars(plot) => {
            let header =
                vec!["name".to_owned(), name(&plot.value, "value"), "low".to_owned(), "high".to_owned()];
            let rows = plot.bars.iter().map(|bar| {
                let ends = bar
                    .spread
                    .map_or([String::new(), String::new()], |(low, high)| [number(low), number(high)]);
                [bar.name.clone(), number(bar.value)].into_iter().chain(ends).collect()
            });
            write(header, rows)
        }
    }
}

fn scores(report: &Report) -> String {
    let rows = report.facts.iter().map(|(name, value)| vec![name.clone(), number(*value)]);
    write(vec!["score".to_owned(), "value".to_owned()], rows)
}

fn stages(report: &Report) -> String {
    let header =
        ["stage", "verb", "method", "status", "seconds", "cost", "notes"].map(str::to_owned).to_vec();
    let rows = report.stages.iter().map(|stage| {
        let status = if stage.status == crate::model::Status::Ran { "ran" } else { "cached" };
        let (name, verb, method) = (stage.name.clone(), stage.verb.clone(), stage.method.clone());
        vec![
            name,
            verb,
            method,
            status.to_owned(),
            number(stage.seconds),
            stage.cost.clone(),
            stage.notes.join("; "),
        ]
    });
    write(header, rows)
}

/// Models and paths in a landscape's plane.
fn places(plot: &Landscape) -> String {
    let header = vec!["kind".to_owned(), "name".to_owned(), name(&plot.x, "x"), name(&plot.y, "y")];
    let row = |kind: &str, name: &str, (x, y): (f64, f64)| {
        vec![kind.to_owned(), name.to_owned(), number(x), number(y)]
    };
    let points = plot.points.iter().map(|point| row("point", &point.name, (point.x, point.y)));
    let paths = plot.paths.iter().flat_map(|path| path.points.iter().map(|at| row("path", &path.name, *at)));
    write(header, points.chain(paths))
}

fn series(series: &Series, bands: bool) -> Vec<Vec<String>> {
    let rows = series.points.iter().enumerate().map(|(place, (x, y))| {
        let mut row = vec![series.name.clone(), number(*x), number(*y)];
        if bands {
            row.extend(match series.band.get(place) {
                Some((low, high)) => [number(*low), number(*high)],
                None => [String::new(), String::new()],
            });
        }
        row
    });
    rows.collect()
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Number { value, .. } => number(*value),
        Cell::Text(text) => text.clone(),
        Cell::Empty => String::new(),
    }
}

/// The shortest digits that give back the same number.
fn number(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// The heading of an axis' column. Fractions are fractions here, so per cent is no unit.
fn name(axis: &Axis, otherwise: &str) -> String {
    match (axis.label.as_str(), axis.unit.as_str()) {
        ("", _) => otherwise.to_owned(),
        (_, "" | "%") => axis.label.clone(),
        _ => label(axis),
    }
}

fn write(header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    // A vector takes every byte, and flexible rows have no wrong length.
    let mut written = writer.write_record(&header);
    for row in rows {
        written = written.and_then(|()| writer.write_record(&row));
    }
    debug_assert!(written.is_ok(), "{written:?}");
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Column;

    #[test]
    fn fields_with_commas_quotes_and_breaks_come_back_from_a_reader() {
        let mut hostile = Table::new("t", vec![Column::text("name, \"quoted\""), Column::number("v", "s")]);
        let text = "a,b\n\"c\" <script>é";
        hostile.rows.push(vec![Cell::text(text), Cell::number(1e-300)]);
        hostile.rows.push(vec![Cell::Empty, Cell::number(f64::NAN)]);
        let written = table(&hostile);
        let mut reader = csv::Reader::from_reader(written.as_bytes());
        assert_eq!(reader.headers().unwrap(), vec!["name, \"quoted\"", "v (s)"]);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows[0], vec![text, "1e-300"]);
        assert_eq!(rows[1], vec!["", "NaN"]);
    }

    #[test]
    fn numbers_come_back_exactly() {
        for value in [0.1, 1.0 / 3.0, 1e22, -5e-324, f64::MAX, 0.0] {
            assert_eq!(number(value).parse::<f64>().unwrap(), value);
        }
        assert_eq!(number(3.0), "3");
    }
}
