//! `fusion completions`: for the shells that clap knows.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

pub(super) fn completions(session: &Session, args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "fusion", &mut script);
    session.ui.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
