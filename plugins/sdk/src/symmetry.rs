//! Which units of a network may change places without changing what it computes, as axis expressions over index nodes.
//!
//! A *node* is a set of units that can be permuted: the channels of a layer, the heads of an attention, the dimensions of a head. An axis of
//! a tensor is a concatenation of products of nodes ([`Axis`]): `fc1.weight = h0, reads pin[784]` says that rows go with the node `h0`, and
//! columns stay. A node may lie *in* others: the dimensions of a head are permuted in each head on its own, so such a node has one
//! transform for each index of its parents, and the group is an iterated wreath product.
//!
//! | structure | axis |
//! |---|---|
//! | convolution, flattened, linear layer | `reads c · pin[49]` |
//! | values of multi-head attention | `head · dv` with `dv in head` |
//! | queries under grouped heads and rotary embedding | `kv · r · pin[128]` with `r in kv` |
//! | fused queries, keys and values | `head · dqk ++ head · dqk ++ head · dv` |
//! | queries, keys and values fused head by head | `head · (pin[96] ++ dv)` |
//! | zero-padded shortcut | `low ++ stage1 ++ high` |
//! | rows of an LSTM's four gates | `h ++ h ++ h ++ h` |
//!
//! Such a description is inferred from a network's graph, taken from a template for the names of a checkpoint, or declared as text
//! ([`Symmetries::parse`], [`std::fmt::Display`]). See Ainsworth, Hayase, Srinivasa, "Git Re-Basin", ICLR 2023, for permutation groups;
//! the expressions extend them to heads, groups and fused projections.

mod check;
mod pin;
mod positions;
mod text;

use serde::{Deserialize, Serialize};

pub use check::SymmetryError;
pub use positions::{Place, Uses};
pub use text::TextError;

/// A node's place in [`Symmetries::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Units that can be permuted among each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What messages call it; unique.
    pub name: String,
    /// How many units: for a node with parents, in each of their indices.
    pub size: usize,
    /// The nodes that it lies in, all of them (parents of parents too), in ascending order. There is a transform for each index of their
    /// product, the last one fastest.
    #[serde(default)]
    pub parents: Vec<NodeId>,
    /// Whether units may also be scaled by positive factors (ReLU and its like between writers and readers).
    #[serde(default)]
    pub scalable: bool,
}

/// A factor of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Indices of a node.
    Node(NodeId),
    /// Indices that stay where they are.
    Pinned(usize),
}

/// Factors in row-major order, the slowest first. Without factors it is an axis of length 1.
pub type Product = Vec<Factor>;

/// What a tensor does with the units along an axis. Permutations are the same for all; maps and scales are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Makes them: rows of a linear layer, biases, norms, columns of an embedding.
    #[default]
    Writes,
    /// Takes them in: columns of a linear layer.
    Reads,
    /// Both: an embedding that is the output layer too.
    Both,
}

/// An axis of a tensor: products behind each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// The products.
    pub segments: Vec<Product>,
    /// What the tensor does with the units.
    #[serde(default)]
    pub side: Side,
    /// Whether it and the next axis are one dimension of the tensor, this one the slower: `head · (q ++ v)` is the joined axis `head`, of one
    /// product, and the axis `q ++ v` of the same side. So axes may be finer than a tensor's dimensions, never coarser.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What a tensor is, as far as transforms ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorRole {
    /// Trained.
    #[default]
    Parameter,
    /// Running mean of a normalisation.
    Mean,
    /// Running variance: scales with the square.
    Variance,
}

/// A tensor with its axes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorAxes {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub role: TensorRole,
    /// One for each dimension, in order; more where a dimension is of joined axes ([`Axis::joined`]).
    pub axes: Vec<Axis>,
}

impl TensorAxes {
    /// The axes of each dimension.
    pub fn dimensions(&self) -> impl Iterator<Item = &[Axis]> {
        self.axes.split_inclusive(|axis| !axis.joined)
    }

    /// Turns the dimensions round: [out, in] becomes [in, out].
    pub fn transpose(&mut self) {
        let mut dimensions: Vec<Vec<Axis>> = self.dimensions().map(<[Axis]>::to_vec).collect();
        dimensions.reverse();
        self.axes = dimensions.concat();
    }
}

/// Where a description comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From the graph of a network.
    Inferred,
    /// From a template for the names of tensors.
    Template(String),
    /// From a text.
    Declared,
}

/// The symmetries of a network: its nodes, and the axes of all its tensors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symmetries {
    /// Where they come from.
    pub origin: Origin,
    /// Units that can be permuted; every node is used by a tensor.
    pub nodes: Vec<Node>,
    /// All tensors that take part. Others stay as they are.
    pub tensors: Vec<TensorAxes>,
    /// What is pinned though one might expect otherwise, and why.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Symmetries {
    /// A node.
    ///
    /// # Panics
    /// If it is none of these symmetries.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(|index| NodeId(index as u32))
    }

    /// All nodes in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The place of the tensor of this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<usize> {
        self.tensors.iter().position(|tensor| tensor.name == name)
    }

    /// How many transforms a node has: the product of its parents' sizes, 1 without any. As the lengths below, `usize::MAX` for what is larger.
    #[must_use]
    pub fn copies(&self, id: NodeId) -> usize {
        let sizes = self.node(id).parents.iter().map(|parent| self.node(*parent).size);
        sizes.fold(1, usize::saturating_mul)
    }

    /// Length of a factor.
    #[must_use]
    pub fn length(&self, factor: Factor) -> usize {
        match factor {
            Factor::Node(id) => self.node(id).size,
            Factor::Pinned(length) => length,
        }
    }

    /// Length of a product.
    #[must_use]
    pub fn product_length(&self, product: &[Factor]) -> usize {
        product.iter().map(|factor| self.length(*factor)).fold(1, usize::saturating_mul)
    }

    /// Length of an axis.
    #[must_use]
    pub fn axis_length(&self, axis: &Axis) -> usize {
        axis.segments.iter().map(|product| self.product_length(product)).fold(0, usize::saturating_add)
    }

    /// The shape of a tensor: one length for each dimension.
    #[must_use]
    pub fn shape(&self, tensor: usize) -> Vec<usize> {
        let length =
            |axes: &[Axis]| axes.iter().map(|axis| self.axis_length(axis)).fold(1, usize::saturating_mul);
        self.tensors[tensor].dimensions().map(length).collect()
    }

    /// The lengths of a tensor's axes, which may be finer than its dimensions; elements are row-major in them as in those.
    #[must_use]
    pub fn lengths(&self, tensor: usize) -> Vec<usize> {
        self.tensors[tensor].axes.iter().map(|axis| self.axis_length(axis)).collect()
    }

    /// The same with other sizes of nodes, in node order: the network made wider or narrower.
    #[must_use]
    pub fn resized(&self, sizes: &[usize]) -> Symmetries {
        let mut other = self.clone();
        for (node, &size) in other.nodes.iter_mut().zip(sizes) {
            node.size = size;
        }
        other
    }

    /// Names the description: 16 hexadecimal digits over nodes, their sizes and the axes of all tensors (FNV-1a of the text).
    /// Alignments are used with symmetries of the same fingerprint only.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        format!("{hash:016x}")
    }
}
