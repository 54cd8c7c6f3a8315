//! Barriers of paths, and landscapes of planes.

use fusion_sdk::path::{Geometry, Path};

use super::models::counted;
use super::params::{BarrierParams, LandscapeParams, RunParams};
use super::scores::{Detail, Lines, Map, Scores, Table};
use super::{Inputs, NamedPath, norm};
use crate::measure::MeasureError;
use crate::measure::barrier::{Barrier, grid};
use crate::measure::batches::Batches;
use crate::measure::landscape::{Drawn, Frame, PlaneModel, SetGrid, landscape as over};
use crate::measure::metric::Metric;
use crate::measure::path::{PathCurve, PathModel, walk};

/// A path's barriers, in all definitions, of every metric, on every data set.
pub(super) fn barrier(
    (params, own): &(RunParams, BarrierParams),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let [NamedPath { name, path, network, statistics }] = inputs.paths else {
        return Err(MeasureError::unsuitable("a barrier is that of one path", "connect one to `path`"));
    };
    let sets = inputs.sets(params.batch)?;
    let sets: Vec<&Batches<'_>> = sets.iter().collect();
    let train = inputs.counting(params)?;
    let model = PathModel { path, network: *network, statistics };
    let t = grid(own.points)?;
    let curve = walk(&model, &t, &norm(params, train.as_ref(), None), &sets, &inputs.run)?;

    let mut scores = Scores::default();
    let mut rows = Vec::new();
    for (set, found) in curve.sets.iter().enumerate() {
        for metric in [Metric::Loss, Metric::CrossEntropy, Metric::Accuracy, Metric::Error] {
            let (Some(own_barrier), Some(line)) =
                (curve.barrier(set, metric)?, curve.line_barrier(set, metric)?)
            else {
                continue;
            };
            let ensemble = metric.of(&found.ensemble).unwrap_or(f64::NAN);
            let mut prefixes = vec![format!("{}.{}.", found.name, metric.word())];
            if set == 0 {
                prefixes.push(format!("{}.", metric.word()));
            }
            if set == 0 && metric == own.metric {
                prefixes.push(String::new());
                for shown in ["height", "chord", "gap", "at", "start", "middle", "end", "max"] {
                    scores.shown.push(shown.to_owned());
                }
                scores.shown.extend(["line.height".to_owned(), "ensemble".to_owned()]);
            }
            for prefix in &prefixes {
                for (what, value) in fields(&own_barrier) {
                    scores.add(format!("{prefix}{what}"), value);
                }
                for (what, value) in fields(&line) {
                    scores.add(format!("{prefix}line.{what}"), value);
                }
                scores.add(format!("{prefix}ensemble"), ensemble);
            }
            if metric == Metric::CrossEntropy || metric == Metric::Error {
                continue; // the same curves again
            }
            let row = |barrier: &Barrier| {
                [barrier.height, barrier.chord, barrier.gap, barrier.normalised.unwrap_or(f64::NAN)]
                    .into_iter()
                    .chain([barrier.at, barrier.start, barrier.middle, barrier.end])
                    .chain([barrier.min, barrier.max, barrier.mean, barrier.arc_mean, ensemble])
                    .collect::<Vec<f64>>()
            };
            rows.push((format!("{}, {}", found.name, metric.word()), row(&own_barrier)));
            if found.line.is_some() {
                rows.push((format!("{}, {}, straight line", found.name, metric.word()), row(&line)));
            }
            scores.details.push(lines(name, &curve, set, metric));
        }
        let bad = found.path.iter().filter(|score| score.invalid > 0).count();
        if bad > 0 {
            let message = format!(
                "on `{}` {} of the path {} outputs that are not usable (NaN or infinity)",
                found.name,
                counted(bad, "point"),
                if bad == 1 { "has" } else { "have" }
            );
            scores.notes.push(message);
        }
    }
    if scores.shown.is_empty() {
        return Err(own.metric.missing());
    }
    scores.add("length", curve.length);
    scores.add("distance", curve.chord);
    let columns = [
        "height",
        "chord",
        "gap",
        "normalised",
        "at",
        "start",
        "middle",
        "end",
        "min",
        "max",
        "mean",
        "arc mean",
        "ensemble of the ends",
    ];
    let columns = columns.map(str::to_owned).to_vec();
    scores.details.push(Detail::Table(Table { title: format!("barriers of {name}"), columns, rows }));
    let measured = if curve.sets.iter().any(|set| set.line.is_some()) { 2 * t.len() - 2 } else { t.len() };
    scores.cost = format!("{} on {}", counted(measured, "point"), counted(sets.len(), "data set"));
    Ok(scores)
}

/// All values of a barrier by name.
fn fields(barrier: &Barrier) -> Vec<(&'static str, f64)> {
    let mut fields = vec![
        ("height", barrier.height),
        ("chord", barrier.chord),
        ("gap", barrier.gap),
        ("at", barrier.at),
        ("chord_at", barrier.chord_at),
        ("start", barrier.start),
        ("end", barrier.end),
        ("middle", barrier.middle),
        ("min", barrier.min),
        ("max", barrier.max),
        ("mean", barrier.mean),
        ("arc_mean", barrier.arc_mean),
    ];
    fields.extend(barrier.normalised.map(|value| ("normalised", value)));
    fields
}

/// The path and the line of one metric.
fn lines(name: &str, curve: &PathCurve, set: usize, metric: Metric) -> Detail {
    let found = &curve.sets[set];
    let of = |scores: &[crate::measure::metrics::Score]| {
        scores.iter().map(|score| metric.of(score).unwrap_or(f64::NAN)).collect::<Vec<f64>>()
    };
    let mut lines = vec![(name.to_owned(), of(&found.path))];
    if let Some(line) = &found.line {
        lines.push(("straight line".to_owned(), of(line)));
    }
    Detail::Lines(Lines {
        title: format!("{} along {name}, {}", metric.word(), found.name),
        metric: metric.word().to_owned(),
        t: curve.t.clone(),
        lines,
        levels: vec![("ensemble of the ends".to_owned(), metric.of(&found.ensemble).unwrap_or(f64::NAN))],
    })
}

/// Maps of the loss and the error.
pub(super) fn landscape(
    (params, own): &(RunParams, LandscapeParams),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let planes: Vec<&NamedPath<'_>> =
        inputs.paths.iter().filter(|path| path.path.geometry == Geometry::Plane).collect();
    let [plane] = planes.as_slice() else {
        return Err(MeasureError::unsuitable(
            format!("a landscape is that of one plane, {} are connected", planes.len()),
            "make one with `connect NAME using plane` and connect it to `path`",
        ));
    };
    let sets = inputs.sets(params.batch)?;
    let sets: Vec<&Batches<'_>> = sets.iter().collect();
    let train = inputs.counting(params)?;
    let mut corners = ["first", "second", "third"];
    let mut models = Vec::new();
    for subject in inputs.from {
        let [model] = subject.members.as_slice() else {
            return Err(MeasureError::unsuitable(
                format!("`{}` is an ensemble, which has no place on a map of weights", subject.name),
                "connect its members",
            ));
        };
        match plane.path.points.iter().position(|point| point == model.weights) {
            Some(corner) => corners[corner] = subject.name,
            None => models.push((subject.name, model.weights)),
        }
    }
    let drawn = inputs.paths.iter().filter(|path| path.path.geometry != Geometry::Plane);
    let drawn: Vec<(&str, &Path)> = drawn.map(|path| (path.name, path.path)).collect();
    let frame = Frame { resolution: own.resolution, margin: own.margin };
    let found = over(
        &PlaneModel { plane: plane.path, corners, network: plane.network },
        Drawn { models: &models, paths: &drawn },
        frame,
        &norm(params, train.as_ref(), None),
        &sets,
        &inputs.run,
    )?;

    let mut scores = Scores::default();
    let values = |set: &SetGrid, metric: Metric| {
        set.scores.iter().map(|score| metric.of(score)).collect::<Option<Vec<f64>>>()
    };
    for (index, set) in found.sets.iter().enumerate() {
        if let Some(values) = values(set, own.metric) {
            // Both skip NaN, which a map may well have far from its models.
            let (min, max) = (
                values.iter().fold(f64::NAN, |a, &b| a.min(b)),
                values.iter().fold(f64::NAN, |a, &b| a.max(b)),
            );
            for (name, value) in [("min", min), ("max", max)] {
                scores.add(format!("{}.{name}", set.name), value);
                if index == 0 {
                    scores.show(name, value);
                }
            }
        }
        let bad = set.scores.iter().filter(|score| score.invalid > 0).count();
        if bad > 0 {
            scores.notes.push(format!(
                "on `{}` {} of the map without usable outputs (NaN or infinity)",
                set.name,
                counted(bad, "point")
            ));
        }
        for metric in [Metric::Loss, Metric::Error] {
            let Some(values) = values(set, metric) else { continue };
            scores.details.push(Detail::Map(Map {
                title: format!("{} over {}, {}", metric.word(), plane.name, set.name),
                metric: metric.word().to_owned(),
                x: found.x.clone(),
                y: found.y.clone(),
                values,
                marks: found.marks.clone(),
                paths: found.paths.clone(),
            }));
        }
    }
    if scores.shown.is_empty() {
        return Err(own.metric.missing());
    }
    let rows = found.marks.iter().map(|mark| (mark.name.clone(), vec![mark.at[0], mark.at[1], mark.away]));
    scores.details.push(Detail::Table(Table {
        title: format!("places on {}", plane.name),
        columns: ["x", "y", "distance from the plane"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }));
    let points = own.resolution * own.resolution;
    scores.cost = format!("{} on {}", counted(points, "point"), counted(sets.len(), "data set"));
    Ok(scores)
}
