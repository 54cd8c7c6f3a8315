//! Measuring: what a network, a path or a set of models is worth, in numbers that follow a paper's definition.
//!
//! Values come as plain numbers and rows; what is shown of them, and where, is decided elsewhere.

pub mod barrier;
pub mod batches;
pub mod calibration;
pub mod cka;
pub mod distance;
pub mod diversity;
pub mod ensemble;
mod error;
pub mod evaluate;
pub mod features;
pub mod forward;
pub mod landscape;
pub mod mergeable;
pub mod metric;
pub mod metrics;
pub mod network;
pub mod norm;
pub mod path;
pub mod per_class;
pub mod predictions;
pub mod similarity;
#[cfg(test)]
pub(crate) mod toy;
mod verb;
pub mod workers;

pub use error::MeasureError;
pub use predictions::Predictions;
pub use verb::{
    BarrierParams, CkaParams, Detail, EceParams, Inputs, LandscapeParams, Layers, Lines, Map, Matrix,
    MergeableParams, NamedData, NamedPath, NetworkParams, Scores, Subject, Table, check, evaluate, methods,
};
