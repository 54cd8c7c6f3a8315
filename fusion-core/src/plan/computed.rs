//! Stages that compute: the inputs are matched by name and shape, settings resolved per tensor, kernels prepared once to see
//! whether they accept them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::KernelClass;
use fusion_dsl::diag::{Diagnostic, Severity};
use fusion_dsl::glob;
use fusion_dsl::graph::{Node, NodeId, Rule, Selector, Stage, Value};
use fusion_dsl::span::Span;
use fusion_sdk::{ErrorKind, MethodError, Scope};

use super::build::Builder;
use super::ir::{Member, Origin, Position, StageProgram, TensorId, TensorNode, View, ViewEntry};
use super::outputs::size;
use super::places::Places;
use super::report::{CopyReport, StageReport, stage_settings};
use super::settings::StageSettings;
use crate::checkpoint::{is_input_embedding, is_output_head};
use crate::method::Entry;
use crate::tensor::Dtype;

impl<'a> Builder<'a> {
    pub(super) fn computed(&mut self, id: NodeId, node: &'a Node, stage: &'a Stage, entry: &'a Entry) {
        let inputs: Option<Vec<Arc<View>>> = stage
            .edges
            .iter()
            .map(|edge| self.view(&edge.input, edge.span))
            .collect::<Vec<_>>()
            .into_iter()
            .collect();
        let Some(inputs) = inputs else { return };
        let Some(first) = inputs.first() else { return };
        let specs = entry.descriptor.parameters();
        let mut settings = StageSettings::new(stage, &entry.descriptor.ports, &specs, first.layers);

        if !self.same_layers(stage, &inputs) {
            return;
        }
        let names: BTreeSet<&String> = inputs.iter().flat_map(|view| view.tensors.keys()).collect();
        self.check_rules(node, &settings, &inputs[0], &names);

        let mut view = first.like();
        #[cfg(feature = "learn")]
        {
            view.network = self.mixed_network(&inputs);
        }
        let stage_index = self.program.stages.len();
        let mut groups: Vec<Vec<Member>> = Vec::new();
        let mut copies: BTreeMap<(String, Span), Vec<String>> = BTreeMap::new();
        let mut identical = 0;
        let mut missing = Missing::default();
        let mut prepared: HashSet<(*const super::ir::Resolved, Vec<usize>)> = HashSet::new();
        let scope = match entry.method.as_ref().map(|method| method.scope(&settings.stage_level())) {
            Some(Ok(scope)) => scope,
            Some(Err(error)) => {
                self.method_error(node, stage, &error, None);
                return;
            }
            // A plugin's method that is only declared: what its class does unless it says otherwise.
            None => match entry.descriptor.kernel {
                KernelClass::WholeModel => Scope::Model,
                KernelClass::Group => Scope::Layer,
                _ => Scope::Tensor,
            },
        };
        let mut group_of: HashMap<u32, usize> = HashMap::new();
        let mut refused = BTreeSet::new();
        let places = Arc::new(Places::new(stage));
        for &name in &names {
            let position =
                inputs.iter().find_map(|v| v.tensors.get(name)).map_or(Position::After, |e| e.position);
            if let Some(copy) = settings.copy(name, position) {
                if let Some(entry) = self.copied(name, &copy.value, copy.value_span) {
                    let from = match &copy.value {
                        Value::Node(reference) => self.graph.node(reference.node).name.clone(),
                        _ => String::new(),
                    };
                    copies.entry((from, copy.span)).or_default().push(name.clone());
                    view.tensors.insert(name.clone(), entry);
                }
                continue;
            }
            let found: Vec<Option<ViewEntry>> = inputs.iter().map(|v| v.tensors.get(name).copied()).collect();
            if found.iter().any(Option::is_none) {
                missing.note(name, &found);
                continue;
            }
            let entries: Vec<ViewEntry> = found.into_iter().flatten().collect();
            let ids: Vec<TensorId> = entries.iter().map(|entry| entry.tensor).collect();
            if !self.same_shape(stage, name, &ids) {
                continue;
            }
            let dtypes: Vec<Dtype> = ids.iter().map(|id| self.program.tensor(*id).dtype).collect();
            let shape = self.program.tensor(ids[0]).shape.clone();
            if dtypes.iter().all(|dtype| !dtype.is_float()) {
                if dtypes.iter().any(|dtype| *dtype != dtypes[0]) {
                    self.mixed(stage, name, &dtypes);
                    continue;
                }
                let dtype = dtypes[0];
                let tensor =
                    self.program.push(TensorNode { shape, dtype, origin: Origin::Identical { of: ids } });
                identical += 1;
                view.tensors.insert(name.clone(), ViewEntry { tensor, position });
                continue;
            }
            if dtypes.iter().any(|dtype| !dtype.is_float()) {
                self.mixed(stage, name, &dtypes);
                continue;
            }
            let dtype = if dtypes.iter().all(|dtype| *dtype == dtypes[0]) { dtypes[0] } else { Dtype::F32 };
            let resolved = settings.resolve(name, position);
            let group = match (scope, position) {
                (Scope::Model, _) => 0,
                (Scope::Layer, Position::Layer(layer)) => *group_of.entry(layer).or_insert(groups.len()),
                _ => groups.len(),
            };
            if groups.len() <= group {
                groups.push(Vec::new());
            }
            let tensor = self.program.push(TensorNode {
                shape: shape.clone(),
                dtype,
                origin: Origin::Computed {
                    stage: stage_index,
                    group,
                    member: groups[group].len(),
                    inputs: ids,
                },
            });
            let fresh = prepared.insert((Arc::as_ptr(&resolved), shape.clone()));
            groups[group].push(Member { name: name.clone(), position, shape, settings: resolved, tensor });
            view.tensors.insert(name.clone(), ViewEntry { tensor, position });
            if fresh && scope == Scope::Tensor {
                let one = StageProgram {
                    name: node.name.clone(),
                    method: stage.method.clone(),
                    groups: vec![vec![groups[group][groups[group].len() - 1].clone()]],
                    seed: 0,
                    inputs: Vec::new(),
                    layers: first.layers,
                    places: places.clone(),
                };
                self.try_prepare(node, stage, entry, (&one, 0), name, &mut refused);
            }
        }
        self.report_missing(stage, &inputs, &missing);
        let seed = stage
            .settings
            .iter()
            .find(|setting| setting.name == "seed")
            .and_then(|setting| if let Value::Number(n) = setting.value { Some(n as u64) } else { None })
            .unwrap_or(0);
        let program = StageProgram {
            name: node.name.clone(),
            method: stage.method.clone(),
            groups,
            seed,
            inputs: stage.edges.iter().map(|edge| self.graph.node(edge.input.node).name.clone()).collect(),
            layers: first.layers,
            places: places.clone(),
        };
        match scope {
            Scope::Tensor => {}
            Scope::Model if program.groups.is_empty() => {}
            Scope::Model => {
                self.try_prepare(node, stage, entry, (&program, 0), "all tensors", &mut refused);
            }
            Scope::Layer => {
                for (index, group) in program.groups.iter().enumerate() {
                    self.try_prepare(node, stage, entry, (&program, index), &group[0].name, &mut refused);
                }
            }
        }
        self.check_memory(node, stage, &program, entry);
        let computed = program.groups.iter().map(Vec::len).sum();
        let report = StageReport {
            node: id,
            name: node.name.clone(),
            verb: stage.verb.word().to_owned(),
            method: stage.method.clone(),
            kernel: entry.descriptor.kernel.words().to_owned(),
            passes: entry.descriptor.passes,
            inputs: program.inputs.clone(),
            tensors: view.tensors.len(),
            computed,
            identical,
            copies: copies
                .into_iter()
                .map(|((from, span), names)| CopyReport { from, tensors: names.len(), names, span })
                .collect(),
            layers: view.layers,
            parameters: view.tensors.values().map(|entry| self.program.tensor(entry.tensor).len()).sum(),
            seed: entry.descriptor.random.then_some(seed),
            settings: stage_settings(&settings, &specs, &program),
            runs_on: String::new(),
        };
        self.program.stages.push(program);
        self.stages.push(report);
        self.views.insert(id, Arc::new(view));
    }

    fn try_prepare(
        &mut self,
        node: &Node,
        stage: &Stage,
        entry: &Entry,
        (program, group): (&StageProgram, usize),
        name: &str,
        refused: &mut BTreeSet<String>,
    ) {
        let Some(method) = &entry.method else { return };
        if let Err(error) = method.prepare(&program.raw_group(group))
            && refused.insert(error.message.clone())
        {
            self.method_error(node, stage, &error, Some(name));
        }
    }

    /// What a method must hold at once has to fit the budget; it is known before anything is read.
    fn check_memory(&mut self, node: &Node, stage: &Stage, program: &StageProgram, entry: &Entry) {
        if !matches!(entry.descriptor.kernel, KernelClass::WholeTensor | KernelClass::Group) {
            return;
        }
        let needs = |group: usize| crate::engine::group_bytes(&self.program, program, group);
        let Some((needed, group)) = (0..program.groups.len()).map(|group| (needs(group), group)).max() else {
            return;
        };
        if needed > self.options.memory {
            let first = &program.groups[group][0].name;
            let more = program.groups[group].len() - 1;
            let what =
                if more == 0 { format!("`{first}`") } else { format!("`{first}` and {more} more tensors") };
            let diagnostic = Diagnostic::new(
                Code::NotEnoughMemory,
                stage.method_span,
                format!(
                    "`{}` of `{}` holds {what} at once, which takes {}; the budget is {}",
                    program.method,
                    node.name,
                    size(needed),
                    size(self.options.memory)
                ),
            )
            .note("all inputs and the output, in f32")
            .help(format!(
                "raise `--memory`, or take it from one model with `on \"{first}\" {{ copy = {} }}`",
                program.inputs.first().map_or("MODEL", String::as_str)
            ));
            self.error(diagnostic);
        }
    }

    /// A method's refusal, at the setting or input that it blames.
    fn method_error(&mut self, node: &Node, stage: &Stage, error: &MethodError, tensor: Option<&str>) {
        let code = match error.kind {
            ErrorKind::ZeroSum => Code::ZeroSumWeights,
            ErrorKind::Cancelling => Code::CancellingWeights,
            ErrorKind::Shape => Code::ShapesDiffer,
            ErrorKind::Invalid | ErrorKind::Failed | ErrorKind::Cancelled => Code::MethodFailed,
        };
        let span = Places::new(stage).blamed(error);
        let mut diagnostic =
            Diagnostic::new(code, span, format!("`{}` of `{}`: {}", stage.method, node.name, error.message))
                .with_severity(Severity::Error);
        if let Some(tensor) = tensor {
            diagnostic = diagnostic.note(format!("found while preparing `{tensor}`; no weights were read"));
        }
        if let Some(help) = &error.help {
            diagnostic = diagnostic.help(help.clone());
        }
        self.error(diagnostic);
    }

    fn copied(&mut self, name: &str, value: &Value, span: Span) -> Option<ViewEntry> {
        let Value::Node(reference) = value else { return None };
        let view = self.view(reference, span)?;
        let found = view.tensors.get(name).copied();
        if found.is_none() {
            let model = &self.graph.node(reference.node).name;
            self.diagnostics.push(Diagnostic::new(
                Code::MissingTensors,
                span,
                format!("`{model}` has no tensor `{name}` to copy"),
            ));
        }
        found
    }

    fn same_layers(&mut self, stage: &Stage, inputs: &[Arc<View>]) -> bool {
        let Some(other) = inputs.iter().position(|view| view.layers != inputs[0].layers) else { return true };
        let label = |view: &View| counted(view.layers as u64, "layer");
        let diagnostic = Diagnostic::new(
            Code::LayerCountsDiffer,
            stage.edges[other].span,
            "the models cannot be combined: their layer counts differ",
        )
        .label(label(&inputs[other]))
        .secondary(stage.edges[0].span, label(&inputs[0]))
        .note("read from the headers; no weights were loaded")
        .help("`stitch` can cut both to the same layers first");
        self.error(diagnostic);
        false
    }

    fn same_shape(&mut self, stage: &Stage, name: &str, ids: &[TensorId]) -> bool {
        let shapes: Vec<&Vec<usize>> = ids.iter().map(|id| &self.program.tensor(*id).shape).collect();
        let Some(other) = shapes.iter().position(|shape| *shape != shapes[0]) else { return true };
        let (a, b) = (format!("{:?}", shapes[0]), format!("{:?}", shapes[other]));
        let vocabulary = (is_input_embedding(name) || is_output_head(name))
            && shapes[0].len() == shapes[other].len()
            && shapes[0][1..] == shapes[other][1..];
        let already = self.diagnostics.iter().filter(|d| d.code == Code::ShapesDiffer).count();
        if already >= 8 {
            return false; // one shape difference usually repeats in every layer
        }
        let mut diagnostic = Diagnostic::new(
            Code::ShapesDiffer,
            stage.edges[other].span,
            format!("`{name}` has other shapes in the models"),
        )
        .label(b)
        .secondary(stage.edges[0].span, a)
        .note("read from the headers; no weights were loaded");
        let base = &self.graph.node(stage.edges[0].input.node).name;
        diagnostic = diagnostic.help(if vocabulary {
            format!("the vocabularies differ: take this tensor from one model with `on \"{name}\" {{ copy = {base} }}`")
        } else {
            format!("take it from one model with `on \"{name}\" {{ copy = {base} }}`")
        });
        self.error(diagnostic);
        false
    }

    fn mixed(&mut self, stage: &Stage, name: &str, dtypes: &[Dtype]) {
        let words: Vec<String> = dtypes.iter().map(ToString::to_string).collect();
        let base = &self.graph.node(stage.edges[0].input.node).name;
        let diagnostic = Diagnostic::new(
            Code::WrongDtype,
            stage.edges[0].span,
            format!("`{name}` cannot be combined: its dtypes are {}", words.join(", ")),
        )
        .note("whole numbers are copied where all models agree, floats are computed; a mixture is neither")
        .help(format!("take it from one model with `on \"{name}\" {{ copy = {base} }}`"));
        self.error(diagnostic);
    }

    fn check_rules(
        &mut self,
        node: &Node,
        settings: &StageSettings<'_>,
        first: &View,
        names: &BTreeSet<&String>,
    ) {
        let rules: Vec<(&Rule, Option<usize>)> = settings.rules().collect();
        let mut hits = vec![0_usize; rules.len()];
        for &name in names {
            let position = first.tensors.get(name).map_or(Position::After, |entry| entry.position);
            for (hit, matched) in hits.iter_mut().zip(settings.matching(name, position)) {
                *hit += usize::from(matched);
            }
        }
        for ((rule, _), hits) in rules.iter().zip(hits) {
            if let Selector::Layers { start, end } = rule.selector
                && end > first.layers
                && !rule.optional
            {
                let diagnostic = Diagnostic::new(
                    Code::MatchesNothing,
                    rule.span,
                    format!(
                        "`{}` has {} layers: {start}..{end} reaches beyond them",
                        node.name, first.layers
                    ),
                )
                .help(format!("layers are counted from 0; the last is {}", first.layers.saturating_sub(1)));
                self.error(diagnostic);
                continue;
            }
            if hits > 0 || rule.optional {
                continue;
            }
            let mut diagnostic =
                Diagnostic::new(Code::MatchesNothing, rule.span, "no tensor matches this pattern")
                    .label(format!("matches none of {} tensors of `{}`", names.len(), node.name));
            if let Selector::Glob(pattern) = &rule.selector {
                let all: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                if let Some((better, count)) = glob::nearest(pattern, &all) {
                    diagnostic =
                        diagnostic.help(format!("`{better}` matches {}", counted(count as u64, "tensor")));
                }
            }
            self.error(diagnostic.note("write `on? …` if it may match nothing"));
        }
    }

    fn report_missing(&mut self, stage: &Stage, inputs: &[Arc<View>], missing: &Missing) {
        for (input, names) in &missing.by_input {
            let model = &self.graph.node(stage.edges[*input].input.node).name;
            let have: Vec<&str> = stage
                .edges
                .iter()
                .enumerate()
                .filter(|(index, _)| inputs[*index].tensors.contains_key(&names[0]))
                .map(|(_, edge)| self.graph.node(edge.input.node).name.as_str())
                .collect();
            let mut diagnostic = Diagnostic::new(
                Code::MissingTensors,
                stage.edges[*input].span,
                format!(
                    "`{model}` lacks {} that other inputs have: {}",
                    if names.len() == 1 { "a tensor".to_owned() } else { format!("{} tensors", names.len()) },
                    fusion_dsl::suggest::list(names.iter().map(String::as_str), 4)
                ),
            )
            .note(format!("{} has them", fusion_dsl::suggest::list(have.iter().copied(), 3)))
            .note("read from the headers; no weights were loaded");
            if inputs[*input].tied && names.iter().any(|name| name.contains("lm_head")) {
                diagnostic = diagnostic.note(format!("`{model}` ties its head to the embeddings"));
            }
            if let Some(donor) = have.first() {
                diagnostic = diagnostic.help(format!(
                    "take them from one model with `on \"{}\" {{ copy = {donor} }}`",
                    names[0]
                ));
            }
            self.error(diagnostic);
        }
    }
}

/// Tensors that not every input has.
#[derive(Default)]
struct Missing {
    by_input: BTreeMap<usize, Vec<String>>,
}

impl Missing {
    fn note(&mut self, name: &str, found: &[Option<ViewEntry>]) {
        for (input, _) in found.iter().enumerate().filter(|(_, entry)| entry.is_none()) {
            self.by_input.entry(input).or_default().push(name.to_owned());
        }
    }
}

/// `1 layer`, `22 layers`.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
