//! Parts that are several models (`run.snapshots`): how many there are is known before anything runs, so edges are spread here and
//! the rest of the planner sees single models only.

use std::collections::BTreeMap;

use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::Verb;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Edge, Graph, NodeId, NodeKind, Ref, Setting, Stage};
use fusion_dsl::span::Span;
use fusion_learn::record::{Collect, CollectParams, Count, planned};
use fusion_learn::train::Timeline;
use fusion_sdk::{MethodError, Params as _};
use serde_json::{Map, Value as Json};

use super::super::Options;
use super::{data, settings};
use crate::experiment::stages::train;

/// Names of the models of a part: the part's own for one, `name[i]` for several.
pub(super) fn names(part: &str, count: Option<usize>) -> Vec<String> {
    match count {
        None => vec![part.to_owned()],
        Some(count) => (0..count).map(|index| format!("{part}[{index}]")).collect(),
    }
}

/// A `collect` clause: name, settings, number of models (`None`: one).
pub(super) type Collected = (String, Map<String, Json>, Option<usize>);

/// What a `train` stage collects. Also checks what it says of its time.
pub(super) fn collects(
    stage: &Stage,
    train: &Map<String, Json>,
    examples: usize,
) -> Result<Vec<Collected>, Box<Diagnostic>> {
    let at = |span: Span, error: MethodError| {
        let diagnostic = Diagnostic::new(Code::MethodFailed, span, error.message);
        Box::new(match error.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        })
    };
    let place = |settings: &[Setting], otherwise: Span, error: &MethodError| {
        let blamed = settings.iter().find(|one| error.parameter == Some(one.name.as_str()));
        blamed.map_or(otherwise, |one| one.span)
    };
    let of_stage = |error: MethodError| at(place(&stage.settings, stage.method_span, &error), error);
    let params = train::read(&stage.method, train).map_err(of_stage)?;
    let timeline = Timeline::new(&params, params.steps_per_epoch(examples as u64)).map_err(of_stage)?;
    let validated = stage.edges.iter().any(|edge| edge.role == "validate");
    let (mut found, mut recorders) = (Vec::new(), Vec::new());
    for collect in &stage.collects {
        let settings = settings(&collect.settings);
        let of_collect = |error: MethodError| at(place(&collect.settings, collect.span, &error), error);
        let own = CollectParams::from_settings(&settings).map_err(of_collect)?;
        let count = match planned(&own, &timeline, validated).map_err(of_collect)? {
            Count::One => None,
            Count::Exactly(count) => Some(count),
        };
        recorders.push(Collect { name: collect.name.clone(), params: own });
        found.push((collect.name.clone(), settings, count));
    }
    fusion_learn::train::check(&params, &recorders, &timeline, validated).map_err(of_stage)?;
    Ok(found)
}

/// The graph with every edge to a part of several models spread into one edge for each.
pub(in crate::plan) fn expand(graph: &Graph, options: &Options) -> Graph {
    let mut counts: BTreeMap<(NodeId, String), usize> = BTreeMap::new();
    for (id, node) in graph.iter() {
        let NodeKind::Stage(stage) = &node.kind else { continue };
        if stage.verb == Verb::Align {
            let moving = stage.edges.iter().filter(|edge| edge.role == "from").count();
            counts.insert((id, "models".to_owned()), moving);
        }
        if stage.verb != Verb::Train || stage.collects.is_empty() {
            continue;
        }
        let examples = stage
            .edges
            .iter()
            .find(|edge| edge.role == "data")
            .and_then(|edge| data::facts(graph, edge.input.node, options))
            .and_then(|facts| facts.examples)
            .unwrap_or(1);
        // What is wrong is reported by the walk.
        for (name, _, count) in collects(stage, &settings(&stage.settings), examples).unwrap_or_default() {
            if let Some(count) = count {
                counts.insert((id, name), count);
            }
        }
    }
    let mut graph = graph.clone();
    if counts.is_empty() {
        return graph;
    }
    let spread = |reference: &Ref| -> Vec<Ref> {
        let part = reference.part.clone().unwrap_or_default();
        match counts.get(&(reference.node, part.clone())) {
            Some(count) => names(&part, Some(*count))
                .into_iter()
                .map(|part| Ref { node: reference.node, part: Some(part) })
                .collect(),
            None => vec![reference.clone()],
        }
    };
    for node in &mut graph.nodes {
        match &mut node.kind {
            NodeKind::Stage(stage) => {
                let edges = std::mem::take(&mut stage.edges);
                stage.edges = edges
                    .into_iter()
                    .flat_map(|edge| {
                        let inputs = spread(&edge.input);
                        inputs.into_iter().map(move |input| Edge { input, ..edge.clone() })
                    })
                    .collect();
            }
            NodeKind::Report { inputs, .. } => {
                *inputs = inputs.iter().flat_map(&spread).collect();
            }
            _ => {}
        }
    }
    graph
}
