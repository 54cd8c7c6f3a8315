//! `fusion plugin-host`: the process that `fusion run --isolate` starts for a plugin. Not for people.

use fusion_core::host::isolate;
use fusion_dsl::codes::Code;

use crate::cli::PluginHostArgs;
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) fn plugin_host(args: &PluginHostArgs) -> Result<Exit, Failure> {
    match isolate::serve(&args.library) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Err(Failure::new(Code::PluginFailed, error.to_string())),
    }
}
