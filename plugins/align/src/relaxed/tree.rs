//! A point of the relaxation from doubly stochastic blocks: one for each node and each pair of indices of its parents.
//!
//! M_S[x, y] = Π_{k ∈ S} C_k[parents of x, parents of y][x_k, y_k]. For a node without parents M is its one block.

use fusion_sdk::MethodError;
use fusion_sdk::symmetry::NodeId;

use super::{Point, Relaxed, copy_in, digits};
use crate::cost::Joint;

/// For every node copies² blocks of size² values behind each other, copies in the result first.
pub(crate) type Blocks = Vec<Vec<f64>>;

/// Where each index of a matrix lies in the blocks of each of its nodes: (copy, digit).
fn places(relaxed: &Relaxed<'_>, joint: &Joint) -> Vec<Vec<(usize, usize)>> {
    let each = (0..joint.length()).map(|x| {
        let digits = digits(&joint.sizes, x);
        let of = |(at, id): (usize, &NodeId)| {
            (copy_in(relaxed.symmetries, &joint.nodes, *id, &digits), digits[at])
        };
        joint.nodes.iter().enumerate().map(of).collect()
    });
    each.collect()
}

impl Relaxed<'_> {
    /// All blocks, by a function of node, size and the block's number.
    ///
    /// # Errors
    /// Those of the function.
    pub(crate) fn blocks(
        &self,
        block: impl Fn(NodeId, usize, usize) -> Result<Vec<f64>, MethodError>,
    ) -> Result<Blocks, MethodError> {
        let of = |id: NodeId| {
            let size = self.symmetries.node(id).size;
            let each = (0..self.symmetries.copies(id).pow(2)).map(|at| block(id, size, at));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        };
        self.symmetries.ids().map(of).collect()
    }

    /// The point of some blocks.
    pub(crate) fn spread(&self, blocks: &Blocks) -> Point {
        let mut point = self.zeros();
        for joint in point.iter_mut().flatten() {
            if let [id] = joint.nodes[..] {
                joint.values.clone_from(&blocks[id.index()]);
                continue;
            }
            let places = places(self, joint);
            let length = joint.length();
            for (x, row) in places.iter().enumerate() {
                for (y, column) in places.iter().enumerate() {
                    let factors = joint
                        .nodes
                        .iter()
                        .enumerate()
                        .map(|(at, id)| blocks[id.index()][self.entry(*id, row[at], column[at])]);
                    joint.values[x * length + y] = factors.product();
                }
            }
        }
        point
    }

    /// The gradient in the blocks from that in the point: Σ over matrices, each entry times the other factors.
    pub(crate) fn gather(&self, blocks: &Blocks, gradient: &Point) -> Blocks {
        let mut sums: Blocks = blocks.iter().map(|values| vec![0.0; values.len()]).collect();
        for joint in gradient.iter().flatten() {
            if let [id] = joint.nodes[..] {
                sums[id.index()].iter_mut().zip(&joint.values).for_each(|(sum, value)| *sum += value);
                continue;
            }
            let places = places(self, joint);
            let length = joint.length();
            let mut entries = vec![0; joint.nodes.len()];
            for (x, row) in places.iter().enumerate() {
                for (y, column) in places.iter().enumerate() {
                    let slope = joint.values[x * length + y];
                    for (at, (entry, id)) in entries.iter_mut().zip(&joint.nodes).enumerate() {
                        *entry = self.entry(*id, row[at], column[at]);
                    }
                    for (at, id) in joint.nodes.iter().enumerate() {
                        let others =
                            joint.nodes.iter().zip(&entries).enumerate().filter(|(other, _)| *other != at);
                        let rest: f64 = others.map(|(_, (id, entry))| blocks[id.index()][*entry]).product();
                        sums[id.index()][entries[at]] += slope * rest;
                    }
                }
            }
        }
        sums
    }

    /// Where a node's blocks have the value from (copy, digit) to (copy, digit).
    fn entry(&self, id: NodeId, row: (usize, usize), column: (usize, usize)) -> usize {
        let (size, copies) = (self.symmetries.node(id).size, self.symmetries.copies(id));
        ((row.0 * copies + column.0) * size + row.1) * size + column.1
    }
}
