//! The canonical graph: what a recipe means once names, loops, parameters and comments are gone.
//!
//! It is what the planner reads, what `fusion ast --graph` prints and what caches are keyed by. Two recipes that mean the
//! same give the same graph: nodes are in topological order with ties broken by content, spans and display names are carried
//! along but take no part in equality of keys ([`Graph::keys`]) or in the JSON's hash.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::descriptor::Verb;
use crate::span::Span;

/// Index of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NodeId(pub u32);

/// A resolved value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// `true`, `false`
    Bool(bool),
    /// Counts, numbers, fractions (percent already divided), seeds.
    Number(f64),
    /// Quoted text.
    Text(String),
    /// A bare word (`bf16`, `weighted`).
    Word(String),
    /// A size in bytes.
    Bytes(u64),
    /// A number with another unit (`40 epochs`).
    Quantity {
        /// How many.
        value: f64,
        /// Singular unit word: `epoch`, `step`, `sample`, `token`, `minute`, `hour`.
        unit: String,
    },
    /// Half-open range of numbers.
    Range {
        /// First.
        start: f64,
        /// One past the last.
        end: f64,
    },
    /// A list.
    List(Vec<Value>),
    /// A value that varies over layers or over time.
    Schedule(Schedule),
    /// Another node of the graph.
    Node(Ref),
}

/// A value that varies: over the layers of the model in fusion stages, over time in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// `ramp(a, b)`: linear from the first layer to the last.
    Ramp {
        /// At the first layer.
        from: f64,
        /// At the last layer.
        to: f64,
    },
    /// `curve([...])`: evenly spaced points, linear between them.
    Curve(Vec<f64>),
    /// `steps([...])`: equal segments, constant within each.
    Steps(Vec<f64>),
    /// `cosine(from: a, to: b)`: half a cosine; `cycle` restarts it (training only).
    Cosine {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
        /// Length of a cycle, if it restarts.
        cycle: Option<Box<Value>>,
    },
    /// `cyclic(from: a, to: b, cycle: c)`: linear over each cycle, then back at once (training only). Izmailov et al. 2018, SWA.
    Cyclic {
        /// At the start of a cycle.
        from: f64,
        /// At its end.
        to: f64,
        /// Length of a cycle.
        cycle: Box<Value>,
    },
    /// `triangle(from: a, to: b, cycle: c)`: linear to the middle of each cycle and back (training only). Garipov et al. 2018, FGE.
    Triangle {
        /// At the start and end of a cycle.
        from: f64,
        /// In its middle.
        to: f64,
        /// Length of a cycle.
        cycle: Box<Value>,
    },
    /// `one_cycle(max)`: half a cosine up to `max`, half a cosine down, once over the training (training only). Smith and Topin
    /// 2018; defaults, filled in here, are PyTorch's.
    OneCycle {
        /// At the top.
        max: f64,
        /// At the start of training; a 25th of `max` unless set.
        start: f64,
        /// At its end; a 10 000th of `start` unless set.
        end: f64,
        /// How long it goes up: a share of the training (a number in 0..=1), or a span; 30 % unless set.
        warmup: Box<Value>,
    },
}

impl Schedule {
    /// What it needs that only a training has, in words; `None` if it can run over layers too.
    pub fn over_time(&self) -> Option<&'static str> {
        match self {
            Schedule::Ramp { .. }
            | Schedule::Curve(_)
            | Schedule::Steps(_)
            | Schedule::Cosine { cycle: None, .. } => None,
            Schedule::Cosine { .. } => Some("`cosine` with a `cycle`"),
            Schedule::Cyclic { .. } => Some("`cyclic`"),
            Schedule::Triangle { .. } => Some("`triangle`"),
            Schedule::OneCycle { .. } => Some("`one_cycle`"),
        }
    }

    /// The value at position `p` in 0..=1: over layers 0 is the first and 1 the last, over time they are the start and end of
    /// the cycle, or of the training where there is none. `p` outside is clamped; an empty list gives NaN, which the checker has
    /// excluded, and so does a `one_cycle` whose warm-up is a span.
    pub fn at(&self, p: f64) -> f64 {
        let p = p.clamp(0.0, 1.0);
        match self {
            Schedule::Ramp { from, to } => from + (to - from) * p,
            Schedule::Curve(points) => match points.len() {
                0 => f64::NAN,
                1 => points[0],
                n => {
                    let x = p * (n - 1) as f64;
                    let i = (x.floor() as usize).min(n - 2);
                    points[i] + (points[i + 1] - points[i]) * (x - i as f64)
                }
            },
            Schedule::Steps(values) => match values.len() {
                0 => f64::NAN,
                n => values[((p * n as f64) as usize).min(n - 1)],
            },
            Schedule::Cosine { from, to, .. } => half_cosine(*from, *to, p),
            Schedule::Cyclic { from, to, .. } => from + (to - from) * p,
            Schedule::Triangle { from, to, .. } => from + (to - from) * (1.0 - (2.0 * p - 1.0).abs()),
            Schedule::OneCycle { max, start, end, warmup } => {
                // How long a span is, only the training knows.
                let Value::Number(warmup) = **warmup else { return f64::NAN };
                if p < warmup {
                    half_cosine(*start, *max, p / warmup)
                } else if warmup >= 1.0 {
                    *max
                } else {
                    half_cosine(*max, *end, (p - warmup) / (1.0 - warmup))
                }
            }
        }
    }
}

/// `to + (from − to)·(1 + cos πp)/2`
fn half_cosine(from: f64, to: f64, p: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * p).cos())
}

/// A reference to (a part of) a node's result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Ref {
    /// The node.
    pub node: NodeId,
    /// A part of its result: `run.swa_points`, `soup.best_single`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// `name = value`, with where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Parameter name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// The whole `name = value`.
    #[serde(skip)]
    pub span: Span,
    /// The value alone.
    #[serde(skip)]
    pub value_span: Span,
}

/// Which tensors a rule is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// `on "glob"`: whole names; `*` does not cross `.` unless it is the whole first or last segment, `**` does, `?` is one
    /// character other than `.`. See [`crate::glob`].
    Glob(String),
    /// `on layers a..b`
    Layers {
        /// First layer.
        start: u32,
        /// One past the last.
        end: u32,
    },
}

/// `on … { settings }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Which tensors.
    pub selector: Selector,
    /// `on?`: may match nothing.
    #[serde(default)]
    pub optional: bool,
    /// What is set for them. The special setting `copy` (value: a model) copies the tensor from that model.
    pub settings: Vec<Setting>,
    /// The selector's text.
    #[serde(skip)]
    pub span: Span,
}

/// `role input { settings }`: one entry per input, lists already spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The port.
    pub role: String,
    /// The input.
    pub input: Ref,
    /// Per-input settings.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// Per-input rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The reference's text.
    #[serde(skip)]
    pub span: Span,
}

/// `take layers a..b of model`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Take {
    /// First layer.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// From which model.
    pub input: Ref,
    /// The clause.
    #[serde(skip)]
    pub span: Span,
}

/// `collect name { settings }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Collect {
    /// The part's name.
    pub name: String,
    /// When to record.
    pub settings: Vec<Setting>,
    /// The clause.
    #[serde(skip)]
    pub span: Span,
}

/// A stage with everything resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Its verb.
    pub verb: Verb,
    /// Method id (`stitch` for the verb that takes none).
    pub method: String,
    /// Method version from the descriptor.
    pub version: u32,
    /// Inputs in the order of the method's ports, then of the recipe.
    pub edges: Vec<Edge>,
    /// Stage-level settings as written (defaults are not filled in: the schema has them).
    pub settings: Vec<Setting>,
    /// Stage-level rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// `take` clauses of `stitch`, in order.
    #[serde(default)]
    pub takes: Vec<Take>,
    /// `rest of`
    #[serde(default)]
    pub rest: Option<Ref>,
    /// `collect` clauses of `train`.
    #[serde(default)]
    pub collects: Vec<Collect>,
    /// The method's name in the text (the verb where there is none).
    #[serde(skip)]
    pub method_span: Span,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// `from "path"`: as written; the planner resolves it against the recipe's folder.
    Checkpoint(String),
    /// `of mlp(...)`: a network built here.
    Network {
        /// Architecture name.
        name: String,
        /// Arguments by name; by position where the architecture is not known.
        arguments: BTreeMap<String, Value>,
        /// `of mlp(...) from "path"`: a checkpoint that holds its weights, as written. Without one they are drawn from the
        /// setting `seed`. The setting `map` names its tensors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
}

/// An expression of `expect`, over facts of nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// A constant.
    Value(Value),
    /// `node.fact` (`merged.parameters`, `scores.soup`).
    Fact {
        /// The node.
        node: NodeId,
        /// Dotted rest of the path.
        fact: String,
        /// Where it stands.
        #[serde(skip)]
        span: Span,
    },
    /// `-x`, `not x`
    Unary {
        /// `-` or `not`
        op: String,
        /// Operand.
        operand: Box<Formula>,
    },
    /// Arithmetic, comparison, `and`, `or`.
    Binary {
        /// The operator's text.
        op: String,
        /// Left.
        left: Box<Formula>,
        /// Right.
        right: Box<Formula>,
    },
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// `model`
    Model {
        /// Where it comes from.
        source: ModelSource,
        /// The block (`adapter`, `scale`, …).
        settings: Vec<Setting>,
    },
    /// `data`
    Data {
        /// As written; empty for a data set that is made of others.
        source: String,
        /// Data sets that it is made of, one behind the other.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sets: Vec<Ref>,
        /// The block.
        settings: Vec<Setting>,
    },
    /// A stage.
    Stage(Stage),
    /// `save`
    Save {
        /// What.
        input: Ref,
        /// Where, as written.
        path: String,
        /// `dtype`, `shard`, `config`, `tokenizer`, …
        settings: Vec<Setting>,
        /// The path's text.
        #[serde(skip)]
        path_span: Span,
    },
    /// `report`
    Report {
        /// What.
        inputs: Vec<Ref>,
        /// Where.
        path: String,
        /// The block.
        settings: Vec<Setting>,
    },
    /// `expect`
    Expect {
        /// Must hold.
        formula: Formula,
        /// As written, for messages.
        text: String,
    },
}

/// A node: what it is, and what people call it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// The user's name (`merged`, `tuned[3]`), or the verb for `save`, `report`, `expect`. Not part of the key.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// The whole item.
    #[serde(skip)]
    pub span: Span,
    /// The name in the text.
    #[serde(skip)]
    pub name_span: Span,
}

/// `use plugin`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginUse {
    /// Reverse-DNS id.
    pub id: String,
    /// Version requirement, if any.
    pub version: Option<String>,
    /// Local alias.
    pub alias: String,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// The canonical graph of one variant of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Graph {
    /// Language edition.
    pub edition: u32,
    /// Plugins that the recipe asks for.
    #[serde(default)]
    pub plugins: Vec<PluginUse>,
    /// In topological order: a node's inputs come before it.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// The node of an id.
    ///
    /// # Panics
    /// If the id is of another graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Nodes with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
    }
}
