//! The frame of one call of `observe`, `apply` or `run`, with every part of it in memory that is watched.

use std::ffi::c_void;

use fusion_abi::{FUSION_F32, fusion_call, fusion_device, fusion_dltensor, fusion_str, fusion_tensor};

use super::host::Host;
use super::memory::{Kind, Memory, Violation};

/// What a view shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Index of the tensor in its group.
    pub(crate) member: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its stable id.
    pub(crate) key: u64,
    /// Lengths of the view.
    pub(crate) shape: Vec<i64>,
    /// The view's first element in the tensor.
    pub(crate) first: u64,
    /// Elements of the tensor.
    pub(crate) total: u64,
}

/// A call before it is laid out.
pub(crate) struct Call<'a> {
    /// Views to read, with their data.
    pub(crate) inputs: Vec<(Meta, &'a [f32])>,
    /// Views to write.
    pub(crate) outputs: Vec<Meta>,
    /// Table of numbers.
    pub(crate) settings: Vec<f64>,
    /// Bytes of scratch.
    pub(crate) scratch: u64,
    /// Bytes by which inputs miss an alignment of 64.
    pub(crate) off: usize,
}

/// What a call gave.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Data of the outputs.
    pub(crate) outputs: Vec<Vec<f32>>,
    /// What was mistreated.
    pub(crate) violations: Vec<Violation>,
}

/// Row-major strides of a shape.
pub(super) fn strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at].max(1);
    }
    strides
}

/// A text in watched memory.
pub(super) fn text(memory: &mut Memory, what: &'static str, bytes: &[u8]) -> fusion_str {
    fusion_str { ptr: memory.put(what, 0, bytes, 0, true).cast(), len: bytes.len() as u64 }
}

fn view(memory: &mut Memory, meta: &Meta, data: *mut c_void) -> fusion_tensor {
    let count = meta.shape.len();
    fusion_tensor {
        struct_size: size_of::<fusion_tensor>() as u64,
        dl: fusion_dltensor {
            data,
            device: fusion_device { kind: 1, id: 0 },
            ndim: count as i32,
            dtype: FUSION_F32,
            shape: memory.put("shape", 0, &meta.shape, 0, true),
            strides: memory.put("strides", 0, &strides(&meta.shape), 0, true),
            byte_offset: 0,
        },
        name: text(memory, "name", meta.name.as_bytes()),
        key: meta.key,
        first: meta.first,
        total: meta.total,
        member: meta.member,
    }
}

/// Lays the call out, has `body` make it, and looks at what it left.
pub(super) fn make<R>(
    host: &Host,
    kind: Kind,
    call: &Call<'_>,
    body: impl FnOnce(*const fusion_call) -> R,
) -> (R, Done) {
    let mut memory = Memory::new(kind);
    let inputs: Vec<fusion_tensor> = call
        .inputs
        .iter()
        .enumerate()
        .map(|(index, (meta, data))| {
            let data = memory.put("input", index, data, call.off, true);
            view(&mut memory, meta, data.cast())
        })
        .collect();
    let lengths: Vec<usize> =
        call.outputs.iter().map(|meta| meta.shape.iter().product::<i64>() as usize).collect();
    let mut written: Vec<*const f32> = Vec::new();
    let outputs: Vec<fusion_tensor> = call
        .outputs
        .iter()
        .zip(&lengths)
        .enumerate()
        .map(|(index, (meta, n))| {
            let data = memory.room("output", index, n * size_of::<f32>());
            written.push(data.cast_const().cast());
            view(&mut memory, meta, data.cast())
        })
        .collect();
    let scratch: *mut c_void = match call.scratch {
        0 => std::ptr::null_mut(),
        bytes => memory.room("scratch", 0, bytes as usize).cast(),
    };
    let frame = fusion_call {
        struct_size: (size_of::<fusion_call>() + host.extra()) as u64,
        host: host.table(&mut memory),
        inputs: memory.put("list of inputs", 0, &inputs, 0, true),
        n_inputs: inputs.len() as u64,
        outputs: memory.put("list of outputs", 0, &outputs, 0, true),
        n_outputs: outputs.len() as u64,
        settings: memory.put("settings", 0, &call.settings, 0, true),
        n_settings: call.settings.len() as u64,
        scratch,
        n_scratch: call.scratch,
    };
    let frame = memory.grown("call", frame, host.extra(), true);
    let result = body(frame);
    let outputs = written
        .iter()
        .zip(lengths)
        // SAFETY: the outputs' own pieces, filled when they were made.
        .map(|(data, n)| unsafe { std::slice::from_raw_parts(*data, n) }.to_vec())
        .collect();
    let done = Done { outputs, violations: memory.violations() };
    memory.retire();
    (result, done)
}
