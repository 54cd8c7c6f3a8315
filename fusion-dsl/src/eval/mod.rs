//! Values of expressions: numbers with units, text, lists, schedules and references, computed before anything runs.

pub(crate) mod call;
pub(crate) mod expr;
pub(crate) mod random;
pub(crate) mod schedule;
pub(crate) mod text;
pub(crate) mod value;
