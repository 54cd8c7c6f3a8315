//! The manifest of a plugin's bundle: all that can be known of a plugin without running its code, so that recipes are checked and planned
//! on it alone.
//!
//! A bundle is a folder `<id>-<version>/` with `plugin.json` and one library for each target, `<target>/plugin.so`. The manifest is
//! written from a loaded library ([`super::pack`]) and believed no further than it can be checked: it may come from anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use fusion_abi::{FUSION_ABI_MAJOR, FUSION_ABI_MINOR};
use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::{KernelClass, MethodDescriptor};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Plugin;
use super::services::SERVICES;
use crate::method::describe::descriptor;

/// The manifest's name in a bundle.
pub const MANIFEST: &str = "plugin.json";

/// The version of the manifest's form that this fusion writes and reads.
const FORMAT: u32 = 1;

/// Longest manifest that is read.
const LARGEST: u64 = 16 << 20;

/// Most methods and libraries of a bundle: more is no plugin.
const MANY: usize = 1000;

/// The target triple of this build, as Rust names it, put together from what the compiler tells. On a system that is not in the list it
/// is the processor's name alone; bundles packed there are found there.
pub const TARGET: &str = if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
    "x86_64-unknown-linux-gnu"
} else if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "musl")) {
    "x86_64-unknown-linux-musl"
} else if cfg!(all(target_arch = "aarch64", target_os = "linux", target_env = "gnu")) {
    "aarch64-unknown-linux-gnu"
} else if cfg!(all(target_arch = "aarch64", target_os = "linux", target_env = "musl")) {
    "aarch64-unknown-linux-musl"
} else if cfg!(all(target_arch = "riscv64", target_os = "linux", target_env = "gnu")) {
    "riscv64gc-unknown-linux-gnu"
} else if cfg!(all(target_arch = "aarch64", target_os = "macos")) {
    "aarch64-apple-darwin"
} else if cfg!(all(target_arch = "x86_64", target_os = "macos")) {
    "x86_64-apple-darwin"
} else if cfg!(all(target_arch = "x86_64", target_os = "freebsd")) {
    "x86_64-unknown-freebsd"
} else {
    std::env::consts::ARCH
};

/// What stands in `plugin.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form: 1.
    pub format: u32,
    /// Reverse domain name in lower case.
    pub id: String,
    /// Version of the plugin (semver).
    pub version: String,
    /// SPDX expression.
    pub license: String,
    /// What it was built with.
    pub build_info: String,
    /// The contract that it was built for.
    pub abi: ManifestAbi,
    /// Services without which it cannot run.
    pub services: Vec<String>,
    /// Its methods, named without the plugin's id.
    pub methods: Vec<MethodDescriptor>,
    /// Its libraries by target triple.
    pub libraries: BTreeMap<String, ManifestLibrary>,
}

/// Versions of the contract between fusion and plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestAbi {
    /// Major version.
    pub major: u32,
    /// Minor version of the header that it was built with: shown, never compared.
    pub built_minor: u32,
    /// The lowest minor version that it can run on.
    pub needs_minor: u32,
}

/// One library of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestLibrary {
    /// Path in the bundle, with `/`.
    pub file: String,
    /// BLAKE3 of the file, 64 hexadecimal digits.
    pub blake3: String,
    /// Its size.
    pub bytes: u64,
}

/// A bundle that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {reason}", .path.display())]
pub struct ManifestError {
    /// The manifest or library.
    pub path: PathBuf,
    /// What is wrong with it, to be read after its name.
    pub reason: String,
}

impl ManifestError {
    pub(super) fn new(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        ManifestError { path: path.into(), reason: reason.into() }
    }
}

/// A bundle whose manifest has been read and checked. Its libraries have not been looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// [`Manifest::version`].
    pub version: Version,
}

/// Whether a text can be a plugin's id: lower-case words, digits, `-` and `_`, joined by single dots.
pub fn is_id(id: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    };
    id.len() <= 128 && id.split('.').all(word)
}

/// Whether a text can be the name of a method, port or parameter.
fn is_word(word: &str) -> bool {
    word.len() <= 128
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl Manifest {
    /// What a loaded plugin says of itself, without libraries.
    pub fn of(plugin: &Plugin) -> Manifest {
        Manifest {
            format: FORMAT,
            id: plugin.id.clone(),
            version: plugin.version.clone(),
            license: plugin.license.clone(),
            build_info: plugin.build_info.clone(),
            abi: ManifestAbi {
                major: plugin.built.0,
                built_minor: plugin.built.1,
                needs_minor: plugin.needs_minor,
            },
            services: plugin.services.clone(),
            methods: plugin.methods.iter().map(|method| descriptor(&method.describe())).collect(),
            libraries: BTreeMap::new(),
        }
    }

    /// Reads a manifest's text. The error is to be read after the file's name.
    pub fn parse(text: &[u8]) -> Result<(Manifest, Version), String> {
        let json: Json = serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
        // Before the fields: a later form may have others.
        match json.get("format").and_then(Json::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(format!("is of format {format}, this fusion reads format {FORMAT}")),
            None => return Err("does not say its `format`".to_owned()),
        }
        printable(&json)?;
        let manifest: Manifest =
            serde_json::from_value(json).map_err(|error| format!("is no manifest: {error}"))?;
        let version = manifest.check()?;
        Ok((manifest, version))
    }

    /// Whether everything in it is as the contract asks. The error is to be read after the file's name.
    pub fn check(&self) -> Result<Version, String> {
        if !is_id(&self.id) {
            return Err(format!("has the id `{}`, which is no lower-case domain name", self.id));
        }
        let version = Version::parse(&self.version).map_err(|error| {
            format!("has the version `{}`, which is not like `1.2.3`: {error}", self.version)
        })?;
        if self.version.len() > 64 {
            return Err("has a version of more than 64 letters".to_owned());
        }
        if self.methods.is_empty() || self.methods.len() > MANY {
            return Err(format!("has {} methods", self.methods.len()));
        }
        let mut ids = BTreeSet::new();
        for method in &self.methods {
            check_method(method)
                .map_err(|what| format!("describes the method `{}` wrongly: {what}", method.id))?;
            if !ids.insert(&method.id) {
                return Err(format!("has two methods `{}`", method.id));
            }
        }
        if self.libraries.len() > MANY {
            return Err(format!("has {} libraries", self.libraries.len()));
        }
        for (target, library) in &self.libraries {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            if target.is_empty() || target.starts_with('.') || !target.chars().all(plain) {
                return Err(format!("has a library for `{target}`, which is no target"));
            }
            if !is_inside(&library.file) {
                return Err(format!(
                    "names the library `{}`, which is no path inside of the bundle",
                    library.file
                ));
            }
            if library.blake3.len() != 64
                || !library.blake3.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
            {
                return Err(format!("has no BLAKE3 hash for `{}`", library.file));
            }
        }
        Ok(version)
    }

    /// Why this fusion cannot run the plugin, as far as the manifest tells.
    pub fn incompatible(&self) -> Option<(Code, String)> {
        let ManifestAbi { major, needs_minor, .. } = self.abi;
        if major != FUSION_ABI_MAJOR {
            let reason = format!(
                "was built for version {major} of the plugin contract, this fusion speaks version {FUSION_ABI_MAJOR}"
            );
            return Some((Code::PluginIncompatible, reason));
        }
        if needs_minor > FUSION_ABI_MINOR {
            let reason = format!(
                "needs version {major}.{needs_minor} of the plugin contract, this fusion has {FUSION_ABI_MAJOR}.{FUSION_ABI_MINOR}"
            );
            return Some((Code::PluginTooNew, reason));
        }
        let missing = self.services.iter().find(|service| !SERVICES.contains(&service.as_str()))?;
        Some((
            Code::PluginService,
            format!("needs the service `{missing}`, which this fusion does not offer"),
        ))
    }

    /// Its methods as recipes know them: named `plugin-id.method`.
    pub fn qualified(&self) -> impl Iterator<Item = MethodDescriptor> + '_ {
        self.methods
            .iter()
            .map(|method| MethodDescriptor { id: format!("{}.{}", self.id, method.id), ..method.clone() })
    }

    /// Why a library does not say what this manifest says, where it does not; to be read after the file's name.
    pub fn differs(&self, loaded: &Manifest) -> Option<String> {
        let text = |what: &str, here: &str, there: &str| {
            (here != there).then(|| format!("its {what} is `{here}`, that of the library is `{there}`"))
        };
        if let Some(what) = text("id", &self.id, &loaded.id)
            .or_else(|| text("version", &self.version, &loaded.version))
            .or_else(|| text("license", &self.license, &loaded.license))
        {
            return Some(what);
        }
        if self.abi.needs_minor != loaded.abi.needs_minor || self.abi.major != loaded.abi.major {
            return Some("the library needs another version of the plugin contract".to_owned());
        }
        if self.services != loaded.services {
            return Some("the library needs other services".to_owned());
        }
        for method in &loaded.methods {
            match self.methods.iter().find(|known| known.id == method.id) {
                None => return Some(format!("the library has a method `{}` more", method.id)),
                Some(known) if known != method => {
                    return Some(format!("the library describes the method `{}` otherwise", method.id));
                }
                Some(_) => {}
            }
        }
        let gone =
            self.methods.iter().find(|known| loaded.methods.iter().all(|method| method.id != known.id))?;
        Some(format!("the library has no method `{}`", gone.id))
    }

    /// The file's text.
    pub fn text(&self) -> String {
        // Only string keys: serde_json cannot fail on it.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The JSON Schema of the file.
    pub fn schema() -> Json {
        schemars::schema_for!(Manifest).to_value()
    }
}

impl Bundle {
    /// Reads and checks the manifest in a folder.
    pub fn open(folder: &Path) -> Result<Bundle, ManifestError> {
        let path = folder.join(MANIFEST);
        let fail = |reason: String| ManifestError::new(&path, reason);
        let cannot = |error: io::Error| fail(format!("cannot be read: {error}"));
        let file = File::open(&path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        if !meta.is_file() {
            return Err(fail("is not a file".to_owned()));
        }
        let mut text = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut text).map_err(cannot)?;
        if text.len() as u64 > LARGEST {
            return Err(fail(format!("is longer than {} MiB", LARGEST >> 20)));
        }
        let (manifest, version) = Manifest::parse(&text).map_err(fail)?;
        Ok(Bundle { folder: folder.to_owned(), manifest, version })
    }

    /// The name that its folder should have.
    pub fn name(&self) -> String {
        format!("{}-{}", self.manifest.id, self.manifest.version)
    }

    /// The manifest's path.
    pub fn path(&self) -> PathBuf {
        self.folder.join(MANIFEST)
    }

    /// The path of the library for a target, if the bundle has one.
    pub fn library(&self, target: &str) -> Option<PathBuf> {
        self.manifest.libraries.get(target).map(|library| self.folder.join(&library.file))
    }

    /// The hash of the library for a target as it is now, whatever the manifest says of it.
    pub fn hash(&self, target: &str) -> Result<String, ManifestError> {
        let Some(path) = self.library(target) else {
            return Err(ManifestError::new(self.path(), format!("has no library for `{target}`")));
        };
        let cannot = |error: io::Error| ManifestError::new(&path, format!("cannot be read: {error}"));
        // A link could lead anywhere.
        let real = path.canonicalize().map_err(cannot)?;
        if !real.starts_with(self.folder.canonicalize().map_err(cannot)?) {
            return Err(ManifestError::new(&path, "is a link that leads out of the bundle"));
        }
        hash_file(&real).map_err(cannot)
    }

    /// Like [`Bundle::hash`], and the manifest must agree.
    pub fn intact(&self, target: &str) -> Result<String, ManifestError> {
        let found = self.hash(target)?;
        match self.manifest.libraries.get(target) {
            Some(library) if library.blake3 == found => Ok(found),
            library => Err(ManifestError::new(
                self.library(target).unwrap_or_else(|| self.path()),
                format!(
                    "is not the library that the manifest names: its hash is {}, not {}",
                    short(&found),
                    library.map_or("known", |library| short(&library.blake3))
                ),
            )),
        }
    }
}

/// The first digits of a hash, for people.
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// BLAKE3 of a file.
pub(super) fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Whether a path with `/` stays inside of its folder on every system.
fn is_inside(file: &str) -> bool {
    !file.is_empty()
        && file.len() <= 255
        && !file.contains(['\\', '\0', ':'])
        && Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Texts of a manifest are shown on terminals: no letter of them may steer one.
fn printable(json: &Json) -> Result<(), String> {
    let fine = |text: &str| text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t');
    match json {
        Json::String(text) if !fine(text) => Err("has a text with control characters".to_owned()),
        Json::Array(items) => items.iter().try_for_each(printable),
        Json::Object(fields) => fields.iter().try_for_each(|(name, value)| match fine(name) {
            true => printable(value),
            false => Err("has a name with control characters".to_owned()),
        }),
        _ => Ok(()),
    }
}

fn check_method(method: &MethodDescriptor) -> Result<(), String> {
    if !is_word(&method.id) {
        return Err("its id is not a lower-case word".to_owned());
    }
    if method.kernel == KernelClass::Route {
        return Err("plugins cannot route tensors".to_owned());
    }
    if !method.params.is_object() {
        return Err("its parameter schema is no object".to_owned());
    }
    for parameter in method.parameters() {
        if !is_word(&parameter.name) {
            return Err(format!("the parameter `{}` is not a lower-case word", parameter.name));
        }
    }
    if method.ports.len() > MANY {
        return Err(format!("it has {} ports", method.ports.len()));
    }
    let mut roles = BTreeSet::new();
    for port in &method.ports {
        if !is_word(&port.role) {
            return Err(format!("the port `{}` is not a lower-case word", port.role));
        }
        if !roles.insert(&port.role) {
            return Err(format!("two ports are called `{}`", port.role));
        }
        if port.max.is_some_and(|max| max < port.min) {
            return Err(format!(
                "the port `{}` takes at least {} inputs and at most fewer",
                port.role, port.min
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use fusion_dsl::descriptor::{Port, Space, Verb};
    use serde_json::json;

    use super::*;

    pub(in crate::host) fn manifest(id: &str, version: &str) -> Manifest {
        let method = MethodDescriptor {
            id: "copy".into(),
            version: 1,
            verb: Verb::Average,
            summary: "copies".into(),
            formula: String::new(),
            citation: String::new(),
            ports: vec![Port {
                role: "from".into(),
                space: Space::Model,
                min: 1,
                max: None,
                settings: false,
                doc: "a model".into(),
            }],
            params: json!({ "type": "object", "properties": { "scale": { "type": "number", "default": 1.0 } } }),
            kernel: KernelClass::Elementwise,
            passes: 0,
            random: false,
            traits: Vec::new(),
        };
        Manifest {
            format: FORMAT,
            id: id.into(),
            version: version.into(),
            license: "MIT".into(),
            build_info: "by hand".into(),
            abi: ManifestAbi { major: FUSION_ABI_MAJOR, built_minor: 0, needs_minor: 0 },
            services: Vec::new(),
            methods: vec![method],
            libraries: BTreeMap::new(),
        }
    }

    /// A bundle whose library for `target` is a text.
    pub(in crate::host) fn bundle(place: &Path, mut manifest: Manifest, target: &str, text: &str) -> PathBuf {
        let folder = place.join(format!("{}-{}", manifest.id, manifest.version));
        let file = format!("{target}/plugin.so");
        std::fs::create_dir_all(folder.join(target)).unwrap();
        std::fs::write(folder.join(&file), text).unwrap();
        let blake3 = blake3::hash(text.as_bytes()).to_hex().to_string();
        manifest
            .libraries
            .insert(target.to_owned(), ManifestLibrary { file, blake3, bytes: text.len() as u64 });
        std::fs::write(folder.join(MANIFEST), manifest.text()).unwrap();
        folder
    }

    #[test]
    fn a_manifest_reads_back_and_names_its_methods() {
        let folder = tempfile::tempdir().unwrap();
        let path = bundle(folder.path(), manifest("org.a-b.c_1", "1.2.3-rc.1"), TARGET, "code");
        let read = Bundle::open(&path).unwrap();
        assert_eq!(read.name(), "org.a-b.c_1-1.2.3-rc.1");
        assert_eq!(read.manifest.qualified().next().unwrap().id, "org.a-b.c_1.copy");
        assert_eq!(Manifest::parse(read.manifest.text().as_bytes()).unwrap().0, read.manifest);
        assert_eq!(read.intact(TARGET).unwrap(), read.manifest.libraries[TARGET].blake3);
        assert!(read.hash("wasm32").unwrap_err().to_string().ends_with("has no library for `wasm32`"));
        std::fs::write(read.library(TARGET).unwrap(), "other").unwrap();
        let error = read.intact(TARGET).unwrap_err().to_string();
        assert!(error.contains("not the library that the manifest names"), "{error}");
    }

    #[test]
    fn hostile_manifests_are_refused_by_name() {
        let good = serde_json::to_value(manifest("org.a", "1.0.0")).unwrap();
        let library = json!({ "file": "x/plugin.so", "blake3": "0".repeat(64), "bytes": 1 });
        let broken = |change: &dyn Fn(&mut Json)| {
            let mut json = good.clone();
            json["libraries"] = json!({ TARGET: library });
            change(&mut json);
            Manifest::parse(json.to_string().as_bytes()).map(|_| ()).unwrap_err()
        };
        type Change<'a> = (&'a dyn Fn(&mut Json), &'a str);
        let cases: [Change<'_>; 19] = [
            (&|m| m["format"] = json!(2), "is of format 2"),
            (&|m| m["format"] = json!("1"), "does not say its `format`"),
            (&|m| m["extra"] = json!(1), "unknown field `extra`"),
            (&|m| m["id"] = json!("../evil"), "no lower-case domain name"),
            (&|m| m["id"] = json!("a..b"), "no lower-case domain name"),
            (&|m| m["id"] = json!(""), "no lower-case domain name"),
            (&|m| m["version"] = json!("1.0"), "not like `1.2.3`"),
            (&|m| m["version"] = json!("1.0.0/../.."), "not like `1.2.3`"),
            (&|m| m["license"] = json!("\u{1b}]0;owned"), "control characters"),
            (&|m| m["methods"] = json!([]), "has 0 methods"),
            (&|m| m["methods"][0]["id"] = json!("a.b"), "not a lower-case word"),
            (&|m| m["methods"][0]["kernel"] = json!("route"), "cannot route"),
            (&|m| m["methods"][0]["params"] = json!(7), "no object"),
            (&|m| m["methods"][0]["ports"][0]["max"] = json!(0), "at most fewer"),
            (&|m| m["libraries"][TARGET]["file"] = json!("../../etc/passwd"), "no path inside"),
            (&|m| m["libraries"][TARGET]["file"] = json!("/lib/libc.so"), "no path inside"),
            (&|m| m["libraries"][TARGET]["file"] = json!("a/./../b"), "no path inside"),
            (&|m| m["libraries"][TARGET]["blake3"] = json!("00"), "no BLAKE3 hash"),
            (&|m| m["libraries"]["../x"] = library.clone(), "no target"),
        ];
        for (change, said) in cases {
            let error = broken(change);
            assert!(error.contains(said), "{said}: {error}");
        }
        assert!(Manifest::parse(b"{").unwrap_err().contains("is not JSON"));
        let deep = "[".repeat(100_000);
        assert!(Manifest::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_link_out_of_the_bundle_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = bundle(folder.path(), manifest("org.a", "1.0.0"), TARGET, "code");
        let library = path.join(TARGET).join("plugin.so");
        let outside = folder.path().join("outside.so");
        std::fs::rename(&library, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &library).unwrap();
        let error = Bundle::open(&path).unwrap().hash(TARGET).unwrap_err().to_string();
        assert!(error.contains("leads out of the bundle"), "{error}");
    }

    #[test]
    fn what_the_contract_forbids_is_seen_in_the_manifest() {
        let mut one = manifest("org.a", "1.0.0");
        assert_eq!(one.incompatible(), None);
        one.services = vec!["acme.time/1".into()];
        assert!(one.incompatible().unwrap().1.contains("`acme.time/1`"));
        one.abi.needs_minor = 900;
        assert!(one.incompatible().unwrap().1.contains("1.900"));
        one.abi.major = 2;
        assert!(one.incompatible().unwrap().1.contains("version 2"));
    }

    #[test]
    fn differences_from_the_library_are_named() {
        let one = manifest("org.a", "1.0.0");
        assert_eq!(one.differs(&one), None);
        let mut other = one.clone();
        other.methods[0].summary = "moves".into();
        assert!(one.differs(&other).unwrap().contains("`copy` otherwise"));
        other.methods[0].id = "move".into();
        assert!(one.differs(&other).unwrap().contains("`move` more"));
        other.methods.clear();
        assert!(one.differs(&other).unwrap().contains("no method `copy`"));
        other.version = "2.0.0".into();
        assert!(one.differs(&other).unwrap().contains("version"));
    }
}
