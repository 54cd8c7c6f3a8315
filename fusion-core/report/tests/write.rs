//! Files: all or none, and nothing of others is replaced.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::report;
use fusion_report::{Report, ReportError, json, write};

/// All files below a folder with their contents, folders with none.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut tree(&path));
            found.insert(path, None);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            found.insert(path, Some(text));
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let files = tree(folder).into_iter().filter(|(_, text)| text.is_some());
    files.map(|(path, _)| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_extension_decides() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(write(&report(), &at("deep/er/r.html")).unwrap(), [at("deep/er/r.html")]);
    assert!(fs::read_to_string(at("deep/er/r.html")).unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(write(&report(), &at("r.JSON")).unwrap(), [at("r.JSON")]);
    assert!(json::read(&fs::read_to_string(at("r.JSON")).unwrap()).is_ok());
    let tables = write(&report(), &at("r.csv")).unwrap();
    assert_eq!(tables[..2], [at("r.csv"), at("r-barriers.csv")]);
    let plots = write(&report(), &at("r.svg")).unwrap();
    assert_eq!(plots[..2], [at("r.svg"), at("r-plane.svg")]);
    assert_eq!(plots.len(), 6);
    for file in tables.iter().chain(&plots) {
        assert!(file.is_file(), "{}", file.display());
    }
    let all = write(&report(), &at("whole")).unwrap();
    assert_eq!(all[..2], [at("whole/index.html"), at("whole/report.json")]);
    assert_eq!(names(&at("whole")).len(), all.len());
    let error = write(&report(), &at("r.pdf")).unwrap_err();
    assert!(error.to_string().contains("r.pdf") && error.to_string().contains(".html"), "{error}");
    let stray = names(folder.path()).into_iter().filter(|name| name.contains(".tmp")).collect::<Vec<_>>();
    assert_eq!(stray, Vec::<String>::new());
}

#[test]
fn a_report_replaces_a_report_with_all_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("out");
    write(&report(), &to).unwrap();
    let mut less = report();
    less.sections[0].plots.truncate(1);
    less.title = "Another run".to_owned();
    let files = write(&less, &to).unwrap();
    assert_eq!(names(&to).len(), files.len(), "no file of the first report is left");
    assert!(fs::read_to_string(to.join("index.html")).unwrap().contains("Another run"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_of_others_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("thesis");
    fs::create_dir(&to).unwrap();
    write(&report(), &to).expect("an empty folder is nobody's");
    fs::write(to.join("report.json"), "{\"format\": \"other\", \"version\": 1}").unwrap();
    let before = tree(folder.path());
    let error = write(&report(), &to).unwrap_err();
    assert!(matches!(&error, ReportError::Foreign { path } if *path == to), "{error}");
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_file_is_no_folder_and_a_folder_no_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plain"), "text").unwrap();
    fs::create_dir(folder.path().join("r.html")).unwrap();
    fs::create_dir(folder.path().join("r-plane.svg")).unwrap();
    let before = tree(folder.path());
    for name in ["plain", "r.html", "r.svg"] {
        let error = write(&report(), &folder.path().join(name)).unwrap_err();
        assert!(matches!(error, ReportError::Kind { .. }), "{error}");
    }
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_target_that_cannot_be_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The parent is a file, so neither it nor anything in it can be a folder.
    fs::write(folder.path().join("file"), "text").unwrap();
    let before = tree(folder.path());
    for name in ["file/r.html", "file/r.csv", "file/out"] {
        let error = write(&report(), &folder.path().join(name)).unwrap_err();
        assert!(matches!(&error, ReportError::Io { path, .. } if path.starts_with(folder.path())), "{error}");
    }
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_report_that_does_not_fit_together_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["out", "r.html", "r.svg"] {
        write(&report(), &folder.path().join(name)).unwrap();
    }
    let before = tree(folder.path());
    let mut torn = report();
    torn.sections[0].tables[0].rows[1].pop();
    for name in ["out", "r.html", "r.svg", "new"] {
        let error = write(&torn, &folder.path().join(name)).unwrap_err();
        assert!(error.to_string().contains("Barriers") && error.to_string().contains("row 1"), "{error}");
    }
    torn = report();
    torn.graph.edges.push((0, 9));
    assert!(write(&torn, &folder.path().join("out")).unwrap_err().to_string().contains("0 → 9"));
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn nothing_to_write_is_an_error_that_says_what_to_use() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["r.csv", "r.svg"] {
        let error = write(&Report::default(), &folder.path().join(name)).unwrap_err();
        assert!(error.to_string().contains(".json"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
