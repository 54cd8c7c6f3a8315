//! Tables with aligned columns.

use unicode_width::UnicodeWidthStr;

use crate::model::{Align, Cell, Table};
use crate::number;

use super::{Look, pad};

/// Between two columns.
const GAP: &str = "  ";
/// No column gets narrower to make a table fit.
const NARROW: usize = 8;

/// A table: its title, headings with units, a rule, rows. Where it is too wide, the widest columns of text are cut. Rows that are
/// longer or shorter than the table is wide are cut or filled up.
pub fn table(table: &Table, look: Look) -> String {
    let columns = table.columns.len();
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.push(
        table
            .columns
            .iter()
            .map(|column| match column.unit.as_str() {
                "" => look.text(&column.name),
                unit => look.text(&format!("{} ({unit})", column.name)),
            })
            .collect(),
    );
    for row in &table.rows {
        let cells = row.iter().zip(&table.columns).map(|(cell, column)| match cell {
            Cell::Number { value, digits } => look.text(&number::in_column(*value, *digits, &column.unit)),
            Cell::Text(text) => look.text(text),
            Cell::Empty => look.text("–"),
        });
        let mut cells: Vec<String> = cells.collect();
        cells.resize(columns, String::new());
        rows.push(cells);
    }

    let widths = widths(table, &rows, look.width);
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(&table.columns).map(|((cell, width), column)| {
            pad(&look.fit(cell, *width), *width, column.align == Align::Right)
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    let mut out = String::new();
    if !table.title.is_empty() {
        out.push_str(&look.text(&table.title));
        out.push('\n');
    }
    out.push_str(&line(&rows[0]));
    out.push('\n');
    let rule = if look.ascii { "-" } else { "─" };
    out.push_str(&rule.repeat(widths.iter().sum::<usize>() + GAP.len() * columns.saturating_sub(1)));
    out.push('\n');
    for row in &rows[1..] {
        out.push_str(&line(row));
        out.push('\n');
    }
    if table.rows.is_empty() {
        out.push_str("no data\n");
    }
    out
}

/// The width of each column: that of its widest cell, less where the table is too wide and the column holds text.
fn widths(table: &Table, rows: &[Vec<String>], most: usize) -> Vec<usize> {
    let mut widths: Vec<usize> =
        (0..table.columns.len()).map(|k| rows.iter().map(|row| row[k].width()).max().unwrap_or(0)).collect();
    let gaps = GAP.len() * table.columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > most {
        let text = widths.iter_mut().zip(&table.columns).filter(|(_, column)| column.align == Align::Left);
        match text.map(|(width, _)| width).max_by_key(|width| **width) {
            Some(width) if *width > NARROW => *width -= 1,
            _ => break,
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Column;

    fn barriers() -> Table {
        let mut table = Table::new("Barriers", vec![Column::text("path"), Column::number("height", "nats")]);
        table.rows.push(vec![Cell::text("straight"), Cell::fixed(1.7324, 3)]);
        table.rows.push(vec![Cell::text("曲線"), Cell::fixed(-0.5, 3)]);
        table.rows.push(vec![Cell::text("ensemble"), Cell::Empty]);
        table
    }

    #[test]
    fn columns_line_up() {
        let expected = "\
Barriers
path      height (nats)
───────────────────────
straight          1.732
曲線             −0.500
ensemble              –
";
        assert_eq!(table(&barriers(), Look::default()), expected);
        let ascii = table(&barriers(), Look { ascii: true, width: 80 });
        assert!(ascii.is_ascii(), "{ascii}");
    }

    #[test]
    fn a_wide_table_cuts_text_and_keeps_numbers() {
        let mut wide = barriers();
        wide.rows.push(vec![Cell::text("a name that goes on and on".repeat(4)), Cell::fixed(1234.5, 3)]);
        let text = table(&wide, Look { ascii: false, width: 40 });
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        assert!(text.contains("1234.500"));
    }

    #[test]
    fn a_table_without_rows_says_so() {
        assert!(table(&Table::new("t", vec![Column::text("a")]), Look::default()).ends_with("no data\n"));
        assert!(table(&Table::default(), Look::default()).ends_with("no data\n"));
    }
}
