//! Tables whose columns line up, whatever the width of a character or the colour of a cell.

use console::measure_text_width;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
    indent: usize,
    gap: usize,
}

impl Table {
    /// A table with these columns; cells beyond them are on the left side.
    pub(crate) fn new(sides: &[Side]) -> Self {
        Table { sides: sides.to_vec(), rows: Vec::new(), indent: 0, gap: 2 }
    }

    /// Blanks before each row.
    pub(crate) fn indent(mut self, blanks: usize) -> Self {
        self.indent = blanks;
        self
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether it has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, a line per row, without blanks at the ends of lines. Lines longer than `width` are cut with `…`.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| measure_text_width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (column, cell) in row.iter().enumerate() {
                if column > 0 {
                    line.push_str(&" ".repeat(self.gap));
                }
                let blanks = " ".repeat(widths[column] - measure_text_width(cell));
                match self.sides.get(column).copied().unwrap_or(Side::Left) {
                    Side::Left => line.extend([cell.as_str(), &blanks]),
                    Side::Right => line.extend([&blanks, cell.as_str()]),
                }
            }
            let line = line.trim_end();
            match width {
                Some(width) => out.push_str(&console::truncate_str(line, width.max(20), "…")),
                None => out.push_str(line),
            }
            out.push('\n');
        }
        out
    }
}

/// A paragraph broken between words so that no line, with its indentation, is longer than `width`.
pub(crate) fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let blanks = " ".repeat(indent);
    for paragraph in text.lines() {
        let mut line = blanks.clone();
        let mut empty = true;
        for word in paragraph.split_whitespace() {
            if !empty && measure_text_width(&line) + 1 + measure_text_width(word) > width {
                out.push_str(line.trim_end());
                out.push('\n');
                line = blanks.clone();
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_wide_and_coloured_cells() {
        let mut table = Table::new(&[Side::Left, Side::Right]).indent(1);
        table.row(["a", "1"]);
        table.row(["\x1b[1mlong\x1b[0m", "100"]);
        table.row(["層"]);
        insta::assert_snapshot!(console::strip_ansi_codes(&table.render(None)), @r"
         a       1
         long  100
         層
        ");
    }

    #[test]
    fn lines_are_cut_to_the_terminal_and_paragraphs_wrapped() {
        let mut table = Table::new(&[]);
        table.row(["x".repeat(40)]);
        assert_eq!(table.render(Some(20)), format!("{}…\n", "x".repeat(19)));
        assert_eq!(wrap("one two three", 2, 9), "  one two\n  three\n");
    }
}
