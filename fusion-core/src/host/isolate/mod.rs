//! Plugins in a process of their own: a crash of their code (a segfault, an abort, an `exit`) is an error of the run and not its end.
//!
//! [`isolate`] starts a child, which [`serve`]s: it loads the library as [`super::load`] does, and drives its methods for the parent,
//! so that all handling of the contract exists once and results are the same to the bit. The parent's methods are proxies.
//!
//! ```text
//! parent                                             child
//! IsolatedMethod, …Kernel, …Whole, …Model            Child: Method, Kernel, WholeKernel, ModelKernel of `host`
//!   Process ── control: lanes by SCM_RIGHTS ──────────▶ one thread for each lane
//!   Call ───── lane: Request ──────────────────────────▶
//!        ◀──── Reply, Progress, Read, Write ────────────
//!         ═════ region: f32 in shared memory ══════════
//! ```
//!
//! A *lane* is a socket and a shared memory; each call that is under way has one for itself, so that calls of several threads run side by
//! side. A call is a message to the child, its elements copied into shared memory, and a message back. That costs a tile some 10 µs where
//! processors are free and 25 µs where all are busy (measured with the C sample, three inputs); in process it costs nanoseconds. Isolation
//! is for plugins that are not trusted to be without bugs, not for speed.
//!
//! The parent never waits for ever for a child that is gone: a dead child closes its lanes, and a call that waits looks every 50 ms whether
//! the child is alive and whether the user wants to stop. A call that is asked to stop and does not is ended with its process half a second
//! later. The child ends when the parent closes the control socket or is gone itself. (The death signal of Linux would be sent when the
//! *thread* that started the child ends.)

mod answers;
mod calls;
mod child;
mod elementwise;
mod method;
mod output;
mod process;
mod region;
mod told;
mod whole;
mod wire;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fusion_sdk::Method;

use super::{HostError, Plugin};
use method::IsolatedMethod;
use process::Process;
use wire::{Reply, Request};

pub use child::serve;
pub(in crate::host) use output::pass_on;

/// Loads a library in a child process, and gives the plugin with methods that call it there.
///
/// `child` starts a program that calls [`serve`] with its last argument, the library, which is added here; its streams are set here too.
/// Once `stop` is set, calls that do not come back are ended with their process: element-wise calls have no other way to be stopped.
/// The child ends when the last method and kernel of the plugin are dropped.
///
/// # Errors
/// Those of [`super::load`], and [`HostError::Process`].
pub fn isolate(child: Command, library: &Path, stop: Arc<AtomicBool>) -> Result<Plugin, HostError> {
    let path = library.display().to_string();
    let failed = |reason: String| HostError::Process { path: path.clone(), reason };
    let process = Process::start(child, library, stop)
        .map_err(|error| failed(format!("it cannot be started: {error}")))?;
    let told = {
        let mut call = process.call("load", None).map_err(|error| failed(error.message))?;
        let answer = call.send(&Request::Load).and_then(|()| call.receive());
        match answer.map_err(|error| failed(error.message))? {
            Reply::Loaded(told) => {
                call.done();
                *told
            }
            Reply::Refused(error) => return Err(error),
            _ => return Err(failed(call.nonsense().message)),
        }
    };
    process.called(&told.id);
    let process = Arc::new(process);
    let methods = told.methods.into_iter().enumerate().map(|(index, method)| {
        let described = Arc::new(method.described());
        Box::new(IsolatedMethod { process: process.clone(), index, described }) as Box<dyn Method>
    });
    Ok(Plugin {
        methods: methods.collect(),
        id: told.id,
        version: told.version,
        license: told.license,
        build_info: told.build_info,
        built: told.built,
        needs_minor: told.needs_minor,
        services: told.services,
    })
}
