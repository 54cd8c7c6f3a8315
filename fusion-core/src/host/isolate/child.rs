//! The child's side: takes lanes from the control socket, and answers on each what the parent asks.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;

use super::answers::Child;
use super::process::Lane;
use super::region::Region;
use super::wire::{Broken, Request, Wire};
use crate::host::HostError;

/// How long the end of the process may take once nobody needs it any more.
const LEAVE: Duration = Duration::from_secs(5);

/// Serves the methods of a library to the process that started this one with [`super::isolate`], until that process closes its end.
///
/// # Errors
/// This process was not started by [`super::isolate`], or the system is out of threads or files.
pub fn serve(library: &Path) -> Result<(), HostError> {
    let failed = |reason: String| HostError::Process { path: library.display().to_string(), reason };
    let control = control().map_err(|error| failed(error.to_string()))?;
    let Some(control) = control else {
        return Err(failed(
            "this command is for fusion itself, which starts it for `run --isolate`".to_owned(),
        ));
    };
    super::output::serving();
    let child = Arc::new(Child::new(library));
    loop {
        let Some(lane) = lane(&control).map_err(|error| failed(error.to_string()))? else { break };
        let child = child.clone();
        std::thread::Builder::new()
            .name("lane".to_owned())
            .spawn(move || answer(&child, lane))
            .map_err(|error| failed(error.to_string()))?;
    }
    // What libraries do at the end may hang, and nobody waits for it.
    let guard = std::thread::Builder::new().spawn(|| {
        std::thread::sleep(LEAVE);
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    });
    guard.map(|_| ()).map_err(|error| failed(error.to_string()))
}

/// Takes the control socket from the standard input, out of the reach of what a plugin reads there.
fn control() -> std::io::Result<Option<UnixStream>> {
    let stdin = rustix::stdio::stdin();
    if FileType::from_raw_mode(rustix::fs::fstat(stdin)?.st_mode) != FileType::Socket {
        return Ok(None);
    }
    let control = rustix::io::fcntl_dupfd_cloexec(stdin, 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(UnixStream::from(control)))
}

/// The next lane; none when the parent is gone or through.
fn lane(control: &UnixStream) -> std::io::Result<Option<Lane>> {
    let mut byte = [0];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut into = [IoSliceMut::new(&mut byte)];
        match recvmsg(control, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            got => break got?,
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next()) {
        (Some(stream), Some(memory)) => {
            Ok(Some(Lane { wire: Wire::new(UnixStream::from(stream)), region: Region::open(memory)? }))
        }
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Answers on a lane until it is closed. The parent sees a lane that breaks.
fn answer(child: &Child, mut lane: Lane) {
    while let Ok(request) = lane.wire.receive::<Request>(&mut wait) {
        let reply = child.answer(request, &mut lane);
        if lane.wire.send(&reply, &mut wait).is_err() {
            return;
        }
    }
}

/// Lanes of the child have no time limit.
pub(super) const fn wait() -> Result<(), Broken> {
    Ok(())
}
