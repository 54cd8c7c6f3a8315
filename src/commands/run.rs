//! `fusion run`: check, plan, run with progress, and sum up.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fusion_core::engine::{self, RunError, RunReport};
use fusion_core::plan::outputs::State;
use fusion_core::plan::{Options, Plan};
use fusion_dsl::codes::Code;
use fusion_dsl::diag::has_errors;
use fusion_dsl::suggest;
use serde_json::json;

use super::outcome;
use crate::cli::RunArgs;
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::plugins::Isolation;
use crate::recipe::{Recipe, label, label_json};
use crate::session::Session;
use crate::ui::progress::{Mode, Progress};
use crate::ui::table::{Side, Table};
use crate::ui::units::{duration, plural, size};

/// One finished variant.
struct Finished {
    label: String,
    report: RunReport,
    rows: Vec<Row>,
    seconds: f64,
}

/// One line of the summary.
struct Row {
    path: String,
    bytes: u64,
    seconds: Option<f64>,
    note: String,
}

pub(super) fn run(session: &Session, args: &RunArgs) -> Result<Exit, Failure> {
    let mut recipe = Recipe::load(&args.recipe)?;
    let options = args.engine.options(&recipe.root)?;
    let cancel = stop_on_ctrl_c()?;
    load_plugins(session, &mut recipe, &options, args, &cancel)?;
    let recipe = recipe;
    let mut plans = recipe.plan_or_say(session, &options, args.json).map_err(|failure| match failure {
        // A plugin's code runs here too, and it was asked to stop.
        Failure::Said(_) if cancel.load(Ordering::SeqCst) => Failure::Said(Exit::Cancelled),
        other => other,
    })?;
    if plans.iter().all(|plan| plan.outputs.is_empty() && plan.experiment.is_empty()) {
        if !args.json && !args.quiet {
            session
                .ui
                .error("nothing to do: the recipe has no `save`, and no stage that measures or reports\n");
        }
        return Ok(Exit::Ok);
    }
    let mode = match (args.json, args.quiet, session.ui.live) {
        (true, ..) => Mode::Json,
        (_, true, _) => Mode::Quiet,
        (_, _, true) => Mode::Bar,
        _ => Mode::Lines,
    };
    let variants = &recipe.compiled.variants;
    let mut finished: Vec<Finished> = Vec::new();
    let mut failure = None;
    for (index, variant) in variants.iter().enumerate() {
        // A later variant may save what an earlier one has just written; its plan must see that.
        let plan = if index == 0 {
            plans.swap_remove(0)
        } else {
            let (plan, found) = fusion_core::plan::plan(&variant.graph, &recipe.registry, &options);
            match plan {
                Some(plan) => plan,
                None => {
                    failure = session.say(&recipe.path, &found, &recipe.compiled.sources, args.json).err();
                    break;
                }
            }
        };
        let name = label(variant);
        if variants.len() > 1 {
            if args.json {
                let line = json!({ "event": "variant", "index": index, "of": variants.len(), "label": label_json(variant) });
                session.ui.json_line(&line)?;
            } else if !args.quiet {
                session.ui.error(&format!("{name} ({} of {})\n", index + 1, variants.len()));
            }
        }
        let progress = Progress::new(mode);
        let listener = |event: &engine::Event| progress.event(event);
        let result = engine::run(&plan, &recipe.registry, &options, &recipe.text, &listener, &cancel);
        progress.close();
        match result {
            Ok(report) => {
                if args.json {
                    session.ui.json_line(&json!({ "event": "report", "report": report }))?;
                }
                finished.push(Finished::new(name, report, &plan, &progress));
            }
            Err(error) => {
                let blamed = recipe.plugins.blamed(&error, Failure::from(&error));
                failure = Some(match (&error, blamed) {
                    // It has a place in the recipe.
                    (RunError::Method { span, .. }, Failure::Diagnostic(mut diagnostic)) => {
                        diagnostic.primary.span = *span;
                        let (code, sources) = (diagnostic.code, &recipe.compiled.sources);
                        match session.say(&recipe.path, &[*diagnostic], sources, args.json) {
                            Ok(()) => Failure::Closed,
                            // As that of a run, not of a recipe that is checked.
                            Err(Failure::Said(_)) => Failure::Said(exit::of(code)),
                            Err(other) => other,
                        }
                    }
                    (_, blamed) => said(session, blamed, args.json),
                });
                break;
            }
        }
    }
    let asked = !args.json && !args.quiet;
    if asked && !finished.is_empty() {
        session.ui.print(&summary(session, &recipe.root, &finished))?;
    }
    let failed =
        finished.iter().any(|one| one.report.experiment.expects.iter().any(|verdict| !verdict.holds));
    match failure {
        None if failed => Err(Failure::Said(Exit::User)),
        None => Ok(Exit::Ok),
        Some(failure) => {
            if asked && variants.len() > 1 {
                let done = finished.len();
                session.ui.error(&format!("{done} of {} variants are finished\n", variants.len()));
            }
            Err(failure)
        }
    }
}

/// Loads the plugins of a recipe that is otherwise right, if anything is to be computed: until then no code of theirs has run.
fn load_plugins(
    session: &Session,
    recipe: &mut Recipe,
    options: &Options,
    args: &RunArgs,
    cancel: &Arc<AtomicBool>,
) -> Result<(), Failure> {
    let used: BTreeSet<&str> = recipe.compiled.plugins.iter().map(|one| one.id.as_str()).collect();
    if let Some(id) = args.isolate.iter().find(|id| !used.contains(id.as_str()))
        && !recipe.compiled.has_errors()
    {
        let uses = match used.is_empty() {
            true => String::new(),
            false => format!("; it uses {}", suggest::list(used, 8)),
        };
        return Err(Failure::usage(format!("`--isolate {id}`: the recipe uses no plugin `{id}`{uses}")));
    }
    if recipe.plugins.is_empty() {
        return Ok(());
    }
    let planned = recipe.plan(options);
    if has_errors(&planned.diagnostics) {
        return session.say(&recipe.path, &planned.diagnostics, &recipe.compiled.sources, args.json);
    }
    let due = |plan: &Plan| plan.outputs.iter().any(|output| output.state != State::Cached);
    if planned.plans.iter().flatten().any(due) {
        let loaded = recipe.load_plugins(&Isolation { ids: &args.isolate, stop: cancel });
        loaded.map_err(|failure| said(session, failure, args.json))?;
    }
    Ok(())
}

/// With `--json`, what went wrong is an event too; people read it on stderr.
fn said(session: &Session, failure: Failure, json: bool) -> Failure {
    if json && let Failure::Diagnostic(diagnostic) = &failure {
        let sources = fusion_dsl::span::SourceMap::new();
        for one in fusion_dsl::render::json(std::slice::from_ref(&**diagnostic), &sources) {
            let _ = session.ui.json_line(&json!({ "event": "diagnostic", "diagnostic": one }));
        }
    }
    failure
}

/// The first Ctrl-C (or SIGTERM) asks the engine to stop, the second ends the process at once. Either way the finished
/// part is on disk and the next run goes on from it.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>, Failure> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Exit::Cancelled.code()));
        }
    })
    .map_err(|error| Failure::new(Code::Internal, format!("Ctrl-C cannot be handled: {error}")))?;
    Ok(cancel)
}

impl Finished {
    fn new(label: String, report: RunReport, plan: &Plan, progress: &Progress) -> Self {
        let rows = report
            .outputs
            .iter()
            .map(|output| {
                let planned = plan.report.outputs.iter().find(|one| one.path == output.path);
                let note = match (output.cached, output.resumed) {
                    (true, _) => "unchanged, not run again".to_owned(),
                    (_, 0) => String::new(),
                    (_, done) => format!("resumed: {done} of {} tensors were there", output.tensors),
                };
                Row {
                    path: output.path.clone(),
                    bytes: planned.map_or(0, |one| one.bytes),
                    seconds: progress.taken(&output.path),
                    note,
                }
            })
            .collect();
        Finished { label, seconds: report.seconds, report, rows }
    }
}

fn summary(session: &Session, root: &Path, finished: &[Finished]) -> String {
    let style = session.ui.style;
    let mut table = Table::new(&[Side::Left, Side::Right, Side::Right, Side::Right]);
    let labelled = finished.len() > 1;
    let (mut read, mut written, mut seconds) = (0, 0, 0.0);
    for one in finished {
        for row in &one.rows {
            let rate = match row.seconds {
                Some(seconds) if seconds > 0.0 => format!("{:.2} GB/s", row.bytes as f64 / seconds / 1e9),
                _ => String::new(),
            };
            let mut note = row.note.clone();
            if labelled {
                note = if note.is_empty() { one.label.clone() } else { format!("{}; {note}", one.label) };
            }
            table.row([
                style.bold(&row.path),
                size(row.bytes),
                row.seconds.map(duration).unwrap_or_default(),
                rate,
                note,
            ]);
        }
        read += one.report.read;
        written += one.report.written;
        seconds += one.seconds;
    }
    let mut text = String::new();
    for one in finished {
        text.push_str(&outcome::page(session, root, &one.label, &one.report.experiment));
    }
    text.push_str(&table.render(session.ui.width));
    if written > 0 {
        let outputs: usize =
            finished.iter().map(|one| one.rows.iter().filter(|row| row.seconds.is_some()).count()).sum();
        text.push_str(&style.dim(&format!(
            "{} in {}: read {}, wrote {}",
            plural(outputs, "output"),
            duration(seconds),
            size(read),
            size(written)
        )));
        text.push('\n');
    }
    text
}
