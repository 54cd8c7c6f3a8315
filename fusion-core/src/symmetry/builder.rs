//! What templates put descriptions together with: nodes by size, and tensors by name, each held against its shape.

use std::collections::{BTreeMap, BTreeSet};

use fusion_sdk::symmetry::{
    Axis, Factor, Node, NodeId, Origin, Product, Side, Symmetries, TensorAxes, TensorRole,
};

use super::{Found, Header, NamesError};

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

/// Some units behind others; neighbours that stay become one.
pub(super) fn beside(parts: &[&Units]) -> Units {
    let still = |product: &Product| match product.as_slice() {
        [] => Some(1),
        [Factor::Pinned(length)] => Some(*length),
        _ => None,
    };
    let mut all = Units::new();
    for product in parts.iter().flat_map(|units| units.iter()) {
        match (all.last().and_then(still), still(product)) {
            (Some(before), Some(own)) => {
                all.pop();
                all.push(vec![Factor::Pinned(before + own)]);
            }
            _ => all.push(product.clone()),
        }
    }
    all
}

/// What is said of tensors that stay as they are.
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
    /// Its tensors are put in at the end.
    found: Found,
    axes: BTreeMap<&'a str, TensorAxes>,
    /// Buffers without units.
    buffers: BTreeSet<&'a str>,
    /// What the names of other parts begin with.
    elsewhere: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(template: &'static str, model: &'a [Header]) -> Builder<'a> {
        let shapes = model.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        let origin = Origin::Template(template.to_owned());
        let empty = Symmetries { origin, nodes: Vec::new(), tensors: Vec::new(), notes: Vec::new() };
        Builder {
            template,
            model,
            shapes,
            found: Found { symmetries: empty, warnings: Vec::new() },
            axes: BTreeMap::new(),
            buffers: BTreeSet::new(),
            elsewhere: Vec::new(),
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
        units.iter().map(|product| self.found.symmetries.product_length(product)).sum()
    }

    /// The tensors of the model.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.model.iter().map(|(name, _)| name.as_str())
    }

    /// Says that what begins so is another part, which shares nothing but the stream with what is described.
    pub(super) fn elsewhere(&mut self, prefix: impl Into<String>) {
        self.elsewhere.push(prefix.into());
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
        let nodes = &mut self.found.symmetries.nodes;
        nodes.push(Node { name: name.into(), size, parents, scalable: false });
        vec![vec![Factor::Node(NodeId(nodes.len() as u32 - 1))]]
    }

    /// Says that units may be scaled.
    pub(super) fn scalable(&mut self, units: Units) -> Units {
        for factor in units.iter().flatten() {
            if let Factor::Node(id) = factor {
                self.found.symmetries.nodes[id.index()].scalable = true;
            }
        }
        units
    }

    /// Units that all layers read and write; they stay if there is a reason for it.
    pub(super) fn stream(&mut self, name: impl Into<String>, size: usize, pinned: Option<String>) -> Units {
        let Some(reason) = pinned else { return self.units(name, size, &[]) };
        let name = name.into();
        self.note(format!("the units of `{name}` stay where they are: {reason}"));
        pin(size)
    }

    /// Describes a tensor.
    pub(super) fn tensor(&mut self, name: &str, axes: &[(&Units, Side)]) -> Result<(), NamesError> {
        let axis =
            |(units, side): &(&Units, Side)| Axis { segments: (*units).clone(), side: *side, joined: false };
        self.described(name, axes.iter().map(axis).collect())
    }

    fn described(&mut self, name: &str, axes: Vec<Axis>) -> Result<(), NamesError> {
        let Some((key, shape)) = self.shapes.get_key_value(name) else { return Err(self.missing(name)) };
        let role = match name.rsplit('.').next() {
            Some("running_mean") => TensorRole::Mean,
            Some("running_var") => TensorRole::Variance,
            _ => TensorRole::Parameter,
        };
        let tensor = TensorAxes { name: name.to_owned(), role, axes };
        let length = |axes: &[Axis]| axes.iter().map(|axis| self.width(&axis.segments)).product();
        let lengths: Vec<usize> = tensor.dimensions().map(length).collect();
        if lengths != *shape {
            return Err(self.misshapen(name, format!("it should be {lengths:?}")));
        }
        self.axes.insert(key, tensor);
        Ok(())
    }

    /// Layers in which something moves.
    fn moving_layers(&self) -> BTreeSet<&str> {
        let moves = |axes: &TensorAxes| axes.axes.iter().any(|axis| axis.segments.iter().any(has_node));
        self.axes.iter().filter(|(_, axes)| moves(axes)).filter_map(|(name, _)| layer_of(name)).collect()
    }

    /// Lengths of all that moves: dimensions of tensors, products, nodes.
    fn moving_lengths(&self) -> BTreeSet<usize> {
        let found = &self.found.symmetries;
        let of_tensors = self.axes.values().flat_map(|tensor| lengths_of(found, tensor, has_node));
        found.nodes.iter().map(|node| node.size).chain(of_tensors).collect()
    }

    /// What is missing, if a tensor is unknown because a layer in front of it is not there or not whole.
    fn gap(&self, unknown: &str) -> Option<NamesError> {
        let layer = layer_of(unknown)?;
        let (stack, number) = layer.rsplit_once('.')?;
        let number: usize = number.parse().ok()?;
        // Within a layer there are modules; a numbered module is none.
        unknown.get(layer.len() + 1..)?.split_once('.')?;
        let described = |own: &str| self.axes.keys().any(|name| name.starts_with(own));
        let first = format!("{stack}.0.");
        if !described(&first) {
            return None;
        }
        let own = (1..=number).map(|lower| format!("{stack}.{lower}.")).find(|own| !described(own))?;
        if !self.names().any(|name| name.starts_with(&own)) {
            let (layer, later) = (own.trim_end_matches('.').to_owned(), layer.to_owned());
            return Some(NamesError::Layer { template: self.template, layer, later });
        }
        let wanted = self.axes.keys().filter_map(|name| name.strip_prefix(&first));
        let mut wanted = wanted.map(|name| format!("{own}{name}"));
        wanted.find(|name| !self.has(name)).map(|name| self.missing(&name))
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

    /// Two linear layers with new units between them, which are named after the first; gives these units.
    pub(super) fn two_layers(
        &mut self,
        up: &str,
        down: &str,
        out: &Units,
        from: &Units,
    ) -> Result<Units, NamesError> {
        let hidden = self.units(up, self.length(&format!("{up}.weight"), 0)?, &[]);
        self.linear(up, &hidden, from)?;
        self.linear(down, out, &hidden)?;
        Ok(hidden)
    }

    /// As [`Builder::linear`], with rows `front · (out)`: for each index of `front` all parts of `out` behind each other.
    pub(super) fn linear_in_front(
        &mut self,
        name: &str,
        front: &Units,
        out: &Units,
        from: &Units,
    ) -> Result<(), NamesError> {
        if let ([], _) | (_, [_]) = (front.as_slice(), out.as_slice()) {
            let rows = if front.is_empty() { out.clone() } else { times(&[front, out]) };
            return self.linear(name, &rows, from);
        }
        let axis = |units: &Units, side: Side, joined: bool| Axis { segments: units.clone(), side, joined };
        let rows = [axis(front, Side::Writes, true), axis(out, Side::Writes, false)];
        let weight = [rows.as_slice(), &[axis(from, Side::Reads, false)]].concat();
        self.described(&format!("{name}.weight"), weight)?;
        let bias = format!("{name}.bias");
        if self.has(&bias) { self.described(&bias, rows.into()) } else { Ok(()) }
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

    /// A normalisation that may be missing, or have no parameters.
    pub(super) fn optional_norm(&mut self, name: &str, units: &Units) -> Result<(), NamesError> {
        if self.has(&format!("{name}.weight")) { self.norm(name, units) } else { Ok(()) }
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

    /// A note, once.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let (note, notes) = (note.into(), &mut self.found.symmetries.notes);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// A note that is a warning ([`Found::warnings`]), once.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.found.warnings.contains(&warning) {
            self.found.warn([warning]);
        }
    }

    /// The description, tensors in the order of their names and nodes in the order of their first use: files of the same model may have
    /// them in another order.
    pub(super) fn finish(mut self) -> Result<Found, NamesError> {
        let known = |name: &str| self.axes.contains_key(name) || self.buffers.contains(name);
        let rest: Vec<&Header> = self.model.iter().filter(|(name, _)| !known(name)).collect();
        let (moving, lengths) = (self.moving_layers(), self.moving_lengths());
        let elsewhere = |name: &str| self.elsewhere.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let risky = |name: &str, shape: &[usize]| {
            let elements: usize = shape.iter().product();
            (elements > 1 && layer_of(name).is_some_and(|layer| moving.contains(layer)))
                || (!elsewhere(name) && shape.iter().any(|length| lengths.contains(length)))
        };
        if let Some((name, shape)) = rest.iter().find(|(name, shape)| risky(name, shape)) {
            if let Some(error) = self.gap(name) {
                return Err(error);
            }
            let shape = shape.clone();
            return Err(NamesError::Unknown { template: self.template, tensor: name.clone(), shape });
        }
        let rest: Vec<String> = rest.into_iter().map(|(name, _)| name.clone()).collect();
        self.found.warn(untouched(&rest));
        let tensors = &mut self.found.symmetries.tensors;
        tensors.extend(self.model.iter().filter_map(|(name, _)| self.axes.remove(name.as_str())));
        tensors.sort_by_cached_key(|tensor| in_order(&tensor.name));
        order_nodes(&mut self.found.symmetries);
        self.found.symmetries.check_structure(self.model)?;
        Ok(self.found)
    }
}

/// Whether something of a product moves.
pub(super) fn has_node(product: &Product) -> bool {
    product.iter().any(|factor| matches!(factor, Factor::Node(_)))
}

/// Lengths of a tensor's products that are meant, and of the dimensions that they are in; 1 says nothing.
pub(super) fn lengths_of(
    all: &Symmetries,
    tensor: &TensorAxes,
    meant: impl Fn(&Product) -> bool,
) -> BTreeSet<usize> {
    let mut lengths = BTreeSet::new();
    for dimension in tensor.dimensions() {
        let products = dimension.iter().flat_map(|axis| &axis.segments).filter(|product| meant(product));
        let products: Vec<usize> = products.map(|product| all.product_length(product)).collect();
        if !products.is_empty() {
            let axes = dimension.iter().map(|axis| all.axis_length(axis));
            lengths.insert(axes.fold(1, usize::saturating_mul));
        }
        lengths.extend(products);
    }
    lengths.remove(&1);
    lengths
}

/// Names part by part, numbers by their value: layer 10 comes behind layer 9.
fn in_order(name: &str) -> Vec<(u64, String)> {
    name.split('.').map(|part| (part.parse().unwrap_or(u64::MAX), part.to_owned())).collect()
}

/// The layer of a tensor: its name up to the first number.
pub(super) fn layer_of(name: &str) -> Option<&str> {
    let mut end = 0;
    for part in name.split('.') {
        end += part.len();
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return name.get(..end);
        }
        end += 1;
    }
    None
}

/// Numbers nodes by their first use, parents first.
fn order_nodes(all: &mut Symmetries) {
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
}
