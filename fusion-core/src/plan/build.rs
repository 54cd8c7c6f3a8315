//! The walk over the graph: each node becomes a view of a model, an output or a verdict; what fails becomes diagnostics and
//! the walk goes on, so that one run reports all that is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::{KernelClass, Space, Verb};
use fusion_dsl::diag::{Diagnostic, has_errors};
use fusion_dsl::graph::{Graph, Node, NodeId, NodeKind, Ref};
use fusion_dsl::span::Span;

use super::ir::{Program, View};
use super::outputs::Output;
use super::report::StageReport;
use super::{Options, Plan, cost, report};
use crate::method::Registry;
use crate::plan::facts::Verdict;

/// State of the walk.
pub(super) struct Builder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) registry: &'a Registry,
    pub(super) options: &'a Options,
    pub(super) program: Program,
    pub(super) views: BTreeMap<NodeId, Arc<View>>,
    pub(super) stages: Vec<StageReport>,
    pub(super) outputs: Vec<Output>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Models among the parts of a stage's result: `run.swa`, `run.snapshots[3]`.
    pub(super) parts: BTreeMap<(NodeId, String), Arc<View>>,
    #[cfg(feature = "learn")]
    pub(super) experiment: crate::experiment::Experiment,
}

impl<'a> Builder<'a> {
    pub(super) fn new(graph: &'a Graph, registry: &'a Registry, options: &'a Options) -> Self {
        Builder {
            graph,
            registry,
            options,
            program: Program::default(),
            views: BTreeMap::new(),
            stages: Vec::new(),
            outputs: Vec::new(),
            verdicts: Vec::new(),
            diagnostics: Vec::new(),
            parts: BTreeMap::new(),
            #[cfg(feature = "learn")]
            experiment: crate::experiment::Experiment {
                store: options.store(),
                folders: options.data.clone(),
                root: options.root.clone(),
                ..Default::default()
            },
        }
    }

    pub(super) fn walk(&mut self) {
        for (id, node) in self.graph.iter() {
            match &node.kind {
                NodeKind::Model { source, settings } => self.model(id, node, source, settings),
                NodeKind::Stage(stage) => self.stage(id, node, stage),
                NodeKind::Save { input, path, settings, path_span } => {
                    self.save(id, node, input, path, settings, *path_span);
                }
                NodeKind::Expect { formula, text } => self.expect(node, formula, text),
                #[cfg(feature = "learn")]
                NodeKind::Data { source, sets, settings } => self.data(id, node, source, sets, settings),
                #[cfg(feature = "learn")]
                NodeKind::Report { inputs, path, settings } => self.report(node, inputs, path, settings),
                #[cfg(not(feature = "learn"))]
                NodeKind::Data { .. } => self.not_built(node.span, "data sets"),
                #[cfg(not(feature = "learn"))]
                NodeKind::Report { .. } => self.not_built(node.span, "reports"),
            }
        }
    }

    fn stage(&mut self, id: NodeId, node: &'a Node, stage: &'a fusion_dsl::graph::Stage) {
        #[cfg(feature = "learn")]
        if let Some(method) = self.registry.learned(stage.verb, &stage.method) {
            return self.learned(id, node, stage, method);
        }
        let Some(entry) = self.registry.get(&stage.method) else {
            return self.not_built(stage.method_span, &format!("the method `{}`", stage.method));
        };
        match (stage.verb, entry.descriptor.kernel) {
            (Verb::Stitch, KernelClass::Route) => self.stitch(id, node, stage),
            (
                verb,
                KernelClass::Elementwise
                | KernelClass::WholeTensor
                | KernelClass::Group
                | KernelClass::WholeModel,
            ) if verb.result() == Space::Model => self.computed(id, node, stage, entry),
            (verb, _) if verb.result() != Space::Model => {
                self.not_built(stage.method_span, &format!("`{}`, whose result is no model,", stage.method));
            }
            (_, _) => self.not_built(stage.method_span, &format!("the kernel class of `{}`", stage.method)),
        }
    }

    /// What the language knows but this version cannot run.
    pub(super) fn not_built(&mut self, span: Span, what: &str) {
        self.diagnostics.push(
            Diagnostic::new(
                Code::VerbWithoutMethods,
                span,
                format!("{what} cannot be run by this version of fusion"),
            )
            .note("`fusion methods` lists what can"),
        );
    }

    pub(super) fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The view of a reference, or `None` if its node failed (and has been reported) or has none.
    pub(super) fn view(&mut self, reference: &Ref, span: Span) -> Option<Arc<View>> {
        if let Some(part) = &reference.part {
            if let Some(view) = self.parts.get(&(reference.node, part.clone())) {
                return Some(view.clone());
            }
            let name = &self.graph.node(reference.node).name;
            self.diagnostics.push(Diagnostic::new(
                Code::UnknownPart,
                span,
                format!("`{name}` has no part `{part}`"),
            ));
            return None;
        }
        let view = self.views.get(&reference.node).cloned();
        if view.is_none() && self.parts.contains_key(&(reference.node, "models[1]".to_owned())) {
            let name = &self.graph.node(reference.node).name;
            let diagnostic =
                Diagnostic::new(Code::TooManyInputs, span, format!("`{name}` is several models"))
                    .help(format!("all of them are `{name}.models`"));
            self.diagnostics.push(diagnostic);
        }
        view
    }

    pub(super) fn finish(mut self) -> (Option<Plan>, Vec<Diagnostic>) {
        self.check_targets();
        if !has_errors(&self.diagnostics) {
            self.check_space();
        }
        fusion_dsl::diag::sort(&mut self.diagnostics);
        if has_errors(&self.diagnostics) {
            return (None, self.diagnostics);
        }
        let report =
            report::assemble(&self, cost::of(&self.program, &self.outputs, self.registry, self.options));
        let plan = Plan {
            graph: self.graph.clone(),
            program: self.program,
            views: self.views,
            outputs: self.outputs,
            report,
            #[cfg(feature = "learn")]
            experiment: self.experiment,
        };
        (Some(plan), self.diagnostics)
    }
}
