//! Permutations relaxed to matrices whose rows and columns sum to 1, for methods that move all nodes at once.
//!
//! For the nodes S of a family (`family`) that meet in a tensor there is one matrix M_S[x, y] over their indices together, as the costs of
//! weight matching have it ([`Joint`]). At a permutation it is 1 where unit y of the model goes to slot x; the points between are the
//! convex hull of those, so a head's dimensions are doubly stochastic for every pair of heads, weighted by how much of the one head
//! goes to the other. A tensor B becomes X = (M₁ ⊗ M₂ ⊗ …) B, one factor for each family in it: linear in each matrix. So ⟨T, X⟩ along
//! a segment is a polynomial whose degree is the number of factors, 2 for a chain of layers, and its gradient in M_S is
//! Σ_r T[x, r] · (the other factors B)[y, r].
//!
//! Everything is f64. Memory: n² for a matrix over n indices, and a tensor with its copies at a time.

mod layout;
mod product;
mod tree;

use fusion_sdk::symmetry::{NodeId, Symmetries, TensorRole};
use fusion_sdk::{Context, MethodError};

use crate::cost::Joint;
use crate::family::{Family, families};
use crate::nested;
use crate::state::State;

use layout::Block;
pub(crate) use tree::Blocks;

/// Matrices for all families, in their order; those of a family are for the sets of its nodes that meet in tensors.
pub(crate) type Point = Vec<Vec<Joint>>;

/// A matrix' place in a [`Point`].
pub(crate) type Part = (usize, usize);

/// The symmetries of a network, laid out for soft transforms.
#[derive(Clone, Debug)]
pub(crate) struct Relaxed<'a> {
    /// Of the network.
    pub(crate) symmetries: &'a Symmetries,
    /// In the order of [`Point`].
    pub(crate) families: Vec<Family>,
    /// The nodes of each matrix.
    parts: Vec<Vec<Vec<NodeId>>>,
    /// Of each tensor; empty for those that are not trained.
    blocks: Vec<Vec<Block>>,
}

impl<'a> Relaxed<'a> {
    /// Looks through all trained tensors.
    ///
    /// # Errors
    /// Parents of a node do not lie in each other, or a tensor has a node apart from the node that it lies in.
    pub(crate) fn new(symmetries: &'a Symmetries) -> Result<Self, MethodError> {
        let families = families(symmetries);
        if let Some(family) = families.iter().find(|family| !family.nested) {
            let name = &symmetries.node(family.nodes[family.nodes.len() - 1]).name;
            return Err(MethodError::invalid(format!(
                "`{name}` lies in nodes that do not lie in each other, so its units have no soft assignment"
            ))
            .help("use `weight_matching`, which takes such nodes one at a time"));
        }
        let mut parts = vec![Vec::new(); families.len()];
        let mut blocks = Vec::with_capacity(symmetries.tensors.len());
        for (tensor, described) in symmetries.tensors.iter().enumerate() {
            blocks.push(match described.role {
                TensorRole::Parameter => layout::blocks(symmetries, &families, tensor, &mut parts)?,
                TensorRole::Mean | TensorRole::Variance => Vec::new(),
            });
        }
        Ok(Relaxed { symmetries, families, parts, blocks })
    }

    /// Trained tensors, by index.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.blocks.len()).filter(|tensor| !self.blocks[*tensor].is_empty())
    }

    /// All matrices, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> + use<'_> {
        let each = self.parts.iter().enumerate();
        each.flat_map(|(family, parts)| (0..parts.len()).map(move |part| (family, part)))
    }

    /// Trained tensors that a matrix has a factor in.
    pub(crate) fn uses(&self, part: Part) -> impl Iterator<Item = usize> + use<'_> {
        let has = move |block: &Block| block.groups.iter().any(|group| group.part == part);
        (0..self.blocks.len()).filter(move |tensor| self.blocks[*tensor].iter().any(has))
    }

    /// Most factors of a tensor: the degree of ⟨T, X⟩ along a segment.
    pub(crate) fn degree(&self) -> usize {
        self.blocks.iter().flatten().map(|block| block.groups.len()).max().unwrap_or(0)
    }

    /// Elements of a tensor.
    pub(crate) fn elements(&self, tensor: usize) -> usize {
        self.symmetries.shape(tensor).iter().product()
    }

    /// All matrices 0: a gradient to be added to.
    pub(crate) fn zeros(&self) -> Point {
        let of = |parts: &Vec<Vec<NodeId>>| {
            parts.iter().map(|nodes| Joint::zeros(self.symmetries, nodes)).collect()
        };
        self.parts.iter().map(of).collect()
    }

    /// The centre of the hull: all entries of a matrix over n indices are 1/n.
    pub(crate) fn barycentre(&self) -> Point {
        let mut point = self.zeros();
        for joint in point.iter_mut().flatten() {
            let share = 1.0 / joint.length() as f64;
            joint.values.fill(share);
        }
        point
    }

    /// The matrices of a permutation.
    pub(crate) fn vertex(&self, state: &State) -> Point {
        let mut point = self.zeros();
        for joint in point.iter_mut().flatten() {
            let length = joint.length();
            for x in 0..length {
                let digits = digits(&joint.sizes, x);
                let y = joint.nodes.iter().zip(&joint.sizes).enumerate().fold(0, |y, (at, (id, size))| {
                    let copy = copy_in(self.symmetries, &joint.nodes, *id, &digits);
                    y * size + state.table(*id, copy)[digits[at]] as usize
                });
                joint.values[x * length + y] = 1.0;
            }
        }
        point
    }

    /// The permutations that have the largest product with a point, or with a gradient: nested assignments, ties toward the identity.
    ///
    /// # Errors
    /// A value is not finite, or the user asked to stop.
    pub(crate) fn round(&self, point: &Point, context: Context<'_>) -> Result<State, MethodError> {
        let mut state = State::identity(self.symmetries);
        for (family, joints) in self.families.iter().zip(point) {
            context.check()?;
            nested::solve(self.symmetries, family, joints, context)?.put(&mut state);
        }
        Ok(state)
    }

    /// X: a tensor's values with all its factors applied.
    pub(crate) fn apply(&self, tensor: usize, point: &Point, values: &[f64]) -> Vec<f64> {
        let mut out = values.to_vec();
        for block in &self.blocks[tensor] {
            if !block.groups.is_empty() {
                let moved = block.apply(point, block.pack(values), None);
                block.unpack(&moved, &mut out);
            }
        }
        out
    }

    /// Adds ∂⟨T, X⟩/∂M to `gradient` for one matrix M, where T is `cotangent` and X comes of `values`.
    pub(crate) fn pull(
        &self,
        tensor: usize,
        point: &Point,
        cotangent: &[f64],
        values: &[f64],
        part: Part,
        gradient: &mut [f64],
    ) {
        for block in &self.blocks[tensor] {
            let own = block.groups.iter().enumerate().filter(|(_, group)| group.part == part);
            for (at, _) in own {
                let others = block.apply(point, block.pack(values), Some(at));
                let (outer, length, inner) = block.around(at);
                product::contract(&block.pack(cotangent), &others, outer, length, inner, gradient);
            }
        }
    }
}

/// Row-major digits of a position.
pub(crate) fn digits(sizes: &[usize], mut position: usize) -> Vec<usize> {
    let mut digits = vec![0; sizes.len()];
    for (digit, size) in digits.iter_mut().zip(sizes).rev() {
        *digit = position % size;
        position /= size;
    }
    digits
}

/// The entry of a node's transform where the nodes of a matrix have these digits; its parents are among them.
pub(crate) fn copy_in(symmetries: &Symmetries, nodes: &[NodeId], id: NodeId, digits: &[usize]) -> usize {
    symmetries.copy_of(id, |parent| nodes.iter().position(|own| *own == parent).map_or(0, |at| digits[at]))
}

/// (1 − η)p + ηq, in place of p; at η = 1 it is q to the bit.
pub(crate) fn step(p: &mut Point, q: &Point, eta: f64) {
    for (p, q) in p.iter_mut().flatten().zip(q.iter().flatten()) {
        p.values.iter_mut().zip(&q.values).for_each(|(p, q)| *p = (1.0 - eta) * *p + eta * q);
    }
}

/// Σ of all products of entries.
pub(crate) fn inner(p: &Point, q: &Point) -> f64 {
    let each = p.iter().flatten().zip(q.iter().flatten());
    each.map(|(p, q)| p.values.iter().zip(&q.values).map(|(p, q)| p * q).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests;
