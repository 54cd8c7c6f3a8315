//! Symmetries that someone has declared for a network, in the layout of its file, made fit for its flat vectors.

use std::collections::BTreeMap;

use fusion_sdk::symmetry::{Axis, Factor, Origin, Product, Side, Symmetries, SymmetryError, TensorAxes};

use super::{Inferred, SymmetriesError, role};
use crate::architecture::Architecture;
use crate::error::NetworkError;
use crate::layout::Slot;

impl Architecture {
    /// Declared symmetries for networks of this architecture. Tensors stand as in a file (weights of linear layers are [out, in]), in any
    /// order; those that are left out stay as they are. Verify them before use ([`super::verify`]).
    ///
    /// # Errors
    /// A tensor is unknown or of another shape, or the declaration contradicts itself.
    pub fn declared_symmetries(&self, declared: &Symmetries) -> Result<Inferred, NetworkError> {
        let inferred = self.symmetries()?;
        let (_, layout) = self.build(&crate::graph::off());
        Ok(of_slots(&layout.slots, declared, &inferred)?)
    }
}

fn of_slots(slots: &[Slot], declared: &Symmetries, inferred: &Inferred) -> Result<Inferred, SymmetriesError> {
    declared.check()?;
    let mut left: BTreeMap<&str, (usize, &TensorAxes)> = BTreeMap::new();
    for (index, tensor) in declared.tensors.iter().enumerate() {
        left.insert(&tensor.name, (index, tensor));
    }
    let mut tensors = Vec::with_capacity(slots.len());
    for slot in slots {
        let shape = slot.disk_shape();
        let axes = match left.remove(slot.name.as_str()) {
            None => shape.iter().map(|length| pinned(*length)).collect(),
            Some((index, tensor)) => {
                let wanted = declared.shape(index);
                if wanted != shape {
                    let tensor = slot.name.clone();
                    return Err(SymmetryError::Shape { tensor, found: shape, wanted }.into());
                }
                tensor.axes.clone()
            }
        };
        tensors.push(TensorAxes { name: slot.name.clone(), role: role(&slot.name), axes });
    }
    // A counter may be named, it has no axes.
    let unknown = left.into_keys().find(|name| !name.ends_with(".num_batches_tracked"));
    if let Some(name) = unknown {
        return Err(SymmetriesError::Unknown { tensor: name.to_owned() });
    }
    let disk = Symmetries {
        origin: Origin::Declared,
        nodes: declared.nodes.clone(),
        tensors,
        notes: declared.notes.clone(),
    };
    let mut flat = disk.clone();
    for (tensor, slot) in flat.tensors.iter_mut().zip(slots) {
        if slot.transposed {
            tensor.transpose();
        }
    }
    Ok(Inferred { disk, ..inferred.over(&flat) })
}

impl Inferred {
    /// The graph over the nodes of other symmetries of the same network, in the layout of the flat vectors.
    pub(crate) fn over(&self, flat: &Symmetries) -> Inferred {
        Inferred { flat: flat.clone(), disk: flat.clone(), values: translated(self, flat) }
    }
}

fn pinned(length: usize) -> Axis {
    Axis { segments: vec![vec![Factor::Pinned(length)]], side: Side::Writes, joined: false }
}

/// The axes of the graph's tensors over the nodes of other symmetries, in the layout of the flat vectors: an axis has the units of the
/// parameter whose axis was inferred to be the same. Joined axes are no axis of the graph's.
fn translated(inferred: &Inferred, declared: &Symmetries) -> super::Values {
    let mut same: BTreeMap<String, &Vec<Product>> = BTreeMap::new();
    for side in [Side::Writes, Side::Both, Side::Reads] {
        for (own, other) in inferred.flat.tensors.iter().zip(&declared.tensors) {
            for (axis, becomes) in
                own.axes.iter().zip(other.dimensions()).filter(|(axis, _)| axis.side == side)
            {
                if let [becomes] = becomes {
                    same.entry(format!("{:?}", axis.segments)).or_insert(&becomes.segments);
                }
            }
        }
    }
    let axis = |segments: &Vec<Product>| {
        let known = same.get(&format!("{segments:?}"));
        let length = || segments.iter().map(|product| inferred.flat.product_length(product)).sum();
        known.map_or_else(|| vec![vec![Factor::Pinned(length())]], |becomes| (*becomes).clone())
    };
    inferred.values.iter().map(|(id, axes)| (*id, axes.iter().map(axis).collect())).collect()
}
