//! Alignments that come into a stage: how many there are, and whether they fit its models, is found before anything runs. Of a file the
//! transforms are known, of a stage that will run the symmetries between which it will find them.

use std::path::PathBuf;

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::Stage;
use fusion_dsl::span::Span;
use fusion_sdk::alignment::{Alignment, Transform};
use fusion_sdk::symmetry::Symmetries;
use serde_json::{Map, Value as Json};

use super::super::build::Builder;
use super::super::models::resolve;
use super::align::{STORED, models, setting_span};
use crate::experiment::stages::align::{WRITTEN_BY, files};
use crate::experiment::{Feed, Input, ModelSymmetries, Task};

/// The port of alignments that are applied, rather than started from.
pub(super) const BY: &str = "by";

/// The setting that undoes them instead.
const INVERSE: &str = "inverse";

/// Differences that are listed.
const LISTED: usize = 4;

/// An alignment as far as it is known.
struct Known {
    /// What messages call it.
    name: String,
    from: String,
    nodes: Vec<Units>,
    /// Itself, if it is in a file.
    alignment: Option<Alignment>,
}

/// Of a node: its name, units before and after; `None` where the file does not say it.
struct Units {
    node: String,
    before: Option<usize>,
    after: Option<usize>,
}

impl Known {
    /// One that a stage will find.
    fn between(name: String, from: &Symmetries, to: &Symmetries) -> Known {
        let nodes = from.nodes.iter().zip(&to.nodes).map(|(before, after)| Units {
            node: before.name.clone(),
            before: Some(before.size),
            after: Some(after.size),
        });
        Known { name, from: from.fingerprint(), nodes: nodes.collect(), alignment: None }
    }

    /// One of a file.
    fn of(name: String, alignment: Alignment) -> Known {
        let nodes = alignment.nodes.iter().map(|(node, transform)| {
            let (before, after) = match transform {
                Transform::Identity => (None, None),
                Transform::Permutation(tables) => {
                    let size = tables.first().map(Vec::len);
                    (size, size)
                }
                Transform::Scale(scales) => {
                    let size = scales.first().map(Vec::len);
                    (size, size)
                }
                Transform::Map(mixes) => {
                    let merge = mixes.first().map(|mix| &mix.merge);
                    (merge.map(|merge| merge.columns), merge.map(|merge| merge.rows))
                }
            };
            Units { node: node.clone(), before, after }
        });
        Known { name, from: alignment.from.clone(), nodes: nodes.collect(), alignment: Some(alignment) }
    }

    /// In which way it is none of a model's; empty where it is one.
    fn mismatch(&self, model: &str, symmetries: &Symmetries) -> Vec<String> {
        let mut found = Vec::new();
        let has = |node: &str| self.nodes.iter().any(|own| own.node == node);
        for own in &self.nodes {
            match (symmetries.named(&own.node).map(|id| symmetries.node(id).size), own.before) {
                (None, _) => {
                    found.push(format!("it has the units `{}`, `{model}` has none of that name", own.node))
                }
                (Some(size), Some(before)) if size != before => {
                    found.push(format!(
                        "`{}`: {before} units in the alignment, {size} in `{model}`",
                        own.node
                    ));
                }
                _ => {}
            }
        }
        let lacked = symmetries.nodes.iter().filter(|node| !has(&node.name));
        found.extend(lacked.map(|node| {
            format!("`{model}` has the units `{}`, the alignment has none of that name", node.name)
        }));
        let order = self.nodes.iter().map(|own| &own.node).eq(symmetries.nodes.iter().map(|node| &node.name));
        if found.is_empty() && (!order || self.from != symmetries.fingerprint()) {
            found.push(format!(
                "units of the same names are on other tensors, or have other sizes: it is for a model with symmetries {}, `{model}` has {}",
                self.from,
                symmetries.fingerprint()
            ));
        }
        let more = found.len().saturating_sub(LISTED);
        found.truncate(LISTED);
        if more > 0 {
            found.push(format!("and {more} more"));
        }
        found
    }

    /// Why it cannot be undone, as far as that is known.
    fn lasting(&self) -> Option<String> {
        let resized = self.nodes.iter().find(|own| own.before != own.after);
        if let Some(Units { node, before: Some(before), after: Some(after) }) = resized {
            return Some(format!("it makes {after} units of {before} in `{node}`"));
        }
        let nodes = &self.alignment.as_ref()?.nodes;
        let mixed = nodes.iter().find(|(_, transform)| matches!(transform, Transform::Map(_)));
        mixed.map(|(node, _)| format!("it mixes the units of `{node}`"))
    }
}

/// What comes in.
pub(super) struct Given {
    /// The file, if it is one.
    pub(super) stored: Option<PathBuf>,
    known: Vec<Known>,
    /// Whether the method applies them, rather than start from one.
    applies: bool,
    span: Span,
}

impl Builder<'_> {
    /// The alignments of a stage; `None` after reporting what is wrong with them.
    pub(super) fn given(
        &mut self,
        stage: &Stage,
        settings: &Map<String, Json>,
        inputs: &[Input],
        applies: bool,
    ) -> Option<Given> {
        let edges: Vec<&Input> =
            inputs.iter().filter(|input| matches!(input.feed, Feed::Alignment(_))).collect();
        let stored =
            settings.get(STORED).and_then(Json::as_str).map(|path| resolve(&self.options.root, path));
        if applies && edges.is_empty() == stored.is_none() {
            let message = match stored.is_some() {
                true => "alignments come by `by` or by `stored`, not by both",
                false => "there is no alignment to apply",
            };
            self.error(
                Diagnostic::new(Code::MissingEdge, stage.method_span, message)
                    .help("`by NAME.alignment` takes that of a stage, `stored = \"…\"` one in a file"),
            );
            return None;
        }
        let mut known = Vec::new();
        for edge in &edges {
            let Feed::Alignment(node) = edge.feed else { continue };
            let step = self.experiment.step(node)?;
            let Task::Align(plan) = &step.task else { return None };
            let reference = usize::from(plan.reference);
            for (input, model) in models(&step.inputs).zip(&plan.models).skip(reference) {
                let name = format!("the alignment of `{}` by `{}`", input.name, step.name);
                known.push(Known::between(name, &model.symmetries, &plan.target));
            }
        }
        let mut span = edges.first().map_or(stage.method_span, |edge| edge.span);
        if let Some(path) = &stored {
            span = setting_span(stage, STORED);
            let at = path.display();
            match files::read(path) {
                Ok(all) => known.extend(all.into_iter().map(|one| {
                    let of =
                        if one.model.is_empty() { String::new() } else { format!(" of `{}`", one.model) };
                    Known::of(format!("the alignment{of} in `{at}`"), one.alignment)
                })),
                Err(error) => {
                    let diagnostic = match error.kind() {
                        std::io::ErrorKind::NotFound => Diagnostic::new(
                            Code::CannotOpenModel,
                            span,
                            format!("there is no alignment `{at}`"),
                        )
                        .help("one is written by `save NAME.alignment to \"…\"`"),
                        _ => {
                            let message = format!("the alignment `{at}` cannot be read: {error}");
                            Diagnostic::new(Code::CannotReadFile, span, message).help(WRITTEN_BY)
                        }
                    };
                    self.error(diagnostic);
                    return None;
                }
            }
        }
        Some(Given { stored, known, applies, span })
    }

    /// Holds what comes in against the models that are moved. Gives the sizes of nodes after it, where they change; `Err` after reporting
    /// what is wrong.
    pub(super) fn given_fits(
        &mut self,
        given: &Given,
        settings: &Map<String, Json>,
        moving: &[(&Input, &ModelSymmetries)],
    ) -> Result<Option<Vec<usize>>, ()> {
        match judged(given, settings, moving) {
            Ok(sizes) => Ok(sizes),
            Err(diagnostic) => {
                self.error(*diagnostic);
                Err(())
            }
        }
    }
}

fn judged(
    given: &Given,
    settings: &Map<String, Json>,
    moving: &[(&Input, &ModelSymmetries)],
) -> Result<Option<Vec<usize>>, Box<Diagnostic>> {
    let (known, span) = (&given.known, given.span);
    if known.is_empty() {
        return Ok(None);
    }
    let (count, wanted) = (known.len(), moving.len());
    if count > 1 && (!given.applies || count != wanted) {
        let names: Vec<&str> = known.iter().map(|one| one.name.as_str()).collect();
        let names = names.join(", ");
        let (code, message) = match given.applies {
            false => {
                (Code::TooManyInputs, format!("{count} alignments come in, and the search starts from one"))
            }
            true if count > wanted => {
                (Code::TooManyInputs, format!("there are {count} alignments for {wanted} models"))
            }
            true => (Code::TooFewInputs, format!("there are {count} alignments for {wanted} models")),
        };
        return Err(Box::new(Diagnostic::new(code, span, message).note(names).help(
            "one is for all models, several are one for each in their order; a stage that aligns one model has one",
        )));
    }
    let inverse = settings.get(INVERSE).and_then(Json::as_bool).unwrap_or(false);
    let mut after: Option<Vec<usize>> = None;
    for (index, (input, model)) in moving.iter().enumerate() {
        let Some(known) = known.get(index % count) else { continue };
        let mismatch = known.mismatch(&input.name, &model.symmetries);
        if let (true, Some(reason)) = (given.applies && inverse, known.lasting()) {
            let message = format!("{} cannot be undone: {reason}", known.name);
            return Err(Box::new(
                Diagnostic::new(Code::ArchitecturesDiffer, span, message)
                    .help("only permutations and scales have an inverse"),
            ));
        }
        if !mismatch.is_empty() {
            let message = format!("{} does not fit `{}`", known.name, input.name);
            let mut diagnostic =
                Diagnostic::new(Code::ArchitecturesDiffer, span, message).secondary(input.span, "this model");
            for note in mismatch {
                diagnostic = diagnostic.note(note);
            }
            return Err(Box::new(diagnostic.help(
                "an alignment is of models with the same units: those of the model that it was found for",
            )));
        }
        let nodes = known.nodes.iter().zip(&model.symmetries.nodes);
        let sizes: Vec<usize> = nodes.map(|(own, node)| own.after.unwrap_or(node.size)).collect();
        if let Some(alignment) = &known.alignment
            && let Err(error) = alignment.check(&model.symmetries, &model.symmetries.resized(&sizes))
        {
            let message = format!("{} is damaged: {error}", known.name);
            return Err(Box::new(Diagnostic::new(Code::CannotReadFile, span, message).help(WRITTEN_BY)));
        }
        if given.applies {
            if after.as_ref().is_some_and(|first| *first != sizes) {
                let message =
                    format!("`{}` comes out in other widths than `{}`", input.name, moving[0].0.name);
                return Err(Box::new(
                    Diagnostic::new(Code::ArchitecturesDiffer, span, message)
                        .help("apply alignments to different widths in stages of their own"),
                ));
            }
            after.get_or_insert(sizes);
        }
    }
    let first = moving.first().map(|(_, model)| model.symmetries.nodes.iter().map(|node| node.size));
    Ok(after.filter(|sizes| !first.is_some_and(|first| first.eq(sizes.iter().copied()))))
}
