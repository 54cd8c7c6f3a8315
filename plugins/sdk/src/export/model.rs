//! The table of whole-model methods. SAFETY: see `instance`.

use std::ffi::c_void;

use fusion_abi::{
    FUSION_INVALID, FUSION_KERNEL_MODEL, FUSION_OK, field, fusion_call, fusion_device, fusion_dltensor,
    fusion_group, fusion_host, fusion_method, fusion_model_v1, fusion_status, fusion_tensor,
};

use super::border::{Border, service};
use super::describe::table;
use super::guard::{guarded, text};
use super::instance::{self, nowhere, quietly, shared, slice, sound};
use crate::Class;
use crate::context::Context;
use crate::error::{ErrorKind, MethodError};
use crate::method::described;
use crate::model::{Models, WholeModel};

/// A kernel with the names and shapes of its members.
struct Named<K> {
    kernel: K,
    members: Vec<(String, Vec<usize>)>,
}

/// The descriptor of a whole-model method.
pub(super) fn model<K: WholeModel>() -> fusion_method {
    let described = described::<K::Params, K::Input>(K::about(), Class::WholeModel, 0);
    fusion_method {
        create: Some(create::<K>),
        destroy: Some(instance::destroy::<Named<K>>),
        run: Some(run::<K>),
        state_bytes: Some(bytes::<K>),
        ..table(&described, FUSION_KERNEL_MODEL)
    }
}

unsafe extern "C" fn create<K: WholeModel>(
    host: *const fusion_host,
    given: *const fusion_group,
    instance: *mut *mut c_void,
) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        instance::create(host, given, instance, |raw| {
            let members =
                raw.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
            Ok(Named { kernel: K::prepare(raw.typed()?)?, members })
        })
    }
}

unsafe extern "C" fn run<K: WholeModel>(instance: *mut c_void, call: *const fusion_call) -> fusion_status {
    // SAFETY: see `instance`.
    unsafe {
        let call = &*call;
        guarded(call.host, nowhere, || {
            sound::<Named<K>>(instance)?;
            let named = shared::<Named<K>>(instance);
            let Some(service) = service::<fusion_model_v1>(call.host, "fusion.model/1") else {
                return Err(MethodError::new(ErrorKind::Failed, "the host does not offer `fusion.model/1`"));
            };
            let models = Behind { service, members: &named.members };
            let border = Border::new(call.host);
            named.kernel.run(&models, &Context::new(&border))
        })
    }
}

unsafe extern "C" fn bytes<K: WholeModel>(instance: *mut c_void, bytes: *mut u64) {
    // SAFETY: see `instance`; `bytes` points to two numbers.
    unsafe {
        *bytes = quietly::<Named<K>, _>(instance, "scratch_bytes", 0, |n| n.kernel.scratch_bytes() as u64);
    }
}

/// The models behind the host's service.
struct Behind<'a> {
    service: *const fusion_model_v1,
    members: &'a [(String, Vec<usize>)],
}

// SAFETY: the contract lets any thread call the service.
unsafe impl Sync for Behind<'_> {}

const EMPTY: fusion_tensor = fusion_tensor {
    struct_size: size_of::<fusion_tensor>() as u64,
    dl: fusion_dltensor {
        data: std::ptr::null_mut(),
        device: fusion_device { kind: 1, id: 0 },
        ndim: 0,
        dtype: fusion_abi::FUSION_F32,
        shape: std::ptr::null_mut(),
        strides: std::ptr::null_mut(),
        byte_offset: 0,
    },
    name: fusion_abi::fusion_str { ptr: std::ptr::null(), len: 0 },
    key: 0,
    first: 0,
    total: 0,
    member: 0,
};

/// The host has reported why; this is for a method that goes on regardless.
fn refused(what: &str, status: fusion_status) -> MethodError {
    let kind = if status == FUSION_INVALID { ErrorKind::Invalid } else { ErrorKind::Failed };
    MethodError::new(kind, format!("the host refuses to {what} (status {status})"))
}

impl Models for Behind<'_> {
    fn models(&self) -> usize {
        // SAFETY: a table of the host's, read as far as it says.
        unsafe {
            match (field!(self.service, fusion_model_v1, models), field!(self.service, fusion_model_v1, ctx))
            {
                (Some(Some(models)), Some(ctx)) => models(ctx) as usize,
                _ => 0,
            }
        }
    }

    fn members(&self) -> usize {
        self.members.len()
    }

    fn name(&self, member: usize) -> &str {
        self.members.get(member).map_or("", |(name, _)| name)
    }

    fn shape(&self, member: usize) -> &[usize] {
        self.members.get(member).map_or(&[], |(_, shape)| shape)
    }

    fn read(&self, model: usize, member: usize) -> Result<Vec<f32>, MethodError> {
        let what = || format!("read member {member} of model {model}");
        let mut tensor = EMPTY;
        // SAFETY: a table of the host's, read as far as it says; what `read` filled in is valid until `release`.
        unsafe {
            let (Some(Some(read)), Some(Some(release)), Some(ctx)) = (
                field!(self.service, fusion_model_v1, read),
                field!(self.service, fusion_model_v1, release),
                field!(self.service, fusion_model_v1, ctx),
            ) else {
                return Err(refused(&what(), FUSION_INVALID));
            };
            match read(ctx, u32::try_from(model).unwrap_or(u32::MAX), member as u64, &raw mut tensor) {
                FUSION_OK => {
                    let values = slice(tensor.dl.data.cast::<f32>(), tensor.total).to_vec();
                    release(ctx, &raw const tensor);
                    Ok(values)
                }
                status => Err(refused(&what(), status)),
            }
        }
    }

    fn write(&self, member: usize, data: &[f32]) -> Result<(), MethodError> {
        // SAFETY: a table of the host's, read as far as it says.
        let status = unsafe {
            match (field!(self.service, fusion_model_v1, write), field!(self.service, fusion_model_v1, ctx)) {
                (Some(Some(write)), Some(ctx)) => write(ctx, member as u64, data.as_ptr(), data.len() as u64),
                _ => FUSION_INVALID,
            }
        };
        if status == FUSION_OK {
            Ok(())
        } else {
            Err(refused(&format!("write `{}`", self.name(member)), status))
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        // SAFETY: a table of the host's, read as far as it says.
        let found = unsafe {
            match (field!(self.service, fusion_model_v1, find), field!(self.service, fusion_model_v1, ctx)) {
                (Some(Some(find)), Some(ctx)) => find(ctx, text(name)),
                _ => u64::MAX,
            }
        };
        (found != u64::MAX).then_some(found as usize)
    }
}
