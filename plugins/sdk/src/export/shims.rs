//! The functions of an element-wise method's table, generic over the author's type.
//!
//! SAFETY of every function here: the host keeps the contract, that is, pointers are valid for the call, `instance` came from `create`
//! of the same type and was not destroyed, `state` from `state_new`, and calls that need the instance alone (`absorb`, `pass_end`,
//! `destroy`) do not run beside others.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use fusion_abi::{
    fusion_call, fusion_group, fusion_host, fusion_input, fusion_status, fusion_str, fusion_tensor,
};
use serde_json::{Map, Value as Json};

use super::guard::{guarded, read};
use crate::elementwise::Elementwise;
use crate::error::{ErrorKind, MethodError};
use crate::kernel::Tile;
use crate::task::{RawGroup, RawInput, RawTensor};

/// Inputs whose slices stand on the stack.
const FEW: usize = 16;

/// An instance: the author's kernel, and the panic of a function that has no status to return, for the next one that has.
struct Instance<K> {
    kernel: UnsafeCell<K>,
    panicked: OnceLock<&'static str>,
}

/// # Safety
/// See the module.
unsafe fn shared<'a, K>(instance: *mut c_void) -> &'a K {
    // SAFETY: see the module; nobody has it alone during this call.
    unsafe { &*(*instance.cast::<Instance<K>>()).kernel.get() }
}

/// # Safety
/// See the module.
unsafe fn alone<'a, K>(instance: *mut c_void) -> &'a mut K {
    // SAFETY: see the module; no other call runs.
    unsafe { &mut *(*instance.cast::<Instance<K>>()).kernel.get() }
}

/// Runs `body`, which has no status to return: a panic gives `otherwise`, and is told by the next call that has one.
///
/// # Safety
/// See the module.
unsafe fn quietly<K: Elementwise, R>(
    instance: *mut c_void,
    what: &'static str,
    otherwise: R,
    body: impl FnOnce(&K) -> R,
) -> R {
    // SAFETY: see the module.
    let (kernel, panicked) = unsafe { (shared::<K>(instance), &(*instance.cast::<Instance<K>>()).panicked) };
    match catch_unwind(AssertUnwindSafe(|| body(kernel))) {
        Ok(result) => result,
        Err(payload) => {
            std::mem::forget(payload);
            let _ = panicked.set(what);
            otherwise
        }
    }
}

/// An error if a function without a status has panicked.
///
/// # Safety
/// See the module.
unsafe fn sound<K: Elementwise>(instance: *mut c_void) -> Result<(), MethodError> {
    // SAFETY: see the module.
    match unsafe { (*instance.cast::<Instance<K>>()).panicked.get() } {
        None => Ok(()),
        Some(what) => Err(MethodError::new(ErrorKind::Failed, format!("`{what}` panicked"))),
    }
}

/// # Safety
/// `first` points to `count` elements that are valid for the call, or `count` is 0.
unsafe fn slice<'a, T>(first: *const T, count: u64) -> &'a [T] {
    if count == 0 || first.is_null() {
        return &[];
    }
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}

fn nowhere(_: &MethodError) -> String {
    String::new()
}

fn object(text: &str) -> Result<Map<String, Json>, MethodError> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .map_err(|error| MethodError::invalid(format!("settings are no JSON object: {error}")))
}

/// # Safety
/// See the module.
unsafe fn group(given: *const fusion_group) -> Result<RawGroup, MethodError> {
    // SAFETY: see the module.
    let given = unsafe { &*given };
    let mut tensors = Vec::with_capacity(given.n_members as usize);
    // SAFETY: see the module.
    for member in unsafe { slice(given.members, given.n_members) } {
        let mut inputs = Vec::with_capacity(member.n_inputs as usize);
        // SAFETY: see the module.
        for input in unsafe { slice::<fusion_input>(member.inputs, member.n_inputs) } {
            // SAFETY: see the module.
            let (port, params) = unsafe { (read(input.port), read(input.params)) };
            inputs.push(RawInput { role: port.to_owned(), settings: object(params)? });
        }
        // SAFETY: see the module.
        let (name, params, shape) =
            unsafe { (read(member.name), read(member.params), slice(member.shape, member.ndim)) };
        tensors.push(RawTensor {
            name: name.to_owned(),
            shape: shape.iter().map(|&n| n as usize).collect(),
            params: object(params)?,
            inputs,
        });
    }
    Ok(RawGroup { tensors, seed: given.seed })
}

/// `/density`, or `/from/1/weight` for the second input of the port `from`.
fn pointer(group: &RawGroup, error: &MethodError) -> String {
    let parameter = error.parameter.map(|name| format!("/{name}")).unwrap_or_default();
    let inputs = group.tensors.first().map_or(&[][..], |tensor| &tensor.inputs);
    match error.input.and_then(|index| Some((index, inputs.get(index)?))) {
        Some((index, input)) => {
            let place = inputs[..index].iter().filter(|other| other.role == input.role).count();
            format!("/{}/{place}{parameter}", input.role)
        }
        None => parameter,
    }
}

pub(super) unsafe extern "C" fn scope<K: Elementwise>(
    host: *const fusion_host,
    params: fusion_str,
    whole: *mut u32,
) -> fusion_status {
    // SAFETY: see the module.
    unsafe {
        guarded(host, nowhere, || {
            let scope = K::scope(&crate::task::read(&object(read(params))?)?);
            *whole = u32::from(scope == crate::task::Scope::Model);
            Ok(())
        })
    }
}

pub(super) unsafe extern "C" fn create<K: Elementwise>(
    host: *const fusion_host,
    given: *const fusion_group,
    instance: *mut *mut c_void,
) -> fusion_status {
    let mut raw = RawGroup { tensors: Vec::new(), seed: 0 };
    let raw = &mut raw;
    let place: std::cell::RefCell<Option<String>> = std::cell::RefCell::new(None);
    // SAFETY: see the module.
    unsafe {
        guarded(
            host,
            |_| place.borrow_mut().take().unwrap_or_default(),
            || {
                *raw = group(given)?;
                let kernel = raw.typed().and_then(K::prepare).inspect_err(|error| {
                    place.replace(Some(pointer(raw, error)));
                })?;
                *instance = Box::into_raw(Box::new(Instance {
                    kernel: UnsafeCell::new(kernel),
                    panicked: OnceLock::new(),
                }))
                .cast();
                Ok(())
            },
        )
    }
}

pub(super) unsafe extern "C" fn destroy<K: Elementwise>(instance: *mut c_void) {
    // SAFETY: see the module. A panic in a destructor leaks the rest.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(instance.cast::<Instance<K>>()) })));
}

pub(super) unsafe extern "C" fn observing<K: Elementwise>(instance: *mut c_void) -> u32 {
    // SAFETY: see the module.
    unsafe { quietly::<K, _>(instance, "observing", 0, |kernel| u32::from(kernel.observing())) }
}

pub(super) unsafe extern "C" fn wants<K: Elementwise>(instance: *mut c_void, member: u64, tile: u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        quietly::<K, _>(instance, "wants", 1, |kernel| {
            u32::from(kernel.wants(member as usize, tile as usize))
        })
    }
}

pub(super) unsafe extern "C" fn state_new<K: Elementwise>(
    instance: *mut c_void,
    host: *const fusion_host,
    state: *mut *mut c_void,
) -> fusion_status {
    // SAFETY: see the module.
    unsafe {
        guarded(host, nowhere, || {
            sound::<K>(instance)?;
            *state = Box::into_raw(Box::new(shared::<K>(instance).partial())).cast();
            Ok(())
        })
    }
}

pub(super) unsafe extern "C" fn state_free<K: Elementwise>(_: *mut c_void, state: *mut c_void) {
    // SAFETY: see the module.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(state.cast::<K::Partial>()) })));
}

/// Calls `body` with the tile of a call.
///
/// # Safety
/// See the module.
#[inline(always)]
unsafe fn with_tile<R>(call: &fusion_call, body: impl FnOnce(&Tile<'_>) -> R) -> R {
    // SAFETY: see the module.
    let inputs = unsafe { slice(call.inputs, call.n_inputs) };
    let view = |input: &fusion_tensor| -> &[f32] {
        // SAFETY: one dimension of f32, contiguous, valid for the call.
        unsafe { slice(input.dl.data.cast::<f32>(), *input.dl.shape as u64) }
    };
    let (offset, member) = inputs.first().map_or((0, 0), |input| (input.first, input.member));
    let tile = |inputs: &[&[f32]]| body(&Tile { tensor: member as usize, offset, inputs });
    if inputs.len() <= FEW {
        let mut few: [&[f32]; FEW] = [&[]; FEW];
        for (slot, input) in few.iter_mut().zip(inputs) {
            *slot = view(input);
        }
        tile(&few[..inputs.len()])
    } else {
        tile(&inputs.iter().map(view).collect::<Vec<_>>())
    }
}

pub(super) unsafe extern "C" fn observe<K: Elementwise>(
    instance: *mut c_void,
    call: *const fusion_call,
    state: *mut c_void,
) -> fusion_status {
    // SAFETY: see the module.
    unsafe {
        let call = &*call;
        guarded(call.host, nowhere, || {
            sound::<K>(instance)?;
            with_tile(call, |tile| shared::<K>(instance).observe(&mut *state.cast::<K::Partial>(), tile));
            Ok(())
        })
    }
}

pub(super) unsafe extern "C" fn absorb<K: Elementwise>(
    instance: *mut c_void,
    host: *const fusion_host,
    state: *mut c_void,
) -> fusion_status {
    // SAFETY: see the module.
    unsafe {
        guarded(host, nowhere, || {
            sound::<K>(instance)?;
            alone::<K>(instance).absorb(&mut *state.cast::<K::Partial>());
            Ok(())
        })
    }
}

pub(super) unsafe extern "C" fn pass_end<K: Elementwise>(
    instance: *mut c_void,
    host: *const fusion_host,
) -> fusion_status {
    // SAFETY: see the module.
    unsafe {
        guarded(host, nowhere, || {
            sound::<K>(instance)?;
            alone::<K>(instance).finish_pass()
        })
    }
}

pub(super) unsafe extern "C" fn state_bytes<K: Elementwise>(instance: *mut c_void, bytes: *mut u64) {
    // SAFETY: see the module; `bytes` points to two numbers.
    unsafe {
        let (state, partial) =
            quietly::<K, _>(instance, "state_bytes", (0, 0), |kernel| kernel.state_bytes());
        *bytes = state as u64;
        *bytes.add(1) = partial as u64;
    }
}

pub(super) unsafe extern "C" fn apply<K: Elementwise>(
    instance: *mut c_void,
    call: *const fusion_call,
) -> fusion_status {
    // SAFETY: see the module.
    unsafe {
        let call = &*call;
        guarded(call.host, nowhere, || {
            sound::<K>(instance)?;
            let Some(output) = slice(call.outputs, call.n_outputs).first() else { return Ok(()) };
            let out = match *output.dl.shape {
                0 => &mut [],
                n => std::slice::from_raw_parts_mut(output.dl.data.cast::<f32>(), n as usize),
            };
            with_tile(call, |tile| shared::<K>(instance).apply(tile, out));
            Ok(())
        })
    }
}
