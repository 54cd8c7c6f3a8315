//! The services of the kit's host that depend on a test: threads by its number of workers, models in memory. The others are the
//! engine's own.

use std::ffi::c_void;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use fusion_abi::{
    FUSION_INVALID, FUSION_OK, fusion_model_v1, fusion_status, fusion_str, fusion_tensor, fusion_threads_v1,
};

use super::host::{owned, shared};
use super::model::Models;

pub(super) const fn threads() -> fusion_threads_v1 {
    fusion_threads_v1 {
        struct_size: size_of::<fusion_threads_v1>() as u64,
        ctx: std::ptr::null_mut(),
        for_each: Some(for_each),
    }
}

pub(super) const fn model() -> fusion_model_v1 {
    fusion_model_v1 {
        struct_size: size_of::<fusion_model_v1>() as u64,
        ctx: std::ptr::null_mut(),
        models: Some(models),
        find: Some(find),
        info: Some(info),
        read: Some(read),
        release: Some(release),
        write: Some(write),
    }
}

type Body = unsafe extern "C" fn(data: *mut c_void, i: u64, worker: u32) -> fusion_status;

/// The plugin's data on its way to the threads.
struct Data(*mut c_void);
// SAFETY: the contract: `body` may be called with it from any thread.
unsafe impl Sync for Data {}

impl Data {
    fn pointer(&self) -> *mut c_void {
        self.0
    }
}

unsafe extern "C" fn for_each(
    ctx: *mut c_void,
    n: u64,
    body: Option<Body>,
    data: *mut c_void,
) -> fusion_status {
    let Some(body) = body else { return FUSION_INVALID };
    // SAFETY: a table's own `ctx`.
    let workers = unsafe { shared(ctx) }.workers.load(Ordering::Relaxed);
    let (next, failed, data) = (AtomicU64::new(0), AtomicI32::new(FUSION_OK), Data(data));
    let work = |worker: u32| {
        while failed.load(Ordering::SeqCst) == FUSION_OK {
            let i = next.fetch_add(1, Ordering::SeqCst);
            if i >= n {
                break;
            }
            // SAFETY: the plugin's own function and data.
            let status = unsafe { body(data.pointer(), i, worker) };
            if status != FUSION_OK {
                let _ = failed.compare_exchange(FUSION_OK, status, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
    };
    if workers == 1 {
        work(0);
    } else {
        std::thread::scope(|scope| {
            for worker in 0..workers as u32 {
                let work = &work;
                scope.spawn(move || work(worker));
            }
        });
    }
    failed.load(Ordering::SeqCst)
}

/// Calls `body` with the models of this run; `otherwise` where there is none.
///
/// # Safety
/// `ctx` is a table's own.
unsafe fn with<R>(ctx: *mut c_void, otherwise: R, body: impl FnOnce(&mut Models) -> R) -> R {
    // SAFETY: as promised.
    let shared = unsafe { shared(ctx) };
    match &mut *shared.models.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(models) => body(models),
        None => otherwise,
    }
}

unsafe extern "C" fn models(ctx: *mut c_void) -> u32 {
    // SAFETY: a table's own `ctx`.
    unsafe { with(ctx, 0, |models| models.count() as u32) }
}

unsafe extern "C" fn find(ctx: *mut c_void, name: fusion_str) -> u64 {
    // SAFETY: a table's own `ctx`, a text valid for the call.
    unsafe {
        let name = owned(name);
        with(ctx, u64::MAX, |models| models.find(&name).map_or(u64::MAX, |at| at as u64))
    }
}

unsafe extern "C" fn info(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status {
    // SAFETY: a table's own `ctx`, room for a tensor.
    unsafe {
        with(ctx, FUSION_INVALID, |models| match models.view(model as usize, i as usize, false) {
            Some(tensor) => {
                out.write(tensor);
                FUSION_OK
            }
            None => FUSION_INVALID,
        })
    }
}

unsafe extern "C" fn read(ctx: *mut c_void, model: u32, i: u64, out: *mut fusion_tensor) -> fusion_status {
    // SAFETY: a table's own `ctx`, room for a tensor.
    unsafe {
        with(ctx, FUSION_INVALID, |models| match models.view(model as usize, i as usize, true) {
            Some(tensor) => {
                out.write(tensor);
                FUSION_OK
            }
            None => FUSION_INVALID,
        })
    }
}

unsafe extern "C" fn release(ctx: *mut c_void, tensor: *const fusion_tensor) {
    // SAFETY: a table's own `ctx`, a tensor that `read` filled in.
    unsafe { with(ctx, (), |models| models.release((*tensor).dl.data)) }
}

unsafe extern "C" fn write(ctx: *mut c_void, i: u64, data: *const f32, n: u64) -> fusion_status {
    // SAFETY: a table's own `ctx`.
    unsafe {
        with(ctx, FUSION_INVALID, |models| {
            if models.length(i as usize) != Some(n as usize) {
                models.complain(format!("`write` of member {i} with {n} elements, which do not fit"));
                return FUSION_INVALID;
            }
            let values = if n == 0 { &[] } else { std::slice::from_raw_parts(data, n as usize) };
            if models.store(i as usize, values.to_vec()) { FUSION_OK } else { FUSION_INVALID }
        })
    }
}
