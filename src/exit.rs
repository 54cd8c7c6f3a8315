//! Exit codes by kind, so that scripts can tell a wrong recipe from a full disk without reading messages.

use std::io;

use fusion_core::checkpoint::write::WriteError;
use fusion_core::engine::{Access, RunError};
use fusion_core::plan::checkpoint_code;
use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::world::plugin_of;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// The recipe is wrong, does not fit its models, or an `expect` does not hold.
    User = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The machine or its files: disk, permissions, missing or damaged files, memory, device.
    Environment = 3,
    /// A method or plugin failed.
    Plugin = 4,
    /// A defect of fusion.
    Internal = 5,
    /// Stopped by Ctrl-C; the same command goes on from there.
    Cancelled = 130,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// The table of `fusion --help` and the reference.
pub const TABLE: &str = "\
Exit codes:
    0  done
    1  the recipe is wrong, does not fit its models, or an `expect` does not hold
    2  the command line is wrong
    3  the machine or its files: disk, permissions, missing or damaged files, memory, device
    4  a method or plugin failed
    5  a defect of fusion; the message says how to report it
  130  stopped by Ctrl-C; the same command goes on where it stopped";

/// The kind of a diagnostic.
pub fn of(code: Code) -> Exit {
    match code {
        Code::ImportNotFound
        | Code::CannotOpenModel
        | Code::CorruptCheckpoint
        | Code::HostileCheckpoint
        | Code::UnknownFormat
        | Code::NotEnoughDisk
        | Code::ReadOnlyTarget
        | Code::CannotWrite
        | Code::StaleJournal
        | Code::NotEnoughMemory
        | Code::DeviceUnavailable
        | Code::CannotReadFile
        | Code::CannotReadData
        | Code::Io
        | Code::InputChanged
        | Code::VerificationFailed => Exit::Environment,
        Code::Cancelled => Exit::Cancelled,
        Code::Internal => Exit::Internal,
        Code::MethodFailed
        | Code::PluginNotFound
        | Code::PluginVersion
        | Code::PluginIncompatible
        | Code::PluginHash
        | Code::PluginFailed
        | Code::PluginManifest
        | Code::PluginsOff
        | Code::PluginNotLocked
        | Code::PluginTooNew
        | Code::PluginService
        | Code::PluginTarget
        | Code::PluginNotLoadable
        | Code::PluginDescriptor
        | Code::PluginStale => Exit::Plugin,
        _ => Exit::User,
    }
}

/// The kind of what is found before anything runs. A method that refuses its settings or inputs has not failed: the recipe is wrong.
fn of_checked(code: Code) -> Exit {
    match code {
        Code::MethodFailed => Exit::User,
        code => of(code),
    }
}

/// The kind of several diagnostics about a recipe: what its writer can mend comes before what the machine lacks. Warnings do
/// not count.
pub fn of_all<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) -> Exit {
    let mut worst = Exit::Ok;
    for exit in diagnostics.into_iter().filter(|one| one.is_error()).map(|one| of_checked(one.code)) {
        let rank = |exit: Exit| match exit {
            Exit::Ok => 0,
            Exit::Cancelled | Exit::Usage => 1,
            Exit::Environment => 2,
            Exit::Plugin => 3,
            Exit::User => 4,
            Exit::Internal => 5,
        };
        if rank(exit) > rank(worst) {
            worst = exit;
        }
    }
    worst
}

/// The code of a run's error.
pub fn of_run(error: &RunError) -> Code {
    match error {
        RunError::Read(error) => checkpoint_code(error),
        RunError::Write(error) => of_write(error),
        RunError::NonFinite { .. } | RunError::NeedsFinite { .. } => Code::NonFinite,
        RunError::File { access, kind, .. } => of_file(*access, *kind),
        RunError::Overflow { .. } => Code::WrongDtype,
        RunError::NotIdentical { .. } => Code::NonFloatMismatch,
        RunError::Method { method, .. } if plugin_of(method).is_some() => Code::PluginFailed,
        RunError::Method { .. } => Code::MethodFailed,
        RunError::Device { .. } => Code::DeviceUnavailable,
        RunError::Memory { .. } | RunError::Threads(_) => Code::NotEnoughMemory,
        RunError::Spill { .. } => Code::Io,
        RunError::Unplanned { .. } => Code::Internal,
        RunError::Changed(_) => Code::InputChanged,
        RunError::Cancelled => Code::Cancelled,
    }
}

fn of_file(access: Access, kind: io::ErrorKind) -> Code {
    match (access, kind) {
        (Access::Read, _) => Code::CannotReadFile,
        (Access::Write, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Code::NotEnoughDisk,
        (Access::Write, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            Code::ReadOnlyTarget
        }
        (Access::Write, io::ErrorKind::AlreadyExists) => Code::TargetExists,
        (Access::Write, _) => Code::CannotWrite,
    }
}

fn of_write(error: &WriteError) -> Code {
    match error {
        WriteError::Cancelled => Code::Cancelled,
        WriteError::Exists { .. }
        | WriteError::NotACheckpoint { .. }
        | WriteError::NotAFolder { .. }
        | WriteError::NotAFile { .. } => Code::TargetExists,
        WriteError::ReadOnly { .. } => Code::ReadOnlyTarget,
        WriteError::DiskFull { .. } => Code::NotEnoughDisk,
        WriteError::Locked { .. } | WriteError::Io { .. } => Code::Io,
        WriteError::NoSuchTensor { .. }
        | WriteError::OutOfBounds { .. }
        | WriteError::Unfinished { .. }
        | WriteError::Slot { .. }
        | WriteError::DuplicateMetadata { .. } => Code::Internal,
        _ => Code::CannotSave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_run_end_by_kind() {
        let exit = |error: RunError| of(of_run(&error));
        let path = || "x".into();
        assert_eq!(exit(RunError::Cancelled), Exit::Cancelled);
        assert_eq!(exit(RunError::NonFinite { found: Vec::new(), more: 1 }), Exit::User);
        assert_eq!(exit(RunError::Changed(path())), Exit::Environment);
        assert_eq!(exit(RunError::Threads(path())), Exit::Environment);
        let file = |access, kind| RunError::File {
            what: path(),
            path: path().into(),
            access,
            kind,
            reason: path(),
            help: None,
        };
        assert_eq!(of_run(&file(Access::Write, io::ErrorKind::StorageFull)), Code::NotEnoughDisk);
        assert_eq!(of_run(&file(Access::Write, io::ErrorKind::NotADirectory)), Code::CannotWrite);
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
            assert_eq!(exit(file(Access::Write, kind)), Exit::Environment, "{kind}");
            assert_eq!(exit(file(Access::Read, kind)), Exit::Environment, "{kind}");
        }
        // What stands there is of the user's choosing.
        assert_eq!(exit(file(Access::Write, io::ErrorKind::AlreadyExists)), Exit::User);
        let needs = RunError::NeedsFinite { stage: path(), method: path(), found: Vec::new(), more: 1 };
        assert_eq!((of_run(&needs), exit(needs)), (Code::NonFinite, Exit::User));
        let method = |id: &str| RunError::Method {
            stage: path(),
            method: id.to_owned(),
            message: path(),
            help: None,
            span: fusion_dsl::span::Span::NONE,
        };
        assert_eq!(of_run(&method("ties")), Code::MethodFailed);
        assert_eq!(exit(method("ties")), Exit::Plugin);
        assert_eq!(of_run(&method("org.acme.fisher.diag")), Code::PluginFailed);
        let full = WriteError::DiskFull { path: "x".into(), needed: 2, free: 1 };
        assert_eq!(exit(RunError::Write(full)), Exit::Environment);
        assert_eq!(exit(RunError::Write(WriteError::Exists { path: "x".into() })), Exit::User);
        let bug = WriteError::NoSuchTensor { index: 1, count: 0 };
        assert_eq!(exit(RunError::Write(bug)), Exit::Internal);
        let gone = fusion_core::checkpoint::CheckpointError::Missing { path: "x".into(), fix: path() };
        assert_eq!(exit(RunError::Read(gone)), Exit::Environment);
    }

    #[test]
    fn every_code_fails_and_groups_end_alike() {
        for code in Code::ALL {
            assert_ne!(of(*code), Exit::Ok, "{code}");
            match code.group() {
                "syntax" | "types and methods" => assert_eq!(of(*code), Exit::User, "{code}"),
                "plugins" => assert_eq!(of(*code), Exit::Plugin, "{code}"),
                _ => {}
            }
        }
    }

    #[test]
    fn what_the_writer_can_mend_comes_first() {
        let one = |code| Diagnostic::global(code, "x");
        assert_eq!(of_all(&[one(Code::CannotOpenModel), one(Code::UnknownParameter)]), Exit::User);
        assert_eq!(of_all(&[one(Code::CannotOpenModel)]), Exit::Environment);
        // Refused settings are the recipe's mistake, alone or among others; in a run the method has failed.
        assert_eq!(of_all(&[one(Code::MethodFailed)]), Exit::User);
        assert_eq!(of_all(&[one(Code::MethodFailed), one(Code::UnknownParameter)]), Exit::User);
        assert_eq!(of(Code::MethodFailed), Exit::Plugin);
        assert_eq!(of_all(&[one(Code::UnusedName)]), Exit::Ok);
    }
}
