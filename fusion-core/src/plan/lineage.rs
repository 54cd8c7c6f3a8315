//! What a result is made from: the nodes of the recipe before it, and all that is read of inputs for it, by its own passes or by the stages
//! before it. Keys, records and model cards name this and nothing else.

use std::collections::BTreeSet;

use fusion_dsl::graph::{Graph, NodeId, NodeKind, Rule, Setting, Value};

#[cfg(feature = "learn")]
use super::ir::View;
use super::ir::{Origin, Program, TensorId};
#[cfg(feature = "learn")]
use crate::experiment::{Experiment, Feed, Step};

/// What is read of checkpoints and adapters for one result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Tensors: index into [`Program::sources`], and place in the checkpoint.
    pub tensors: BTreeSet<(usize, usize)>,
    /// Indices into [`Program::adapters`].
    pub adapters: BTreeSet<usize>,
}

impl Used {
    /// What the passes that compute these tensors read. Members of a group share a state, so a tensor brings in the others.
    pub(super) fn by(program: &Program, roots: &[TensorId]) -> Used {
        let mut used = Used::default();
        for id in program.closure_with_groups(roots) {
            match program.tensor(id).origin {
                Origin::Stored { source, tensor } => {
                    used.tensors.insert((source, tensor));
                }
                Origin::Adapted { adapter, .. } => {
                    used.adapters.insert(adapter);
                }
                Origin::Computed { .. } | Origin::Identical { .. } => {}
            }
        }
        used
    }

    /// What is read for a model.
    #[cfg(feature = "learn")]
    pub(crate) fn of(program: &Program, view: &View) -> Used {
        let roots: Vec<TensorId> = view.tensors.values().map(|entry| entry.tensor).collect();
        Used::by(program, &roots)
    }

    /// Adds the inputs that only stages on networks and checkpoints have read. What stages have made and others have read is left out: it is
    /// a function of these.
    #[cfg(feature = "learn")]
    pub(super) fn with_stages(mut self, program: &Program, experiment: &Experiment) -> Used {
        let mut waiting = self.makers(program, experiment);
        let mut seen = BTreeSet::new();
        while let Some(step) = waiting.pop() {
            if !seen.insert(step.key.as_str()) {
                continue;
            }
            for input in &step.inputs {
                match &input.feed {
                    Feed::Model { view, .. } => {
                        let read = Used::of(program, view);
                        waiting.extend(read.makers(program, experiment));
                        let given = |(source, _): &(usize, usize)| program.sources[*source].made_by.is_none();
                        self.tensors.extend(read.tensors.into_iter().filter(given));
                        self.adapters.extend(read.adapters);
                    }
                    Feed::Result(node) | Feed::Alignment(node) => {
                        waiting.extend(experiment.step(*node));
                    }
                }
            }
        }
        self
    }

    /// The stages that make any of it.
    #[cfg(feature = "learn")]
    pub(crate) fn makers<'e>(&self, program: &Program, experiment: &'e Experiment) -> Vec<&'e Step> {
        self.sources().into_iter().filter_map(|source| experiment.maker(&program.sources[source])).collect()
    }

    /// Indices of the sources.
    pub(crate) fn sources(&self) -> BTreeSet<usize> {
        self.tensors.iter().map(|(source, _)| *source).collect()
    }
}

/// The index of a member of a loop, 0 for what is none: `net[10]` comes behind `net[9]`, while the graph's own order goes by content.
pub(crate) fn loop_index(name: &str) -> u64 {
    let index = name.rsplit_once('[').and_then(|(_, index)| index.trim_end_matches(']').parse().ok());
    index.unwrap_or(0)
}

/// The nodes that a node is made from, itself included.
pub(crate) fn ancestors(graph: &Graph, node: NodeId) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    let mut stack = vec![node];
    while let Some(id) = stack.pop() {
        if found.insert(id) {
            before(&graph.node(id).kind, &mut stack);
        }
    }
    found
}

/// The nodes that a node names.
fn before(kind: &NodeKind, found: &mut Vec<NodeId>) {
    match kind {
        NodeKind::Data { sets, .. } => found.extend(sets.iter().map(|set| set.node)),
        NodeKind::Stage(stage) => {
            for edge in &stage.edges {
                found.push(edge.input.node);
                copied(&edge.rules, found);
            }
            copied(&stage.rules, found);
            found.extend(stage.takes.iter().map(|take| take.input.node));
            found.extend(stage.rest.iter().map(|rest| rest.node));
        }
        NodeKind::Save { input, settings, .. } => {
            found.push(input.node);
            named(settings, found);
        }
        NodeKind::Report { inputs, .. } => found.extend(inputs.iter().map(|input| input.node)),
        NodeKind::Model { .. } | NodeKind::Expect { .. } => {}
    }
}

/// `copy = MODEL` of rules.
fn copied(rules: &[Rule], found: &mut Vec<NodeId>) {
    rules.iter().for_each(|rule| named(&rule.settings, found));
}

fn named(settings: &[Setting], found: &mut Vec<NodeId>) {
    found.extend(settings.iter().filter_map(|setting| match &setting.value {
        Value::Node(reference) => Some(reference.node),
        _ => None,
    }));
}
