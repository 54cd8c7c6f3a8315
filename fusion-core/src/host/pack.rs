//! Writes bundles: `pack` makes one from a loaded library, `install` copies one to where plugins are looked for. Both build a hidden
//! folder beside the target and move it into place, so that a bundle is there whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::manifest::{Bundle, MANIFEST, Manifest, ManifestError, ManifestLibrary, TARGET, hash_file};
use super::{HostError, load};

/// Files beside the manifest that a bundle may have.
const TEXTS: [&str; 2] = ["README.md", "LICENSE"];

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The library cannot be loaded.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A bundle's manifest or library is not as it should be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What the library says of itself cannot stand in a manifest.
    #[error("`{}` {reason}", .path.display())]
    Unfit {
        /// The library.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The bundle has libraries for other systems, which the new one does not describe.
    #[error("`{}` has libraries of another build for {others}: {reason}", .folder.display())]
    OtherBuild {
        /// The bundle.
        folder: PathBuf,
        /// Their targets.
        others: String,
        /// The first difference.
        reason: String,
    },
    /// Another build of the same version is installed.
    #[error("`{}` is another build of the same version", .folder.display())]
    Exists {
        /// The bundle.
        folder: PathBuf,
    },
    /// The file system.
    #[error("`{}` cannot be {doing}: {error}", .path.display())]
    Io {
        /// What was tried: `read`, `written`.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// What was done with a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// The bundle as it is now.
    pub bundle: Bundle,
    /// What was there before.
    pub before: Before,
}

/// What stood in a bundle's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// The same: nothing was written.
    Same,
    /// Something else, which is gone or was added to.
    Other,
}

fn place<T>(result: io::Result<T>, doing: &'static str, path: &Path) -> Result<T, PackError> {
    result.map_err(|error| PackError::Io { doing, path: path.to_owned(), error })
}

/// Loads a library, which runs its code, and writes or updates the bundle that describes it in the folder `out`.
///
/// Libraries for other systems in a bundle of the same version stay, as long as the new library describes the same plugin. `readme` and
/// `license` replace the texts of the bundle where they are given.
///
/// # Errors
/// See [`PackError`].
pub fn pack(
    library: &Path,
    out: &Path,
    readme: Option<&Path>,
    license: Option<&Path>,
) -> Result<Packed, PackError> {
    let unfit = |reason: String| PackError::Unfit { path: library.to_owned(), reason };
    let plugin = load(library)?;
    let mut manifest = Manifest::of(&plugin);
    let version = manifest.check().map_err(unfit)?;
    let folder = out.join(format!("{}-{}", manifest.id, manifest.version));
    let before = match folder.join(MANIFEST).exists() {
        true => Some(Bundle::open(&folder)?),
        false => None,
    };
    if let Some(before) = &before {
        let others: Vec<&str> =
            before.manifest.libraries.keys().map(String::as_str).filter(|target| *target != TARGET).collect();
        if !others.is_empty()
            && let Some(reason) = before.manifest.differs(&manifest)
        {
            let others = fusion_dsl::suggest::list(others, 4);
            return Err(PackError::OtherBuild { folder, others, reason });
        }
    }
    let stage = Stage::new(&folder)?;
    if let Some(before) = &before {
        for (target, other) in before.manifest.libraries.iter().filter(|(target, _)| *target != TARGET) {
            before.intact(target)?;
            stage.copy(&before.folder.join(&other.file), &other.file)?;
            manifest.libraries.insert(target.clone(), other.clone());
        }
    }
    for (name, given) in TEXTS.into_iter().zip([readme, license]) {
        let old = before.as_ref().map(|before| before.folder.join(name)).filter(|old| old.is_file());
        if let Some(text) = given.map(Path::to_owned).or(old) {
            stage.copy(&text, name)?;
        }
    }
    let file = format!("{TARGET}/plugin.{}", std::env::consts::DLL_EXTENSION);
    let copy = stage.copy(library, &file)?;
    let bytes = place(fs::metadata(&copy), "read", &copy)?.len();
    let blake3 = place(hash_file(&copy), "read", &copy)?;
    manifest.libraries.insert(TARGET.to_owned(), ManifestLibrary { file, blake3, bytes });
    let text = manifest.text();
    // What is written must be readable: texts of a plugin may hold what a manifest may not.
    Manifest::parse(text.as_bytes()).map_err(unfit)?;
    stage.write(MANIFEST, text.as_bytes())?;
    let had = folder.exists();
    stage.commit()?;
    let before = if had { Before::Other } else { Before::Nothing };
    Ok(Packed { bundle: Bundle { folder, manifest, version }, before })
}

/// Copies a bundle into the folder `place`: its manifest, its libraries and its texts, and nothing else that lies there.
///
/// # Errors
/// See [`PackError`]; [`PackError::Exists`] unless `replace`.
pub fn install(source: &Path, to: &Path, replace: bool) -> Result<Packed, PackError> {
    let bundle = Bundle::open(source)?;
    for target in bundle.manifest.libraries.keys() {
        bundle.intact(target)?;
    }
    let folder = to.join(bundle.name());
    let had = fs::symlink_metadata(&folder).is_ok();
    if had {
        let same = Bundle::open(&folder).is_ok_and(|old| {
            old.manifest == bundle.manifest
                && old.manifest.libraries.keys().all(|target| old.intact(target).is_ok())
        });
        if same {
            return Ok(Packed { bundle: Bundle { folder, ..bundle }, before: Before::Same });
        }
        if !replace {
            return Err(PackError::Exists { folder });
        }
    }
    let stage = Stage::new(&folder)?;
    for library in bundle.manifest.libraries.values() {
        stage.copy(&source.join(&library.file), &library.file)?;
    }
    for name in TEXTS {
        let text = source.join(name);
        if text.is_file() {
            stage.copy(&text, name)?;
        }
    }
    stage.write(MANIFEST, bundle.manifest.text().as_bytes())?;
    // What was copied may have changed since it was hashed.
    let copied = Bundle { folder: stage.folder.clone(), ..bundle.clone() };
    for target in bundle.manifest.libraries.keys() {
        copied.intact(target)?;
    }
    stage.commit()?;
    let before = if had { Before::Other } else { Before::Nothing };
    Ok(Packed { bundle: Bundle { folder, ..bundle }, before })
}

/// Packs a library, which runs its code, and installs the bundle as [`install`] does.
///
/// # Errors
/// See [`PackError`].
pub fn install_library(library: &Path, to: &Path, replace: bool) -> Result<Packed, PackError> {
    let stage = Stage::new(&to.join("library"))?;
    let packed = pack(library, &stage.folder, None, None)?;
    install(&packed.bundle.folder, to, replace)
}

/// A hidden folder that becomes the target, or goes away.
struct Stage {
    folder: PathBuf,
    target: PathBuf,
}

impl Stage {
    fn new(target: &Path) -> Result<Stage, PackError> {
        let parent =
            target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        place(fs::create_dir_all(parent), "made", parent)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = parent.join(format!(".{name}.{}.tmp", std::process::id()));
        if folder.exists() {
            // Of a process that had our number and was killed.
            place(fs::remove_dir_all(&folder), "removed", &folder)?;
        }
        place(fs::create_dir(&folder), "made", &folder)?;
        Ok(Stage { folder, target: target.to_owned() })
    }

    fn prepare(&self, file: &str) -> Result<PathBuf, PackError> {
        let path = self.folder.join(file);
        if let Some(parent) = path.parent() {
            place(fs::create_dir_all(parent), "made", parent)?;
        }
        Ok(path)
    }

    fn copy(&self, from: &Path, file: &str) -> Result<PathBuf, PackError> {
        let path = self.prepare(file)?;
        place(File::open(from), "read", from)?;
        place(fs::copy(from, &path).and_then(|_| File::open(&path)?.sync_all()), "written", &path)?;
        Ok(path)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), PackError> {
        let path = self.prepare(file)?;
        place(fs::write(&path, bytes).and_then(|()| File::open(&path)?.sync_all()), "written", &path)
    }

    /// Moves the folder to the target. What is there is swapped out and removed.
    fn commit(self) -> Result<(), PackError> {
        let (folder, target) = (&self.folder, &self.target);
        if fs::symlink_metadata(target).is_err() {
            return place(fs::rename(folder, target), "written", target);
        }
        match renameat_with(CWD, folder, CWD, target, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            // File systems without the swap get two renames.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let old = folder.with_extension("old");
                place(fs::rename(target, &old), "replaced", target)?;
                place(fs::rename(folder, target), "written", target)?;
                place(fs::rename(&old, folder), "replaced", target)?;
            }
            Err(error) => return place(Err(error.into()), "replaced", target),
        }
        // The drop removes what is now the old one.
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Ok(meta) = fs::symlink_metadata(&self.folder) {
            // There is nobody to tell, and hidden folders are not looked at.
            let _ =
                if meta.is_dir() { fs::remove_dir_all(&self.folder) } else { fs::remove_file(&self.folder) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::{bundle, manifest};
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn bundles_are_installed_whole_and_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let source = bundle(&from, manifest("org.a", "1.0.0"), TARGET, "one");
        fs::write(source.join("README.md"), "read me").unwrap();
        fs::write(source.join("secret"), "stays here").unwrap();
        let first = install(&source, &to, false).unwrap();
        assert_eq!((first.before, first.bundle.folder.clone()), (Before::Nothing, to.join("org.a-1.0.0")));
        assert_eq!(names(&first.bundle.folder), ["README.md", MANIFEST, TARGET]);
        assert_eq!(install(&source, &to, false).unwrap().before, Before::Same);
        let other = bundle(&from, manifest("org.a", "1.0.0"), TARGET, "two");
        assert!(matches!(install(&other, &to, false), Err(PackError::Exists { .. })));
        assert_eq!(Bundle::open(&to.join("org.a-1.0.0")).unwrap(), first.bundle);
        let second = install(&other, &to, true).unwrap();
        assert_eq!(second.before, Before::Other);
        assert_eq!(fs::read_to_string(second.bundle.library(TARGET).unwrap()).unwrap(), "two");
        assert_eq!(names(&to), ["org.a-1.0.0"], "nothing is left beside it");
        // A damaged copy is not the same.
        fs::write(second.bundle.library(TARGET).unwrap(), "tampered").unwrap();
        assert!(matches!(install(&other, &to, false), Err(PackError::Exists { .. })));
        // A damaged source is not installed.
        fs::write(other.join(TARGET).join("plugin.so"), "tampered").unwrap();
        assert!(matches!(install(&other, &to, true), Err(PackError::Manifest(_))));
        assert_eq!(names(&to), ["org.a-1.0.0"]);
    }
}
