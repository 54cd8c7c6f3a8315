//! `fusion explain FILE --tensor NAME`: where a tensor comes from and which line decided each of its settings.

use std::collections::{BTreeSet, VecDeque};

use fusion_dsl::graph::{Graph, NodeKind};
use serde::Serialize;
use serde_json::Value as Json;

use super::ir::{Origin, TensorId};
use super::report::show;
use super::settings::{StageSettings, Traced};
use super::{Plan, ir};
use crate::method::Registry;

/// One step in the making of a tensor, the last first.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// `stored`, `adapter`, `computed`, `identical`; `made` by a stage on networks or checkpoints.
    pub kind: &'static str,
    /// The tensor's name there.
    pub tensor: String,
    /// The stage or model.
    pub of: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Dtype.
    pub dtype: String,
    /// The verb, for tensors that a stage on networks or checkpoints has made.
    pub verb: Option<String>,
    /// The method, for computed tensors.
    pub method: Option<String>,
    /// Which units lie along its axes, for aligned tensors.
    pub units: Option<String>,
    /// Names of the inputs, in port order.
    pub inputs: Vec<String>,
    /// Settings with their places: (parameter, input, shown value, setting).
    #[serde(skip)]
    pub settings: Vec<(Traced, String)>,
    /// The same as plain data.
    pub values: Vec<(String, Option<String>, Json)>,
}

/// Explains a tensor of the plan's outputs (or of any model, where no output has the name). Empty: no such tensor.
pub fn explain(plan: &Plan, registry: &Registry, name: &str) -> Vec<Explained> {
    let from_outputs = plan.outputs.iter().find_map(|output| output.view.tensors.get(name));
    let from_any = || plan.views.values().rev().find_map(|view| view.tensors.get(name));
    let Some(entry) = from_outputs.or_else(from_any) else { return Vec::new() };
    let mut steps = Vec::new();
    let mut waiting = VecDeque::from([entry.tensor]);
    let mut seen = BTreeSet::new();
    while let Some(root) = waiting.pop_front() {
        for id in plan.program.closure(&[root]).into_iter().rev() {
            if seen.insert(id) {
                steps.push(step(plan, registry, id, name));
                waiting.extend(behind(plan, id));
            }
        }
    }
    steps
}

/// The tensors of the same name in the models that a stage has made this one from.
fn behind(plan: &Plan, id: TensorId) -> Vec<TensorId> {
    #[cfg(feature = "learn")]
    if let Some((source, tensor)) = plan.program.stored(id)
        && let Some(step) = plan.experiment.maker(&plan.program.sources[source])
    {
        let name = &plan.program.sources[source].checkpoint.tensors()[tensor].name;
        let models = step.inputs.iter().filter_map(|input| match &input.feed {
            crate::experiment::Feed::Model { view, .. } => view.tensors.get(name),
            _ => None,
        });
        return models.map(|entry| entry.tensor).collect();
    }
    let _ = (plan, id);
    Vec::new()
}

/// Says of a tensor which stage on networks or checkpoints makes it, and with which settings.
#[cfg(feature = "learn")]
fn made(plan: &Plan, source: usize, out: &mut Explained) {
    use crate::experiment::Task;
    let Some(step) = plan.experiment.maker(&plan.program.sources[source]) else { return };
    out.kind = "made";
    out.method = Some(step.method.clone());
    out.inputs = step.inputs.iter().map(|input| input.name.clone()).collect();
    if let Task::Align(aligned) = &step.task {
        let axes = aligned.disk.tensors.iter().find(|tensor| tensor.name == out.tensor);
        out.units = Some(match axes {
            Some(axes) => aligned.disk.dimension_texts(axes).join(", "),
            None => "none: it stays as it is".to_owned(),
        });
    }
    let Some(report) = plan.report.steps.iter().find(|report| report.node == step.node) else { return };
    out.verb = Some(report.verb.clone());
    for setting in &report.resolved {
        let value = Json::from(setting.value.clone());
        let input = setting.input.as_ref().and_then(|name| out.inputs.iter().position(|own| own == name));
        out.values.push((setting.name.clone(), setting.input.clone(), value.clone()));
        let traced = Traced { name: setting.name.clone(), input, value, span: setting.span };
        out.settings.push((traced, setting.value.clone()));
    }
    if let Some(seed) = report.seed {
        let NodeKind::Stage(stage) = &plan.graph.node(step.node).kind else { return };
        let own = stage.settings.iter().find(|setting| setting.name == "seed");
        let span = own.map_or(fusion_dsl::span::Span::NONE, |setting| setting.span);
        out.values.push(("seed".to_owned(), None, seed.into()));
        out.settings.push((
            Traced { name: "seed".to_owned(), input: None, value: seed.into(), span },
            seed.to_string(),
        ));
    }
}

fn step(plan: &Plan, registry: &Registry, id: TensorId, name: &str) -> Explained {
    let program = &plan.program;
    let node = program.tensor(id);
    let mut out = Explained {
        kind: "stored",
        tensor: name.to_owned(),
        of: String::new(),
        shape: node.shape.clone(),
        dtype: node.dtype.to_string(),
        verb: None,
        method: None,
        units: None,
        inputs: Vec::new(),
        settings: Vec::new(),
        values: Vec::new(),
    };
    match &node.origin {
        Origin::Stored { source, tensor } => {
            out.of = program.sources[*source].name.clone();
            out.tensor = program.sources[*source].checkpoint.tensors()[*tensor].name.clone();
            #[cfg(feature = "learn")]
            made(plan, *source, &mut out);
        }
        Origin::Adapted { adapter, target, .. } => {
            out.kind = "adapter";
            out.of = program.adapters[*adapter].name.clone();
            out.tensor = target.clone();
        }
        Origin::Identical { of } => {
            out.kind = "identical";
            out.of = format!("{} inputs, which must be equal", of.len());
        }
        Origin::Computed { stage, group, member, .. } => {
            let stage_program = &program.stages[*stage];
            let member = &stage_program.groups[*group][*member];
            out.kind = "computed";
            out.of = stage_program.name.clone();
            out.tensor = member.name.clone();
            out.method = Some(stage_program.method.clone());
            out.inputs = stage_program.inputs.clone();
            if let (Some(stage), Some(entry)) =
                (stage_of(&plan.graph, stage_program), registry.get(&stage_program.method))
            {
                let specs = entry.descriptor.parameters();
                let layers = plan
                    .graph
                    .iter()
                    .find(|(_, node)| node.name == stage_program.name)
                    .and_then(|(id, _)| plan.views.get(&id))
                    .map_or(0, |view| view.layers);
                let settings = StageSettings::new(stage, &entry.descriptor.ports, &specs, layers);
                for traced in settings.trace(&member.name, member.position) {
                    let shown = specs
                        .iter()
                        .find(|spec| spec.name == traced.name)
                        .map_or_else(|| traced.value.to_string(), |spec| show(spec, &traced.value));
                    let input = traced.input.and_then(|input| stage_program.inputs.get(input).cloned());
                    out.values.push((traced.name.clone(), input, traced.value.clone()));
                    out.settings.push((traced, shown));
                }
            }
        }
    }
    out
}

fn stage_of<'a>(graph: &'a Graph, program: &ir::StageProgram) -> Option<&'a fusion_dsl::graph::Stage> {
    graph.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Stage(stage) if node.name == program.name && stage.method == program.method => Some(stage),
        _ => None,
    })
}
