//! What stands in column 0: the items of a recipe.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Clause, Expr, Field, Name, Path, Reference, Text};
use crate::descriptor::Verb;
use crate::span::Span;

/// One top-level thing of a recipe, or of the body of a `for`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum Item {
    /// `use plugin "id" version "^1" as alias`
    Use(Use),
    /// `import "file" as alias with { … }`
    Import(Import),
    /// `param name: type = default "doc"`
    Param(Param),
    /// `let name = value`
    Let(Let),
    /// `model name from "…" { … }`, `model name of mlp(…) { … }`, `model name of mlp(…) from "…" { … }`
    Model(Model),
    /// `data name from "…" { … }`
    Data(Data),
    /// `average name using method { … }` and the other verbs
    Stage(Stage),
    /// `save what to "…" { … }`
    Save(Save),
    /// `report [what, …] to "…" { … }`
    Report(Report),
    /// `expect condition`
    Expect(Expect),
    /// `for i in 0..12 { items }`
    For(For),
    /// `sweep { name = [values] }`
    Sweep(Sweep),
}

/// `use plugin "org.acme.fisher" version "^0.3" as acme`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Use {
    /// Reverse-DNS id.
    pub plugin: Text,
    /// Version requirement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Text>,
    /// Local name.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<Name>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `import "rebasin.fusion" as wide with { width = 1024 }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// The file, relative to this one's folder.
    pub path: Text,
    /// Local name.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<Name>,
    /// Values for the imported recipe's parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Field>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `param keep: fraction = 60% "share that survives trimming"`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Param {
    /// What it is called here and in `--set`.
    pub name: Name,
    /// The type's word (`fraction`), or `list of fraction`.
    #[serde(rename = "type")]
    pub kind: Name,
    /// The value unless set; without one, the parameter must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Expr>,
    /// For the reader and for `--help`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<Text>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `let half = keep / 2`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Let {
    /// The name bound.
    pub name: Name,
    /// Its value.
    pub value: Expr,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `model chat from "models/chat" { adapter = "loras/math" }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// The name bound.
    pub name: Name,
    /// In loops: `model m[i] …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Expr>,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: ModelSource,
    /// The block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// `from "path"`
    From(Text),
    /// `of mlp(inputs: 784)`
    Of(Call),
    /// `of mlp(inputs: 784) from "foreign.pt"`
    OfFrom {
        /// The architecture and its arguments.
        of: Call,
        /// Where its weights are.
        from: Text,
    },
}

impl ModelSource {
    /// The architecture and its arguments, if it names one.
    pub fn network(&self) -> Option<&Call> {
        match self {
            ModelSource::From(_) => None,
            ModelSource::Of(call) | ModelSource::OfFrom { of: call, .. } => Some(call),
        }
    }
}

/// `data held_out from "cifar10:train" { split = 90%..100% }`, `data all from [fours, tenth]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Data {
    /// The name bound.
    pub name: Name,
    /// Where it comes from.
    pub from: DataSource,
    /// The block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// Where a data set comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DataSource {
    /// `from "digits:train"`, as written
    Source(Text),
    /// `from [fours, tenth]`: other data sets, one behind the other
    Sets(Vec<Expr>),
}

/// `average merged using ties { … }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// The category.
    pub verb: Verb,
    /// The verb's word.
    #[serde(skip)]
    pub verb_span: Span,
    /// The name bound.
    pub name: Name,
    /// In loops: `train tuned[i] …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Expr>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<Path>,
    /// The block's content, in order.
    #[serde(default)]
    pub clauses: Vec<Clause>,
    /// The block with its braces.
    #[serde(skip)]
    pub block: Span,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `save merged to "out/merged" { dtype = bf16 }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Save {
    /// What is written.
    pub what: Reference,
    /// Where.
    pub to: Text,
    /// The block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `report [a, b] to "out/report.json"`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// What is reported: the list's elements (`report a to …` has one).
    pub what: Vec<Expr>,
    /// Where.
    pub to: Text,
    /// The block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `expect merged.parameters == llama.parameters`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expect {
    /// Must be true.
    pub condition: Expr,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `for i in 0..12 { … }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct For {
    /// The loop's name.
    pub variable: Name,
    /// A range or list known at plan time.
    #[serde(rename = "in")]
    pub over: Expr,
    /// The body.
    pub items: Vec<Item>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

/// `sweep { width = [64, 128]; seed = 0..5 }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// Parameters and their values; the product is run.
    pub axes: Vec<Field>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
}

impl Item {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Item::Use(it) => it.span,
            Item::Import(it) => it.span,
            Item::Param(it) => it.span,
            Item::Let(it) => it.span,
            Item::Model(it) => it.span,
            Item::Data(it) => it.span,
            Item::Stage(it) => it.span,
            Item::Save(it) => it.span,
            Item::Report(it) => it.span,
            Item::Expect(it) => it.span,
            Item::For(it) => it.span,
            Item::Sweep(it) => it.span,
        }
    }

    /// The name that it binds, if it binds one in so many words.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Item::Use(it) => it.alias.as_ref(),
            Item::Import(it) => it.alias.as_ref(),
            Item::Param(it) => Some(&it.name),
            Item::Let(it) => Some(&it.name),
            Item::Model(it) => Some(&it.name),
            Item::Data(it) => Some(&it.name),
            Item::Stage(it) => Some(&it.name),
            Item::Save(_) | Item::Report(_) | Item::Expect(_) | Item::For(_) | Item::Sweep(_) => None,
        }
    }
}
