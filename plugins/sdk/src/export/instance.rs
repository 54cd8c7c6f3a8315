//! What the tables of all classes share: an instance with the author's kernel, made from a group and ended once.
//!
//! SAFETY of everything here, and of the modules for each class: the host keeps the contract, that is, pointers are valid for the call,
//! `instance` came from `create` of the same type and was not destroyed, `state` from `state_new`, and calls that need the instance
//! alone (`absorb`, `pass_end`, `destroy`) do not run beside others.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use fusion_abi::{
    FUSION_SCOPE_LAYER, FUSION_SCOPE_MODEL, FUSION_SCOPE_TENSOR, fusion_group, fusion_host, fusion_input,
    fusion_status, fusion_str,
};
use serde_json::{Map, Value as Json};

use super::guard::{guarded, read};
use crate::error::{ErrorKind, MethodError};
use crate::task::{Layer, RawGroup, RawInput, RawTensor, Scope};

/// An instance: the author's kernel, and the panic of a function that has no status to return, for the next one that has.
pub(super) struct Instance<K> {
    kernel: UnsafeCell<K>,
    panicked: OnceLock<&'static str>,
}

/// # Safety
/// See the module.
#[inline(always)]
pub(super) unsafe fn shared<'a, K>(instance: *mut c_void) -> &'a K {
    // SAFETY: see the module; nobody has it alone during this call.
    unsafe { &*(*instance.cast::<Instance<K>>()).kernel.get() }
}

/// # Safety
/// See the module.
pub(super) unsafe fn alone<'a, K>(instance: *mut c_void) -> &'a mut K {
    // SAFETY: see the module; no other call runs.
    unsafe { &mut *(*instance.cast::<Instance<K>>()).kernel.get() }
}

/// Runs `body`, which has no status to return: a panic gives `otherwise`, and is told by the next call that has one.
///
/// # Safety
/// See the module.
pub(super) unsafe fn quietly<K, R>(
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
#[inline(always)]
pub(super) unsafe fn sound<K>(instance: *mut c_void) -> Result<(), MethodError> {
    // SAFETY: see the module.
    match unsafe { (*instance.cast::<Instance<K>>()).panicked.get() } {
        None => Ok(()),
        Some(what) => Err(MethodError::new(ErrorKind::Failed, format!("`{what}` panicked"))),
    }
}

/// # Safety
/// `first` points to `count` elements that are valid for the call, or `count` is 0.
#[inline(always)]
pub(super) unsafe fn slice<'a, T>(first: *const T, count: u64) -> &'a [T] {
    if count == 0 || first.is_null() {
        return &[];
    }
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}

pub(super) fn nowhere(_: &MethodError) -> String {
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
            layer: (member.layer != u32::MAX).then_some(Layer { index: member.layer, of: member.layers }),
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

/// `scope`, for any class that has it.
///
/// # Safety
/// See the module.
pub(super) unsafe fn scope(
    host: *const fusion_host,
    params: fusion_str,
    scope: *mut u32,
    of: impl FnOnce(&Map<String, Json>) -> Result<Scope, MethodError>,
) -> fusion_status {
    let at = |error: &MethodError| error.parameter.map(|name| format!("/{name}")).unwrap_or_default();
    // SAFETY: see the module.
    unsafe {
        guarded(host, at, || {
            *scope = match of(&object(read(params))?)? {
                Scope::Tensor => FUSION_SCOPE_TENSOR,
                Scope::Layer => FUSION_SCOPE_LAYER,
                Scope::Model => FUSION_SCOPE_MODEL,
            };
            Ok(())
        })
    }
}

/// `create`, for any class.
///
/// # Safety
/// See the module.
pub(super) unsafe fn create<K>(
    host: *const fusion_host,
    given: *const fusion_group,
    instance: *mut *mut c_void,
    make: impl FnOnce(&RawGroup) -> Result<K, MethodError>,
) -> fusion_status {
    let place = std::cell::RefCell::new(String::new());
    // SAFETY: see the module.
    unsafe {
        guarded(
            host,
            |_| place.take(),
            || {
                let raw = group(given)?;
                let kernel = make(&raw).inspect_err(|error| {
                    place.replace(pointer(&raw, error));
                })?;
                let made = Instance { kernel: UnsafeCell::new(kernel), panicked: OnceLock::new() };
                *instance = Box::into_raw(Box::new(made)).cast();
                Ok(())
            },
        )
    }
}

pub(super) unsafe extern "C" fn destroy<K>(instance: *mut c_void) {
    // SAFETY: see the module. A panic in a destructor leaks the rest.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(instance.cast::<Instance<K>>()) })));
}
