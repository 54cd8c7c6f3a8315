//! Reports: what the steps have left, put together with the recipe, its graph and the verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use fusion_dsl::graph::NodeId;
use fusion_report::ReportError;
use fusion_report::model::{Expect, Graph, Node, Report, StageRow, Status};

use super::run::Outcome;
use super::{ReportPlan, StepRun};
use crate::engine::{Access, Event, Listener, RunError};
use crate::plan::{Fact, Options, Plan, graph_view};

/// Writes the reports of a run.
pub(crate) fn write_reports(
    plan: &Plan,
    options: &Options,
    recipe: &str,
    seconds: f64,
    outcome: &mut Outcome,
    listener: Listener<'_>,
) -> Result<(), RunError> {
    for report in &plan.experiment.reports {
        let whole = assemble(plan, options, recipe, seconds, outcome, report);
        let files = fusion_report::write(&whole, &report.target).map_err(|error| unwritten(error, report))?;
        let Some(first) = files.first() else { continue };
        let shown = shorten(first, &options.root);
        listener(&Event::Reported { path: shown.clone(), files: files.len() });
        outcome.reports.push(shown);
    }
    Ok(())
}

/// A report that cannot be written: what stands there, or the machine.
fn unwritten(error: ReportError, report: &ReportPlan) -> RunError {
    let file = |path: &Path, error| RunError::file("the report", path, Access::Write, error);
    let advice = "make room or allow it to be written, or report elsewhere; what was computed is kept";
    match error {
        ReportError::Io { path, source, .. } => file(&path, source).advised(advice),
        ReportError::Foreign { path } => {
            file(&path, taken("it is a folder, and no report of fusion is in it"))
                .advised("name another folder, or remove it")
        }
        ReportError::Kind { path, found, wanted } => {
            file(&path, taken(&format!("it is {found}, and {wanted} is to be written")))
                .advised("name another, or remove it")
        }
        error => RunError::Method {
            stage: report.path.clone(),
            method: "report".to_owned(),
            message: error.to_string(),
            help: None,
            span: report.span,
        },
    }
}

fn taken(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, reason)
}

/// A path as the recipe's author knows it.
fn shorten(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn assemble(
    plan: &Plan,
    options: &Options,
    recipe: &str,
    seconds: f64,
    outcome: &Outcome,
    report: &ReportPlan,
) -> Report {
    let steps: BTreeMap<&str, &StepRun> = outcome.steps.iter().map(|run| (run.name.as_str(), run)).collect();
    let mut facts = BTreeMap::new();
    for (node, result) in &outcome.results {
        let name = &plan.graph.node(*node).name;
        facts.extend(result.facts.iter().map(|(fact, value)| (format!("{name}.{fact}"), *value)));
    }
    // What was asked for comes first, then all that it was made from, as it was made.
    let asked: Vec<NodeId> = report.inputs.clone();
    let made_from = closure(plan, &asked);
    let mut others: Vec<_> = plan
        .experiment
        .steps
        .iter()
        .filter(|step| made_from.contains(&step.node) && !asked.contains(&step.node))
        .collect();
    others.sort_by_key(|step| plan.experiment.place(&step.name));
    let order = asked.iter().copied().chain(others.iter().map(|step| step.node));
    let sections: Vec<_> = order
        .filter_map(|node| outcome.results.get(&node))
        .flat_map(|result| result.sections.iter().cloned())
        .collect();
    let sections = super::together::together(&sections).into_iter().chain(sections).collect();
    let mut in_order: Vec<_> = plan.experiment.steps.iter().collect();
    in_order.sort_by_key(|step| plan.experiment.place(&step.name));
    let stages = in_order
        .into_iter()
        .filter(|step| step.verb.is_some())
        .filter_map(|step| {
            let run = steps.get(step.name.as_str())?;
            Some(StageRow {
                name: step.name.clone(),
                verb: run.verb.clone(),
                method: run.method.clone(),
                status: if run.cached { Status::Cached } else { Status::Ran },
                seconds: run.seconds,
                cost: run.cost.clone(),
                // Where there is one network, every line would say the same.
                notes: step
                    .architecture
                    .filter(|_| plan.experiment.architectures.len() > 1)
                    .map(|index| plan.experiment.architectures[index].to_string())
                    .into_iter()
                    .collect(),
            })
        })
        .collect();
    let mut seeds: Vec<u64> =
        plan.experiment.steps.iter().filter(|step| step.seeded).map(|step| step.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let expects = outcome
        .expects
        .iter()
        .chain(&plan.report.expects)
        .map(|verdict| Expect {
            text: verdict.text.clone(),
            holds: verdict.holds,
            values: verdict
                .values
                .iter()
                .filter_map(|(name, value)| match value {
                    Fact::Number(number) => Some((name.clone(), *number)),
                    _ => None,
                })
                .collect(),
            line: 0,
        })
        .collect();
    Report {
        title: report.title.clone().unwrap_or_else(|| title(recipe)),
        recipe_text: recipe.to_owned(),
        graph: graph(plan),
        tool: format!("fusion {}", env!("CARGO_PKG_VERSION")),
        started: String::new(),
        seconds,
        device: options.device.to_string(),
        threads: options.threads,
        seeds,
        stages,
        sections,
        expects,
        facts,
    }
}

/// The first comment of a recipe is what it is about.
fn title(recipe: &str) -> String {
    let line = recipe.lines().map(str::trim).find_map(|line| line.strip_prefix('#'));
    let text = line.map(|line| line.trim_start_matches('#').trim()).filter(|text| !text.is_empty());
    text.unwrap_or("fusion report").trim_end_matches('.').to_owned()
}

/// All steps that some are made from, themselves included.
fn closure(plan: &Plan, roots: &[NodeId]) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    let mut stack = roots.to_vec();
    while let Some(node) = stack.pop() {
        if found.insert(node) {
            stack.extend(plan.experiment.step(node).into_iter().flat_map(|step| step.needs.iter().copied()));
        }
    }
    found
}

/// The recipe's graph, a column for each step from the inputs. Conditions have no arrows, and are left out.
fn graph(plan: &Plan) -> Graph {
    let view = graph_view(&plan.graph);
    let drawn: Vec<_> = view.boxes.iter().filter(|one| one.kind != "expect").collect();
    let place: BTreeMap<usize, usize> =
        drawn.iter().enumerate().map(|(index, one)| (one.id, index)).collect();
    // Models of one stage's part are one arrow.
    let edges: BTreeSet<(usize, usize)> =
        view.edges.iter().filter_map(|edge| Some((*place.get(&edge.from)?, *place.get(&edge.to)?))).collect();
    let mut columns = vec![0_usize; drawn.len()];
    // Nodes come in topological order.
    for index in 0..drawn.len() {
        let before = edges.iter().filter(|(_, to)| *to == index).map(|(from, _)| columns[*from] + 1).max();
        columns[index] = before.unwrap_or(0);
    }
    let nodes = drawn
        .iter()
        .zip(columns)
        .map(|(one, column)| {
            let (verb, method) = one.detail.split_once(" using ").unwrap_or((one.kind, one.detail.as_str()));
            Node { name: one.title.clone(), verb: verb.to_owned(), method: method.to_owned(), column }
        })
        .collect();
    Graph { nodes, edges: edges.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comment_is_the_title() {
        assert_eq!(title("fusion 1\n\n# Lines fail.\n# More\nmodel a"), "Lines fail");
        assert_eq!(title("fusion 1\nmodel a"), "fusion report");
    }
}
