//! `fusion plugin`: what is installed, what it offers, and how it gets there.

mod add;
pub(crate) mod check;
mod inspect;
mod list;
mod pack;

use fusion_core::host::{Before, Bundle, Packed, TARGET, short};
use serde_json::{Value as Json, json};

use crate::cli::PluginCommand;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::ui::table::{Side, Table};
use crate::ui::units::size;

pub(super) fn plugin(session: &Session, command: &PluginCommand) -> Result<Exit, Failure> {
    match command {
        PluginCommand::Check(args) => check::check(session, args),
        PluginCommand::List(args) => list::list(session, args),
        PluginCommand::Inspect(args) => inspect::inspect(session, args),
        PluginCommand::Pack(args) => pack::pack(session, args),
        PluginCommand::Add(args) => add::add(session, args),
    }
}

/// `average median, align rotate`
fn methods(bundle: &Bundle) -> String {
    let names: Vec<String> =
        bundle.manifest.methods.iter().map(|method| format!("{} {}", method.verb, method.id)).collect();
    names.join(", ")
}

/// What was written, as `pack` and `add` show it.
fn written(session: &Session, packed: &Packed) -> String {
    let style = session.ui.style;
    let mut table = Table::new(&[Side::Left, Side::Left, Side::Right, Side::Left]).indent(2);
    for (target, library) in &packed.bundle.manifest.libraries {
        let here = if target == TARGET { style.bold(target) } else { target.clone() };
        table.row(["library".to_owned(), here, size(library.bytes), style.dim(short(&library.blake3))]);
    }
    let methods = methods(&packed.bundle);
    format!("  methods  {methods}\n{}", table.render(session.ui.width))
}

fn written_json(packed: &Packed) -> Json {
    let manifest = &packed.bundle.manifest;
    let before = match packed.before {
        Before::Nothing => "nothing",
        Before::Same => "same",
        Before::Other => "other",
    };
    json!({
        "bundle": packed.bundle.folder,
        "id": manifest.id,
        "version": manifest.version,
        "libraries": manifest.libraries,
        "before": before,
    })
}
