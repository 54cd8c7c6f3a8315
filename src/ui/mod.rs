//! The terminal: where text goes, whether it may be coloured, and how wide it may be. The only place of the command that
//! prints or looks at the environment.

pub(crate) mod progress;
pub(crate) mod steps;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod units;

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::cli::When;
use crate::failure::Failure;
use style::Style;

/// Stdout for results, stderr for everything about them.
pub(crate) struct Ui {
    /// Colours on stdout.
    pub(crate) style: Style,
    /// Colours on stderr.
    pub(crate) err_colour: bool,
    /// Whether stderr is a terminal that shows progress.
    pub(crate) live: bool,
    /// Columns of stdout, where it is a terminal.
    pub(crate) width: Option<usize>,
}

impl Ui {
    /// This process's terminal.
    pub(crate) fn new(when: When) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| match when {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !plain,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let width = if out {
            console::Term::stdout().size_checked().map(|(_, columns)| columns.into())
        } else {
            None
        };
        Ui { style: Style::new(colour(out)), err_colour: colour(err), live: err, width }
    }

    /// Writes to stdout.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::write("stdout".as_ref(), &error),
        })
    }

    /// Writes a JSON value on a line of its own to stdout.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.print(&format!("{}\n", json(value, false)))
    }

    /// Writes an indented JSON value to stdout.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.print(&format!("{}\n", json(value, true)))
    }

    /// Writes to stderr; there is nobody to tell if that fails.
    pub(crate) fn error(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn json(value: &impl Serialize, indented: bool) -> String {
    let text = if indented { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    // Our own types have string keys only, so serde_json cannot fail on them.
    text.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string())
}
