//! The survey's experiments as recipes: in their quick setting every claim that they state must hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies a folder without what runs have left in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "out" || name == "data" {
            continue;
        }
        let target = to.join(&name);
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Runs all recipes of a folder, one after the other, in a copy of it.
fn all_hold(folder: &str) {
    let space = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), space.path());
    let mut recipes: Vec<PathBuf> = fs::read_dir(space.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "fusion"))
        .collect();
    recipes.sort();
    assert!(!recipes.is_empty(), "no recipes in {folder}");
    let mut failed = Vec::new();
    for recipe in recipes {
        let done = Command::new(env!("CARGO_BIN_EXE_fusion"))
            .arg("run")
            .arg(&recipe)
            .current_dir(space.path())
            .env("FUSION_CACHE", space.path().join("cache"))
            .env_remove("FUSION_DATA")
            .output()
            .unwrap();
        if !done.status.success() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            failed.push(format!("{}\n{}\n{}", recipe.display(), text(&done.stdout), text(&done.stderr)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn the_first_recipes_hold() {
    all_hold("examples/connect");
    all_hold("examples/align");
}

#[test]
fn the_survey_s_first_family_holds() {
    all_hold("examples/survey/connect");
}

#[test]
fn the_survey_s_second_family_holds() {
    all_hold("examples/survey/align");
}
