//! The planner's side of experiments: data sets, networks and the stages on them are checked against each other before anything runs.

pub(crate) mod align;
mod apply;
mod data;
mod differences;
mod network;
mod parts;
mod report;
mod stage;
mod steps;
pub(crate) mod values;

pub(super) use parts::expand;
pub(crate) use values::settings;
