//! The `fusion` command as a library, so that its pages can be generated from it and its parts tested.
//!
//! It turns arguments into calls of `fusion-dsl` and `fusion-core`, and their answers into text, JSON and exit codes. It
//! contains no fusion logic.

pub mod cache;
pub mod cli;
mod commands;
pub mod docs;
pub mod exit;
mod failure;
mod log;
mod panics;
mod places;
mod plugins;
mod recipe;
mod session;
mod ui;
mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use exit::Exit;
use failure::Failure;
use session::Session;

/// Runs the command with these arguments (the program's name first) and gives its exit code.
///
/// Never panics: a defect is caught, reported as `F0607` and becomes [`Exit::Internal`].
pub fn start(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap writes them to stdout and knows their code.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    let session = Session::new(cli.color);
    log::show(session.ui.err_colour);
    let exit = match panics::caught(|| commands::dispatch(&session, cli.command)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => failure.report(&session),
        Err(panic) => Failure::from(panic).report(&session),
    };
    ExitCode::from(exit.code())
}
