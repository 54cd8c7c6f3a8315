//! What ends a command early, shown in the same look as the messages about recipes.

use std::io;
use std::path::Path;

use fusion_core::checkpoint::CheckpointError;
use fusion_core::engine::{NonFinite, RunError};
use fusion_core::host::{HostError, ManifestError, PackError};
use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::render;
use fusion_dsl::span::{SourceMap, Span};
use fusion_dsl::world::PluginFault;

use crate::exit::{self, Exit};
use crate::session::Session;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Everything has been said.
    Said(Exit),
    /// This is still to be said.
    Diagnostic(Box<Diagnostic>),
    /// The command line is wrong in a way that clap cannot see.
    Usage(clap::Error),
    /// Whoever read our output has gone (`fusion … | head`).
    Closed,
}

impl Failure {
    /// A failure with a code, a message and, where there is one, what to do.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Failure::Diagnostic(Box::new(Diagnostic::global(code, message)))
    }

    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        match self {
            Failure::Diagnostic(diagnostic) => Failure::Diagnostic(Box::new(diagnostic.help(text))),
            other => other,
        }
    }

    pub(crate) fn note(self, text: impl Into<String>) -> Self {
        match self {
            Failure::Diagnostic(diagnostic) => Failure::Diagnostic(Box::new(diagnostic.note(text))),
            other => other,
        }
    }

    /// A file that cannot be read.
    pub(crate) fn read(path: &Path, error: &io::Error) -> Self {
        Failure::new(Code::CannotReadFile, format!("`{}` cannot be read: {error}", path.display()))
    }

    /// A file that cannot be written.
    pub(crate) fn write(path: &Path, error: &io::Error) -> Self {
        Failure::new(Code::CannotWrite, format!("`{}` cannot be written: {error}", path.display()))
    }

    /// A mistake in the arguments.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        use clap::CommandFactory as _;
        Failure::Usage(crate::cli::Cli::command().error(clap::error::ErrorKind::ValueValidation, message))
    }

    /// Says it on stderr and gives the exit code.
    pub(crate) fn report(self, session: &Session) -> Exit {
        match self {
            Failure::Said(exit) => exit,
            Failure::Diagnostic(diagnostic) => {
                let exit = exit::of(diagnostic.code);
                session.ui.error(&render::terminal(&[*diagnostic], &SourceMap::new(), session.ui.err_colour));
                exit
            }
            Failure::Usage(error) => {
                let _ = error.print();
                Exit::Usage
            }
            Failure::Closed => Exit::Ok,
        }
    }
}

impl From<&RunError> for Failure {
    fn from(error: &RunError) -> Self {
        let code = exit::of_run(error);
        let failure = match error {
            RunError::Read(error) => return Failure::from(error),
            RunError::NonFinite { found, more } => {
                with_tensors(Failure::new(code, "the inputs hold values that are not finite"), found, *more)
            }
            RunError::NeedsFinite { stage, method, found, more } => {
                let message =
                    format!("`{method}` of stage `{stage}` computes with values that are not finite");
                with_tensors(Failure::new(code, message), found, *more)
            }
            other => Failure::new(code, other.to_string()),
        };
        match error.help() {
            Some(help) => failure.help(help),
            None if code == Code::Internal => failure.help(crate::panics::REPORT),
            None => failure,
        }
    }
}

fn with_tensors(mut failure: Failure, found: &[NonFinite], more: usize) -> Failure {
    for one in found {
        failure = failure.note(one.to_string());
    }
    match more {
        0 => failure,
        more => failure.note(format!("and {more} more tensors")),
    }
}

impl From<PluginFault> for Failure {
    fn from(fault: PluginFault) -> Self {
        Failure::Diagnostic(Box::new(fault.at(Span::NONE)))
    }
}

impl From<&HostError> for Failure {
    fn from(error: &HostError) -> Self {
        Failure::new(error.code(), error.to_string()).help(error.help())
    }
}

impl From<&ManifestError> for Failure {
    fn from(error: &ManifestError) -> Self {
        Failure::new(Code::PluginManifest, error.to_string())
            .help("install it afresh with `fusion plugin add`; its author packs it with `fusion plugin pack`")
    }
}

impl From<&PackError> for Failure {
    fn from(error: &PackError) -> Self {
        let with = |code| Failure::new(code, error.to_string());
        match error {
            PackError::Host(error) => error.into(),
            PackError::Manifest(error) => error.into(),
            PackError::Unfit { .. } => {
                with(Code::PluginDescriptor).help("this is a mistake of the plugin: tell its author")
            }
            PackError::OtherBuild { .. } => with(Code::TargetExists)
                .help("give the plugin a new version, or remove the bundle and pack it again on each system"),
            PackError::Exists { .. } => with(Code::TargetExists).help("`--replace` replaces it"),
            PackError::Io { doing: "read", .. } => with(Code::CannotReadFile),
            PackError::Io { .. } => with(Code::CannotWrite),
        }
    }
}

impl From<&CheckpointError> for Failure {
    fn from(error: &CheckpointError) -> Self {
        let failure = Failure::new(fusion_core::plan::checkpoint_code(error), error.message());
        match error.fix() {
            Some(fix) => failure.help(fix),
            None => failure,
        }
    }
}
