//! What the two processes say to each other: small typed messages of JSON behind their length. Elements are not among them, they are in
//! shared memory (`region.rs`).

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fusion_sdk::{RawGroup, Scope};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::told::{Fault, Told};
use crate::host::HostError;

/// No message is longer.
const LONGEST: usize = 1 << 30;

/// How long a side looks for a message before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

/// A tile in shared memory: its inputs, one after the other, then the output.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct TileAt {
    /// Index of the tensor in its group.
    pub(super) tensor: usize,
    /// Of the first element in the tensor.
    pub(super) offset: u64,
    /// How many inputs.
    pub(super) inputs: usize,
    /// Elements of each.
    pub(super) len: usize,
    /// Elements of the output.
    pub(super) out: usize,
}

/// What the parent asks for. Kernels and states are named by numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Load,
    Scope {
        method: usize,
        params: Map<String, Json>,
    },
    Prepare {
        method: usize,
        group: RawGroup,
    },
    Drop {
        kernel: u64,
    },
    StateBytes {
        kernel: u64,
    },
    Observing {
        kernel: u64,
    },
    Wants {
        kernel: u64,
        tensor: usize,
        tiles: usize,
    },
    Partial {
        kernel: u64,
    },
    Observe {
        kernel: u64,
        state: u64,
        tile: TileAt,
    },
    Absorb {
        kernel: u64,
        state: u64,
    },
    FinishPass {
        kernel: u64,
    },
    Free {
        state: u64,
    },
    Apply {
        kernel: u64,
        tile: TileAt,
    },
    /// `lengths` are those of the inputs of each member, then of its output; so they stand in shared memory.
    Whole {
        kernel: u64,
        lengths: Vec<Vec<usize>>,
        threads: usize,
    },
    Run {
        kernel: u64,
        models: usize,
        threads: usize,
    },
}

/// What the child answers, and what it says while it works on a long call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Loaded(Box<Told>),
    Refused(HostError),
    Failed(Fault),
    Scope(Scope),
    Prepared(Prepared),
    StateBytes(usize, usize),
    Observing(bool),
    /// One bit for each tile.
    Wanted(Vec<u64>),
    State(u64),
    /// Results are in shared memory.
    Done,
    /// More is to come.
    Progress {
        done: u64,
        total: u64,
        note: String,
    },
    /// More is to come: the parent answers with an [`Answer`].
    Read {
        model: usize,
        member: usize,
    },
    /// The same; the elements are at the start of the shared memory.
    Write {
        member: usize,
        len: usize,
    },
}

/// A prepared method of the child's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub(super) kernel: u64,
    pub(super) form: Form,
    /// Per tensor: the input that is copied.
    pub(super) copies: Vec<Option<usize>>,
    pub(super) scratch: usize,
    pub(super) serial: bool,
}

/// Which functions it has.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Form {
    Elementwise,
    Whole,
    Model,
}

/// What the parent answers to a call that reads and writes models.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// So many elements are at the start of the shared memory.
    Data(usize),
    Done,
    Failed(Fault),
}

/// Why a conversation is over.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other side is gone.
    Closed,
    /// It does not keep to the protocol.
    Garbage(String),
    /// The user asked to stop, and the other side did not.
    Stopped,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Garbage(error.to_string())
    }
}

/// What is done when the other side lets us wait, now and then.
pub(super) type Pause<'a> = &'a mut dyn FnMut() -> Result<(), Broken>;

/// One end of a conversation.
pub(super) struct Wire {
    stream: UnixStream,
    sent: Vec<u8>,
    /// Read, and not yet understood.
    got: Vec<u8>,
    buffer: Box<[u8]>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Wire { stream, sent: Vec::new(), got: Vec::new(), buffer: vec![0; 16 << 10].into() }
    }

    /// Reads what is there, or the first that comes. To be woken up takes longer than most answers, so it first looks a few times.
    fn read(&mut self) -> io::Result<usize> {
        let since = Instant::now();
        loop {
            match rustix::net::recv(&self.stream, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((read, _)) => return Ok(read),
                Err(Errno::AGAIN) if since.elapsed() < SPIN => std::thread::yield_now(),
                Err(Errno::AGAIN) => return self.stream.read(&mut self.buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: &impl Serialize, pause: Pause<'_>) -> Result<(), Broken> {
        self.sent.clear();
        self.sent.extend([0; 4]);
        serde_json::to_writer(&mut self.sent, message).map_err(|error| Broken::Garbage(error.to_string()))?;
        let len = self.sent.len() - 4;
        if len > LONGEST {
            return Err(Broken::Garbage(format!("a message of {len} bytes")));
        }
        self.sent[..4].copy_from_slice(&(len as u32).to_le_bytes());
        let mut left = &self.sent[..];
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(0) => return Err(Broken::Closed),
                Ok(n) => left = &left[n..],
                Err(error) => idle(&error, pause)?,
            }
        }
        Ok(())
    }

    /// Waits for a message.
    pub(super) fn receive<M: DeserializeOwned>(&mut self, pause: Pause<'_>) -> Result<M, Broken> {
        loop {
            if let Some((head, rest)) = self.got.split_first_chunk::<4>() {
                let len = u32::from_le_bytes(*head) as usize;
                if len > LONGEST {
                    return Err(Broken::Garbage(format!("a message of {len} bytes")));
                }
                if let Some(message) = rest.get(..len) {
                    let read = serde_json::from_slice(message);
                    self.got.drain(..4 + len);
                    return read.map_err(|error| Broken::Garbage(error.to_string()));
                }
            }
            match self.read() {
                Ok(0) => return Err(Broken::Closed),
                Ok(n) => self.got.extend_from_slice(&self.buffer[..n]),
                Err(error) => idle(&error, pause)?,
            }
        }
    }
}

/// Nothing came for a while, or nothing will.
fn idle(error: &io::Error, pause: Pause<'_>) -> Result<(), Broken> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => pause(),
        io::ErrorKind::Interrupted => Ok(()),
        _ => Err(Broken::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> Result<(), Broken> {
        panic!("nobody has to wait")
    }

    #[test]
    fn messages_of_any_length_arrive_and_garbage_is_told_from_silence() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut raw = theirs.try_clone().unwrap();
        let (mut ours, mut theirs) = (Wire::new(ours), Wire::new(theirs));
        let note = "ä".repeat(100_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                theirs.send(&Reply::Progress { done: 1, total: 2, note: note.clone() }, &mut never).unwrap();
                theirs.send(&Reply::Done, &mut never).unwrap();
            });
            let Reply::Progress { note: found, .. } = ours.receive(&mut || Ok(())).unwrap() else { panic!() };
            assert!(found == note);
            assert!(matches!(ours.receive(&mut || Ok(())), Ok(Reply::Done)));
        });
        let mut patience = 2;
        let silent = ours.receive::<Reply>(&mut || {
            patience -= 1;
            if patience == 0 { Err(Broken::Stopped) } else { Ok(()) }
        });
        assert!(matches!(silent, Err(Broken::Stopped)));
        raw.write_all(b"\x04\0\0\0oops").unwrap();
        assert!(matches!(ours.receive::<Reply>(&mut never), Err(Broken::Garbage(_))));
        raw.write_all(b"\xff\xff\xff\xff").unwrap();
        assert!(matches!(ours.receive::<Reply>(&mut never), Err(Broken::Garbage(_))));
        drop((raw, theirs));
        let mut ours = Wire::new(ours.stream);
        assert!(matches!(ours.receive::<Reply>(&mut never), Err(Broken::Closed)));
        assert!(matches!(ours.send(&Answer::Done, &mut never), Err(Broken::Closed)));
    }
}
