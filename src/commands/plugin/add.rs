//! `fusion plugin add`: puts a bundle where recipes find it.

use std::path::Path;

use fusion_core::host::{self, Before, TARGET};
use fusion_dsl::codes::Code;

use super::{written, written_json};
use crate::cli::PluginAddArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::places::{LOCAL, user};
use crate::session::Session;

pub(super) fn add(session: &Session, args: &PluginAddArgs) -> Result<Exit, Failure> {
    let place = match args.global {
        true => user().ok_or_else(|| {
            Failure::new(Code::CannotWrite, "the user's data folder is not known")
                .help("set `HOME` or `XDG_DATA_HOME`")
        })?,
        false => Path::new(LOCAL).to_owned(),
    };
    let packed = if args.what.is_dir() {
        host::install(&args.what, &place, args.replace)
    } else {
        std::fs::File::open(&args.what).map_err(|error| {
            Failure::read(&args.what, &error).help("name the folder of a bundle, or a plugin's library")
        })?;
        host::install_library(&args.what, &place, args.replace)
    };
    let packed = packed.map_err(|error| Failure::from(&error))?;
    if args.json {
        session.ui.json(&written_json(&packed))?;
        return Ok(Exit::Ok);
    }
    let (style, manifest) = (session.ui.style, &packed.bundle.manifest);
    let did = match packed.before {
        Before::Nothing => style.good("added"),
        Before::Other => style.good("replaced"),
        Before::Same => "was there already:".to_owned(),
    };
    let mut out = format!(
        "{did} {} {} in {}\n{}",
        style.bold(&manifest.id),
        manifest.version,
        packed.bundle.folder.display(),
        written(session, &packed)
    );
    if !manifest.libraries.contains_key(TARGET) {
        out.push_str(&format!("it has no library for `{TARGET}`: recipes cannot use it on this system\n"));
    }
    if let Some((_, reason)) = manifest.incompatible() {
        out.push_str(&format!("recipes cannot use it with this fusion: it {reason}\n"));
    }
    let version = &packed.bundle.version;
    let requirement = match version.pre.is_empty() {
        true => format!("^{}.{}", version.major, version.minor),
        false => format!("^{version}"),
    };
    let alias = manifest.id.rsplit('.').next().unwrap_or("plugin").replace('-', "_");
    out.push_str(&format!(
        "in a recipe: `use plugin \"{}\" version \"{requirement}\" as {alias}`, then `fusion lock RECIPE`\n",
        manifest.id
    ));
    session.ui.print(&out)?;
    Ok(Exit::Ok)
}
