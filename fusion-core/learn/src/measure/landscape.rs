//! Landscapes: loss and accuracy on a grid over the plane through three models, where paths can be drawn (Garipov et al., 2018).

use fusion_sdk::MethodError;
use fusion_sdk::path::{Path, PathError, Plane};
use serde::Serialize;

use crate::measure::MeasureError;
use crate::measure::batches::Batches;
use crate::measure::evaluate::{Point, score};
use crate::measure::forward::Factory;
use crate::measure::metrics::Score;
use crate::measure::norm::{NormPolicy, NormSource};
use crate::measure::workers::Run;

/// What a landscape covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Points along each axis, at least 2.
    pub resolution: usize,
    /// How far the grid goes beyond the models and paths on each side, as a share of their extent.
    pub margin: f64,
}

/// A grid over a plane: x runs along the line from the first model to the second, y towards the third, in units of weight space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Landscape {
    /// Columns.
    pub x: Vec<f64>,
    /// Rows.
    pub y: Vec<f64>,
    /// By data set, in the order given.
    pub sets: Vec<SetGrid>,
    /// The three models of the plane, then the others.
    pub marks: Vec<Mark>,
    /// Paths over the plane.
    pub paths: Vec<Trace>,
}

/// Values of one data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetGrid {
    /// The data set.
    pub name: String,
    /// Row-major [y, x].
    pub scores: Vec<Score>,
}

/// A model on the map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// Its name.
    pub name: String,
    /// The point of the plane nearest to it.
    pub at: [f64; 2],
    /// Its distance from the plane.
    pub away: f64,
}

/// A path on the map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// Its name.
    pub name: String,
    /// Its points, projected, at equal steps of t.
    pub at: Vec<[f64; 2]>,
    /// Their distances from the plane.
    pub away: Vec<f64>,
}

/// The plane of a landscape.
#[derive(Clone, Copy)]
pub struct PlaneModel<'a> {
    /// A path with the geometry `plane`.
    pub plane: &'a Path,
    /// Names of its three points.
    pub corners: [&'a str; 3],
    /// The network of its points.
    pub network: &'a Factory<'a>,
}

/// What is drawn beside the plane's own models: names with weights, and names with paths.
#[derive(Clone, Copy, Default)]
pub struct Drawn<'a> {
    /// Models.
    pub models: &'a [(&'a str, &'a [f32])],
    /// Paths.
    pub paths: &'a [(&'a str, &'a Path)],
}

/// Points at which a path is drawn.
const TRACE: usize = 61;

fn failed(error: PathError) -> MeasureError {
    MethodError::from(error).into()
}

/// Measures the network on a grid over a plane of weights. BatchNorm's statistics are counted again at every point, or those of
/// each batch are used: a plane goes beyond its models, where `keep` would extrapolate variances below zero.
///
/// # Errors
/// The path is no plane, the frame is empty, a policy that does not suit, lengths that do not fit, a failing network, or a stop.
pub fn landscape(
    model: &PlaneModel<'_>,
    drawn: Drawn<'_>,
    frame: Frame,
    norm: &NormSource<'_>,
    data: &[&Batches<'_>],
    run: &Run<'_>,
) -> Result<Landscape, MeasureError> {
    if frame.resolution < 2 || frame.margin.is_nan() || frame.margin < 0.0 || data.is_empty() {
        return Err(MeasureError::unsuitable(
            format!("a landscape of {0} x {0} points with margin {1}", frame.resolution, frame.margin),
            "take at least 2 points for each axis, a margin of at least 0, and a data set",
        ));
    }
    let len = model.plane.len();
    let plane: Plane<'_> = model.plane.plane().map_err(failed)?;
    let mut marks: Vec<Mark> = model
        .corners
        .iter()
        .zip(plane.corners())
        .map(|(name, at)| Mark { name: (*name).to_owned(), at, away: 0.0 })
        .collect();
    for (name, weights) in drawn.models {
        let (at, away) = plane.project(weights).map_err(failed)?;
        marks.push(Mark { name: (*name).to_owned(), at, away });
    }
    let mut point = vec![0.0; len];
    let mut paths = Vec::new();
    for (name, path) in drawn.paths {
        MeasureError::length(&format!("weights of the path `{name}`"), len, path.len())?;
        let mut trace = Trace { name: (*name).to_owned(), at: Vec::new(), away: Vec::new() };
        for t in Path::samples(TRACE) {
            path.at(t, &mut point);
            let (at, away) = plane.project(&point).map_err(failed)?;
            trace.at.push(at);
            trace.away.push(away);
        }
        paths.push(trace);
    }

    let seen = marks.iter().map(|mark| mark.at).chain(paths.iter().flat_map(|trace| trace.at.clone()));
    let [x, y] = plane.frame(&seen.collect::<Vec<_>>(), frame.margin).map(|[from, to]| {
        let step = (to - from) / (frame.resolution - 1) as f64;
        (0..frame.resolution).map(|index| from + step * index as f64).collect::<Vec<f64>>()
    });
    let make = || {
        let network = (model.network)()?;
        MeasureError::length("weights of the plane", network.weights(), len)?;
        if network.statistics() > 0 && matches!(norm.policy, Some(NormPolicy::Keep | NormPolicy::Ema)) {
            return Err(MeasureError::unsuitable(
                "a landscape goes beyond its models, where combined running statistics are no statistics",
                "set `norm` to `reset` or `batch`",
            ));
        }
        Ok((network, vec![0.0; len]))
    };
    let cells = run.each("landscape", x.len() * y.len(), make, |(network, weights), cell| {
        plane.at(x[cell % x.len()], y[cell / x.len()], weights);
        let statistics = norm.statistics(&mut **network, weights, || Ok(Vec::new()))?;
        let point = Point { weights, statistics: statistics.as_deref() };
        data.iter().map(|data| score(&mut **network, point, data, run)).collect::<Result<Vec<Score>, _>>()
    })?;
    let sets = data.iter().enumerate().map(|(set, data)| SetGrid {
        name: data.name().to_owned(),
        scores: cells.iter().map(|scores| scores[set]).collect(),
    });
    Ok(Landscape { sets: sets.collect(), x, y, marks, paths })
}

#[cfg(test)]
mod tests {
    use fusion_sdk::path::Geometry;

    use super::*;
    use crate::measure::toy::{Examples, batches, double_well, normed, run};

    fn path(geometry: Geometry, points: &[&[f32]]) -> Path {
        Path::new(geometry, points.iter().map(|point| point.to_vec()).collect(), vec![]).expect("a path")
    }

    /// The plane of (0, 0), (2, 0), (0, 2) has the weights for coordinates, so each value is (x² + y² − 1)² there; coordinates are
    /// sums of few f32 products, good to 1e-6.
    #[test]
    fn values_are_those_of_the_weights() {
        let source = Examples::numbers(&[1.0], 0.0);
        let data = batches(&source, 1);
        let plane = path(Geometry::Plane, &[&[0.0, 0.0], &[2.0, 0.0], &[0.0, 2.0]]);
        let curve = path(Geometry::Chain, &[&[0.0, 0.0], &[0.0, -1.0]]);
        let drawn = Drawn { models: &[("away", &[3.0, 1.0])], paths: &[("line", &curve)] };
        let frame = Frame { resolution: 4, margin: 0.5 };
        let model = PlaneModel { plane: &plane, corners: ["a", "b", "c"], network: &double_well };
        let of = |threads| {
            let (data, run) = ([&data], run(threads));
            landscape(&model, drawn, frame, &NormSource::KEEP, &data, &run)
        };
        let found = of(1).expect("a plane");
        // x from 0 to 3 and y from −1 to 2, each wider by half of 3.
        assert_eq!(found.x, [-1.5, 0.5, 2.5, 4.5]);
        assert_eq!(found.y, [-2.5, -0.5, 1.5, 3.5]);
        for (cell, score) in found.sets[0].scores.iter().enumerate() {
            let (x, y): (f64, f64) = (found.x[cell % 4], found.y[cell / 4]);
            let wanted = (x * x + y * y - 1.0).powi(2);
            assert!((score.loss - wanted).abs() < 1e-5 * wanted.max(1.0), "{x} {y}");
        }
        let names: Vec<&str> = found.marks.iter().map(|mark| mark.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "away"]);
        assert_eq!((found.marks[3].at, found.marks[3].away), ([3.0, 1.0], 0.0));
        assert_eq!(found.paths[0].at.len(), TRACE);
        assert_eq!(found.paths[0].at[TRACE - 1], [0.0, -1.0]);
        assert_eq!(of(3).expect("a plane"), found);
    }

    #[test]
    fn what_has_no_landscape() {
        let source = Examples::numbers(&[1.0, 2.0], 0.0);
        let data = batches(&source, 2);
        let of = |plane: &Path, network: &Factory<'_>, resolution, policy| {
            let frame = Frame { resolution, margin: 0.2 };
            let norm = NormSource { policy, train: None, momentum: 0.1 };
            let model = PlaneModel { plane, corners: ["a", "b", "c"], network };
            landscape(&model, Drawn::default(), frame, &norm, &[&data], &run(1)).map(|_| ())
        };
        let plane = path(Geometry::Plane, &[&[0.0, 0.0], &[2.0, 0.0], &[0.0, 2.0]]);
        assert!(of(&plane, &double_well, 2, None).is_ok());
        assert!(of(&plane, &double_well, 1, None).is_err());
        assert!(of(&plane, &normed, 2, None).is_err());
        assert!(of(&path(Geometry::Chain, &[&[0.0, 0.0], &[1.0, 1.0]]), &double_well, 2, None).is_err());
        let line = path(Geometry::Plane, &[&[0.0, 0.0], &[1.0, 0.0], &[2.0, 0.0]]);
        assert!(matches!(of(&line, &double_well, 2, None), Err(MeasureError::Method(_))));
    }
}
