//! What a method declares and does.

use core::ffi::c_void;

use crate::{fusion_host, fusion_status, fusion_str, fusion_tensor};

/// Port takes weights of a model.
pub const FUSION_SPACE_WEIGHTS: u32 = 0;
/// Port takes weights minus those of the port `base`, which the method must have with exactly one input: the host subtracts before a
/// call (in f32) and adds the base to what the method computes. Element-wise, whole-tensor and group methods only.
pub const FUSION_SPACE_DELTA: u32 = 1;
/// Port takes examples.
pub const FUSION_SPACE_DATASET: u32 = 2;
/// A path through weight space. Reserved: hosts of version 1.0 refuse it.
pub const FUSION_SPACE_PATH: u32 = 3;
/// Models whose outputs are combined. Reserved: hosts of version 1.0 refuse it.
pub const FUSION_SPACE_ENSEMBLE: u32 = 4;
/// Port space: a transform of units for each node of a network's symmetries. Reserved: no method of a plugin has such ports yet.
pub const FUSION_SPACE_ALIGNMENT: u32 = 5;

/// Edges of this port may carry settings of their own.
pub const FUSION_PORT_SETTINGS: u32 = 1;
/// The order of the inputs matters.
pub const FUSION_PORT_ORDERED: u32 = 2;

/// One input role, such as `from` or `base`. Static.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_port {
    /// Size of this struct.
    pub struct_size: u64,
    /// The edge word in recipes.
    pub name: fusion_str,
    /// One sentence.
    pub doc: fusion_str,
    /// `FUSION_SPACE_*`.
    pub space: u32,
    /// `FUSION_PORT_*`, added up.
    pub flags: u32,
    /// Fewest inputs.
    pub min: u32,
    /// Most inputs; `UINT32_MAX` for no bound.
    pub max: u32,
}

/// One input of one output tensor, for `create`. Valid for that call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_input {
    /// Size of this struct.
    pub struct_size: u64,
    /// Its port.
    pub port: fusion_str,
    /// Its settings, a JSON object; patterns, schedules and defaults are resolved.
    pub params: fusion_str,
}

/// One output tensor that an instance computes, for `create` and `plan`. Valid for that call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_member {
    /// Size of this struct.
    pub struct_size: u64,
    /// Name in the result.
    pub name: fusion_str,
    /// Stable id of the tensor: the key of its random stream.
    pub key: u64,
    /// `ndim` lengths, row-major; the same for all inputs.
    pub shape: *const i64,
    /// Dimensions.
    pub ndim: u64,
    /// Position in the stack of layers; `UINT32_MAX` where the tensor is in none.
    pub layer: u32,
    /// Layers of the model; 0 where it has none.
    pub layers: u32,
    /// The stage's settings for this tensor, a JSON object.
    pub params: fusion_str,
    /// Inputs in port order, then recipe order.
    pub inputs: *const fusion_input,
    /// How many.
    pub n_inputs: u64,
    /// The numbers among the settings, for methods without a JSON reader: `n_inputs` rows with one column per name in
    /// `fusion_method.numbers`. NaN where a setting is absent.
    pub settings: *const f64,
    /// Rows times columns.
    pub n_settings: u64,
}

/// The tensors that share one instance: one, those of a layer, or all of the stage, as the method's `scope` says; all for whole-model
/// methods. Valid for `create`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_group {
    /// Size of this struct.
    pub struct_size: u64,
    /// Never empty.
    pub members: *const fusion_member,
    /// How many.
    pub n_members: u64,
    /// The stage's seed; 0 for methods that draw nothing.
    pub seed: u64,
}

/// Compute it.
pub const FUSION_ACTION_APPLY: u32 = 0;
/// Copy the `base` input.
pub const FUSION_ACTION_COPY_BASE: u32 = 1;
/// Copy the first input.
pub const FUSION_ACTION_COPY_FIRST: u32 = 2;

/// How one tensor is to be handled: the host fills in the defaults, `plan` changes what it must.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_plan {
    /// Size of this struct.
    pub struct_size: u64,
    /// `FUSION_ACTION_*`. A copy needs an input of that kind; a tensor that is copied is never seen by `observe` or `apply`.
    pub action: u32,
    /// 0.
    pub reserved: u32,
    /// Bytes of scratch that every call of `observe`, `apply` or `run` gets; for a group, the most that a member asks for.
    pub scratch_bytes: u64,
}

/// One call of `observe`, `apply` or `run`. Valid for that call.
///
/// - *Element-wise*: each tensor is a stretch of elements of one dimension, the same stretch of every input, `first` saying where it
///   starts. Stretches start at multiples of 2048 elements and are no longer than that.
/// - *Whole tensor*: each tensor is whole, in its own shape.
/// - *Group*: the same for all members that `plan` does not copy: inputs member by member, outputs one per member; `member` says whose.
/// - *Whole model*: no inputs, no outputs; `host` offers `fusion.model/1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_call {
    /// Size of this struct.
    pub struct_size: u64,
    /// Valid for the call.
    pub host: *const fusion_host,
    /// Inputs in port order, then recipe order. Read only.
    pub inputs: *const fusion_tensor,
    /// How many.
    pub n_inputs: u64,
    /// Outputs, allocated by the host, 64-byte aligned for whole tensors. None for `observe`.
    pub outputs: *const fusion_tensor,
    /// How many.
    pub n_outputs: u64,
    /// As in `fusion_member.settings`, for this tensor; member by member for a group; none for `run`.
    pub settings: *const f64,
    /// Rows times columns.
    pub n_settings: u64,
    /// What `plan` asked for, 64-byte aligned, this call's alone, with any content; NULL without.
    pub scratch: *mut c_void,
    /// Bytes of it.
    pub n_scratch: u64,
}

/// Each element of the result from the same element of the inputs.
pub const FUSION_KERNEL_ELEMENTWISE: u32 = 1;
/// A whole tensor from whole tensors.
pub const FUSION_KERNEL_TENSOR: u32 = 2;
/// Several tensors together, as `scope` groups them.
pub const FUSION_KERNEL_GROUP: u32 = 3;
/// Whole models, through the service `fusion.model/1`.
pub const FUSION_KERNEL_MODEL: u32 = 4;

/// `observe` and `apply` may run on several threads at once.
pub const FUSION_THREADING_PARALLEL: u32 = 0;
/// One call at a time per instance.
pub const FUSION_THREADING_INSTANCE: u32 = 1;
/// One call at a time in the whole process.
pub const FUSION_THREADING_PROCESS: u32 = 2;

/// Every tensor has an instance of its own.
pub const FUSION_SCOPE_TENSOR: u32 = 0;
/// All tensors of the stage share one.
pub const FUSION_SCOPE_MODEL: u32 = 1;
/// The tensors of a layer share one; those outside of layers have their own.
pub const FUSION_SCOPE_LAYER: u32 = 2;

/// Draws random numbers: a `seed` setting is offered.
pub const FUSION_NEEDS_RNG: u64 = 1;

/// The same inputs and settings give the same bits, for any chunk size and number of threads: results may be cached.
pub const FUSION_TRAIT_DETERMINISTIC: u64 = 1;
/// The order of the inputs of the last port does not matter, up to rounding.
pub const FUSION_TRAIT_COMMUTATIVE: u64 = 2;
/// Equal inputs give that input, up to rounding.
pub const FUSION_TRAIT_IDEMPOTENT: u64 = 4;
/// Adding one tensor to all inputs adds it to the result, up to rounding.
pub const FUSION_TRAIT_AFFINE: u64 = 8;
/// Scaling all inputs by one positive number scales the result, up to rounding.
pub const FUSION_TRAIT_SCALE_EQUIVARIANT: u64 = 16;

/// A method. Static.
///
/// Life of an instance: `create`, `plan` for each member; then
/// - *element-wise*: for each observe pass (while `observing`, or `observe_passes` times): per block of 1 Mi elements `state_new`,
///   `observe` on its stretches in order, `absorb` in the order of member and block, `pass_end`; then `apply` on every stretch, in any
///   order;
/// - *whole tensor, group*: `apply`, once;
/// - *whole model*: `run`, once;
///
/// and at last `destroy`. `create` runs at plan time too, before there are weights.
/// Functions marked *optional* may be NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_method {
    /// Size of this struct.
    pub struct_size: u64,
    /// The word after `using`.
    pub id: fusion_str,
    /// One line.
    pub title: fusion_str,
    /// The formula in plain text; several lines allowed.
    pub formula: fusion_str,
    /// Authors, title or venue, year.
    pub citation: fusion_str,
    /// JSON Schema of the settings, in the profile that the host's documentation gives; those of edges are marked `"x-input": true`.
    pub params_schema: fusion_str,
    /// Bump when results change: part of every cache key.
    pub version: u32,
    /// 0 align, 1 repair, 2 connect, 3 average, 4 select, 5 stitch, 6 ensemble, 7 distill, 8 evaluate.
    pub category: u32,
    /// `FUSION_KERNEL_*`.
    pub kernel: u32,
    /// Observe passes that are usual, for the plan's estimate; exact where `observing` is NULL. 0 unless element-wise.
    pub observe_passes: u32,
    /// `FUSION_THREADING_*`.
    pub threading: u32,
    /// 0.
    pub reserved: u32,
    /// `FUSION_NEEDS_*`, added up.
    pub needs: u64,
    /// `FUSION_TRAIT_*`, added up.
    pub traits: u64,
    /// Inputs in call order.
    pub ports: *const fusion_port,
    /// How many.
    pub n_ports: u64,
    /// Names of the settings that `settings` tables carry, in the order of their columns.
    pub numbers: *const fusion_str,
    /// How many.
    pub n_numbers: u64,
    /// *Optional.* Which tensors share an instance under these stage settings (a JSON object): `FUSION_SCOPE_*`. NULL: each has its
    /// own; for groups, those of a layer. Not asked for whole-tensor and whole-model methods. Any thread.
    pub scope: Option<
        unsafe extern "C" fn(host: *const fusion_host, params: fusion_str, scope: *mut u32) -> fusion_status,
    >,
    /// Checks the settings and makes an instance. Any thread. After a failure there is nothing to destroy.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const fusion_host,
            group: *const fusion_group,
            instance: *mut *mut c_void,
        ) -> fusion_status,
    >,
    /// Ends an instance. Any thread, no other call running.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// *Optional.* How member `member` is handled. Any thread, one call at a time per instance. For a whole-model method it is asked
    /// once, for member 0, and may ask for scratch alone.
    pub plan: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const fusion_host,
            member: u64,
            plan: *mut fusion_plan,
        ) -> fusion_status,
    >,
    /// *Optional.* Not 0 while another observe pass is due. One call at a time per instance.
    pub observing: Option<unsafe extern "C" fn(instance: *mut c_void) -> u32>,
    /// *Optional.* Not 0 if the current pass wants this tile of this member; what it does not want is not even read. Threads as
    /// `threading` says.
    pub wants: Option<unsafe extern "C" fn(instance: *mut c_void, member: u64, tile: u64) -> u32>,
    /// *Optional without observe passes.* A blank state of one block. Threads as `threading` says.
    pub state_new: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const fusion_host,
            state: *mut *mut c_void,
        ) -> fusion_status,
    >,
    /// *Optional without observe passes.* Adds a stretch to a block's state. Threads as `threading` says.
    pub observe: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const fusion_call,
            state: *mut c_void,
        ) -> fusion_status,
    >,
    /// *Optional without observe passes.* Takes a block's state into the instance and leaves it blank. In order of member, then block;
    /// one call at a time per instance.
    pub absorb: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const fusion_host,
            state: *mut c_void,
        ) -> fusion_status,
    >,
    /// *Optional without observe passes.* Ends a pass: all blocks have been absorbed. One call at a time per instance.
    pub pass_end:
        Option<unsafe extern "C" fn(instance: *mut c_void, host: *const fusion_host) -> fusion_status>,
    /// *Optional without observe passes.* Ends a block's state. Any thread.
    pub state_free: Option<unsafe extern "C" fn(instance: *mut c_void, state: *mut c_void)>,
    /// *Optional.* Two numbers of bytes for the memory budget. Element-wise: the instance's statistics, one block's state. Else: what a
    /// call allocates for itself, 0. Any thread.
    pub state_bytes: Option<unsafe extern "C" fn(instance: *mut c_void, bytes: *mut u64)>,
    /// Kernels 1 to 3: computes the outputs. Must be a pure function of the instance and the call, and must not write to the inputs.
    /// Threads as `threading` says.
    pub apply: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const fusion_call) -> fusion_status>,
    /// Kernel 4: does everything, through services. One call per instance.
    pub run: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const fusion_call) -> fusion_status>,
}
