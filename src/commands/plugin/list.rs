//! `fusion plugin list`: every plugin that is there, which one recipes get, and why not the others. Nothing is hidden.

use std::collections::BTreeSet;

use fusion_core::host::{Candidate, Inventory, TARGET, Wanted, candidates, discover, requirement};
use fusion_dsl::codes::Code;
use serde_json::{Value as Json, json};

use super::methods;
use crate::cli::PluginListArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::places::places;
use crate::session::Session;
use crate::ui::table::{Side, Table};

/// A candidate and what is wrong with it, if anything: a word and a sentence.
struct Row<'a> {
    candidate: Candidate<'a>,
    refusal: Option<(&'static str, String)>,
}

pub(super) fn list(session: &Session, args: &PluginListArgs) -> Result<Exit, Failure> {
    let inventory = discover(places(&args.plugin_path, None)?);
    let requirements: Vec<_> = match (&args.why, &args.accept) {
        (Some(id), Some(text)) => vec![requirement(id, text).map_err(Failure::from)?],
        _ => Vec::new(),
    };
    let ids: BTreeSet<&str> = match &args.why {
        Some(id) => BTreeSet::from([id.as_str()]),
        None => inventory.found.iter().map(|found| found.id.as_str()).collect(),
    };
    let rows: Vec<Row<'_>> = ids
        .into_iter()
        .flat_map(|id| {
            let wanted = Wanted { id: id.to_owned(), requirements: requirements.clone(), locked: None };
            candidates(&inventory, &wanted)
        })
        .map(Row::new)
        .collect();
    if args.json {
        session.ui.json(&as_json(&inventory, &rows))?;
    } else if let Some(id) = &args.why {
        session.ui.print(&why(session, &inventory, id, &rows))?;
    } else {
        session.ui.print(&all(session, &inventory, &rows))?;
    }
    match &args.why {
        Some(id) if rows.is_empty() && !args.json => {
            Err(Failure::new(Code::PluginNotFound, format!("the plugin `{id}` is not installed"))
                .help("install it with `fusion plugin add`, or name its folder with `--plugin-path`"))
        }
        Some(_) if rows.is_empty() => Err(Failure::Said(Exit::Plugin)),
        _ => Ok(Exit::Ok),
    }
}

impl<'a> Row<'a> {
    fn new(candidate: Candidate<'a>) -> Self {
        let refusal = match (&candidate.refusal, &candidate.found.bundle) {
            (Some(refusal), _) => Some((refusal.word(), refusal.to_string())),
            // A recipe would get this one, and be told.
            (None, Ok(bundle)) => bundle.intact(TARGET).err().map(|error| ("damaged", error.to_string())),
            (None, Err(error)) => Some(("broken", error.to_string())),
        };
        Row { candidate, refusal }
    }

    fn version(&self) -> String {
        self.candidate.found.version.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string)
    }
}

fn all(session: &Session, inventory: &Inventory, rows: &[Row<'_>]) -> String {
    let style = session.ui.style;
    let mut table = Table::new(&[Side::Left, Side::Left, Side::Left, Side::Left, Side::Left]);
    for row in rows {
        let found = row.candidate.found;
        let folder = found.folder.display().to_string();
        match &row.refusal {
            None => table.row([
                style.good("usable"),
                style.bold(&found.id),
                row.version(),
                found.bundle.as_ref().map(methods).unwrap_or_default(),
                style.dim(&folder),
            ]),
            Some((word, _)) => {
                let word = word.replace('_', " ");
                table.row([
                    style.bad(&word),
                    found.id.clone(),
                    row.version(),
                    String::new(),
                    style.dim(&folder),
                ]);
            }
        }
    }
    let mut out = table.render(session.ui.width);
    if rows.is_empty() {
        out.push_str("no plugin is installed; looked in\n");
        out.push_str(&searched(session, inventory));
    } else if rows.iter().any(|row| row.refusal.is_some()) {
        out.push_str("`fusion plugin list --why ID` says why\n");
    }
    for (folder, reason) in &inventory.unreadable {
        out.push_str(&format!("`{}` cannot be read: {reason}\n", folder.display()));
    }
    out
}

fn why(session: &Session, inventory: &Inventory, id: &str, rows: &[Row<'_>]) -> String {
    let style = session.ui.style;
    let mut out = format!("{}\n", style.bold(id));
    for row in rows {
        let word = match &row.refusal {
            None => style.good("usable"),
            Some((word, _)) => style.bad(&word.replace('_', " ")),
        };
        out.push_str(&format!(
            "  {} {word}  {}\n",
            row.version(),
            style.dim(&row.candidate.found.folder.display().to_string())
        ));
        match &row.refusal {
            Some((_, reason)) => out.push_str(&format!("    {reason}\n")),
            None => out.push_str(
                "    this is the one that recipes get, unless they or their lock file want another\n",
            ),
        }
    }
    out.push_str(&format!("{}\n", style.bold("looked in")));
    out.push_str(&searched(session, inventory));
    for (folder, reason) in &inventory.unreadable {
        out.push_str(&format!("  `{}` cannot be read: {reason}\n", folder.display()));
    }
    out
}

/// The places, in order.
fn searched(session: &Session, inventory: &Inventory) -> String {
    let mut table = Table::new(&[Side::Left, Side::Left, Side::Left]).indent(2);
    for place in &inventory.places {
        let there = if place.folder.is_dir() { "" } else { "not there" };
        table.row([place.folder.display().to_string(), place.origin.clone(), session.ui.style.dim(there)]);
    }
    table.render(session.ui.width)
}

fn as_json(inventory: &Inventory, rows: &[Row<'_>]) -> Json {
    let plugins: Vec<Json> = rows
        .iter()
        .map(|row| {
            let found = row.candidate.found;
            let manifest = found.bundle.as_ref().ok().map(|bundle| &bundle.manifest);
            json!({
                "id": found.id,
                "version": found.version.as_ref().map(ToString::to_string),
                "folder": found.folder,
                "place": inventory.places[found.place].folder,
                "usable": row.refusal.is_none(),
                "refused": row.refusal.as_ref().map(|(word, reason)| json!({ "why": word, "text": reason })),
                "methods": manifest.map(|manifest| {
                    manifest.qualified().map(|method| method.id).collect::<Vec<_>>()
                }),
                "targets": manifest.map(|manifest| manifest.libraries.keys().collect::<Vec<_>>()),
            })
        })
        .collect();
    let places: Vec<Json> = inventory
        .places
        .iter()
        .map(
            |place| json!({ "folder": place.folder, "origin": place.origin, "there": place.folder.is_dir() }),
        )
        .collect();
    let unreadable: Vec<Json> = inventory
        .unreadable
        .iter()
        .map(|(folder, reason)| json!({ "folder": folder, "text": reason }))
        .collect();
    json!({ "target": TARGET, "places": places, "unreadable": unreadable, "plugins": plugins })
}
