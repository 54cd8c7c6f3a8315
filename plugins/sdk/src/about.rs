//! What a method says of itself, so that recipes are checked and reference pages are written without running it.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The survey's family (and recipe verb) of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// `train`
    Train,
    /// `ensemble`
    Ensemble,
    /// `distill`
    Distill,
    /// `evaluate`
    Evaluate,
}

/// What an input must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Space {
    /// Weights of a model.
    Model,
    /// A model, seen as its task vector: the weights minus those of the port `base`, which the method must have with exactly one
    /// input. What the method computes is a change of the base, and is added to it. Not for [`crate::WholeModel`].
    Delta,
    /// Examples.
    Dataset,
    /// A path through weight space.
    Path,
    /// Models whose outputs are combined.
    Ensemble,
    /// What an align method has found: see [`crate::alignment::Alignment`].
    Alignment,
}

/// How the engine calls a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// Tiles of elements, with observe passes before apply.
    Elementwise,
    /// One whole tensor.
    WholeTensor,
    /// Several tensors together.
    Group,
    /// Whole models.
    WholeModel,
    /// No arithmetic: the planner routes tensors (`stitch`).
    Route,
    /// A path between models: [`crate::connect::Connect`].
    Path,
    /// Units of models brought into one order: [`crate::align::Align`].
    Align,
    /// Built into the engine: it trains, repairs, combines outputs or measures on networks and data.
    Learn,
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

    /// The same, seen as task vectors: see [`Space::Delta`].
    pub const fn deltas(min: u32, max: Option<u32>, doc: &'static str) -> Port {
        Port { role: "from", space: Space::Delta, min, max, settings: true, doc }
    }
}

/// What a method says of its results. `fusion plugin check` holds it to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Claim {
    /// The same inputs and settings give the same bits, for any chunk size and number of threads.
    Deterministic,
    /// The order of the inputs of the last port does not matter, up to rounding.
    Commutative,
    /// Equal inputs give that input, up to rounding.
    Idempotent,
    /// Adding one tensor to all inputs adds it to the result, up to rounding.
    Affine,
    /// Scaling all inputs by one positive number scales the result, up to rounding.
    ScaleEquivariant,
}

impl Claim {
    /// All claims with their bit in the contract.
    pub const ALL: [(Claim, u64); 5] = [
        (Claim::Deterministic, fusion_abi::FUSION_TRAIT_DETERMINISTIC),
        (Claim::Commutative, fusion_abi::FUSION_TRAIT_COMMUTATIVE),
        (Claim::Idempotent, fusion_abi::FUSION_TRAIT_IDEMPOTENT),
        (Claim::Affine, fusion_abi::FUSION_TRAIT_AFFINE),
        (Claim::ScaleEquivariant, fusion_abi::FUSION_TRAIT_SCALE_EQUIVARIANT),
    ];

    /// The word in documents.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Claim::Deterministic => "deterministic",
            Claim::Commutative => "commutative",
            Claim::Idempotent => "idempotent",
            Claim::Affine => "affine",
            Claim::ScaleEquivariant => "scale-equivariant",
        }
    }
}

/// Name, texts and ports of a method. Parameters come from the schemas of its two parameter types, the class from the trait that it
/// implements.
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
    /// Whether it draws random numbers; a `seed` setting is then offered.
    pub random: bool,
    /// What holds for its results.
    pub claims: &'static [Claim],
}

/// [`About`] with what the method's trait and types say: what registration hands to the language.
#[derive(Clone, Debug)]
pub struct Described {
    /// Names, texts and ports.
    pub about: About,
    /// How it is called.
    pub class: Class,
    /// Observe passes that are usual, for the plan's estimate.
    pub passes: u32,
    /// JSON Schema of the stage's parameters, then of the per-input ones marked `x-input`.
    pub params: Json,
}
