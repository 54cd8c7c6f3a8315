//! Generated pages and schemas are those of the code.

use std::collections::BTreeSet;
use std::path::Path;

use fusion::docs::{FOLDERS, pages};

#[test]
fn generated_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages();
    let mut wrong: Vec<String> = pages
        .iter()
        .filter(|page| {
            std::fs::read_to_string(root.join(&page.path)).ok().as_deref() != Some(page.text.as_str())
        })
        .map(|page| page.path.clone())
        .collect();
    let known: BTreeSet<&str> = pages.iter().map(|page| page.path.as_str()).collect();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            if !known.contains(path.as_str()) {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "run `cargo xtask gen`: {wrong:#?}");
}
