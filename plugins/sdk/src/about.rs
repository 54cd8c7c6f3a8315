//! What a method says of itself, so that recipes are checked and reference pages are written without running it.

use serde_json::Value as Json;

/// The survey's family (and recipe verb) of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// `align`
    Align,
    /// `repair`
    Repair,
    /// `connect`
    Connect,
    /// `average`
    Average,
    /// `select`
    Select,
    /// `stitch`
    Stitch,
    /// `ensemble`
    Ensemble,
    /// `distill`
    Distill,
    /// `evaluate`
    Evaluate,
}

/// What an input must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Weights of a model.
    Model,
    /// Examples.
    Dataset,
}

/// How the engine calls a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Tiles of elements, with observe passes before apply.
    Elementwise,
    /// No arithmetic: the planner routes tensors (`stitch`).
    Route,
}

/// The edge word of an input in a recipe.
pub type Role = &'static str;

/// An input role.
#[derive(Clone, Debug)]
pub struct Port {
    /// Edge word (`base`, `from`).
    pub role: Role,
    /// What it takes.
    pub space: Space,
    /// Fewest inputs.
    pub min: u32,
    /// Most inputs, `None` for no bound.
    pub max: Option<u32>,
    /// Whether edges may carry per-input settings.
    pub settings: bool,
    /// One sentence.
    pub doc: &'static str,
}

impl Port {
    /// The common ancestor: exactly one model without settings of its own.
    pub const fn base(doc: &'static str) -> Port {
        Port { role: "base", space: Space::Model, min: 1, max: Some(1), settings: false, doc }
    }

    /// `min..=max` models with per-input settings, under the word `from`.
    pub const fn from(min: u32, max: Option<u32>, doc: &'static str) -> Port {
        Port { role: "from", space: Space::Model, min, max, settings: true, doc }
    }
}

/// Name, texts and ports of a method. Parameters come from the schemas of its two parameter types.
#[derive(Clone, Debug)]
pub struct About {
    /// The word after `using`.
    pub id: &'static str,
    /// Bump when results change: it is part of every cache key.
    pub version: u32,
    /// Verb.
    pub category: Category,
    /// One line.
    pub summary: &'static str,
    /// The formula in plain text; several lines allowed.
    pub formula: &'static str,
    /// Authors, title or venue, year.
    pub citation: &'static str,
    /// Inputs, in the order in which [`crate::Tile::inputs`] has them.
    pub ports: Vec<Port>,
    /// How it is called.
    pub class: Class,
    /// Observe passes over all data that are usual, for the plan's estimate; unusual data may need more.
    pub passes: u32,
    /// Whether it draws random numbers; a `seed` setting is then offered.
    pub random: bool,
}

/// [`About`] with the parameter schemas: what registration hands to the language.
#[derive(Clone, Debug)]
pub struct Described {
    /// Names, texts and ports.
    pub about: About,
    /// JSON Schema of the stage's parameters, then of the per-input ones marked `x-input`.
    pub params: Json,
}
