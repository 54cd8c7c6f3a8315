//! `align`: whose units may change places is found out for every model, from its network, from the names of its tensors, or from what is
//! declared; then the models are held against each other, before a weight is read.

use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Node, NodeId, Stage};
use fusion_dsl::span::Span;
use fusion_sdk::MethodError;
use fusion_sdk::align::Incoming;
use fusion_sdk::symmetry::Symmetries;
use serde_json::{Map, Value as Json};

use super::super::build::Builder;
use super::super::ir::{NetworkOf, Source, View};
use super::super::models::resolve;
use super::super::places::Places;
use crate::checkpoint::Checkpoint;
use crate::experiment::{AlignPlan, Feed, Input, ModelSymmetries, Step, file_key};
use crate::method::Learned;
use crate::symmetry;

/// The setting that declares symmetries.
pub(crate) const SYMMETRIES: &str = "symmetries";

/// The part of a stage that is its alignment.
pub(crate) const PART: &str = "alignment";

/// The setting that names a file with an alignment.
pub(crate) const STORED: &str = "stored";

impl<'a> Builder<'a> {
    /// What an `align` stage works on; `None` after reporting what is wrong.
    pub(super) fn align_plan(
        &mut self,
        node: &Node,
        stage: &Stage,
        method: &Learned,
        settings: &Map<String, Json>,
        inputs: &[Input],
        with_data: bool,
    ) -> Option<Arc<AlignPlan>> {
        let align = method.align.as_ref()?;
        let models: Vec<&Input> = models(inputs).collect();
        let declared = match self.declared_symmetries(stage, settings) {
            Ok(declared) => declared,
            Err(diagnostic) => {
                self.error(*diagnostic);
                return None;
            }
        };
        let mut found = Vec::new();
        for input in &models {
            found.push(self.symmetries_of(input, declared.as_ref())?);
        }
        let networks = found.iter().filter(|model| model.architecture.is_some()).count();
        if networks != 0 && networks != found.len() {
            let other = models[found.iter().position(|model| model.architecture.is_none())?];
            let diagnostic = Diagnostic::new(
                Code::NetworkNotKnown,
                other.span,
                format!("`{}` is weights without a network, and others here are networks", other.name),
            )
            .help(format!("say what it is: `model {} of mlp(…) from \"…\"`", other.name));
            self.error(diagnostic);
            return None;
        }
        let reference = usize::from(models.first().is_some_and(|input| input.role == "reference"));
        let incoming = Incoming { reference, from: models.len() - reference, data: with_data };
        let places = Places::new(stage);
        let mut own = settings.clone();
        for engine in ["seed", SYMMETRIES, STORED, "batch", "shards"] {
            own.remove(engine);
        }
        let kernel = match align.prepare(&own, incoming) {
            Ok(kernel) => kernel,
            Err(error) => {
                self.refused(node, stage, &places, &error);
                return None;
            }
        };
        if !self.same_units(&models, &found, kernel.unequal()) {
            return None;
        }
        let of_models: Vec<&Symmetries> = found.iter().map(|model| &model.symmetries).collect();
        let widths = match kernel.widths(&of_models) {
            Ok(widths) => widths,
            Err(error) => {
                self.refused(node, stage, &places, &error);
                return None;
            }
        };
        let first = found.first()?;
        let (target, disk) = match &widths {
            None => (first.symmetries.clone(), first.disk.clone()),
            Some(sizes) => (first.symmetries.resized(sizes), first.disk.resized(sizes)),
        };
        let mut architecture = first.architecture;
        if let (Some(index), Some(_)) = (architecture, &widths) {
            let wide = self.experiment.architectures[index].with_widths(|name| {
                let tensor = disk.tensor(name)?;
                Some(disk.shape(tensor))
            });
            match wide {
                Some(wide) => architecture = Some(self.architecture(wide)),
                None => {
                    let text = "the result has other widths, and only those of an `mlp` can change";
                    let error =
                        MethodError::invalid(text).help("align networks of `mlp(…)` with this method");
                    self.refused(node, stage, &places, &error);
                    return None;
                }
            }
        }
        let applies = method.descriptor.ports.iter().any(|port| port.role == "by");
        let given = inputs.iter().any(|input| matches!(input.feed, Feed::Alignment(_)));
        if applies && given == settings.contains_key(STORED) {
            let message = match given {
                true => "alignments come by `by` or by `stored`, not by both",
                false => "there is no alignment to apply",
            };
            self.error(
                Diagnostic::new(Code::MissingEdge, stage.method_span, message)
                    .help("`by NAME.alignment` takes that of a stage, `stored = \"…\"` one in a file"),
            );
            return None;
        }
        let stored =
            settings.get(STORED).and_then(Json::as_str).map(|path| resolve(&self.options.root, path));
        if let Some(path) = stored.as_ref().filter(|path| !path.is_file()) {
            let span = setting_span(stage, STORED);
            let message = format!("there is no alignment `{}`", path.display());
            self.error(
                Diagnostic::new(Code::CannotOpenModel, span, message)
                    .help("one is written by `save NAME.alignment to \"…\"`"),
            );
            return None;
        }
        Some(Arc::new(AlignPlan {
            models: found,
            reference: reference == 1,
            target,
            disk,
            architecture,
            stored,
        }))
    }

    /// Symmetries that the stage declares.
    fn declared_symmetries(
        &self,
        stage: &Stage,
        settings: &Map<String, Json>,
    ) -> Result<Option<Symmetries>, Box<Diagnostic>> {
        let Some(text) = settings.get(SYMMETRIES).and_then(Json::as_str) else { return Ok(None) };
        let span = setting_span(stage, SYMMETRIES);
        let wrong = |message: String| {
            Box::new(Diagnostic::new(Code::NoSymmetries, span, message).help(
                "`fusion symmetries MODEL --text` writes such a description; a file of it is named, or its lines are given with `;` between",
            ))
        };
        let lines = match text.contains(" = ") {
            true => text.to_owned(),
            false => {
                let path = resolve(&self.options.root, text);
                std::fs::read_to_string(&path)
                    .map_err(|error| wrong(format!("`{}` cannot be read: {error}", path.display())))?
            }
        };
        Symmetries::parse(&lines)
            .map(Some)
            .map_err(|error| wrong(format!("the declared symmetries: {error}")))
    }

    /// The symmetries of a model; `None` after reporting that they are not known.
    fn symmetries_of(&mut self, input: &Input, declared: Option<&Symmetries>) -> Option<ModelSymmetries> {
        let Feed::Model { view, .. } = &input.feed else { return None };
        let refuse = |build: &mut Self, message: String, help: Option<String>| {
            let mut diagnostic = Diagnostic::new(Code::NoSymmetries, input.span, message);
            if let Some(help) = help {
                diagnostic = diagnostic.help(help);
            }
            build.error(diagnostic);
        };
        if let Some(NetworkOf { architecture, .. }) = view.network {
            let network = &self.experiment.architectures[architecture];
            let found = match declared {
                None => network.symmetries(),
                Some(declared) => network.declared_symmetries(declared),
            };
            return match found {
                Ok(found) => Some(ModelSymmetries {
                    symmetries: found.flat,
                    disk: found.disk,
                    architecture: Some(architecture),
                    declared: declared.is_some(),
                }),
                Err(error) => {
                    refuse(self, format!("the symmetries of `{}`: {error}", input.name), None);
                    None
                }
            };
        }
        let shapes: Vec<(String, Vec<usize>)> = view
            .tensors
            .iter()
            .map(|(name, entry)| (name.clone(), self.program.tensor(entry.tensor).shape.clone()))
            .collect();
        let source = view.donor.map(|donor| &self.program.sources[donor].checkpoint);
        let beside = source.and_then(|checkpoint| symmetry::beside(checkpoint.path()));
        let config = source.and_then(|checkpoint| checkpoint.config());
        let found = match (declared, beside) {
            (Some(declared), _) => symmetry::of_text(declared.clone(), &shapes),
            (None, Some(file)) => symmetry::of_file(&file, &shapes),
            (None, None) => symmetry::of_names(&shapes, config),
        };
        match found {
            Ok(symmetries) => Some(ModelSymmetries {
                disk: symmetries.clone(),
                symmetries,
                architecture: None,
                declared: declared.is_some(),
            }),
            Err(error) => {
                refuse(
                    self,
                    format!("the symmetries of `{}` are not known: {error}", input.name),
                    error.help(),
                );
                None
            }
        }
    }

    /// All models have the same nodes and tensors, and where the method asks for it the same sizes.
    fn same_units(&mut self, models: &[&Input], found: &[ModelSymmetries], unequal: bool) -> bool {
        let Some(first) = found.first() else { return true };
        for (input, other) in models.iter().zip(found).skip(1) {
            let own = |symmetries: &Symmetries| -> Vec<String> {
                symmetries.nodes.iter().map(|node| node.name.clone()).collect()
            };
            let sizes = |symmetries: &Symmetries| -> Vec<usize> {
                symmetries.nodes.iter().map(|node| node.size).collect()
            };
            let (theirs, ours) = (own(&other.symmetries), own(&first.symmetries));
            let alike =
                other.symmetries.resized(&sizes(&first.symmetries)).tensors == first.symmetries.tensors;
            let mut diagnostic = if theirs != ours || !alike {
                let missing = ours.iter().find(|name| !theirs.contains(name));
                let extra = theirs.iter().find(|name| !ours.contains(name));
                let message = format!(
                    "`{}` has other layers than `{}`: units of networks of different depth or kind cannot be matched",
                    input.name, models[0].name
                );
                let mut diagnostic = Diagnostic::new(Code::ArchitecturesDiffer, input.span, message);
                for (name, word) in [(missing, "it lacks"), (extra, "it has besides")] {
                    if let Some(name) = name {
                        diagnostic = diagnostic.note(format!("{word} the units `{name}`"));
                    }
                }
                diagnostic
            } else if !unequal
                && let Some(at) = (0..ours.len())
                    .find(|at| other.symmetries.nodes[*at].size != first.symmetries.nodes[*at].size)
            {
                let (own, wanted) = (other.symmetries.nodes[at].size, first.symmetries.nodes[at].size);
                let message = format!(
                    "`{}` has {own} units in `{}`, `{}` has {wanted}",
                    input.name, ours[at], models[0].name
                );
                Diagnostic::new(Code::ArchitecturesDiffer, input.span, message)
                    .help("`ot_fusion` matches layers of different width, `pfnm` lets them grow")
            } else {
                continue;
            };
            if let (Some(own), Some(first)) = (other.architecture, first.architecture) {
                diagnostic = diagnostic
                    .label(self.experiment.architectures[own].to_string())
                    .secondary(models[0].span, self.experiment.architectures[first].to_string());
            }
            self.error(diagnostic);
            return false;
        }
        true
    }

    /// Registers the models that an `align` stage makes.
    pub(super) fn aligned(&mut self, id: NodeId, node: &Node, step: &Step, plan: &AlignPlan) {
        let moving: Vec<&Input> = models(&step.inputs).skip(usize::from(plan.reference)).collect();
        for (index, input) in moving.iter().enumerate() {
            let part = format!("models[{index}]");
            let (file, shown) = match moving.len() {
                1 => (step.key.clone(), node.name.clone()),
                _ => (format!("{}/{part}", step.key), format!("{}.{part}", node.name)),
            };
            let view = match (plan.architecture, &input.feed) {
                (Some(architecture), _) => self.declared(&shown, node.span, &file, architecture),
                (None, Feed::Model { view, .. }) => {
                    self.declared_like(&shown, node.span, &file, &view.clone())
                }
                (None, _) => continue,
            };
            let view = Arc::new(view);
            if moving.len() == 1 {
                self.views.insert(id, view.clone());
            }
            self.parts.insert((id, part), view);
        }
    }

    /// A model that will have the tensors of another, and its configuration.
    fn declared_like(&mut self, name: &str, span: Span, key: &str, like: &View) -> View {
        let tensors = like.tensors.iter().map(|(name, entry)| {
            let tensor = self.program.tensor(entry.tensor);
            (name.clone(), tensor.dtype, tensor.shape.clone())
        });
        let checkpoint = Arc::new(Checkpoint::declared(name, tensors.collect::<Vec<_>>()));
        self.program.sources.push(Source {
            name: name.to_owned(),
            path: name.to_owned(),
            span,
            layout: checkpoint.layout(),
            checkpoint: checkpoint.clone(),
            made_by: Some(key.to_owned()),
        });
        let view = self.stored_view(self.program.sources.len() - 1, &checkpoint);
        View { donor: like.donor, tied: like.tied, ..view }
    }

    /// What an alignment's file adds to a stage's key.
    pub(super) fn stored_key(plan: &AlignPlan) -> Option<String> {
        file_key(plan.stored.as_ref()?).ok()
    }
}

/// The models among the inputs, the reference first; alignments are left out.
pub(crate) fn models(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    let of = |role: &'static str| {
        inputs.iter().filter(move |input| {
            matches!(input.feed, Feed::Model { .. } | Feed::Fresh { .. })
                && (input.role == "reference") == (role == "reference")
        })
    };
    of("reference").chain(of("from"))
}

fn setting_span(stage: &Stage, name: &str) -> Span {
    stage.settings.iter().find(|setting| setting.name == name).map_or(stage.method_span, |one| one.value_span)
}
