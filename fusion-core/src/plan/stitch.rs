//! `stitch`: layers of several models stacked into one. Nothing is computed; names are re-numbered.

use std::collections::BTreeMap;
use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::KernelClass;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Node, NodeId, Stage};
use fusion_dsl::span::Span;

use super::build::Builder;
use super::ir::{Position, View, ViewEntry};
use super::report::{CopyReport, StageReport};

impl Builder<'_> {
    pub(super) fn stitch(&mut self, id: NodeId, node: &Node, stage: &Stage) {
        let Some(rest_ref) = &stage.rest else {
            return self.error(
                Diagnostic::new(
                    Code::MissingEdge,
                    node.name_span,
                    format!("`{}` has no `rest of`", node.name),
                )
                .note("embeddings, final norm and head are in no layer")
                .help("add `rest of MODEL` to say where they come from"),
            );
        };
        let Some(rest) = self.view(rest_ref, node.name_span) else { return };
        let Some(names_of) = rest.stack.clone() else {
            let name = &self.graph.node(rest_ref.node).name;
            let diagnostic = Diagnostic::new(
                Code::LayersOutside,
                node.name_span,
                format!("no stack of layers was found in `{name}`"),
            )
            .note("layers are found by numbers in tensor names that run from 0");
            return self.error(diagnostic);
        };
        let mut tensors: BTreeMap<String, ViewEntry> = BTreeMap::new();
        for (name, entry) in &rest.tensors {
            if !matches!(entry.position, Position::Layer(_)) {
                tensors.insert(name.clone(), *entry);
            }
        }
        let outside = tensors.len();
        let mut origin = Vec::new();
        let mut copies = Vec::new();
        let mut inputs = Vec::new();
        let mut template: Option<(BTreeMap<String, Vec<usize>>, Span)> = None;
        for take in &stage.takes {
            let Some(view) = self.view(&take.input, take.span) else { return };
            let model = self.graph.node(take.input.node).name.clone();
            if take.end > view.layers {
                let diagnostic = Diagnostic::new(
                    Code::LayersOutside,
                    take.span,
                    format!(
                        "`{model}` has {} layers: {}..{} reaches beyond them",
                        view.layers, take.start, take.end
                    ),
                )
                .note("ranges are half-open and counted from 0; read from the headers");
                return self.error(diagnostic);
            }
            let Some(source_stack) = &view.stack else { return };
            let mut by_layer: BTreeMap<u32, BTreeMap<String, ViewEntry>> = BTreeMap::new();
            for (name, entry) in &view.tensors {
                let Position::Layer(layer) = entry.position else { continue };
                let Some(suffix) = name.strip_prefix(&source_stack.name_of(layer as usize, "")) else {
                    continue;
                };
                by_layer.entry(layer).or_default().insert(suffix.to_owned(), *entry);
            }
            let mut names = Vec::new();
            for layer in take.start..take.end {
                let Some(found) = by_layer.get(&layer) else { continue };
                let shapes: BTreeMap<String, Vec<usize>> = found
                    .iter()
                    .map(|(suffix, entry)| (suffix.clone(), self.program.tensor(entry.tensor).shape.clone()))
                    .collect();
                match &template {
                    None => template = Some((shapes, take.span)),
                    Some((expected, span)) if *expected != shapes => {
                        let differing = expected
                            .keys()
                            .chain(shapes.keys())
                            .find(|suffix| expected.get(*suffix) != shapes.get(*suffix))
                            .cloned()
                            .unwrap_or_default();
                        let diagnostic = Diagnostic::new(
                            Code::ShapesDiffer,
                            take.span,
                            format!("layer {layer} of `{model}` does not fit the layers taken before it"),
                        )
                        .secondary(*span, "the first layers taken")
                        .note(format!("they differ in `{differing}`; read from the headers"));
                        return self.error(diagnostic);
                    }
                    Some(_) => {}
                }
                let target = origin.len() as u32;
                for (suffix, entry) in found {
                    let name = names_of.name_of(target as usize, suffix);
                    names.push(name.clone());
                    tensors
                        .insert(name, ViewEntry { tensor: entry.tensor, position: Position::Layer(target) });
                }
                origin.push(layer.min(rest.layers.saturating_sub(1)));
            }
            copies.push(CopyReport {
                from: format!("{model} layers {}..{}", take.start, take.end),
                tensors: names.len(),
                names,
                span: take.span,
            });
            inputs.push(model);
        }
        let rest_name = self.graph.node(rest_ref.node).name.clone();
        copies.push(CopyReport {
            from: format!("{rest_name} (rest)"),
            tensors: outside,
            names: Vec::new(),
            span: node.name_span,
        });
        inputs.push(rest_name);
        inputs.dedup();
        let view = View { tensors, layers: origin.len() as u32, layer_origin: origin, ..rest.like() };
        self.stages.push(StageReport {
            node: id,
            name: node.name.clone(),
            verb: stage.verb.word().to_owned(),
            method: stage.method.clone(),
            kernel: KernelClass::Route.words().to_owned(),
            passes: 0,
            inputs,
            tensors: view.tensors.len(),
            computed: 0,
            identical: 0,
            copies,
            layers: view.layers,
            parameters: view.tensors.values().map(|entry| self.program.tensor(entry.tensor).len()).sum(),
            seed: None,
            settings: Vec::new(),
            runs_on: String::new(),
        });
        self.views.insert(id, Arc::new(view));
    }
}
