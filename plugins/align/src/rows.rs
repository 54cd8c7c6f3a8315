//! The units of a node as rows of a matrix: what one tensor, or the activations at one place, say of each of them. Methods that compare
//! units rather than whole networks (transport, process priors, merging) start from here.

use fusion_sdk::MethodError;
use fusion_sdk::alignment::{Alignment, Transform};
use fusion_sdk::symmetry::{Axis, Factor, Node, NodeId, Place, Product, Side, Symmetries, TensorAxes};

use crate::family::Family;

/// A matrix, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    /// Units of all copies: `copy · size + unit`.
    pub(crate) rows: usize,
    /// Values for each of them.
    pub(crate) columns: usize,
    /// `rows · columns` values.
    pub(crate) values: Vec<f64>,
}

impl Rows {
    /// A row.
    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }
}

/// Where positions along an axis go: (part of the row, part of the column), or nowhere.
type Spread = Vec<Option<(usize, usize)>>;

/// A row for each unit of a node at one of its places in a tensor of these axes; columns are all else in the tensor, in order. Of the
/// symmetries the nodes count. `None` if the nodes that it lies in are on no single other axis.
pub(crate) fn rows(
    symmetries: &Symmetries,
    axes: &[Axis],
    node: NodeId,
    place: &Place,
    values: &[f64],
) -> Option<Rows> {
    let product = &axes[place.axis].segments[place.segment];
    let parents = &symmetries.node(node).parents;
    let outside: Vec<NodeId> =
        parents.iter().copied().filter(|parent| !product.contains(&Factor::Node(*parent))).collect();
    let host = match outside.is_empty() {
        true => None,
        false => Some((0..axes.len()).find(|axis| *axis != place.axis && holds(&axes[*axis], &outside))?),
    };
    let mut lengths = Vec::with_capacity(axes.len());
    let spreads: Vec<Spread> = axes
        .iter()
        .enumerate()
        .map(|(at, axis)| {
            let mut spread = Spread::new();
            let mut rest = 0;
            for (segment, own) in axis.segments.iter().enumerate() {
                let length = symmetries.product_length(own);
                if at == place.axis && segment != place.segment {
                    spread.extend(std::iter::repeat_n(None, length));
                    continue;
                }
                let unit = (at == place.axis).then_some(place.factor);
                let counted: &[NodeId] = match (at == place.axis, Some(at) == host) {
                    (true, _) => parents,
                    (_, true) => &outside,
                    _ => &[],
                };
                rest += along(symmetries, node, own, unit, counted, rest, &mut spread);
            }
            lengths.push(rest);
            spread
        })
        .collect();
    let columns: usize = lengths.iter().product();
    let rows = symmetries.copies(node) * symmetries.node(node).size;
    let mut out = Rows { rows, columns, values: vec![0.0; rows * columns] };
    scatter(&spreads, &lengths, values, &mut out);
    Some(out)
}

/// Where the values of a product's positions go, which lies on an axis of its own (activations): `copy · size + unit`, and the place of the
/// rest. `None` if the node is not in it with all that it lies in.
pub(crate) fn units_of(
    symmetries: &Symmetries,
    node: NodeId,
    product: &Product,
) -> Option<Vec<(usize, usize)>> {
    let unit = product.iter().position(|factor| *factor == Factor::Node(node))?;
    let parents = &symmetries.node(node).parents;
    if !parents.iter().all(|parent| product.contains(&Factor::Node(*parent))) {
        return None;
    }
    let mut spread = Spread::new();
    along(symmetries, node, product, Some(unit), parents, 0, &mut spread);
    Some(spread.into_iter().flatten().collect())
}

/// Adds the positions of a product; the number of columns that they take.
fn along(
    symmetries: &Symmetries,
    node: NodeId,
    product: &Product,
    unit: Option<usize>,
    parents: &[NodeId],
    first: usize,
    spread: &mut Spread,
) -> usize {
    // What each factor's digit is worth for the row; `None` for the rest.
    let mut taken: Vec<NodeId> = Vec::new();
    let steps: Vec<Option<usize>> = product
        .iter()
        .enumerate()
        .map(|(at, factor)| match factor {
            _ if Some(at) == unit => Some(1),
            Factor::Node(id) if parents.contains(id) && !taken.contains(id) => {
                taken.push(*id);
                let value = |parent: NodeId| usize::from(parent == *id);
                Some(symmetries.copy_of(node, value) * symmetries.node(node).size)
            }
            _ => None,
        })
        .collect();
    let mut digits = Vec::new();
    for position in 0..symmetries.product_length(product) {
        symmetries.digits(product, position, &mut digits);
        let (mut row, mut rest) = (0, 0);
        for ((digit, factor), step) in digits.iter().zip(product).zip(&steps) {
            match step {
                Some(step) => row += digit * step,
                None => rest = rest * symmetries.length(*factor) + digit,
            }
        }
        spread.push(Some((row, first + rest)));
    }
    let rest = product.iter().zip(&steps).filter(|(_, step)| step.is_none());
    rest.map(|(factor, _)| symmetries.length(*factor)).product()
}

fn scatter(spreads: &[Spread], lengths: &[usize], values: &[f64], out: &mut Rows) {
    let Some(last) = spreads.last() else { return };
    let outer: usize = spreads[..spreads.len() - 1].iter().map(Vec::len).product();
    let mut index = vec![0; spreads.len() - 1];
    for block in 0..outer {
        let mut start = Some((0, 0));
        for ((spread, length), at) in spreads.iter().zip(lengths).zip(&index) {
            start = match (start, spread[*at]) {
                (Some((row, column)), Some((own, rest))) => Some((row + own, column * length + rest)),
                _ => None,
            };
        }
        if let Some((row, column)) = start {
            let length = lengths[lengths.len() - 1];
            let from = &values[block * last.len()..(block + 1) * last.len()];
            for (value, place) in from.iter().zip(last) {
                if let Some((own, rest)) = place {
                    out.values[(row + own) * out.columns + column * length + rest] = *value;
                }
            }
        }
        for at in (0..index.len()).rev() {
            index[at] += 1;
            if index[at] < spreads[at].len() {
                break;
            }
            index[at] = 0;
        }
    }
}

/// Whether every product of an axis has all these nodes.
fn holds(axis: &Axis, nodes: &[NodeId]) -> bool {
    axis.segments.iter().all(|product| nodes.iter().all(|id| product.contains(&Factor::Node(*id))))
}

/// Nodes that go as wholes: others lie in them, or a tensor has them on an axis of which it does not say in which copy they are.
pub(crate) fn whole(symmetries: &Symmetries, node: NodeId) -> bool {
    let has_inner = symmetries.nodes.iter().any(|other| other.parents.contains(&node));
    let parents = &symmetries.node(node).parents;
    has_inner
        || symmetries.uses(node).iter().any(|place| {
            let product = &symmetries.tensors[place.tensor].axes[place.axis].segments[place.segment];
            let before = &product[..place.factor];
            !parents.iter().all(|id| before.contains(&Factor::Node(*id)))
        })
}

/// A tensor on its own: its axes are those of the only tensor of `symmetries`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Brought {
    /// The tensor, and the sizes of all nodes in it.
    pub(crate) symmetries: Symmetries,
    /// Row-major.
    pub(crate) values: Vec<f64>,
}

impl Brought {
    /// See [`rows`].
    pub(crate) fn rows(&self, node: NodeId, place: &Place) -> Option<Rows> {
        rows(&self.symmetries, &self.symmetries.tensors[0].axes, node, place, &self.values)
    }
}

/// A tensor with all nodes transformed that have a transform, but those of one family where the tensor makes their units: what rows are
/// taken of. `from` describes the values, `to` the sizes after the transforms. Units that lie in others of the family are transformed where
/// those are.
///
/// # Errors
/// A transform does not fit the tensor.
pub(crate) fn brought(
    from: &Symmetries,
    to: &Symmetries,
    transforms: &[Option<Transform>],
    family: &Family,
    tensor: usize,
    values: &[f64],
) -> Result<Brought, MethodError> {
    let mut nodes = to.nodes.clone();
    for ((node, old), transform) in nodes.iter_mut().zip(&from.nodes).zip(transforms) {
        if transform.is_none() {
            node.size = old.size;
        }
    }
    let described = &from.tensors[tensor];
    let reads = |id: NodeId| on(&described.axes, id, |side| side == Side::Reads);
    let makes = |id: NodeId| on(&described.axes, id, |side| side != Side::Reads);
    // A node that the tensor makes and reads (recurrent) is pinned where it is not wanted: where it is made, for the transform, and where it is
    // read, for the rows.
    let pinned = |made: bool, size: &dyn Fn(NodeId) -> usize| {
        let mut tensor = described.clone();
        for axis in tensor.axes.iter_mut().filter(|axis| (axis.side != Side::Reads) == made) {
            for factor in axis.segments.iter_mut().flatten() {
                match *factor {
                    Factor::Node(id) if family.has(id) && reads(id) && makes(id) => {
                        *factor = Factor::Pinned(size(id));
                    }
                    _ => {}
                }
            }
        }
        tensor
    };
    let alone = |nodes: &[Node], tensor: TensorAxes| Symmetries {
        origin: from.origin.clone(),
        nodes: nodes.to_vec(),
        tensors: vec![tensor],
        notes: Vec::new(),
    };
    let old = |id: NodeId| from.node(id).size;
    let stays = |id: NodeId| family.has(id) && !reads(id);
    let restore = |nodes: &mut [Node], which: &dyn Fn(NodeId) -> bool| {
        let wanted = nodes.iter_mut().zip(from.ids()).filter(|(_, id)| which(*id));
        wanted.for_each(|(node, id)| node.size = old(id));
    };
    restore(&mut nodes, &stays);
    let made = pinned(true, &old);
    let (from_alone, to_alone) = (alone(&from.nodes, made.clone()), alone(&nodes, made));
    let used = |id: NodeId| {
        let factors = from_alone.tensors[0].axes.iter().flat_map(|axis| axis.segments.iter().flatten());
        let mut ids = factors.filter_map(|factor| match factor {
            Factor::Node(own) => Some(*own),
            Factor::Pinned(_) => None,
        });
        ids.any(|own| own == id || from.node(own).parents.contains(&id))
    };
    let own = from.ids().map(|id| match &transforms[id.index()] {
        Some(transform) if used(id) && !stays(id) => match family.has(id) {
            true => in_place(from, transforms, id, transform),
            false => transform.clone(),
        },
        _ => Transform::Identity,
    });
    let alignment = Alignment::new(&from_alone, &to_alone, own.collect());
    let values = alignment.apply_f64(&from_alone, &to_alone, 0, values);
    let values = values.map_err(|error| MethodError::invalid(error.to_string()))?;
    let read = pinned(false, &|id| nodes[id.index()].size);
    restore(&mut nodes, &|id| family.has(id) && makes(id));
    Ok(Brought { symmetries: alone(&nodes, read), values })
}

/// Whether a node is on an axis of one of these sides.
fn on(axes: &[Axis], id: NodeId, side: impl Fn(Side) -> bool) -> bool {
    axes.iter()
        .filter(|axis| side(axis.side))
        .flat_map(|axis| axis.segments.iter().flatten())
        .any(|factor| *factor == Factor::Node(id))
}

/// A node's transform with its entries where the copies come from, for nodes that it lies in that have not moved yet.
fn in_place(
    symmetries: &Symmetries,
    transforms: &[Option<Transform>],
    id: NodeId,
    transform: &Transform,
) -> Transform {
    let sources: Vec<usize> =
        (0..symmetries.copies(id)).map(|copy| source_copy(symmetries, transforms, id, copy)).collect();
    let place = |copy: usize| sources.iter().position(|source| *source == copy).unwrap_or(copy);
    let each = 0..sources.len();
    match transform {
        Transform::Identity => Transform::Identity,
        Transform::Permutation(tables) => {
            Transform::Permutation(each.map(|copy| tables[place(copy)].clone()).collect())
        }
        Transform::Scale(scales) => Transform::Scale(each.map(|copy| scales[place(copy)].clone()).collect()),
        Transform::Map(mixes) => Transform::Map(each.map(|copy| mixes[place(copy)].clone()).collect()),
    }
}

/// The copy of a node that a copy of the result comes from: the nodes that it lies in have moved.
fn source_copy(symmetries: &Symmetries, transforms: &[Option<Transform>], id: NodeId, copy: usize) -> usize {
    let parents = &symmetries.node(id).parents;
    let mut digits = vec![0; parents.len()];
    let mut rest = copy;
    for (digit, parent) in digits.iter_mut().zip(parents).rev() {
        let size = symmetries.node(*parent).size;
        *digit = rest % size;
        rest /= size;
    }
    let of = |id: NodeId| parents.iter().position(|own| *own == id).map_or(0, |at| digits[at]);
    symmetries.copy_of(id, |parent| match &transforms[parent.index()] {
        Some(Transform::Permutation(tables)) => tables[symmetries.copy_of(parent, of)][of(parent)] as usize,
        _ => of(parent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::families;

    fn counted(symmetries: &Symmetries, tensor: usize) -> Vec<f64> {
        (0..symmetries.shape(tensor).iter().product::<usize>()).map(|value| value as f64).collect()
    }

    #[test]
    fn rows_are_units_of_all_copies() {
        let text = "node s[2]\nnode h[2]\nnode d[2] in h\nnode g[2]\nnode i[3] in g\n\
                    q = h · d ++ pin[1], reads s\nconv = g · pin[1], reads i, pin[2]\n";
        let symmetries = Symmetries::parse(text).unwrap();
        let id = |name: &str| symmetries.named(name).unwrap();
        let of = |name: &str| {
            let place = symmetries.uses(id(name)).remove(0);
            let axes = &symmetries.tensors[place.tensor].axes;
            rows(&symmetries, axes, id(name), &place, &counted(&symmetries, place.tensor)).unwrap()
        };
        let d = of("d");
        assert_eq!((d.rows, d.columns), (4, 2));
        assert_eq!(d.values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let h = of("h");
        assert_eq!((h.rows, h.columns, h.row(1)), (2, 4, &[4.0, 5.0, 6.0, 7.0][..]));
        let s = of("s");
        assert_eq!(s.row(1), [1.0, 3.0, 5.0, 7.0, 9.0]);
        // Input channels of a group: the group is on the other axis.
        let i = of("i");
        assert_eq!((i.rows, i.columns), (6, 2));
        assert_eq!((i.row(1), i.row(4)), (&[2.0, 3.0][..], &[8.0, 9.0][..]));
        let product = &symmetries.tensors[0].axes[0].segments[0];
        assert_eq!(units_of(&symmetries, id("h"), product).unwrap(), [(0, 0), (0, 1), (1, 0), (1, 1)]);
        assert_eq!(units_of(&symmetries, id("d"), product).unwrap(), [(0, 0), (1, 0), (2, 0), (3, 0)]);
        assert_eq!(units_of(&symmetries, id("s"), product), None);
    }

    #[test]
    fn own_units_stay_where_they_are_made_and_move_where_they_are_read() {
        let symmetries = Symmetries::parse("node h[2]\nw = h ++ h, reads h\n").unwrap();
        let family = &families(&symmetries)[0];
        let turned = Some(Transform::Permutation(vec![vec![1, 0]]));
        let values = counted(&symmetries, 0);
        let found = brought(&symmetries, &symmetries, &[turned], family, 0, &values).unwrap();
        assert_eq!(found.values, [1.0, 0.0, 3.0, 2.0, 5.0, 4.0, 7.0, 6.0]);
        let places = symmetries.uses(NodeId(0));
        assert_eq!(places.len(), 3);
        assert_eq!(found.rows(NodeId(0), &places[1]).unwrap().values, [5.0, 4.0, 7.0, 6.0]);
    }
}
