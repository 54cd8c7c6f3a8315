//! Tables: columns with units and alignment, cells that know how many digits they deserve.

use serde::{Deserialize, Serialize};

use super::finite;

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Caption; names the CSV file.
    pub title: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// Unit of its numbers; empty where they have none.
    pub unit: String,
    /// Where cells stand.
    pub align: Align,
}

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// Text.
    #[default]
    Left,
    /// Numbers.
    Right,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// A number, kept in full and shown rounded.
    Number {
        /// As measured.
        #[serde(with = "finite::one")]
        value: f64,
        /// How it is shown.
        digits: Digits,
    },
    /// Text.
    Text(String),
    /// Nothing was measured.
    #[default]
    Empty,
}

/// How a number is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digits {
    /// Four significant digits, exponents only far from 1.
    #[default]
    Auto,
    /// So many after the point.
    Fixed(u8),
    /// A fraction, shown in per cent with so many digits after the point.
    Percent(u8),
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, columns: Vec<Column>) -> Table {
        Table { title: title.into(), columns, rows: Vec::new() }
    }
}

impl Column {
    /// A column of text.
    pub fn text(name: impl Into<String>) -> Column {
        Column { name: name.into(), unit: String::new(), align: Align::Left }
    }

    /// A column of numbers.
    pub fn number(name: impl Into<String>, unit: impl Into<String>) -> Column {
        Column { name: name.into(), unit: unit.into(), align: Align::Right }
    }
}

impl Cell {
    /// A number with as many digits as its size asks for.
    pub fn number(value: f64) -> Cell {
        Cell::Number { value, digits: Digits::Auto }
    }

    /// A number with so many digits after the point.
    pub fn fixed(value: f64, digits: u8) -> Cell {
        Cell::Number { value, digits: Digits::Fixed(digits) }
    }

    /// A fraction that is shown in per cent.
    pub fn percent(fraction: f64, digits: u8) -> Cell {
        Cell::Number { value: fraction, digits: Digits::Percent(digits) }
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }
}
