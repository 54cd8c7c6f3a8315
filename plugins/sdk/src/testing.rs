//! Runs a method in memory, so that a method's author can test it without an engine, a recipe or files.
//!
//! The driver goes through the same passes in the same blocks as the engine. [`run`] also runs everything a second time in
//! another order and fails if one bit differs, which catches kernels that depend on threads or on a reused partial state.

use serde_json::{Map, Value as Json};

use crate::elementwise::Method;
use crate::error::{ErrorKind, MethodError};
use crate::kernel::{BLOCK, TILE, Tile};
use crate::task::{RawGroup, RawInput, RawTensor};

/// A tensor's task: its name, shape, stage settings, and (role, settings) per input. Settings that are no JSON object count
/// as empty.
pub fn tensor(name: &str, shape: &[usize], params: &Json, inputs: &[(&str, Json)]) -> RawTensor {
    let object = |json: &Json| json.as_object().cloned().unwrap_or_else(Map::new);
    RawTensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        params: object(params),
        inputs: inputs
            .iter()
            .map(|(role, settings)| RawInput { role: (*role).to_owned(), settings: object(settings) })
            .collect(),
    }
}

/// Computes all tensors of a group. `data[tensor][input]` are the values, in port order.
///
/// # Errors
/// Those of the method; [`ErrorKind::Failed`] if a second run in another order gives other bits; [`ErrorKind::Shape`] if the
/// data does not fit the group.
pub fn run(
    method: &dyn Method,
    group: &RawGroup,
    data: &[Vec<Vec<f32>>],
) -> Result<Vec<Vec<f32>>, MethodError> {
    let fits = group.tensors.len() == data.len()
        && group.tensors.iter().zip(data).all(|(tensor, inputs)| {
            let n: usize = tensor.shape.iter().product();
            tensor.inputs.len() == inputs.len() && inputs.iter().all(|values| values.len() == n)
        });
    if !fits {
        return Err(MethodError::new(
            ErrorKind::Shape,
            "the data does not fit the group's tensors and inputs",
        ));
    }
    let first = pass(method, group, data, false)?;
    let second = pass(method, group, data, true)?;
    let bits = |all: &[Vec<f32>]| -> Vec<u32> { all.iter().flatten().map(|x| x.to_bits()).collect() };
    if bits(&first) == bits(&second) {
        Ok(first)
    } else {
        Err(MethodError::new(
            ErrorKind::Failed,
            "the result depends on the order in which tiles are computed",
        ))
    }
}

/// One run: `other` reverses the order of tiles and reuses one partial state for all blocks of a pass.
fn pass(
    method: &dyn Method,
    group: &RawGroup,
    data: &[Vec<Vec<f32>>],
    other: bool,
) -> Result<Vec<Vec<f32>>, MethodError> {
    let mut kernel = method.prepare(group)?;
    while kernel.observing() {
        let mut reused = kernel.partial();
        for (index, inputs) in data.iter().enumerate() {
            let n = inputs.first().map_or(0, Vec::len);
            for block in (0..n).step_by(BLOCK) {
                let mut fresh = kernel.partial();
                let partial = if other { &mut reused } else { &mut fresh };
                for offset in (block..n.min(block + BLOCK)).step_by(TILE) {
                    let slices = slices(inputs, offset);
                    kernel.observe(
                        &mut **partial,
                        &Tile { tensor: index, offset: offset as u64, inputs: &slices },
                    );
                }
                kernel.absorb(&mut **partial);
            }
        }
        kernel.finish_pass()?;
    }
    let mut results = Vec::with_capacity(data.len());
    for (index, inputs) in data.iter().enumerate() {
        let n = inputs.first().map_or(0, Vec::len);
        let mut out = vec![f32::NAN; n];
        let mut offsets: Vec<usize> = (0..n).step_by(TILE).collect();
        if other {
            offsets.reverse();
        }
        for offset in offsets {
            let slices = slices(inputs, offset);
            let tile = Tile { tensor: index, offset: offset as u64, inputs: &slices };
            kernel.apply(&tile, &mut out[offset..n.min(offset + TILE)]);
        }
        results.push(out);
    }
    if let Some(error) = kernel.trouble() {
        return Err(error);
    }
    Ok(results)
}

fn slices(inputs: &[Vec<f32>], offset: usize) -> Vec<&[f32]> {
    inputs.iter().map(|values| &values[offset..values.len().min(offset + TILE)]).collect()
}
