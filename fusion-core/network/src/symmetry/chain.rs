//! Which operations led somewhere, for notes and errors: `fc1.weight, Matmul, Add, CumSum`.

use std::collections::BTreeSet;

use super::rule::name;
use super::walk::{Graph, Pin};

/// The last operations that lead to one, from the nearest parameter on.
pub(super) fn to(graph: &Graph<'_>, operation: usize) -> String {
    const LONGEST: usize = 8;
    let mut chain = vec![name(&graph.operations[operation])];
    let mut at = operation;
    let mut named = None;
    while chain.len() < LONGEST {
        let inputs: Vec<u64> = graph.operations[at].inputs().map(|tensor| tensor.id.value()).collect();
        named = inputs.iter().find_map(|id| graph.parameters.get(id));
        if named.is_some() {
            break;
        }
        let made = |id: &u64| {
            graph.operations[..at].iter().rposition(|other| other.outputs().any(|out| out.id.value() == *id))
        };
        let Some(before) = inputs.first().and_then(made) else { break };
        chain.push(name(&graph.operations[before]));
        at = before;
    }
    chain.extend(named.cloned());
    chain.reverse();
    chain.join(", ")
}

/// The operations from a parameter's first use to the first that takes in one of the others.
pub(super) fn between(graph: &Graph<'_>, from: &str, others: &BTreeSet<String>) -> String {
    const LONGEST: usize = 16;
    let number = |name: &str| graph.parameters.iter().find(|(_, own)| *own == name).map(|(id, _)| *id);
    let Some(start) = number(from) else { return from.to_owned() };
    let ends: BTreeSet<u64> = others.iter().filter_map(|name| number(name)).collect();
    let mut reached = BTreeSet::from([start]);
    let mut chain = vec![from.to_owned()];
    for operation in graph.operations {
        let outputs: Vec<u64> = operation.outputs().map(|tensor| tensor.id.value()).collect();
        if outputs.is_empty() || outputs.iter().any(|id| graph.parameters.contains_key(id)) {
            continue;
        }
        let inputs: Vec<u64> = operation.inputs().map(|tensor| tensor.id.value()).collect();
        if !inputs.iter().any(|id| reached.contains(id)) {
            continue;
        }
        reached.extend(outputs);
        chain.push(name(operation));
        let end = inputs.iter().find(|id| ends.contains(id) && **id != start);
        if let Some(end) = end.and_then(|id| graph.parameters.get(id)) {
            chain.push(end.clone());
            break;
        }
        if chain.len() > LONGEST {
            chain.push("…".to_owned());
            break;
        }
    }
    chain.join(", ")
}

/// Notes on what is pinned.
pub(super) fn notes(graph: &Graph<'_>, pins: &[Pin]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for pin in pins {
        let note = format!("units stay where they are at {}: {}", to(graph, pin.operation), pin.reason);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}
