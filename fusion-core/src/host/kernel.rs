//! A plugin's method behind the traits that the planner and the engine know: they see no difference to a built-in one.

use std::any::Any;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fusion_abi::{
    FUSION_F32, FUSION_INVALID, FUSION_OK, FUSION_PANICKED, FUSION_THREADING_INSTANCE,
    FUSION_THREADING_PARALLEL, FUSION_THREADING_PROCESS, FUSION_UNSUPPORTED, fusion_call, fusion_device,
    fusion_dltensor, fusion_group, fusion_input, fusion_member, fusion_method, fusion_status, fusion_str,
    fusion_tensor,
};
use fusion_sdk::{Described, ErrorKind, Kernel, Method, MethodError, RawGroup, RawInput, Scope, Tile, rng};
use serde_json::{Map, Value as Json};

use super::callbacks::{Host, owned};

/// Inputs whose call frames stand on the stack.
const FEW: usize = 8;

/// For methods that allow one call at a time in the process.
static PROCESS: Mutex<()> = Mutex::new(());

/// The lock of a method that allows one call at a time in the process.
fn process(method: &fusion_method) -> Option<MutexGuard<'static, ()>> {
    (method.threading == FUSION_THREADING_PROCESS)
        .then(|| PROCESS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A method of a loaded plugin.
pub(super) struct DynamicMethod {
    method: &'static fusion_method,
    described: Described,
}

// SAFETY: a static descriptor that nobody writes to; its functions say themselves which thread may call them.
unsafe impl Send for DynamicMethod {}
// SAFETY: as above.
unsafe impl Sync for DynamicMethod {}

impl DynamicMethod {
    pub(super) fn new(method: &'static fusion_method, described: Described) -> Self {
        DynamicMethod { method, described }
    }
}

fn text(text: &str) -> fusion_str {
    fusion_str { ptr: text.as_ptr().cast(), len: text.len() as u64 }
}

/// What a failed call says: its report, or the status alone.
fn failure(status: fusion_status, host: &Host, described: &Described, roles: &[RawInput]) -> MethodError {
    // A report of another call, which then went well, explains nothing.
    let report = host.take().filter(|report| report.code == status);
    let kind = match status {
        FUSION_INVALID => ErrorKind::Invalid,
        FUSION_UNSUPPORTED => ErrorKind::Shape,
        _ => ErrorKind::Failed,
    };
    let said = report.as_ref().map_or_else(
        || format!("it failed with status {status} and did not say why"),
        |report| report.message.clone(),
    );
    let (message, help) = match said.split_once("\nhelp: ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (said, None),
    };
    let mut error = MethodError { help, ..MethodError::new(kind, message) };
    let pointer = report.map(|report| report.pointer).unwrap_or_default();
    let mut parts: Vec<&str> = pointer.split('/').skip(1).collect();
    if let [role, place, ..] = parts.as_slice()
        && let Ok(place) = place.parse::<usize>()
    {
        let same = roles.iter().enumerate().filter(|(_, input)| input.role == *role);
        error.input = same.map(|(index, _)| index).nth(place);
        parts.drain(..2);
    }
    if let [name] = parts.as_slice() {
        error.parameter = known(described, name);
    }
    error
}

/// The schema's own spelling of a parameter, kept for good: as many texts as there are parameters.
fn known(described: &Described, name: &str) -> Option<&'static str> {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    described.params.get("properties")?.get(name)?;
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = names.iter().find(|known| **known == name) {
        return Some(found);
    }
    let kept: &'static str = name.to_owned().leak();
    names.push(kept);
    Some(kept)
}

impl Method for DynamicMethod {
    fn describe(&self) -> Described {
        self.described.clone()
    }

    fn scope(&self, params: &Map<String, Json>) -> Result<Scope, MethodError> {
        let Some(scope) = self.method.scope else { return Ok(Scope::Tensor) };
        let host = Host::new();
        let params = Json::Object(params.clone()).to_string();
        let mut whole = 0;
        // SAFETY: all pointers live through the call.
        match unsafe { scope(host.table(), text(&params), &raw mut whole) } {
            FUSION_OK => Ok(if whole == 0 { Scope::Tensor } else { Scope::Model }),
            status => Err(failure(status, &host, &self.described, &[])),
        }
    }

    fn prepare(&self, group: &RawGroup) -> Result<Box<dyn Kernel>, MethodError> {
        let host = Host::new();
        let frames: Vec<Frame> =
            group.tensors.iter().map(|tensor| Frame::new(self.method, group, tensor)).collect();
        let members: Vec<fusion_member> = frames.iter().map(Frame::member).collect();
        let given = fusion_group {
            struct_size: size_of::<fusion_group>() as u64,
            members: members.as_ptr(),
            n_members: members.len() as u64,
            seed: group.seed,
        };
        let mut instance = std::ptr::null_mut();
        let Some(create) = self.method.create else {
            return Err(MethodError::new(ErrorKind::Failed, "the plugin has no `create`"));
        };
        let roles = group.tensors.first().map_or(&[][..], |tensor| &tensor.inputs);
        let _turn = process(self.method);
        // SAFETY: all pointers live through the call.
        match unsafe { create(host.table(), &raw const given, &raw mut instance) } {
            FUSION_OK => {}
            status => return Err(failure(status, &host, &self.described, roles)),
        }
        Ok(Box::new(DynamicKernel {
            shared: Arc::new(Instance { method: self.method, instance, host }),
            described: self.described.clone(),
            passes: 0,
            frames,
            trouble: OnceLock::new(),
            one: Mutex::new(()),
        }))
    }
}

/// What the calls of one member have in common, with everything that its pointers need kept alive.
struct Frame {
    name: String,
    key: u64,
    shape: Vec<i64>,
    params: String,
    inputs: Vec<(String, String)>,
    /// What [`Frame::member`] points to.
    given: Vec<fusion_input>,
    settings: Vec<f64>,
    total: u64,
}

// SAFETY: `given` points into the strings beside it, which nobody changes.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

impl Frame {
    fn new(method: &fusion_method, group: &RawGroup, tensor: &fusion_sdk::RawTensor) -> Self {
        let inputs: Vec<(String, String)> = tensor
            .inputs
            .iter()
            .map(|input| (input.role.clone(), Json::Object(input.settings.clone()).to_string()))
            .collect();
        let given = inputs
            .iter()
            .map(|(port, params)| fusion_input {
                struct_size: size_of::<fusion_input>() as u64,
                port: text(port),
                params: text(params),
            })
            .collect();
        // SAFETY: the descriptor's own list.
        let numbers: Vec<String> =
            (0..method.n_numbers as usize).map(|i| unsafe { owned(*method.numbers.add(i)) }).collect();
        let number = |input: &RawInput, name: &String| {
            input
                .settings
                .get(name)
                .or_else(|| tensor.params.get(name))
                .and_then(Json::as_f64)
                .unwrap_or(f64::NAN)
        };
        Frame {
            name: tensor.name.clone(),
            key: rng::Key::new(group.seed, &tensor.name, 0).value(),
            shape: tensor.shape.iter().map(|&n| n as i64).collect(),
            params: Json::Object(tensor.params.clone()).to_string(),
            settings: tensor
                .inputs
                .iter()
                .flat_map(|input| numbers.iter().map(move |name| number(input, name)))
                .collect(),
            total: tensor.shape.iter().map(|&n| n as u64).product(),
            inputs,
            given,
        }
    }

    fn member(&self) -> fusion_member {
        debug_assert_eq!(self.inputs.len(), self.given.len());
        fusion_member {
            struct_size: size_of::<fusion_member>() as u64,
            name: text(&self.name),
            key: self.key,
            shape: self.shape.as_ptr(),
            ndim: self.shape.len() as u64,
            layer: u32::MAX,
            layers: 0,
            params: text(&self.params),
            inputs: self.given.as_ptr(),
            n_inputs: self.given.len() as u64,
            settings: self.settings.as_ptr(),
            n_settings: self.settings.len() as u64,
        }
    }
}

/// A plugin's instance with the host table that it was made with; ended when the last state is gone.
struct Instance {
    method: &'static fusion_method,
    instance: *mut c_void,
    host: Box<Host>,
}

// SAFETY: the contract lets any thread call, under the rules that `DynamicKernel` keeps.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.method.destroy {
            let _turn = process(self.method);
            // SAFETY: made by `create`, and nobody else has it any more.
            unsafe { destroy(self.instance) };
        }
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

/// A prepared method of a plugin.
struct DynamicKernel {
    shared: Arc<Instance>,
    described: Described,
    /// Observe passes that are over.
    passes: u32,
    frames: Vec<Frame>,
    /// The first call that failed; after it nothing but `destroy` is called.
    trouble: OnceLock<MethodError>,
    one: Mutex<()>,
}

impl DynamicKernel {
    /// Notes a failure. The engine asks for it after each chunk.
    fn judge(&self, status: fusion_status) {
        if status != FUSION_OK {
            let mut error = failure(status, &self.shared.host, &self.described, &[]);
            if status == FUSION_PANICKED {
                error.help = Some("this is a mistake of the plugin: tell its author".to_owned());
            }
            let _ = self.trouble.set(error);
        }
    }

    fn sound(&self) -> bool {
        self.trouble.get().is_none()
    }

    /// The lock that the method's threading class asks for.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.shared.method.threading {
            FUSION_THREADING_PARALLEL => None,
            FUSION_THREADING_INSTANCE => Some(self.one.lock().unwrap_or_else(PoisonError::into_inner)),
            _ => process(self.shared.method),
        }
    }

    /// Builds the call frame of a tile and hands it to `body`.
    #[inline]
    fn call<R>(&self, tile: &Tile<'_>, out: Option<&mut [f32]>, body: impl FnOnce(&fusion_call) -> R) -> R {
        let frame = &self.frames[tile.tensor];
        let mut shape = [tile.len() as i64];
        let mut strides = [1_i64];
        let (shape, strides) = (shape.as_mut_ptr(), strides.as_mut_ptr());
        let view = |data: *mut c_void| fusion_tensor {
            struct_size: size_of::<fusion_tensor>() as u64,
            dl: fusion_dltensor {
                data,
                device: fusion_device { kind: 1, id: 0 },
                ndim: 1,
                dtype: FUSION_F32,
                shape,
                strides,
                byte_offset: 0,
            },
            name: text(&frame.name),
            key: frame.key,
            first: tile.offset,
            total: frame.total,
            member: tile.tensor as u64,
        };
        let output = out.map(|out| view(out.as_mut_ptr().cast()));
        let outputs = output.as_slice();
        let with = |inputs: &[fusion_tensor]| {
            body(&fusion_call {
                struct_size: size_of::<fusion_call>() as u64,
                host: self.shared.host.table(),
                inputs: inputs.as_ptr(),
                n_inputs: inputs.len() as u64,
                outputs: outputs.as_ptr(),
                n_outputs: outputs.len() as u64,
                settings: frame.settings.as_ptr(),
                n_settings: frame.settings.len() as u64,
                scratch: std::ptr::null_mut(),
                n_scratch: 0,
            })
        };
        let input = |input: &&[f32]| view(input.as_ptr().cast_mut().cast());
        if tile.inputs.len() <= FEW {
            let mut few = [const { std::mem::MaybeUninit::<fusion_tensor>::uninit() }; FEW];
            for (slot, one) in few.iter_mut().zip(tile.inputs) {
                slot.write(input(one));
            }
            // SAFETY: the first `tile.inputs.len()` slots have just been written.
            with(unsafe { std::slice::from_raw_parts(few.as_ptr().cast(), tile.inputs.len()) })
        } else {
            with(&tile.inputs.iter().map(input).collect::<Vec<_>>())
        }
    }
}

impl Kernel for DynamicKernel {
    fn observing(&self) -> bool {
        let _turn = self.turn();
        self.sound()
            && match self.shared.method.observing {
                // SAFETY: a live instance.
                Some(observing) => unsafe { observing(self.shared.instance) != 0 },
                None => self.passes < self.shared.method.observe_passes,
            }
    }

    fn wants(&self, tensor: usize, tile: usize) -> bool {
        if !self.sound() {
            return false; // nothing more needs to be read
        }
        let _turn = self.turn();
        match self.shared.method.wants {
            // SAFETY: a live instance.
            Some(wants) if self.sound() => unsafe {
                wants(self.shared.instance, tensor as u64, tile as u64) != 0
            },
            _ => true,
        }
    }

    fn trouble(&self) -> Option<MethodError> {
        self.trouble.get().cloned()
    }

    fn partial(&self) -> Box<dyn Any + Send> {
        let mut state = std::ptr::null_mut();
        if let Some(new) = self.shared.method.state_new
            && self.sound()
        {
            let _turn = self.turn();
            // SAFETY: a live instance and host.
            self.judge(unsafe { new(self.shared.instance, self.shared.host.table(), &raw mut state) });
        }
        Box::new(State { shared: self.shared.clone(), state })
    }

    fn observe(&self, partial: &mut (dyn Any + Send), tile: &Tile<'_>) {
        let (Some(observe), Some(state), true) =
            (self.shared.method.observe, partial.downcast_mut::<State>(), self.sound())
        else {
            return;
        };
        let _turn = self.turn();
        // SAFETY: a live instance, a state of it, a frame that lives through the call.
        self.judge(self.call(tile, None, |call| unsafe { observe(self.shared.instance, call, state.state) }));
    }

    fn absorb(&mut self, partial: &mut (dyn Any + Send)) {
        if let (Some(absorb), Some(state), true) =
            (self.shared.method.absorb, partial.downcast_mut::<State>(), self.sound())
        {
            let _turn = process(self.shared.method);
            // SAFETY: as above, and `&mut self` keeps other calls out.
            self.judge(unsafe { absorb(self.shared.instance, self.shared.host.table(), state.state) });
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.passes += 1;
        if let Some(end) = self.shared.method.pass_end
            && self.sound()
        {
            let _turn = process(self.shared.method);
            // SAFETY: a live instance; `&mut self` keeps other calls out.
            self.judge(unsafe { end(self.shared.instance, self.shared.host.table()) });
        }
        self.trouble().map_or(Ok(()), Err)
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        let Some(apply) = self.shared.method.apply else { return };
        if !self.sound() {
            return;
        }
        let _turn = self.turn();
        // SAFETY: a live instance, a frame that lives through the call, an output of the tile's length.
        self.judge(self.call(tile, Some(out), |call| unsafe { apply(self.shared.instance, call) }));
    }

    fn state_bytes(&self) -> (usize, usize) {
        let mut bytes = [0_u64; 2];
        if let Some(state_bytes) = self.shared.method.state_bytes {
            // SAFETY: a live instance and room for two numbers.
            unsafe { state_bytes(self.shared.instance, bytes.as_mut_ptr()) };
        }
        (bytes[0] as usize, bytes[1] as usize)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
