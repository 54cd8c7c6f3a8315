//! Which data sets there are: for `fusion data`.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Map;

pub use fusion_data::{DataError, Watch, fetch};

/// A data set that recipes can name.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// Its name in recipes, before `:train` or `:test`.
    pub name: String,
    /// Whether it is made rather than read.
    pub built_in: bool,
    /// Its folder, if it is there.
    pub path: Option<PathBuf>,
    /// Examples, shape, classes, as far as they are known.
    pub summary: String,
}

/// The named data sets, those that are built in first, looked for in these folders.
pub fn inventory(folders: &[PathBuf]) -> Vec<Known> {
    let places = fusion_data::Places { folders: folders.to_vec(), root: PathBuf::new() };
    let mut found: Vec<Known> = fusion_data::names()
        .into_iter()
        .map(|name| match fusion_data::describe(&format!("{name}:train"), &Map::new(), &places) {
            Ok(facts) => {
                let shape: Vec<String> = facts.shape.iter().map(usize::to_string).collect();
                let mut parts = vec![shape.join("x")];
                parts.extend(facts.examples.map(|count| format!("{count} examples")));
                parts
                    .extend(facts.classes.filter(|count| *count > 0).map(|count| format!("{count} classes")));
                Known {
                    name: name.to_owned(),
                    built_in: facts.files.is_empty(),
                    path: facts.files.first().and_then(|file| file.parent()).map(PathBuf::from),
                    summary: parts.join(", "),
                }
            }
            Err(_) => Known { name: name.to_owned(), built_in: false, path: None, summary: String::new() },
        })
        .collect();
    found.sort_by_key(|known| !known.built_in);
    found
}
