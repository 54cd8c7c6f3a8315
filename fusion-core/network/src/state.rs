//! The values of a network's tensors as they stand in a file, and as the flat vectors that training works on.

use std::collections::BTreeMap;

use crate::architecture::Architecture;
use crate::error::StateError;
use crate::layout::{Layout, Part, Role, Slot, TensorSpec};

/// Values of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Parameters and statistics.
    F32(Vec<f32>),
    /// Counters.
    I64(Vec<i64>),
}

impl Data {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Data::F32(values) => values.len(),
            Data::I64(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn kind(&self) -> &'static str {
        match self {
            Data::F32(_) => "f32",
            Data::I64(_) => "i64",
        }
    }
}

/// A named tensor with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct StateTensor {
    /// Name, shape and role.
    pub spec: TensorSpec,
    /// As many values as the shape has elements.
    pub data: Data,
}

/// The values of all tensors of a network, in the order of [`Architecture::tensors`].
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    tensors: Vec<StateTensor>,
}

/// The values of all tensors of a network as two flat vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flat {
    /// Trainable tensors, as [`crate::Network::segments`] lays them out.
    pub weights: Vec<f32>,
    /// Running means and variances: for each BatchNorm layer in order its means, then its variances.
    pub statistics: Vec<f32>,
}

impl State {
    /// Takes tensors in any order.
    ///
    /// # Errors
    /// If a tensor is missing, there twice, unknown, or of another shape or type.
    pub fn new(
        architecture: &Architecture,
        tensors: impl IntoIterator<Item = (String, Vec<usize>, Data)>,
    ) -> Result<State, StateError> {
        let mut given = BTreeMap::new();
        for (name, shape, data) in tensors {
            if given.insert(name.clone(), (shape, data)).is_some() {
                return Err(StateError::Twice { name });
            }
        }
        let mut ordered = Vec::new();
        for spec in architecture.tensors() {
            let Some((shape, data)) = given.remove(&spec.name) else {
                return Err(StateError::Missing { name: spec.name });
            };
            if shape != spec.shape {
                return Err(StateError::Shape { name: spec.name, found: shape, wanted: spec.shape });
            }
            let wanted = if spec.role == Role::Counter { "i64" } else { "f32" };
            if data.kind() != wanted || data.len() != spec.elements() {
                return Err(StateError::Values {
                    found: format!("{} of {}", data.len(), data.kind()),
                    wanted: format!("{} of {wanted}", spec.elements()),
                    name: spec.name,
                });
            }
            ordered.push(StateTensor { spec, data });
        }
        match given.pop_first() {
            Some((name, _)) => Err(StateError::Unexpected { name }),
            None => Ok(State { tensors: ordered }),
        }
    }

    /// Tensors that are known to fit.
    pub(crate) fn of(tensors: Vec<StateTensor>) -> State {
        State { tensors }
    }

    /// The tensors in order.
    #[must_use]
    pub fn tensors(&self) -> &[StateTensor] {
        &self.tensors
    }

    /// The tensors in order, to take them apart.
    #[must_use]
    pub fn into_tensors(self) -> Vec<StateTensor> {
        self.tensors
    }

    /// A tensor by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&StateTensor> {
        self.tensors.iter().find(|tensor| tensor.spec.name == name)
    }

    /// Batches that BatchNorm has counted: the largest counter, 0 without any.
    #[must_use]
    pub fn batches_tracked(&self) -> i64 {
        let counters = self.tensors.iter().filter_map(|tensor| match &tensor.data {
            Data::I64(values) => values.iter().max().copied(),
            Data::F32(_) => None,
        });
        counters.max().unwrap_or(0)
    }

    /// Puts the values into flat vectors.
    pub(crate) fn flatten(&self, layout: &Layout) -> Result<Flat, StateError> {
        let mut flat = Flat { weights: vec![0.0; layout.weights], statistics: vec![0.0; layout.statistics] };
        let mut tensors = self.tensors.iter().filter(|tensor| tensor.spec.role != Role::Counter);
        for slot in &layout.slots {
            let Some(tensor) = tensors.next().filter(|tensor| tensor.spec.name == slot.name) else {
                return Err(StateError::Missing { name: slot.name.clone() });
            };
            let Data::F32(values) = &tensor.data else {
                return Err(StateError::Missing { name: slot.name.clone() });
            };
            if tensor.spec.shape != slot.disk_shape() || values.len() != slot.len {
                return Err(StateError::Shape {
                    name: slot.name.clone(),
                    found: tensor.spec.shape.clone(),
                    wanted: slot.disk_shape(),
                });
            }
            let target = match slot.part {
                Part::Weights => &mut flat.weights[slot.range()],
                Part::Statistics => &mut flat.statistics[slot.range()],
            };
            match slot.transposed {
                true => transpose(values, slot.shape[1], target),
                false => target.copy_from_slice(values),
            }
        }
        match tensors.next() {
            Some(tensor) => Err(StateError::Unexpected { name: tensor.spec.name.clone() }),
            None => Ok(flat),
        }
    }

    /// Takes the values out of flat vectors.
    pub(crate) fn unflatten(layout: &Layout, flat: &Flat, batches_tracked: i64) -> Result<State, StateError> {
        for (part, found, wanted) in [
            ("weights", flat.weights.len(), layout.weights),
            ("statistics", flat.statistics.len(), layout.statistics),
        ] {
            if found != wanted {
                return Err(StateError::Length { part, found, wanted });
            }
        }
        let mut slots = layout.slots.iter();
        let tensor = |spec: TensorSpec| {
            let data = match (spec.role, slots.len()) {
                (Role::Counter, _) | (_, 0) => Data::I64(vec![batches_tracked]),
                _ => slots.next().map_or(Data::F32(Vec::new()), |slot| Data::F32(on_disk(slot, flat))),
            };
            StateTensor { spec, data }
        };
        Ok(State { tensors: layout.specs().into_iter().map(tensor).collect() })
    }
}

/// A tensor's values in the file's layout.
fn on_disk(slot: &Slot, flat: &Flat) -> Vec<f32> {
    let values = match slot.part {
        Part::Weights => &flat.weights[slot.range()],
        Part::Statistics => &flat.statistics[slot.range()],
    };
    if !slot.transposed {
        return values.to_vec();
    }
    let mut target = vec![0.0; values.len()];
    transpose(values, slot.shape[0], &mut target);
    target
}

/// Writes the transpose of a matrix with this many rows, tile by tile.
fn transpose(from: &[f32], rows: usize, to: &mut [f32]) {
    const TILE: usize = 32;
    let columns = from.len() / rows.max(1);
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                for column in left..(left + TILE).min(columns) {
                    to[column * rows + row] = from[row * columns + column];
                }
            }
        }
    }
}
