//! Services: tables of functions that a plugin asks for by id and revision. Each has its own version; new ones never change old ones.

use core::ffi::c_void;

use crate::{fusion_status, fusion_str, fusion_tensor};

/// `fusion.rng/1`: value `i` of a stream is a pure function of (seed, key, i). Any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_rng_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// Values `first ..` of a stream, uniform in [0, 1), with 24 bits.
    pub uniform_f32: Option<
        unsafe extern "C" fn(ctx: *mut c_void, seed: u64, key: u64, first: u64, out: *mut f32, n: u64),
    >,
    /// The same, standard normal (Box and Muller, from the uniform values 2i and 2i + 1 of the stream).
    pub normal_f32: Option<
        unsafe extern "C" fn(ctx: *mut c_void, seed: u64, key: u64, first: u64, out: *mut f32, n: u64),
    >,
}

/// `fusion.threads/1`: the host's threads. Only within `run`, or within `apply` of a whole-tensor or group method.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_threads_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// Calls `body(data, i, worker)` for `i` in `0..n`, in any order, and returns when all are through: a status that is not 0 if any
    /// was, after which no further call starts. `worker` tells calls apart that run at the same time.
    pub for_each: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            n: u64,
            body: Option<unsafe extern "C" fn(data: *mut c_void, i: u64, worker: u32) -> fusion_status>,
            data: *mut c_void,
        ) -> fusion_status,
    >,
}

/// `fusion.assign/1`: exact rectangular linear assignment (Crouse, 2016). Any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_assign_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// `cost` is row-major, `rows` by `cols`, finite; `column_of_row` gets -1 for rows without a column. The same costs give the same
    /// assignment on every machine.
    pub solve: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            cost: *const f64,
            rows: u64,
            cols: u64,
            maximise: u32,
            column_of_row: *mut i64,
        ) -> fusion_status,
    >,
}

/// `fusion.model/1`: lazy access to whole models, within `run`. Any thread.
///
/// A model is its members: the tensors that the stage computes, by index in the group that `create` got, the same for every input.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_model_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// Input models, in port order, then recipe order.
    pub models: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u32>,
    /// Index of the member of this name, `UINT64_MAX` for none.
    pub find: Option<unsafe extern "C" fn(ctx: *mut c_void, name: fusion_str) -> u64>,
    /// Name and shape of member `i` of input model `model`; no data. Valid until the end of `run`.
    pub info: Option<
        unsafe extern "C" fn(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status,
    >,
    /// Member `i` of input model `model`, whole, in f32, valid until `release`.
    pub read: Option<
        unsafe extern "C" fn(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status,
    >,
    /// Gives what `read` filled in back.
    pub release: Option<unsafe extern "C" fn(ctx: *mut c_void, tensor: *const fusion_tensor)>,
    /// Stores member `i` of the result: `n` elements of f32, which are copied. Every member must be written, once.
    pub write:
        Option<unsafe extern "C" fn(ctx: *mut c_void, i: u64, data: *const f32, n: u64) -> fusion_status>,
}
