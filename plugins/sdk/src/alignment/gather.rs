//! Permutations of all axes of a tensor as runs of elements to copy, for values of any size: f32 in memory, two bytes in a file.

use super::{AlignmentError, Transform};
use crate::symmetry::{Axis, Factor, NodeId, Product, Symmetries};

/// Where the positions along an axis come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Along {
    /// They stay.
    Still,
    /// Position `i` takes position `p[i]`.
    Moved(Vec<u32>),
    /// As `Moved`, by a table that the position along another axis chooses: input channels in the groups of output channels.
    Chosen { by: usize, choice: Vec<u32>, tables: Vec<Vec<u32>> },
}

/// A tensor's elements in their new order.
#[derive(Clone, Debug)]
pub struct Gather {
    /// Lengths of its axes.
    shape: Vec<usize>,
    along: Vec<Along>,
}

impl Gather {
    /// From the permutations among the transforms of the nodes; other transforms count as the identity.
    ///
    /// # Errors
    /// A node's parents lie in two other axes.
    pub(super) fn new(
        symmetries: &Symmetries,
        transforms: &[(String, Transform)],
        tensor: usize,
    ) -> Result<Gather, AlignmentError> {
        let axes = &symmetries.tensors[tensor].axes;
        let along = (0..axes.len())
            .map(|axis| along(symmetries, transforms, axes, axis))
            .collect::<Result<_, _>>()?;
        Ok(Gather { shape: symmetries.lengths(tensor), along })
    }

    /// Whether every element stays.
    #[must_use]
    pub fn is_still(&self) -> bool {
        self.along.iter().all(|along| *along == Along::Still)
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Calls `copy(target, source, length)` for runs of elements that cover the result once, in ascending order of `target`.
    pub fn runs(&self, mut copy: impl FnMut(usize, usize, usize)) {
        let Some(last) = self.innermost() else { return copy(0, 0, self.elements()) };
        // Tables of the innermost axis as runs of neighbours, once.
        let runs: Vec<Vec<(usize, usize, usize)>> = self.tables(last).map(neighbours).collect();
        let block: usize = self.shape[last + 1..].iter().product();
        self.walk(last, |target, source, table| {
            for &(to, from, length) in &runs[table] {
                copy(target + to * block, source + from * block, length * block);
            }
        });
    }

    /// Calls `copy(target, source, table, block)` for every row of the innermost axis that moves, in ascending order of `target`: the `k`-th
    /// block of the result's row is the block `table[k]` of the source's. None if everything stays.
    pub fn rows(&self, mut copy: impl FnMut(usize, usize, &[u32], usize)) {
        let Some(last) = self.innermost() else { return };
        let tables: Vec<&[u32]> = self.tables(last).collect();
        let block: usize = self.shape[last + 1..].iter().product();
        self.walk(last, |target, source, table| copy(target, source, tables[table], block));
    }

    /// The innermost axis that moves.
    fn innermost(&self) -> Option<usize> {
        self.along.iter().rposition(|along| *along != Along::Still)
    }

    /// The tables of an axis.
    fn tables(&self, axis: usize) -> impl Iterator<Item = &[u32]> {
        let (one, all): (Option<&Vec<u32>>, &[Vec<u32>]) = match &self.along[axis] {
            Along::Still => (None, &[]),
            Along::Moved(table) => (Some(table), &[]),
            Along::Chosen { tables, .. } => (None, tables),
        };
        one.into_iter().chain(all).map(Vec::as_slice)
    }

    /// Where the rows of an axis begin in the result and in the source, and which table they go by.
    fn walk(&self, last: usize, mut row: impl FnMut(usize, usize, usize)) {
        if self.elements() == 0 {
            return;
        }
        let block: usize = self.shape[last + 1..].iter().product();
        let mut strides = vec![block; last + 1];
        for axis in (0..last).rev() {
            strides[axis] = strides[axis + 1] * self.shape[axis + 1];
        }
        let mut index = vec![0; last];
        let mut target = 0;
        loop {
            let source: usize = (0..last).map(|axis| self.source(axis, &index) * strides[axis]).sum();
            let table = match &self.along[last] {
                Along::Chosen { by, choice, .. } => choice[index[*by]] as usize,
                _ => 0,
            };
            row(target, source, table);
            target += self.shape[last] * block;
            let Some(axis) = (0..last).rev().find(|axis| index[*axis] + 1 < self.shape[*axis]) else {
                return;
            };
            index[axis] += 1;
            index[axis + 1..].fill(0);
        }
    }

    fn source(&self, axis: usize, index: &[usize]) -> usize {
        match &self.along[axis] {
            Along::Still => index[axis],
            Along::Moved(table) => table[index[axis]] as usize,
            Along::Chosen { by, choice, tables } => {
                // An axis behind the innermost moved one is still; its index plays no part.
                let row = index.get(*by).map_or(0, |at| choice[*at] as usize);
                tables[row][index[axis]] as usize
            }
        }
    }
}

/// A table as (target, source, length).
fn neighbours(table: &[u32]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (to, &from) in table.iter().enumerate() {
        match runs.last_mut() {
            Some((_, begin, length)) if *begin + *length == from as usize => *length += 1,
            _ => runs.push((to, from as usize, 1)),
        }
    }
    runs
}

fn along(
    symmetries: &Symmetries,
    transforms: &[(String, Transform)],
    axes: &[Axis],
    axis: usize,
) -> Result<Along, AlignmentError> {
    let own = &axes[axis];
    let nodes = |product: &Product| {
        let ids = product.iter().filter_map(|factor| match factor {
            Factor::Node(id) => Some(*id),
            Factor::Pinned(_) => None,
        });
        ids.collect::<Vec<NodeId>>()
    };
    let permuted = |id: &NodeId| matches!(transforms[id.index()].1, Transform::Permutation(_));
    if !own.segments.iter().any(|product| nodes(product).iter().any(permuted)) {
        return Ok(Along::Still);
    }
    // Parents that are not in the products themselves.
    let mut outside: Vec<NodeId> = Vec::new();
    for product in &own.segments {
        let here = nodes(product);
        for id in here.iter().filter(|id| permuted(id)) {
            let parents = symmetries.node(*id).parents.iter();
            outside.extend(parents.filter(|parent| !here.contains(parent)));
        }
    }
    outside.sort_unstable();
    outside.dedup();
    let table = |value: &dyn Fn(NodeId) -> usize| {
        let mut table = Vec::with_capacity(symmetries.axis_length(own));
        let (mut offset, mut digits) = (0, Vec::new());
        for product in &own.segments {
            let length = symmetries.product_length(product);
            for position in 0..length {
                symmetries.digits(product, position, &mut digits);
                let mut source = 0;
                for (at, factor) in product.iter().enumerate() {
                    let digit = match factor {
                        Factor::Node(id) => match &transforms[id.index()].1 {
                            Transform::Permutation(tables) => {
                                let copy = symmetries.copy_of(*id, |parent| {
                                    let here =
                                        product.iter().position(|other| *other == Factor::Node(parent));
                                    here.map_or_else(|| value(parent), |here| digits[here])
                                });
                                tables[copy][digits[at]] as usize
                            }
                            _ => digits[at],
                        },
                        Factor::Pinned(_) => digits[at],
                    };
                    source = source * symmetries.length(*factor) + digit;
                }
                table.push((offset + source) as u32);
            }
            offset += length;
        }
        table
    };
    if outside.is_empty() {
        return Ok(Along::Moved(table(&|_| 0)));
    }
    let has = |other: &Axis| {
        outside.iter().all(|id| other.segments.iter().all(|product| nodes(product).contains(id)))
    };
    let by = (0..axes.len()).find(|other| *other != axis && has(&axes[*other]));
    let Some(by) = by else {
        let id = outside[0];
        return Err(AlignmentError::transform(
            &symmetries.node(id).name,
            "is needed on one axis by nodes that lie in it, together with nodes of another axis",
        ));
    };
    let sizes: Vec<usize> = outside.iter().map(|id| symmetries.node(*id).size).collect();
    let tables = (0..sizes.iter().product::<usize>())
        .map(|row| {
            let values = digits_of(row, &sizes);
            table(&|id| outside.iter().position(|own| *own == id).map_or(0, |at| values[at]))
        })
        .collect();
    let mut choice = Vec::new();
    let mut digits = Vec::new();
    for product in &axes[by].segments {
        for position in 0..symmetries.product_length(product) {
            symmetries.digits(product, position, &mut digits);
            let row = outside.iter().zip(&sizes).fold(0, |row, (id, size)| {
                let at = product.iter().position(|factor| *factor == Factor::Node(*id));
                row * size + at.map_or(0, |at| digits[at])
            });
            choice.push(row as u32);
        }
    }
    Ok(Along::Chosen { by, choice, tables })
}

/// Row-major digits.
fn digits_of(mut row: usize, sizes: &[usize]) -> Vec<usize> {
    let mut digits = vec![0; sizes.len()];
    for (digit, size) in digits.iter_mut().zip(sizes).rev() {
        *digit = row % size;
        row /= size;
    }
    digits
}
