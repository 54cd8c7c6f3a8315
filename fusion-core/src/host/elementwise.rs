//! A plugin's element-wise method as a kernel: one call of the library for each tile.
//!
//! A tile costs microseconds, so its call must cost nanoseconds: the call frame of the last tensor stays with the thread, and only what
//! changes from tile to tile is written anew.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fusion_abi::{
    FUSION_F32, FUSION_FAILED, FUSION_OK, FUSION_THREADING_PARALLEL, fusion_call, fusion_device,
    fusion_dltensor, fusion_status, fusion_tensor,
};
use fusion_sdk::{ErrorKind, Kernel, MethodError, Tile};

use super::frame::text;
use super::instance::{Instance, process};
use super::scratch::Scratch;

/// Numbers kernels, so that a thread knows whose frame it has. 0 is nobody.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The call frame that a thread keeps.
struct Kept {
    /// Kernel and tensor that it was made for.
    of: (u64, usize),
    shape: [i64; 1],
    strides: [i64; 1],
    /// The inputs, then the output.
    tensors: Vec<fusion_tensor>,
    scratch: Scratch,
    call: fusion_call,
}

thread_local! {
    static KEPT: UnsafeCell<Kept> = const {
        UnsafeCell::new(Kept {
            of: (0, 0),
            shape: [0],
            strides: [1],
            tensors: Vec::new(),
            scratch: Scratch::new(),
            call: fusion_call {
                struct_size: size_of::<fusion_call>() as u64,
                host: std::ptr::null(),
                inputs: std::ptr::null(),
                n_inputs: 0,
                outputs: std::ptr::null(),
                n_outputs: 0,
                settings: std::ptr::null(),
                n_settings: 0,
                scratch: std::ptr::null_mut(),
                n_scratch: 0,
            },
        })
    };
}

impl Kept {
    /// Makes the frame of a tensor with this many inputs.
    #[cold]
    fn remake(&mut self, number: u64, tensor: usize, shared: &Instance, inputs: usize) {
        let Some(frame) = shared.frames.get(tensor) else { return };
        self.of = (number, tensor);
        let blank = fusion_tensor {
            struct_size: size_of::<fusion_tensor>() as u64,
            dl: fusion_dltensor {
                data: std::ptr::null_mut(),
                device: fusion_device { kind: 1, id: 0 },
                ndim: 1,
                dtype: FUSION_F32,
                shape: self.shape.as_mut_ptr(),
                strides: self.strides.as_mut_ptr(),
                byte_offset: 0,
            },
            name: text(&frame.name),
            key: frame.key,
            first: 0,
            total: frame.total,
            member: tensor as u64,
        };
        self.tensors.clear();
        self.tensors.resize(inputs + 1, blank);
        self.call.host = shared.host.table();
        self.call.inputs = self.tensors.as_ptr();
        self.call.n_inputs = inputs as u64;
        self.call.outputs = self.tensors[inputs..].as_ptr();
        self.call.settings = frame.settings.as_ptr();
        self.call.n_settings = frame.settings.len() as u64;
        self.call.scratch = self.scratch.fit(shared.scratch);
        self.call.n_scratch = shared.scratch as u64;
    }
}

/// Statistics of one block, owned by the plugin.
struct State {
    shared: Arc<Instance>,
    state: *mut c_void,
}

// SAFETY: a state belongs to one thread at a time; the contract allows any.
unsafe impl Send for State {}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(free) = self.shared.method.state_free
            && !self.state.is_null()
        {
            // SAFETY: made by `state_new` of this instance.
            unsafe { free(self.shared.instance, self.state) };
        }
    }
}

/// A prepared element-wise method of a plugin.
pub(super) struct DynamicKernel {
    shared: Arc<Instance>,
    number: u64,
    /// Observe passes that are over.
    passes: u32,
    /// The library's `apply`.
    apply: ApplyFn,
    /// Whether every tile is a call, and no call waits for another.
    free: bool,
}

type ApplyFn = unsafe extern "C" fn(*mut c_void, *const fusion_call) -> fusion_status;

impl DynamicKernel {
    /// The kernel of an instance; loading has made sure that there is an `apply`.
    pub(super) fn new(shared: Instance) -> Result<Self, MethodError> {
        let Some(apply) = shared.method.apply else {
            return Err(MethodError::new(ErrorKind::Failed, "the plugin has no `apply`"));
        };
        let free =
            shared.method.threading == FUSION_THREADING_PARALLEL && shared.copies.iter().all(Option::is_none);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(DynamicKernel { shared: Arc::new(shared), number, passes: 0, apply, free })
    }

    /// Hands the call frame of a tile to `body`.
    #[inline(always)]
    fn call(
        &self,
        tile: &Tile<'_>,
        out: Option<&mut [f32]>,
        body: impl FnOnce(*const fusion_call) -> fusion_status,
    ) -> fusion_status {
        KEPT.with(|kept| {
            // SAFETY: this thread's own, and nobody else has it: a plugin cannot call back into the engine.
            let kept = unsafe { &mut *kept.get() };
            let inputs = tile.inputs.len();
            if kept.of != (self.number, tile.tensor) || kept.tensors.len() != inputs + 1 {
                kept.remake(self.number, tile.tensor, &self.shared, inputs);
            }
            kept.shape[0] = out.as_ref().map_or_else(|| tile.len(), |out| out.len()) as i64;
            let Some((last, tensors)) = kept.tensors.split_last_mut() else {
                return FUSION_FAILED; // never: `remake` has just made them
            };
            for (tensor, input) in tensors.iter_mut().zip(tile.inputs) {
                tensor.dl.data = input.as_ptr().cast_mut().cast();
                tensor.first = tile.offset;
            }
            kept.call.n_outputs = u64::from(out.is_some());
            if let Some(out) = out {
                last.dl.data = out.as_mut_ptr().cast();
                last.first = tile.offset;
            }
            body(&raw const kept.call)
        })
    }
}

impl Kernel for DynamicKernel {
    fn observing(&self) -> bool {
        let _turn = self.shared.turn();
        self.shared.sound()
            && match self.shared.method.observing {
                // SAFETY: a live instance.
                Some(observing) => unsafe { observing(self.shared.instance) != 0 },
                None => self.passes < self.shared.method.observe_passes,
            }
    }

    fn wants(&self, tensor: usize, tile: usize) -> bool {
        if !self.shared.sound() || self.copies(tensor).is_some() {
            return false; // nothing more needs to be read
        }
        let _turn = self.shared.turn();
        match self.shared.method.wants {
            // SAFETY: a live instance.
            Some(wants) => unsafe { wants(self.shared.instance, tensor as u64, tile as u64) != 0 },
            None => true,
        }
    }

    fn trouble(&self) -> Option<MethodError> {
        self.shared.trouble()
    }

    fn partial(&self) -> Box<dyn Any + Send> {
        let mut state = std::ptr::null_mut();
        if let Some(new) = self.shared.method.state_new
            && self.shared.sound()
        {
            let _turn = self.shared.turn();
            // SAFETY: a live instance and host.
            self.shared.judge(unsafe { new(self.shared.instance, self.shared.host.table(), &raw mut state) });
        }
        Box::new(State { shared: self.shared.clone(), state })
    }

    fn observe(&self, partial: &mut (dyn Any + Send), tile: &Tile<'_>) {
        let (Some(observe), Some(state), true) =
            (self.shared.method.observe, partial.downcast_mut::<State>(), self.shared.sound())
        else {
            return;
        };
        let _turn = self.shared.turn();
        // SAFETY: a live instance, a state of it, a frame that lives through the call.
        let status =
            self.call(tile, None, |call| unsafe { observe(self.shared.instance, call, state.state) });
        self.shared.judge(status);
    }

    fn absorb(&mut self, partial: &mut (dyn Any + Send)) {
        if let (Some(absorb), Some(state), true) =
            (self.shared.method.absorb, partial.downcast_mut::<State>(), self.shared.sound())
        {
            let _turn = process(self.shared.method);
            // SAFETY: as above, and `&mut self` keeps other calls out.
            self.shared.judge(unsafe { absorb(self.shared.instance, self.shared.host.table(), state.state) });
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.passes += 1;
        if let Some(end) = self.shared.method.pass_end
            && self.shared.sound()
        {
            let _turn = process(self.shared.method);
            // SAFETY: a live instance; `&mut self` keeps other calls out.
            self.shared.judge(unsafe { end(self.shared.instance, self.shared.host.table()) });
        }
        self.trouble().map_or(Ok(()), Err)
    }

    fn copies(&self, tensor: usize) -> Option<usize> {
        self.shared.copies.get(tensor).copied().flatten()
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        if !self.shared.sound() {
            return;
        }
        // SAFETY: a live instance, a frame that lives through the call, an output of the tile's length.
        let body = |call| unsafe { (self.apply)(self.shared.instance, call) };
        let status = if self.free {
            self.call(tile, Some(out), body)
        } else {
            if let Some(input) = self.copies(tile.tensor).and_then(|input| tile.inputs.get(input)) {
                return out.copy_from_slice(input);
            }
            let _turn = self.shared.turn();
            self.call(tile, Some(out), body)
        };
        if status != FUSION_OK {
            self.shared.judge(status);
        }
    }

    fn state_bytes(&self) -> (usize, usize) {
        self.shared.bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
