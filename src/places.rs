//! Where plugins are looked for, in which order. The environment is read here, so that the engine need not.

use std::env;
use std::path::{Path, PathBuf};

use fusion_core::host::Place;
use fusion_dsl::codes::Code;

use crate::failure::Failure;

/// The folder of a project's own plugins.
pub(crate) const LOCAL: &str = ".fusion/plugins";

/// The folder of the system's plugins.
const SYSTEM: &str = "/usr/lib/fusion/plugins";

/// All places for a recipe in `root`, or for commands without a recipe. `given` are the folders of `--plugin-path`.
///
/// # Errors
/// A given folder is not there: whoever names one means it.
pub(crate) fn places(given: &[PathBuf], root: Option<&Path>) -> Result<Vec<Place>, Failure> {
    let place = |folder: PathBuf, origin: &str| Place { folder, origin: origin.to_owned() };
    let mut places = Vec::new();
    for folder in given {
        if !folder.is_dir() {
            return Err(Failure::new(
                Code::CannotReadFile,
                format!("`--plugin-path {}`: there is no such folder", folder.display()),
            ));
        }
        places.push(place(folder.clone(), "--plugin-path"));
    }
    let variable = env::var_os("FUSION_PLUGIN_PATH").unwrap_or_default();
    places.extend(
        env::split_paths(&variable)
            .filter(|folder| !folder.as_os_str().is_empty())
            .map(|folder| place(folder, "FUSION_PLUGIN_PATH")),
    );
    if let Some(root) = root.filter(|root| !root.as_os_str().is_empty()) {
        places.push(place(root.join(LOCAL), "beside the recipe"));
    }
    places.push(place(PathBuf::from(LOCAL), "working directory"));
    places.extend(user().map(|folder| place(folder, "this user")));
    places.push(place(PathBuf::from(SYSTEM), "this system"));
    Ok(places)
}

/// The folder of the user's plugins; `None` where no home is known.
pub(crate) fn user() -> Option<PathBuf> {
    env::var_os("XDG_DATA_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| {
            let home = env::var_os("HOME").filter(|home| !home.is_empty())?;
            Some(PathBuf::from(home).join(".local/share"))
        })
        .map(|data| data.join("fusion/plugins"))
}

/// Folders in which named data sets are looked for, in order. `given` are those of `--data`.
pub(crate) fn data(given: &[PathBuf], root: &Path) -> Vec<PathBuf> {
    let variable = env::var_os("FUSION_DATA").unwrap_or_default();
    let named = env::split_paths(&variable).filter(|folder| !folder.as_os_str().is_empty());
    let mut folders: Vec<PathBuf> = given.iter().cloned().chain(named).collect();
    folders.push(root.join("data"));
    folders.extend(downloads());
    folders
}

/// Where `fusion data fetch` puts what it downloads; `None` where no home is known.
pub(crate) fn downloads() -> Option<PathBuf> {
    user().and_then(|plugins| plugins.parent().map(|fusion| fusion.join("data")))
}
