//! One run per target: two writers in one folder would mix their shards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::WriteError;
use super::error::Place;

/// Name of the lock file in the hidden folder.
pub(super) const LOCK: &str = "lock";

/// Held while its file is open; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    /// Why the target could not be locked, where the file system has no locks.
    pub(super) note: Option<String>,
}

impl Lock {
    /// Makes the hidden folder where it is missing, and locks it.
    pub(super) fn acquire(part: &Path, target: &Path) -> Result<Self, WriteError> {
        let path = part.join(LOCK);
        // A run that ends removes the folder with the lock: then the file that was locked here is no longer the one
        // that others will meet, and the next round makes a new one.
        for _ in 0..100 {
            match fs::create_dir(part) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(WriteError::io(
                        "create a folder in",
                        part.parent().unwrap_or(part),
                        0,
                        error,
                    ));
                }
                _ => {}
            }
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = match file {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.place("open", &path)?,
            };
            let note = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => None,
                Err(Errno::WOULDBLOCK) => {
                    let mut text = String::new();
                    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                    return Err(WriteError::Locked { path: target.to_owned(), pid });
                }
                Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => {
                    Some("the file system has no locks: do not start a second run on this target".to_owned())
                }
                Err(error) => return Err(error).place("lock", &path),
            };
            let mine = file.metadata().place("read", &path)?;
            if fs::metadata(&path).is_ok_and(|met| (met.dev(), met.ino()) == (mine.dev(), mine.ino())) {
                file.set_len(0).place("write", &path)?;
                file.write_all(format!("{}\n", std::process::id()).as_bytes()).place("write", &path)?;
                return Ok(Self { _file: file, note });
            }
        }
        Err(WriteError::Locked { path: target.to_owned(), pid: None })
    }
}
