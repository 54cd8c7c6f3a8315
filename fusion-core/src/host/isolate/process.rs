//! The child as the parent sees it: started once, talked to over one line per call that is under way, ended with the last method of it.

use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fusion_sdk::{Context, ErrorKind, MethodError};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;

use super::output::Output;
use super::region::Region;
use super::wire::{Broken, Wire};

/// How often a call that waits looks up: is the child alive, does the user want to stop?
const TICK: Duration = Duration::from_millis(50);
/// How long a call may go on after it was asked to stop. Then its process is ended.
const GRACE: Duration = Duration::from_millis(500);
/// How long a child that closed its line may take to be gone, and one that is no longer needed to end by itself.
const LEAVE: Duration = Duration::from_secs(2);

/// What to do about a crash.
const HELP: &str = "the rest of fusion is unharmed; what is finished is kept and the same command goes on: \
                    tell the plugin's author";

const SIGNALS: [(Signal, &str); 10] = [
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::ILL, "SIGILL"),
    (Signal::INT, "SIGINT"),
    (Signal::KILL, "SIGKILL"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::SYS, "SIGSYS"),
    (Signal::TERM, "SIGTERM"),
    (Signal::TRAP, "SIGTRAP"),
];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line to the child, and the memory that goes with it. The child has a thread for each.
pub(super) struct Lane {
    pub(super) wire: Wire,
    pub(super) region: Region,
}

/// A child process with one plugin in it.
pub(super) struct Process {
    child: Mutex<Child>,
    /// Lanes are opened over it; the child ends when it is closed.
    control: Mutex<UnixStream>,
    /// Those that no call uses.
    lanes: Mutex<Vec<Lane>>,
    /// Why the child is no more.
    ended: OnceLock<MethodError>,
    output: Output,
    /// The user wants to stop.
    stop: Arc<AtomicBool>,
    /// The plugin's id; until that is known, its file's name.
    name: OnceLock<String>,
    file: String,
}

impl Process {
    pub(super) fn start(
        mut command: Command,
        library: &Path,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let (reader, writer) = std::io::pipe()?;
        // Its own group: Ctrl-C in a terminal is for the parent, which then tells the child.
        command.arg(library).process_group(0);
        command.stdin(OwnedFd::from(theirs)).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        drop(command); // with its copies of the child's ends
        let output = match Output::read(reader) {
            Ok(output) => output,
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(error);
            }
        };
        let file = library.file_name().unwrap_or(library.as_os_str()).to_string_lossy().into_owned();
        Ok(Process {
            child: Mutex::new(child),
            control: Mutex::new(control),
            lanes: Mutex::default(),
            ended: OnceLock::new(),
            output,
            stop,
            name: OnceLock::new(),
            file,
        })
    }

    /// From now on, errors call the plugin by its id.
    pub(super) fn called(&self, id: &str) {
        let _ = self.name.set(id.to_owned());
    }

    fn name(&self) -> &str {
        self.name.get().unwrap_or(&self.file)
    }

    /// Why the child is no more.
    pub(super) fn ended(&self) -> Option<&MethodError> {
        self.ended.get()
    }

    /// A line for a call of this function of the contract.
    pub(super) fn call<'a>(
        &'a self,
        what: &'static str,
        context: Option<&'a Context<'a>>,
    ) -> Result<Call<'a>, MethodError> {
        if let Some(error) = self.ended() {
            return Err(error.clone());
        }
        let spare = lock(&self.lanes).pop();
        let lane = match spare {
            Some(lane) => lane,
            None => self.open().map_err(|error| {
                let said = format!("the plugin `{}` cannot be reached in its process: {error}", self.name());
                MethodError::new(ErrorKind::Failed, said)
            })?,
        };
        Ok(Call { process: self, what, context, lane, asked: None, looked: Instant::now() })
    }

    fn open(&self) -> std::io::Result<Lane> {
        let region = Region::create()?;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(TICK))?;
        ours.set_write_timeout(Some(TICK))?;
        let fds = [theirs.as_fd(), region.fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        // A child that is gone shows when the line is used.
        match sendmsg(&*lock(&self.control), &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Lane { wire: Wire::new(ours), region })
    }

    /// Waits for the child's end, but not for long.
    fn leave(child: &mut Child) -> Option<ExitStatus> {
        let since = Instant::now();
        let mut nap = Duration::from_micros(200);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if since.elapsed() < LEAVE => std::thread::sleep(nap),
                _ => return None,
            }
            nap = (nap * 2).min(Duration::from_millis(20));
        }
    }

    /// Ends the child after a conversation has broken, and says why. The first who finds out decides what all others hear.
    pub(super) fn bury(&self, what: &str, broken: &Broken) -> MethodError {
        let mut child = lock(&self.child);
        if let Some(error) = self.ended() {
            return error.clone();
        }
        let status = match broken {
            Broken::Closed => Process::leave(&mut child),
            Broken::Garbage(_) | Broken::Stopped => child.try_wait().ok().flatten(),
        };
        let error = match (broken, status) {
            (Broken::Stopped, _) => MethodError::new(ErrorKind::Cancelled, "stopped"),
            (_, Some(status)) => self.obituary(what, status),
            (Broken::Closed, None) => self.failed(format!("closed its line in `{what}`")),
            (Broken::Garbage(how), None) => self.failed(format!("gave no proper answer in `{what}`: {how}")),
        };
        if status.is_none() {
            let _ = child.kill().and_then(|()| child.wait());
        }
        let _ = self.ended.set(error.clone());
        error
    }

    fn obituary(&self, what: &str, status: ExitStatus) -> MethodError {
        let Some(signal) = status.signal() else {
            let code = status.code().unwrap_or(-1);
            return self.failed(format!("ended its process in `{what}` (exit code {code})"));
        };
        let name = SIGNALS.iter().find(|(known, _)| known.as_raw() == signal);
        let name = name.map(|(_, name)| format!(", {name}")).unwrap_or_default();
        let mut error = self.failed(format!("crashed in `{what}` (signal {signal}{name})"));
        if signal == Signal::KILL.as_raw() {
            error.help = Some(format!(
                "somebody or the system ended it, perhaps because memory ran out; {}",
                error.help.unwrap_or_default()
            ));
        }
        error
    }

    fn failed(&self, how: String) -> MethodError {
        let help = match self.output.last() {
            Some(words) => format!("its last words: `{words}`; {HELP}"),
            None => HELP.to_owned(),
        };
        MethodError::new(ErrorKind::Failed, format!("the plugin `{}` {how}", self.name())).help(help)
    }

    /// Whether the child is gone, though its line may be open: a process that it started can hold it.
    fn gone(&self) -> bool {
        !matches!(lock(&self.child).try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        lock(&self.lanes).clear();
        let _ = lock(&self.control).shutdown(std::net::Shutdown::Both);
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if Process::leave(child).is_none() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

/// A call that has a line for itself. Dropped before it is [done](Call::done), the line is closed: nobody knows what is still to come.
pub(super) struct Call<'a> {
    process: &'a Process,
    what: &'static str,
    context: Option<&'a Context<'a>>,
    lane: Lane,
    /// Since when the call is asked to stop.
    asked: Option<Instant>,
    looked: Instant,
}

impl Call<'_> {
    /// The memory of this call.
    pub(super) const fn region(&mut self) -> &mut Region {
        &mut self.lane.region
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: &impl serde::Serialize) -> Result<(), MethodError> {
        let Call { process, context, lane: Lane { wire, region }, asked, .. } = self;
        let sent = wire.send(message, &mut || process.look(*context, region, asked));
        sent.map_err(|broken| self.process.bury(self.what, &broken))
    }

    /// Waits for a message.
    pub(super) fn receive<M: serde::de::DeserializeOwned>(&mut self) -> Result<M, MethodError> {
        let Call { process, context, lane: Lane { wire, region }, asked, looked, .. } = self;
        let mut look = || process.look(*context, region, asked);
        // A child that talks all the time lets nobody wait, but the user may want to stop.
        let heard = if context.is_some() && looked.elapsed() > TICK {
            *looked = Instant::now();
            look()
        } else {
            Ok(())
        };
        let received = heard.and_then(|()| wire.receive(&mut look));
        received.map_err(|broken| self.process.bury(self.what, &broken))
    }

    /// The child has said what it must not say.
    pub(super) fn nonsense(&self) -> MethodError {
        self.process.bury(self.what, &Broken::Garbage("an answer to another question".to_owned()))
    }

    /// Shared memory could not be had, or does not hold what the child says.
    pub(super) fn memory(&self, error: &std::io::Error) -> MethodError {
        let said = format!("memory that is shared with the plugin `{}`: {error}", self.process.name());
        MethodError::new(ErrorKind::Failed, said)
    }

    /// The call is over, its line is free.
    pub(super) fn done(self) {
        if self.asked.is_some() {
            self.lane.region.ask_to_stop(false);
        }
        self.lane.region.shrink();
        lock(&self.process.lanes).push(self.lane);
    }
}

impl Process {
    /// What a call does while it waits.
    fn look(
        &self,
        context: Option<&Context<'_>>,
        region: &Region,
        asked: &mut Option<Instant>,
    ) -> Result<(), Broken> {
        if self.gone() {
            return Err(Broken::Closed);
        }
        match asked {
            Some(since) if since.elapsed() > GRACE => Err(Broken::Stopped),
            Some(_) => Ok(()),
            None => {
                let user = self.stop.load(Ordering::Relaxed);
                if user || context.is_some_and(|context| context.check().is_err()) {
                    region.ask_to_stop(true);
                    *asked = Some(Instant::now());
                }
                Ok(())
            }
        }
    }
}
