//! The recipe's graph as boxes and arrows, for `fusion graph`.

use fusion_dsl::graph::{Graph, NodeKind, Ref};
use serde::Serialize;

/// A box.
#[derive(Clone, Debug, Serialize)]
pub struct GraphBox {
    /// Index.
    pub id: usize,
    /// First line: the name.
    pub title: String,
    /// Second line: what it is.
    pub detail: String,
    /// `model`, `data`, `stage`, `save`, `report`, `expect`.
    pub kind: &'static str,
}

/// An arrow.
#[derive(Clone, Debug, Serialize)]
pub struct GraphEdge {
    /// From box.
    pub from: usize,
    /// To box.
    pub to: usize,
    /// The role.
    pub label: String,
}

/// Boxes and arrows.
#[derive(Clone, Debug, Serialize)]
pub struct GraphView {
    /// Boxes, inputs before what uses them.
    pub boxes: Vec<GraphBox>,
    /// Arrows.
    pub edges: Vec<GraphEdge>,
}

/// The view of a graph. `expect` and `report` are left out where they have no arrow to show.
pub fn graph_view(graph: &Graph) -> GraphView {
    let mut view = GraphView { boxes: Vec::new(), edges: Vec::new() };
    for (id, node) in graph.iter() {
        let id = id.0 as usize;
        let arrow = |reference: &Ref, label: &str| GraphEdge {
            from: reference.node.0 as usize,
            to: id,
            label: label.to_owned(),
        };
        let (kind, title, detail) = match &node.kind {
            NodeKind::Model { source, .. } => {
                let detail = match source {
                    fusion_dsl::graph::ModelSource::Checkpoint(path) => path.clone(),
                    fusion_dsl::graph::ModelSource::Network { name, .. } => name.clone(),
                };
                ("model", node.name.clone(), detail)
            }
            NodeKind::Data { source, sets, .. } => {
                view.edges.extend(sets.iter().map(|set| arrow(set, "from")));
                let detail =
                    if sets.is_empty() { source.clone() } else { format!("{} data sets", sets.len()) };
                ("data", node.name.clone(), detail)
            }
            NodeKind::Stage(stage) => {
                view.edges.extend(stage.edges.iter().map(|edge| arrow(&edge.input, &edge.role)));
                for take in &stage.takes {
                    view.edges.push(arrow(&take.input, &format!("layers {}..{}", take.start, take.end)));
                }
                view.edges.extend(stage.rest.iter().map(|rest| arrow(rest, "rest")));
                let detail = if stage.method == stage.verb.word() {
                    stage.method.clone()
                } else {
                    format!("{} using {}", stage.verb, stage.method)
                };
                ("stage", node.name.clone(), detail)
            }
            NodeKind::Save { input, path, .. } => {
                view.edges.push(arrow(input, "save"));
                ("save", path.clone(), "save".to_owned())
            }
            NodeKind::Report { inputs, path, .. } => {
                view.edges.extend(inputs.iter().map(|input| arrow(input, "report")));
                ("report", path.clone(), "report".to_owned())
            }
            NodeKind::Expect { text, .. } => ("expect", "expect".to_owned(), text.clone()),
        };
        view.boxes.push(GraphBox { id, title, detail, kind });
    }
    view
}
