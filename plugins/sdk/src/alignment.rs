//! What an align method finds: for every node of a network's symmetries a transform that brings the units of one model into the
//! order of another. It can be applied to any checkpoint with the same symmetries, inverted, composed, kept in a file.
//!
//! Convention: transforms gather. Slot `i` of the result takes unit `p[i]` of the model that is brought over.

mod apply;
mod gather;
mod group;
mod random;
mod structure;

use serde::{Deserialize, Serialize};

use crate::symmetry::{NodeId, Symmetries};

pub use gather::Gather;
pub use structure::StructureError;

/// A matrix, row-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// `rows · columns` values.
    pub values: Vec<f64>,
}

impl Matrix {
    /// All zero.
    #[must_use]
    pub fn zeros(rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// The matrix of a gather: 1 at (i, p[i]).
    #[must_use]
    pub fn of_permutation(permutation: &[u32]) -> Matrix {
        let mut matrix = Matrix::zeros(permutation.len(), permutation.len());
        for (row, &column) in permutation.iter().enumerate() {
            matrix.values[row * permutation.len() + column as usize] = 1.0;
        }
        matrix
    }

    /// A value.
    #[must_use]
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    /// The transpose.
    #[must_use]
    pub fn transposed(&self) -> Matrix {
        let mut other = Matrix::zeros(self.columns, self.rows);
        for row in 0..self.rows {
            for column in 0..self.columns {
                other.values[column * self.rows + row] = self.at(row, column);
            }
        }
        other
    }

    /// The product; rows of `other` are this matrix' columns.
    #[must_use]
    pub fn times(&self, other: &Matrix) -> Matrix {
        let mut product = Matrix::zeros(self.rows, other.columns);
        for row in 0..self.rows {
            let target = &mut product.values[row * other.columns..(row + 1) * other.columns];
            for (middle, source) in other.values.chunks_exact(other.columns.max(1)).enumerate() {
                let factor = self.at(row, middle);
                if factor != 0.0 {
                    target.iter_mut().zip(source).for_each(|(sum, value)| *sum += factor * value);
                }
            }
        }
        product
    }
}

/// What happens to the units of a node. Where the node has parents, there is one entry for each index of theirs in the result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Nothing.
    #[default]
    Identity,
    /// Units change places: slot `i` takes unit `p[i]`.
    Permutation(Vec<Vec<u32>>),
    /// Units are multiplied by positive factors where they are made, and divided by them where they are read.
    Scale(Vec<Vec<f64>>),
    /// Units are mixed: those of the result are `merge · units` ([slots, units]); readers are multiplied by `unmerge` ([units, slots]).
    /// Soft transport plans, merged and unmerged units, networks made wider or narrower.
    Map(Vec<Mix>),
}

/// The two matrices of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Applied where units are made: [slots, units].
    pub merge: Matrix,
    /// Applied where units are read: [units, slots].
    pub unmerge: Matrix,
}

/// A transform for every node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alignment {
    /// [`Symmetries::fingerprint`] of the model that is brought over.
    pub from: String,
    /// That of the result; the same unless widths change.
    pub to: String,
    /// Name of each node with its transform, in the order of the symmetries.
    pub nodes: Vec<(String, Transform)>,
}

/// An alignment that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlignmentError {
    /// It belongs to other symmetries.
    #[error("the alignment belongs to a network with symmetries {found}, this one has {wanted}")]
    Other {
        /// Of the alignment.
        found: String,
        /// Of the network.
        wanted: String,
    },
    /// A transform is not what it should be.
    #[error("the transform of `{node}` {problem}")]
    Transform {
        /// The node.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// Values of another length.
    #[error("`{tensor}` has {found} values, its axes say {wanted}")]
    Length {
        /// The tensor.
        tensor: String,
        /// Given.
        found: usize,
        /// By the axes.
        wanted: usize,
    },
}

impl AlignmentError {
    pub(crate) fn transform(node: &str, problem: impl Into<String>) -> AlignmentError {
        AlignmentError::Transform { node: node.to_owned(), problem: problem.into() }
    }
}

impl Alignment {
    /// The identity on a network.
    #[must_use]
    pub fn identity(symmetries: &Symmetries) -> Alignment {
        Alignment::new(symmetries, symmetries, vec![Transform::Identity; symmetries.nodes.len()])
    }

    /// From transforms in node order. `to` describes the result, with the same nodes.
    #[must_use]
    pub fn new(from: &Symmetries, to: &Symmetries, transforms: Vec<Transform>) -> Alignment {
        let names = from.nodes.iter().map(|node| node.name.clone());
        Alignment { from: from.fingerprint(), to: to.fingerprint(), nodes: names.zip(transforms).collect() }
    }

    /// The transform of a node.
    #[must_use]
    pub fn transform(&self, id: NodeId) -> &Transform {
        &self.nodes[id.index()].1
    }

    /// Whether it only moves units: an aligned model then computes the same function, to rounding.
    #[must_use]
    pub fn permutes(&self) -> bool {
        self.nodes.iter().all(|(_, one)| matches!(one, Transform::Identity | Transform::Permutation(_)))
    }

    /// Whether an aligned model computes the same function: permutations and scales do, maps do not in general.
    #[must_use]
    pub fn preserves(&self) -> bool {
        self.nodes.iter().all(|(_, one)| !matches!(one, Transform::Map(_)))
    }

    /// How many units have another place, of how many; maps and scales move none.
    #[must_use]
    pub fn moved(&self, symmetries: &Symmetries) -> (usize, usize) {
        let (mut moved, mut all) = (0, 0);
        for (id, (_, transform)) in symmetries.ids().zip(&self.nodes) {
            all += symmetries.copies(id) * symmetries.node(id).size;
            if let Transform::Permutation(tables) = transform {
                let places = tables.iter().flat_map(|table| table.iter().enumerate());
                moved += places.filter(|(slot, unit)| *slot != **unit as usize).count();
            }
        }
        (moved, all)
    }

    /// Checks that it belongs to `from`, that transforms are permutations, positive scales or matrices of the right size, and that
    /// parents of mapped nodes are not mapped themselves.
    ///
    /// # Errors
    /// See [`AlignmentError`].
    pub fn check(&self, from: &Symmetries, to: &Symmetries) -> Result<(), AlignmentError> {
        for (found, symmetries) in [(&self.from, from), (&self.to, to)] {
            let wanted = symmetries.fingerprint();
            if *found != wanted || self.nodes.len() != symmetries.nodes.len() {
                return Err(AlignmentError::Other { found: found.clone(), wanted });
            }
        }
        for (id, (name, transform)) in from.ids().zip(&self.nodes) {
            let wrong = |problem: String| Err(AlignmentError::transform(name, problem));
            let (units, slots) = (from.node(id).size, to.node(id).size);
            let (copies, entries) = match transform {
                Transform::Identity if units == slots => continue,
                Transform::Identity => {
                    return wrong(format!("is the identity from {units} units to {slots}"));
                }
                Transform::Permutation(tables) => {
                    let fits = |table: &Vec<u32>| units == slots && is_permutation(table, units);
                    if !tables.iter().all(fits) {
                        return wrong(format!("is no permutation of {units} units"));
                    }
                    (from.copies(id), tables.len())
                }
                Transform::Scale(scales) => {
                    let fits = |scale: &Vec<f64>| {
                        units == slots
                            && scale.len() == units
                            && scale.iter().all(|one| *one > 0.0 && one.is_finite())
                    };
                    if !scales.iter().all(fits) {
                        return wrong(format!("is not made of {units} positive factors"));
                    }
                    (from.copies(id), scales.len())
                }
                Transform::Map(mixes) => {
                    let fits = |matrix: &Matrix, rows: usize, columns: usize| {
                        matrix.rows == rows
                            && matrix.columns == columns
                            && matrix.values.len() == rows * columns
                            && matrix.values.iter().all(|value| value.is_finite())
                    };
                    if !mixes
                        .iter()
                        .all(|mix| fits(&mix.merge, slots, units) && fits(&mix.unmerge, units, slots))
                    {
                        return wrong(format!(
                            "is no pair of finite matrices between {units} and {slots} units"
                        ));
                    }
                    let parents = &from.node(id).parents;
                    if parents.iter().any(|parent| matches!(self.transform(*parent), Transform::Map(_))) {
                        return wrong("is a map in a node that is mapped itself".to_owned());
                    }
                    (to.copies(id), mixes.len())
                }
            };
            if copies != entries {
                return wrong(format!("has {entries} entries, its parents {copies} indices"));
            }
        }
        Ok(())
    }
}

/// Whether a table has every index below `size` once.
fn is_permutation(table: &[u32], size: usize) -> bool {
    let mut seen = vec![false; size];
    table.len() == size
        && table
            .iter()
            .all(|&unit| seen.get_mut(unit as usize).is_some_and(|seen| !std::mem::replace(seen, true)))
}

#[cfg(test)]
mod tests;
