//! Results too large for memory, in a file that is removed as soon as it is open: however the process ends, nothing is left.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::RunError;
use crate::checkpoint::Map;

/// Tells files of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A nameless file with room for some tensors of f32.
pub(super) struct Spill {
    file: File,
    /// Where it was.
    path: PathBuf,
    /// First byte and bytes of each tensor.
    places: Vec<(u64, usize)>,
}

/// A tensor in a mapped spill.
pub(super) struct Spilled {
    map: Arc<Map>,
    start: usize,
    len: usize,
}

impl Spilled {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map.bytes()[self.start..self.start + self.len]
    }
}

impl Spill {
    /// Makes a file in `folder` for tensors of these lengths.
    pub(super) fn new(folder: &Path, lengths: &[usize]) -> Result<Self, RunError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".fusion-spill-{}-{number}", std::process::id()));
        let failed =
            |error: std::io::Error| RunError::Spill { path: path.clone(), reason: error.to_string() };
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        let mut places = Vec::with_capacity(lengths.len());
        let mut end = 0;
        for length in lengths {
            let bytes = length * size_of::<f32>();
            places.push((end, bytes));
            end += bytes as u64;
        }
        // Room is taken now: a full disk is told here, and not by a signal when the map is read.
        if end > 0 {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, end)
                .or_else(|error| match error {
                    rustix::io::Errno::OPNOTSUPP => rustix::fs::ftruncate(&file, end),
                    other => Err(other),
                })
                .map_err(|error| failed(error.into()))?;
        }
        Ok(Spill { file, path, places })
    }

    /// Writes a tensor.
    pub(super) fn write(&self, index: usize, data: &[f32]) -> Result<(), RunError> {
        self.file
            .write_all_at(bytemuck::cast_slice(data), self.places[index].0)
            .map_err(|error| RunError::Spill { path: self.path.clone(), reason: error.to_string() })
    }

    /// All tensors, mapped.
    pub(super) fn read(self) -> Result<Vec<Spilled>, RunError> {
        let map = Arc::new(Map::of(&self.file, &self.path)?);
        Ok(self
            .places
            .iter()
            .map(|&(start, len)| Spilled { map: map.clone(), start: start as usize, len })
            .collect())
    }
}
