//! A plan as a page for people: inputs, stages with their settings and the lines they came from, outputs, totals.

use std::collections::BTreeMap;

use fusion_core::experiment::StepReport;
use fusion_core::plan::outputs::State;
use fusion_core::plan::{OutputReport, PlanReport, SettingReport, StageReport};

use crate::recipe::Recipe;
use crate::session::Session;
use crate::ui::style::Style;
use crate::ui::table::{Side, Table, wrap};
use crate::ui::units::{count, duration, grouped, plural, size};

pub(super) fn page(session: &Session, recipe: &Recipe, report: &PlanReport) -> String {
    let style = session.ui.style;
    let mut out = String::new();
    if !report.inputs.is_empty() || report.steps.is_empty() {
        out.push_str(&format!("{}\n", style.bold("inputs")));
        out.push_str(&inputs(session, report));
    }
    let plugins = recipe.plugins.table(style);
    if !plugins.is_empty() {
        out.push_str(&format!("\n{}\n{}", style.bold("plugins"), plugins.render(session.ui.width)));
    }
    if !report.stages.is_empty() {
        out.push_str(&format!("\n{}\n", style.bold("stages")));
    }
    for stage in &report.stages {
        out.push_str(&one_stage(session, recipe, stage));
    }
    if !report.steps.is_empty() {
        out.push_str(&format!("\n{}\n", style.bold("networks")));
        out.push_str(&steps(session, report));
    }
    out.push_str(&format!("\n{}\n", style.bold("outputs")));
    if report.outputs.is_empty() {
        out.push_str("  none: the recipe has no `save`\n");
    }
    for output in &report.outputs {
        out.push_str(&one_output(session, output));
    }
    if !report.expects.is_empty() {
        out.push_str(&format!("\n{}\n", style.bold("expectations")));
        for verdict in &report.expects {
            let word = if verdict.holds { style.good("holds") } else { style.bad("fails") };
            out.push_str(&format!("  {word}  {}\n", verdict.text));
        }
    }
    out.push('\n');
    out.push_str(&totals(report));
    out
}

fn inputs(session: &Session, report: &PlanReport) -> String {
    let mut table = Table::new(&[
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Left,
        Side::Right,
    ])
    .indent(2);
    for input in &report.inputs {
        table.row([
            session.ui.style.bold(&input.name),
            input.path.clone(),
            input.kind.clone(),
            plural(input.tensors, "tensor"),
            format!("{} parameters", count(input.parameters)),
            if input.layers == 0 { String::new() } else { plural(input.layers, "layer") },
            dtypes(&input.dtypes),
            size(input.bytes),
        ]);
    }
    table.render(session.ui.width)
}

/// Stages on networks and data.
fn steps(session: &Session, report: &PlanReport) -> String {
    let style = session.ui.style;
    let mut table = Table::new(&[Side::Left, Side::Left, Side::Left, Side::Left, Side::Left]).indent(2);
    for step in &report.steps {
        let mut inputs = step.inputs.clone();
        if inputs.len() > 5 {
            let more = inputs.len() - 4;
            inputs.truncate(4);
            inputs.push(format!("{more} more"));
        }
        table.row([
            session.ui.style.bold(&step.name),
            format!("{} {}", step.verb, step.method),
            if step.cached { "unchanged".to_owned() } else { "run".to_owned() },
            format!("from {}", inputs.join(", ")),
            step.network.clone().unwrap_or_default(),
        ]);
    }
    // A line for each row; under it, settings where they are not those of the last stage of this kind.
    let mut out = String::new();
    let mut last: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (line, step) in table.render(session.ui.width).lines().zip(&report.steps) {
        out.push_str(line);
        out.push('\n');
        let settings = settings(step);
        let before = last.insert((&step.verb, &step.method), settings.clone());
        let mut text = match before {
            Some(before) if before == settings && !settings.is_empty() => "settings as above".to_owned(),
            _ => settings,
        };
        if let Some(seed) = step.seed {
            let comma = if text.is_empty() { "" } else { ", " };
            text.push_str(&format!("{comma}seed {seed}"));
        }
        if !text.is_empty() {
            for line in wrap(&text, 4, session.ui.width.unwrap_or(120).max(40)).lines() {
                out.push_str(&style.dim(line));
                out.push('\n');
            }
        }
    }
    out
}

/// The settings of a stage, but for its seed.
fn settings(step: &StepReport) -> String {
    let one = |setting: &SettingReport| match &setting.input {
        Some(input) => format!("{} of {input} {}", setting.name, setting.value),
        None => format!("{} {}", setting.name, setting.value),
    };
    step.resolved.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Most bytes first.
fn dtypes(bytes: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<(&String, &u64)> = bytes.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let names: Vec<&str> = all.into_iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

fn one_stage(session: &Session, recipe: &Recipe, stage: &StageReport) -> String {
    let style = session.ui.style;
    let what = if stage.method == stage.verb {
        stage.verb.clone()
    } else {
        format!("{} using {}", stage.verb, stage.method)
    };
    let kernel = match stage.kernel.as_str() {
        "route" => "tensors are routed, nothing is computed",
        other => other,
    };
    let passes = match stage.passes {
        0 => String::new(),
        passes => format!(", after {}", plural(passes as usize, "observe pass")),
    };
    let on = if stage.kernel == "route" { String::new() } else { format!(", {}", stage.runs_on) };
    let mut out =
        format!("  {}  {}  {}\n", style.bold(&stage.name), what, style.dim(&format!("{kernel}{passes}{on}")));
    let mut table = Table::new(&[Side::Left, Side::Left]).indent(4);
    table.row(["inputs".to_owned(), stage.inputs.join(", ")]);
    let mut parts = Vec::new();
    if stage.computed > 0 {
        parts.push(format!("{} computed", grouped(stage.computed as u64)));
    }
    if stage.identical > 0 {
        parts.push(format!("{} must be equal in all inputs", grouped(stage.identical as u64)));
    }
    for copy in &stage.copies {
        parts.push(format!(
            "{} copied from {}{}",
            grouped(copy.tensors as u64),
            copy.from,
            at(style, &recipe.line(copy.span))
        ));
    }
    if parts.is_empty() {
        parts.push(grouped(stage.tensors as u64));
    }
    let layers = if stage.layers > 0 {
        format!("; {}", plural(stage.layers as usize, "layer"))
    } else {
        String::new()
    };
    table.row([
        "tensors".to_owned(),
        format!("{}{layers}, {} parameters", parts.join(", "), count(stage.parameters)),
    ]);
    if let Some(seed) = stage.seed {
        table.row(["seed".to_owned(), seed.to_string()]);
    }
    let mut names: Vec<&str> = Vec::new();
    for setting in &stage.settings {
        if !names.contains(&setting.name.as_str()) {
            names.push(&setting.name);
        }
    }
    for name in names {
        let of: Vec<&SettingReport> = stage.settings.iter().filter(|setting| setting.name == name).collect();
        table.row([name.to_owned(), values(style, recipe, &of)]);
    }
    out.push_str(&table.render(session.ui.width));
    out
}

/// ` (line 14)`, or nothing for no place.
fn at(style: Style, line: &str) -> String {
    if line.is_empty() { String::new() } else { style.dim(&format!(" ({line})")) }
}

/// The values of one parameter: one for the stage, or one per input. Inputs with the same value and place are told together.
fn values(style: Style, recipe: &Recipe, of: &[&SettingReport]) -> String {
    let one = |setting: &SettingReport| {
        let place = if setting.default { "default".to_owned() } else { recipe.line(setting.span) };
        let mut text = format!("{}{}", setting.value, at(style, &place));
        for exception in &setting.exceptions {
            let place = recipe.line(exception.span);
            let place = if place.is_empty() { "default".to_owned() } else { place };
            let tensors = plural(exception.tensors, "tensor");
            text.push_str(&format!(", {} on {tensors}{}", exception.value, at(style, &place)));
        }
        text
    };
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for setting in of {
        let text = one(setting);
        let input = setting.input.as_deref().unwrap_or_default();
        match groups.iter_mut().find(|(other, _)| *other == text) {
            Some((_, inputs)) => inputs.push(input),
            None => groups.push((text, vec![input])),
        }
    }
    if let [(text, _)] = groups.as_slice() {
        return text.clone();
    }
    let parts: Vec<String> =
        groups.into_iter().map(|(text, inputs)| format!("{} {text}", inputs.join(", "))).collect();
    parts.join("; ")
}

fn one_output(session: &Session, output: &OutputReport) -> String {
    let style = session.ui.style;
    let (word, why) = match &output.state {
        State::Cached => (style.good("cached"), "it is there, from the same inputs and settings".to_owned()),
        State::Run { why } => (style.act("run"), why.join("; ")),
    };
    let mut out = format!("  {}  {word}: {why}\n", style.bold(&output.path));
    let mut table = Table::new(&[Side::Left, Side::Left]).indent(4);
    table.row([
        output.name.clone(),
        format!(
            "{}, {} parameters, {}, {} in {}",
            plural(output.tensors, "tensor"),
            count(output.parameters),
            dtypes(&output.dtypes),
            size(output.bytes),
            plural(output.shards, "shard")
        ),
    ]);
    match (&output.config, &output.tokenizer) {
        (Some(config), Some(tokenizer)) if config == tokenizer => {
            table.row(["beside".to_owned(), format!("config and tokenizer from {config}")]);
        }
        (config, tokenizer) => {
            if let Some(config) = config {
                table.row(["beside".to_owned(), format!("config from {config}")]);
            }
            if let Some(tokenizer) = tokenizer {
                table.row(["beside".to_owned(), format!("tokenizer from {tokenizer}")]);
            }
        }
    }
    out.push_str(&table.render(session.ui.width));
    out
}

fn totals(report: &PlanReport) -> String {
    let cost = &report.cost;
    let due = report.steps.iter().filter(|step| !step.cached).count();
    let stages = match (report.steps.len(), due) {
        (0, _) => String::new(),
        (_, 0) => "no stage on networks would run again; ".to_owned(),
        (all, _) if all == due => format!("{} on networks would run; ", plural(due, "stage")),
        (all, _) => format!("{} on networks would run, {} are unchanged; ", plural(due, "stage"), all - due),
    };
    if cost.written == 0 {
        return match stages.is_empty() {
            true => "nothing would be written; ".to_owned(),
            false => stages,
        };
    }
    let besides = if due > 0 { " besides the stages" } else { "" };
    format!(
        "{stages}reads {} in {}, writes {}, buffers up to {}, about {}{besides} on {} with {}\n",
        size(cost.read),
        plural(cost.passes as usize, "pass"),
        size(cost.written),
        size(cost.memory),
        duration(cost.seconds),
        report.device,
        plural(report.threads, "thread")
    )
}
