//! `fusion plugin pack`: a library becomes a bundle that others can check recipes against without loading it.

use fusion_core::host::{self, Before};

use super::{written, written_json};
use crate::cli::PluginPackArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

pub(super) fn pack(session: &Session, args: &PluginPackArgs) -> Result<Exit, Failure> {
    for file in std::iter::once(&args.library).chain(&args.readme).chain(&args.license) {
        std::fs::File::open(file).map_err(|error| Failure::read(file, &error))?;
    }
    let packed = host::pack(&args.library, &args.out, args.readme.as_deref(), args.license.as_deref())
        .map_err(|error| Failure::from(&error))?;
    if args.json {
        session.ui.json(&written_json(&packed))?;
        return Ok(Exit::Ok);
    }
    let bundle = &packed.bundle;
    let did = if packed.before == Before::Nothing { "packed" } else { "updated" };
    session.ui.print(&format!(
        "{} {} {} in {}\n{}`fusion plugin add {}` installs it\n",
        session.ui.style.good(did),
        session.ui.style.bold(&bundle.manifest.id),
        bundle.manifest.version,
        bundle.folder.display(),
        written(session, &packed),
        bundle.folder.display(),
    ))?;
    Ok(Exit::Ok)
}
