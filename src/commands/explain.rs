//! `fusion explain`: the page of a code, or where one tensor of a recipe comes from.

use std::path::{Path, PathBuf};

use fusion_core::plan::{Explained, Options, Plan, explain as explain_tensor};
use fusion_dsl::codes::Code;
use serde_json::{Value as Json, json};

use crate::cli::{ExplainArgs, PluginArgs, RecipeArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::recipe::Recipe;
use crate::session::Session;
use crate::ui::table::{Side, Table};
use crate::ui::units::plural;

pub(super) fn explain(session: &Session, args: &ExplainArgs) -> Result<Exit, Failure> {
    if args.list {
        return list(session, args.json);
    }
    let Some(what) = &args.what else { return Err(Failure::usage("name a code or a recipe")) };
    match (&args.tensor, Code::parse(what)) {
        (Some(tensor), _) => {
            let plugins = PluginArgs { plugin_path: args.plugin_path.clone(), no_plugins: args.no_plugins };
            let recipe = RecipeArgs { recipe: PathBuf::from(what), set: args.set.clone(), plugins };
            one_tensor(session, &recipe, tensor, args.json)
        }
        (None, Some(code)) if args.json => {
            session.ui.json(&code_json(code, true))?;
            Ok(Exit::Ok)
        }
        (None, Some(code)) => session.ui.print(&code.page()).map(|()| Exit::Ok),
        (None, None) if Path::new(what).is_file() => Err(Failure::usage(format!(
            "which tensor? `fusion explain {what} --tensor NAME`; `fusion plan {what}` shows the whole"
        ))),
        (None, None) => Err(Failure::usage(format!(
            "`{what}` is neither a code nor a recipe; codes look like `F0203`, `fusion explain --list` has them all"
        ))),
    }
}

fn code_json(code: Code, page: bool) -> Json {
    let mut value = json!({
        "code": code.as_str(),
        "severity": code.severity().word(),
        "group": code.group(),
        "title": code.title(),
    });
    if page {
        value["page"] = code.page().into();
    }
    value
}

fn list(session: &Session, json: bool) -> Result<Exit, Failure> {
    if json {
        let all: Vec<Json> = Code::ALL.iter().map(|code| code_json(*code, false)).collect();
        session.ui.json(&all)?;
        return Ok(Exit::Ok);
    }
    let mut out = String::new();
    let mut group = "";
    for code in Code::ALL {
        if code.group() != group {
            out.push_str(if group.is_empty() { "" } else { "\n" });
            group = code.group();
            out.push_str(&format!("{}\n", session.ui.style.bold(group)));
        }
        out.push_str(&format!("  {code}  {:7}  {}\n", code.severity().word(), code.title()));
    }
    session.ui.print(&out)?;
    Ok(Exit::Ok)
}

fn one_tensor(session: &Session, args: &RecipeArgs, name: &str, as_json: bool) -> Result<Exit, Failure> {
    let recipe = Recipe::load(args)?;
    let mut options = Options::new(&recipe.root);
    options.overwrite = true;
    let plans = recipe.plan_or_say(session, &options, as_json)?;
    // Variants of a sweep share the way; values are those of the first.
    let Some(plan) = plans.first() else { return Ok(Exit::Ok) };
    let steps = explain_tensor(plan, &recipe.registry, name);
    if steps.is_empty() {
        return Err(unknown(plan, name));
    }
    if as_json {
        session.ui.json(&steps.iter().map(|step| step_json(&recipe, step)).collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    let mut out = String::new();
    for (index, step) in steps.iter().enumerate() {
        out.push_str(&step_text(session, &recipe, step, index == 0));
    }
    if plans.len() > 1 {
        out.push_str(&format!(
            "(the first of {}; `--set` chooses another)\n",
            plural(plans.len(), "variant")
        ));
    }
    session.ui.print(&out)?;
    Ok(Exit::Ok)
}

/// No such tensor: names that contain what was written, or share its end, are the likely ones.
fn unknown(plan: &Plan, name: &str) -> Failure {
    let mut names: Vec<&str> =
        plan.views.values().flat_map(|view| view.tensors.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let end = name.rsplit('.').take(2).collect::<Vec<_>>();
    let near: Vec<&str> = names
        .iter()
        .copied()
        .filter(|other| other.contains(name) || end.iter().all(|part| other.contains(part)))
        .take(5)
        .collect();
    let failure = Failure::new(Code::MatchesNothing, format!("the recipe has no tensor `{name}`"));
    if near.is_empty() {
        failure.help(format!(
            "it has {}, for example `{}`",
            plural(names.len(), "tensor"),
            names.first().unwrap_or(&"")
        ))
    } else {
        failure.help(format!("near it: `{}`", near.join("`, `")))
    }
}

fn step_json(recipe: &Recipe, step: &Explained) -> Json {
    let settings: Vec<Json> = step
        .settings
        .iter()
        .zip(&step.values)
        .map(|((traced, shown), (name, input, value))| {
            json!({
                "name": name,
                "input": input,
                "value": value,
                "shown": shown,
                "default": traced.span.is_none(),
                "place": recipe.place(traced.span),
            })
        })
        .collect();
    json!({
        "kind": step.kind,
        "tensor": step.tensor,
        "of": step.of,
        "shape": step.shape,
        "dtype": step.dtype,
        "verb": step.verb,
        "method": step.method,
        "units": step.units,
        "inputs": step.inputs,
        "settings": settings,
    })
}

fn step_text(session: &Session, recipe: &Recipe, step: &Explained, first: bool) -> String {
    let style = session.ui.style;
    let shape: Vec<String> = step.shape.iter().map(ToString::to_string).collect();
    let what = format!("{} [{}]", step.dtype, shape.join(", "));
    let how = match (step.kind, &step.method) {
        ("computed", Some(method)) => {
            format!("computed by {} ({method}) from {}", step.of, step.inputs.join(", "))
        }
        ("adapter", _) => format!("the adapter of {} added to its base", step.of),
        ("identical", _) => format!("copied from {}", step.of),
        ("made", Some(method)) => match &step.verb {
            Some(verb) if step.inputs.is_empty() => format!("made by {} ({verb} {method})", step.of),
            Some(verb) => format!("made by {} ({verb} {method}) from {}", step.of, step.inputs.join(", ")),
            None => format!("first weights of {} ({method})", step.of),
        },
        _ => format!("stored in {}", step.of),
    };
    let mark = if first { "" } else { "<- " };
    let mut out = format!("{mark}{}  {}  {how}\n", style.bold(&step.tensor), style.dim(&what));
    let mut table = Table::new(&[Side::Left, Side::Left, Side::Left]).indent(4);
    if let Some(units) = &step.units {
        table.row(["units".to_owned(), units.clone(), style.dim("along its axes")]);
    }
    for (traced, shown) in &step.settings {
        let name = match traced.input.and_then(|input| step.inputs.get(input)) {
            Some(input) => format!("{} of {input}", traced.name),
            None => traced.name.clone(),
        };
        let line = recipe.line(traced.span);
        let place = if line.is_empty() { "default".to_owned() } else { line };
        table.row([name, shown.clone(), style.dim(&place)]);
    }
    out.push_str(&table.render(session.ui.width));
    out
}
