//! What the language knows of a method: a descriptor, plain data, so that recipes are checked without any method's code.
//!
//! A descriptor states the verb (category), the ports, the parameter schema (JSON Schema by schemars, with the `x-` keys of
//! [`ParamSpec`]), the kernel class and what the method needs. `fusion-core` builds one from each registered method;
//! a plugin's manifest carries the same JSON.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The verb of a stage: the method's category. It fixes the type of the stage's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Bring the units of one model into the order of another.
    Align,
    /// Recompute statistics or rescale after a merge.
    Repair,
    /// A path between models.
    Connect,
    /// One model from several, in weight space.
    Average,
    /// Choose some of several models.
    Select,
    /// One model from layer ranges of several.
    Stitch,
    /// Optimise a model on data.
    Train,
    /// Combine outputs rather than weights.
    Ensemble,
    /// Train a student on a teacher's outputs.
    Distill,
    /// Measure.
    Evaluate,
}

impl Verb {
    /// All verbs, in the order of the reference.
    pub const ALL: [Verb; 10] = [
        Verb::Align,
        Verb::Repair,
        Verb::Connect,
        Verb::Average,
        Verb::Select,
        Verb::Stitch,
        Verb::Train,
        Verb::Ensemble,
        Verb::Distill,
        Verb::Evaluate,
    ];

    /// The word in a recipe.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Align => "align",
            Verb::Repair => "repair",
            Verb::Connect => "connect",
            Verb::Average => "average",
            Verb::Select => "select",
            Verb::Stitch => "stitch",
            Verb::Train => "train",
            Verb::Ensemble => "ensemble",
            Verb::Distill => "distill",
            Verb::Evaluate => "evaluate",
        }
    }

    /// The verb that a word names.
    pub fn parse(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// The type of what a stage with this verb yields.
    pub fn result(self) -> Space {
        match self {
            Verb::Align => Space::Model,
            Verb::Connect => Space::Path,
            Verb::Ensemble => Space::Ensemble,
            Verb::Evaluate => Space::Scores,
            Verb::Repair | Verb::Average | Verb::Select | Verb::Stitch | Verb::Train | Verb::Distill => {
                Space::Model
            }
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The types of graph values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// Named tensors: a checkpoint or the result of a stage.
    Model,
    /// A difference of two models (task vector).
    Delta,
    /// A curve through weight space.
    Path,
    /// A map of units onto units.
    Permutation,
    /// Several models whose outputs are combined.
    Ensemble,
    /// Named numbers.
    Scores,
    /// Examples.
    Dataset,
}

impl Space {
    /// The word used in messages and documents.
    pub fn word(self) -> &'static str {
        match self {
            Space::Model => "model",
            Space::Delta => "delta",
            Space::Path => "path",
            Space::Permutation => "permutation",
            Space::Ensemble => "ensemble",
            Space::Scores => "scores",
            Space::Dataset => "dataset",
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An input role that a method declares (`base`, `from`, …).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// The edge word in a recipe.
    pub role: String,
    /// What may be connected.
    pub space: Space,
    /// Fewest inputs.
    pub min: u32,
    /// Most inputs, if bounded.
    pub max: Option<u32>,
    /// Whether edges of this role may carry per-input settings.
    pub settings: bool,
    /// One sentence for the reference.
    pub doc: String,
}

/// How a method sees tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelClass {
    /// Element by element, in chunks, after any observe passes.
    Elementwise,
    /// One whole tensor at a time.
    WholeTensor,
    /// Several tensors at once.
    Group,
    /// The whole model.
    WholeModel,
    /// No arithmetic: tensors are routed (`stitch`).
    Route,
}

impl KernelClass {
    /// In words, for plans and pages.
    pub fn words(self) -> &'static str {
        match self {
            KernelClass::Elementwise => "element-wise",
            KernelClass::WholeTensor => "whole tensor",
            KernelClass::Group => "group of tensors",
            KernelClass::WholeModel => "whole model",
            KernelClass::Route => "route",
        }
    }
}

/// Everything the language needs to know of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MethodDescriptor {
    /// The name after `using`, qualified by a plugin alias where it comes from one.
    pub id: String,
    /// Bumped whenever results change; part of the cache key.
    pub version: u32,
    /// The verb that it belongs to.
    pub verb: Verb,
    /// One line.
    pub summary: String,
    /// The formula, plain text.
    pub formula: String,
    /// Paper and year.
    pub citation: String,
    /// Input roles.
    pub ports: Vec<Port>,
    /// JSON Schema of the parameters (an object schema).
    pub params: Json,
    /// Kernel class.
    pub kernel: KernelClass,
    /// Observe passes that are usual before apply.
    pub passes: u32,
    /// Whether it draws random numbers (a `seed` parameter is then implied).
    pub random: bool,
    /// What it promises of its results: `deterministic`, `commutative`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traits: Vec<String>,
}

/// Lists of lists that are followed: a schema may refer to itself.
const DEEPEST: usize = 8;

/// The type of a parameter as the language checks it.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamKind {
    /// `true` or `false`.
    Bool,
    /// A whole number, not negative.
    Count,
    /// Any finite number.
    Number,
    /// A number in 0..1; `60%` or `0.6`.
    Fraction,
    /// A whole number that starts a random stream.
    Seed,
    /// Quoted text.
    Text,
    /// A size with a unit (`5 GB`).
    Bytes,
    /// A span of training (`40 epochs`, `200 steps`).
    Span,
    /// One of a closed list of words, with a doc line each (may be empty).
    Word(Vec<(String, String)>),
    /// A model reference.
    Model,
    /// A list of the inner kind.
    List(Box<ParamKind>),
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamKind::Bool => f.write_str("bool"),
            ParamKind::Count => f.write_str("count"),
            ParamKind::Number => f.write_str("number"),
            ParamKind::Fraction => f.write_str("fraction"),
            ParamKind::Seed => f.write_str("seed"),
            ParamKind::Text => f.write_str("text"),
            ParamKind::Bytes => f.write_str("bytes"),
            ParamKind::Span => f.write_str("span of training"),
            ParamKind::Word(words) => {
                let names: Vec<_> = words.iter().map(|(word, _)| word.as_str()).collect();
                f.write_str(&names.join(" | "))
            }
            ParamKind::Model => f.write_str("model"),
            ParamKind::List(inner) => write!(f, "list of {inner}"),
        }
    }
}

/// One parameter of a method, read from its schema.
///
/// Schema keys beyond JSON Schema's own: `x-unit` (`fraction`, `seed`, `bytes`, `span`, `model`), `x-varies` (may be set by
/// `on` rules and schedules), `x-input` (may be set per input, on an edge).
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// The name before `=`.
    pub name: String,
    /// Its type.
    pub kind: ParamKind,
    /// From the schema's description.
    pub doc: String,
    /// The default; `None` with `required == false` means that the method decides.
    pub default: Option<Json>,
    /// Whether a recipe must set it.
    pub required: bool,
    /// Lowest allowed value.
    pub min: Option<f64>,
    /// Highest allowed value.
    pub max: Option<f64>,
    /// Whether the lowest value itself is excluded.
    pub min_exclusive: bool,
    /// Whether it may differ per tensor.
    pub varies: bool,
    /// Whether it may differ per input.
    pub per_input: bool,
}

impl MethodDescriptor {
    /// The parameters, in schema order. Unreadable schema entries become [`ParamKind::Text`]; registration rejects them earlier.
    pub fn parameters(&self) -> Vec<ParamSpec> {
        let required: Vec<&str> = self
            .params
            .get("required")
            .and_then(Json::as_array)
            .map(|names| names.iter().filter_map(Json::as_str).collect())
            .unwrap_or_default();
        let empty = Map::new();
        let properties = self.params.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        properties
            .iter()
            .map(|(name, schema)| self.parameter(name, schema, required.contains(&name.as_str())))
            .collect()
    }

    fn parameter(&self, name: &str, schema: &Json, required: bool) -> ParamSpec {
        let target = self.resolve(schema);
        let flag = |key: &str| schema.get(key).and_then(Json::as_bool).unwrap_or(false);
        let number = |key: &str| schema.get(key).or_else(|| target.get(key)).and_then(Json::as_f64);
        let exclusive = number("exclusiveMinimum");
        ParamSpec {
            name: name.to_owned(),
            kind: self.kind(schema, 0),
            doc: schema
                .get("description")
                .or_else(|| target.get("description"))
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned(),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            required,
            min: exclusive.or_else(|| number("minimum")),
            max: number("maximum"),
            min_exclusive: exclusive.is_some(),
            varies: flag("x-varies"),
            per_input: flag("x-input"),
        }
    }

    /// Follows `$ref`, a single `allOf`, and the non-null branch of an optional.
    fn resolve<'a>(&'a self, schema: &'a Json) -> &'a Json {
        if let Some(path) = schema.get("$ref").and_then(Json::as_str) {
            let pointer = path.trim_start_matches('#');
            return self.params.pointer(pointer).unwrap_or(schema);
        }
        for key in ["allOf", "anyOf"] {
            if let Some(branches) = schema.get(key).and_then(Json::as_array) {
                let mut real =
                    branches.iter().filter(|branch| branch.get("type") != Some(&Json::from("null")));
                if let (Some(branch), None) = (real.next(), real.next()) {
                    return self.resolve(branch);
                }
            }
        }
        schema
    }

    fn kind(&self, schema: &Json, depth: usize) -> ParamKind {
        if depth > DEEPEST {
            return ParamKind::Text;
        }
        let target = self.resolve(schema);
        match schema.get("x-unit").or_else(|| target.get("x-unit")).and_then(Json::as_str) {
            Some("fraction") => return ParamKind::Fraction,
            Some("seed") => return ParamKind::Seed,
            Some("bytes") => return ParamKind::Bytes,
            Some("span") => return ParamKind::Span,
            Some("model") => return ParamKind::Model,
            _ => {}
        }
        if let Some(words) = target.get("enum").and_then(Json::as_array) {
            return ParamKind::Word(
                words.iter().filter_map(|w| Some((w.as_str()?.to_owned(), String::new()))).collect(),
            );
        }
        if let Some(branches) = target.get("oneOf").and_then(Json::as_array) {
            return ParamKind::Word(
                branches
                    .iter()
                    .filter_map(|branch| {
                        let word = branch.get("const")?.as_str()?.to_owned();
                        let doc = branch.get("description").and_then(Json::as_str).unwrap_or_default();
                        Some((word, doc.to_owned()))
                    })
                    .collect(),
            );
        }
        let named = match target.get("type") {
            Some(Json::String(one)) => one.as_str(),
            Some(Json::Array(several)) => {
                several.iter().filter_map(Json::as_str).find(|name| *name != "null").unwrap_or("string")
            }
            _ => "string",
        };
        match named {
            "boolean" => ParamKind::Bool,
            "integer" => ParamKind::Count,
            "number" => ParamKind::Number,
            "array" => ParamKind::List(Box::new(
                target.get("items").map_or(ParamKind::Number, |items| self.kind(items, depth + 1)),
            )),
            _ => ParamKind::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Manifests come from anywhere: a schema that contains itself must not end the process.
    #[test]
    fn a_schema_that_contains_itself_ends() {
        let method = MethodDescriptor {
            id: "x".into(),
            version: 1,
            verb: Verb::Average,
            summary: String::new(),
            formula: String::new(),
            citation: String::new(),
            ports: Vec::new(),
            params: json!({ "properties": { "x": { "type": "array", "items": { "$ref": "#/properties/x" } } } }),
            kernel: KernelClass::Elementwise,
            passes: 0,
            random: false,
            traits: Vec::new(),
        };
        let spec = method.parameters().remove(0);
        assert!(spec.kind.to_string().starts_with("list of list of"), "{}", spec.kind);
    }
}
