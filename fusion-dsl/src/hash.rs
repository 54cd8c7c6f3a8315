//! Content keys of graph nodes: two nodes with the same key compute the same, so caches and comparisons can rely on them.
//!
//! A node's key is the BLAKE3 hash of its canonical JSON, in which every input is replaced by that input's key. Names, places
//! and comments are not in it; settings are sorted by name, rules and inputs keep their order. Where a *name* carries meaning
//! (a `collect` part, a score named after an input) what it stands for takes its place.

use serde_json::{Map, Value as Json, json};

use crate::descriptor::Verb;
use crate::graph::{
    Collect, Edge, Formula, Graph, ModelSource, Node, NodeId, NodeKind, Ref, Rule, Schedule, Selector,
    Setting, Stage, Value,
};

/// A BLAKE3 hash.
pub type Key = [u8; 32];

/// A key as 64 hexadecimal digits.
pub fn hex(key: &Key) -> String {
    blake3::Hash::from_bytes(*key).to_hex().to_string()
}

impl Graph {
    /// The content key of every node, in the order of [`Graph::nodes`].
    ///
    /// The graph must be in topological order, as the compiler makes it; an input that does not come before its user counts
    /// as an unknown one.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let key = node_key(node, &self.nodes, |id| keys.get(id.0 as usize).copied());
            keys.push(key);
        }
        keys
    }

    /// The hash of the whole graph: edition, plugins and the keys of all nodes, whatever their order and names.
    pub fn hash(&self) -> Key {
        let mut keys: Vec<String> = self.keys().iter().map(hex).collect();
        keys.sort_unstable();
        let mut plugins: Vec<Json> =
            self.plugins.iter().map(|plugin| json!([plugin.id, plugin.version])).collect();
        plugins.sort_by_key(Json::to_string);
        digest(&json!({ "edition": self.edition, "plugins": plugins, "nodes": keys }))
    }

    /// The JSON Schema of the graph's JSON form.
    pub fn schema() -> Json {
        schemars::schema_for!(Graph).to_value()
    }
}

/// The key of one node, given the keys of its inputs.
pub(crate) fn node_key(node: &Node, nodes: &[Node], key: impl Fn(NodeId) -> Option<Key>) -> Key {
    digest(&Content { nodes, key: &key }.node(node))
}

fn digest(content: &Json) -> Key {
    *blake3::hash(content.to_string().as_bytes()).as_bytes()
}

fn number(value: f64) -> Json {
    // -0 and 0 mean the same.
    Json::from(if value == 0.0 { 0.0 } else { value })
}

struct Content<'a> {
    nodes: &'a [Node],
    key: &'a dyn Fn(NodeId) -> Option<Key>,
}

impl Content<'_> {
    fn node(&self, node: &Node) -> Json {
        match &node.kind {
            NodeKind::Model { source, settings } => {
                let source = match source {
                    ModelSource::Checkpoint(path) => json!({ "from": path }),
                    ModelSource::Network { name, arguments, from } => {
                        let arguments: Map<String, Json> =
                            arguments.iter().map(|(name, value)| (name.clone(), self.value(value))).collect();
                        match from {
                            None => json!({ "of": name, "arguments": arguments }),
                            Some(from) => json!({ "of": name, "arguments": arguments, "from": from }),
                        }
                    }
                };
                json!({ "model": source, "settings": self.settings(settings) })
            }
            NodeKind::Data { source, sets, settings } if sets.is_empty() => {
                json!({ "data": source, "settings": self.settings(settings) })
            }
            NodeKind::Data { sets, settings, .. } => json!({
                "sets": sets.iter().map(|set| self.reference(set)).collect::<Vec<_>>(),
                "settings": self.settings(settings),
            }),
            NodeKind::Stage(stage) => self.stage(stage),
            NodeKind::Save { input, path, settings, .. } => {
                json!({ "save": self.reference(input), "path": path, "settings": self.settings(settings) })
            }
            NodeKind::Report { inputs, path, settings } => json!({
                "report": inputs.iter().map(|input| self.reference(input)).collect::<Vec<_>>(),
                "path": path,
                "settings": self.settings(settings),
            }),
            NodeKind::Expect { formula, .. } => json!({ "expect": self.formula(formula) }),
        }
    }

    fn stage(&self, stage: &Stage) -> Json {
        let takes: Vec<Json> = stage
            .takes
            .iter()
            .map(|take| json!([take.start, take.end, self.reference(&take.input)]))
            .collect();
        let mut collects: Vec<String> =
            stage.collects.iter().map(|collect| hex(&self.collect(collect))).collect();
        collects.sort_unstable();
        json!({
            "verb": stage.verb.word(),
            "method": stage.method,
            "version": stage.version,
            "edges": stage.edges.iter().map(|edge| self.edge(edge)).collect::<Vec<_>>(),
            "settings": self.settings(&stage.settings),
            "rules": self.rules(&stage.rules),
            "takes": takes,
            "rest": stage.rest.as_ref().map(|rest| self.reference(rest)),
            "collects": collects,
        })
    }

    fn collect(&self, collect: &Collect) -> Key {
        digest(&json!({ "collect": self.settings(&collect.settings) }))
    }

    fn edge(&self, edge: &Edge) -> Json {
        json!([
            edge.role,
            self.reference(&edge.input),
            self.settings(&edge.settings),
            self.rules(&edge.rules)
        ])
    }

    fn settings(&self, settings: &[Setting]) -> Json {
        let mut pairs: Vec<(&str, Json)> =
            settings.iter().map(|setting| (setting.name.as_str(), self.value(&setting.value))).collect();
        pairs.sort_by(|a, b| a.0.cmp(b.0));
        Json::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn rules(&self, rules: &[Rule]) -> Json {
        rules
            .iter()
            .map(|rule| {
                let selector = match &rule.selector {
                    Selector::Glob(glob) => json!({ "tensors": glob }),
                    Selector::Layers { start, end } => json!({ "layers": [start, end] }),
                };
                json!([selector, rule.optional, self.settings(&rule.settings)])
            })
            .collect()
    }

    fn reference(&self, reference: &Ref) -> Json {
        let key = (self.key)(reference.node).map(|key| hex(&key));
        let part = reference.part.as_ref().map(|part| self.part(reference.node, part));
        json!({ "key": key, "part": part })
    }

    /// A `collect` part is named by the user; what it collects is its content.
    fn part(&self, node: NodeId, part: &str) -> String {
        match self.nodes.get(node.0 as usize).map(|node| &node.kind) {
            Some(NodeKind::Stage(stage)) => stage
                .collects
                .iter()
                .find(|collect| collect.name == part)
                .map_or_else(|| part.to_owned(), |collect| hex(&self.collect(collect))),
            _ => part.to_owned(),
        }
    }

    /// Scores are named after the inputs that were measured; the input's position is their content.
    fn fact(&self, node: NodeId, fact: &str) -> String {
        let Some(NodeKind::Stage(stage)) = self.nodes.get(node.0 as usize).map(|node| &node.kind) else {
            return fact.to_owned();
        };
        if stage.verb == Verb::Evaluate {
            for (index, edge) in stage.edges.iter().enumerate() {
                let name = match &edge.input.part {
                    Some(part) => part.as_str(),
                    None => self.nodes.get(edge.input.node.0 as usize).map_or("", |node| node.name.as_str()),
                };
                if let Some(rest) =
                    fact.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('.'))
                {
                    return format!("#{index}{rest}");
                }
            }
            return fact.to_owned();
        }
        match fact.split_once('.') {
            Some((part, rest)) => format!("{}.{rest}", self.part(node, part)),
            None => fact.to_owned(),
        }
    }

    fn formula(&self, formula: &Formula) -> Json {
        match formula {
            Formula::Value(value) => self.value(value),
            Formula::Fact { node, fact, .. } => {
                let key = (self.key)(*node).map(|key| hex(&key));
                json!({ "key": key, "fact": self.fact(*node, fact) })
            }
            Formula::Unary { op, operand } => json!([op, self.formula(operand)]),
            Formula::Binary { op, left, right } => json!([op, self.formula(left), self.formula(right)]),
        }
    }

    fn value(&self, value: &Value) -> Json {
        match value {
            Value::Bool(value) => json!(value),
            Value::Number(value) => number(*value),
            Value::Text(text) => json!({ "text": text }),
            Value::Word(word) => json!({ "word": word }),
            Value::Bytes(bytes) => json!({ "bytes": bytes }),
            Value::Quantity { value, unit } => json!({ "quantity": [number(*value), unit] }),
            Value::Range { start, end } => json!({ "range": [number(*start), number(*end)] }),
            Value::List(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Schedule(schedule) => self.schedule(schedule),
            Value::Node(reference) => self.reference(reference),
        }
    }

    fn schedule(&self, schedule: &Schedule) -> Json {
        let list = |values: &[f64]| values.iter().map(|value| number(*value)).collect::<Json>();
        match schedule {
            Schedule::Ramp { from, to } => json!({ "ramp": [number(*from), number(*to)] }),
            Schedule::Curve(points) => json!({ "curve": list(points) }),
            Schedule::Steps(values) => json!({ "steps": list(values) }),
            Schedule::Cosine { from, to, cycle } => json!({
                "cosine": [number(*from), number(*to), cycle.as_ref().map(|cycle| self.value(cycle))]
            }),
            Schedule::Cyclic { from, to, cycle } => {
                json!({ "cyclic": [number(*from), number(*to), self.value(cycle)] })
            }
            Schedule::Triangle { from, to, cycle } => {
                json!({ "triangle": [number(*from), number(*to), self.value(cycle)] })
            }
            Schedule::OneCycle { max, start, end, warmup } => {
                json!({ "one_cycle": [number(*max), number(*start), number(*end), self.value(warmup)] })
            }
        }
    }
}
