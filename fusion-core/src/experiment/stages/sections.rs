//! What a report shows of a step: the course of a training, the shape of a path, what was measured.

use fusion_learn::measure::calibration::Calibration;
use fusion_learn::measure::{Detail, Lines, Map, Scores, Table as Rows};
use fusion_learn::repair::{Biased, Repaired};
use fusion_learn::train::History;
use fusion_report::model::{
    Axis, Bin, Cell, Column, Curve, Dash, Landscape, Marker, Matrix, Panel, Place, Plot, Polyline,
    Reliability, Section, Series, Style, Table, Training,
};
use fusion_sdk::path::Path;

use super::super::Step;
use super::super::results::Facts;

/// The course of a training: loss, accuracy and rate over the epochs, validation beside them.
pub(super) fn training(step: &Step, history: &History) -> Section {
    let last = history.epochs.last();
    let per_epoch = last.map_or(1.0, |last| last.step as f64 / last.epoch.max(f64::MIN_POSITIVE));
    let points = |value: &dyn Fn(&fusion_learn::train::Point) -> Option<f64>| -> Vec<(f64, f64)> {
        history
            .points
            .iter()
            .filter_map(|point| Some((point.step as f64 / per_epoch, value(point)?)))
            .collect()
    };
    let validated = |value: &dyn Fn(&fusion_learn::train::Score) -> Option<f64>| -> Vec<(f64, f64)> {
        history
            .validations
            .iter()
            .filter_map(|one| Some((one.step as f64 / per_epoch, value(&one.score)?)))
            .collect()
    };
    let panel = |label: &str, train: Vec<(f64, f64)>, test: Vec<(f64, f64)>, log: bool| {
        let mut series = vec![Series::new("training", train, Style::line(0, Dash::Solid))];
        if !test.is_empty() {
            series.push(Series::new("validation", test, Style::line(1, Dash::Dashed)));
        }
        let y = Axis::new(label, "");
        Panel { y: if log { y } else { y.linear() }, series }
    };
    let mut panels =
        vec![panel("loss", points(&|point| Some(point.loss)), validated(&|score| Some(score.loss)), true)];
    let accuracy = points(&|point| point.accuracy);
    if !accuracy.is_empty() {
        panels.push(panel("accuracy", accuracy, validated(&|score| score.accuracy), false));
    }
    let rates = points(&|point| Some(point.rate));
    if rates.iter().any(|(_, rate)| Some(rate) != rates.first().map(|(_, rate)| rate)) {
        panels.push(Panel {
            y: Axis::new("learning rate", ""),
            series: vec![Series::new("learning rate", rates, Style::line(2, Dash::Solid))],
        });
    }
    let mut table = Table::new(
        "epochs",
        vec![
            Column::number("epoch", ""),
            Column::number("rate", ""),
            Column::number("loss", ""),
            Column::number("accuracy", "%"),
            Column::number("validation loss", ""),
            Column::number("validation accuracy", "%"),
            Column::number("examples", "1/s"),
        ],
    );
    let share = |value: Option<f64>| value.map_or(Cell::Empty, |value| Cell::percent(value, 2));
    for epoch in &history.epochs {
        table.rows.push(vec![
            Cell::number(epoch.epoch),
            Cell::number(epoch.rate),
            Cell::number(epoch.loss),
            share(epoch.accuracy),
            epoch.validation.map_or(Cell::Empty, |score| Cell::number(score.loss)),
            share(epoch.validation.and_then(|score| score.accuracy)),
            Cell::fixed(epoch.samples_per_second, 0),
        ]);
    }
    let plot = Training {
        title: format!("{}: training", step.name),
        caption: "Training values are means over the steps while the weights changed.".to_owned(),
        x: Axis::new("epoch", "").linear(),
        panels,
    };
    Section {
        title: format!("{} · train {}", step.name, step.method),
        text: String::new(),
        tables: vec![table],
        plots: vec![Plot::Training(plot)],
    }
}

/// What a path is.
pub(super) fn path(step: &Step, path: &Path, facts: &Facts) -> Section {
    let mut table = Table::new("path", vec![Column::text(""), Column::number("value", "")]);
    table.rows.push(vec![Cell::text("geometry"), Cell::text(path.geometry.word())]);
    table.rows.push(vec![Cell::text("weights"), Cell::fixed(path.len() as f64, 0)]);
    let words =
        [("points", "control points"), ("length", "length"), ("distance", "distance between the ends")];
    for (name, word) in words {
        if let Some(value) = facts.get(name) {
            table.rows.push(vec![Cell::text(word), Cell::number(*value)]);
        }
    }
    Section {
        title: format!("{} · connect {}", step.name, step.method),
        text: String::new(),
        tables: vec![table],
        plots: Vec::new(),
    }
}

/// What a repair has done, layer by layer.
pub(super) fn repair(step: &Step, repaired: &Repaired) -> Section {
    let mut table = Table::new(
        "layers",
        vec![
            Column::text("layer"),
            Column::number("units", ""),
            Column::number("dead", ""),
            Column::number("spread before", ""),
            Column::number("spread after", ""),
            Column::number("offset before", ""),
            Column::number("offset after", ""),
        ],
    );
    let cell = |value: f64| if value.is_finite() { Cell::fixed(value, 3) } else { Cell::Empty };
    for layer in &repaired.layers {
        table.rows.push(vec![
            Cell::text(&layer.name),
            Cell::fixed(layer.units as f64, 0),
            Cell::fixed(layer.dead as f64, 0),
            cell(layer.before.variance.sqrt()),
            cell(layer.after.variance.sqrt()),
            cell(layer.before.offset),
            cell(layer.after.offset),
        ]);
    }
    Section {
        title: format!("{} · repair {}", step.name, step.method),
        text: "In front of activations: standard deviations as a share of their goal, and how far means are from theirs, in standard \
               deviations; 1 and 0 are the goal. Dead units have no spread that could be corrected."
            .to_owned(),
        tables: vec![table],
        plots: Vec::new(),
    }
}

/// What a bias correction has done, layer by layer.
pub(super) fn biases(step: &Step, found: &[Biased]) -> Section {
    let columns =
        vec![Column::text("layer"), Column::number("height", ""), Column::number("length of the bias", "")];
    let mut table = Table::new("biases", columns);
    for biased in found {
        let ratio = if biased.ratio.is_finite() { Cell::number(biased.ratio) } else { Cell::Empty };
        table.rows.push(vec![Cell::text(&biased.name), Cell::fixed(f64::from(biased.height), 0), ratio]);
    }
    Section {
        title: format!("{} · repair {}", step.name, step.method),
        text: "Lengths are those of the corrected biases, as a share of what they were.".to_owned(),
        tables: vec![table],
        plots: Vec::new(),
    }
}

/// What was measured: tables, curves, maps.
pub(super) fn scores(step: &Step, scores: &Scores) -> Section {
    let mut section = Section {
        title: format!("{} · evaluate {}", step.name, step.method),
        text: scores.notes.join("\n"),
        tables: Vec::new(),
        plots: Vec::new(),
    };
    if scores.details.is_empty() {
        section.tables.push(values(scores));
    }
    for detail in &scores.details {
        match detail {
            Detail::Table(table) => section.tables.push(rows(table)),
            Detail::Lines(lines) => section.plots.push(Plot::Curve(curve(step, lines))),
            Detail::Matrix(matrix) => section.plots.push(Plot::Matrix(Matrix {
                title: format!("{}: {}", step.name, matrix.title),
                caption: String::new(),
                value: Axis::new(&matrix.title, ""),
                names: matrix.names.clone(),
                values: matrix.rows.concat(),
            })),
            Detail::Reliability { title, calibration } => {
                section.plots.push(Plot::Reliability(reliability(title, calibration)));
            }
            Detail::Map(map) => section.plots.push(Plot::Landscape(landscape(step, map))),
        }
    }
    section
}

/// The numbers themselves, where there is nothing better to show.
fn values(scores: &Scores) -> Table {
    let mut table = Table::new("scores", vec![Column::text(""), Column::number("value", "")]);
    let shown = scores.values.iter().filter(|(name, _)| scores.shown.contains(name));
    table.rows = shown.map(|(name, value)| vec![Cell::text(name), Cell::number(*value)]).collect();
    table
}

fn rows(from: &Rows) -> Table {
    let numbers = from.columns.iter().map(|name| Column::number(name, ""));
    let mut table = Table::new(&from.title, std::iter::once(Column::text("")).chain(numbers).collect());
    let cell = |value: &f64| if value.is_nan() { Cell::Empty } else { Cell::number(*value) };
    table.rows = from
        .rows
        .iter()
        .map(|(name, values)| std::iter::once(Cell::text(name)).chain(values.iter().map(cell)).collect())
        .collect();
    table
}

/// A curve with the height of its barrier, and what belongs to no t as levels.
fn curve(step: &Step, lines: &Lines) -> Curve {
    let series = lines
        .lines
        .iter()
        .enumerate()
        .map(|(index, (name, values))| {
            let points = lines.t.iter().copied().zip(values.iter().copied()).collect();
            Series::new(name, points, Style::nth(index))
        })
        .collect();
    let levels = lines.levels.iter().map(|(name, y)| Marker::Level { name: name.clone(), y: *y });
    Curve {
        title: format!("{}: {}", step.name, lines.title),
        caption: String::new(),
        x: Axis::new("t", "").linear(),
        y: Axis::new(&lines.metric, ""),
        series,
        markers: levels.collect(),
    }
}

fn reliability(title: &str, calibration: &Calibration) -> Reliability {
    let bins = calibration.bins.iter().map(|bin| Bin {
        low: bin.low,
        high: bin.high,
        confidence: bin.confidence,
        accuracy: bin.accuracy,
        count: bin.count,
    });
    Reliability {
        title: format!("{title}: reliability"),
        caption: "A calibrated model is right as often as it is sure.".to_owned(),
        bins: bins.collect(),
        ece: calibration.ece,
    }
}

fn landscape(step: &Step, map: &Map) -> Landscape {
    Landscape {
        title: format!("{}: {}", step.name, map.title),
        caption: String::new(),
        x: Axis::new("distance", ""),
        y: Axis::new("distance", ""),
        value: Axis::new(&map.metric, ""),
        xs: map.x.clone(),
        ys: map.y.clone(),
        values: map.values.clone(),
        levels: Vec::new(),
        points: map
            .marks
            .iter()
            .map(|mark| Place { name: mark.name.clone(), x: mark.at[0], y: mark.at[1] })
            .collect(),
        paths: map
            .paths
            .iter()
            .map(|path| Polyline {
                name: path.name.clone(),
                points: path.at.iter().map(|point| (point[0], point[1])).collect(),
                dash: Dash::Solid,
            })
            .collect(),
    }
}
