//! What the world outside lends to a data set: folders to look in, and someone who watches.

use std::path::{Path, PathBuf};

/// Where data are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Folders that hold named sets, in order: `mnist` is looked for as `FOLDER/mnist/…` in each.
    pub folders: Vec<PathBuf>,
    /// What relative paths are relative to: the recipe's folder.
    pub root: PathBuf,
}

impl Places {
    /// A path of a recipe; absolute ones stay as they are.
    #[must_use]
    pub fn path(&self, given: &str) -> PathBuf {
        self.root.join(Path::new(given))
    }
}

/// Someone who watches slow work and can end it. Called from several threads.
pub trait Watch: Sync {
    /// `done` of `total` units (examples, or bytes of a download; 0 where the total is not known) of what `note` says.
    fn progress(&self, done: u64, total: u64, note: &str);

    /// Whether to stop; then the work ends soon with [`DataError::Cancelled`](crate::DataError::Cancelled).
    fn cancelled(&self) -> bool;
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _done: u64, _total: u64, _note: &str) {}

    fn cancelled(&self) -> bool {
        false
    }
}
