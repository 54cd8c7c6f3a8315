//! One module per sub-command.

mod ast;
mod check;
mod completions;
mod data;
mod explain;
mod fmt;
pub(crate) mod graph;
mod inspect;
mod lock;
pub(crate) mod methods;
mod outcome;
mod plan;
pub(crate) mod plugin;
pub(crate) mod plugin_host;
mod run;
mod symmetries;

use crate::cli::Command;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

const GUIDE: &str = "\
fusion merges models: a recipe says how, fusion checks, plans and streams it to disk.

  fusion plan  merge.fusion     what would happen; reads headers only
  fusion run   merge.fusion     do it
  fusion methods                the methods that are built in
  fusion inspect PATH           what is in a checkpoint

A first recipe:

  fusion 1

  model chat from \"models/chat\"
  model code from \"models/code\"

  average soup using linear {
    from chat { weight = 0.7 }
    from code { weight = 0.3 }
  }

  save soup to \"out/soup\"

`fusion --help` lists all commands, `fusion COMMAND --help` explains one.
";

/// Runs a command.
pub(crate) fn dispatch(session: &Session, command: Option<Command>) -> Result<Exit, Failure> {
    match command {
        None => session.ui.print(GUIDE).map(|()| Exit::Ok),
        Some(Command::Run(args)) => run::run(session, &args),
        Some(Command::Plan(args)) => plan::plan(session, &args),
        Some(Command::Check(args)) => check::check(session, &args),
        Some(Command::Fmt(args)) => fmt::fmt(session, &args),
        Some(Command::Graph(args)) => graph::graph(session, &args),
        Some(Command::Explain(args)) => explain::explain(session, &args),
        Some(Command::Methods(args)) => methods::methods(session, &args),
        Some(Command::Inspect(args)) => inspect::inspect(session, &args),
        Some(Command::Symmetries(args)) => symmetries::symmetries(session, &args),
        Some(Command::Ast(args)) => ast::ast(session, &args),
        Some(Command::Lock(args)) => lock::lock(session, &args),
        Some(Command::Data { command }) => data::data(session, &command),
        Some(Command::Plugin { command }) => plugin::plugin(session, &command),
        Some(Command::Completions(args)) => completions::completions(session, &args),
        Some(Command::PluginHost(args)) => plugin_host::plugin_host(&args),
    }
}
