//! Tables whose numbers stand below each other.

use std::fmt::Write as _;

use crate::csv;
use crate::escape::xml;
use crate::model::{Align, Cell, Table};
use crate::number;

use super::figure::{self, Anchors};

/// A table; with anchors, also its caption and a link to its data.
pub(super) fn table(out: &mut String, table: &Table, anchors: Option<&mut Anchors>) {
    out.push_str("<div class=\"scroll\">\n<table>\n");
    if let Some(anchors) = anchors {
        let id = anchors.take(&table.title);
        let link = figure::download(&id, &csv::table(table));
        let _ = writeln!(out, "<caption id=\"{id}\">{} {link}</caption>", xml(&table.title));
    }
    out.push_str("<thead><tr>");
    for column in &table.columns {
        let unit = if column.unit.is_empty() {
            String::new()
        } else {
            format!(" <span class=\"unit\">({})</span>", xml(&column.unit))
        };
        let _ = write!(out, "<th scope=\"col\"{}>{}{unit}</th>", class(column.align), xml(&column.name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (cell, column) in row.iter().zip(&table.columns) {
            let text = match cell {
                Cell::Number { value, digits } => number::in_column(*value, *digits, &column.unit),
                Cell::Text(text) => text.clone(),
                Cell::Empty => "–".to_owned(),
            };
            let _ = write!(out, "<td{}>{}</td>", class(column.align), xml(&text));
        }
        out.push_str("</tr>\n");
    }
    if table.rows.is_empty() {
        let _ = writeln!(out, "<tr><td colspan=\"{}\">no data</td></tr>", table.columns.len().max(1));
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn class(align: Align) -> &'static str {
    match align {
        Align::Left => "",
        Align::Right => " class=\"r\"",
    }
}
