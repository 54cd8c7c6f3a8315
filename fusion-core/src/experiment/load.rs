//! Models of the plan as states of networks, and back: the bridge between checkpoints, which stream, and networks, which are held.

use std::collections::BTreeMap;
use std::path::Path;

use fusion_network::{Architecture, Data, Role, State};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype as Stored, TensorView};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::engine::RunError;
use crate::plan::ir::{Origin, Program, View};
use crate::tensor::{Dtype, to_f32};

/// The state of a network whose tensors all lie in checkpoints.
pub(super) fn of_view(
    program: &Program,
    view: &View,
    architecture: &Architecture,
) -> Result<State, RunError> {
    read(architecture, |name| {
        let entry = view.tensors.get(name)?;
        match program.tensor(entry.tensor).origin {
            Origin::Stored { source, tensor } => Some((program.sources[source].checkpoint.as_ref(), tensor)),
            _ => None,
        }
    })
}

/// The state of a network in a checkpoint with its own names.
pub(super) fn of_checkpoint(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<State, RunError> {
    read(architecture, |name| checkpoint.find(name).map(|tensor| (checkpoint, tensor)))
}

fn read<'a>(
    architecture: &Architecture,
    find: impl Fn(&str) -> Option<(&'a Checkpoint, usize)>,
) -> Result<State, RunError> {
    let mut tensors = Vec::new();
    for spec in architecture.tensors() {
        let mut data = match spec.role {
            Role::Counter => Data::I64(vec![0]),
            _ => Data::F32(vec![0.0; spec.shape.iter().product()]),
        };
        if let Some((checkpoint, index)) = find(&spec.name) {
            fill(checkpoint, index, &mut data)?;
            tensors.push((spec.name, spec.shape, data));
        }
    }
    // The planner has matched names and shapes.
    State::new(architecture, tensors).map_err(|error| RunError::Method {
        stage: architecture.to_string(),
        method: "network".to_owned(),
        message: error.to_string(),
        help: None,
        span: fusion_dsl::span::Span::NONE,
    })
}

/// Reads a tensor of a checkpoint, which has as many elements.
pub(super) fn fill(checkpoint: &Checkpoint, index: usize, data: &mut Data) -> Result<(), CheckpointError> {
    let dtype = checkpoint.tensors()[index].dtype;
    let bytes = checkpoint.bytes(index)?;
    match data {
        Data::F32(values) => {
            // Values that are not finite show in what is measured; `network` refuses them in foreign files.
            let _ = to_f32(dtype, bytes, values);
        }
        Data::I64(values) => {
            for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(dtype.size())) {
                *value = whole(dtype, bytes);
            }
        }
    }
    Ok(())
}

/// A whole number of a checkpoint; floats are rounded (some tools store counters so).
fn whole(dtype: Dtype, bytes: &[u8]) -> i64 {
    if dtype.is_float() {
        let mut value = [0.0];
        let _ = to_f32(dtype, bytes, &mut value);
        return value[0].round() as i64;
    }
    let mut wide = [0_u8; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// Writes a state as one safetensors file with PyTorch's names and layouts.
pub(super) fn save(state: &State, to: &Path) -> std::io::Result<()> {
    let tensors: BTreeMap<&str, (Stored, Vec<usize>, Vec<u8>)> = state
        .tensors()
        .iter()
        .map(|tensor| {
            let (dtype, bytes) = match &tensor.data {
                Data::F32(values) => {
                    (Stored::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
                }
                Data::I64(values) => {
                    (Stored::I64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
                }
            };
            (tensor.spec.name.as_str(), (dtype, tensor.spec.shape.clone(), bytes))
        })
        .collect();
    write(to, &tensors)
}

/// Writes flat vectors by name.
pub(super) fn save_flat<'a>(
    vectors: impl IntoIterator<Item = (String, &'a [f32])>,
    to: &Path,
) -> std::io::Result<()> {
    let vectors: Vec<(String, Vec<u8>, usize)> = vectors
        .into_iter()
        .map(|(name, values)| {
            (name, values.iter().flat_map(|value| value.to_le_bytes()).collect(), values.len())
        })
        .collect();
    let tensors = vectors
        .iter()
        .map(|(name, bytes, len)| (name.as_str(), (Stored::F32, vec![*len], bytes.clone())))
        .collect();
    write(to, &tensors)
}

/// Reads what [`save_flat`] has written.
pub(super) fn load_flat(from: &Path) -> Result<BTreeMap<String, Vec<f32>>, CheckpointError> {
    let checkpoint = Checkpoint::open(from)?;
    let mut found = BTreeMap::new();
    for (index, tensor) in checkpoint.tensors().iter().enumerate() {
        let mut values = vec![0.0; tensor.len()];
        let _ = to_f32(tensor.dtype, checkpoint.bytes(index)?, &mut values);
        found.insert(tensor.name.clone(), values);
    }
    Ok(found)
}

fn write(to: &Path, tensors: &BTreeMap<&str, (Stored, Vec<usize>, Vec<u8>)>) -> std::io::Result<()> {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(std::io::Error::other)?;
            Ok((*name, view))
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    safetensors::serialize_to_file(views, metadata, to).map_err(written)
}

/// A safetensors file that cannot be written. The system's error keeps its kind, which tells a full disk from a defect.
pub(super) fn written(error: SafeTensorError) -> std::io::Error {
    match error {
        SafeTensorError::IoError(error) => error,
        error => std::io::Error::other(error),
    }
}
