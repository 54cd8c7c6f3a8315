//! `fusion fmt`: recipes in the one style.

use std::path::{Path, PathBuf};

use fusion_dsl::diag::{Diagnostic, has_errors};
use fusion_dsl::fmt::format;
use fusion_dsl::span::SourceMap;

use crate::cli::FmtArgs;
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::recipe::read_text;
use crate::session::Session;
use crate::ui::units::plural;

pub(super) fn fmt(session: &Session, args: &FmtArgs) -> Result<Exit, Failure> {
    if args.stdin {
        let text = read_text(Path::new("-"))?;
        let (formatted, found) = format(&text);
        // An editor gets its text back whatever is wrong with it.
        if !args.check {
            session.ui.print(&formatted)?;
        }
        session.say(Path::new("stdin"), &found, &SourceMap::single("stdin", text.as_str()), false)?;
        return Ok(if args.check && formatted != text { Exit::User } else { Exit::Ok });
    }
    let mut files = Vec::new();
    for path in &args.files {
        collect(path, &mut files)?;
    }
    let mut broken: Vec<Diagnostic> = Vec::new();
    let mut changed = 0;
    for path in &files {
        let text = read_text(path)?;
        let (formatted, found) = format(&text);
        let name = path.to_string_lossy();
        match session.say(path, &found, &SourceMap::single(name, text.as_str()), false) {
            Ok(()) | Err(Failure::Said(_)) => {}
            Err(other) => return Err(other),
        }
        broken.extend(found);
        if formatted == text {
            continue;
        }
        changed += 1;
        if args.check {
            session.ui.print(&format!("{} is not formatted\n", path.display()))?;
        } else {
            std::fs::write(path, formatted).map_err(|error| Failure::write(path, &error))?;
            session.ui.print(&format!("formatted {}\n", path.display()))?;
        }
    }
    if has_errors(&broken) {
        return Err(Failure::Said(exit::of_all(&broken)));
    }
    if args.check && changed > 0 {
        session.ui.error(&format!("{} not formatted; `fusion fmt` does it\n", plural(changed, "recipe")));
        return Ok(Exit::User);
    }
    Ok(Exit::Ok)
}

/// A file as it is; a folder's `.fusion` files, sorted, without hidden folders.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|error| Failure::read(path, &error))?;
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in entries {
        found.push(entry.map_err(|error| Failure::read(path, &error))?.path());
    }
    found.sort();
    for path in found {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden
            && !path.is_symlink()
            && (path.is_dir() || path.extension().is_some_and(|ext| ext == "fusion"))
        {
            collect(&path, files)?;
        }
    }
    Ok(())
}
