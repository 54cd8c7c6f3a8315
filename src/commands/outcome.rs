//! What an experiment has shown, for the screen: numbers by stage, then each `expect` with its verdict, then where the reports are.

use std::path::Path;

use fusion_core::experiment::Outcome;
use fusion_core::plan::{Fact, Verdict};

use crate::session::Session;
use crate::ui::steps::{fact, of_stage};
use crate::ui::table::{Side, Table};

/// The page; empty for a recipe without stages on networks. Files are shown from where the command was called, as a shell needs them.
pub(super) fn page(session: &Session, root: &Path, label: &str, outcome: &Outcome) -> String {
    let style = session.ui.style;
    let mut out = String::new();
    let measured: Vec<_> = outcome.steps.iter().filter(|step| step.verb == "evaluate").collect();
    if !(label.is_empty() || measured.is_empty() && outcome.expects.is_empty()) {
        out.push_str(&format!("\n{}\n", style.bold(label)));
    }
    if !measured.is_empty() {
        let mut table = Table::new(&[Side::Left, Side::Left, Side::Left]);
        for step in measured {
            let facts: Vec<String> =
                step.facts.iter().map(|(name, value)| of_stage(&step.method, name, *value)).collect();
            table.row([style.bold(&step.name), step.method.clone(), facts.join("  ")]);
        }
        out.push('\n');
        out.push_str(&table.render(session.ui.width));
    }
    if !outcome.expects.is_empty() {
        out.push('\n');
        for verdict in &outcome.expects {
            let word = if verdict.holds { style.good("holds") } else { style.bad("fails") };
            out.push_str(&format!("{word}  {}{}\n", verdict.text, values(verdict)));
        }
    }
    for path in &outcome.paths {
        out.push_str(&format!("\n{} {}\n", style.bold("path"), root.join(path).display()));
    }
    for report in &outcome.reports {
        out.push_str(&format!("\n{} {}\n", style.bold("report"), root.join(report).display()));
    }
    out
}

/// The values in a condition.
fn values(verdict: &Verdict) -> String {
    if verdict.values.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = verdict
        .values
        .iter()
        .map(|(name, value)| match value {
            Fact::Number(number) => fact(name, *number),
            Fact::Bool(truth) => format!("{name} {truth}"),
            Fact::Text(text) => format!("{name} {text}"),
        })
        .collect();
    format!("   ({})", shown.join(", "))
}
