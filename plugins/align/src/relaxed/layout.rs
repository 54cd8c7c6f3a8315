//! A tensor as blocks, one for each choice of a product on every axis, with the indices of each family's nodes taken together.

use fusion_sdk::MethodError;
use fusion_sdk::symmetry::{Factor, NodeId, Symmetries};

use super::{Part, Point, product};
use crate::family::Family;

/// A part of a tensor whose elements are numbered by the indices of its groups, and by what stays.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Offsets in the tensor of what stays.
    still: Vec<usize>,
    /// One for each factor of the tensor product.
    pub(super) groups: Vec<Group>,
}

/// The indices of some nodes of a family.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Its matrix.
    pub(super) part: Part,
    /// Offsets of the indices, in the order of the matrix.
    units: Vec<usize>,
}

/// A factor with its place.
#[derive(Clone, Copy)]
struct Spot {
    factor: Factor,
    axis: usize,
    size: usize,
    stride: usize,
}

/// The blocks of a tensor; matrices that are new are added to `parts`.
///
/// # Errors
/// A node is on another axis than the node that it lies in, and that node is there more than once.
pub(super) fn blocks(
    symmetries: &Symmetries,
    families: &[Family],
    tensor: usize,
    parts: &mut [Vec<Vec<NodeId>>],
) -> Result<Vec<Block>, MethodError> {
    let mut blocks = Vec::new();
    for (base, spots) in choices(symmetries, tensor) {
        let mut still: Vec<Spot> =
            spots.iter().copied().filter(|spot| matches!(spot.factor, Factor::Pinned(_))).collect();
        still.retain(|spot| spot.size > 1);
        let mut groups = Vec::new();
        for (index, family) in families.iter().enumerate() {
            for own in grouped(family, &spots) {
                let mut nodes: Vec<(NodeId, Spot)> = own;
                nodes.sort_by_key(|(id, _)| *id);
                let ids: Vec<NodeId> = nodes.iter().map(|(id, _)| *id).collect();
                let orphan = ids.iter().find(|id| {
                    let twice = ids.iter().filter(|other| other == id).count() > 1;
                    twice || symmetries.node(**id).parents.iter().any(|parent| !ids.contains(parent))
                });
                if let Some(id) = orphan {
                    return Err(MethodError::invalid(format!(
                        "`{}` has the units of `{}` in a way that has no soft assignment",
                        symmetries.tensors[tensor].name,
                        symmetries.node(*id).name
                    ))
                    .help("use `weight_matching`"));
                }
                let known = &mut parts[index];
                let place = known.iter().position(|other| *other == ids).unwrap_or_else(|| {
                    known.push(ids.clone());
                    known.len() - 1
                });
                let spots: Vec<Spot> = nodes.into_iter().map(|(_, spot)| spot).collect();
                groups.push(Group { part: (index, place), units: offsets(&spots, 0) });
            }
        }
        blocks.push(Block { still: offsets(&still, base), groups });
    }
    Ok(blocks)
}

/// All choices of a product on every axis: where each begins, and its factors.
fn choices(symmetries: &Symmetries, tensor: usize) -> Vec<(usize, Vec<Spot>)> {
    let shape = symmetries.lengths(tensor);
    let mut found = vec![(0, Vec::new())];
    for (at, axis) in symmetries.tensors[tensor].axes.iter().enumerate() {
        let below: usize = shape[at + 1..].iter().product();
        let mut longer = Vec::new();
        for (base, spots) in &found {
            let mut offset = 0;
            for product in &axis.segments {
                let mut spots: Vec<Spot> = spots.clone();
                let length = symmetries.product_length(product);
                let mut stride = length * below;
                for factor in product {
                    let size = symmetries.length(*factor);
                    stride /= size.max(1);
                    spots.push(Spot { factor: *factor, axis: at, size, stride });
                }
                longer.push((base + offset * below, spots));
                offset += length;
            }
        }
        found = longer;
    }
    found
}

/// The factors of a family that move together: all, or those of each axis where a node is there more than once.
fn grouped(family: &Family, spots: &[Spot]) -> Vec<Vec<(NodeId, Spot)>> {
    let own: Vec<(NodeId, Spot)> = spots
        .iter()
        .filter_map(|spot| match spot.factor {
            Factor::Node(id) if family.has(id) => Some((id, *spot)),
            _ => None,
        })
        .collect();
    let twice = own.iter().any(|(id, _)| own.iter().filter(|(other, _)| other == id).count() > 1);
    match (own.is_empty(), twice) {
        (true, _) => Vec::new(),
        (_, false) => vec![own],
        (_, true) => {
            let mut axes: Vec<usize> = own.iter().map(|(_, spot)| spot.axis).collect();
            axes.dedup();
            let on = |axis: usize| own.iter().copied().filter(|(_, spot)| spot.axis == axis).collect();
            axes.into_iter().map(on).collect()
        }
    }
}

/// Offsets of all combinations of indices, row-major.
fn offsets(spots: &[Spot], base: usize) -> Vec<usize> {
    let mut found = vec![base];
    for spot in spots {
        found =
            found.iter().flat_map(|at| (0..spot.size).map(move |index| at + index * spot.stride)).collect();
    }
    found
}

impl Block {
    /// (Positions before, indices, positions after) of a group in a packed block: what stays is outermost, then the groups in order.
    pub(super) fn around(&self, group: usize) -> (usize, usize, usize) {
        let lengths = |groups: &[Group]| groups.iter().map(|group| group.units.len()).product::<usize>();
        let outer = self.still.len() * lengths(&self.groups[..group]);
        (outer, self.groups[group].units.len(), lengths(&self.groups[group + 1..]))
    }

    fn walk(&self, mut visit: impl FnMut(usize)) {
        let Some((last, first)) = self.groups.split_last() else {
            return self.still.iter().copied().for_each(visit);
        };
        let mut bases = self.still.clone();
        for group in first {
            bases = bases.iter().flat_map(|base| group.units.iter().map(move |unit| base + unit)).collect();
        }
        for base in bases {
            last.units.iter().for_each(|unit| visit(base + unit));
        }
    }

    /// The block's values of a tensor, packed.
    pub(super) fn pack(&self, values: &[f64]) -> Vec<f64> {
        let mut packed = Vec::new();
        self.walk(|at| packed.push(values[at]));
        packed
    }

    /// Writes a packed block back.
    pub(super) fn unpack(&self, packed: &[f64], values: &mut [f64]) {
        let mut from = packed.iter();
        self.walk(|at| {
            if let Some(value) = from.next() {
                values[at] = *value;
            }
        });
    }

    /// A packed block with all factors applied, but for one.
    pub(super) fn apply(&self, point: &Point, mut packed: Vec<f64>, but: Option<usize>) -> Vec<f64> {
        for (at, group) in self.groups.iter().enumerate().filter(|(at, _)| Some(*at) != but) {
            let (outer, length, inner) = self.around(at);
            let matrix = &point[group.part.0][group.part.1].values;
            packed = product::along(matrix, &packed, outer, length, inner);
        }
        packed
    }
}
