//! `align`: whose units may change places is found out for every model, from its network, from the names of its tensors, or from what is
//! declared; then the models are held against each other, before a weight is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::diag::{Diagnostic, Severity};
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
use super::apply::BY;
use super::differences::{Difference, difference};
use crate::checkpoint::Checkpoint;
use crate::experiment::{AlignPlan, Feed, Input, ModelSymmetries, Step, Task, file_key};
use crate::method::Learned;
use crate::symmetry::{self, Found};

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
        let applies = method.descriptor.ports.iter().any(|port| port.role == BY);
        let given = self.given(stage, settings, inputs, applies)?;
        let moving: Vec<(&Input, &ModelSymmetries)> =
            models.iter().copied().zip(&found).skip(reference).collect();
        let applied = self.given_fits(&given, settings, &moving).ok()?;
        let of_models: Vec<&Symmetries> = found.iter().map(|model| &model.symmetries).collect();
        let widths = match kernel.widths(&of_models) {
            Ok(widths) => applied.or(widths),
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
        Some(Arc::new(AlignPlan {
            models: found,
            reference: reference == 1,
            target,
            disk,
            architecture,
            stored: given.stored,
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
        // A description has a node with its size, and a path hardly so.
        let described = text.contains(" = ") || (text.contains("node ") && text.contains('['));
        let lines = match described {
            true => text.to_owned(),
            false => {
                let path = resolve(&self.options.root, text);
                std::fs::read_to_string(&path).map_err(|error| {
                    let message = format!("`{}` cannot be read: {error}", path.display());
                    Box::new(Diagnostic { code: Code::CannotReadFile, ..*wrong(message) })
                })?
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
        let donor = view.config.or(view.donor);
        let source = donor.map(|donor| &self.program.sources[donor].checkpoint);
        let beside = source.and_then(|checkpoint| symmetry::beside(checkpoint.path()));
        let config = source.and_then(|checkpoint| checkpoint.config());
        let told = match (declared, &beside) {
            (Some(_), _) => format!("`{}` does not fit the declared symmetries", input.name),
            (None, Some(file)) => {
                format!("`{}` does not fit the symmetries in `{}`", input.name, file.display())
            }
            (None, None) => format!("the symmetries of `{}` are not known", input.name),
        };
        let found = match (declared, beside) {
            (Some(declared), _) => Found::by_text(declared.clone(), &shapes),
            (None, Some(file)) => Found::by_file(&file, &shapes),
            (None, None) => Found::by_names(&shapes, config),
        };
        match found {
            Ok(Found { symmetries, warnings }) => {
                for warning in warnings {
                    self.warn_once(input, format!("`{}`: {warning}", input.name));
                }
                Some(ModelSymmetries {
                    disk: symmetries.clone(),
                    symmetries,
                    architecture: None,
                    declared: declared.is_some(),
                })
            }
            Err(error) => {
                refuse(self, format!("{told}: {error}"), error.help());
                None
            }
        }
    }

    /// What one should know of a model's symmetries, said once for all stages.
    fn warn_once(&mut self, input: &Input, message: String) {
        if !self.diagnostics.iter().any(|said| said.message == message) {
            self.diagnostics.push(
                Diagnostic::new(Code::NoSymmetries, input.span, message)
                    .with_severity(Severity::Warning)
                    .help("`fusion symmetries MODEL` shows what moves with what"),
            );
        }
    }

    /// All models have the same nodes and tensors, and where the method asks for it the same sizes.
    fn same_units(&mut self, models: &[&Input], found: &[ModelSymmetries], unequal: bool) -> bool {
        let Some(first) = found.first() else { return true };
        for (input, other) in models.iter().zip(found).skip(1) {
            let (ours, theirs) = (&first.symmetries.nodes, &other.symmetries.nodes);
            let described =
                difference((&models[0].name, &first.symmetries), (&input.name, &other.symmetries));
            let mut diagnostic = if let Some(Difference { message, notes, help }) = described {
                let mut diagnostic = Diagnostic::new(Code::ArchitecturesDiffer, input.span, message);
                for note in notes {
                    diagnostic = diagnostic.note(note);
                }
                match help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            } else if !unequal && let Some(at) = (0..ours.len()).find(|at| theirs[*at].size != ours[*at].size)
            {
                let message = format!(
                    "`{}` has {} units in `{}`, `{}` has {}",
                    input.name, theirs[at].size, ours[at].name, models[0].name, ours[at].size
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
                    let view = self.declared_like(&shown, node.span, &file, view, &plan.disk);
                    let config = match self.config_of_widths(step, plan, input) {
                        Ok(config) => config,
                        Err(own) => {
                            let message = format!(
                                "`{shown}` has other widths than `{}`, and no model of the recipe has them: its `config.json` will be that of `{}`, with the wrong widths",
                                input.name, input.name
                            );
                            self.diagnostics.push(
                                Diagnostic::new(Code::ArchitecturesDiffer, input.span, message)
                                    .with_severity(Severity::Warning)
                                    .help("correct the numbers in `config.json` before the result is loaded elsewhere"),
                            );
                            own
                        }
                    };
                    View { config, ..view }
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

    /// A model that will have the tensors of another in the widths of the target, and the other's configuration.
    fn declared_like(&mut self, name: &str, span: Span, key: &str, like: &View, target: &Symmetries) -> View {
        let places: BTreeMap<&str, usize> =
            target.tensors.iter().enumerate().map(|(place, tensor)| (tensor.name.as_str(), place)).collect();
        let tensors = like.tensors.iter().map(|(name, entry)| {
            let tensor = self.program.tensor(entry.tensor);
            let shape = places.get(name.as_str()).map(|place| target.shape(*place));
            (name.clone(), tensor.dtype, shape.unwrap_or_else(|| tensor.shape.clone()))
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

    /// The source whose `config.json` says the widths of the result, where that of the moved model says others; as an error that of the moved
    /// model, where no model has these widths.
    fn config_of_widths(
        &self,
        step: &Step,
        plan: &AlignPlan,
        moved: &Input,
    ) -> Result<Option<usize>, Option<usize>> {
        let Feed::Model { view: own, .. } = &moved.feed else { return Ok(None) };
        let sizes = |of: &Symmetries| -> Vec<usize> { of.nodes.iter().map(|node| node.size).collect() };
        let wanted = sizes(&plan.target);
        let fitting: Vec<&Input> = models(&step.inputs)
            .zip(&plan.models)
            .chain(self.makers_models(step))
            .filter(|(_, model)| sizes(&model.symmetries) == wanted)
            .map(|(input, _)| input)
            .collect();
        if fitting.iter().any(|input| std::ptr::eq(*input, moved)) {
            return Ok(own.config);
        }
        match fitting.first().map(|input| &input.feed) {
            Some(Feed::Model { view, .. }) => Ok(view.config.or(view.donor)),
            _ => Err(own.config),
        }
    }

    /// The models of stages whose alignments a stage applies.
    fn makers_models(&self, step: &Step) -> Vec<(&Input, &ModelSymmetries)> {
        let mut found = Vec::new();
        for input in &step.inputs {
            let Feed::Alignment(node) = input.feed else { continue };
            let Some(maker) = self.experiment.step(node) else { continue };
            if let Task::Align(plan) = &maker.task {
                found.extend(models(&maker.inputs).zip(&plan.models));
            }
        }
        found
    }

    /// What an alignment adds to a stage's key beyond its inputs: the file of one that is applied, and the symmetries, which may be declared
    /// in the recipe's files or beside a checkpoint, and depend on configurations and templates.
    pub(super) fn align_key(plan: &AlignPlan) -> Vec<String> {
        let stored = plan.stored.as_ref().and_then(|path| file_key(path).ok());
        let declared = plan.models.iter().flat_map(|model| [&model.symmetries, &model.disk]);
        let texts = declared.map(|symmetries| serde_json::to_string(symmetries).unwrap_or_default());
        stored.into_iter().chain(texts).collect()
    }
}

/// The models among the inputs, the reference first; alignments are left out.
pub(crate) fn models(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    let of = |role: &'static str| {
        inputs.iter().filter(move |input| {
            matches!(input.feed, Feed::Model { .. }) && (input.role == "reference") == (role == "reference")
        })
    };
    of("reference").chain(of("from"))
}

pub(super) fn setting_span(stage: &Stage, name: &str) -> Span {
    stage.settings.iter().find(|setting| setting.name == name).map_or(stage.method_span, |one| one.value_span)
}
