//! A tensor seen from a family: which of its indices are those of the family's units, and which are all the rest.
//!
//! An axis may be a concatenation, so a tensor is cut into *blocks*, one for each choice of a product on every axis. The elements of a block
//! are numbered by its factors, each with a size and a stride. A *turn* says which factors are the family's: all of them, unless a node is
//! there twice; then those of each axis take their turn while the others stay where the state has them.

use fusion_sdk::symmetry::{Factor, NodeId, Side, Symmetries, TensorAxes};

use super::is_node;
use crate::family::Family;
use crate::state::State;

/// A factor with its place in a block.
#[derive(Clone, Copy, Debug)]
struct Spot {
    factor: Factor,
    axis: usize,
    size: usize,
    stride: usize,
}

/// The family's factors of a block, and the rest.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// The family's nodes in it, ascending.
    pub(super) nodes: Vec<NodeId>,
    base: usize,
    /// In the order of `nodes`.
    free: Vec<Spot>,
    rest: Vec<Spot>,
}

/// Offsets of elements: that of (x, r) is `units[x] + own[r]` in the first model, and `units[x] + brought[r]` in the second, whose values at
/// `units[x] + left[r]` are taken off if there are such.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) units: Vec<usize>,
    pub(super) own: Vec<usize>,
    pub(super) brought: Vec<usize>,
    pub(super) left: Option<Vec<usize>>,
}

/// All turns of a tensor that has nodes of the family.
pub(super) fn turns(symmetries: &Symmetries, tensor: &TensorAxes, family: &Family) -> Vec<Turn> {
    let lengths: Vec<usize> = tensor.axes.iter().map(|axis| symmetries.axis_length(axis)).collect();
    let mut strides = vec![1; lengths.len()];
    for axis in (1..lengths.len()).rev() {
        strides[axis - 1] = strides[axis] * lengths[axis];
    }
    let mut blocks = vec![(0, Vec::new())];
    for (at, axis) in tensor.axes.iter().enumerate() {
        let mut longer = Vec::new();
        for (base, spots) in &blocks {
            let mut offset = 0;
            for product in &axis.segments {
                let mut spots: Vec<Spot> = spots.clone();
                let mut stride = symmetries.product_length(product) * strides[at];
                for factor in product {
                    let size = symmetries.length(*factor);
                    stride /= size.max(1);
                    spots.push(Spot { factor: *factor, axis: at, size, stride });
                }
                longer.push((base + offset * strides[at], spots));
                offset += symmetries.product_length(product);
            }
        }
        blocks = longer;
    }
    blocks.into_iter().flat_map(|(base, spots)| turns_of(symmetries, base, &spots, family)).collect()
}

/// The turns of a block. None where a node of the rest would be chosen by an index of the family, or a node is there without those that it
/// lies in: such a block plays no part in costs, and steps are then held against the objective itself.
fn turns_of(symmetries: &Symmetries, base: usize, spots: &[Spot], family: &Family) -> Vec<Turn> {
    let own = |spot: &Spot| match spot.factor {
        Factor::Node(id) if family.has(id) => Some(id),
        _ => None,
    };
    let mut seen: Vec<NodeId> = spots.iter().filter_map(own).collect();
    if seen.is_empty() {
        return Vec::new();
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    let mut choices: Vec<Option<usize>> = vec![None];
    if seen.len() < all {
        let mut axes: Vec<usize> = spots.iter().filter(|spot| own(spot).is_some()).map(|s| s.axis).collect();
        axes.dedup();
        choices = axes.into_iter().map(Some).collect();
    }
    let mut turns = Vec::new();
    for choice in choices {
        let (mut free, mut rest): (Vec<(NodeId, Spot)>, Vec<Spot>) = (Vec::new(), Vec::new());
        for spot in spots {
            match own(spot) {
                Some(id)
                    if choice.is_none_or(|axis| axis == spot.axis)
                        && free.iter().all(|(other, _)| *other != id) =>
                {
                    free.push((id, *spot));
                }
                _ => rest.push(*spot),
            }
        }
        let settled = rest.iter().all(|spot| match spot.factor {
            Factor::Node(id) => {
                symmetries.node(id).parents.iter().all(|parent| place_of(&rest, *parent, spot.axis).is_some())
            }
            Factor::Pinned(_) => true,
        });
        // A node that lies in another one has a copy for each of its indices, which this turn must tell apart.
        let whole = free.iter().all(|(id, _)| {
            let parents = &symmetries.node(*id).parents;
            parents.iter().all(|parent| free.iter().any(|(other, _)| other == parent))
        });
        if settled && whole {
            free.sort_by_key(|(id, _)| *id);
            let nodes = free.iter().map(|(id, _)| *id).collect();
            turns.push(Turn { nodes, base, free: free.into_iter().map(|(_, spot)| spot).collect(), rest });
        }
    }
    turns
}

/// Where the index of a parent is read: on the same axis if it is there, or else on another one.
fn place_of(spots: &[Spot], parent: NodeId, axis: usize) -> Option<usize> {
    let on = |same: bool| {
        spots.iter().position(|spot| is_node(spot.factor, parent) && (spot.axis == axis) == same)
    };
    on(true).or_else(|| on(false))
}

impl Turn {
    /// Whether the tensor makes the family's units here, out of units that are settled.
    pub(super) fn incoming(&self, symmetries: &Symmetries, tensor: &TensorAxes, settled: &[bool]) -> bool {
        let makes = |spot: &Spot| tensor.axes[spot.axis].side != Side::Reads;
        let known = |spot: &Spot| match spot.factor {
            Factor::Node(id) => {
                settled[id.index()]
                    && symmetries.node(id).parents.iter().all(|parent| settled[parent.index()])
            }
            Factor::Pinned(_) => true,
        };
        self.free.iter().all(makes) && self.rest.iter().all(known)
    }

    /// Offsets of all elements, with the rest of the second model where `state` has it; from `before`, only of terms that have moved since.
    pub(super) fn layout(&self, symmetries: &Symmetries, before: Option<&State>, state: &State) -> Layout {
        let units = offsets(&self.free, self.base, |spot, digits| digits[spot]);
        let mut own = offsets(&self.rest, 0, |spot, digits| digits[spot]);
        let mut brought = self.brought(symmetries, state);
        let mut left = before.map(|before| self.brought(symmetries, before));
        if let Some(left) = &mut left {
            let moved: Vec<usize> = (0..own.len()).filter(|term| brought[*term] != left[*term]).collect();
            for list in [&mut own, &mut brought, left] {
                *list = moved.iter().map(|term| list[*term]).collect();
            }
        }
        Layout { units, own, brought, left }
    }

    /// Offsets of the rest in the second model.
    fn brought(&self, symmetries: &Symmetries, state: &State) -> Vec<usize> {
        // The places of each node's parents, looked up once.
        let parents: Vec<Vec<usize>> = self
            .rest
            .iter()
            .map(|spot| match spot.factor {
                Factor::Node(id) => {
                    let parents = symmetries.node(id).parents.iter();
                    parents.filter_map(|parent| place_of(&self.rest, *parent, spot.axis)).collect()
                }
                Factor::Pinned(_) => Vec::new(),
            })
            .collect();
        offsets(&self.rest, 0, |spot, digits| match self.rest[spot].factor {
            Factor::Pinned(_) => digits[spot],
            Factor::Node(id) => {
                let copy = parents[spot].iter().fold(0, |copy, at| copy * self.rest[*at].size + digits[*at]);
                state.table(id, copy)[digits[spot]] as usize
            }
        })
    }
}

/// The offset of every combination of indices, row-major. `index(spot, digits)` says which index a factor really has.
fn offsets(spots: &[Spot], base: usize, index: impl Fn(usize, &[usize]) -> usize) -> Vec<usize> {
    let count: usize = spots.iter().map(|spot| spot.size).product();
    let mut digits = vec![0; spots.len()];
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let each = spots.iter().enumerate();
        found.push(base + each.map(|(at, spot)| index(at, &digits) * spot.stride).sum::<usize>());
        for at in (0..spots.len()).rev() {
            digits[at] += 1;
            if digits[at] < spots[at].size {
                break;
            }
            digits[at] = 0;
        }
    }
    found
}
