//! Stages on networks and data: inputs are resolved, architectures and data sets held against each other, settings read once.

use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::{Space, Verb};
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Edge, Node, NodeId, NodeKind, Ref, Stage};
use fusion_dsl::span::Span;
use fusion_sdk::MethodError;
use serde_json::{Map, Value as Json};

use super::super::build::Builder;
use super::super::ir::{NetworkOf, Origin, View};
use super::super::lineage::Used;
use super::super::places::Places;
use super::network::given_seed;
use super::{align, parts, settings};
use crate::experiment::frozen::{FrozenError, Patterns};
use crate::experiment::{Feed, Input, Step, Task, stages, step_key};
use crate::method::Learned;

/// The setting that says what becomes of BatchNorm's statistics.
const POLICY: &str = "norm";

/// The setting that says what does not learn.
const FROZEN: &str = "frozen";

impl<'a> Builder<'a> {
    /// A stage whose method works on networks and data.
    pub(in crate::plan) fn learned(
        &mut self,
        id: NodeId,
        node: &'a Node,
        stage: &'a Stage,
        method: &Learned,
    ) {
        let settings = settings(&stage.settings);
        let places = Arc::new(Places::new(stage));
        let (mut inputs, mut data) = (Vec::new(), Vec::new());
        let mut broken = false;
        for edge in &stage.edges {
            let port = method.descriptor.ports.iter().find(|port| port.role == edge.role);
            if port.is_some_and(|port| port.space == Space::Dataset) {
                broken |= !self.experiment.data.contains_key(&edge.input.node);
                data.push((edge.role.clone(), edge.input.node));
            } else {
                match self.input(edge, stage.verb) {
                    Some(input) => inputs.push(input),
                    None => broken = true,
                }
            }
        }
        if broken {
            return; // reported where it is declared
        }
        let architecture = inputs.iter().find_map(|input| self.architecture_of(&input.feed));
        let aligns = match stage.verb {
            Verb::Align => {
                let Some(plan) = self.align_plan(node, stage, method, &settings, &inputs, !data.is_empty())
                else {
                    return;
                };
                Some(plan)
            }
            _ => None,
        };
        if aligns.is_none() && !self.same_architecture(stage, &inputs, architecture)
            || !self.statistics_have_a_policy(stage, method, &inputs, &settings)
            || !self.statistics_have_data(stage, &inputs, &settings, &data)
            || !self.data_fits(stage, architecture, &data)
            || !self.frozen_fits(stage, architecture, &settings)
        {
            return;
        }
        if let Some(plan) = &aligns
            && plan.architecture.is_none()
            && let Some((role, _)) = data.first()
        {
            let edge = stage.edges.iter().find(|edge| edge.role == *role);
            let message = "the models are weights without a network: they cannot be run on data";
            let diagnostic = Diagnostic::new(
                Code::NetworkNotKnown,
                edge.map_or(stage.method_span, |edge| edge.span),
                message,
            )
            .help("say what they are: `model NAME of mlp(…) from \"…\"`, or match weights alone");
            return self.error(diagnostic);
        }
        if aligns.is_none()
            && let Err(error) = stages::check(
                stage.verb,
                &stage.method,
                &settings,
                method,
                inputs.len(),
                self.examples(&data),
            )
        {
            return self.refused(node, stage, &places, &error);
        }
        if !self.landscape_has_a_plane(stage, &inputs) {
            return;
        }
        let collects = match self.collects(stage, &settings, &data) {
            Ok(collects) => collects,
            Err(diagnostic) => return self.error(*diagnostic),
        };
        let of_alignment = aligns.as_deref().map(Self::align_key).unwrap_or_default();
        let task = match (aligns, stage.verb) {
            (Some(plan), _) => Task::Align(plan),
            (None, Verb::Train) => Task::Train { collects },
            (None, Verb::Connect) => Task::Connect,
            (None, Verb::Average) => Task::Point,
            (None, Verb::Repair) => Task::Repair,
            (None, Verb::Ensemble) => Task::Ensemble,
            (None, _) => Task::Evaluate,
        };
        let architecture = match &task {
            Task::Align(plan) => plan.architecture,
            _ => architecture,
        };
        let content = self.graph.keys()[id.0 as usize];
        let needs = self.needs(&inputs);
        let mut made_from = self.fingerprints(stage, &inputs, &data);
        made_from.extend(of_alignment);
        let step = Step {
            node: id,
            name: node.name.clone(),
            verb: Some(stage.verb),
            method: stage.method.clone(),
            task,
            seeded: given_seed(&stage.settings),
            seed: settings.get("seed").and_then(Json::as_u64).unwrap_or(0),
            key: step_key(&content, &made_from, self.options),
            cached: false,
            settings,
            architecture,
            inputs,
            data,
            needs,
            places: Some(places),
            span: node.span,
        };
        self.add(id, node, step);
    }

    /// Registers a step and the models that it will make.
    fn add(&mut self, id: NodeId, node: &Node, mut step: Step) {
        step.cached = self.stored(&step.key);
        if let Task::Align(plan) = step.task.clone() {
            self.aligned(id, node, &step, &plan);
        }
        let makes_model = matches!(step.task, Task::Train { .. } | Task::Point | Task::Repair);
        if let (true, Some(architecture)) = (makes_model, step.architecture) {
            let mut view = self.declared(&node.name, node.span, &step.key, architecture);
            if matches!(step.task, Task::Point)
                && self.experiment.architectures[architecture].has_batch_norm()
            {
                view.network = Some(NetworkOf::made(architecture, true));
            }
            self.views.insert(id, Arc::new(view));
            if let Task::Train { collects } = &step.task {
                for (name, _, count) in collects.clone() {
                    for part in parts::names(&name, count) {
                        let shown = format!("{}.{part}", node.name);
                        let key = format!("{}/{part}", step.key);
                        let mut view = self.declared(&shown, node.span, &key, architecture);
                        // An average over the way has statistics of no one point.
                        let stale =
                            count.is_none() && self.experiment.architectures[architecture].has_batch_norm();
                        view.network = Some(NetworkOf::made(architecture, stale));
                        self.parts.insert((id, part), Arc::new(view));
                    }
                }
            }
        }
        self.experiment.steps.push(step);
    }

    /// What an edge brings in; `None` if it is broken, which has been reported.
    fn input(&mut self, edge: &Edge, verb: Verb) -> Option<Input> {
        let node = self.graph.node(edge.input.node);
        let name = match &edge.input.part {
            Some(part) => format!("{}.{part}", node.name),
            None => node.name.clone(),
        };
        let makes_model = match &node.kind {
            NodeKind::Model { .. } => true,
            NodeKind::Stage(stage) => {
                stage.verb.result() == Space::Model && edge.input.part.as_deref() != Some(align::PART)
            }
            _ => false,
        };
        let feed = if makes_model {
            let view = self.view(&edge.input, edge.span)?;
            match view.network {
                None if verb == Verb::Align => {
                    Feed::Model { between: self.between(&edge.input, &view, edge.span), view }
                }
                None => {
                    self.unknown_network(&edge.input, edge.span);
                    return None;
                }
                Some(_) => Feed::Model { between: self.between(&edge.input, &view, edge.span), view },
            }
        } else if edge.input.part.as_deref() == Some(align::PART) {
            self.experiment.step(edge.input.node)?;
            Feed::Alignment(edge.input.node)
        } else {
            self.experiment.step(edge.input.node)?;
            Feed::Result(edge.input.node)
        };
        Some(Input { role: edge.role.clone(), name, feed, span: edge.span })
    }

    /// The model as an output in the store, if stages on tensors compute any of it.
    fn between(&mut self, reference: &Ref, view: &Arc<View>, span: Span) -> Option<usize> {
        let computed = view
            .tensors
            .values()
            .any(|entry| !matches!(self.program.tensor(entry.tensor).origin, Origin::Stored { .. }));
        if !computed {
            return None;
        }
        let output = self.internal_output(reference.node, view, span);
        let known = self.experiment.between.iter().position(|one| one.key == output.key);
        Some(known.unwrap_or_else(|| {
            self.experiment.between.push(output);
            self.experiment.between.len() - 1
        }))
    }

    fn unknown_network(&mut self, reference: &Ref, span: Span) {
        let name = &self.graph.node(reference.node).name;
        let diagnostic = Diagnostic::new(
            Code::NetworkNotKnown,
            span,
            format!("`{name}` is weights without a network: it cannot be run"),
        )
        .help(format!("say what it is: `model {name} of mlp(…) from \"…\"`"));
        self.error(diagnostic);
    }

    fn architecture_of(&self, feed: &Feed) -> Option<usize> {
        match feed {
            Feed::Model { view, .. } => view.network.map(|network| network.architecture),
            Feed::Result(node) => self.experiment.step(*node)?.architecture,
            Feed::Alignment(_) => None,
        }
    }

    /// All inputs of a stage are the same network, but where only outputs are compared or combined.
    fn same_architecture(&mut self, stage: &Stage, inputs: &[Input], first: Option<usize>) -> bool {
        let known = &self.experiment.architectures;
        let outputs_only = matches!(stage.verb, Verb::Ensemble | Verb::Evaluate);
        let differs = inputs.iter().find(|input| match (self.architecture_of(&input.feed), first) {
            (Some(own), Some(first)) if outputs_only => {
                known[own].outputs() != known[first].outputs() || known[own].input() != known[first].input()
            }
            (own, first) => own.is_some() && own != first,
        });
        let (Some(differs), Some(first)) = (differs, first) else { return true };
        let own = self.architecture_of(&differs.feed).map(|index| known[index].to_string());
        let diagnostic = Diagnostic::new(
            Code::ArchitecturesDiffer,
            differs.span,
            format!("`{}` is another network than `{}`", differs.name, inputs[0].name),
        )
        .label(own.unwrap_or_default())
        .secondary(inputs[0].span, known[first].to_string());
        self.error(diagnostic);
        false
    }

    /// Weights between networks with BatchNorm have no statistics of their own: someone must say where they come from.
    fn statistics_have_a_policy(
        &mut self,
        stage: &Stage,
        method: &Learned,
        inputs: &[Input],
        settings: &Map<String, Json>,
    ) -> bool {
        if settings.contains_key(POLICY)
            || matches!(stage.verb, Verb::Repair | Verb::Train | Verb::Connect | Verb::Align)
        {
            return true;
        }
        let between = |feed: &Feed| match feed {
            Feed::Model { view, .. } => view.network.is_some_and(|network| network.stale),
            Feed::Alignment(_) => false,
            Feed::Result(node) => self.experiment.step(*node).is_some_and(|step| {
                matches!(step.task, Task::Connect)
                    && step
                        .architecture
                        .is_some_and(|index| self.experiment.architectures[index].has_batch_norm())
            }),
        };
        let Some(input) = inputs.iter().find(|input| between(&input.feed)) else { return true };
        if stage.verb == Verb::Average {
            return true; // a point of a path is stale itself; who uses it is asked
        }
        let takes = method.descriptor.parameters().iter().any(|parameter| parameter.name == POLICY);
        let mut diagnostic = Diagnostic::new(
            Code::NoStatistics,
            input.span,
            format!(
                "`{}` lies between networks with BatchNorm: its running statistics belong to none of them",
                input.name
            ),
        )
        .note("means and variances of activations do not follow when weights are averaged or interpolated");
        diagnostic = if takes {
            diagnostic.help(
                "say what they are: `norm = reset` (measured again at every point), `keep` (interpolated), `ema` or `batch`",
            )
        } else {
            diagnostic.help(format!(
                "measure them again first: `repair NAME using batch_norm {{ from {}; data … }}`",
                input.name
            ))
        };
        self.error(diagnostic);
        false
    }

    /// Statistics that are measured again need data to measure them on.
    fn statistics_have_data(
        &mut self,
        stage: &Stage,
        inputs: &[Input],
        settings: &Map<String, Json>,
        data: &[(String, NodeId)],
    ) -> bool {
        let counted =
            settings.get(POLICY).and_then(Json::as_str).is_some_and(|word| ["reset", "ema"].contains(&word));
        let normed = inputs.iter().any(|input| {
            let index = self.architecture_of(&input.feed);
            index.is_some_and(|index| self.experiment.architectures[index].has_batch_norm())
        });
        if !counted || !normed || data.iter().any(|(role, _)| role == "train") {
            return true;
        }
        let span = stage
            .settings
            .iter()
            .find(|setting| setting.name == POLICY)
            .map_or(stage.method_span, |one| one.span);
        let diagnostic = Diagnostic::new(
            Code::NoStatistics,
            span,
            "the statistics are to be measured with training data, and none is connected",
        )
        .help("add `train NAME` with the data that the networks were trained on");
        self.error(diagnostic);
        false
    }

    /// Data sets must be what the network takes and answers.
    fn data_fits(&mut self, stage: &Stage, architecture: Option<usize>, data: &[(String, NodeId)]) -> bool {
        let Some(index) = architecture else { return true };
        let mut fits = true;
        for (role, node) in data {
            let (network, plan) = (&self.experiment.architectures[index], &self.experiment.data[node]);
            let span = stage
                .edges
                .iter()
                .find(|edge| edge.role == *role && edge.input.node == *node)
                .map_or(plan.span, |edge| edge.span);
            let (takes, shape) = (network.input().to_vec(), plan.facts.shape.clone());
            let flat = takes.len() == 1 && takes[0] == shape.iter().product::<usize>();
            let wrong = if takes != shape && !flat {
                Some(format!("an example of `{}` is {shape:?}, the network takes {takes:?}", plan.name))
            } else {
                let more = plan.facts.classes.filter(|classes| *classes > network.outputs());
                more.map(|classes| {
                    let outputs = network.outputs();
                    format!("`{}` has {classes} classes, the network has {outputs} outputs", plan.name)
                })
            };
            if let Some(message) = wrong {
                let network = network.to_string();
                self.error(
                    Diagnostic::new(Code::DataDoesNotFit, span, message)
                        .note(format!("the network is {network}")),
                );
                fits = false;
            }
        }
        fits
    }

    /// What does not learn is there, and is not everything.
    fn frozen_fits(
        &mut self,
        stage: &Stage,
        architecture: Option<usize>,
        settings: &Map<String, Json>,
    ) -> bool {
        let (Verb::Train, Some(index), Some(texts)) =
            (stage.verb, architecture, settings.get(FROZEN).and_then(Json::as_array))
        else {
            return true;
        };
        let texts: Vec<String> = texts.iter().filter_map(Json::as_str).map(str::to_owned).collect();
        let network = &self.experiment.architectures[index];
        let found = Patterns::new(&texts).and_then(|patterns| patterns.check(&network.tensors()));
        let (Err(error), network) = (found, network.to_string()) else { return true };
        let span = stage.settings.iter().find(|setting| setting.name == FROZEN);
        let span = span.map_or(stage.method_span, |setting| setting.value_span);
        let code = match error {
            FrozenError::Pattern { .. } => Code::BadPattern,
            FrozenError::Nothing { .. } => Code::MatchesNothing,
            FrozenError::Everything => Code::MethodFailed,
        };
        let diagnostic = Diagnostic::new(code, span, error.to_string());
        let diagnostic = match error {
            FrozenError::Nothing { near: Some(near), .. } => diagnostic
                .help(format!("did you mean `{near}`?"))
                .note("a pattern matches whole names of tensors or of layers, as in `on`"),
            FrozenError::Everything => diagnostic.help("name fewer layers, or leave the training out"),
            _ => diagnostic,
        };
        self.error(diagnostic.note(format!("the network is {network}")));
        false
    }

    /// What a `train` stage collects, with the number of models of each.
    fn collects(
        &self,
        stage: &Stage,
        settings: &Map<String, Json>,
        data: &[(String, NodeId)],
    ) -> Result<Vec<parts::Collected>, Box<Diagnostic>> {
        if stage.verb != Verb::Train {
            return Ok(Vec::new());
        }
        parts::collects(stage, settings, self.examples(data).unwrap_or(1))
    }

    /// How many examples a stage trains on, where that is known.
    fn examples(&self, data: &[(String, NodeId)]) -> Option<usize> {
        let (_, node) = data.iter().find(|(role, _)| role == "data")?;
        self.experiment.data.get(node)?.facts.examples
    }

    /// A map is that of a plane; other paths are drawn on it.
    fn landscape_has_a_plane(&mut self, stage: &Stage, inputs: &[Input]) -> bool {
        if (stage.verb, stage.method.as_str()) != (Verb::Evaluate, "landscape") {
            return true;
        }
        let paths = inputs.iter().filter_map(|input| match input.feed {
            Feed::Result(node) if input.role == "path" => self.experiment.step(node),
            _ => None,
        });
        let methods: Vec<&str> = paths.map(|step| step.method.as_str()).collect();
        let planes = methods.iter().filter(|method| **method == "plane").count();
        if planes == 1 {
            return true;
        }
        let message = format!("a landscape is that of one plane, {planes} are connected to `path`");
        let mut diagnostic = Diagnostic::new(Code::MethodFailed, stage.method_span, message);
        if methods.iter().any(|method| ["subspace", "simplex"].contains(method)) {
            diagnostic = diagnostic.note(
                "the corners of a simplex are models: `average NAME using point { path PATH; at = 0 }`, and so on up to `at = 1`",
            );
        }
        self.error(
            diagnostic
                .help("make one with `connect NAME using plane { from [A, B, C] }` and connect it to `path`"),
        );
        false
    }

    /// What the result depends on beyond the recipe's text.
    fn fingerprints(&self, stage: &Stage, inputs: &[Input], data: &[(String, NodeId)]) -> Vec<String> {
        // Names are no content, but files are called by those of clauses, and scores by those of what was measured.
        let named = matches!(stage.verb, Verb::Evaluate | Verb::Ensemble);
        let mut found: Vec<String> = stage.collects.iter().map(|collect| collect.name.clone()).collect();
        for input in inputs {
            if named {
                found.push(input.name.clone());
            }
            match &input.feed {
                Feed::Alignment(node) | Feed::Result(node) => {
                    found.extend(self.experiment.step(*node).map(|step| step.key.clone()))
                }
                Feed::Model { view, .. } => found.push(self.view_key(view)),
            }
        }
        for plan in data.iter().filter_map(|(_, node)| self.experiment.data.get(node)) {
            if named {
                found.push(plan.name.clone());
            }
            found.push(plan.key.clone());
        }
        found
    }

    /// The steps that make the inputs.
    fn needs(&self, inputs: &[Input]) -> Vec<NodeId> {
        let mut found = Vec::new();
        for input in inputs {
            match &input.feed {
                Feed::Alignment(node) | Feed::Result(node) => found.push(*node),
                Feed::Model { view, .. } => {
                    let read = Used::of(&self.program, view);
                    found.extend(
                        read.makers(&self.program, &self.experiment).into_iter().map(|step| step.node),
                    );
                }
            }
        }
        found
    }

    pub(super) fn refused(&mut self, node: &Node, stage: &Stage, places: &Places, error: &MethodError) {
        let span = places.blamed(error);
        let message = format!("`{}` of `{}`: {}", stage.method, node.name, error.message);
        let mut diagnostic = Diagnostic::new(Code::MethodFailed, span, message);
        if let Some(help) = &error.help {
            diagnostic = diagnostic.help(help.clone());
        }
        self.error(diagnostic);
    }

    /// Whether what a stage on tensors has computed is still a network, and whose statistics it has.
    pub(in crate::plan) fn mixed_network(&self, inputs: &[Arc<View>]) -> Option<NetworkOf> {
        let first = inputs.first()?.network?;
        let same =
            inputs.iter().all(|view| view.network.is_some_and(|own| own.architecture == first.architecture));
        let norm = self.experiment.architectures[first.architecture].has_batch_norm();
        let stale = norm && (inputs.len() > 1 || first.stale);
        same.then_some(NetworkOf::made(first.architecture, stale))
    }
}
