//! `fusion plugin-host`: the process that `fusion run --isolate` starts for a plugin. Not for people.

use std::process::Command;

use fusion_core::host::isolate;
use fusion_dsl::codes::Code;

use crate::cli::PluginHostArgs;
use crate::exit::Exit;
use crate::failure::Failure;

/// This program, ready to be given a library to serve.
pub(crate) fn command() -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Code::Io, format!("fusion cannot find its own program to isolate a plugin: {error}"))
    })?;
    let mut command = Command::new(program);
    command.arg("plugin-host");
    Ok(command)
}

pub(super) fn plugin_host(args: &PluginHostArgs) -> Result<Exit, Failure> {
    match isolate::serve(&args.library) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Err(Failure::from(&error)),
    }
}
