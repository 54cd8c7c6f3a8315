//! From nodes in the order of the text to the canonical graph.

pub(crate) mod canonical;
pub(crate) mod order;
