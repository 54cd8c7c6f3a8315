//! The syntax tree of a recipe: what stands in the text, before any name is looked up.
//!
//! It is public and serialisable (`fusion ast --json`): generators and graphical tools write the JSON twin, and
//! [`crate::print`] makes text of it. Spans are kept for messages but take no part in the JSON. To compare two trees
//! without their spans, compare the JSON.

mod clauses;
mod expr;
mod items;
mod units;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::span::Span;

pub use clauses::*;
pub use expr::*;
pub use items::*;
pub use units::*;

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
