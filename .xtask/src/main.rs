//! `cargo xtask gen`: writes the pages and schemas that come from the code; `--check` compares instead. `cargo xtask test`: the
//! tests of the workspace.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people who build fusion")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

mod header;

use fusion::docs::{self, FOLDERS, Page};

const USAGE: &str = "usage: cargo xtask gen [--check] | cargo xtask test [ARGUMENTS FOR nextest]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["gen"] => done(write(&root())),
        ["gen", "--check"] => done(check(&root())),
        ["test", rest @ ..] => test(&root(), rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn done(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Everything that is generated: the command's pages, and the C header of the plugin contract.
fn pages(root: &Path) -> Result<Vec<Page>, String> {
    let mut pages = docs::pages();
    pages.push(Page { path: header::PATH.to_owned(), text: header::text(root)? });
    Ok(pages)
}

/// Files in the generated folders that nothing generates any more.
fn stale(root: &Path) -> Result<Vec<PathBuf>, String> {
    let known: BTreeSet<String> = docs::pages().into_iter().map(|page| page.path).collect();
    let mut stale = Vec::new();
    for folder in FOLDERS {
        let entries = match fs::read_dir(root.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|error| format!("{folder}: {error}"))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| format!("{folder}: {error}"))?;
            if !known.contains(&format!("{folder}/{}", entry.file_name().to_string_lossy())) {
                stale.push(entry.path());
            }
        }
    }
    Ok(stale)
}

fn write(root: &Path) -> Result<(), String> {
    for path in stale(root)? {
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("removed {}", path.display());
    }
    let mut changed = 0;
    for page in pages(root)? {
        let path = root.join(&page.path);
        if fs::read_to_string(&path).is_ok_and(|old| old == page.text) {
            continue;
        }
        let place = |error: io::Error| format!("{}: {error}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(place)?;
        }
        fs::write(&path, &page.text).map_err(place)?;
        changed += 1;
    }
    println!("{changed} files written");
    Ok(())
}

fn check(root: &Path) -> Result<(), String> {
    let mut wrong: Vec<String> =
        stale(root)?.into_iter().map(|path| format!("{} is stale", path.display())).collect();
    for page in pages(root)? {
        if fs::read_to_string(root.join(&page.path)).ok().as_deref() != Some(page.text.as_str()) {
            wrong.push(format!("{} is out of date", page.path));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\nrun `cargo xtask gen`", wrong.join("\n"))),
    }
}

/// nextest where it is installed, which leaves examples in documentation to cargo's own runner; else that runner for all.
fn test(root: &Path, rest: &[&str]) -> ExitCode {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let has = Command::new(&cargo)
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    let run = |arguments: &[&str], rest: &[&str]| {
        let status = Command::new(&cargo).current_dir(root).args(arguments).args(rest).status();
        match status {
            Ok(status) => status.success(),
            Err(error) => {
                eprintln!("cargo cannot be started: {error}");
                false
            }
        }
    };
    let passed = match has {
        // Arguments choose among tests, and are nextest's own. It comes last: its closing line sums up.
        true => {
            (!rest.is_empty() || run(&["test", "--doc", "--workspace", "--quiet"], &[]))
                && run(&["nextest", "run", "--workspace"], rest)
        }
        false => run(&["test", "--workspace"], rest),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
