//! References between nodes: walked, renumbered, and sorted so that inputs come first.

use crate::graph::{Formula, ModelSource, Node, NodeId, NodeKind, Ref, Rule, Setting, Value};

/// Calls `f` on every node id that a node refers to.
pub(crate) fn each_input(node: &mut Node, f: &mut dyn FnMut(&mut NodeId)) {
    match &mut node.kind {
        NodeKind::Model { source, settings } => {
            if let ModelSource::Network { arguments, .. } = source {
                arguments.values_mut().for_each(|value| in_value(value, f));
            }
            in_settings(settings, f);
        }
        NodeKind::Data { sets, settings, .. } => {
            sets.iter_mut().for_each(|set: &mut Ref| f(&mut set.node));
            in_settings(settings, f);
        }
        NodeKind::Stage(stage) => {
            for edge in &mut stage.edges {
                f(&mut edge.input.node);
                in_settings(&mut edge.settings, f);
                in_rules(&mut edge.rules, f);
            }
            in_settings(&mut stage.settings, f);
            in_rules(&mut stage.rules, f);
            stage.takes.iter_mut().for_each(|take| f(&mut take.input.node));
            stage.rest.iter_mut().for_each(|rest| f(&mut rest.node));
            stage.collects.iter_mut().for_each(|collect| in_settings(&mut collect.settings, f));
        }
        NodeKind::Save { input, settings, .. } => {
            f(&mut input.node);
            in_settings(settings, f);
        }
        NodeKind::Report { inputs, settings, .. } => {
            inputs.iter_mut().for_each(|input: &mut Ref| f(&mut input.node));
            in_settings(settings, f);
        }
        NodeKind::Expect { formula, .. } => in_formula(formula, f),
    }
}

/// The ids that a node refers to, each once, ascending.
pub(crate) fn inputs(node: &Node) -> Vec<NodeId> {
    let mut found = Vec::new();
    each_input(&mut node.clone(), &mut |id| found.push(*id));
    found.sort_unstable();
    found.dedup();
    found
}

fn in_settings(settings: &mut [Setting], f: &mut dyn FnMut(&mut NodeId)) {
    settings.iter_mut().for_each(|setting| in_value(&mut setting.value, f));
}

fn in_rules(rules: &mut [Rule], f: &mut dyn FnMut(&mut NodeId)) {
    rules.iter_mut().for_each(|rule| in_settings(&mut rule.settings, f));
}

fn in_value(value: &mut Value, f: &mut dyn FnMut(&mut NodeId)) {
    match value {
        Value::Node(reference) => f(&mut reference.node),
        Value::List(items) => items.iter_mut().for_each(|item| in_value(item, f)),
        _ => {}
    }
}

fn in_formula(formula: &mut Formula, f: &mut dyn FnMut(&mut NodeId)) {
    match formula {
        Formula::Value(value) => in_value(value, f),
        Formula::Fact { node, .. } => f(node),
        Formula::Unary { operand, .. } => in_formula(operand, f),
        Formula::Binary { left, right, .. } => {
            in_formula(left, f);
            in_formula(right, f);
        }
    }
}
