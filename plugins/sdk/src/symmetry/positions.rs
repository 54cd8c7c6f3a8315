//! Expressions flattened: where along which axis a node's units lie, for methods that accumulate costs over all uses of a node.

use super::{Factor, NodeId, Product, Side, Symmetries};

/// A use of a node: a factor of a product on an axis of a tensor.
///
/// Unit `u` of the node lies at `offset + (o · size + u) · inner + i` for all `o < outer`, `i < inner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the tensor.
    pub tensor: usize,
    /// Its axis.
    pub axis: usize,
    /// The product on the axis.
    pub segment: usize,
    /// The factor in the product.
    pub factor: usize,
    /// Where the product begins.
    pub offset: usize,
    /// Length of the factors before it.
    pub outer: usize,
    /// Length of the factors after it.
    pub inner: usize,
    /// What the tensor does with the units.
    pub side: Side,
}

/// All uses of a node.
pub type Uses = Vec<Place>;

impl Symmetries {
    /// All uses of a node, in the order of tensors, axes and segments.
    #[must_use]
    pub fn uses(&self, id: NodeId) -> Uses {
        let mut found = Vec::new();
        for (tensor, described) in self.tensors.iter().enumerate() {
            for (axis, own) in described.axes.iter().enumerate() {
                let mut offset = 0;
                for (segment, product) in own.segments.iter().enumerate() {
                    for factor in (0..product.len()).filter(|at| product[*at] == Factor::Node(id)) {
                        let outer = self.product_length(&product[..factor]);
                        let inner = self.product_length(&product[factor + 1..]);
                        let side = own.side;
                        found.push(Place { tensor, axis, segment, factor, offset, outer, inner, side });
                    }
                    offset += self.product_length(product);
                }
            }
        }
        found
    }

    /// The values of a product's factors at a position in it: row-major digits.
    pub fn digits(&self, product: &Product, mut position: usize, digits: &mut Vec<usize>) {
        digits.clear();
        digits.resize(product.len(), 0);
        for (digit, factor) in digits.iter_mut().zip(product).rev() {
            let length = self.length(*factor).max(1);
            *digit = position % length;
            position /= length;
        }
    }

    /// The index of a node's transform: `value` gives the index of each parent, in the result.
    pub fn copy_of(&self, id: NodeId, mut value: impl FnMut(NodeId) -> usize) -> usize {
        let parents = &self.node(id).parents;
        parents.iter().fold(0, |index, parent| index * self.node(*parent).size + value(*parent))
    }
}
