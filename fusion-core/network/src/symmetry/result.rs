//! From expressions to the contract's [`Symmetries`]: free nodes get numbers and names, what is pinned becomes lengths.

use std::collections::{BTreeMap, BTreeSet};

use fusion_sdk::symmetry::{
    Axis, Factor, Node, NodeId, Origin, Product, Side, Symmetries, TensorAxes, TensorRole,
};

use super::expression::{Atom, Expr, Nodes};
use super::names::{Writer, names};
use super::walk::Walk;

/// A parameter.
pub(super) struct Parameter {
    pub id: u64,
    pub name: String,
    pub role: TensorRole,
    /// Whether the file has the transpose.
    pub transposed: bool,
}

/// The axis expressions of all tensors of a graph, by their numbers.
pub(super) type Values = BTreeMap<u64, Vec<Vec<Product>>>;

/// What an inference found.
pub(super) struct Found {
    pub flat: Symmetries,
    pub disk: Symmetries,
    pub values: Values,
}

/// Products whose inner sums cannot be written in the contract are pinned, in all tensors.
fn pin_sums(nodes: &mut Nodes, axes: &Expr) -> bool {
    let sums: Vec<Expr> = nodes
        .normal(axes)
        .into_iter()
        .flatten()
        .filter_map(|atom| match atom {
            Atom::Sum(expr) => Some(expr),
            Atom::Node(_) => None,
        })
        .collect();
    let newly: Vec<bool> = sums.iter().map(|expr| nodes.pin(expr)).collect();
    newly.contains(&true)
}

/// `fixed` are the nodes that may not be scaled.
pub(super) fn result(
    walk: &mut Walk,
    parameters: &[Parameter],
    sides: &BTreeMap<u64, Vec<Side>>,
    fixed: &BTreeSet<usize>,
    mut notes: Vec<String>,
) -> Found {
    let axes_of = |walk: &Walk, id: u64| walk.axes.get(&id).cloned().unwrap_or_default();
    for parameter in parameters {
        for axis in axes_of(walk, parameter.id) {
            if pin_sums(&mut walk.nodes, &axis) {
                notes.push(format!(
                    "`{}`: blocks of different units alternate along an axis; their units stay, the blocks may move",
                    parameter.name
                ));
            }
        }
    }

    // Numbers, parents first.
    let mut order: Vec<usize> = Vec::new();
    for parameter in parameters {
        for axis in axes_of(walk, parameter.id) {
            for atom in walk.nodes.normal(&axis).into_iter().flatten() {
                if let Atom::Node(id) = atom {
                    number(&walk.nodes, id, &mut order);
                }
            }
        }
    }
    let place: BTreeMap<usize, NodeId> =
        order.iter().enumerate().map(|(at, id)| (*id, NodeId(at as u32))).collect();
    let shape = Shape { nodes: &walk.nodes, place: &place };

    let mut tensors = Vec::with_capacity(parameters.len());
    let mut writers: Vec<Vec<Writer>> = order.iter().map(|_| Vec::new()).collect();
    for parameter in parameters {
        let own = axes_of(walk, parameter.id);
        let sides = sides.get(&parameter.id);
        let axes = own.iter().enumerate().map(|(at, axis)| {
            let side = sides.and_then(|sides| sides.get(at)).copied().unwrap_or_default();
            Axis { segments: shape.segments(axis), side, joined: false }
        });
        let axes: Vec<Axis> = axes.collect();
        for axis in axes.iter().filter(|axis| axis.side != Side::Reads) {
            note_writers(&mut writers, axis, &parameter.name, own.len());
        }
        tensors.push(TensorAxes { name: parameter.name.clone(), role: parameter.role, axes });
    }
    let parents: Vec<Vec<NodeId>> = order
        .iter()
        .map(|id| {
            let mut parents: Vec<NodeId> =
                walk.nodes.deps(*id).iter().filter_map(|dep| place.get(dep).copied()).collect();
            parents.sort_unstable();
            parents
        })
        .collect();
    let described: Vec<(Vec<Writer>, bool)> = writers
        .into_iter()
        .enumerate()
        .map(|(at, writers)| (writers, parents.iter().any(|parents| parents.contains(&NodeId(at as u32)))))
        .collect();
    let nodes: Vec<Node> = order
        .iter()
        .zip(names(&described))
        .zip(&parents)
        .enumerate()
        .map(|(at, ((id, name), parents))| Node {
            name,
            size: walk.nodes.node_size(*id),
            parents: parents.clone(),
            scalable: !fixed.contains(id) && parents_in_front(&tensors, NodeId(at as u32), parents),
        })
        .collect();

    let values = walk
        .axes
        .iter()
        .filter_map(|(id, axes)| {
            let whole = axes.iter().all(|axis| shape.is_plain(axis));
            whole.then(|| (*id, axes.iter().map(|axis| shape.segments(axis)).collect()))
        })
        .collect();
    let flat = Symmetries { origin: Origin::Inferred, nodes, tensors, notes };
    let mut disk = flat.clone();
    for (tensor, parameter) in disk.tensors.iter_mut().zip(parameters) {
        if parameter.transposed {
            tensor.transpose();
        }
    }
    Found { flat, disk, values }
}

/// Numbers a free node behind its parents.
fn number(nodes: &Nodes, id: usize, order: &mut Vec<usize>) {
    if nodes.is_pinned(id) || order.contains(&id) {
        return;
    }
    for parent in nodes.deps(id) {
        number(nodes, parent, order);
    }
    order.push(id);
}

fn note_writers(writers: &mut [Vec<Writer>], axis: &Axis, tensor: &str, rank: usize) {
    let differ = axis.segments.windows(2).any(|pair| pair[0] != pair[1]);
    for (segment, product) in axis.segments.iter().enumerate() {
        for factor in product {
            let Factor::Node(id) = factor else { continue };
            writers[id.index()].push(Writer {
                tensor: tensor.to_owned(),
                rank,
                innermost: Some(factor) == product.last(),
                segment: differ.then_some(segment),
            });
        }
    }
}

/// Whether a node's parents stand in front of it wherever it is used, as scales want it.
fn parents_in_front(tensors: &[TensorAxes], id: NodeId, parents: &[NodeId]) -> bool {
    tensors.iter().flat_map(|tensor| &tensor.axes).flat_map(|axis| &axis.segments).all(
        |product| match product.iter().position(|factor| *factor == Factor::Node(id)) {
            Some(at) => parents.iter().all(|parent| product[..at].contains(&Factor::Node(*parent))),
            None => true,
        },
    )
}

struct Shape<'a> {
    nodes: &'a Nodes,
    place: &'a BTreeMap<usize, NodeId>,
}

impl Shape<'_> {
    /// Whether every sum inside a product is pinned.
    fn is_plain(&self, axis: &Expr) -> bool {
        self.nodes.normal(axis).iter().flatten().all(|atom| match atom {
            Atom::Node(_) => true,
            Atom::Sum(expr) => self.nodes.leaves(expr).iter().all(|id| !self.place.contains_key(id)),
        })
    }

    /// An axis in the contract's terms; neighbours that are pinned become one.
    fn segments(&self, axis: &Expr) -> Vec<Product> {
        let mut segments: Vec<Product> = Vec::new();
        for term in self.nodes.normal(axis) {
            let mut product = Product::new();
            for atom in &term {
                let known = match atom {
                    Atom::Node(id) => self.place.get(id),
                    Atom::Sum(_) => None,
                };
                match (known, product.last_mut()) {
                    (Some(id), _) => product.push(Factor::Node(*id)),
                    (None, Some(Factor::Pinned(length))) => *length *= self.nodes.atom_size(atom),
                    (None, _) => product.push(Factor::Pinned(self.nodes.atom_size(atom))),
                }
            }
            let length = |product: &Product| match product.as_slice() {
                [] => Some(1),
                [Factor::Pinned(length)] => Some(*length),
                _ => None,
            };
            let own = length(&product);
            match (segments.last_mut(), own) {
                (Some(last), Some(own)) if length(last).is_some() => {
                    let before = length(last).unwrap_or(0);
                    *last = vec![Factor::Pinned(before + own)];
                }
                _ => segments.push(product),
            }
        }
        segments
    }
}
