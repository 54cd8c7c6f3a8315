//! What an `evaluate` stage finds, as plain numbers: values that recipes can compare, and what a report can show.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::measure::calibration::Calibration;
use crate::measure::landscape::{Mark, Trace};

/// The result of an `evaluate` stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Values by dotted name, without the stage's: `height`, `accuracy.line.height`, `soup`. Names are unique.
    pub values: Vec<(String, f64)>,
    /// Names of the values that are worth a line on a screen, in order.
    pub shown: Vec<String>,
    /// What a report can show, in order.
    pub details: Vec<Detail>,
    /// What a reader should know: examples without a usable output, a policy.
    pub notes: Vec<String>,
    /// What was computed, in words.
    pub cost: String,
    /// Names among `values`: the matrix of many models has many.
    #[serde(skip)]
    known: BTreeSet<String>,
}

/// What a report can show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Detail {
    /// Rows of numbers.
    Table(Table),
    /// Values along a path.
    Lines(Lines),
    /// A number for every pair of models.
    Matrix(Matrix),
    /// Confidence against accuracy.
    Reliability {
        /// The model.
        title: String,
        /// Its bins.
        calibration: Calibration,
    },
    /// Values over a plane.
    Map(Map),
}

/// Rows of numbers. NaN stands for what is undefined.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Heading.
    pub title: String,
    /// Columns behind the rows' names.
    pub columns: Vec<String>,
    /// Names and as many numbers as columns.
    pub rows: Vec<(String, Vec<f64>)>,
}

/// Values along a path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lines {
    /// Heading.
    pub title: String,
    /// The metric.
    pub metric: String,
    /// Positions.
    pub t: Vec<f64>,
    /// Lines by name, each as long as `t`.
    pub lines: Vec<(String, Vec<f64>)>,
    /// Values that belong to no t (the ensemble of the ends), by name.
    pub levels: Vec<(String, f64)>,
}

/// A number for every pair of models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Matrix {
    /// Heading.
    pub title: String,
    /// Of rows and columns.
    pub names: Vec<String>,
    /// Rows of as many numbers as names. NaN where a pair has none.
    pub rows: Vec<Vec<f64>>,
}

/// Values over a plane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Map {
    /// Heading.
    pub title: String,
    /// The metric.
    pub metric: String,
    /// Columns.
    pub x: Vec<f64>,
    /// Rows.
    pub y: Vec<f64>,
    /// Row-major [y, x].
    pub values: Vec<f64>,
    /// Models.
    pub marks: Vec<Mark>,
    /// Paths.
    pub paths: Vec<Trace>,
}

impl Scores {
    /// Adds a value; the first of a name counts.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        if self.known.insert(name.clone()) {
            self.values.push((name, value));
        }
    }

    /// Adds a value that is worth a line.
    pub(crate) fn show(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        self.add(name.clone(), value);
        if !self.shown.contains(&name) {
            self.shown.push(name);
        }
    }

    /// A value by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}
