//! Stages on networks as plans, records and model cards show them: every setting with its default, and the seed.

use fusion_dsl::descriptor::{ParamKind, ParamSpec};
use fusion_dsl::graph::{Graph, NodeKind, Setting, Stage};
use fusion_dsl::span::Span;
use serde_json::Value as Json;

use super::super::report::{SettingReport, summary};
use super::values::value;
use crate::experiment::{Experiment, Step, StepReport};
use crate::method::Registry;

impl Experiment {
    /// The stages for a plan; first weights of networks are none.
    pub(in crate::plan) fn step_reports(&self, graph: &Graph, registry: &Registry) -> Vec<StepReport> {
        self.steps.iter().filter_map(|step| self.step_report(step, graph, registry)).collect()
    }

    /// One of them.
    pub(in crate::plan) fn step_report(
        &self,
        step: &Step,
        graph: &Graph,
        registry: &Registry,
    ) -> Option<StepReport> {
        let verb = step.verb?;
        let data = step.data.iter().filter_map(|(_, node)| self.data.get(node)).map(|plan| plan.name.clone());
        let specs = registry
            .learned(verb, &step.method)
            .map(|method| method.descriptor.parameters())
            .unwrap_or_default();
        let resolved = match &graph.node(step.node).kind {
            NodeKind::Stage(stage) => resolved(stage, &specs, graph),
            _ => Vec::new(),
        };
        Some(StepReport {
            node: step.node,
            name: step.name.clone(),
            verb: verb.word().to_owned(),
            method: step.method.clone(),
            inputs: step.inputs.iter().map(|input| input.name.clone()).chain(data).collect(),
            network: step.architecture.map(|index| self.architectures[index].to_string()),
            settings: step.settings.clone(),
            resolved,
            seed: step.settings.get("seed").and_then(Json::as_u64),
            cached: step.cached,
        })
    }
}

impl StepReport {
    /// All settings on one line, to compare runs.
    pub fn summary(&self) -> String {
        summary(&self.method, &self.resolved, self.seed)
    }
}

/// The settings of a stage, of its inputs and of its `collect`s, in the order of the schema; the seed is told apart from them.
fn resolved(stage: &Stage, specs: &[ParamSpec], graph: &Graph) -> Vec<SettingReport> {
    let mut found = Vec::new();
    for spec in specs.iter().filter(|spec| spec.name != "seed") {
        let own = |settings: &[Setting], input: Option<String>| {
            let setting = settings.iter().find(|setting| setting.name == spec.name)?;
            Some(report(&spec.name, input, text(Some(spec), &value(&setting.value)?), setting.span))
        };
        let of_inputs = stage.edges.iter().filter_map(|edge| {
            let name = match &edge.input.part {
                Some(part) => format!("{}.{part}", graph.node(edge.input.node).name),
                None => graph.node(edge.input.node).name.clone(),
            };
            own(&edge.settings, Some(name))
        });
        let of_inputs: Vec<SettingReport> = of_inputs.collect();
        let default = || Some(report(&spec.name, None, text(Some(spec), spec.default.as_ref()?), Span::NONE));
        match own(&stage.settings, None) {
            Some(given) => found.push(given),
            None if of_inputs.is_empty() => found.extend(default()),
            None => {}
        }
        found.extend(of_inputs);
    }
    for collect in &stage.collects {
        found.extend(collect.settings.iter().filter_map(|setting| {
            let name = format!("{}.{}", collect.name, setting.name);
            Some(report(&name, None, text(None, &value(&setting.value)?), setting.span))
        }));
    }
    found
}

fn report(name: &str, input: Option<String>, value: String, span: Span) -> SettingReport {
    let name = name.to_owned();
    SettingReport { name, input, value, span, default: span.is_none(), exceptions: Vec::new() }
}

/// A value as people read it, close to how it is written.
fn text(spec: Option<&ParamSpec>, value: &Json) -> String {
    let inner = |value: &Json| text(None, value);
    match (spec.map(|spec| &spec.kind), value) {
        (Some(ParamKind::Fraction), Json::Number(number)) => {
            let percent = number.as_f64().unwrap_or(f64::NAN) * 100.0;
            format!("{}%", (percent * 1e4).round() / 1e4)
        }
        (_, Json::String(text)) => text.clone(),
        (_, Json::Array(items)) => {
            let items: Vec<String> = items.iter().map(inner).collect();
            format!("[{}]", items.join(", "))
        }
        (_, Json::Object(fields)) => match (fields.get("value"), fields.get("unit"), fields.len()) {
            (Some(value), Some(Json::String(unit)), 2) => {
                let plural = if value.as_f64() == Some(1.0) { "" } else { "s" };
                format!("{} {unit}{plural}", inner(value))
            }
            _ => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}: {}", inner(value))).collect();
                format!("({})", fields.join(", "))
            }
        },
        (_, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_they_are_written() {
        for (value, shown) in [
            (json!(0.001), "0.001"),
            (json!(1e-8), "1e-8"),
            (json!("mean"), "mean"),
            (json!([48, 48]), "[48, 48]"),
            (json!({ "value": 40, "unit": "epoch" }), "40 epochs"),
            (json!({ "value": 1, "unit": "step" }), "1 step"),
            (json!({ "ramp": { "from": 1, "to": 0 } }), "(ramp: (from: 1, to: 0))"),
        ] {
            assert_eq!(text(None, &value), shown);
        }
    }
}
