//! The costs of the nodes that meet in some tensors of a family.

use fusion_sdk::symmetry::{NodeId, Symmetries};

use crate::state::State;

/// K[x, y]: x are indices of `nodes` in the result, y in the model that is brought over; row-major, the last node fastest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Joint {
    /// Ascending: parents before those that lie in them.
    pub(crate) nodes: Vec<NodeId>,
    /// Their sizes.
    pub(crate) sizes: Vec<usize>,
    /// `length()²` values; larger is better.
    pub(crate) values: Vec<f64>,
}

impl Joint {
    /// All zero.
    pub(crate) fn zeros(symmetries: &Symmetries, nodes: &[NodeId]) -> Joint {
        let sizes: Vec<usize> = nodes.iter().map(|id| symmetries.node(*id).size).collect();
        let length: usize = sizes.iter().product();
        Joint { nodes: nodes.to_vec(), sizes, values: vec![0.0; length * length] }
    }

    /// Rows of K: the product of the sizes.
    pub(crate) fn length(&self) -> usize {
        self.sizes.iter().product()
    }

    /// The part with the first node at `row` in the result and at `column` in the other model: a joint of the other nodes.
    pub(crate) fn slice(&self, row: usize, column: usize) -> Joint {
        let inner: usize = self.sizes[1..].iter().product();
        let length = self.length();
        let mut values = Vec::with_capacity(inner * inner);
        for x in row * inner..(row + 1) * inner {
            let start = x * length + column * inner;
            values.extend_from_slice(&self.values[start..start + inner]);
        }
        Joint { nodes: self.nodes[1..].to_vec(), sizes: self.sizes[1..].to_vec(), values }
    }

    /// Sums some nodes out, at the places where `at` has them: `at(node, digits)` is the index in the other model of a node that has
    /// `digits[k]` for node `k` of the joint in the result. Nodes that it gives `None` for are kept.
    pub(crate) fn fixed(&self, kept: &[bool], at: impl Fn(usize, &[usize]) -> usize) -> Joint {
        let pick = |list: &[usize]| -> Vec<usize> {
            list.iter().zip(kept).filter(|(_, kept)| **kept).map(|(value, _)| *value).collect()
        };
        let nodes = self.nodes.iter().zip(kept).filter(|(_, kept)| **kept).map(|(id, _)| *id).collect();
        let sizes = pick(&self.sizes);
        let small: usize = sizes.iter().product();
        let length = self.length();
        let mut strides = vec![1; self.sizes.len()];
        for node in (1..strides.len()).rev() {
            strides[node - 1] = strides[node] * self.sizes[node];
        }
        // Where the kept nodes' combinations begin in a row.
        let kept_strides = pick(&strides);
        let columns: Vec<usize> = (0..small)
            .map(|column| {
                let (mut rest, mut offset) = (column, 0);
                for (size, stride) in sizes.iter().zip(&kept_strides).rev() {
                    offset += rest % size * stride;
                    rest /= size;
                }
                offset
            })
            .collect();
        let mut values = vec![0.0; small * small];
        let mut digits = vec![0; self.sizes.len()];
        for x in 0..length {
            let mut rest = x;
            for (digit, size) in digits.iter_mut().zip(&self.sizes).rev() {
                *digit = rest % size;
                rest /= size;
            }
            let (mut row, mut offset) = (0, x * length);
            for (node, kept) in kept.iter().enumerate() {
                match kept {
                    true => row = row * self.sizes[node] + digits[node],
                    false => offset += at(node, &digits) * strides[node],
                }
            }
            let target = &mut values[row * small..(row + 1) * small];
            for (sum, column) in target.iter_mut().zip(&columns) {
                *sum += self.values[offset + column];
            }
        }
        Joint { nodes, sizes, values }
    }

    /// Σ K[x, y(x)] for the tables of a state: what the tensors contribute to the objective.
    pub(crate) fn value(&self, symmetries: &Symmetries, state: &State) -> f64 {
        self.fixed(&vec![false; self.nodes.len()], |node, digits| {
            let id = self.nodes[node];
            let copy = symmetries.copy_of(id, |parent| {
                self.nodes.iter().position(|other| *other == parent).map_or(0, |at| digits[at])
            });
            state.table(id, copy)[digits[node]] as usize
        })
        .values[0]
    }

    /// Σ |K|: what tolerances are relative to.
    pub(crate) fn magnitude(&self) -> f64 {
        let mut sums = [0.0; 8];
        for values in self.values.chunks(8) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value.abs());
        }
        sums.iter().sum()
    }
}

/// The place of the joint of these nodes in a list; a new one is added if there is none.
pub(super) fn of(joints: &mut Vec<Joint>, symmetries: &Symmetries, nodes: &[NodeId]) -> usize {
    joints.iter().position(|joint| joint.nodes == nodes).unwrap_or_else(|| {
        joints.push(Joint::zeros(symmetries, nodes));
        joints.len() - 1
    })
}
