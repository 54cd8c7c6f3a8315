//! Settings of one tensor, resolved outside in: schema default, stage, edge, then `on` rules from top to bottom (the stage's
//! before the edge's); the last that says something wins. Where each value came from is kept for `fusion explain --tensor`.

use std::collections::HashMap;
use std::sync::Arc;

use fusion_dsl::descriptor::{ParamKind, ParamSpec, Port};
use fusion_dsl::glob::Glob;
use fusion_dsl::graph::{Rule, Selector, Setting, Stage, Value};
use fusion_dsl::span::Span;
use fusion_sdk::RawInput;
use serde_json::{Map, Value as Json};

use super::ir::{Position, Resolved};

/// A rule with its pattern compiled.
struct Compiled<'a> {
    rule: &'a Rule,
    glob: Option<Glob>,
}

impl<'a> Compiled<'a> {
    fn new(rule: &'a Rule) -> Self {
        let glob = match &rule.selector {
            Selector::Glob(pattern) => Glob::new(pattern).ok(),
            Selector::Layers { .. } => None,
        };
        Compiled { rule, glob }
    }

    fn matches(&self, name: &str, position: Position) -> bool {
        match (&self.rule.selector, &self.glob, position) {
            (Selector::Glob(_), Some(glob), _) => glob.matches(name),
            (Selector::Layers { start, end }, _, Position::Layer(layer)) => (*start..*end).contains(&layer),
            _ => false,
        }
    }
}

/// One resolved value and where it was written ([`Span::NONE`]: the schema's default).
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// Parameter.
    pub name: String,
    /// Input index, for per-input parameters.
    pub input: Option<usize>,
    /// Value as the method gets it.
    pub value: Json,
    /// The setting that decided.
    pub span: Span,
}

/// The settings of a stage, ready to be resolved per tensor.
pub(super) struct StageSettings<'a> {
    stage: &'a Stage,
    specs: &'a [ParamSpec],
    /// Per edge: whether its port takes per-input settings.
    tunable: Vec<bool>,
    rules: Vec<Compiled<'a>>,
    edge_rules: Vec<Vec<Compiled<'a>>>,
    layers: u32,
    by_layer: bool,
    interned: HashMap<(Vec<bool>, Option<Position>), Arc<Resolved>>,
}

impl<'a> StageSettings<'a> {
    /// Prepares a stage whose result has `layers` layers.
    pub(super) fn new(stage: &'a Stage, ports: &[Port], specs: &'a [ParamSpec], layers: u32) -> Self {
        let compile = |rules: &'a [Rule]| rules.iter().map(Compiled::new).collect::<Vec<_>>();
        let varies = |settings: &[Setting]| settings.iter().any(|s| matches!(s.value, Value::Schedule(_)));
        let by_layer = varies(&stage.settings)
            || stage.rules.iter().any(|rule| varies(&rule.settings))
            || stage
                .edges
                .iter()
                .any(|edge| varies(&edge.settings) || edge.rules.iter().any(|rule| varies(&rule.settings)));
        StageSettings {
            stage,
            specs,
            tunable: stage
                .edges
                .iter()
                .map(|edge| ports.iter().any(|port| port.role == edge.role && port.settings))
                .collect(),
            rules: compile(&stage.rules),
            edge_rules: stage.edges.iter().map(|edge| compile(&edge.rules)).collect(),
            layers,
            by_layer,
            interned: HashMap::new(),
        }
    }

    /// All rules with their edge (if any), in the order of their spans.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&'a Rule, Option<usize>)> {
        let edges = self
            .edge_rules
            .iter()
            .enumerate()
            .flat_map(|(edge, rules)| rules.iter().map(move |compiled| (compiled.rule, Some(edge))));
        self.rules.iter().map(|compiled| (compiled.rule, None)).chain(edges)
    }

    /// Which rules match this tensor, in the order of [`StageSettings::rules`].
    pub(super) fn matching(&self, name: &str, position: Position) -> Vec<bool> {
        self.rules
            .iter()
            .chain(self.edge_rules.iter().flatten())
            .map(|compiled| compiled.matches(name, position))
            .collect()
    }

    /// The stage's `copy = model` for this tensor: the last matching rule that has one.
    pub(super) fn copy(&self, name: &str, position: Position) -> Option<&'a Setting> {
        self.rules
            .iter()
            .filter(|compiled| compiled.matches(name, position))
            .filter_map(|compiled| compiled.rule.settings.iter().find(|setting| setting.name == "copy"))
            .next_back()
    }

    /// The settings of a tensor; tensors with the same settings share them.
    pub(super) fn resolve(&mut self, name: &str, position: Position) -> Arc<Resolved> {
        let mask = self.matching(name, position);
        let key = (mask, self.by_layer.then_some(position));
        if let Some(found) = self.interned.get(&key) {
            return found.clone();
        }
        let mut resolved = Resolved {
            params: Map::new(),
            inputs: self
                .stage
                .edges
                .iter()
                .map(|edge| RawInput { role: edge.role.clone(), settings: Map::new() })
                .collect(),
        };
        for traced in self.trace(name, position) {
            match traced.input {
                Some(input) => resolved.inputs[input].settings.insert(traced.name, traced.value),
                None => resolved.params.insert(traced.name, traced.value),
            };
        }
        let resolved = Arc::new(resolved);
        self.interned.insert(key, resolved.clone());
        resolved
    }

    /// The settings of the stage itself, without rules and edges; schedules count at the first layer.
    pub(super) fn stage_level(&self) -> Map<String, Json> {
        let mut params = Map::new();
        for spec in self.specs.iter().filter(|spec| !spec.per_input && spec.name != "seed") {
            let setting = self.stage.settings.iter().find(|setting| setting.name == spec.name);
            let value =
                setting.map(|s| self.json(spec, &s.value, Position::Before)).or_else(|| spec.default.clone());
            if let Some(value) = value {
                params.insert(spec.name.clone(), value);
            }
        }
        params
    }

    /// Every value of a tensor with the place that decided it.
    pub(super) fn trace(&self, name: &str, position: Position) -> Vec<Traced> {
        let mut out = Vec::new();
        for spec in self.specs.iter().filter(|spec| spec.name != "seed") {
            let inputs: Vec<Option<usize>> = if spec.per_input {
                (0..self.stage.edges.len()).filter(|&edge| self.tunable[edge]).map(Some).collect()
            } else {
                vec![None]
            };
            for input in inputs {
                if let Some((value, span)) = self.decide(spec, input, name, position) {
                    out.push(Traced { name: spec.name.clone(), input, value, span });
                }
            }
        }
        out
    }

    fn decide(
        &self,
        spec: &ParamSpec,
        input: Option<usize>,
        name: &str,
        position: Position,
    ) -> Option<(Json, Span)> {
        let mut found: Option<&Setting> = None;
        let mut take = |settings: &'a [Setting]| {
            if let Some(setting) = settings.iter().rev().find(|setting| setting.name == spec.name) {
                found = Some(setting);
            }
        };
        take(&self.stage.settings);
        if let Some(edge) = input {
            take(&self.stage.edges[edge].settings);
        }
        for compiled in self.rules.iter().filter(|compiled| compiled.matches(name, position)) {
            take(&compiled.rule.settings);
        }
        if let Some(edge) = input {
            for compiled in self.edge_rules[edge].iter().filter(|compiled| compiled.matches(name, position)) {
                take(&compiled.rule.settings);
            }
        }
        match found {
            Some(setting) => Some((self.json(spec, &setting.value, position), setting.value_span)),
            None => spec.default.clone().map(|value| (value, Span::NONE)),
        }
    }

    fn json(&self, spec: &ParamSpec, value: &Value, position: Position) -> Json {
        match value {
            Value::Bool(b) => Json::Bool(*b),
            Value::Number(n) => number(spec, *n),
            Value::Text(text) | Value::Word(text) => Json::String(text.clone()),
            Value::Bytes(bytes) => Json::from(*bytes),
            Value::Quantity { value, unit } => serde_json::json!({ "value": value, "unit": unit }),
            Value::Range { start, end } => serde_json::json!([start, end]),
            Value::List(items) => {
                Json::Array(items.iter().map(|item| self.json(spec, item, position)).collect())
            }
            Value::Schedule(schedule) => number(spec, schedule.at(fraction(position, self.layers))),
            Value::Node(_) => Json::Null, // model-valued settings are edges; the checker allows them for `copy` only
        }
    }
}

/// Position in the stack as 0..=1: schedules run from the first layer to the last; what is before or after takes the ends.
pub(super) fn fraction(position: Position, layers: u32) -> f64 {
    match position {
        Position::Before => 0.0,
        Position::After => 1.0,
        Position::Layer(_) if layers < 2 => 0.0,
        Position::Layer(layer) => f64::from(layer) / f64::from(layers - 1),
    }
}

fn number(spec: &ParamSpec, n: f64) -> Json {
    let whole = match &spec.kind {
        ParamKind::Count | ParamKind::Seed => true,
        ParamKind::List(inner) => matches!(**inner, ParamKind::Count),
        _ => false,
    };
    if whole && n >= 0.0 && n.fract() == 0.0 { Json::from(n as u64) } else { Json::from(n) }
}
