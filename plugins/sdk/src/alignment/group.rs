//! Alignments as elements of a group: inverse and composition.

use super::{Alignment, AlignmentError, Matrix, Mix, Transform};
use crate::symmetry::{NodeId, Symmetries};

impl Alignment {
    /// The alignment that undoes this one. Permutations are undone exactly, scales to rounding.
    ///
    /// # Errors
    /// A node is mapped: mixed units cannot be told apart again.
    pub fn inverse(&self, symmetries: &Symmetries) -> Result<Alignment, AlignmentError> {
        let mut transforms = Vec::with_capacity(self.nodes.len());
        for (id, (name, transform)) in symmetries.ids().zip(&self.nodes) {
            let copies = symmetries.copies(id);
            // The copies of the result and those that they come from, in the inverse's order.
            let mut back = vec![0; copies];
            for copy in 0..copies {
                back[self.source_copy(symmetries, id, copy)] = copy;
            }
            transforms.push(match transform {
                Transform::Identity => Transform::Identity,
                Transform::Permutation(tables) => {
                    let inverse = |table: &Vec<u32>| {
                        let mut inverse = vec![0; table.len()];
                        for (slot, &unit) in table.iter().enumerate() {
                            inverse[unit as usize] = slot as u32;
                        }
                        inverse
                    };
                    Transform::Permutation(back.iter().map(|copy| inverse(&tables[*copy])).collect())
                }
                Transform::Scale(scales) => Transform::Scale(
                    back.iter().map(|copy| scales[*copy].iter().map(|scale| 1.0 / scale).collect()).collect(),
                ),
                Transform::Map(_) => {
                    return Err(AlignmentError::transform(name, "is a map, which has no inverse"));
                }
            });
        }
        Ok(Alignment {
            from: self.to.clone(),
            to: self.from.clone(),
            nodes: self.nodes.iter().map(|(name, _)| name.clone()).zip(transforms).collect(),
        })
    }

    /// First this one, then `next`. `middle` describes what lies between.
    ///
    /// # Errors
    /// `next` does not begin where this one ends.
    pub fn then(&self, next: &Alignment, middle: &Symmetries) -> Result<Alignment, AlignmentError> {
        if self.to != next.from || self.nodes.len() != next.nodes.len() {
            return Err(AlignmentError::Other { found: next.from.clone(), wanted: self.to.clone() });
        }
        let mut transforms = Vec::with_capacity(self.nodes.len());
        for id in middle.ids() {
            let (first, second) = (self.transform(id), next.transform(id));
            let copies = middle.copies(id);
            let of = |copy: usize| next.source_copy(middle, id, copy);
            transforms.push(match (first, second) {
                (Transform::Identity, second) => second.clone(),
                // The first transform's entries go along with the units of the parents.
                (Transform::Permutation(tables), Transform::Identity) => {
                    Transform::Permutation((0..copies).map(|copy| tables[of(copy)].clone()).collect())
                }
                (Transform::Permutation(tables), Transform::Permutation(others)) => {
                    let both = |copy: usize| {
                        others[copy].iter().map(|unit| tables[of(copy)][*unit as usize]).collect()
                    };
                    Transform::Permutation((0..copies).map(both).collect())
                }
                (Transform::Scale(scales), Transform::Identity) => {
                    Transform::Scale((0..copies).map(|copy| scales[of(copy)].clone()).collect())
                }
                (Transform::Scale(scales), Transform::Scale(others)) => {
                    let both = |copy: usize| {
                        let pairs = scales[of(copy)].iter().zip(&others[copy]);
                        pairs.map(|(one, other)| one * other).collect()
                    };
                    Transform::Scale((0..copies).map(both).collect())
                }
                _ => {
                    let size = middle.node(id).size;
                    let both = |copy: usize| {
                        let (first, second) = (mix(first, of(copy), size), mix(second, copy, size));
                        Mix {
                            merge: second.merge.times(&first.merge),
                            unmerge: first.unmerge.times(&second.unmerge),
                        }
                    };
                    Transform::Map((0..copies).map(both).collect())
                }
            });
        }
        Ok(Alignment {
            from: self.from.clone(),
            to: next.to.clone(),
            nodes: self.nodes.iter().map(|(name, _)| name.clone()).zip(transforms).collect(),
        })
    }

    /// The entry of a node's transform in the model that is brought over, for an entry of the result: parents move too.
    fn source_copy(&self, symmetries: &Symmetries, id: NodeId, copy: usize) -> usize {
        let parents = &symmetries.node(id).parents;
        let mut values = vec![0; parents.len()];
        let mut rest = copy;
        for (value, parent) in values.iter_mut().zip(parents).rev() {
            let size = symmetries.node(*parent).size;
            *value = rest % size;
            rest /= size;
        }
        let of =
            |wanted: NodeId| parents.iter().position(|parent| *parent == wanted).map_or(0, |at| values[at]);
        parents.iter().zip(&values).fold(0, |index, (parent, &value)| {
            let source = match self.transform(*parent) {
                Transform::Permutation(tables) => tables[symmetries.copy_of(*parent, of)][value] as usize,
                _ => value,
            };
            index * symmetries.node(*parent).size + source
        })
    }
}

/// Any transform as a map.
fn mix(transform: &Transform, copy: usize, size: usize) -> Mix {
    let diagonal = |factor: &dyn Fn(usize) -> f64| {
        let mut matrix = Matrix::zeros(size, size);
        for unit in 0..size {
            matrix.values[unit * size + unit] = factor(unit);
        }
        matrix
    };
    match transform {
        Transform::Identity => Mix { merge: diagonal(&|_| 1.0), unmerge: diagonal(&|_| 1.0) },
        Transform::Permutation(tables) => {
            let merge = Matrix::of_permutation(&tables[copy]);
            Mix { unmerge: merge.transposed(), merge }
        }
        Transform::Scale(scales) => Mix {
            merge: diagonal(&|unit| scales[copy][unit]),
            unmerge: diagonal(&|unit| 1.0 / scales[copy][unit]),
        },
        Transform::Map(mixes) => mixes[copy].clone(),
    }
}
