//! The recipe's graph as it is drawn: from left to right, one column for each step.

use serde::{Deserialize, Serialize};

/// Stages and what flows between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Nodes; within a column, from top to bottom.
    pub nodes: Vec<Node>,
    /// From the producer to the consumer, both as indices of `nodes`.
    pub edges: Vec<(usize, usize)>,
}

/// A node of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Name in the recipe.
    pub name: String,
    /// What it does: `train`, `connect`, `evaluate`, `data`.
    pub verb: String,
    /// With which method.
    pub method: String,
    /// Column, from the left: greater than that of every producer.
    pub column: usize,
}
