//! The table of element-wise methods, with and without observe passes. SAFETY: see `instance`.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fusion_abi::{
    FUSION_KERNEL_ELEMENTWISE, FUSION_OK, fusion_call, fusion_group, fusion_host, fusion_method,
    fusion_status, fusion_str, fusion_tensor,
};

use super::describe::table;
use super::guard::{guarded, panicked};
use super::instance::{self, alone, nowhere, quietly, shared, slice, sound};
use crate::elementwise::Elementwise;
use crate::kernel::Tile;
use crate::method::described;
use crate::observe::Observe;
use crate::{Class, task};

/// Inputs whose slices stand on the stack.
const FEW: usize = 8;

/// The descriptor of an element-wise method without observe passes.
pub(super) fn plain<K: Elementwise>() -> fusion_method {
    let described = described::<K::Params, K::Input>(K::about(), Class::Elementwise, 0);
    fusion_method {
        scope: Some(scope::<K>),
        create: Some(create::<K>),
        destroy: Some(instance::destroy::<K>),
        apply: Some(apply::<K>),
        ..table(&described, FUSION_KERNEL_ELEMENTWISE)
    }
}

/// The descriptor of one with observe passes.
pub(super) fn observing<K: Observe>() -> fusion_method {
    fusion_method {
        observe_passes: K::PASSES,
        observing: Some(is_observing::<K>),
        wants: Some(wants::<K>),
        state_new: Some(state_new::<K>),
        observe: Some(observe::<K>),
        absorb: Some(absorb::<K>),
        pass_end: Some(pass_end::<K>),
        state_free: Some(state_free::<K>),
        state_bytes: Some(state_bytes::<K>),
        ..plain::<K>()
    }
}

unsafe extern "C" fn scope<K: Elementwise>(
    host: *const fusion_host,
    params: fusion_str,
    scope: *mut u32,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe { instance::scope(host, params, scope, |params| Ok(K::scope(&task::read(params)?))) }
}

unsafe extern "C" fn create<K: Elementwise>(
    host: *const fusion_host,
    given: *const fusion_group,
    instance: *mut *mut c_void,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe { instance::create(host, given, instance, |raw| K::prepare(raw.typed()?)) }
}

/// Calls `body` with the tile of a call.
///
/// # Safety
/// See `instance`.
#[inline(always)]
unsafe fn with_tile<R>(call: &fusion_call, body: impl FnOnce(&Tile<'_>) -> R) -> R {
    // SAFETY: see `instance`.
    let inputs = unsafe { slice(call.inputs, call.n_inputs) };
    let view = |input: &fusion_tensor| -> &[f32] {
        // SAFETY: one dimension of f32, contiguous, valid for the call.
        unsafe { slice(input.dl.data.cast::<f32>(), *input.dl.shape as u64) }
    };
    let (offset, member) = inputs.first().map_or((0, 0), |input| (input.first, input.member));
    let tile = |inputs: &[&[f32]]| body(&Tile { tensor: member as usize, offset, inputs });
    if inputs.len() <= FEW {
        let mut few = [const { MaybeUninit::<&[f32]>::uninit() }; FEW];
        for (slot, input) in few.iter_mut().zip(inputs) {
            slot.write(view(input));
        }
        // SAFETY: the first `inputs.len()` slots have just been written.
        tile(unsafe { std::slice::from_raw_parts(few.as_ptr().cast(), inputs.len()) })
    } else {
        tile(&inputs.iter().map(view).collect::<Vec<_>>())
    }
}

unsafe extern "C" fn apply<K: Elementwise>(instance: *mut c_void, call: *const fusion_call) -> fusion_status {
    // A tile costs microseconds, so this is `guarded` without what only failures need.
    // SAFETY: see `instance`.
    unsafe {
        let call = &*call;
        if let Err(error) = sound::<K>(instance) {
            return guarded(call.host, nowhere, || Err(error));
        }
        let done = catch_unwind(AssertUnwindSafe(|| {
            let Some(output) = slice(call.outputs, call.n_outputs).first() else { return };
            let out = match *output.dl.shape {
                0 => &mut [],
                n => std::slice::from_raw_parts_mut(output.dl.data.cast::<f32>(), n as usize),
            };
            with_tile(call, |tile| shared::<K>(instance).apply(tile, out));
        }));
        match done {
            Ok(()) => FUSION_OK,
            Err(payload) => panicked(call.host, payload),
        }
    }
}

unsafe extern "C" fn is_observing<K: Observe>(instance: *mut c_void) -> u32 {
    // SAFETY: see `instance`.
    unsafe { quietly::<K, _>(instance, "observing", 0, |kernel| u32::from(kernel.observing())) }
}

unsafe extern "C" fn wants<K: Observe>(instance: *mut c_void, member: u64, tile: u64) -> u32 {
    // SAFETY: see `instance`.
    unsafe {
        quietly::<K, _>(instance, "wants", 1, |kernel| {
            u32::from(kernel.wants(member as usize, tile as usize))
        })
    }
}

unsafe extern "C" fn state_new<K: Observe>(
    instance: *mut c_void,
    host: *const fusion_host,
    state: *mut *mut c_void,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        guarded(host, nowhere, || {
            sound::<K>(instance)?;
            *state = Box::into_raw(Box::new(shared::<K>(instance).partial())).cast();
            Ok(())
        })
    }
}

unsafe extern "C" fn state_free<K: Observe>(_: *mut c_void, state: *mut c_void) {
    // SAFETY: see `instance`.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(state.cast::<K::Partial>()) })));
}

unsafe extern "C" fn observe<K: Observe>(
    instance: *mut c_void,
    call: *const fusion_call,
    state: *mut c_void,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        let call = &*call;
        guarded(call.host, nowhere, || {
            sound::<K>(instance)?;
            with_tile(call, |tile| shared::<K>(instance).observe(&mut *state.cast::<K::Partial>(), tile));
            Ok(())
        })
    }
}

unsafe extern "C" fn absorb<K: Observe>(
    instance: *mut c_void,
    host: *const fusion_host,
    state: *mut c_void,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        guarded(host, nowhere, || {
            sound::<K>(instance)?;
            alone::<K>(instance).absorb(&mut *state.cast::<K::Partial>());
            Ok(())
        })
    }
}

unsafe extern "C" fn pass_end<K: Observe>(instance: *mut c_void, host: *const fusion_host) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        guarded(host, nowhere, || {
            sound::<K>(instance)?;
            alone::<K>(instance).finish_pass()
        })
    }
}

unsafe extern "C" fn state_bytes<K: Observe>(instance: *mut c_void, bytes: *mut u64) {
    // SAFETY: see `instance`; `bytes` points to two numbers.
    unsafe {
        let (state, partial) =
            quietly::<K, _>(instance, "state_bytes", (0, 0), |kernel| kernel.state_bytes());
        *bytes = state as u64;
        *bytes.add(1) = partial as u64;
    }
}
