//! A plugin's whole-model method as a kernel: one call of the library, which reads and writes through `fusion.model/1`.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fusion_abi::{
    FUSION_FAILED, FUSION_INVALID, FUSION_OK, fusion_call, fusion_model_v1, fusion_status, fusion_str,
    fusion_tensor,
};
use fusion_sdk::{Context, ErrorKind, MethodError, ModelKernel, Models};

use super::callbacks::{Host, owned};
use super::frame::Frame;
use super::instance::Instance;
use super::scratch::Scratch;
use super::whole::view;

/// A prepared whole-model method of a plugin.
pub(super) struct DynamicModel(pub(super) Instance);

/// What the service's functions find behind their `ctx`.
struct Served<'a> {
    models: &'a dyn Models,
    frames: &'a [Frame],
    /// Tensors that are pinned, by address of their data: how often, and the data.
    pinned: Mutex<BTreeMap<usize, Vec<f32>>>,
    /// The first error of the models, which ends the call whatever the plugin makes of it.
    failed: Mutex<Option<MethodError>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Served<'_> {
    fn refuse(&self, error: MethodError) -> fusion_status {
        let status = if error.kind == ErrorKind::Invalid { FUSION_INVALID } else { FUSION_FAILED };
        lock(&self.failed).get_or_insert(error);
        status
    }
}

/// # Safety
/// `ctx` is the `Served` of a call that goes on.
unsafe fn served<'a>(ctx: *mut c_void) -> &'a Served<'a> {
    // SAFETY: as promised.
    unsafe { &*ctx.cast::<Served<'a>>() }
}

unsafe extern "C" fn models(ctx: *mut c_void) -> u32 {
    // SAFETY: during the call only, as the contract says.
    unsafe { served(ctx) }.models.models() as u32
}

unsafe extern "C" fn find(ctx: *mut c_void, name: fusion_str) -> u64 {
    // SAFETY: during the call only, as the contract says; the plugin's text is valid for it.
    let (served, name) = unsafe { (served(ctx), owned(name)) };
    served.models.find(&name).map_or(u64::MAX, |member| member as u64)
}

unsafe extern "C" fn info(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status {
    // SAFETY: during the call only, as the contract says.
    let served = unsafe { served(ctx) };
    let there = (model as usize) < served.models.models();
    match served.frames.get(i as usize).filter(|_| there && !out.is_null()) {
        Some(frame) => {
            // SAFETY: room for a tensor of this version, which the plugin provides.
            unsafe { *out = view(frame, i as usize, std::ptr::null()) };
            FUSION_OK
        }
        None => served.refuse(MethodError::invalid(format!("there is no member {i} of model {model}"))),
    }
}

unsafe extern "C" fn read(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status {
    // SAFETY: during the call only, as the contract says.
    let served = unsafe { served(ctx) };
    let Some(frame) = served.frames.get(i as usize).filter(|_| !out.is_null()) else {
        return served.refuse(MethodError::invalid(format!("there is no member {i} of model {model}")));
    };
    match served.models.read(model as usize, i as usize) {
        Ok(mut data) => {
            data.reserve(1); // so that empty tensors have an address of their own
            // SAFETY: room for a tensor of this version, which the plugin provides.
            unsafe { *out = view(frame, i as usize, data.as_ptr()) };
            lock(&served.pinned).insert(data.as_ptr() as usize, data);
            FUSION_OK
        }
        Err(error) => served.refuse(error),
    }
}

unsafe extern "C" fn release(ctx: *mut c_void, tensor: *const fusion_tensor) {
    if !tensor.is_null() {
        // SAFETY: during the call only, as the contract says; the plugin's tensor is valid for it.
        let (served, data) = unsafe { (served(ctx), (*tensor).dl.data) };
        lock(&served.pinned).remove(&(data as usize));
    }
}

unsafe extern "C" fn write(ctx: *mut c_void, i: u64, data: *const f32, n: u64) -> fusion_status {
    // SAFETY: during the call only, as the contract says.
    let served = unsafe { served(ctx) };
    let data = match n {
        0 => &[],
        _ if data.is_null() => {
            return served.refuse(MethodError::invalid(format!("member {i} was written from NULL")));
        }
        // SAFETY: the plugin's elements, valid for the call.
        n => unsafe { std::slice::from_raw_parts(data, n as usize) },
    };
    match served.models.write(i as usize, data) {
        Ok(()) => FUSION_OK,
        Err(error) => served.refuse(error),
    }
}

impl ModelKernel for DynamicModel {
    fn run(&self, given: &dyn Models, context: &Context<'_>) -> Result<(), MethodError> {
        let shared = &self.0;
        let Some(run) = shared.method.run else {
            return Err(MethodError::new(ErrorKind::Failed, "the plugin has no `run`"));
        };
        let served = Served {
            models: given,
            frames: &shared.frames,
            pinned: Mutex::default(),
            failed: Mutex::default(),
        };
        let service = fusion_model_v1 {
            struct_size: size_of::<fusion_model_v1>() as u64,
            ctx: (&raw const served).cast_mut().cast(),
            models: Some(models),
            find: Some(find),
            info: Some(info),
            read: Some(read),
            release: Some(release),
            write: Some(write),
        };
        let host = Host::during(context, Some(&service));
        let mut scratch = Scratch::new();
        let call = fusion_call {
            struct_size: size_of::<fusion_call>() as u64,
            host: host.table(),
            inputs: std::ptr::null(),
            n_inputs: 0,
            outputs: std::ptr::null(),
            n_outputs: 0,
            settings: std::ptr::null(),
            n_settings: 0,
            scratch: scratch.fit(shared.scratch),
            n_scratch: shared.scratch as u64,
        };
        let _turn = shared.turn();
        // SAFETY: a live instance, and everything that the call points to lives through it.
        let status = unsafe { run(shared.instance, &raw const call) };
        // What the engine could not do explains more than what the plugin makes of it.
        if let Some(error) = lock(&served.failed).take() {
            return Err(error);
        }
        if status == FUSION_OK { Ok(()) } else { Err(shared.told(status, &host)) }
    }

    fn scratch_bytes(&self) -> usize {
        self.0.scratch + self.0.bytes().0
    }
}
