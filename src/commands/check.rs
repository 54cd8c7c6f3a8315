//! `fusion check`: only what is wrong, for one or many recipes, with fixes where they are certain.

use std::path::{Path, PathBuf};

use fusion_core::plan::Options;
use fusion_dsl::diag::{Diagnostic, apply_fixes, has_errors};
use fusion_dsl::span::FileId;
use serde_json::json;

use crate::cli::CheckArgs;
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::recipe::{Recipe, read_text};
use crate::session::Session;
use crate::ui::units::plural;

/// Fixing one mistake may bring up the next; a recipe is not fixed more often than this in one call.
const ROUNDS: usize = 8;

pub(super) fn check(session: &Session, args: &CheckArgs) -> Result<Exit, Failure> {
    let mut all: Vec<Diagnostic> = Vec::new();
    for path in &args.recipes {
        let text = match args.fix {
            true => fix(session, path, args)?,
            false => read_text(path)?,
        };
        all.extend(one(session, path, text, args)?);
    }
    match exit::of_all(&all) {
        Exit::Ok => Ok(Exit::Ok),
        exit => Err(Failure::Said(exit)),
    }
}

fn one(session: &Session, path: &Path, text: String, args: &CheckArgs) -> Result<Vec<Diagnostic>, Failure> {
    let (recipe, found, outputs) = checked(path, text, args)?;
    match session.say(path, &found, &recipe.compiled.sources, args.json) {
        Ok(()) | Err(Failure::Said(_)) => {}
        Err(other) => return Err(other),
    }
    let graph = recipe.compiled.variants.first().map(|variant| &variant.graph);
    let stages = graph.map_or(0, |graph| {
        graph.nodes.iter().filter(|node| matches!(node.kind, fusion_dsl::graph::NodeKind::Stage(_))).count()
    });
    let variants = recipe.compiled.variants.len();
    if args.json {
        let errors = found.iter().filter(|one| one.is_error()).count();
        session.ui.json_line(&json!({
            "event": "checked",
            "recipe": path,
            "ok": errors == 0,
            "errors": errors,
            "warnings": found.len() - errors,
            "stages": stages,
            "outputs": outputs,
            "variants": variants,
        }))?;
    } else if !has_errors(&found) {
        let sweep = if variants > 1 { format!(", {variants} variants") } else { String::new() };
        let warnings = match found.len() {
            0 => String::new(),
            some => format!(", {}", plural(some, "warning")),
        };
        let ok = session.ui.style.good("ok");
        let (stages, outputs) = (plural(stages, "stage"), plural(outputs, "output"));
        session.ui.print(&format!("{ok}: {}: {stages}, {outputs}{sweep}{warnings}\n", path.display()))?;
    }
    Ok(found)
}

/// The recipe, what is to be said about it, and how many outputs its variants have.
fn checked(path: &Path, text: String, args: &CheckArgs) -> Result<(Recipe, Vec<Diagnostic>, usize), Failure> {
    let recipe = Recipe::compile(path.to_owned(), text, &args.set, &args.plugins)?;
    let mut options = Options::new(&recipe.root);
    // Whether an output may be replaced is a question of the run.
    options.overwrite = true;
    let planned = recipe.plan(&options);
    let outputs = planned.plans.iter().flatten().map(|plan| plan.outputs.len()).sum();
    Ok((recipe, planned.diagnostics, outputs))
}

/// Applies fixes to the file until none is left, and gives its text.
fn fix(session: &Session, path: &PathBuf, args: &CheckArgs) -> Result<String, Failure> {
    let mut text = read_text(path)?;
    let mut total = 0;
    for _ in 0..ROUNDS {
        let (_, found, _) = checked(path, text.clone(), args)?;
        let own: Vec<Diagnostic> = found
            .into_iter()
            .filter(|one| {
                one.fixes.first().is_some_and(|fix| fix.edits.iter().all(|e| e.span.file == FileId::MAIN))
            })
            .collect();
        let (fixed, applied) = apply_fixes(&text, &own);
        if applied == 0 || fixed == text {
            break;
        }
        text = fixed;
        total += applied;
    }
    if total > 0 {
        if path != Path::new("-") {
            std::fs::write(path, &text).map_err(|error| Failure::write(path, &error))?;
        }
        session.ui.error(&format!("{}: {} applied\n", path.display(), plural(total, "fix")));
    }
    Ok(text)
}
