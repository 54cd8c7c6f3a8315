//! Where plugins are: reads the manifests in a list of folders. It runs no code of a plugin and never guesses; what cannot be used is
//! kept with its reason.

use std::io;
use std::path::{Path, PathBuf};

use semver::Version;

use super::manifest::{Bundle, MANIFEST, ManifestError, is_id};

/// A folder with bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder; it need not exist.
    pub folder: PathBuf,
    /// Who says that plugins are there, for people: `--plugin-path`.
    pub origin: String,
}

/// A folder that is or should be a bundle.
#[derive(Clone, Debug)]
pub struct Found {
    /// The folder.
    pub folder: PathBuf,
    /// Its place's index.
    pub place: usize,
    /// The plugin's id: the manifest's or, where that is broken, the one in the folder's name.
    pub id: String,
    /// Its version, likewise; `None` where neither tells.
    pub version: Option<Version>,
    /// The bundle, or why there is none.
    pub bundle: Result<Bundle, ManifestError>,
}

/// Everything that was found, place by place and by name.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The places, in the order in which they are searched.
    pub places: Vec<Place>,
    /// Bundles, usable or not.
    pub found: Vec<Found>,
    /// Places that are there and cannot be read.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Reads all manifests. A place may also be a bundle itself. A folder that is named twice is read once, where it is named first.
pub fn discover(places: Vec<Place>) -> Inventory {
    let mut inventory = Inventory::default();
    let mut seen: Vec<PathBuf> = Vec::new();
    for place in places {
        let real = place.folder.canonicalize().unwrap_or_else(|_| place.folder.clone());
        if seen.contains(&real) {
            continue;
        }
        seen.push(real);
        let index = inventory.places.len();
        let folder = place.folder.clone();
        inventory.places.push(place);
        if folder.join(MANIFEST).is_file() {
            inventory.found.extend(one(&folder, index));
            continue;
        }
        match folders(&folder) {
            Ok(folders) => inventory.found.extend(folders.iter().filter_map(|folder| one(folder, index))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => inventory.unreadable.push((folder, error.to_string())),
        }
    }
    inventory
}

/// The folders in a folder, by name; hidden ones are half-written bundles.
fn folders(place: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// `None`: a folder that does not look like a bundle in any way.
fn one(folder: &Path, place: usize) -> Option<Found> {
    let named = named(folder);
    if named.is_none() && !folder.join(MANIFEST).exists() {
        return None;
    }
    let bundle = Bundle::open(folder);
    let (id, version) = match (&bundle, named) {
        (Ok(bundle), _) => (bundle.manifest.id.clone(), Some(bundle.version.clone())),
        (Err(_), Some((id, version))) => (id, Some(version)),
        (Err(_), None) => (folder.file_name()?.to_string_lossy().into_owned(), None),
    };
    Some(Found { folder: folder.to_owned(), place, id, version, bundle })
}

/// Id and version in a folder's name. Both may hold `-`: the version is the longest end that is one.
fn named(folder: &Path) -> Option<(String, Version)> {
    let name = folder.file_name()?.to_str()?;
    name.match_indices('-').find_map(|(at, _)| {
        let version = Version::parse(&name[at + 1..]).ok()?;
        is_id(&name[..at]).then(|| (name[..at].to_owned(), version))
    })
}

#[cfg(test)]
mod tests {
    use super::super::manifest::TARGET;
    use super::super::manifest::tests::{bundle, manifest};
    use super::*;

    fn place(folder: &Path) -> Place {
        Place { folder: folder.to_owned(), origin: "test".into() }
    }

    #[test]
    fn bundles_are_found_and_what_is_broken_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        bundle(&at("one"), manifest("org.a", "1.0.0"), TARGET, "x");
        let direct = bundle(&at("two"), manifest("org.b", "2.0.0-rc.1"), TARGET, "x");
        for empty in ["one/org.c-d-0.1.0-rc.1", "one/.org.x-1.0.0", "one/notes"] {
            std::fs::create_dir_all(at(empty)).unwrap();
        }
        std::fs::create_dir_all(at("one/odd")).unwrap();
        std::fs::write(at("one/odd/plugin.json"), "{}").unwrap();
        let places = vec![place(&at("none")), place(&at("one")), place(&direct), place(&at("./one"))];
        let inventory = discover(places);
        assert_eq!(inventory.places.len(), 3, "one place is named twice");
        let seen: Vec<(&str, Option<String>, bool)> = inventory
            .found
            .iter()
            .map(|found| {
                (found.id.as_str(), found.version.as_ref().map(ToString::to_string), found.bundle.is_ok())
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("odd", None, false),
                ("org.a", Some("1.0.0".into()), true),
                ("org.c-d", Some("0.1.0-rc.1".into()), false),
                ("org.b", Some("2.0.0-rc.1".into()), true),
            ]
        );
        assert!(inventory.unreadable.is_empty());
    }

    #[test]
    fn a_place_that_is_no_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(discover(vec![place(&file)]).unreadable.len(), 1);
    }
}
