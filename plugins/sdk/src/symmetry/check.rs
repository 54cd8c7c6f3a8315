//! Whether a description is sound in itself: what uses of it rely on, checked once where it comes in.

use super::{Axis, Factor, NodeId, Symmetries};

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymmetryError {
    /// Two nodes have one name.
    #[error("the node `{node}` is there twice")]
    Twice {
        /// The node.
        node: String,
    },
    /// A node without units.
    #[error("the node `{node}` has no units")]
    Empty {
        /// The node.
        node: String,
    },
    /// A node lies in itself, or in a node that comes later or is not there.
    #[error("the node `{node}` lies in a node that does not come before it")]
    Order {
        /// The node.
        node: String,
    },
    /// A tensor uses a node that is not there.
    #[error("`{tensor}` uses a node that is not there")]
    Unknown {
        /// The tensor.
        tensor: String,
    },
    /// A tensor uses a node without the node that it lies in.
    #[error(
        "axis {axis} of `{tensor}` uses `{node}`, which lies in `{parent}`, and `{parent}` is in no axis of this tensor"
    )]
    Orphan {
        /// The tensor.
        tensor: String,
        /// The axis.
        axis: usize,
        /// The node.
        node: String,
        /// What it lies in.
        parent: String,
    },
    /// An axis is joined to nothing that it can be joined to.
    #[error(
        "axis {axis} of `{tensor}` is joined with the next: there must be one, of the same side, and this one must be a single product"
    )]
    Joined {
        /// The tensor.
        tensor: String,
        /// The axis.
        axis: usize,
    },
    /// A tensor of the model has another shape.
    #[error("`{tensor}` is {found:?}, its axes say {wanted:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// In the model.
        found: Vec<usize>,
        /// By the axes.
        wanted: Vec<usize>,
    },
    /// A tensor is described and not there.
    #[error("`{tensor}` is described, and the model does not have it")]
    Missing {
        /// The tensor.
        tensor: String,
    },
    /// A tensor that no memory holds.
    #[error("`{tensor}` has more elements than can be counted")]
    TooLarge {
        /// The tensor.
        tensor: String,
    },
    /// A node that no tensor uses.
    #[error("no tensor uses the node `{node}`")]
    Unused {
        /// The node.
        node: String,
    },
}

impl Symmetries {
    /// Checks names, sizes, the order of parents, and that every tensor has the parents of the nodes that it uses.
    ///
    /// # Errors
    /// See [`SymmetryError`].
    pub fn check(&self) -> Result<(), SymmetryError> {
        for (index, node) in self.nodes.iter().enumerate() {
            let name = || node.name.clone();
            if self.nodes[..index].iter().any(|other| other.name == node.name) {
                return Err(SymmetryError::Twice { node: name() });
            }
            if node.size == 0 {
                return Err(SymmetryError::Empty { node: name() });
            }
            let ascending = node.parents.windows(2).all(|pair| pair[0] < pair[1]);
            if !ascending || node.parents.iter().any(|parent| parent.index() >= index) {
                return Err(SymmetryError::Order { node: name() });
            }
        }
        let mut used = vec![false; self.nodes.len()];
        for (index, tensor) in self.tensors.iter().enumerate() {
            for (at, axis) in tensor.axes.iter().enumerate() {
                let goes_on = |next: &Axis| next.side == axis.side && axis.segments.len() == 1;
                if axis.joined && !tensor.axes.get(at + 1).is_some_and(goes_on) {
                    return Err(SymmetryError::Joined { tensor: tensor.name.clone(), axis: at });
                }
                for product in &axis.segments {
                    for id in nodes_of(product) {
                        if id.index() >= self.nodes.len() {
                            return Err(SymmetryError::Unknown { tensor: tensor.name.clone() });
                        }
                        used[id.index()] = true;
                        let orphan = self.node(id).parents.iter().find(|parent| {
                            !nodes_of(product).any(|other| other == **parent)
                                && !tensor
                                    .axes
                                    .iter()
                                    .enumerate()
                                    .any(|(other, axis)| other != at && axis_has(axis, **parent))
                        });
                        if let Some(parent) = orphan {
                            return Err(SymmetryError::Orphan {
                                tensor: tensor.name.clone(),
                                axis: at,
                                node: self.node(id).name.clone(),
                                parent: self.node(*parent).name.clone(),
                            });
                        }
                    }
                }
            }
            let elements = self.shape(index).into_iter().fold(1, usize::saturating_mul);
            if elements == usize::MAX {
                return Err(SymmetryError::TooLarge { tensor: tensor.name.clone() });
            }
        }
        match used.iter().position(|used| !used) {
            Some(index) => Err(SymmetryError::Unused { node: self.nodes[index].name.clone() }),
            None => Ok(()),
        }
    }

    /// Checks that a model has the described tensors with these shapes. `shape` gives the shape of a tensor of the model.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn fits(&self, shape: impl Fn(&str) -> Option<Vec<usize>>) -> Result<(), SymmetryError> {
        for (index, tensor) in self.tensors.iter().enumerate() {
            let Some(found) = shape(&tensor.name) else {
                return Err(SymmetryError::Missing { tensor: tensor.name.clone() });
            };
            let wanted = self.shape(index);
            if found != wanted {
                return Err(SymmetryError::Shape { tensor: tensor.name.clone(), found, wanted });
            }
        }
        Ok(())
    }
}

/// The nodes among factors.
pub(super) fn nodes_of(product: &[Factor]) -> impl Iterator<Item = NodeId> + '_ {
    product.iter().filter_map(|factor| match factor {
        Factor::Node(id) => Some(*id),
        Factor::Pinned(_) => None,
    })
}

/// Whether every product of an axis has the node: only then every position along the axis says its index.
pub(super) fn axis_has(axis: &Axis, id: NodeId) -> bool {
    axis.segments.iter().all(|product| nodes_of(product).any(|other| other == id))
}
