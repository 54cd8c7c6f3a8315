//! A plugin's whole-tensor or group method as a kernel: one call of the library for the tensor or the group.

use fusion_abi::{
    FUSION_F32, FUSION_OK, FUSION_THREADING_PARALLEL, fusion_call, fusion_device, fusion_dltensor,
    fusion_tensor,
};
use fusion_sdk::{Context, ErrorKind, Member, MethodError, WholeKernel};

use super::callbacks::Host;
use super::frame::{Frame, text};
use super::instance::Instance;
use super::scratch::Scratch;

/// A prepared whole-tensor or group method of a plugin.
pub(super) struct DynamicWhole(pub(super) Instance);

/// A whole tensor for a call.
pub(super) fn view(frame: &Frame, member: usize, data: *const f32) -> fusion_tensor {
    fusion_tensor {
        struct_size: size_of::<fusion_tensor>() as u64,
        dl: fusion_dltensor {
            data: data.cast_mut().cast(),
            device: fusion_device { kind: 1, id: 0 },
            ndim: frame.shape.len() as i32,
            dtype: FUSION_F32,
            shape: frame.shape.as_ptr().cast_mut(),
            strides: frame.strides.as_ptr().cast_mut(),
            byte_offset: 0,
        },
        name: text(&frame.name),
        key: frame.key,
        first: 0,
        total: frame.total,
        member: member as u64,
    }
}

impl WholeKernel for DynamicWhole {
    fn apply(&self, members: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError> {
        let shared = &self.0;
        if let Some(error) = shared.trouble() {
            return Err(error);
        }
        let Some(apply) = shared.method.apply else {
            return Err(MethodError::new(ErrorKind::Failed, "the plugin has no `apply`"));
        };
        let (mut inputs, mut outputs, mut settings) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (member, frame)) in members.iter_mut().zip(&shared.frames).enumerate() {
            if let Some(input) = shared.copies[index].and_then(|input| member.inputs.get(input)) {
                member.out.copy_from_slice(input);
                continue;
            }
            inputs.extend(member.inputs.iter().map(|input| view(frame, index, input.as_ptr())));
            outputs.push(view(frame, index, member.out.as_mut_ptr()));
            settings.extend_from_slice(&frame.settings);
        }
        if outputs.is_empty() {
            return Ok(());
        }
        let host = Host::during(context, None);
        let mut scratch = Scratch::new();
        let call = fusion_call {
            struct_size: size_of::<fusion_call>() as u64,
            host: host.table(),
            inputs: inputs.as_ptr(),
            n_inputs: inputs.len() as u64,
            outputs: outputs.as_ptr(),
            n_outputs: outputs.len() as u64,
            settings: settings.as_ptr(),
            n_settings: settings.len() as u64,
            scratch: scratch.fit(shared.scratch),
            n_scratch: shared.scratch as u64,
        };
        let _turn = shared.turn();
        // SAFETY: a live instance, and everything that the call points to lives through it.
        match unsafe { apply(shared.instance, &raw const call) } {
            FUSION_OK => Ok(()),
            status => Err(shared.told(status, &host)),
        }
    }

    fn scratch_bytes(&self) -> usize {
        self.0.scratch + self.0.bytes().0
    }

    fn serial(&self) -> bool {
        self.0.method.threading != FUSION_THREADING_PARALLEL
    }

    fn copies(&self, member: usize) -> Option<usize> {
        self.0.copies.get(member).copied().flatten()
    }
}
