//! Names of nodes, from the modules whose tensors make their units.
//!
//! A node is called after the first weight that writes it: `layers.0`, `convs.1`, `layers.0.mlp.gate_proj`. What several layers in different
//! places write is a `stream` (`layer1.stream`); what other nodes lie in is a `head` or, of convolutions, a `group`
//! (`blocks.0.self_attn.head`).

use std::collections::BTreeMap;

/// A weight that writes a node.
pub(super) struct Writer {
    /// Name of the tensor.
    pub tensor: String,
    /// Dimensions of the tensor.
    pub rank: usize,
    /// Whether the node is the last factor of its product; in front of others it is a head: `kv · r · pin[64]`.
    pub innermost: bool,
    /// The product's place among those of the axis, if the axis has several with different nodes.
    pub segment: Option<usize>,
}

/// The module of a tensor: `fc1` of `fc1.weight`.
fn module(tensor: &str) -> String {
    match tensor.rsplit_once('.') {
        Some((module, field)) => match ["weight_ih_", "weight_hh_", "bias_ih_", "bias_hh_"]
            .iter()
            .find_map(|start| field.strip_prefix(start))
        {
            // Layers of recurrent networks are told by the ends of their tensors' names.
            Some(layer) => format!("{module}.{layer}"),
            None if field.starts_with("weight")
                || field.starts_with("bias")
                || field.starts_with("running_") =>
            {
                module.to_owned()
            }
            None => tensor.to_owned(),
        },
        None => tensor.to_owned(),
    }
}

fn parent(module: &str) -> &str {
    module.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The part of dotted names that they have in common.
fn common(modules: &[&str]) -> String {
    let mut parts: Vec<&str> = modules.first().map(|first| first.split('.').collect()).unwrap_or_default();
    for module in modules {
        let same = parts.iter().zip(module.split('.')).take_while(|(a, b)| *a == b).count();
        parts.truncate(same);
    }
    parts.join(".")
}

fn below(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}.{name}") }
}

/// Names for all nodes, each with its writers in the order of tensors; `is_parent` says whether others lie in it.
pub(super) fn names(nodes: &[(Vec<Writer>, bool)]) -> Vec<String> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::with_capacity(nodes.len());
    let streams = nodes.iter().filter(|(writers, _)| is_stream(&modules(writers))).count();
    for (writers, is_parent) in nodes {
        let base = name(writers, *is_parent, streams == 1);
        let mut name = base.clone();
        while taken.contains_key(&name) {
            let number = taken.entry(base.clone()).or_insert(1);
            *number += 1;
            name = format!("{base}.{number}");
        }
        taken.entry(name.clone()).or_insert(1);
        found.push(name);
    }
    found
}

/// The first weight among the writers, or the first writer.
fn lead(writers: &[Writer]) -> Option<&Writer> {
    writers.iter().find(|writer| writer.rank > 1).or(writers.first())
}

/// The modules of the writers that are like the first one.
fn modules(writers: &[Writer]) -> Vec<String> {
    let Some(lead) = lead(writers) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    // Where a wider axis takes the units in as one of its parts, they are another's.
    let alike = |writer: &&Writer| (writer.rank > 1) == (lead.rank > 1) && writer.segment == lead.segment;
    for writer in writers.iter().filter(alike) {
        let module = module(&writer.tensor);
        if !found.contains(&module) {
            found.push(module);
        }
    }
    found
}

/// Whether layers in different places write a node.
fn is_stream(modules: &[String]) -> bool {
    modules.iter().any(|module| parent(module) != parent(&modules[0]))
}

/// The stage whose layers write a stream: `layer1`.
fn stage(modules: &[&str]) -> String {
    let mut shared = match common(modules) {
        // What comes in from outside of the blocks is not theirs.
        none if none.is_empty() => common(&modules[1..]),
        some => some,
    };
    if modules.contains(&shared.as_str()) {
        shared = parent(&shared).to_owned();
    }
    match shared.rsplit_once('.') {
        Some((stage, block)) if block.parse::<usize>().is_ok() => stage.to_owned(),
        _ => shared,
    }
}

fn name(writers: &[Writer], is_parent: bool, only_stream: bool) -> String {
    let modules = modules(writers);
    let Some(first) = modules.first() else { return "units".to_owned() };
    let lead = lead(writers);
    let inside = lead.is_some_and(|writer| !writer.innermost);
    let segment = lead.and_then(|writer| writer.segment);
    let all: Vec<&str> = modules.iter().map(String::as_str).collect();
    let base = if is_stream(&modules) {
        match only_stream {
            true => "stream".to_owned(),
            false => below(&stage(&all), "stream"),
        }
    } else if is_parent || inside {
        let shared = if all.len() == 1 { first.clone() } else { parent(first).to_owned() };
        let conv = lead.is_some_and(|writer| writer.rank > 2);
        below(&shared, if conv { "group" } else { "head" })
    } else {
        first.clone()
    };
    let grouped = is_stream(&modules) && (is_parent || inside);
    let base = if grouped { format!("{base}.group") } else { base };
    match segment {
        Some(segment) => format!("{base}.{segment}"),
        None => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(tensor: &str, rank: usize) -> Writer {
        Writer { tensor: tensor.to_owned(), rank, innermost: true, segment: None }
    }

    fn one(writers: Vec<Writer>, parent: bool) -> String {
        names(&[(writers, parent), (vec![writer("a.b.weight", 2), writer("c.weight", 2)], false)]).remove(0)
    }

    #[test]
    fn nodes_are_called_after_what_writes_them() {
        let layer =
            vec![writer("layers.0.weight", 2), writer("layers.0.bias", 1), writer("norms.0.weight", 1)];
        assert_eq!(one(layer, false), "layers.0");
        let gates = vec![writer("l.0.mlp.gate_proj.weight", 2), writer("l.0.mlp.up_proj.weight", 2)];
        assert_eq!(one(gates, false), "l.0.mlp.gate_proj");
        let heads = vec![writer("l.0.attn.q_proj.weight", 2), writer("l.0.attn.v_proj.weight", 2)];
        assert_eq!(one(heads, true), "l.0.attn.head");
        let stage = vec![
            writer("conv1.weight", 4),
            writer("layer1.0.conv2.weight", 4),
            writer("layer1.1.conv2.weight", 4),
        ];
        assert_eq!(one(stage, false), "layer1.stream");
        let short = vec![writer("conv1.weight", 4), writer("layer1.0.conv2.weight", 4)];
        assert_eq!(one(short, false), "layer1.stream");
        let gates = vec![writer("lstm.weight_ih_l1", 2), writer("lstm.weight_hh_l1", 2)];
        assert_eq!(one(gates, false), "lstm.l1");
        assert_eq!(one(vec![writer("cls_token", 3)], false), "cls_token");
        let twice = names(&[(vec![writer("a.weight", 2)], false), (vec![writer("a.weight", 2)], false)]);
        assert_eq!(twice, ["a", "a.2"]);
    }
}
