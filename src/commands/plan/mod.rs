//! `fusion plan`: what a run would do and why, from headers alone.

mod text;

use fusion_core::plan::{Plan, PlanReport};
use serde_json::{Value as Json, json};

use crate::cli::PlanArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::recipe::{Recipe, label, label_json};
use crate::session::Session;

pub(super) fn plan(session: &Session, args: &PlanArgs) -> Result<Exit, Failure> {
    let recipe = Recipe::load(&args.recipe)?;
    let options = args.engine.options(&recipe.root)?;
    if args.json {
        return as_json(session, &recipe, &options);
    }
    let plans = recipe.plan_or_say(session, &options, false)?;
    let variants = &recipe.compiled.variants;
    let mut out = String::new();
    for (variant, plan) in variants.iter().zip(&plans) {
        if variants.len() > 1 {
            out.push_str(&format!("{}\n\n", session.ui.style.bold(&format!("== {} ==", label(variant)))));
        }
        out.push_str(&text::page(session, &recipe, &plan.report));
    }
    out.push_str("nothing was executed\n");
    session.ui.print(&out)?;
    Ok(Exit::Ok)
}

/// One object: variants with their plans, or null where they have none, and all diagnostics.
fn as_json(
    session: &Session,
    recipe: &Recipe,
    options: &fusion_core::plan::Options,
) -> Result<Exit, Failure> {
    let planned = recipe.plan(options);
    let plans: Vec<Json> = recipe
        .compiled
        .variants
        .iter()
        .enumerate()
        .map(|(index, variant)| {
            let plan = planned.plans.get(index).and_then(Option::as_ref);
            json!({ "label": label_json(variant), "plan": plan.map(|plan| with_places(recipe, plan)) })
        })
        .collect();
    session.ui.json(&json!({
        "fusion": env!("CARGO_PKG_VERSION"),
        "recipe": recipe.path,
        "plugins": recipe.plugins.json(),
        "variants": plans,
        "diagnostics": fusion_dsl::render::json(&planned.diagnostics, &recipe.compiled.sources),
    }))?;
    match crate::exit::of_all(&planned.diagnostics) {
        Exit::Ok => Ok(Exit::Ok),
        exit => Err(Failure::Said(exit)),
    }
}

/// The report with `place` (file, line, column) instead of the byte offsets of spans.
fn with_places(recipe: &Recipe, plan: &Plan) -> Json {
    let report: &PlanReport = &plan.report;
    let mut json = serde_json::to_value(report).unwrap_or(Json::Null);
    let place = |target: &mut Json, span| {
        if let Some(object) = target.as_object_mut() {
            object.remove("span");
            object.insert("place".to_owned(), recipe.place(span));
        }
    };
    for (s, stage) in report.stages.iter().enumerate() {
        for (c, copy) in stage.copies.iter().enumerate() {
            place(&mut json["stages"][s]["copies"][c], copy.span);
        }
        for (p, setting) in stage.settings.iter().enumerate() {
            let target = &mut json["stages"][s]["settings"][p];
            place(target, setting.span);
            for (e, exception) in setting.exceptions.iter().enumerate() {
                place(&mut target["exceptions"][e], exception.span);
            }
        }
    }
    for (s, step) in report.steps.iter().enumerate() {
        for (p, setting) in step.resolved.iter().enumerate() {
            place(&mut json["steps"][s]["resolved"][p], setting.span);
        }
    }
    json
}
