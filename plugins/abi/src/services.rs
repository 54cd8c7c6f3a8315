//! Services: tables of functions that a plugin asks for by id and revision. Each has its own version; new ones never change old ones.

use core::ffi::c_void;

use crate::{fusion_status, fusion_tensor};

/// `fusion.rng/1`: value `i` of a stream is a pure function of (seed, key, i). Any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_rng_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// Values `first ..` of a stream, uniform in [0, 1).
    pub uniform_f32: Option<
        unsafe extern "C" fn(ctx: *mut c_void, seed: u64, key: u64, first: u64, out: *mut f32, n: u64),
    >,
    /// The same, standard normal.
    pub normal_f32: Option<
        unsafe extern "C" fn(ctx: *mut c_void, seed: u64, key: u64, first: u64, out: *mut f32, n: u64),
    >,
}

/// `fusion.threads/1`: the host's threads. Only within `run`, or a call of a whole-tensor or group method.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_threads_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// Calls `body(data, i, worker)` for `i` in `0..n`, in any order; returns the first status that is not 0.
    pub for_each: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            n: u64,
            body: Option<unsafe extern "C" fn(data: *mut c_void, i: u64, worker: u32) -> fusion_status>,
            data: *mut c_void,
        ) -> fusion_status,
    >,
}

/// `fusion.assign/1`: exact rectangular linear assignment, ties toward the identity. Any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_assign_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// `cost` is row-major, `rows` by `cols`; `column_of_row` gets -1 for rows without a column.
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

/// `fusion.model/1`: lazy access to whole models, for `run`. Any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_model_v1 {
    /// Size of this struct.
    pub struct_size: u64,
    /// Passed back.
    pub ctx: *mut c_void,
    /// Tensors of input model `model`.
    pub count: Option<unsafe extern "C" fn(ctx: *mut c_void, model: u32) -> u64>,
    /// Name, shape and dtype of tensor `i`, without data. Valid until the end of `run`.
    pub info: Option<
        unsafe extern "C" fn(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status,
    >,
    /// Tensor `i` in f32, valid until `release`.
    pub read: Option<
        unsafe extern "C" fn(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status,
    >,
    /// Gives a tensor back.
    pub release: Option<unsafe extern "C" fn(ctx: *mut c_void, tensor: *const fusion_tensor)>,
    /// Stores a tensor of output model `output`; the data is copied.
    pub write: Option<
        unsafe extern "C" fn(ctx: *mut c_void, output: u32, tensor: *const fusion_tensor) -> fusion_status,
    >,
}
