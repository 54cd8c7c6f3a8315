//! What is shown and kept of an alignment: a table of its nodes, the course of the search, the transforms as files.

use fusion_report::model::{Axis, Cell, Column, Dash, Panel, Plot, Section, Series, Style, Table, Training};
use fusion_sdk::align::Aligned;
use fusion_sdk::alignment::{Alignment, Transform};
use fusion_sdk::symmetry::Symmetries;

use super::super::super::results::Facts;
use super::super::super::{AlignPlan, Step};
use super::super::File;

/// Rows of the table of nodes; a large model has hundreds.
const ROWS: usize = 60;

/// The facts worth a line.
pub(super) fn shown(facts: &Facts) -> Vec<String> {
    let wanted = ["objective_before", "objective", "loss", "sweeps", "steps", "moved"];
    wanted.into_iter().filter(|name| facts.contains_key(*name)).map(str::to_owned).collect()
}

/// What was done, in words.
pub(super) fn cost(symmetries: &Symmetries) -> String {
    let units: usize = symmetries.ids().map(|id| symmetries.copies(id) * symmetries.node(id).size).sum();
    format!("{units} units in {} sets", symmetries.nodes.len())
}

/// The transforms as files.
pub(super) fn alignments(found: &[Alignment]) -> Vec<File> {
    let text = |alignment: &Alignment| serde_json::to_string(alignment).unwrap_or_default();
    found.iter().enumerate().map(|(index, one)| File::Text(super::file(index), text(one))).collect()
}

pub(super) fn section(
    step: &Step,
    plan: &AlignPlan,
    found: &Aligned,
    facts: &Facts,
    notes: &[String],
) -> Section {
    let mut whole = Table::new("alignment", vec![Column::text(""), Column::number("value", "")]);
    for (name, value) in facts {
        whole.rows.push(vec![Cell::text(name.replace('_', " ")), Cell::number(*value)]);
    }
    let mut tables = vec![whole, nodes(plan, found)];
    tables.retain(|table| !table.rows.is_empty());
    let mut plots = Vec::new();
    if found.trace.len() > 1 {
        let points = found.trace.iter().enumerate().map(|(index, value)| (index as f64, *value)).collect();
        plots.push(Plot::Training(Training {
            title: format!("{}: search", step.name),
            caption: "What the search makes larger (an objective) or smaller (a loss), step by step."
                .to_owned(),
            x: Axis::new("step", "").linear(),
            panels: vec![Panel {
                y: Axis::new("value", "").linear(),
                series: vec![Series::new("value", points, Style::line(0, Dash::Solid))],
            }],
        }));
    }
    Section {
        title: format!("{} · align {}", step.name, step.method), text: notes.join("\n"), tables, plots
    }
}

/// A row for every node: how many units, how many of them have another place.
fn nodes(plan: &AlignPlan, found: &Aligned) -> Table {
    let mut table = Table::new(
        "units",
        vec![
            Column::text("units of"),
            Column::text("in"),
            Column::number("units", ""),
            Column::text("transform"),
            Column::number("moved", ""),
        ],
    );
    let Some(first) = found.alignments.first() else { return table };
    let symmetries = &plan.target;
    for id in symmetries.ids().take(ROWS) {
        let node = symmetries.node(id);
        let parents: Vec<&str> =
            node.parents.iter().map(|parent| symmetries.node(*parent).name.as_str()).collect();
        let (word, moved) = match first.transform(id) {
            Transform::Identity => ("none", Some(0)),
            Transform::Permutation(tables) => {
                let places = tables.iter().flat_map(|table| table.iter().enumerate());
                ("permutation", Some(places.filter(|(slot, unit)| *slot != **unit as usize).count()))
            }
            Transform::Scale(_) => ("scale", None),
            Transform::Map(_) => ("map", None),
        };
        table.rows.push(vec![
            Cell::text(&node.name),
            Cell::text(parents.join(", ")),
            Cell::number((symmetries.copies(id) * node.size) as f64),
            Cell::text(word),
            moved.map_or(Cell::Empty, |moved| Cell::number(moved as f64)),
        ]);
    }
    table
}
