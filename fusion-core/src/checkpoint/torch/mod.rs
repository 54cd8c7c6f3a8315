//! Reads PyTorch's zip archives without PyTorch and without executing anything: the pickle is interpreted by a closed
//! machine that knows how tensors are written and nothing else, and storages are mapped where they lie.
//!
//! Format: `torch/serialization.py` (`_save`, `_load`) and `torch/_utils.py` of PyTorch 2.x.

mod archive;
mod call;
mod globals;
mod machine;
mod state;
mod value;

use std::path::Path;

use super::CheckpointError;
use super::source::{Found, Skipped};
pub(crate) use archive::inflate;

/// What one archive holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) tensors: Vec<Found>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Reads the directory and the pickle of an archive; storages are not touched.
pub(crate) fn read_archive(path: &Path, bytes: &[u8]) -> Result<Contents, CheckpointError> {
    let archive = archive::Archive::open(path, bytes)?;
    let pickle = archive.pickle()?;
    let (arena, root) = machine::Machine::run(path, &pickle)?;
    drop(pickle);
    let selected = state::select(path, &arena, root)?;
    let mut tensors = Vec::with_capacity(selected.tensors.len());
    for (name, tensor) in selected.tensors {
        tensors.push(archive.locate(name, &arena, tensor)?);
    }
    Ok(Contents { tensors, skipped: selected.skipped })
}

/// Whether these are the first bytes of a pickle outside of an archive.
pub(crate) fn looks_like_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 1..=5, ..])
}
