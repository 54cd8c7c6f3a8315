//! `cargo xtask gen`: writes the pages, schemas and the C header that come from the code. `cargo xtask test`: the tests of the workspace,
//! which also say whether those files are fresh.
//!
//! This program depends on nothing: for a crate of the project cargo would build burn and all else once more, with fewer features.
#![allow(clippy::print_stderr, reason = "a tool for people who build fusion")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask gen | cargo xtask test [ARGUMENTS FOR nextest]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let result = match words.as_slice() {
        ["gen"] => generate(&root),
        ["test", rest @ ..] => test(&root, rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
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

/// By the tests that compare: `tests/fresh.rs` of the command and `tests/header.rs` here.
fn generate(root: &Path) -> Result<(), String> {
    let tests = ["test", "--quiet", "--workspace", "--test", "fresh", "--test", "header"];
    cargo(root).env("FUSION_WRITE", "1").run(&tests)
}

/// nextest where it is installed, which leaves examples in documentation to cargo's own runner; else that runner for all.
fn test(root: &Path, rest: &[&str]) -> Result<(), String> {
    let has = cargo(root).succeeds(&["nextest", "--version"]);
    if !has {
        return cargo(root).run(&[&["test", "--workspace"], rest].concat());
    }
    // Arguments choose among tests, and are nextest's own. It comes last: its closing line sums up.
    if rest.is_empty() {
        cargo(root).run(&["test", "--doc", "--workspace", "--quiet"])?;
    }
    cargo(root).run(&[&["nextest", "run", "--workspace"], rest].concat())
}

/// A call of the cargo that runs this program.
struct Cargo(Command);

fn cargo(root: &Path) -> Cargo {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    Cargo(command)
}

impl Cargo {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Whether it succeeds; what it prints is dropped.
    fn succeeds(mut self, arguments: &[&str]) -> bool {
        self.0.args(arguments).output().is_ok_and(|output| output.status.success())
    }

    fn run(mut self, arguments: &[&str]) -> Result<(), String> {
        match self.0.args(arguments).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(format!("cargo {} failed", arguments.join(" "))),
            Err(error) => Err(format!("cargo cannot be started: {error}")),
        }
    }
}
