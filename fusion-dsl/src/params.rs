//! Parameters as the language checks them, read from a JSON Schema: methods, architectures of networks and the blocks of `data`,
//! `collect` and `report` all declare theirs in this form.

use std::fmt;

use serde_json::{Map, Value as Json};

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
    /// A span of training (`40 epochs`, `200 steps`, `512 samples`).
    Span,
    /// A number of examples (`512 samples`, or bare).
    Samples,
    /// A number of tokens (`2048 tokens`, or bare).
    Tokens,
    /// A half-open range of fractions (`90%..100%`).
    Range,
    /// One of a closed list of words, with a doc line each (may be empty).
    Word(Vec<(String, String)>),
    /// A model reference.
    Model,
    /// A list of the inner kind.
    List(Box<ParamKind>),
    /// A number of the inner kind, or a schedule of such numbers over the time of a training.
    Schedule(Box<ParamKind>),
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
            ParamKind::Samples => f.write_str("samples"),
            ParamKind::Tokens => f.write_str("tokens"),
            ParamKind::Range => f.write_str("range of fractions"),
            ParamKind::Word(words) => {
                let names: Vec<_> = words.iter().map(|(word, _)| word.as_str()).collect();
                f.write_str(&names.join(" | "))
            }
            ParamKind::Model => f.write_str("model"),
            ParamKind::List(inner) => write!(f, "list of {inner}"),
            ParamKind::Schedule(inner) => write!(f, "{inner} or schedule over time"),
        }
    }
}

/// One parameter of a method, read from its schema.
///
/// Schema keys beyond JSON Schema's own: `x-unit` (`fraction`, `seed`, `bytes`, `span`, `samples`, `tokens`, `range`, `schedule`,
/// `model`), `x-bare` (the unit of a span written as a bare number), `x-varies` (may be set by `on` rules and by schedules over layers),
/// `x-input` (may be set per input, on an edge).
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
    /// The unit of a span that is written without one (`epoch`).
    pub bare: Option<String>,
}

/// The parameters of an object schema, in its order. Unreadable entries become [`ParamKind::Text`].
pub(crate) fn read(params: &Json) -> Vec<ParamSpec> {
    let required: Vec<&str> = params
        .get("required")
        .and_then(Json::as_array)
        .map(|names| names.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    let empty = Map::new();
    let properties = params.get("properties").and_then(Json::as_object).unwrap_or(&empty);
    let reader = Reader { params };
    properties
        .iter()
        .map(|(name, schema)| reader.parameter(name, schema, required.contains(&name.as_str())))
        .collect()
}

/// A schema while it is read; references in it start at its root.
struct Reader<'a> {
    params: &'a Json,
}

impl<'a> Reader<'a> {
    fn parameter(&self, name: &str, schema: &'a Json, required: bool) -> ParamSpec {
        let target = self.resolve(schema);
        let flag = |key: &str| schema.get(key).and_then(Json::as_bool).unwrap_or(false);
        // Bounds of a list are those of its elements.
        let items = target.get("items");
        let number = |key: &str| {
            let bound = [schema, target].into_iter().chain(items).find_map(|schema| schema.get(key));
            bound.and_then(Json::as_f64)
        };
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
            bare: schema.get("x-bare").and_then(Json::as_str).map(str::to_owned),
        }
    }

    /// Follows `$ref`, a single `allOf`, and the non-null branch of an optional.
    fn resolve(&self, schema: &'a Json) -> &'a Json {
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

    fn kind(&self, schema: &'a Json, depth: usize) -> ParamKind {
        if depth > DEEPEST {
            return ParamKind::Text;
        }
        let target = self.resolve(schema);
        match schema.get("x-unit").or_else(|| target.get("x-unit")).and_then(Json::as_str) {
            Some("fraction") => return ParamKind::Fraction,
            Some("seed") => return ParamKind::Seed,
            Some("bytes") => return ParamKind::Bytes,
            Some("span") => return ParamKind::Span,
            Some("samples") => return ParamKind::Samples,
            Some("tokens") => return ParamKind::Tokens,
            Some("range") => return ParamKind::Range,
            Some("schedule") => {
                let whole = target.get("type").and_then(Json::as_str) == Some("integer");
                let inner = if whole { ParamKind::Count } else { ParamKind::Number };
                return ParamKind::Schedule(Box::new(inner));
            }
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
