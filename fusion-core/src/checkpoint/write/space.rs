//! Reserves disk space before work begins, so that a full disk is found in seconds and not after hours.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, statvfs};
use rustix::io::{Errno, retry_on_intr};

/// Bytes that an ordinary user may still write to the file system of `path` or of its nearest existing ancestor.
///
/// `None`: the file system does not count its blocks (ramfs, some network and FUSE file systems).
pub(super) fn free(path: &Path) -> io::Result<Option<u64>> {
    let mut place = path;
    loop {
        match statvfs(if place.as_os_str().is_empty() { Path::new(".") } else { place }) {
            Ok(stat) => {
                return Ok((stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize)));
            }
            Err(error) => match (error, place.parent()) {
                (Errno::NOENT | Errno::NOTDIR, Some(parent)) => place = parent,
                _ => return Err(error.into()),
            },
        }
    }
}

/// Gives an empty file its final length and, where the file system can, its blocks.
///
/// Where it cannot, `needed` (what is still to be reserved in all) is compared with the free space.
pub(super) fn presize(file: &File, path: &Path, bytes: u64, needed: u64) -> io::Result<()> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            if free(path)?.is_some_and(|free| free < needed) {
                return Err(Errno::NOSPC.into());
            }
            file.set_len(bytes)
        }
        other => Ok(other?),
    }
}

/// Starts writing a finished range to the disk without waiting for it, so that the flush at the end finds little left to do.
///
/// On Linux that is what `POSIX_FADV_DONTNEED` does with dirty pages. Best effort: only speed depends on it.
pub(super) fn start_flush(file: &File, offset: u64, bytes: u64) {
    // A length of `None` would mean the rest of the file.
    if let Some(bytes) = NonZeroU64::new(bytes) {
        let _ = fadvise(file, offset, Some(bytes), Advice::DontNeed);
    }
}

/// [`free`] for messages, where an unknown number is as good as none.
pub(super) fn free_or_zero(path: &Path) -> u64 {
    free(path).ok().flatten().unwrap_or(0)
}
