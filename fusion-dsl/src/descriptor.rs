//! What the language knows of a method: a descriptor, plain data, so that recipes are checked without any method's code.
//!
//! A descriptor states the verb (category), the ports, the parameter schema (JSON Schema by schemars, with the `x-` keys of
//! [`ParamSpec`]), the kernel class and what the method needs. `fusion-core` builds one from each registered method;
//! a plugin's manifest carries the same JSON. Blocks that belong to no method (architectures of networks, `data`, `collect`,
//! `report`) have a [`BlockDescriptor`] with the same kind of schema.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::params;
pub use crate::params::{ParamKind, ParamSpec};

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
    /// A transform of units for each node of a network's symmetries.
    Alignment,
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
            Space::Alignment => "alignment",
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
    /// Models in, a path out (`connect`).
    Path,
    /// Models in, the same models with their units in another order out (`align`).
    Align,
    /// A network and data (`train`, `evaluate`, …): the method runs the network.
    Learn,
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
            KernelClass::Path => "path between models",
            KernelClass::Align => "units brought into one order",
            KernelClass::Learn => "network with data",
        }
    }

    /// Whether it works tensor by tensor, so that `on` rules can set parameters for some of them.
    pub fn takes_rules(self) -> bool {
        matches!(self, KernelClass::Elementwise | KernelClass::WholeTensor | KernelClass::Group)
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

impl MethodDescriptor {
    /// The parameters, in schema order. Unreadable schema entries become [`ParamKind::Text`]; registration rejects them earlier.
    pub fn parameters(&self) -> Vec<ParamSpec> {
        params::read(&self.params)
    }
}

/// What the language needs to know of a block that no method declares: an architecture's arguments, the settings of `data`,
/// `collect` and `report`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockDescriptor {
    /// The architecture's name after `of`; for blocks the item's or clause's word.
    pub id: String,
    /// One line.
    pub summary: String,
    /// What it computes, plain text.
    pub formula: String,
    /// Paper and year.
    pub citation: String,
    /// JSON Schema of the parameters (an object schema). Beside the keys of [`ParamSpec`]: `x-positional` (names of the arguments
    /// that may be given without one, in order), `x-sources` in the schema of `data`, and `x-one` in that of `collect`.
    pub params: Json,
}

impl BlockDescriptor {
    /// The parameters, in schema order.
    pub fn parameters(&self) -> Vec<ParamSpec> {
        params::read(&self.params)
    }

    /// Names of the arguments that may be written without one, in order: `mlp(784, [512], 10)`.
    pub fn positional(&self) -> Vec<&str> {
        words(self.params.get("x-positional"))
    }

    /// Names of data sets that are built in rather than files beside the recipe (`x-sources` of the schema of `data`).
    pub fn sources(&self) -> Vec<&str> {
        words(self.params.get("x-sources"))
    }

    /// Words of `collect`'s `recorder` whose part is one model rather than several (`x-one`, of the schema or of `recorder`).
    pub fn one(&self) -> Vec<&str> {
        words(self.params.get("x-one").or_else(|| self.params.pointer("/properties/recorder/x-one")))
    }
}

fn words(list: Option<&Json>) -> Vec<&str> {
    list.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
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
