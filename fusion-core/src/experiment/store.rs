//! Results of steps on disk, a folder for each key, there as a whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::results::Result as StepResult;

/// The file that makes a folder complete.
const RESULT: &str = "result.json";

/// The store.
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in a folder, which need not be there yet.
    pub(crate) fn new(root: &Path) -> Store {
        Store { root: root.to_owned() }
    }

    /// The folder of all results.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Tries whether a result can be kept: makes the folder if need be, and a file in it for a moment.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn tried(&self, key: &str) -> io::Result<()> {
        if self.root.exists() && !self.root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no folder"));
        }
        fs::create_dir_all(&self.root)?;
        let name = format!("{}.{}.tried", &key[..key.len().min(32)], std::process::id());
        let file = self.root.join(name);
        fs::write(&file, b"fusion")?;
        fs::remove_file(&file)
    }

    /// Where the result of a key is, or will be.
    pub(crate) fn folder(&self, key: &str) -> PathBuf {
        self.root.join(&key[..key.len().min(32)])
    }

    /// Where a step of this key keeps what it needs to go on after a kill.
    pub(crate) fn unfinished(&self, key: &str) -> PathBuf {
        self.root.join(format!("{}.unfinished", &key[..key.len().min(32)]))
    }

    /// Whether a result is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.folder(key).join(RESULT).is_file()
    }

    /// A result.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub(crate) fn read(&self, key: &str) -> io::Result<StepResult> {
        let text = fs::read(self.folder(key).join(RESULT))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    /// Writes a result with its files: `fill` gets a temporary folder, which is put in place once all is in it.
    ///
    /// # Errors
    /// The file system's, or those of `fill`.
    pub(crate) fn write(
        &self,
        key: &str,
        result: &StepResult,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let folder = self.folder(key);
        let temporary = self.root.join(format!("{}.{}.tmp", &key[..key.len().min(32)], std::process::id()));
        let filled = (|| {
            if temporary.exists() {
                fs::remove_dir_all(&temporary)?;
            }
            fs::create_dir(&temporary)?;
            fill(&temporary)?;
            fs::write(temporary.join(RESULT), serde_json::to_vec_pretty(result)?)?;
            for entry in fs::read_dir(&temporary)? {
                fs::File::open(entry?.path())?.sync_all()?;
            }
            if folder.exists() {
                fs::remove_dir_all(&folder)?; // damaged, or another process was faster with the same
            }
            fs::rename(&temporary, &folder)
        })();
        if filled.is_err() {
            let _ = fs::remove_dir_all(&temporary);
        } else {
            let _ = fs::remove_dir_all(self.unfinished(key));
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_cannot_be_is_found_before_there_is_a_result() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("cache/stages");
        Store::new(&place).tried("01").unwrap();
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
        let taken = folder.path().join("file");
        fs::write(&taken, "x").unwrap();
        assert!(Store::new(&taken).tried("01").is_err());
        assert!(Store::new(&taken.join("stages")).tried("01").is_err());
        assert_eq!(fs::read_to_string(&taken).unwrap(), "x");
    }

    #[test]
    fn a_result_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("stages"));
        let key = "0123456789abcdef0123456789abcdef0123456789abcdef";
        assert!(!store.has(key) && store.read(key).is_err());
        let result = StepResult { cost: "little".into(), ..StepResult::default() };
        let failed = store.write(key, &result, |_| Err(io::Error::other("full")));
        assert!(failed.is_err() && !store.has(key));
        assert_eq!(fs::read_dir(folder.path().join("stages")).unwrap().count(), 0);
        store.write(key, &result, |to| fs::write(to.join("model"), b"x")).unwrap();
        assert!(store.has(key));
        assert_eq!(store.read(key).unwrap(), result);
        store.write(key, &result, |_| Ok(())).unwrap();
        assert!(!store.folder(key).join("model").exists());
    }
}
