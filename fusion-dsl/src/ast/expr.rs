//! Values and calculations.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Dimension, Name, Path, Unit};
use crate::span::Span;

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

impl Expr {
    /// Whether any name stands in it: its value is not what is written alone.
    pub(crate) fn has_names(&self) -> bool {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Quantity { .. } | ExprKind::Bool(_) => false,
            ExprKind::Text(text) => text.contains('{'),
            ExprKind::Ref(_) => true,
            ExprKind::List(items) => items.iter().any(Expr::has_names),
            ExprKind::Comprehension { source, .. } => source.has_names(),
            ExprKind::Call(call) => call.args.iter().any(|arg| arg.value.has_names()),
            ExprKind::Range { start, end, .. } => start.has_names() || end.has_names(),
            ExprKind::Unary { operand, .. } => operand.has_names(),
            ExprKind::Binary { left, right, .. } => left.has_names() || right.has_names(),
            ExprKind::Conditional { then, condition, otherwise } => {
                [then, condition, otherwise].into_iter().any(|part| part.has_names())
            }
        }
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
