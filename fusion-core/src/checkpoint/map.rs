//! The one place that maps files into memory, so that the promise `unsafe` asks for is made and explained once.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use memmap2::{Advice, Mmap};

use super::CheckpointError;

/// A whole file, mapped read only. Costs address space and page cache, no memory of our own.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

impl Map {
    /// Maps the file; an empty file gives empty bytes.
    ///
    /// While the map lives, another process can still change the file. Overwritten bytes then show up in what is read
    /// (a wrong value, never a wild pointer: they are only ever read as plain bytes, and offsets and lengths were copied
    /// out of the header and checked against this map's length when the checkpoint was opened). A file that is truncated
    /// makes the kernel stop the process with SIGBUS on the next access to a lost page; no Rust code can prevent that
    /// short of copying everything. A file replaced by rename, as `fusion` and `huggingface_hub` do, keeps its old
    /// contents here. [`super::Checkpoint::verify_unchanged`] tells after the fact whether a file was written to.
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(CheckpointError::io(path, "open"))?;
        Self::of(&file, path)
    }

    /// Maps an open file; `path` is for messages.
    pub(crate) fn of(file: &File, path: &Path) -> Result<Self, CheckpointError> {
        // SAFETY: the map is private to this type, read only, and exposed as `&[u8]`, for which every byte pattern is
        // valid. Rust's rule that the bytes behind a shared reference do not change is ours to keep: this process never
        // opens an input for writing (results go to fresh temporary files), and foreign writers have the consequences
        // told above, which end in wrong bytes or SIGBUS, not in memory unsafety that the checks here rely upon.
        let map = unsafe { Mmap::map(file) }.map_err(CheckpointError::io(path, "map"))?;
        Ok(Self(map))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Asks the kernel to read this range ahead; best effort, a refusal only costs speed.
    pub(crate) fn prefetch(&self, offset: usize, len: usize) {
        let _ = self.0.advise_range(Advice::WillNeed, offset, len);
    }
}
