//! Applies an alignment to the values of a tensor, or to all tensors of a network as flat vectors.

use super::{Alignment, AlignmentError, Gather, Matrix, Mix, Transform};
use crate::symmetry::{Axis, Factor, NodeId, Product, Side, Symmetries, TensorRole};

impl Alignment {
    /// The order in which a tensor's elements are taken: all of what an alignment does if it permutes.
    ///
    /// # Errors
    /// The symmetries are others, or too entangled: see [`AlignmentError`].
    pub fn gather(&self, symmetries: &Symmetries, tensor: usize) -> Result<Gather, AlignmentError> {
        Gather::new(symmetries, &self.nodes, tensor)
    }

    /// The values of a tensor (row-major) in the result. f32 values are moved bit by bit by permutations; scales and maps compute in f64
    /// and round once for each axis. A running variance goes through `merge` as it is (as in ZipIt; measure it again afterwards).
    ///
    /// # Errors
    /// The length is not that of the tensor, or see [`Alignment::gather`].
    pub fn apply(
        &self,
        from: &Symmetries,
        to: &Symmetries,
        tensor: usize,
        values: &[f32],
    ) -> Result<Vec<f32>, AlignmentError> {
        self.applied(from, to, tensor, values)
    }

    /// The same for values in f64, without any rounding to f32.
    ///
    /// # Errors
    /// As for [`Alignment::apply`].
    pub fn apply_f64(
        &self,
        from: &Symmetries,
        to: &Symmetries,
        tensor: usize,
        values: &[f64],
    ) -> Result<Vec<f64>, AlignmentError> {
        self.applied(from, to, tensor, values)
    }

    fn applied<T: Value>(
        &self,
        from: &Symmetries,
        to: &Symmetries,
        tensor: usize,
        values: &[T],
    ) -> Result<Vec<T>, AlignmentError> {
        let gather = self.gather(from, tensor)?;
        if values.len() != gather.elements() {
            return Err(AlignmentError::Length {
                tensor: from.tensors[tensor].name.clone(),
                found: values.len(),
                wanted: gather.elements(),
            });
        }
        let mut moved = vec![T::narrow(0.0); values.len()];
        gather.runs(|target, source, length| {
            moved[target..target + length].copy_from_slice(&values[source..source + length]);
        });
        let described = &from.tensors[tensor];
        let mut shape = from.lengths(tensor);
        for (axis, own) in described.axes.iter().enumerate() {
            let changes = own.segments.iter().flatten().any(|factor| match factor {
                Factor::Node(id) => matches!(self.transform(*id), Transform::Map(_) | Transform::Scale(_)),
                Factor::Pinned(_) => false,
            });
            if !changes {
                continue;
            }
            let outer: usize = shape[..axis].iter().product();
            let inner: usize = shape[axis + 1..].iter().product();
            let length = to.axis_length(&to.tensors[tensor].axes[axis]);
            let mut result = Vec::with_capacity(outer * length * inner);
            let step = shape[axis] * inner;
            for block in 0..outer {
                let mut rest = &moved[block * step..(block + 1) * step];
                // The axes in front have their final lengths already.
                let front = Front { to, axes: &described.axes[..axis], lengths: &shape[..axis], block };
                for product in &own.segments {
                    let (head, tail) = rest.split_at(from.product_length(product) * inner);
                    rest = tail;
                    let place = (own.side, described.role, &front);
                    result.extend(self.product(from, to, product, place, head, inner)?);
                }
            }
            moved = result;
            shape[axis] = length;
        }
        Ok(moved)
    }

    /// Maps and scales along one product.
    fn product<T: Value>(
        &self,
        from: &Symmetries,
        to: &Symmetries,
        product: &Product,
        (side, role, front): (Side, TensorRole, &Front<'_>),
        values: &[T],
        trailing: usize,
    ) -> Result<Vec<T>, AlignmentError> {
        let mut lengths: Vec<usize> = product.iter().map(|factor| from.length(*factor)).collect();
        let mut values: Vec<f64> = values.iter().map(|value| value.wide()).collect();
        for (at, factor) in product.iter().enumerate() {
            let Factor::Node(id) = *factor else { continue };
            let node = &from.node(id).name;
            let entries = match self.transform(id) {
                Transform::Identity | Transform::Permutation(_) => continue,
                Transform::Scale(scales) => scales.len(),
                Transform::Map(mixes) => mixes.len(),
            };
            let outer: usize = lengths[..at].iter().product();
            let inner: usize = lengths[at + 1..].iter().product::<usize>() * trailing;
            let (units, slots) = (lengths[at], to.node(id).size);
            let mut result = vec![0.0; outer * slots * inner];
            for block in 0..outer {
                let copy = match entries {
                    1 => 0,
                    _ => self.copy_before(front, product, id, at, block)?,
                };
                let source = &values[block * units * inner..(block + 1) * units * inner];
                let target = &mut result[block * slots * inner..(block + 1) * slots * inner];
                match self.transform(id) {
                    Transform::Scale(scales) => {
                        for (unit, &scale) in scales[copy].iter().enumerate() {
                            let factor = match (side, role) {
                                (Side::Both, _) => {
                                    let problem = "is scaled where one tensor makes and reads its units";
                                    return Err(AlignmentError::transform(node, problem));
                                }
                                (Side::Reads, _) => 1.0 / scale,
                                (Side::Writes, TensorRole::Variance) => scale * scale,
                                (Side::Writes, _) => scale,
                            };
                            let row = unit * inner..(unit + 1) * inner;
                            target[row.clone()]
                                .iter_mut()
                                .zip(&source[row])
                                .for_each(|(to, value)| *to = factor * value);
                        }
                    }
                    Transform::Map(mixes) => mix(&mixes[copy], side, source, target, inner),
                    Transform::Identity | Transform::Permutation(_) => {}
                }
            }
            values = result;
            lengths[at] = slots;
        }
        Ok(values.into_iter().map(T::narrow).collect())
    }

    /// The entry for a block of the factors before `at`; these or the axes in front must have all parents.
    fn copy_before(
        &self,
        front: &Front<'_>,
        product: &Product,
        id: NodeId,
        at: usize,
        block: usize,
    ) -> Result<usize, AlignmentError> {
        let before = product[..at].to_vec();
        let mut digits = Vec::new();
        let to = front.to;
        to.digits(&before, block, &mut digits);
        let mut missing = false;
        let copy = to.copy_of(id, |parent| {
            let here = before.iter().position(|factor| *factor == Factor::Node(parent));
            let value = here.map(|here| digits[here]).or_else(|| front.index(parent));
            missing |= value.is_none();
            value.unwrap_or(0)
        });
        match missing {
            false => Ok(copy),
            true => Err(AlignmentError::transform(
                &to.node(id).name,
                "is mapped or scaled, and the nodes that it lies in are not in front of it",
            )),
        }
    }

    /// A whole network: flat weights and statistics, each in the order of the tensors of its kind.
    ///
    /// # Errors
    /// As for [`Alignment::apply`], and if a vector is not as long as its tensors together.
    pub fn apply_flat(
        &self,
        from: &Symmetries,
        to: &Symmetries,
        weights: &[f32],
        statistics: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>), AlignmentError> {
        let (mut new_weights, mut new_statistics) = (Vec::new(), Vec::new());
        let (mut weights_left, mut statistics_left) = (weights, statistics);
        for (index, tensor) in from.tensors.iter().enumerate() {
            let wanted: usize = from.shape(index).iter().product();
            let (left, target) = match tensor.role {
                TensorRole::Parameter => (&mut weights_left, &mut new_weights),
                TensorRole::Mean | TensorRole::Variance => (&mut statistics_left, &mut new_statistics),
            };
            let Some((own, rest)) = left.split_at_checked(wanted) else {
                let found = left.len();
                return Err(AlignmentError::Length { tensor: tensor.name.clone(), found, wanted });
            };
            *left = rest;
            target.extend(self.apply(from, to, index, own)?);
        }
        match weights_left.len() + statistics_left.len() {
            0 => Ok((new_weights, new_statistics)),
            found => Err(AlignmentError::Length { tensor: "all tensors".into(), found, wanted: 0 }),
        }
    }
}

/// A position on the axes in front of one.
struct Front<'a> {
    to: &'a Symmetries,
    axes: &'a [Axis],
    lengths: &'a [usize],
    /// Row-major over the axes.
    block: usize,
}

impl Front<'_> {
    /// The index of a node at the position, by an axis that has it in all its products.
    fn index(&self, id: NodeId) -> Option<usize> {
        let holds = |product: &Product| product.contains(&Factor::Node(id));
        let axis = self.axes.iter().position(|axis| axis.segments.iter().all(holds))?;
        let below: usize = self.lengths[axis + 1..].iter().product();
        let mut position = self.block / below.max(1) % self.lengths[axis].max(1);
        for product in &self.axes[axis].segments {
            let length = self.to.product_length(product);
            if position < length {
                let mut digits = Vec::new();
                self.to.digits(product, position, &mut digits);
                return product.iter().position(|factor| *factor == Factor::Node(id)).map(|at| digits[at]);
            }
            position -= length;
        }
        None
    }
}

/// An element: computed with in f64, kept as it is.
trait Value: Copy {
    fn wide(self) -> f64;
    fn narrow(value: f64) -> Self;
}

impl Value for f32 {
    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn narrow(value: f64) -> Self {
        value as f32
    }
}

impl Value for f64 {
    fn wide(self) -> f64 {
        self
    }

    fn narrow(value: f64) -> Self {
        value
    }
}

/// target[j] = Σ merge[j, k] source[k], or Σ unmerge[k, j] source[k] for readers; rows of `inner` values. Zeros cost nothing, so sparse maps
/// are cheap.
fn mix(mix: &Mix, side: Side, source: &[f64], target: &mut [f64], inner: usize) {
    let mut add = |slot: usize, unit: usize, factor: f64| {
        if factor != 0.0 {
            let row = &source[unit * inner..(unit + 1) * inner];
            target[slot * inner..(slot + 1) * inner]
                .iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += factor * value);
        }
    };
    let (matrix, transposed): (&Matrix, bool) = match side {
        Side::Writes | Side::Both => (&mix.merge, false),
        Side::Reads => (&mix.unmerge, true),
    };
    for row in 0..matrix.rows {
        for column in 0..matrix.columns {
            match transposed {
                false => add(row, column, matrix.at(row, column)),
                true => add(column, row, matrix.at(row, column)),
            }
        }
    }
}
