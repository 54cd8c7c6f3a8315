//! Where the command keeps what it remembers between runs: `$FUSION_CACHE`, else `$XDG_CACHE_HOME/fusion`, else
//! `~/.cache/fusion`. It can be deleted at any time.

use std::env;
use std::path::PathBuf;

/// The cache folder; `None` where `$FUSION_CACHE` is empty or no home is known: then nothing is remembered.
pub fn folder() -> Option<PathBuf> {
    match env::var_os("FUSION_CACHE") {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(folder.into()),
        None => env::var_os("XDG_CACHE_HOME")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .map(|folder| folder.join("fusion")),
    }
}
