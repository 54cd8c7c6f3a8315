//! `report` items, and `expect`s that wait for results.

use std::collections::BTreeSet;

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Formula, Node, NodeId, NodeKind, Ref, Setting, Value};

use super::super::build::Builder;
use super::super::models::resolve;
use crate::experiment::{Pending, ReportPlan};

/// Extensions that reports can have.
const FORMATS: [&str; 5] = ["html", "htm", "json", "csv", "svg"];

/// What headers tell of a model.
const OF_HEADERS: [&str; 4] = ["parameters", "layers", "tensors", "bytes"];

impl Builder<'_> {
    pub(in crate::plan) fn report(&mut self, node: &Node, inputs: &[Ref], path: &str, block: &[Setting]) {
        let target = resolve(&self.options.root, path);
        let taken = self.experiment.reports.iter().find(|report| report.target == target);
        if let Some(first) = taken {
            let diagnostic =
                Diagnostic::new(Code::SameTarget, node.span, format!("`{path}` is written twice"))
                    .secondary(first.span, "first here");
            return self.error(diagnostic);
        }
        if let Some(extension) = target.extension().and_then(|extension| extension.to_str())
            && !FORMATS.contains(&extension.to_ascii_lowercase().as_str())
        {
            let diagnostic =
                Diagnostic::new(Code::CannotWrite, node.span, format!("no report is written as `.{extension}`"))
                    .help("`.html` is a page, `.json` is for machines, `.csv` has the tables, `.svg` the plots; a folder has all of them");
            return self.error(diagnostic);
        }
        let title =
            block.iter().find(|setting| setting.name == "title").and_then(|setting| match &setting.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            });
        let mut seen = BTreeSet::new();
        let inputs = inputs.iter().map(|input| input.node).filter(|node| seen.insert(*node)).collect();
        self.experiment.reports.push(ReportPlan {
            inputs,
            path: path.to_owned(),
            target,
            title,
            span: node.span,
        });
    }

    /// Takes an `expect` that only results can decide. Says whether it did.
    pub(in crate::plan) fn pending(&mut self, node: &Node, formula: &Formula, text: &str) -> bool {
        if !self.needs_results(formula) {
            return false;
        }
        self.experiment.pending.push(Pending {
            text: text.to_owned(),
            formula: formula.clone(),
            span: node.span,
        });
        true
    }

    fn needs_results(&self, formula: &Formula) -> bool {
        match formula {
            Formula::Value(_) => false,
            Formula::Fact { node, fact, .. } => self.of_result(*node, fact),
            Formula::Unary { operand, .. } => self.needs_results(operand),
            Formula::Binary { left, right, .. } => self.needs_results(left) || self.needs_results(right),
        }
    }

    fn of_result(&self, node: NodeId, fact: &str) -> bool {
        matches!(self.graph.node(node).kind, NodeKind::Stage(_)) && !OF_HEADERS.contains(&fact)
    }
}
