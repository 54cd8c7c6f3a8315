//! The execution graph: for every tensor of every model in the recipe, where its elements come from.
//!
//! Tensors stand in one arena in topological order. A merged model is a table of names into it, so routing (`stitch`,
//! `copy = …`) costs nothing, and a chain of stages is a chain of entries that the engine computes tile by tile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fusion_dsl::span::Span;
use fusion_sdk::{Layer, RawGroup, RawInput, RawTensor};
use serde_json::{Map, Value as Json};

use super::places::Places;
use crate::checkpoint::{Adapter, Checkpoint, Layout, Stack};
use crate::tensor::Dtype;

/// Index into [`Program::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub u32);

/// Where the elements of a tensor come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// As stored in a checkpoint.
    Stored {
        /// Index into [`Program::sources`].
        source: usize,
        /// Index into the checkpoint's tensors.
        tensor: usize,
    },
    /// A stored tensor plus a low-rank delta, computed as it is read.
    Adapted {
        /// The tensor without the adapter.
        base: TensorId,
        /// Index into [`Program::adapters`].
        adapter: usize,
        /// Name of the target in the adapter.
        target: String,
        /// Multiplies the adapter's own scale.
        scale: f32,
    },
    /// The result of a stage.
    Computed {
        /// Index into [`Program::stages`].
        stage: usize,
        /// Group within the stage.
        group: usize,
        /// Member within the group.
        member: usize,
        /// In port order.
        inputs: Vec<TensorId>,
    },
    /// The bytes of the first, once all others have been found equal (tensors that are no floats).
    Identical {
        /// At least one.
        of: Vec<TensorId>,
    },
}

/// One tensor.
#[derive(Clone, Debug)]
pub struct TensorNode {
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// The dtype that it has (stored) or would be saved in without being asked (computed).
    pub dtype: Dtype,
    /// Where it comes from.
    pub origin: Origin,
}

impl TensorNode {
    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes at its own dtype.
    pub fn bytes(&self) -> u64 {
        self.len() * self.dtype.size() as u64
    }
}

/// A checkpoint that is read.
#[derive(Clone)]
pub struct Source {
    /// The model's name in the recipe (the first, if several name the same files).
    pub name: String,
    /// As written in the recipe.
    pub path: String,
    /// Where the model is declared.
    pub span: Span,
    /// Layers, ties and vocabulary, inferred from the headers.
    pub layout: Layout,
    /// Headers and memory maps.
    pub checkpoint: Arc<Checkpoint>,
    /// The key of the stage that makes it, if it is no input: until that has run only the headers are known.
    pub made_by: Option<String>,
}

impl Source {
    /// The key of the stage that makes it, and which of its models it is.
    pub(crate) fn maker(&self) -> Option<(&str, &str)> {
        let key = self.made_by.as_deref()?;
        Some(key.split_once('/').unwrap_or((key, "model")))
    }
}

/// An adapter that is read.
#[derive(Clone)]
pub struct AdapterSource {
    /// The model's name in the recipe.
    pub name: String,
    /// As written in the recipe.
    pub path: String,
    /// Its matrices.
    pub adapter: Arc<Adapter>,
}

/// Settings of one tensor, shared by all tensors that have the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Stage-level.
    pub params: Map<String, Json>,
    /// Per input.
    pub inputs: Vec<RawInput>,
}

/// One tensor of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Name in the stage's result.
    pub name: String,
    /// Where it lies in the stack.
    pub position: Position,
    /// Shape.
    pub shape: Vec<usize>,
    /// Settings.
    pub settings: Arc<Resolved>,
    /// The arena entry that it computes.
    pub tensor: TensorId,
}

/// A stage that computes.
#[derive(Clone, Debug)]
pub struct StageProgram {
    /// The stage's name in the recipe.
    pub name: String,
    /// Method id.
    pub method: String,
    /// Tensors that share a state.
    pub groups: Vec<Vec<Member>>,
    /// Seed of random methods.
    pub seed: u64,
    /// Names of the inputs, in port order.
    pub inputs: Vec<String>,
    /// Layers of the result.
    pub layers: u32,
    /// Where its errors belong.
    pub places: Arc<Places>,
}

impl StageProgram {
    /// The group as a method wants it.
    pub fn raw_group(&self, group: usize) -> RawGroup {
        RawGroup {
            seed: self.seed,
            tensors: self.groups[group]
                .iter()
                .map(|member| RawTensor {
                    name: member.name.clone(),
                    shape: member.shape.clone(),
                    layer: match member.position {
                        Position::Layer(index) => Some(Layer { index, of: self.layers }),
                        Position::Before | Position::After => None,
                    },
                    params: member.settings.params.clone(),
                    inputs: member.settings.inputs.clone(),
                })
                .collect(),
        }
    }
}

/// Where a tensor lies in its model's stack of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// Before the first layer (embeddings).
    Before,
    /// In this layer.
    Layer(u32),
    /// After the last (final norm, head).
    After,
}

/// A tensor's entry in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewEntry {
    /// In the arena.
    pub tensor: TensorId,
    /// In the stack.
    pub position: Position,
}

/// A model as the recipe sees it: names, layers, and what its `config.json` should say.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Tensors by name.
    pub tensors: BTreeMap<String, ViewEntry>,
    /// Number of layers of the main stack.
    pub layers: u32,
    /// The main stack's names, where there is one.
    pub stack: Option<Stack>,
    /// For each layer, the donor's layer that it was made from (empty: unchanged).
    pub layer_origin: Vec<u32>,
    /// The source whose `config.json` and tokenizer fit.
    pub donor: Option<usize>,
    /// The source whose `config.json` fits, where it is another: that of the widths.
    pub config: Option<usize>,
    /// Whether the head is tied to the embeddings.
    pub tied: bool,
    /// The architecture, where the recipe has built the network.
    pub network: Option<NetworkOf>,
}

/// What is known of a model that is a network of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkOf {
    /// Index of its architecture among the experiment's.
    pub architecture: usize,
    /// Its BatchNorm statistics belong to no one: it was computed from networks that each had their own.
    pub stale: bool,
    /// How first weights of it are drawn; of what a stage has made, the usual way.
    #[cfg(feature = "learn")]
    pub init: fusion_network::Init,
}

impl NetworkOf {
    /// What a stage makes of this architecture.
    #[cfg(feature = "learn")]
    pub fn made(architecture: usize, stale: bool) -> Self {
        NetworkOf { architecture, stale, init: fusion_network::Init::Usual }
    }
}

impl View {
    /// A view with the same layers and donor and without tensors.
    pub fn like(&self) -> View {
        View {
            tensors: BTreeMap::new(),
            layers: self.layers,
            stack: self.stack.clone(),
            layer_origin: self.layer_origin.clone(),
            donor: self.donor,
            config: self.config,
            tied: self.tied,
            network: self.network,
        }
    }
}

/// Everything that the engine needs.
#[derive(Clone, Default)]
pub struct Program {
    /// Checkpoints.
    pub sources: Vec<Source>,
    /// Adapters.
    pub adapters: Vec<AdapterSource>,
    /// All tensors, inputs before what is computed from them.
    pub tensors: Vec<TensorNode>,
    /// Stages that compute, in topological order.
    pub stages: Vec<StageProgram>,
}

impl Program {
    /// A tensor.
    pub fn tensor(&self, id: TensorId) -> &TensorNode {
        &self.tensors[id.0 as usize]
    }

    /// Adds a tensor.
    pub fn push(&mut self, node: TensorNode) -> TensorId {
        self.tensors.push(node);
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// The tensors that `roots` are computed from, themselves included, in topological order.
    pub fn closure(&self, roots: &[TensorId]) -> Vec<TensorId> {
        self.closure_until(roots, |_| false)
    }

    /// The same, going no further back than to tensors that `there` knows.
    pub fn closure_until(&self, roots: &[TensorId], there: impl Fn(TensorId) -> bool) -> Vec<TensorId> {
        let mut seen = BTreeSet::new();
        let mut stack = roots.to_vec();
        while let Some(id) = stack.pop() {
            if seen.insert(id) && !there(id) {
                match &self.tensor(id).origin {
                    Origin::Stored { .. } => {}
                    Origin::Adapted { base, .. } => stack.push(*base),
                    Origin::Computed { inputs, .. } => stack.extend(inputs),
                    Origin::Identical { of } => stack.extend(of),
                }
            }
        }
        seen.into_iter().collect()
    }

    /// The closure of the roots, where a tensor of a group brings in all members: they share a state.
    pub fn closure_with_groups(&self, roots: &[TensorId]) -> Vec<TensorId> {
        let mut roots = roots.to_vec();
        loop {
            let closure = self.closure(&roots);
            let mut more: BTreeSet<TensorId> = closure.iter().copied().collect();
            for id in &closure {
                if let Origin::Computed { stage, group, .. } = self.tensor(*id).origin {
                    more.extend(self.stages[stage].groups[group].iter().map(|member| member.tensor));
                }
            }
            if more.len() == closure.len() {
                return closure;
            }
            roots = more.into_iter().collect();
        }
    }

    /// A stored tensor's bytes, `None` for others.
    pub fn stored(&self, id: TensorId) -> Option<(usize, usize)> {
        match self.tensor(id).origin {
            Origin::Stored { source, tensor } => Some((source, tensor)),
            _ => None,
        }
    }
}
