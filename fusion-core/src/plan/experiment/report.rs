//! `report` items, and `expect`s that wait for results.

use std::collections::BTreeSet;

use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::Space;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Formula, Node, NodeId, NodeKind, Ref, Setting, Value};
use fusion_dsl::span::Span;

use super::super::build::Builder;
use super::super::models::resolve;
use crate::experiment::{Input, Pending, ReportPlan, SavePlan};

/// Extensions that reports can have.
const FORMATS: [&str; 5] = ["html", "htm", "json", "csv", "svg"];

/// Methods of `evaluate` whose values are `MODEL` and `MODEL.METRIC`.
const NAMED_AFTER_MODELS: [&str; 7] =
    ["accuracy", "loss", "cross_entropy", "perplexity", "brier", "ece", "per_class"];

/// What the values of some methods end with; in front of it stand data sets, metrics or models.
const LAST_WORDS: [(&str, &[&str]); 3] = [
    (
        "barrier",
        &[
            "height",
            "chord",
            "gap",
            "at",
            "chord_at",
            "start",
            "end",
            "middle",
            "min",
            "max",
            "mean",
            "arc_mean",
            "normalised",
            "ensemble",
            "length",
            "distance",
        ],
    ),
    ("distance", &["distance", "cosine"]),
    ("diversity", &["disagreement", "divergence", "error_correlation", "both_wrong", "weight_diversity"]),
];

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

    /// Takes a `save` of a path or an alignment. Says whether it did.
    pub(in crate::plan) fn save_path(
        &mut self,
        input: &Ref,
        path: &str,
        block: &[Setting],
        span: Span,
    ) -> bool {
        let node = self.graph.node(input.node);
        let NodeKind::Stage(stage) = &node.kind else { return false };
        let alignment = input.part.as_deref() == Some(super::align::PART);
        if stage.verb.result() != Space::Path && !alignment {
            return false;
        }
        if self.experiment.step(input.node).is_none() {
            return true; // the stage is broken, and has been reported
        }
        let own = |setting: &&Setting| setting.name == "overwrite";
        if let Some(setting) = block.iter().find(|setting| !own(setting)) {
            let what = match alignment {
                true => "an alignment is saved as its transforms",
                false => "a path is saved as the f32 checkpoints of its points",
            };
            let message = format!("`{}` is for checkpoints; {what}", setting.name);
            self.error(Diagnostic::new(Code::CannotSave, setting.span, message).help("remove it"));
            return true;
        }
        let overwrite = self.options.overwrite
            || block.iter().filter(own).any(|setting| matches!(setting.value, Value::Bool(true)));
        let target = resolve(&self.options.root, path);
        self.experiment.saves.push(SavePlan {
            input: input.node,
            path: path.to_owned(),
            target,
            alignment,
            overwrite,
            span,
        });
        true
    }

    /// Takes an `expect` that only results can decide. Says whether it did.
    pub(in crate::plan) fn pending(&mut self, node: &Node, formula: &Formula, text: &str) -> bool {
        if !self.needs_results(formula) {
            return false;
        }
        self.check_names(formula);
        self.experiment.pending.push(Pending {
            text: text.to_owned(),
            formula: formula.clone(),
            span: node.span,
        });
        true
    }

    /// Values of methods that measure models are called after these: a name that will not be there is a mistake now, not after hours of
    /// training.
    fn check_names(&mut self, formula: &Formula) {
        match formula {
            Formula::Value(_) => {}
            Formula::Unary { operand, .. } => self.check_names(operand),
            Formula::Binary { left, right, .. } => {
                self.check_names(left);
                self.check_names(right);
            }
            Formula::Fact { node, fact, span } => {
                let Some(step) = self.experiment.step(*node) else { return };
                let words = LAST_WORDS.iter().find(|(method, _)| *method == step.method);
                let last = fact.rsplit('.').next().unwrap_or_default();
                if let Some((method, words)) = words.filter(|(_, words)| !words.contains(&last)) {
                    let message = format!("`{}` will have no value `{fact}`", step.name);
                    let diagnostic = Diagnostic::new(Code::UnknownFact, *span, message);
                    let all = fusion_dsl::suggest::list(words.iter().copied(), 16);
                    let diagnostic = match fusion_dsl::suggest::closest(last, words.iter().copied()) {
                        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                        None => diagnostic.help(format!("values of `{method}` end with {all}")),
                    };
                    return self.error(diagnostic);
                }
                let one = step.inputs.iter().filter(|input| input.role == "from").count() == 1;
                let of_input = |input: &Input| {
                    fact.strip_prefix(input.name.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                if !NAMED_AFTER_MODELS.contains(&step.method.as_str())
                    || step.inputs.iter().any(of_input)
                    || one && !fact.contains('.')
                {
                    return;
                }
                let names: Vec<&str> = step.inputs.iter().map(|input| input.name.as_str()).collect();
                let mut diagnostic = Diagnostic::new(
                    Code::UnknownFact,
                    *span,
                    format!(
                        "`{}` will have no value `{fact}`: its values are named after what it measures",
                        step.name
                    ),
                );
                diagnostic = match fusion_dsl::suggest::closest(fact, names.iter().copied()) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic.help(format!("it measures {}", fusion_dsl::suggest::list(names, 8))),
                };
                self.error(diagnostic);
            }
        }
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
