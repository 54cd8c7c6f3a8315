//! `fusion lock`: agrees to the plugins of recipes as they are now, by version and hash. No code of them is loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fusion_core::host::{Change, LOCK, Lock, Locked, short};
use fusion_dsl::codes::Code;
use fusion_dsl::compile::{Compiled, compile};
use fusion_dsl::diag::{Diagnostic, has_errors};
use fusion_dsl::graph::PluginUse;
use serde_json::{Value as Json, json};

use crate::cli::{LockArgs, PluginArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::plugins::Plugins;
use crate::recipe::{name, read_text};
use crate::session::{Session, built_in};
use crate::ui::table::{Side, Table};
use crate::ui::units::plural;
use crate::world::Machine;

/// A recipe that is to be locked.
struct Source {
    path: PathBuf,
    text: String,
    uses: Vec<PluginUse>,
}

/// One lock file and what is to change in it.
struct Planned {
    path: PathBuf,
    lock: Lock,
    changes: Vec<Change>,
}

pub(super) fn lock(session: &Session, args: &LockArgs) -> Result<Exit, Failure> {
    // The recipes of a folder share a lock file, so one version must fit them all.
    let mut folders: BTreeMap<PathBuf, Vec<Source>> = BTreeMap::new();
    for path in &args.recipes {
        let text = read_text(path)?;
        let compiled = compile(&Machine::new(&session.registry, None), &name(path), &text, &[]);
        told(session, path, &compiled)?;
        let root = path.parent().map(Path::to_owned).unwrap_or_default();
        let source = Source { path: path.clone(), text, uses: compiled.plugins };
        folders.entry(root).or_default().push(source);
    }
    // All are planned before any is written.
    let mut planned = Vec::new();
    for (root, sources) in &folders {
        planned.extend(plan(session, args, root, sources)?);
    }
    let stale = planned.iter().any(Planned::is_stale);
    if !args.check {
        for one in planned.iter().filter(|one| one.is_stale()) {
            one.lock.write(&one.path).map_err(|error| Failure::write(&one.path, &error))?;
        }
    }
    if args.json {
        session.ui.json(&as_json(&planned, args.check))?;
    } else {
        session.ui.print(&text(session, &planned, args.check))?;
    }
    match stale && args.check {
        true => Err(Failure::Said(Exit::User)),
        false => Ok(Exit::Ok),
    }
}

/// A recipe that cannot be read may use plugins that are not seen; other mistakes of it are no matter here.
fn told(session: &Session, path: &Path, compiled: &Compiled) -> Result<(), Failure> {
    let found: Vec<Diagnostic> = compiled
        .diagnostics
        .iter()
        .filter(|one| {
            matches!(one.code.group(), "syntax" | "plugins")
                || matches!(one.code, Code::ImportNotFound | Code::ImportCycle | Code::BrokenImport)
        })
        .filter(|one| one.is_error())
        .cloned()
        .collect();
    match has_errors(&found) {
        true => session.say(path, &found, &compiled.sources, false),
        false => Ok(()),
    }
}

/// `None` where no recipe of the folder uses a plugin.
fn plan(
    session: &Session,
    args: &LockArgs,
    root: &Path,
    sources: &[Source],
) -> Result<Option<Planned>, Failure> {
    let uses: Vec<PluginUse> = sources.iter().flat_map(|source| source.uses.iter().cloned()).collect();
    if uses.is_empty() {
        return Ok(None);
    }
    let given = PluginArgs { plugin_path: args.plugin_path.clone(), no_plugins: false };
    let plugins = Plugins::choose(&given, root, &uses, false)?;
    let mut registry = built_in();
    plugins.declare(&mut registry);
    for source in sources {
        let machine = Machine::new(&registry, Some(&plugins));
        told(session, &source.path, &compile(&machine, &name(&source.path), &source.text, &[]))?;
    }
    let path = root.join(LOCK);
    let mut lock = Lock::read(&path).map_err(|reason| {
        Failure::new(Code::PluginNotLocked, format!("`{}` {reason}", path.display()))
            .help("mend or remove it; it is not overwritten, as it may hold the entries of other recipes")
    })?;
    let mut changes = Vec::new();
    for one in plugins.chosen() {
        changes.push(lock.add(&one.bundle).map_err(|error| Failure::from(&error))?);
    }
    Ok(Some(Planned { path, lock, changes }))
}

impl Planned {
    fn is_stale(&self) -> bool {
        self.changes.iter().any(Change::is_change)
    }
}

fn text(session: &Session, planned: &[Planned], check: bool) -> String {
    let style = session.ui.style;
    let mut out = String::new();
    for one in planned {
        let path = one.path.display();
        let changed = one.changes.iter().filter(|change| change.is_change()).count();
        if changed == 0 {
            out.push_str(&format!("{}: {path} is up to date\n", style.good("ok")));
            continue;
        }
        let did = if check { style.bad("stale") } else { style.good("locked") };
        out.push_str(&format!("{did}: {path}: {}\n", plural(changed, "plugin")));
        let mut table = Table::new(&[Side::Left, Side::Left, Side::Left, Side::Left, Side::Left]).indent(2);
        for change in one.changes.iter().filter(|change| change.is_change()) {
            let (mut id, mut version) = (style.bold(&change.id), versions(change));
            for (target, hashes) in targets(change) {
                let word = match change.before {
                    None => "added",
                    Some(_) => "changed",
                };
                table.row([
                    std::mem::take(&mut id),
                    std::mem::take(&mut version),
                    word.to_owned(),
                    target,
                    hashes,
                ]);
            }
        }
        out.push_str(&table.render(session.ui.width));
    }
    if planned.is_empty() {
        out.push_str("nothing to lock: no plugin is used\n");
    }
    if check && planned.iter().any(Planned::is_stale) {
        out.push_str("nothing was changed; without `--check` it is\n");
    }
    out
}

/// `1.0.0`, `1.0.0 → 1.1.0`
fn versions(change: &Change) -> String {
    match &change.before {
        Some(before) if before.version != change.after.version => {
            format!("{} → {}", before.version, change.after.version)
        }
        _ => change.after.version.to_string(),
    }
}

/// Per target that was or is locked: its hash, or both where it changed.
fn targets(change: &Change) -> Vec<(String, String)> {
    let old = |target: &str| change.before.as_ref().and_then(|locked| locked.libraries.get(target));
    let mut rows: Vec<(String, String)> = change
        .after
        .libraries
        .iter()
        .map(|(target, new)| {
            let hashes = match old(target) {
                Some(old) if old != new => format!("{} → {}", short(old), short(new)),
                _ => short(new).to_owned(),
            };
            (target.clone(), hashes)
        })
        .collect();
    for (target, old) in change.before.iter().flat_map(|locked| &locked.libraries) {
        if !change.after.libraries.contains_key(target) {
            rows.push((target.clone(), format!("{} → none", short(old))));
        }
    }
    rows
}

fn as_json(planned: &[Planned], check: bool) -> Json {
    let locked =
        |locked: &Locked| json!({ "version": locked.version.to_string(), "libraries": locked.libraries });
    let files: Vec<Json> = planned
        .iter()
        .map(|one| {
            let plugins: Vec<Json> = one
                .changes
                .iter()
                .map(|change| {
                    json!({
                        "id": change.id,
                        "changed": change.is_change(),
                        "before": change.before.as_ref().map(locked),
                        "after": locked(&change.after),
                    })
                })
                .collect();
            json!({ "lock": one.path, "stale": one.is_stale(), "plugins": plugins })
        })
        .collect();
    json!({ "written": !check && planned.iter().any(Planned::is_stale), "files": files })
}
