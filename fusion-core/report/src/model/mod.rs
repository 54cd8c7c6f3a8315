//! The report as plain data: what the engine fills, what JSON holds and what every writer reads.
//!
//! Numbers are kept as they were measured; rounding is the writers' business. In JSON a number that is not finite is one of
//! the strings `"nan"`, `"inf"` and `"-inf"`, so that nothing is lost and the file stays JSON.

mod check;
mod finite;
mod graph;
mod plot;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use graph::{Graph, Node};
pub use plot::{
    Axis, Bar, Bars, Bin, Curve, Dash, Landscape, Marker, Matrix, Panel, Place, Plot, Polyline, Reliability,
    Scale, Series, Shape, Style, Training,
};
pub use table::{Align, Cell, Column, Digits, Table};

/// Everything one recipe's run has to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was run: the recipe's file name or its first comment.
    pub title: String,
    /// The recipe as written.
    pub recipe_text: String,
    /// Stages and what flows between them.
    pub graph: Graph,
    /// Name and version of the program.
    pub tool: String,
    /// When the run began (RFC 3339).
    pub started: String,
    /// How long it took, in seconds of wall time.
    #[serde(with = "finite::one")]
    pub seconds: f64,
    /// Where it was computed.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// Seeds of the run, in the order in which they were used.
    pub seeds: Vec<u64>,
    /// Stages in the order in which they were computed.
    pub stages: Vec<StageRow>,
    /// What was measured, section by section.
    pub sections: Vec<Section>,
    /// Each `expect` of the recipe with its verdict.
    pub expects: Vec<Expect>,
    /// Every score by its name, for example `naive_loss.height`.
    #[serde(with = "finite::map")]
    pub facts: BTreeMap<String, f64>,
}

/// One stage's time and cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRow {
    /// Name in the recipe.
    pub name: String,
    /// Verb.
    pub verb: String,
    /// Method.
    pub method: String,
    /// Whether it was computed.
    pub status: Status,
    /// Seconds of wall time; of a cached stage, what reading it took.
    #[serde(with = "finite::one")]
    pub seconds: f64,
    /// What it cost, for people: `3 epochs, 30 000 samples, 12 400 samples/s`.
    pub cost: String,
    /// What a reader should know: a policy that was chosen, a value that was clipped.
    pub notes: Vec<String>,
}

/// Whether a stage was computed in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Computed.
    #[default]
    Ran,
    /// Taken from the cache.
    Cached,
}

/// What belongs together under one heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Plain text; an empty line starts a paragraph.
    pub text: String,
    /// Tables, shown after the plots.
    pub tables: Vec<Table>,
    /// Plots.
    pub plots: Vec<Plot>,
}

/// An `expect` and whether it holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expect {
    /// As written in the recipe.
    pub text: String,
    /// The verdict.
    pub holds: bool,
    /// The values that it compares, by name.
    #[serde(with = "finite::named")]
    pub values: Vec<(String, f64)>,
    /// Line in the recipe, counted from 1; 0 where it has none.
    pub line: usize,
}
