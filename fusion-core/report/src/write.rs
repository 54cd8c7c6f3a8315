//! From a report to files: all of them or none.
//!
//! Everything is rendered in memory, written to a temporary sibling and renamed. What stood there before is put aside first and
//! comes back when a later rename fails, so that a reader finds the old report or the new one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::ReportError;
use crate::model::Report;
use crate::{csv, escape, html, json, svg};

/// Writes the report and returns the files, the one to open first.
///
/// The extension decides: `.html` a page, `.json` the report for machines, `.csv` the tables (the first as `NAME.csv`, the others
/// as `NAME-TABLE.csv`), `.svg` the plots (likewise), and no extension a folder with `index.html`, `report.json`, `tables/*.csv`
/// and `plots/*.svg`. Missing parent folders are made. Files are replaced; a folder only if it is empty or holds a report of
/// this program.
///
/// # Errors
/// The report does not fit together, the target cannot be replaced or its extension names no format, there are no tables or
/// plots for `.csv` or `.svg`, or the file system refuses. Then nothing has changed.
pub fn write(report: &Report, to: &Path) -> Result<Vec<PathBuf>, ReportError> {
    report.check()?;
    match to.extension().map(|extension| extension.to_string_lossy().to_lowercase()).as_deref() {
        None => folder(report, to),
        Some("html" | "htm") => single(to, vec![(to.to_owned(), html::page(report)?)]),
        Some("json") => single(to, vec![(to.to_owned(), json::write(report))]),
        Some("csv") => single(to, siblings(to, csv::files(report)?, "tables")?),
        Some("svg") => single(to, siblings(to, plots(report)?, "plots")?),
        Some(extension) => {
            Err(ReportError::Extension { path: to.to_owned(), extension: extension.to_owned() })
        }
    }
}

/// Plots as documents of their own, by their short names.
fn plots(report: &Report) -> Result<Vec<(String, String)>, ReportError> {
    let plots: Vec<_> = report.sections.iter().flat_map(|section| &section.plots).collect();
    let names = escape::slugs(plots.iter().map(|plot| plot.title()));
    names.into_iter().zip(plots).map(|(name, plot)| Ok((name, svg::plot(plot)?))).collect()
}

/// Paths of several files beside each other: the first has the name that was asked for.
fn siblings(
    to: &Path,
    files: Vec<(String, String)>,
    what: &'static str,
) -> Result<Vec<(PathBuf, String)>, ReportError> {
    if files.is_empty() {
        return Err(ReportError::Nothing { what, path: to.to_owned() });
    }
    let stem = to.file_stem().unwrap_or_default();
    let named = files.into_iter().enumerate().map(|(place, (name, text))| {
        let mut file = OsString::from(stem);
        if place > 0 {
            file.push(format!("-{name}"));
        }
        file.push(".");
        file.push(to.extension().unwrap_or_default());
        (to.with_file_name(file), text)
    });
    Ok(named.collect())
}

fn single(to: &Path, files: Vec<(PathBuf, String)>) -> Result<Vec<PathBuf>, ReportError> {
    for (path, _) in &files {
        if path.is_dir() {
            return Err(ReportError::Kind { path: path.clone(), found: "a folder", wanted: "a file" });
        }
    }
    let aside = Aside::beside(to)?;
    let mut moves = Vec::new();
    for (place, (path, text)) in files.into_iter().enumerate() {
        let temporary = aside.path.join(format!("new-{place}"));
        store(&temporary, &text)?;
        moves.push((temporary, path));
    }
    aside.exchange(moves)
}

fn folder(report: &Report, to: &Path) -> Result<Vec<PathBuf>, ReportError> {
    replaceable(to)?;
    let aside = Aside::beside(to)?;
    let new = aside.path.join("new");
    let mut files =
        vec![("index.html".into(), html::page(report)?), ("report.json".into(), json::write(report))];
    let tables = csv::files(report)?.into_iter().map(|(name, text)| (format!("tables/{name}.csv"), text));
    let plots = plots(report)?.into_iter().map(|(name, text)| (format!("plots/{name}.svg"), text));
    files.extend(tables.chain(plots));
    for (name, text) in &files {
        let path = new.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(refused("create", parent))?;
        }
        store(&path, text)?;
    }
    aside.exchange(vec![(new, to.to_owned())])?;
    Ok(files.into_iter().map(|(name, _)| to.join(name)).collect())
}

/// Whether a folder may be written here.
fn replaceable(to: &Path) -> Result<(), ReportError> {
    let found = match fs::symlink_metadata(to) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused("look at", to)(error)),
    };
    if !found.is_dir() {
        return Err(ReportError::Kind { path: to.to_owned(), found: "no folder", wanted: "a folder" });
    }
    let empty = fs::read_dir(to).map_err(refused("read", to))?.next().is_none();
    let ours = || fs::read_to_string(to.join("report.json")).is_ok_and(|text| json::marker(&text).is_ok());
    if empty || ours() { Ok(()) } else { Err(ReportError::Foreign { path: to.to_owned() }) }
}

fn store(path: &Path, text: &str) -> Result<(), ReportError> {
    let mut file = File::create(path).map_err(refused("create", path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(refused("write", path))
}

fn refused<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ReportError + 'a {
    move |source| ReportError::Io { action, path: path.to_owned(), source }
}

/// A folder beside the target for what is not yet or no longer in its place. It goes away at the end, with all in it.
struct Aside {
    path: PathBuf,
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Nothing can be done if it stays; its name says what it is.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Aside {
    fn beside(to: &Path) -> Result<Aside, ReportError> {
        let parent = match to.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(refused("create", parent))?;
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 0;
        loop {
            let path = parent.join(format!(".{name}.{}-{number}.tmp", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Aside { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
                Err(error) => return Err(refused("create", &path)(error)),
            }
        }
    }

    /// Moves each first path to the second. When one cannot be moved, those before it are moved back.
    fn exchange(&self, moves: Vec<(PathBuf, PathBuf)>) -> Result<Vec<PathBuf>, ReportError> {
        let mut done: Vec<(&Path, Option<PathBuf>)> = Vec::new();
        for (place, (new, to)) in moves.iter().enumerate() {
            let old = self.path.join(format!("old-{place}"));
            let moved = match fs::rename(to, &old) {
                Ok(()) => Ok(Some(old)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
            let moved = moved.and_then(|old| match fs::rename(new, to) {
                Ok(()) => Ok(old),
                Err(error) => {
                    restore(to, old.as_deref());
                    Err(error)
                }
            });
            match moved {
                Ok(old) => done.push((to, old)),
                Err(error) => {
                    for (to, old) in done.iter().rev() {
                        restore(to, old.as_deref());
                    }
                    return Err(refused("replace", to)(error));
                }
            }
        }
        Ok(moves.into_iter().map(|(_, to)| to).collect())
    }
}

/// What was there before, or nothing.
fn restore(to: &Path, old: Option<&Path>) {
    // The error that is reported is the one that made this necessary.
    let _ = match old {
        Some(old) => fs::rename(old, to),
        None => fs::remove_file(to),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_that_fails_takes_back_those_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("old"), "before").unwrap();
        let aside = Aside::beside(&at("r")).unwrap();
        for name in ["one", "two"] {
            store(&aside.path.join(name), "after").unwrap();
        }
        let moves = vec![
            (aside.path.join("one"), at("old")),
            (aside.path.join("two"), at("fresh")),
            (aside.path.join("missing"), at("third")),
        ];
        let error = aside.exchange(moves).unwrap_err();
        assert!(matches!(&error, ReportError::Io { path, .. } if *path == at("third")), "{error}");
        drop(aside);
        assert_eq!(fs::read_to_string(at("old")).unwrap(), "before");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "neither the new file nor the folder aside is left"
        );
    }

    #[test]
    fn a_folder_comes_back_when_the_new_one_cannot_take_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out");
        fs::create_dir(&to).unwrap();
        fs::write(to.join("index.html"), "before").unwrap();
        let aside = Aside::beside(&to).unwrap();
        assert!(aside.exchange(vec![(aside.path.join("missing"), to.clone())]).is_err());
        assert_eq!(fs::read_to_string(to.join("index.html")).unwrap(), "before");
    }
}
