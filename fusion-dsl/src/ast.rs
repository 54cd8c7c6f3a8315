//! The syntax tree of a recipe: what stands in the text, before any name is looked up.
//!
//! It is public and serialisable (`fusion ast --json`): generators and graphical tools write the JSON twin, and
//! [`crate::print`] makes text of it. Spans are kept for messages but take no part in the JSON. To compare two trees
//! without their spans, compare the JSON.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::descriptor::Verb;
use crate::span::Span;

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Edition of the language; 1 where the header is missing or broken (which is an error of its own).
    pub edition: u32,
    /// The items that could be read, in order.
    pub items: Vec<Item>,
    /// What could be made out of items that could not be read.
    #[serde(skip)]
    pub broken: Vec<Broken>,
    /// The header; [`Span::NONE`] if there is none.
    #[serde(skip)]
    pub header: Span,
}

/// An item with a syntax error, which has been reported. Later steps use the name to keep quiet about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The name that the item seems to bind.
    pub name: Option<Name>,
    /// The whole item.
    pub span: Span,
}

/// A name, as text in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The identifier.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A quoted text without its quotes, escapes resolved; as text in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    /// The content.
    pub value: String,
    /// With the quotes.
    pub span: Span,
}

/// A dotted name (`merged`, `zoo.llama`, `acme.diag_fisher`); as dotted text in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// At least one.
    pub segments: Vec<Name>,
    /// All of it.
    pub span: Span,
}

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
    /// `model name from "…" { … }`, `model name of mlp(…) { … }`
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
}

/// `data held_out from "cifar10:train" { split = 90%..100% }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Data {
    /// The name bound.
    pub name: Name,
    /// As written.
    pub from: Text,
    /// The block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Field>,
    /// The item.
    #[serde(skip)]
    pub span: Span,
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

/// A value with its place; in JSON just the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExprKind {
    /// `12`, `1e-3`
    Number(f64),
    /// `60%`, `5 GB`, `40 epochs`
    Quantity {
        /// As written: 60 for `60%`.
        value: f64,
        /// The unit.
        unit: Unit,
    },
    /// `"…"`
    Text(String),
    /// `true`, `false`
    Bool(bool),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `[body for variable in source]`
    Comprehension {
        /// One element.
        body: Box<Expr>,
        /// The loop's name.
        variable: Name,
        /// What it runs over.
        #[serde(rename = "in")]
        source: Box<Expr>,
    },
    /// `ramp(0.2, to: 0.6)`
    Call(Call),
    /// `merged`, `run.swa_points`, `tuned[*]`, and bare words such as `bf16`
    Ref(Reference),
    /// `0..16`, `98%..=100%`
    Range {
        /// First.
        start: Box<Expr>,
        /// Last, or one past it.
        end: Box<Expr>,
        /// `..=`
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        inclusive: bool,
    },
    /// `-x`, `not x`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Its operand.
        operand: Box<Expr>,
    },
    /// `a + b`
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left of it.
        left: Box<Expr>,
        /// Right of it.
        right: Box<Expr>,
    },
    /// `then if condition else otherwise`
    Conditional {
        /// The value if it holds.
        then: Box<Expr>,
        /// The condition.
        #[serde(rename = "if")]
        condition: Box<Expr>,
        /// The value if it does not.
        #[serde(rename = "else")]
        otherwise: Box<Expr>,
    },
}

/// A function and its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// The function's name.
    pub function: Path,
    /// In order.
    #[serde(default)]
    pub args: Vec<Arg>,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arg {
    /// `name: value`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
}

/// A use of a name: `merged`, `zoo.llama`, `tuned[3].best_single`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    /// Up to the index.
    pub path: Path,
    /// `[3]`, `[*]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Index>,
    /// After the index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<Name>,
    /// All of it.
    #[serde(skip)]
    pub span: Span,
}

/// Which of an indexed family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Index {
    /// `[*]`
    All,
    /// `[i]`
    At(Box<Expr>),
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnaryOp {
    /// `-`
    #[serde(rename = "-")]
    Neg,
    /// `not`
    #[serde(rename = "not")]
    Not,
}

impl UnaryOp {
    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "not",
        }
    }
}

macro_rules! binary_ops {
    ($($name:ident $text:literal $level:literal;)*) => {
        /// An operator between its operands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum BinaryOp {
            $(
                #[doc = concat!("`", $text, "`")]
                #[serde(rename = $text)]
                $name,
            )*
        }

        impl BinaryOp {
            /// All of them, loosest first.
            pub const ALL: &'static [BinaryOp] = &[$(BinaryOp::$name),*];

            /// As written.
            pub fn word(self) -> &'static str {
                match self { $(BinaryOp::$name => $text),* }
            }

            /// Binding strength: higher binds tighter. All associate to the left. A range binds at 4: tighter than
            /// comparisons, looser than arithmetic.
            pub fn level(self) -> u8 {
                match self { $(BinaryOp::$name => $level),* }
            }
        }
    };
}

binary_ops! {
    Or "or" 1;
    And "and" 2;
    Eq "==" 3;
    Ne "!=" 3;
    Le "<=" 3;
    Ge ">=" 3;
    Lt "<" 3;
    Gt ">" 3;
    Add "+" 5;
    Sub "-" 5;
    Mul "*" 6;
    Div "/" 6;
}

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// `%`
    Fraction,
    /// Storage.
    Bytes,
    /// Training: epochs and steps.
    Training,
    /// Examples.
    Samples,
    /// Tokens.
    Tokens,
    /// Wall-clock time.
    Time,
}

impl Dimension {
    /// For messages.
    pub fn word(self) -> &'static str {
        match self {
            Dimension::Fraction => "fraction",
            Dimension::Bytes => "size",
            Dimension::Training => "span of training",
            Dimension::Samples => "number of samples",
            Dimension::Tokens => "number of tokens",
            Dimension::Time => "time",
        }
    }
}

macro_rules! units {
    ($($name:ident $word:literal [$($other:literal)*] $dimension:ident $factor:expr;)*) => {
        /// The unit of a number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Unit {
            $(
                #[doc = concat!("`", $word, "`")]
                #[serde(rename = $word)]
                $name,
            )*
        }

        impl Unit {
            /// All of them.
            pub const ALL: &'static [Unit] = &[$(Unit::$name),*];

            /// Every word that names a unit.
            pub const WORDS: &'static [&'static str] = &[$($word, $($other,)*)*];

            /// The word: singular for those that have a plural.
            pub fn word(self) -> &'static str {
                match self { $(Unit::$name => $word),* }
            }

            /// The unit that a word names (`%`, `GiB`, `epoch`, `epochs`); case matters.
            pub fn parse(word: &str) -> Option<Unit> {
                match word {
                    $($word $(| $other)* => Some(Unit::$name),)*
                    _ => None,
                }
            }

            /// What it measures.
            pub fn dimension(self) -> Dimension {
                match self { $(Unit::$name => Dimension::$dimension),* }
            }

            /// How many of the dimension's own unit it is: parts of one for `%`, bytes for sizes, minutes for times,
            /// 1 for the rest (epochs and steps are not converted into each other).
            pub fn factor(self) -> f64 {
                match self { $(Unit::$name => $factor),* }
            }
        }
    };
}

units! {
    Percent "%" [] Fraction 0.01;
    B "B" [] Bytes 1.0;
    KB "KB" ["kB"] Bytes 1e3;
    MB "MB" [] Bytes 1e6;
    GB "GB" [] Bytes 1e9;
    TB "TB" [] Bytes 1e12;
    KiB "KiB" [] Bytes 1024.0;
    MiB "MiB" [] Bytes 1048576.0;
    GiB "GiB" [] Bytes 1073741824.0;
    TiB "TiB" [] Bytes 1099511627776.0;
    Epoch "epoch" ["epochs"] Training 1.0;
    Step "step" ["steps"] Training 1.0;
    Sample "sample" ["samples"] Samples 1.0;
    Token "token" ["tokens"] Tokens 1.0;
    Minute "minute" ["minutes"] Time 1.0;
    Hour "hour" ["hours"] Time 60.0;
}

impl Unit {
    /// The word after a value: `1 epoch`, `40 epochs`, `5 GB`.
    pub fn word_for(self, value: f64) -> &'static str {
        match self {
            Unit::Epoch if value != 1.0 => "epochs",
            Unit::Step if value != 1.0 => "steps",
            Unit::Sample if value != 1.0 => "samples",
            Unit::Token if value != 1.0 => "tokens",
            Unit::Minute if value != 1.0 => "minutes",
            Unit::Hour if value != 1.0 => "hours",
            _ => self.word(),
        }
    }
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

impl Name {
    /// A name and its place.
    pub fn new(text: impl Into<String>, span: Span) -> Self {
        Name { text: text.into(), span }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Path {
    /// `zoo.llama`
    pub fn dotted(&self) -> String {
        let names: Vec<&str> = self.segments.iter().map(|name| name.text.as_str()).collect();
        names.join(".")
    }

    /// The first name; empty only for a path made by hand without segments.
    pub fn first(&self) -> &str {
        self.segments.first().map_or("", |name| name.text.as_str())
    }

    /// The only name, if there is just one.
    pub fn single(&self) -> Option<&Name> {
        match self.segments.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dotted())
    }
}

impl Reference {
    /// The name, if it is nothing but one name without an index: a bare word may also be a word of a closed list.
    pub fn bare(&self) -> Option<&Name> {
        if self.index.is_none() && self.tail.is_empty() { self.path.single() } else { None }
    }
}

impl ExprKind {
    /// `-` before a number makes a negative number, so that `-1` is one value in text and in JSON.
    pub(crate) fn folded(self) -> Self {
        match self {
            ExprKind::Unary { op: UnaryOp::Neg, operand } => match operand.kind {
                ExprKind::Number(value) => ExprKind::Number(-value),
                ExprKind::Quantity { value, unit } => ExprKind::Quantity { value: -value, unit },
                _ => ExprKind::Unary { op: UnaryOp::Neg, operand },
            },
            other => other,
        }
    }
}

impl Expr {
    /// A value and its place.
    pub fn new(kind: ExprKind, span: Span) -> Self {
        Expr { kind, span }
    }

    /// The bare word, if it is one.
    pub fn bare(&self) -> Option<&Name> {
        match &self.kind {
            ExprKind::Ref(reference) => reference.bare(),
            _ => None,
        }
    }

    /// What it is, for messages: "a number", "a list".
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            ExprKind::Number(_) => "a number",
            ExprKind::Quantity { unit, .. } => match unit.dimension() {
                Dimension::Fraction => "a percentage",
                Dimension::Bytes => "a size",
                Dimension::Training => "a span of training",
                Dimension::Samples => "a number of samples",
                Dimension::Tokens => "a number of tokens",
                Dimension::Time => "a time",
            },
            ExprKind::Text(_) => "a text",
            ExprKind::Bool(_) => "true or false",
            ExprKind::List(_) | ExprKind::Comprehension { .. } => "a list",
            ExprKind::Call(_) => "a call",
            ExprKind::Ref(_) => "a name",
            ExprKind::Range { .. } => "a range",
            ExprKind::Unary { .. } | ExprKind::Binary { .. } => "a calculation",
            ExprKind::Conditional { .. } => "a choice",
        }
    }
}

/// Types that are plain text in JSON: serialise as text, read from text without a place.
macro_rules! as_text {
    ($type:ident, $name:literal, $pattern:expr, |$it:ident| $out:expr, |$text:ident| $in:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $it = self;
                serializer.serialize_str(&$out)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let $text = String::deserialize(deserializer)?;
                Ok($in)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let pattern: Option<&str> = $pattern;
                match pattern {
                    Some(pattern) => schemars::json_schema!({ "type": "string", "pattern": pattern }),
                    None => schemars::json_schema!({ "type": "string" }),
                }
            }
        }
    };
}

as_text!(Name, "Name", None, |it| it.text, |text| Name { text, span: Span::NONE });
as_text!(Text, "Text", None, |it| it.value, |text| Text { value: text, span: Span::NONE });
as_text!(
    Path,
    "Path",
    Some("^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$"),
    |it| it.dotted(),
    |text| Path {
        segments: text.split('.').map(|part| Name { text: part.to_owned(), span: Span::NONE }).collect(),
        span: Span::NONE,
    }
);

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.kind.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Expr { kind: ExprKind::deserialize(deserializer)?.folded(), span: Span::NONE })
    }
}

impl JsonSchema for Expr {
    fn schema_name() -> Cow<'static, str> {
        "Expr".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ExprKind::json_schema(generator)
    }
}
