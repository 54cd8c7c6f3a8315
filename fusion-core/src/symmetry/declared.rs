//! What can be checked of a declaration where there is no network to run: whether all units are made and read by someone, and whether modules are
//! declared as wholes. What passes may still be wrong; what does not would change what the model computes.

use std::collections::BTreeSet;

use fusion_sdk::symmetry::{Axis, Factor, NodeId, Product, Side, Symmetries, TensorAxes};

use super::builder::{has_node, layer_of, lengths_of};
use super::{Header, NamesError};

/// Checks a declaration against a model; `left` are the tensors that it leaves out. Gives warnings of what looks wrong.
///
/// # Errors
/// - Units that are made and never read: unless they are made twice and compared, as dimensions of queries and keys, and nothing that is left out in
///   these layers is as long.
/// - Units that are read and never made.
/// - A tensor of a module is left out, and as long as units that another tensor of the module makes.
pub(super) fn checked(
    declared: &Symmetries,
    model: &[Header],
    left: &[String],
) -> Result<Vec<String>, NamesError> {
    let left: Vec<&Header> = model.iter().filter(|(name, _)| left.contains(name)).collect();
    halves(declared, &left)?;
    let mut warnings = Vec::new();
    for id in declared.ids() {
        let uses: Vec<Use<'_>> = declared.tensors.iter().flat_map(|tensor| uses(tensor, id)).collect();
        let node = declared.node(id).name.clone();
        let (mut made, mut read) = (uses.iter().filter(|one| one.makes), uses.iter().filter(|one| one.reads));
        match (made.next(), read.next()) {
            (Some(_), Some(_)) => {}
            (None, _) => {
                let tensor = uses.first().map_or_else(String::new, |one| one.tensor.name.clone());
                return Err(NamesError::Unmade { node, tensor });
            }
            (Some(first), None) => {
                warnings.extend(compared(declared, id, first.tensor, &uses, &left)?);
            }
        }
    }
    Ok(warnings)
}

/// A place of a node.
struct Use<'a> {
    tensor: &'a TensorAxes,
    /// Which of the products behind each other: queries and keys in one tensor are two.
    segment: usize,
    makes: bool,
    reads: bool,
}

fn uses(tensor: &TensorAxes, id: NodeId) -> impl Iterator<Item = Use<'_>> {
    let has = move |product: &Product| product.contains(&Factor::Node(id));
    tensor.axes.iter().flat_map(move |axis| {
        let segments = axis.segments.iter().enumerate().filter(move |(_, product)| has(product));
        segments.map(move |(segment, _)| Use {
            tensor,
            segment,
            makes: axis.side != Side::Reads,
            reads: axis.side != Side::Writes,
        })
    })
}

/// Units that nothing reads: right if they are made twice, and one is multiplied by the other.
fn compared(
    declared: &Symmetries,
    id: NodeId,
    first: &TensorAxes,
    uses: &[Use<'_>],
    left: &[&Header],
) -> Result<Option<String>, NamesError> {
    let node = declared.node(id).name.clone();
    let made: BTreeSet<(&str, usize)> =
        uses.iter().map(|one| (module(&one.tensor.name), one.segment)).collect();
    if made.len() < 2 {
        return Err(NamesError::Unread { node, made: first.name.clone(), left: None });
    }
    let of_node = |product: &Product| product.contains(&Factor::Node(id));
    let mut lengths = BTreeSet::new();
    let mut layers = BTreeSet::new();
    for one in uses {
        lengths.extend(lengths_of(declared, one.tensor, of_node));
        layers.insert(place(&one.tensor.name));
    }
    let near = |name: &str| layers.contains(place(name));
    // GPT-2's file holds which positions see which, [1, 1, n, n].
    let mask = |shape: &[usize]| matches!(shape, [1, 1, rows, columns] if rows == columns);
    let fits = |(name, shape): &&&Header| {
        near(name) && !mask(shape) && shape.iter().any(|length| lengths.contains(length))
    };
    if let Some((tensor, _)) = left.iter().find(fits) {
        return Err(NamesError::Unread { node, made: first.name.clone(), left: Some(tensor.clone()) });
    }
    // A tensor that is declared to read what stays, and as much of it.
    let still = |axis: &Axis| {
        axis.side == Side::Reads
            && !axis.segments.iter().any(has_node)
            && lengths.contains(&declared.axis_length(axis))
    };
    let makes = |tensor: &TensorAxes| uses.iter().any(|one| one.tensor.name == tensor.name);
    let reads = |tensor: &&TensorAxes| near(&tensor.name) && !makes(tensor) && tensor.axes.iter().any(still);
    let reads = declared.tensors.iter().find(reads);
    Ok(reads.map(|tensor| {
        format!(
            "nothing is declared to read the units `{node}`: right for what is compared, as dimensions of queries and keys, and wrong if `{}` reads them",
            tensor.name
        )
    }))
}

/// Modules of which one tensor is declared and another one is not.
fn halves(declared: &Symmetries, left: &[&Header]) -> Result<(), NamesError> {
    for (tensor, shape) in left.iter().filter(|(name, _)| name.contains('.')) {
        let same = |other: &&TensorAxes| module(&other.name) == module(tensor);
        for other in declared.tensors.iter().filter(same) {
            let made = TensorAxes {
                axes: other.axes.iter().filter(|axis| axis.side != Side::Reads).cloned().collect(),
                ..other.clone()
            };
            let lengths = lengths_of(declared, &made, has_node);
            if shape.iter().any(|length| lengths.contains(length)) {
                let (tensor, declared) = (tensor.clone(), other.name.clone());
                return Err(NamesError::Half { tensor, shape: shape.clone(), declared });
            }
        }
    }
    Ok(())
}

/// `a.b` of `a.b.weight`.
fn module(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(module, _)| module)
}

/// The layer of a tensor, or where names have no numbers the module that its module is in.
fn place(name: &str) -> &str {
    layer_of(name).unwrap_or_else(|| module(name).rsplit_once('.').map_or("", |(parent, _)| parent))
}
