//! Decides whether a path can be a target and where its hidden folder goes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Place;
use super::{RECORD, WriteError};

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Hugging Face folder with shards and files beside them.
    Folder(PathBuf),
    /// One `*.safetensors` file: a single shard and nothing beside it.
    File(PathBuf),
}

impl Target {
    /// The path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::File(path) => path,
        }
    }
}

/// A resolved target.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    /// The target without a link at its end.
    pub(super) path: PathBuf,
    /// The folder that holds it.
    pub(super) parent: PathBuf,
    /// The hidden folder next to it.
    pub(super) part: PathBuf,
    /// Whether one file is written rather than a folder.
    pub(super) single: bool,
}

impl Goal {
    pub(super) fn resolve(target: &Target) -> Result<Self, WriteError> {
        let given = target.path();
        let refuse = |reason: &str| WriteError::Target { path: given.to_owned(), reason: reason.to_owned() };
        let single = matches!(target, Target::File(_));
        if single && given.extension() != Some(OsStr::new("safetensors")) {
            return Err(refuse("a single file must be named `*.safetensors`"));
        }
        // A link stays a link: what it points to is replaced, and the hidden folder must be on that file system.
        let path = match fs::symlink_metadata(given) {
            Ok(met) if met.is_symlink() => {
                fs::canonicalize(given).map_err(|_| refuse("it is a link to nothing"))?
            }
            _ => given.to_owned(),
        };
        let name = path.file_name().ok_or_else(|| refuse("the path must end with a name"))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut part = OsString::from(".");
        part.push(name);
        part.push(".fusion-part");
        let part = parent.join(part);
        Ok(Self { path, parent, part, single })
    }

    /// The folder that becomes the target, or holds the file that does.
    pub(super) fn fresh(&self) -> PathBuf {
        self.part.join("new")
    }

    /// Where the old target waits on file systems that cannot swap.
    pub(super) fn old(&self) -> PathBuf {
        self.part.join("old")
    }

    /// Whether something that counts is at the target: an empty folder does not.
    pub(super) fn occupied(&self) -> Result<bool, WriteError> {
        let met = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(self.blocked());
            }
            other => other.place("read", &self.path)?,
        };
        if self.single {
            if met.is_dir() {
                return Err(WriteError::NotAFile { path: self.path.clone() });
            }
            if !met.is_file() {
                let reason = "it is not a regular file".to_owned();
                return Err(WriteError::Target { path: self.path.clone(), reason });
            }
            return Ok(true);
        }
        if !met.is_dir() {
            return Err(WriteError::NotAFolder { path: self.path.clone() });
        }
        if fs::metadata(&self.parent).is_ok_and(|parent| parent.dev() != met.dev()) {
            let reason =
                "it is a mount point, which cannot be replaced: save to a folder inside it".to_owned();
            return Err(WriteError::Target { path: self.path.clone(), reason });
        }
        Ok(fs::read_dir(&self.path).place("read", &self.path)?.next().is_some())
    }

    /// Checks that the target may be written, or replaced.
    pub(super) fn check(&self, overwrite: bool) -> Result<(), WriteError> {
        if !self.occupied()? {
            return Ok(());
        }
        if !overwrite {
            return Err(WriteError::Exists { path: self.path.clone() });
        }
        // A slip in a recipe's path must not cost someone a folder full of other things.
        if self.single || self.looks_like_a_checkpoint()? {
            Ok(())
        } else {
            Err(WriteError::NotACheckpoint { path: self.path.clone() })
        }
    }

    fn looks_like_a_checkpoint(&self) -> Result<bool, WriteError> {
        for entry in fs::read_dir(&self.path).place("read", &self.path)? {
            let name = entry.place("read", &self.path)?.file_name();
            let path = Path::new(&name);
            if name == RECORD || name == "config.json" || path.extension() == Some(OsStr::new("safetensors"))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Creates the folders above the target; returns those that were missing, outermost first.
    pub(super) fn create_parents(&self) -> Result<Vec<PathBuf>, WriteError> {
        let missing: Vec<PathBuf> = self
            .parent
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .map(Path::to_owned)
            .collect();
        let mut made = Vec::new();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(&folder) {
                Ok(()) => made.push(folder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    remove_empty(&made);
                    return Err(match error.kind() {
                        io::ErrorKind::NotADirectory => self.blocked(),
                        _ => WriteError::io("create", &folder, 0, error),
                    });
                }
            }
        }
        if self.parent.is_dir() { Ok(made) } else { Err(self.blocked()) }
    }

    /// A file has the place of a folder somewhere above the target.
    fn blocked(&self) -> WriteError {
        let file = self.path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(&self.parent);
        WriteError::NotAFolder { path: file.to_owned() }
    }
}

/// Removes folders that were made for nothing; one that is no longer empty stays.
pub(super) fn remove_empty(folders: &[PathBuf]) {
    for folder in folders.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
}
