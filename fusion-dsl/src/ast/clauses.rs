//! What stands in a stage's block.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Expr, Name, Reference, Text};
use crate::span::Span;

/// One line of a stage's block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "clause", rename_all = "snake_case")]
pub enum Clause {
    /// `density = 60%`
    Field(Field),
    /// `from chat { weight = 0.3 }`
    Edge(Edge),
    /// `on "*.mlp.*" { … }`
    On(On),
    /// `take layers 0..16 of orca`
    Take(Take),
    /// `rest of orca`
    Rest(Rest),
    /// `between a and b`
    Between(Between),
    /// `collect snapshots { … }`
    Collect(Collect),
}

impl Clause {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Clause::Field(it) => it.span,
            Clause::Edge(it) => it.span,
            Clause::On(it) => it.span,
            Clause::Take(it) => it.span,
            Clause::Rest(it) => it.span,
            Clause::Between(it) => it.span,
            Clause::Collect(it) => it.span,
        }
    }
}

/// `name = value`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Field {
    /// Left of `=`.
    pub name: Name,
    /// Right of `=`.
    pub value: Expr,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// `ROLE operand { settings; rules }`: an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The port's word.
    pub role: Name,
    /// A reference, a list, a call or a text.
    pub operand: Expr,
    /// Settings for this input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// Rules for this input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<On>,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// `on "*.mlp.*" { density = 75% }`: settings for some tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct On {
    /// `on?`: may match nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Which tensors.
    pub selector: Selector,
    /// What is set for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// Which tensors a rule is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// `on "*.mlp.*"`
    Glob(Text),
    /// `on tensors "*.mlp.*"`: the same, said in full.
    Tensors(Text),
    /// `on layers 0..4`
    Layers(Expr),
}

impl Selector {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Selector::Glob(text) | Selector::Tensors(text) => text.span,
            Selector::Layers(expr) => expr.span,
        }
    }
}

/// `take layers 0..16 of orca`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Take {
    /// Which layers.
    pub layers: Expr,
    /// Of which model.
    pub of: Reference,
    /// The block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// `rest of orca`: where all that is not in a layer comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rest {
    /// Of which model.
    pub of: Reference,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// `between a and b`: the ends of a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Between {
    /// One end.
    pub from: Expr,
    /// The other.
    pub to: Expr,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// `collect snapshots { every = 1 epoch }`: keep models during training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Collect {
    /// The part's name: `run.snapshots`.
    pub name: Name,
    /// When.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}
