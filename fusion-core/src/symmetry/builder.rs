//! What templates put descriptions together with: nodes by size, and tensors by name, each held against its shape.

use std::collections::{BTreeMap, BTreeSet};

use fusion_sdk::symmetry::{
    Axis, Factor, Node, NodeId, Origin, Product, Side, Symmetries, TensorAxes, TensorRole,
};

use super::{Header, NamesError};

/// Units as an axis: products behind each other.
pub(super) type Units = Vec<Product>;

/// Units that stay.
pub(super) fn pin(length: usize) -> Units {
    vec![if length == 1 { Vec::new() } else { vec![Factor::Pinned(length)] }]
}

/// One product after the other in row-major order.
pub(super) fn times(parts: &[&Units]) -> Units {
    vec![parts.iter().flat_map(|units| units.iter().flatten().copied()).collect()]
}

/// A note on tensors that stay as they are.
pub(super) fn untouched(names: &[String]) -> Option<String> {
    const SHOWN: usize = 4;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| format!("not described, and left as they are: {}{more}", shown.join(", ")))
}

/// A description that grows.
pub(super) struct Builder<'a> {
    template: &'static str,
    model: &'a [Header],
    shapes: BTreeMap<&'a str, &'a [usize]>,
    nodes: Vec<Node>,
    axes: BTreeMap<&'a str, TensorAxes>,
    /// Buffers without units.
    buffers: BTreeSet<&'a str>,
    /// Widths that all layers share: an unknown tensor with one of them may be a part of what moves.
    shared: BTreeSet<usize>,
    notes: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(template: &'static str, model: &'a [Header]) -> Builder<'a> {
        let shapes = model.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        Builder {
            template,
            model,
            shapes,
            nodes: Vec::new(),
            axes: BTreeMap::new(),
            buffers: BTreeSet::new(),
            shared: BTreeSet::new(),
            notes: Vec::new(),
        }
    }

    /// Whether there is such a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    /// The first of these prefixes under which there is a tensor with this ending.
    pub(super) fn prefix(&self, prefixes: &[&'static str], ending: &str) -> Option<&'static str> {
        prefixes.iter().copied().find(|prefix| self.has(&format!("{prefix}{ending}")))
    }

    /// The shape of a tensor.
    pub(super) fn shape(&self, name: &str) -> Result<&'a [usize], NamesError> {
        self.shapes.get(name).copied().ok_or_else(|| self.missing(name))
    }

    /// The length of a tensor's axis.
    pub(super) fn length(&self, name: &str, axis: usize) -> Result<usize, NamesError> {
        let shape = self.shape(name)?;
        shape
            .get(axis)
            .copied()
            .ok_or_else(|| self.misshapen(name, format!("it should have {} axes or more", axis + 1)))
    }

    pub(super) fn missing(&self, name: &str) -> NamesError {
        NamesError::Missing { template: self.template, tensor: name.to_owned() }
    }

    /// An error about a tensor's shape.
    pub(super) fn misshapen(&self, name: &str, wanted: String) -> NamesError {
        let found = self.shapes.get(name).map(|shape| shape.to_vec()).unwrap_or_default();
        NamesError::Shape { template: self.template, tensor: name.to_owned(), found, wanted }
    }

    /// Divides a length, or says that a tensor has the wrong shape.
    pub(super) fn over(
        &self,
        name: &str,
        length: usize,
        parts: usize,
        what: &str,
    ) -> Result<usize, NamesError> {
        match parts > 0 && length.is_multiple_of(parts) && length >= parts {
            true => Ok(length / parts),
            false => Err(self.misshapen(name, format!("{length} is no multiple of {parts} {what}"))),
        }
    }

    /// Numbers of layers under a prefix: `i` counts as long as `prefix.i.ending` is there.
    pub(super) fn layers(&self, prefix: &str, ending: &str) -> usize {
        (0..).take_while(|index| self.has(&format!("{prefix}.{index}.{ending}"))).count()
    }

    /// Numbers of stages: `prefix1`, `prefix2`, … as long as `prefixN.ending` is there.
    pub(super) fn layers_of(&self, prefix: &str, ending: &str) -> usize {
        (1..).take_while(|index| self.has(&format!("{prefix}{index}.{ending}"))).count()
    }

    /// Length of an axis.
    pub(super) fn width(&self, units: &Units) -> usize {
        units.iter().map(|product| self.product_length(product)).sum()
    }

    /// Says that layers share these units: an unknown tensor of their width may be a part of what moves.
    pub(super) fn share(&mut self, units: &Units) {
        self.shared.insert(self.width(units));
    }

    /// New units; `inside` are those that they lie in.
    pub(super) fn units(&mut self, name: impl Into<String>, size: usize, inside: &[&Units]) -> Units {
        if size < 2 {
            return pin(size);
        }
        let mut parents: Vec<NodeId> = inside
            .iter()
            .flat_map(|units| units.iter().flatten())
            .filter_map(|factor| match factor {
                Factor::Node(id) => Some(*id),
                Factor::Pinned(_) => None,
            })
            .collect();
        parents.sort_unstable();
        parents.dedup();
        self.nodes.push(Node { name: name.into(), size, parents, scalable: false });
        vec![vec![Factor::Node(NodeId(self.nodes.len() as u32 - 1))]]
    }

    /// Says that units may be scaled.
    pub(super) fn scalable(&mut self, units: Units) -> Units {
        for factor in units.iter().flatten() {
            if let Factor::Node(id) = factor {
                self.nodes[id.index()].scalable = true;
            }
        }
        units
    }

    /// Units that all layers read and write; pinned if `free` is false.
    pub(super) fn stream(&mut self, name: impl Into<String>, size: usize, free: bool) -> Units {
        self.shared.insert(size);
        if free {
            return self.units(name, size, &[]);
        }
        let name = name.into();
        self.notes.push(format!(
            "the units of `{name}` are the model's output, since no head in the file reads them: they stay where they are"
        ));
        pin(size)
    }

    /// Describes a tensor.
    pub(super) fn tensor(&mut self, name: &str, axes: &[(&Units, Side)]) -> Result<(), NamesError> {
        let Some((key, shape)) = self.shapes.get_key_value(name) else { return Err(self.missing(name)) };
        let role = match name.rsplit('.').next() {
            Some("running_mean") => TensorRole::Mean,
            Some("running_var") => TensorRole::Variance,
            _ => TensorRole::Parameter,
        };
        let axes =
            axes.iter().map(|(units, side)| Axis { segments: (*units).clone(), side: *side }).collect();
        let tensor = TensorAxes { name: name.to_owned(), role, axes };
        let lengths: Vec<usize> = tensor
            .axes
            .iter()
            .map(|axis| axis.segments.iter().map(|product| self.product_length(product)).sum())
            .collect();
        if lengths != *shape {
            return Err(self.misshapen(name, format!("it should be {lengths:?}")));
        }
        self.axes.insert(key, tensor);
        Ok(())
    }

    fn product_length(&self, product: &Product) -> usize {
        let length = |factor: &Factor| match factor {
            Factor::Node(id) => self.nodes[id.index()].size,
            Factor::Pinned(length) => *length,
        };
        product.iter().map(length).product()
    }

    /// A tensor that may be missing.
    pub(super) fn optional(&mut self, name: &str, axes: &[(&Units, Side)]) -> Result<(), NamesError> {
        if self.has(name) { self.tensor(name, axes) } else { Ok(()) }
    }

    /// `name.weight` [out, in] and perhaps `name.bias`.
    pub(super) fn linear(&mut self, name: &str, out: &Units, from: &Units) -> Result<(), NamesError> {
        self.tensor(&format!("{name}.weight"), &[(out, Side::Writes), (from, Side::Reads)])?;
        self.optional(&format!("{name}.bias"), &[(out, Side::Writes)])
    }

    /// The same as [in, out].
    pub(super) fn linear_in_out(&mut self, name: &str, out: &Units, from: &Units) -> Result<(), NamesError> {
        self.tensor(&format!("{name}.weight"), &[(from, Side::Reads), (out, Side::Writes)])?;
        self.optional(&format!("{name}.bias"), &[(out, Side::Writes)])
    }

    /// `name.weight` [out, in, height, width] and perhaps `name.bias`.
    pub(super) fn conv(&mut self, name: &str, out: &Units, from: &Units) -> Result<(), NamesError> {
        let weight = format!("{name}.weight");
        let (height, width) = (pin(self.length(&weight, 2)?), pin(self.length(&weight, 3)?));
        let kernel = Side::Writes;
        self.tensor(&weight, &[(out, kernel), (from, Side::Reads), (&height, kernel), (&width, kernel)])?;
        self.optional(&format!("{name}.bias"), &[(out, Side::Writes)])
    }

    /// A normalisation by channel: weight, and what there is of bias and statistics.
    pub(super) fn norm(&mut self, name: &str, units: &Units) -> Result<(), NamesError> {
        self.tensor(&format!("{name}.weight"), &[(units, Side::Writes)])?;
        for field in ["bias", "running_mean", "running_var"] {
            self.optional(&format!("{name}.{field}"), &[(units, Side::Writes)])?;
        }
        self.buffer(&format!("{name}.num_batches_tracked"));
        Ok(())
    }

    /// A table of vectors: [entries, units].
    pub(super) fn table(&mut self, name: &str, units: &Units, side: Side) -> Result<(), NamesError> {
        let entries = pin(self.length(name, 0)?);
        self.tensor(name, &[(&entries, Side::Writes), (units, side)])
    }

    /// A head: outputs stay.
    pub(super) fn head(&mut self, name: &str, from: &Units) -> Result<(), NamesError> {
        let outputs = pin(self.length(&format!("{name}.weight"), 0)?);
        self.linear(name, &outputs, from)
    }

    /// A tensor without units, if it is there.
    pub(super) fn buffer(&mut self, name: &str) {
        if let Some((key, _)) = self.shapes.get_key_value(name) {
            self.buffers.insert(key);
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The description, tensors in the order of the model and nodes in the order of their first use.
    pub(super) fn finish(mut self) -> Result<Symmetries, NamesError> {
        let known = |name: &str| self.axes.contains_key(name) || self.buffers.contains(name);
        let rest: Vec<&Header> = self.model.iter().filter(|(name, _)| !known(name)).collect();
        if let Some((name, shape)) =
            rest.iter().find(|(_, shape)| shape.iter().any(|length| self.shared.contains(length)))
        {
            let shape = shape.clone();
            return Err(NamesError::Unknown { template: self.template, tensor: name.clone(), shape });
        }
        let rest: Vec<String> = rest.into_iter().map(|(name, _)| name.clone()).collect();
        self.notes.extend(untouched(&rest));
        let tensors: Vec<TensorAxes> =
            self.model.iter().filter_map(|(name, _)| self.axes.get(name.as_str()).cloned()).collect();
        let found = ordered(Symmetries {
            origin: Origin::Template(self.template.to_owned()),
            nodes: self.nodes,
            tensors,
            notes: self.notes,
        });
        found.check_structure(self.model)?;
        Ok(found)
    }
}

/// Numbers nodes by their first use, parents first.
fn ordered(mut all: Symmetries) -> Symmetries {
    let mut order: Vec<NodeId> = Vec::new();
    let used = all.tensors.iter().flat_map(|tensor| &tensor.axes).flat_map(|axis| &axis.segments).flatten();
    for factor in used {
        if let Factor::Node(id) = factor {
            for own in all.node(*id).parents.iter().chain([id]) {
                if !order.contains(own) {
                    order.push(*own);
                }
            }
        }
    }
    let mut number = vec![NodeId(0); all.nodes.len()];
    for (place, id) in order.iter().enumerate() {
        number[id.index()] = NodeId(place as u32);
    }
    let nodes = order.iter().map(|id| {
        let mut node = all.node(*id).clone();
        node.parents.iter_mut().for_each(|parent| *parent = number[parent.index()]);
        node.parents.sort_unstable();
        node
    });
    all.nodes = nodes.collect();
    let axes = all.tensors.iter_mut().flat_map(|tensor| &mut tensor.axes);
    for factor in axes.flat_map(|axis| &mut axis.segments).flatten() {
        if let Factor::Node(id) = factor {
            *id = number[id.index()];
        }
    }
    all
}
