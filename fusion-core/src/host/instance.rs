//! A plugin's instance for one group: made, asked for its plan, told when it fails, ended once.

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use fusion_abi::{
    FUSION_ACTION_APPLY, FUSION_ACTION_COPY_BASE, FUSION_ACTION_COPY_FIRST, FUSION_CANCELLED, FUSION_INVALID,
    FUSION_KERNEL_MODEL, FUSION_OK, FUSION_PANICKED, FUSION_THREADING_INSTANCE, FUSION_THREADING_PARALLEL,
    FUSION_THREADING_PROCESS, FUSION_UNSUPPORTED, fusion_method, fusion_plan, fusion_status,
};
use fusion_sdk::{Described, ErrorKind, MethodError, RawGroup, RawInput};

use super::callbacks::Host;
use super::frame::{Frame, frames, with_group};

/// For methods that allow one call at a time in the process.
static PROCESS: Mutex<()> = Mutex::new(());

/// The most scratch that a plugin may ask for: more is a broken plan.
const MOST_SCRATCH: u64 = 1 << 40;

/// The lock of a method that allows one call at a time in the process.
pub(super) fn process(method: &fusion_method) -> Option<MutexGuard<'static, ()>> {
    (method.threading == FUSION_THREADING_PROCESS)
        .then(|| PROCESS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What a failed call says: its report, or the status alone.
pub(super) fn failure(
    status: fusion_status,
    host: &Host,
    described: &Described,
    roles: &[RawInput],
) -> MethodError {
    // A report of another call, which then went well, explains nothing.
    let report = host.take().filter(|report| report.code == status);
    let kind = match status {
        FUSION_INVALID => ErrorKind::Invalid,
        FUSION_UNSUPPORTED => ErrorKind::Shape,
        FUSION_CANCELLED => ErrorKind::Cancelled,
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
    if status == FUSION_PANICKED {
        error.help = Some("this is a mistake of the plugin: tell its author".to_owned());
    }
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
pub(super) fn known(described: &Described, name: &str) -> Option<&'static str> {
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

/// An instance. Its `destroy` is called when this is dropped, which is when the last state and kernel of it are gone.
pub(super) struct Instance {
    pub(super) method: &'static fusion_method,
    pub(super) instance: *mut c_void,
    pub(super) host: Box<Host>,
    pub(super) frames: Vec<Frame>,
    /// Per member: the input that is copied instead of calling.
    pub(super) copies: Vec<Option<usize>>,
    /// Scratch of a call.
    pub(super) scratch: usize,
    described: Described,
    /// The first call that failed; after it nothing but `destroy` and `state_free` is called.
    trouble: OnceLock<MethodError>,
    one: Mutex<()>,
}

// SAFETY: the contract lets any thread call, under the rules that the kernels keep.
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

impl Instance {
    /// Calls `create`, then `plan`.
    pub(super) fn new(
        method: &'static fusion_method,
        described: &Described,
        group: &RawGroup,
    ) -> Result<Self, MethodError> {
        let host = Host::new();
        let roles = group.tensors.first().map_or(&[][..], |tensor| &tensor.inputs);
        let frames = frames(method, group);
        let mut instance = std::ptr::null_mut();
        let Some(create) = method.create else {
            return Err(MethodError::new(ErrorKind::Failed, "the plugin has no `create`"));
        };
        let status = {
            let _turn = process(method);
            // SAFETY: all pointers live through the call.
            with_group(&frames, group.seed, |given| unsafe { create(host.table(), given, &raw mut instance) })
        };
        if status != FUSION_OK {
            return Err(failure(status, &host, described, roles));
        }
        let mut made = Instance {
            method,
            instance,
            host,
            copies: vec![None; frames.len()],
            frames,
            scratch: 0,
            described: described.clone(),
            trouble: OnceLock::new(),
            one: Mutex::new(()),
        };
        made.ask(roles)?;
        Ok(made)
    }

    /// Asks `plan` how each member is handled.
    fn ask(&mut self, roles: &[RawInput]) -> Result<(), MethodError> {
        let Some(plan) = self.method.plan else { return Ok(()) };
        let model = self.method.kernel == FUSION_KERNEL_MODEL;
        let members = if model { 1 } else { self.frames.len() };
        for member in 0..members {
            let mut answer = fusion_plan {
                struct_size: size_of::<fusion_plan>() as u64,
                action: FUSION_ACTION_APPLY,
                reserved: 0,
                scratch_bytes: 0,
            };
            let _turn = process(self.method);
            // SAFETY: a live instance; all pointers live through the call.
            match unsafe { plan(self.instance, self.host.table(), member as u64, &raw mut answer) } {
                FUSION_OK => {}
                status => return Err(failure(status, &self.host, &self.described, roles)),
            }
            let broken = |what: String| Err(MethodError::new(ErrorKind::Failed, what));
            self.copies[member] = match answer.action {
                FUSION_ACTION_APPLY => None,
                action if model => return broken(format!("a whole-model method planned action {action}")),
                FUSION_ACTION_COPY_BASE => match roles.iter().position(|input| input.role == "base") {
                    Some(base) => Some(base),
                    None => return broken("it plans to copy the base, and there is none".to_owned()),
                },
                FUSION_ACTION_COPY_FIRST if roles.is_empty() => {
                    return broken("it plans to copy the first input, and there is none".to_owned());
                }
                FUSION_ACTION_COPY_FIRST => Some(0),
                other => return broken(format!("it plans action {other}, which there is not")),
            };
            if answer.scratch_bytes > MOST_SCRATCH {
                return broken(format!("it plans {} bytes of scratch", answer.scratch_bytes));
            }
            self.scratch = self.scratch.max(answer.scratch_bytes as usize);
        }
        Ok(())
    }

    /// Notes a failure of a call that cannot return it. The engine asks for it after each chunk.
    pub(super) fn judge(&self, status: fusion_status) {
        if status != FUSION_OK {
            self.poison(failure(status, &self.host, &self.described, &[]));
        }
    }

    /// The error of a call with a host of its own.
    pub(super) fn told(&self, status: fusion_status, host: &Host) -> MethodError {
        let error = failure(status, host, &self.described, &[]);
        self.poison(error.clone());
        error
    }

    fn poison(&self, error: MethodError) {
        let _ = self.trouble.set(error);
    }

    /// The first failure.
    pub(super) fn trouble(&self) -> Option<MethodError> {
        self.trouble.get().cloned()
    }

    /// Whether no call has failed.
    #[inline(always)]
    pub(super) fn sound(&self) -> bool {
        self.trouble.get().is_none()
    }

    /// The lock that the method's threading class asks for.
    #[inline(always)]
    pub(super) fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.method.threading {
            FUSION_THREADING_PARALLEL => None,
            FUSION_THREADING_INSTANCE => Some(self.one.lock().unwrap_or_else(PoisonError::into_inner)),
            _ => process(self.method),
        }
    }

    /// Two numbers of bytes: see `fusion_method.state_bytes`.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let mut bytes = [0_u64; 2];
        if let Some(state_bytes) = self.method.state_bytes {
            // SAFETY: a live instance and room for two numbers.
            unsafe { state_bytes(self.instance, bytes.as_mut_ptr()) };
        }
        (bytes[0] as usize, bytes[1] as usize)
    }
}
