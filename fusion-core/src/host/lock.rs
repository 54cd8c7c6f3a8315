//! The lock file: which plugins a recipe's folder has agreed to load, by version and hash. Without an entry nothing is loaded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use fusion_dsl::codes::Code;
use fusion_dsl::world::PluginFault;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::manifest::{Bundle, ManifestError, TARGET, is_id, short};

/// The file's name, beside the recipe.
pub const LOCK: &str = "fusion.lock";

/// The version of the file's form.
const FORMAT: u32 = 1;

/// Longest lock file that is read.
const LARGEST: u64 = 4 << 20;

/// What stands in `fusion.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    /// By plugin id.
    pub plugins: BTreeMap<String, Locked>,
}

/// One plugin of a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Its version.
    pub version: Version,
    /// By target triple: the library's BLAKE3 hash.
    pub libraries: BTreeMap<String, String>,
}

/// What is known of a plugin that passed the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The plugin.
    pub id: String,
    /// What was locked.
    pub before: Option<Locked>,
    /// What is locked now.
    pub after: Locked,
}

impl Default for Lock {
    fn default() -> Self {
        Lock { format: FORMAT, plugins: BTreeMap::new() }
    }
}

impl Lock {
    /// Reads a lock file; a missing one is empty.
    ///
    /// # Errors
    /// What is wrong with it, to be read after its name.
    pub fn read(path: &Path) -> Result<Lock, String> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
            other => other.map_err(|error| format!("cannot be read: {error}"))?,
        };
        let mut text = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
        if text.len() as u64 > LARGEST {
            return Err(format!("is longer than {} MiB", LARGEST >> 20));
        }
        let lock: Lock =
            serde_json::from_slice(&text).map_err(|error| format!("is no lock file: {error}"))?;
        if lock.format != FORMAT {
            return Err(format!("is of format {}, this fusion reads format {FORMAT}", lock.format));
        }
        // What is shown later must not steer a terminal.
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        for (id, locked) in &lock.plugins {
            if !is_id(id) {
                return Err("names a plugin that is no lower-case domain name".to_owned());
            }
            if !locked
                .libraries
                .iter()
                .flat_map(|(target, hash)| [target, hash])
                .all(|text| text.chars().all(plain))
            {
                return Err(format!("has a broken entry for `{id}`"));
            }
        }
        Ok(lock)
    }

    /// Writes it beside the old one and moves it into place, so that nobody ever reads half of it.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = folder.join(format!(".{LOCK}.{}.tmp", std::process::id()));
        let written = File::create(&beside)
            .and_then(|mut file| file.write_all(self.text().as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// The file's text: sorted, so that it changes only where its content does.
    pub fn text(&self) -> String {
        // Only string keys: serde_json cannot fail on it.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Locks a bundle, with every library that it has; says what changes.
    ///
    /// # Errors
    /// A library cannot be read, or is not the one that the manifest names.
    pub fn add(&mut self, bundle: &Bundle) -> Result<Change, ManifestError> {
        let mut libraries = BTreeMap::new();
        for target in bundle.manifest.libraries.keys() {
            libraries.insert(target.clone(), bundle.intact(target)?);
        }
        let id = bundle.manifest.id.clone();
        let after = Locked { version: bundle.version.clone(), libraries };
        let before = self.plugins.insert(id.clone(), after.clone());
        Ok(Change { id, before, after })
    }

    /// Whether a bundle whose library for this system has the hash `found` may be loaded. `recipe` is its name for the help.
    ///
    /// # Errors
    /// F0708: no entry; F0704: another version or hash.
    pub fn allows(&self, bundle: &Bundle, found: &str, recipe: &str) -> Result<(), PluginFault> {
        let id = &bundle.manifest.id;
        let trust = format!("if you trust it, run `fusion lock {recipe}`");
        let Some(locked) = self.plugins.get(id) else {
            return Err(PluginFault::new(Code::PluginNotLocked, format!("the plugin `{id}` is not locked"))
                .note(format!("found {} in {}", bundle.version, bundle.folder.display()))
                .help(trust));
        };
        let accept =
            format!("if you know of the change, run `fusion lock {recipe}`; if not, install it afresh");
        if locked.version != bundle.version {
            let hash = locked.libraries.get(TARGET).map_or("no library for this system", |hash| short(hash));
            return Err(PluginFault::new(
                Code::PluginHash,
                format!("the plugin `{id}` is locked at {}, and found is {}", locked.version, bundle.version),
            )
            .note(format!("locked: {hash}, found: {} in {}", short(found), bundle.folder.display()))
            .help(accept));
        }
        match locked.libraries.get(TARGET) {
            None => Err(PluginFault::new(
                Code::PluginNotLocked,
                format!("the plugin `{id}` {} is not locked for `{TARGET}`", locked.version),
            )
            .help(trust)),
            Some(hash) if hash != found => {
                let library = bundle.library(TARGET).unwrap_or_else(|| bundle.folder.clone());
                Err(PluginFault::new(
                    Code::PluginHash,
                    format!("the library of `{id}` {} is not the locked one", bundle.version),
                )
                .note(format!("locked: {}…, found: {}… in {}", short(hash), short(found), library.display()))
                .help(accept))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Change {
    /// Whether anything is different.
    pub fn is_change(&self) -> bool {
        self.before.as_ref() != Some(&self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::{bundle, manifest};
    use super::*;

    #[test]
    fn what_is_locked_is_allowed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let open = |version: &str, text: &str| {
            Bundle::open(&bundle(folder.path(), manifest("org.a", version), TARGET, text)).unwrap()
        };
        let old = open("1.0.0", "one");
        let hash = old.intact(TARGET).unwrap();
        let mut lock = Lock::default();
        let code = |lock: &Lock, bundle: &Bundle, hash: &str| {
            lock.allows(bundle, hash, "r.fusion").map_err(|fault| fault.code)
        };
        assert_eq!(code(&lock, &old, &hash), Err(Code::PluginNotLocked));
        let change = lock.add(&old).unwrap();
        assert!(change.is_change() && change.before.is_none());
        assert!(!lock.add(&old).unwrap().is_change());
        assert_eq!(code(&lock, &old, &hash), Ok(()));
        assert_eq!(code(&lock, &old, &"0".repeat(64)), Err(Code::PluginHash));
        let fault = lock.allows(&old, &"0".repeat(64), "r.fusion").unwrap_err();
        assert!(fault.notes[0].contains(&hash[..12]) && fault.notes[0].contains("000000000000"), "{fault:?}");
        let new = open("1.1.0", "two");
        assert_eq!(code(&lock, &new, &new.intact(TARGET).unwrap()), Err(Code::PluginHash));
        let mut elsewhere = lock.clone();
        elsewhere.plugins.get_mut("org.a").unwrap().libraries =
            BTreeMap::from([("wasm32".into(), hash.clone())]);
        assert_eq!(code(&elsewhere, &old, &hash), Err(Code::PluginNotLocked));
        // A library that is not the manifest's is not locked.
        std::fs::write(old.library(TARGET).unwrap(), "tampered").unwrap();
        assert!(lock.add(&old).is_err());
    }

    #[test]
    fn the_file_is_sorted_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        assert_eq!(Lock::read(&path), Ok(Lock::default()));
        let mut lock = Lock::default();
        for id in ["org.b", "org.a"] {
            let locked = Locked {
                version: Version::new(1, 0, 0),
                libraries: BTreeMap::from([("b".into(), "1".into()), ("a".into(), "2".into())]),
            };
            lock.plugins.insert(id.into(), locked);
        }
        lock.write(&path).unwrap();
        assert_eq!(Lock::read(&path).as_ref(), Ok(&lock));
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @r#"
        {
          "format": 1,
          "plugins": {
            "org.a": {
              "version": "1.0.0",
              "libraries": {
                "a": "2",
                "b": "1"
              }
            },
            "org.b": {
              "version": "1.0.0",
              "libraries": {
                "a": "2",
                "b": "1"
              }
            }
          }
        }
        "#);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        for (text, said) in [
            ("", "is no lock file"),
            ("{\"format\": 2, \"plugins\": {}}", "is of format 2"),
            ("{\"format\": 1, \"plugins\": {}, \"x\": 1}", "unknown field"),
            (
                "{\"format\": 1, \"plugins\": {\"../x\": {\"version\": \"1.0.0\", \"libraries\": {}}}}",
                "domain name",
            ),
            (
                "{\"format\": 1, \"plugins\": {\"x\": {\"version\": \"1.0.0\", \"libraries\": {\"a\": \"\\u001b\"}}}}",
                "broken entry",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Lock::read(&path).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
