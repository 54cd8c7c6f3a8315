//! What a plan says of itself: the data behind `fusion plan`, `--json` and the model card.

use std::collections::BTreeMap;

use fusion_dsl::descriptor::KernelClass;
use fusion_dsl::descriptor::ParamSpec;
use fusion_dsl::graph::{Graph, NodeId};
use fusion_dsl::span::Span;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::build::Builder;
use super::facts::Verdict;
use super::ir::{Member, StageProgram};
use super::lineage::{ancestors, loop_index};
use super::outputs::State;
use super::settings::StageSettings;

/// A whole plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// Checkpoints and adapters.
    pub inputs: Vec<InputReport>,
    /// Stages in the order in which they are computed.
    pub stages: Vec<StageReport>,
    /// Stages on networks and data, in order.
    #[cfg(feature = "learn")]
    pub steps: Vec<crate::experiment::StepReport>,
    /// What is written.
    pub outputs: Vec<OutputReport>,
    /// `expect`s that headers decide.
    pub expects: Vec<Verdict>,
    /// Totals.
    pub cost: Cost,
    /// Device of the apply passes.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
}

/// An input.
#[derive(Clone, Debug, Serialize)]
pub struct InputReport {
    /// Name in the recipe.
    pub name: String,
    /// As written.
    pub path: String,
    /// What kind of checkpoint.
    pub kind: String,
    /// Tensors.
    pub tensors: usize,
    /// Elements.
    pub parameters: u64,
    /// Layers of the main stack.
    pub layers: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes by dtype.
    pub dtypes: BTreeMap<String, u64>,
}

/// A stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// Its node.
    pub node: NodeId,
    /// Name in the recipe.
    pub name: String,
    /// Verb.
    pub verb: String,
    /// Method.
    pub method: String,
    /// Kernel class.
    pub kernel: String,
    /// Observe passes that are usual.
    pub passes: u32,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Tensors of the result.
    pub tensors: usize,
    /// Of these, computed.
    pub computed: usize,
    /// Of these, whole numbers that must be equal in all inputs.
    pub identical: usize,
    /// Of these, copied.
    pub copies: Vec<CopyReport>,
    /// Layers of the result.
    pub layers: u32,
    /// Elements of the result.
    pub parameters: u64,
    /// Seed, for methods that draw.
    pub seed: Option<u64>,
    /// Settings.
    pub settings: Vec<SettingReport>,
    /// `fused cpu`, or the burn device.
    pub runs_on: String,
}

impl StageReport {
    /// All settings on one line, to compare runs.
    pub fn summary(&self) -> String {
        summary(&self.method, &self.settings, self.seed)
    }
}

/// A method with its settings on one line.
pub(super) fn summary(method: &str, settings: &[SettingReport], seed: Option<u64>) -> String {
    let mut parts = vec![method.to_owned()];
    for setting in settings {
        let of = setting.input.as_ref().map(|input| format!(" of {input}")).unwrap_or_default();
        parts.push(format!("{}{of} {}", setting.name, setting.value));
        parts.extend(setting.exceptions.iter().map(|e| format!("({} on {} tensors)", e.value, e.tensors)));
    }
    if let Some(seed) = seed {
        parts.push(format!("seed {seed}"));
    }
    parts.join(", ")
}

/// A stage of those that an output is made by.
pub(crate) struct StageBefore {
    /// Name in the recipe.
    pub(crate) name: String,
    /// Verb.
    pub(crate) verb: String,
    /// Method and settings on one line.
    pub(crate) summary: String,
}

/// The stages that a node is made by, in the order of the recipe.
pub(crate) fn stages_before(
    graph: &Graph,
    node: NodeId,
    stages: &[StageReport],
    #[cfg(feature = "learn")] steps: &[crate::experiment::StepReport],
) -> Vec<StageBefore> {
    let before = ancestors(graph, node);
    let mut found: Vec<(NodeId, StageBefore)> = stages
        .iter()
        .filter(|stage| before.contains(&stage.node))
        .map(|stage| {
            let (name, verb) = (stage.name.clone(), stage.verb.clone());
            (stage.node, StageBefore { name, verb, summary: stage.summary() })
        })
        .collect();
    #[cfg(feature = "learn")]
    found.extend(steps.iter().filter(|step| before.contains(&step.node)).map(|step| {
        let (name, verb) = (step.name.clone(), step.verb.clone());
        (step.node, StageBefore { name, verb, summary: step.summary() })
    }));
    // Models of a loop are of one item.
    found.sort_by_key(|(node, stage)| (graph.node(*node).span, loop_index(&stage.name)));
    found.into_iter().map(|(_, stage)| stage).collect()
}

impl Builder<'_> {
    /// Stages that a node is made by, with their settings on one line, for its record.
    pub(super) fn settings_before(&self, node: NodeId) -> Vec<(String, String)> {
        #[cfg(feature = "learn")]
        let steps = self.experiment.step_reports(self.graph, self.registry);
        let stages = stages_before(
            self.graph,
            node,
            &self.stages,
            #[cfg(feature = "learn")]
            &steps,
        );
        stages.into_iter().map(|stage| (stage.name, stage.summary)).collect()
    }
}

impl PlanReport {
    /// The stages that a node is made by, in the order of the recipe.
    pub(crate) fn stages_before(&self, graph: &Graph, node: NodeId) -> Vec<StageBefore> {
        stages_before(
            graph,
            node,
            &self.stages,
            #[cfg(feature = "learn")]
            &self.steps,
        )
    }
}

/// Tensors that are copied.
#[derive(Clone, Debug, Serialize)]
pub struct CopyReport {
    /// From which model.
    pub from: String,
    /// How many.
    pub tensors: usize,
    /// Their names.
    pub names: Vec<String>,
    /// The rule or clause that says so.
    #[serde(serialize_with = "offsets")]
    pub span: Span,
}

/// One parameter over the tensors of a stage.
#[derive(Clone, Debug, Serialize)]
pub struct SettingReport {
    /// Parameter.
    pub name: String,
    /// Input, for per-input parameters.
    pub input: Option<String>,
    /// The usual value, or `first → last` where a schedule varies it over layers.
    pub value: String,
    /// Where it was written; none for a default.
    #[serde(serialize_with = "offsets")]
    pub span: Span,
    /// Whether it is the schema's default.
    pub default: bool,
    /// Where rules say otherwise.
    pub exceptions: Vec<ExceptionReport>,
}

/// Another value for some tensors.
#[derive(Clone, Debug, Serialize)]
pub struct ExceptionReport {
    /// The value, or `first → last`.
    pub value: String,
    /// For how many tensors.
    pub tensors: usize,
    /// The rule's setting.
    #[serde(serialize_with = "offsets")]
    pub span: Span,
}

/// An output.
#[derive(Clone, Debug, Serialize)]
pub struct OutputReport {
    /// Saved model.
    pub name: String,
    /// As written.
    pub path: String,
    /// Tensors.
    pub tensors: usize,
    /// Elements.
    pub parameters: u64,
    /// Bytes of the tensors.
    pub bytes: u64,
    /// Shards.
    pub shards: usize,
    /// Dtypes with bytes.
    pub dtypes: BTreeMap<String, u64>,
    /// What will happen, and why.
    #[serde(flatten)]
    pub state: State,
    /// `config.json` comes from here.
    pub config: Option<String>,
    /// Tokenizer files come from here.
    pub tokenizer: Option<String>,
}

/// What the whole plan costs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// Bytes read from inputs, all passes.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Passes over the data: observe passes and the apply pass.
    pub passes: u32,
    /// Our own buffers at their peak.
    pub memory: u64,
    /// Rough time on this machine, from the rates in BENCHMARKS.md.
    pub seconds: f64,
}

/// Spans are byte offsets in JSON; the command adds lines.
fn offsets<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    if span.is_none() { serializer.serialize_none() } else { serializer.collect_seq([span.start, span.end]) }
}

/// A value as people read it.
pub(super) fn show(spec: &ParamSpec, value: &Json) -> String {
    use fusion_dsl::descriptor::ParamKind;
    match (&spec.kind, value) {
        (ParamKind::Fraction, Json::Number(n)) => {
            let percent = n.as_f64().unwrap_or(f64::NAN) * 100.0;
            format!("{}%", (percent * 1e4).round() / 1e4)
        }
        (_, Json::String(text)) => text.clone(),
        (_, Json::Number(n)) => match n.as_f64() {
            Some(x) => ((x * 1e6).round() / 1e6).to_string(),
            None => n.to_string(),
        },
        (_, other) => other.to_string(),
    }
}

/// How each parameter varies over the tensors: per deciding setting, its values in order of layers. The setting that decides most
/// tensors is the usual one, others are exceptions.
pub(super) fn stage_settings(
    settings: &StageSettings<'_>,
    specs: &[ParamSpec],
    program: &StageProgram,
) -> Vec<SettingReport> {
    // Per (parameter, input): per span, the count and the distinct shown values in order.
    type Seen = Vec<(Span, usize, Vec<String>)>;
    let mut seen: BTreeMap<(usize, Option<usize>), Seen> = BTreeMap::new();
    let mut cache: BTreeMap<*const super::ir::Resolved, Vec<super::settings::Traced>> = BTreeMap::new();
    let mut members: Vec<&Member> = program.groups.iter().flatten().collect();
    members.sort_by_key(|member| member.position);
    for member in members {
        let key = std::sync::Arc::as_ptr(&member.settings);
        let traced = cache.entry(key).or_insert_with(|| settings.trace(&member.name, member.position));
        for one in traced.iter() {
            let Some(index) = specs.iter().position(|spec| spec.name == one.name) else { continue };
            let list = seen.entry((index, one.input)).or_default();
            let shown = show(&specs[index], &one.value);
            match list.iter_mut().find(|(span, _, _)| *span == one.span) {
                Some((_, count, values)) => {
                    *count += 1;
                    if values.last() != Some(&shown) {
                        values.push(shown);
                    }
                }
                None => list.push((one.span, 1, vec![shown])),
            }
        }
    }
    seen.into_iter()
        .map(|((index, input), mut list)| {
            list.sort_by_key(|(span, count, _)| (std::cmp::Reverse(*count), *span));
            let text = |values: &[String]| match values {
                [one] => one.clone(),
                [first, .., last] => format!("{first} → {last}"),
                [] => String::new(),
            };
            let (span, _, values) = &list[0];
            SettingReport {
                name: specs[index].name.clone(),
                input: input.and_then(|input| program.inputs.get(input).cloned()),
                value: text(values),
                span: *span,
                default: span.is_none(),
                exceptions: list[1..]
                    .iter()
                    .map(|(span, count, values)| ExceptionReport {
                        value: text(values),
                        tensors: *count,
                        span: *span,
                    })
                    .collect(),
            }
        })
        .collect()
}

/// The report of a finished walk.
pub(super) fn assemble(builder: &Builder<'_>, cost: Cost) -> PlanReport {
    let program = &builder.program;
    let name = |source: Option<usize>| source.map(|index| program.sources[index].name.clone());
    let mut sources: Vec<_> = program.sources.iter().filter(|source| source.made_by.is_none()).collect();
    sources.sort_by_key(|source| source.span); // as in the recipe; the graph's own order goes by content
    let mut inputs: Vec<InputReport> = sources
        .into_iter()
        .map(|source| {
            let tensors = source.checkpoint.tensors();
            let mut dtypes = BTreeMap::new();
            for tensor in tensors {
                *dtypes.entry(tensor.dtype.to_string()).or_insert(0) += tensor.bytes() as u64;
            }
            InputReport {
                name: source.name.clone(),
                path: source.path.clone(),
                kind: source.checkpoint.kind().to_string(),
                tensors: tensors.len(),
                parameters: tensors.iter().map(|tensor| tensor.len() as u64).sum(),
                layers: source.layout.main().map_or(0, |stack| stack.count),
                bytes: tensors.iter().map(|tensor| tensor.bytes() as u64).sum(),
                dtypes,
            }
        })
        .collect();
    inputs.extend(program.adapters.iter().map(|adapter| InputReport {
        name: format!("{} (adapter)", adapter.name),
        path: adapter.path.clone(),
        kind: format!("LoRA, rank {}", adapter.adapter.rank()),
        tensors: adapter.adapter.target_count(),
        parameters: adapter.adapter.parameters(),
        layers: 0,
        bytes: adapter.adapter.bytes(),
        dtypes: BTreeMap::new(),
    }));
    let outputs = builder
        .outputs
        .iter()
        .map(|output| {
            let mut dtypes = BTreeMap::new();
            let (mut bytes, mut parameters) = (0, 0);
            for tensor in &output.tensors {
                let len = program.tensor(tensor.tensor).len();
                let own = len * tensor.dtype.size() as u64;
                *dtypes.entry(tensor.dtype.to_string()).or_insert(0) += own;
                bytes += own;
                parameters += len;
            }
            OutputReport {
                name: output.name.clone(),
                path: output.path.clone(),
                tensors: output.tensors.len(),
                parameters,
                bytes,
                shards: output.shards(program),
                dtypes,
                state: output.state.clone(),
                config: name(output.config),
                tokenizer: name(output.tokenizer),
            }
        })
        .collect();
    let mut stages = builder.stages.clone();
    for stage in &mut stages {
        let on_device =
            builder.registry.get(&stage.method).is_some_and(|entry| entry.on(builder.options.device));
        let route = stage.kernel == KernelClass::Route.words();
        stage.runs_on = match (route, on_device) {
            (true, _) => "headers".to_owned(),
            (_, true) => builder.options.device.to_string(),
            (_, false) => "fused cpu".to_owned(),
        };
    }
    PlanReport {
        inputs,
        stages,
        #[cfg(feature = "learn")]
        steps: builder.experiment.step_reports(builder.graph, builder.registry),
        outputs,
        expects: builder.verdicts.clone(),
        cost,
        device: builder.options.device.to_string(),
        threads: builder.options.threads,
    }
}
