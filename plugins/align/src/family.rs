//! Nodes that have to be solved together: a node with all that lie in it.
//!
//! Moving a head moves its dimensions, so which head goes with which depends on how well their dimensions can be matched. A family is such
//! a tree of nodes; for an MLP every layer is one of a single node.

use fusion_sdk::symmetry::{Factor, NodeId, Symmetries, TensorAxes, TensorRole};

/// Nodes that are connected by lying in each other, in ascending order: parents come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// Its nodes.
    pub(crate) nodes: Vec<NodeId>,
    /// Whether the nodes that each lies in lie in each other: then it can be solved from the inside out. Otherwise node by node.
    pub(crate) nested: bool,
    /// Whether a tensor has one of its nodes more than once in a product of its axes (the recurrent matrix of an LSTM): then the objective
    /// is quadratic in it, and costs are those of its linearisation.
    pub(crate) quadratic: bool,
    /// The trained tensors that use it, by index.
    pub(crate) tensors: Vec<usize>,
}

impl Family {
    /// Whether a node belongs to it.
    pub(crate) fn has(&self, id: NodeId) -> bool {
        self.nodes.binary_search(&id).is_ok()
    }
}

/// All families, in the order of their first nodes.
pub(crate) fn families(symmetries: &Symmetries) -> Vec<Family> {
    let mut first: Vec<usize> = (0..symmetries.nodes.len()).collect();
    for id in symmetries.ids() {
        for parent in &symmetries.node(id).parents {
            let (one, other) = (first[id.index()], first[parent.index()]);
            let (least, most) = (one.min(other), one.max(other));
            first.iter_mut().filter(|root| **root == most).for_each(|root| *root = least);
        }
    }
    let mut found = Vec::new();
    for root in 0..first.len() {
        let nodes: Vec<NodeId> = symmetries.ids().filter(|id| first[id.index()] == root).collect();
        if nodes.is_empty() {
            continue;
        }
        let nested = nodes.iter().all(|id| is_chain(symmetries, *id));
        let mut family = Family { nodes, nested, quadratic: false, tensors: Vec::new() };
        for (index, tensor) in symmetries.tensors.iter().enumerate() {
            if tensor.role != TensorRole::Parameter {
                continue;
            }
            let most = family.nodes.iter().map(|id| occurrences(tensor, *id)).max().unwrap_or(0);
            if most > 0 {
                family.tensors.push(index);
            }
            family.quadratic |= most > 1;
        }
        found.push(family);
    }
    found
}

/// Whether every parent lies in those before it, and all in the family's one root.
fn is_chain(symmetries: &Symmetries, id: NodeId) -> bool {
    let parents = &symmetries.node(id).parents;
    parents.iter().enumerate().all(|(at, parent)| symmetries.node(*parent).parents == parents[..at])
}

/// How often a node is in a block of a tensor (one product of each axis) at most.
fn occurrences(tensor: &TensorAxes, id: NodeId) -> usize {
    let in_product = |product: &Vec<Factor>| product.iter().filter(|own| **own == Factor::Node(id)).count();
    tensor.axes.iter().map(|axis| axis.segments.iter().map(in_product).max().unwrap_or(0)).sum()
}
