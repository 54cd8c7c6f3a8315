//! An instance of a method: each function of the contract as a safe one, called under the rules that the contract sets.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fusion_abi::{
    FUSION_ACTION_APPLY, FUSION_ACTION_COPY_BASE, FUSION_ACTION_COPY_FIRST, FUSION_INVALID, FUSION_OK,
    FUSION_PANICKED, FUSION_THREADING_INSTANCE, FUSION_THREADING_PARALLEL, FUSION_THREADING_PROCESS,
    FUSION_UNSUPPORTED, fusion_call, fusion_group, fusion_input, fusion_member, fusion_plan, fusion_status,
};

use super::call::{Call, Done, make, text};
use super::host::{Host, Report};
use super::library::Method;
use super::memory::{Kind, Memory, Violation};
use crate::task::Task;

/// Why a call gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It ended with a status other than 0.
    #[error("`{call}` ended with status {status}{}", said(.report.as_ref()))]
    Status {
        /// The function.
        call: &'static str,
        /// What it returned.
        status: fusion_status,
        /// What it reported for that status.
        report: Option<Report>,
    },
    /// It broke the contract.
    #[error("{0}")]
    Broken(String),
}

fn said(report: Option<&Report>) -> String {
    match report {
        Some(report) => format!(": {}", report.message),
        None => " and no report".to_owned(),
    }
}

impl Trouble {
    pub(crate) fn status(&self) -> Option<fusion_status> {
        match self {
            Trouble::Status { status, .. } => Some(*status),
            Trouble::Broken(_) => None,
        }
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Trouble::Status { report, .. } => report.as_ref(),
            Trouble::Broken(_) => None,
        }
    }

    /// Whether it says, as the contract wants it, that these settings or tensors are not supported.
    pub(crate) fn refuses(&self) -> bool {
        matches!(self.status(), Some(FUSION_INVALID | FUSION_UNSUPPORTED))
            && self.report().is_some_and(|report| !report.message.is_empty())
    }

    /// Whether the status is one of the contract's, a report explains it, and it is no caught panic.
    pub(crate) fn orderly(&self) -> bool {
        self.status().is_some_and(|status| (FUSION_INVALID..FUSION_PANICKED).contains(&status))
            && self.report().is_some_and(|report| !report.message.is_empty())
    }
}

/// How a tensor is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is computed.
    Apply,
    /// The `base` input is copied.
    CopyBase,
    /// The first input is copied.
    CopyFirst,
}

/// What `plan` answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How.
    pub(crate) action: Action,
    /// Bytes of scratch.
    pub(crate) scratch: u64,
    /// Whether it changed a field that is not its to change.
    pub(crate) meddled: bool,
}

/// A state of one block.
pub(crate) struct Live(*mut c_void);

// SAFETY: a state belongs to one thread at a time; the contract allows any.
unsafe impl Send for Live {}

/// An instance; destroyed when it is dropped.
pub(crate) struct Instance<'a> {
    method: &'a Method,
    pointer: *mut c_void,
    host: &'a Host,
    kind: Kind,
    failed: AtomicBool,
    one: Mutex<()>,
    longest: AtomicU64,
    violations: Mutex<Vec<Violation>>,
}

// SAFETY: the contract lets any thread call, under the rules that `turn` keeps.
unsafe impl Send for Instance<'_> {}
// SAFETY: as above.
unsafe impl Sync for Instance<'_> {}

/// For methods that allow one call at a time in the process.
static PROCESS: Mutex<()> = Mutex::new(());

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn process(method: &Method) -> Option<MutexGuard<'static, ()>> {
    (method.threading() == FUSION_THREADING_PROCESS).then(|| lock(&PROCESS))
}

/// Judges a status with the report that explains it.
fn judged(call: &'static str, status: fusion_status, host: &Host) -> Result<(), Trouble> {
    // A report of another call explains nothing.
    let report = host.take().filter(|report| report.code == status);
    match status {
        FUSION_OK => Ok(()),
        _ => Err(Trouble::Status { call, status, report }),
    }
}

/// Which tensors share an instance under these stage settings.
pub(crate) fn scope(method: &Method, host: &Host, settings: &[u8]) -> Result<Option<u32>, Trouble> {
    let Some(scope) = method.raw.scope else { return Ok(None) };
    let mut memory = Memory::new(Kind::Canaries);
    let table = host.table(&mut memory);
    let params = text(&mut memory, "params", settings);
    let mut found = 0;
    let _turn = process(method);
    // SAFETY: all pointers live through the call.
    judged("scope", unsafe { scope(table, params, &raw mut found) }, host)?;
    memory.retire();
    Ok(Some(found))
}

impl<'a> Instance<'a> {
    /// Makes an instance for a task.
    pub(crate) fn create(
        method: &'a Method,
        host: &'a Host,
        task: &Task,
        kind: Kind,
    ) -> Result<Self, Trouble> {
        let Some(create) = method.raw.create else {
            return Err(Trouble::Broken("it has no `create`".to_owned()));
        };
        let mut memory = Memory::new(kind);
        let mut members: Vec<fusion_member> = Vec::with_capacity(task.members.len());
        for (index, member) in task.members.iter().enumerate() {
            let inputs: Vec<fusion_input> = member
                .inputs
                .iter()
                .map(|input| fusion_input {
                    struct_size: size_of::<fusion_input>() as u64,
                    port: text(&mut memory, "port", input.role.as_bytes()),
                    params: text(&mut memory, "params", &input.settings.text),
                })
                .collect();
            let settings = task.table(method, index);
            members.push(fusion_member {
                struct_size: size_of::<fusion_member>() as u64,
                name: text(&mut memory, "name", member.name.as_bytes()),
                key: task.key(index),
                shape: memory.put("shape", index, &member.shape, 0, true),
                ndim: member.shape.len() as u64,
                layer: member.layer.unwrap_or(u32::MAX),
                layers: task.layers,
                params: text(&mut memory, "params", &member.settings.text),
                inputs: memory.put("list of inputs", index, &inputs, 0, true),
                n_inputs: inputs.len() as u64,
                settings: memory.put("settings", index, &settings, 0, true),
                n_settings: settings.len() as u64,
            });
        }
        let group = fusion_group {
            struct_size: (size_of::<fusion_group>() + host.extra()) as u64,
            members: memory.put("members", 0, &members, 0, true),
            n_members: members.len() as u64,
            seed: task.seed,
        };
        let group = memory.grown("group", group, host.extra(), true);
        let table = host.table(&mut memory);
        let mut pointer = std::ptr::null_mut();
        let turn = process(method);
        // SAFETY: all pointers live through the call.
        let status = unsafe { create(table, group, &raw mut pointer) };
        drop(turn);
        let violations = memory.violations();
        memory.retire();
        judged("create", status, host)?;
        Ok(Instance {
            method,
            pointer,
            host,
            kind,
            failed: AtomicBool::new(false),
            one: Mutex::new(()),
            longest: AtomicU64::new(0),
            violations: Mutex::new(violations),
        })
    }

    /// The lock that the method's threading class asks for.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.method.threading() {
            FUSION_THREADING_PARALLEL => None,
            FUSION_THREADING_INSTANCE => Some(lock(&self.one)),
            _ => process(self.method),
        }
    }

    /// Refuses further calls after one that failed.
    fn sound(&self, call: &'static str) -> Result<(), Trouble> {
        match self.failed.load(Ordering::SeqCst) {
            true => Err(Trouble::Broken(format!("`{call}` was not called: a call before it failed"))),
            false => Ok(()),
        }
    }

    fn judge(&self, call: &'static str, status: fusion_status) -> Result<(), Trouble> {
        if status != FUSION_OK {
            self.failed.store(true, Ordering::SeqCst);
        }
        judged(call, status, self.host)
    }

    /// What was mistreated so far, and none left.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        std::mem::take(&mut *self.violations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The longest call so far.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Ordering::SeqCst))
    }

    /// Adds to what was mistreated.
    pub(crate) fn note(&self, found: Vec<Violation>) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// Makes a call with a frame.
    fn framed(
        &self,
        name: &'static str,
        call: &Call<'_>,
        body: impl FnOnce(*const fusion_call) -> fusion_status,
    ) -> Result<Done, Trouble> {
        self.sound(name)?;
        let (status, mut done) = make(self.host, self.kind, call, |frame| {
            let _turn = self.turn();
            let started = Instant::now();
            let status = body(frame);
            self.longest.fetch_max(started.elapsed().as_nanos() as u64, Ordering::SeqCst);
            status
        });
        self.note(std::mem::take(&mut done.violations));
        self.judge(name, status)?;
        Ok(done)
    }

    /// Makes a call that takes the host alone.
    fn hosted(
        &self,
        name: &'static str,
        body: impl FnOnce(*const fusion_abi::fusion_host) -> fusion_status,
    ) -> Result<(), Trouble> {
        self.sound(name)?;
        let mut memory = Memory::new(self.kind);
        let table = self.host.table(&mut memory);
        let status = {
            let _turn = self.turn();
            body(table)
        };
        self.note(memory.violations());
        memory.retire();
        self.judge(name, status)
    }

    /// How a member is handled.
    pub(crate) fn plan(&self, member: usize) -> Result<Plan, Trouble> {
        let Some(plan) = self.method.raw.plan else {
            return Ok(Plan { action: Action::Apply, scratch: 0, meddled: false });
        };
        self.sound("plan")?;
        let mut memory = Memory::new(self.kind);
        let size = (size_of::<fusion_plan>() + self.host.extra()) as u64;
        let given =
            fusion_plan { struct_size: size, action: FUSION_ACTION_APPLY, reserved: 0, scratch_bytes: 0 };
        let given = memory.grown("plan", given, self.host.extra(), false);
        let table = self.host.table(&mut memory);
        let status = {
            let _turn = self.turn();
            // SAFETY: a live instance; all pointers live through the call.
            unsafe { plan(self.pointer, table, member as u64, given) }
        };
        // SAFETY: our own struct.
        let answer = unsafe { *given };
        self.note(memory.violations());
        memory.retire();
        self.judge("plan", status)?;
        let action = match answer.action {
            FUSION_ACTION_APPLY => Action::Apply,
            FUSION_ACTION_COPY_BASE => Action::CopyBase,
            FUSION_ACTION_COPY_FIRST => Action::CopyFirst,
            other => {
                return Err(Trouble::Broken(format!(
                    "`plan` answers with the action {other}, which there is not"
                )));
            }
        };
        Ok(Plan {
            action,
            scratch: answer.scratch_bytes,
            meddled: answer.struct_size != size || answer.reserved != 0,
        })
    }

    /// Whether another observe pass is due after `passes`.
    pub(crate) fn observing(&self, passes: u32) -> bool {
        let _turn = self.turn();
        match self.method.raw.observing {
            // SAFETY: a live instance.
            Some(observing) => unsafe { observing(self.pointer) != 0 },
            None => passes < self.method.raw.observe_passes,
        }
    }

    /// Whether the pass wants a stretch.
    pub(crate) fn wants(&self, member: usize, tile: u64) -> bool {
        let _turn = self.turn();
        // SAFETY: a live instance.
        self.method.raw.wants.is_none_or(|wants| unsafe { wants(self.pointer, member as u64, tile) != 0 })
    }

    /// A blank state.
    pub(crate) fn state(&self) -> Result<Live, Trouble> {
        let mut state = std::ptr::null_mut();
        if let Some(new) = self.method.raw.state_new {
            // SAFETY: a live instance; all pointers live through the call.
            self.hosted("state_new", |host| unsafe { new(self.pointer, host, &raw mut state) })?;
        }
        Ok(Live(state))
    }

    /// Ends a state.
    pub(crate) fn free(&self, state: Live) {
        if let Some(free) = self.method.raw.state_free {
            let _turn = process(self.method);
            // SAFETY: a state of this instance, which nobody else has.
            unsafe { free(self.pointer, state.0) };
        }
    }

    /// Adds a stretch to a state.
    pub(crate) fn observe(&self, call: &Call<'_>, state: &mut Live) -> Result<(), Trouble> {
        let Some(observe) = self.method.raw.observe else { return Ok(()) };
        // SAFETY: a live instance, a state of it, a frame that lives through the call.
        self.framed("observe", call, |frame| unsafe { observe(self.pointer, frame, state.0) }).map(drop)
    }

    /// Takes a state in.
    pub(crate) fn absorb(&mut self, state: &mut Live) -> Result<(), Trouble> {
        let Some(absorb) = self.method.raw.absorb else { return Ok(()) };
        // SAFETY: a live instance and a state of it; `&mut self` keeps other calls out.
        self.hosted("absorb", |host| unsafe { absorb(self.pointer, host, state.0) })
    }

    /// Ends a pass.
    pub(crate) fn pass_end(&mut self) -> Result<(), Trouble> {
        let Some(end) = self.method.raw.pass_end else { return Ok(()) };
        // SAFETY: a live instance; `&mut self` keeps other calls out.
        self.hosted("pass_end", |host| unsafe { end(self.pointer, host) })
    }

    /// Asks for the bytes of its statistics.
    pub(crate) fn state_bytes(&self) -> [u64; 2] {
        let mut bytes = [0; 2];
        if let Some(state_bytes) = self.method.raw.state_bytes {
            let _turn = process(self.method);
            // SAFETY: a live instance, room for two numbers.
            unsafe { state_bytes(self.pointer, bytes.as_mut_ptr()) };
        }
        bytes
    }

    /// Computes outputs.
    pub(crate) fn apply(&self, call: &Call<'_>) -> Result<Done, Trouble> {
        let Some(apply) = self.method.raw.apply else {
            return Err(Trouble::Broken("it has no `apply`".to_owned()));
        };
        // SAFETY: a live instance, a frame that lives through the call.
        self.framed("apply", call, |frame| unsafe { apply(self.pointer, frame) })
    }

    /// Does everything, through services.
    pub(crate) fn run(&self, call: &Call<'_>) -> Result<Done, Trouble> {
        let Some(run) = self.method.raw.run else {
            return Err(Trouble::Broken("it has no `run`".to_owned()));
        };
        // SAFETY: a live instance, a frame that lives through the call.
        self.framed("run", call, |frame| unsafe { run(self.pointer, frame) })
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if let Some(destroy) = self.method.raw.destroy {
            let _turn = process(self.method);
            // SAFETY: made by `create`, and no other call runs.
            unsafe { destroy(self.pointer) };
        }
    }
}
