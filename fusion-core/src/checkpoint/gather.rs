//! Copies tensors whose elements do not lie in their file in row-major order, element by element, with a size limit.

use std::path::Path;

use super::source::{Blob, TensorInfo};
use super::{CheckpointError, torch};

/// The largest copy that is made, in bytes: PyTorch never compresses, and views of this size do not occur in practice.
const MAX_COPY: usize = 4 << 30;

/// Makes the row-major copy of a tensor.
pub(super) fn copy(
    path: &Path,
    map: &[u8],
    info: &TensorInfo,
    blob: &Blob,
) -> Result<Box<[u8]>, CheckpointError> {
    let size = info.dtype.size();
    let within_limit = |bytes: usize| {
        if bytes <= MAX_COPY {
            return Ok(());
        }
        Err(CheckpointError::Limit {
            path: path.to_owned(),
            what: format!("tensor `{}` needs a copy of {bytes} bytes", info.name),
            limit: format!("{MAX_COPY} bytes"),
            fix: "save the model again with `.contiguous()` tensors as safetensors".to_owned(),
        })
    };
    within_limit(info.bytes())?;
    let mut out = vec![0u8; info.bytes()].into_boxed_slice();
    match blob {
        Blob::Mapped { offset, len } => out.copy_from_slice(&map[*offset..*offset + *len]),
        Blob::Strided { offset, len, start, strides } => {
            strided(&map[*offset..*offset + *len], size, &info.shape, *start, strides, 0, &mut out);
        }
        Blob::Deflated { entry, len, start, strides } => {
            within_limit(*len)?;
            let storage = torch::inflate(path, map, *entry, *len)?;
            strided(&storage, size, &info.shape, *start, strides, 0, &mut out);
        }
    }
    Ok(out)
}

/// Gathers row-major elements from `first` on until `out` is full. `start` and `strides` count elements of `size` bytes;
/// the caller has checked that every element of `shape` lies within `storage`.
pub(super) fn strided(
    storage: &[u8],
    size: usize,
    shape: &[usize],
    start: usize,
    strides: &[usize],
    first: usize,
    out: &mut [u8],
) {
    if out.is_empty() {
        return;
    }
    // Position of the first element in every axis, then count up like an odometer.
    let mut position = vec![0usize; shape.len()];
    let mut rest = first;
    for (slot, &extent) in position.iter_mut().zip(shape).rev() {
        *slot = rest % extent;
        rest /= extent;
    }
    let mut at = start + position.iter().zip(strides).map(|(p, s)| p * s).sum::<usize>();
    for element in out.chunks_exact_mut(size) {
        element.copy_from_slice(&storage[at * size..(at + 1) * size]);
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            at += strides[axis];
            if position[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            position[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_is_gathered_from_any_element_on() {
        let storage: Vec<u8> = (0u16..6).flat_map(u16::to_le_bytes).collect();
        // Stored 2x3, seen as 3x2.
        let mut out = vec![0; 12];
        strided(&storage, 2, &[3, 2], 0, &[1, 3], 0, &mut out);
        let values: Vec<u16> = out.as_chunks::<2>().0.iter().map(|&b| u16::from_le_bytes(b)).collect();
        assert_eq!(values, [0, 3, 1, 4, 2, 5]);
        let mut out = vec![0; 6];
        strided(&storage, 2, &[3, 2], 0, &[1, 3], 2, &mut out);
        assert_eq!(out, [1, 0, 4, 0, 2, 0]);
    }
}
