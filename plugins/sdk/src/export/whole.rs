//! The tables of whole-tensor and group methods. SAFETY: see `instance`.

use std::ffi::c_void;

use fusion_abi::{
    FUSION_KERNEL_GROUP, FUSION_KERNEL_TENSOR, fusion_call, fusion_dltensor, fusion_group, fusion_host,
    fusion_method, fusion_status, fusion_str, fusion_tensor,
};

use super::border::Border;
use super::describe::table;
use super::guard::{guarded, read};
use super::instance::{self, nowhere, quietly, shared, slice, sound};
use crate::context::Context;
use crate::error::MethodError;
use crate::method::described;
use crate::whole::{Group, Member, WholeTensor};
use crate::{Class, task};

/// The descriptor of a whole-tensor method.
pub(super) fn tensor<K: WholeTensor>() -> fusion_method {
    let described = described::<K::Params, K::Input>(K::about(), Class::WholeTensor, 0);
    fusion_method {
        create: Some(create_tensor::<K>),
        destroy: Some(instance::destroy::<K>),
        apply: Some(apply_tensor::<K>),
        state_bytes: Some(bytes_tensor::<K>),
        ..table(&described, FUSION_KERNEL_TENSOR)
    }
}

/// The descriptor of a group method.
pub(super) fn group<K: Group>() -> fusion_method {
    let described = described::<K::Params, K::Input>(K::about(), Class::Group, 0);
    fusion_method {
        scope: Some(scope_group::<K>),
        create: Some(create_group::<K>),
        destroy: Some(instance::destroy::<K>),
        apply: Some(apply_group::<K>),
        state_bytes: Some(bytes_group::<K>),
        ..table(&described, FUSION_KERNEL_GROUP)
    }
}

unsafe extern "C" fn create_tensor<K: WholeTensor>(
    host: *const fusion_host,
    given: *const fusion_group,
    instance: *mut *mut c_void,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe { instance::create(host, given, instance, |raw| K::prepare(raw.typed()?)) }
}

unsafe extern "C" fn create_group<K: Group>(
    host: *const fusion_host,
    given: *const fusion_group,
    instance: *mut *mut c_void,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe { instance::create(host, given, instance, |raw| K::prepare(raw.typed()?)) }
}

unsafe extern "C" fn scope_group<K: Group>(
    host: *const fusion_host,
    params: fusion_str,
    scope: *mut u32,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe { instance::scope(host, params, scope, |params| Ok(K::scope(&task::read(params)?))) }
}

/// The elements of a view; empty where it has none.
///
/// # Safety
/// A contiguous view of f32 that is valid for the call.
unsafe fn elements<'a>(view: &fusion_dltensor) -> &'a [f32] {
    // SAFETY: as promised.
    unsafe {
        let n: i64 = slice(view.shape, view.ndim as u64).iter().product();
        slice(view.data.cast::<f32>(), n as u64)
    }
}

/// Calls `body` with the members of a call.
///
/// # Safety
/// See `instance`.
unsafe fn with_members(
    call: &fusion_call,
    body: impl FnOnce(&mut [Member<'_>], &Context<'_>) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    // SAFETY: see `instance`.
    let (inputs, outputs): (&[fusion_tensor], &[fusion_tensor]) =
        unsafe { (slice(call.inputs, call.n_inputs), slice(call.outputs, call.n_outputs)) };
    let slices: Vec<Vec<&[f32]>> = outputs
        .iter()
        .map(|output| {
            let own = inputs.iter().filter(|input| input.member == output.member);
            // SAFETY: see `instance`.
            own.map(|input| unsafe { elements(&input.dl) }).collect()
        })
        .collect();
    let shapes: Vec<Vec<usize>> = outputs
        .iter()
        .map(|output| {
            // SAFETY: see `instance`.
            let shape = unsafe { slice(output.dl.shape, output.dl.ndim as u64) };
            shape.iter().map(|&n| n as usize).collect()
        })
        .collect();
    let mut members: Vec<Member<'_>> = outputs
        .iter()
        .zip(&slices)
        .zip(&shapes)
        .map(|((output, inputs), shape)| Member {
            // SAFETY: see `instance`.
            name: unsafe { read(output.name) },
            shape,
            inputs,
            out: match shape.iter().product::<usize>() {
                0 => &mut [],
                // SAFETY: see `instance`: an output is written by nobody else.
                n => unsafe { std::slice::from_raw_parts_mut(output.dl.data.cast::<f32>(), n) },
            },
        })
        .collect();
    // SAFETY: see `instance`.
    let border = unsafe { Border::new(call.host) };
    body(&mut members, &Context::new(&border))
}

unsafe extern "C" fn apply_tensor<K: WholeTensor>(
    instance: *mut c_void,
    call: *const fusion_call,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        let call = &*call;
        guarded(call.host, nowhere, || {
            sound::<K>(instance)?;
            with_members(call, |members, context| {
                members.iter_mut().try_for_each(|member| shared::<K>(instance).apply(member, context))
            })
        })
    }
}

unsafe extern "C" fn apply_group<K: Group>(instance: *mut c_void, call: *const fusion_call) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        let call = &*call;
        guarded(call.host, nowhere, || {
            sound::<K>(instance)?;
            with_members(call, |members, context| shared::<K>(instance).apply(members, context))
        })
    }
}

unsafe extern "C" fn bytes_tensor<K: WholeTensor>(instance: *mut c_void, bytes: *mut u64) {
    // SAFETY: see `instance`; `bytes` points to two numbers.
    unsafe {
        *bytes = quietly::<K, _>(instance, "scratch_bytes", 0, |kernel| kernel.scratch_bytes() as u64);
    }
}

unsafe extern "C" fn bytes_group<K: Group>(instance: *mut c_void, bytes: *mut u64) {
    // SAFETY: see `instance`; `bytes` points to two numbers.
    unsafe {
        *bytes = quietly::<K, _>(instance, "scratch_bytes", 0, |kernel| kernel.scratch_bytes() as u64);
    }
}
