//! A path, point by point: loss and accuracy on every data set, the straight line between its ends beside it, and the ensemble
//! of the ends, which every paper compares with.
//!
//! Control points are held once; a thread combines them into its own vector for each t, so a path of any length costs one model
//! of memory for each thread. Each point is one job: 25 points of an MLP run side by side, one thread each.

use fusion_sdk::path::{Geometry, Path, blend, blend_into};
use serde::Serialize;

use crate::measure::MeasureError;
use crate::measure::barrier::Barrier;
use crate::measure::batches::Batches;
use crate::measure::evaluate::{Point, ensemble_score, score};
use crate::measure::forward::{Factory, Forward};
use crate::measure::metric::{Metric, barrier_of};
use crate::measure::metrics::Score;
use crate::measure::norm::{NormPolicy, NormSource};
use crate::measure::workers::Run;

/// A path whose points are weights of a network.
#[derive(Clone, Copy)]
pub struct PathModel<'a> {
    /// The path.
    pub path: &'a Path,
    /// The network of all its points.
    pub network: &'a Factory<'a>,
    /// Running statistics: of every control point, of the two ends, or none. For the policies `keep` and `ema`.
    pub statistics: &'a [&'a [f32]],
}

/// A path on its data sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathCurve {
    /// Rising from 0 to 1.
    pub t: Vec<f64>,
    /// ‖θ(tᵢ₊₁) − θ(tᵢ)‖.
    pub pieces: Vec<f64>,
    /// Sum of `pieces`.
    pub length: f64,
    /// ‖θ(1) − θ(0)‖.
    pub chord: f64,
    /// By data set, in the order given.
    pub sets: Vec<SetCurve>,
}

/// A path on one data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetCurve {
    /// The data set.
    pub name: String,
    /// At each t.
    pub path: Vec<Score>,
    /// (1−t)·θ(0) + t·θ(1) at each t; `None` where the path is this line.
    pub line: Option<Vec<Score>>,
    /// Mean of the probabilities of both ends (of the outputs for a regression).
    pub ensemble: Score,
}

impl PathCurve {
    /// The path's barrier on a data set, by its index.
    ///
    /// # Errors
    /// Those of [`barrier_of`].
    pub fn barrier(&self, set: usize, metric: Metric) -> Result<Option<Barrier>, MeasureError> {
        barrier_of(metric, &self.t, &self.pieces, &self.sets[set].path)
    }

    /// The straight line's barrier; that of the path where it is the line.
    ///
    /// # Errors
    /// Those of [`barrier_of`].
    pub fn line_barrier(&self, set: usize, metric: Metric) -> Result<Option<Barrier>, MeasureError> {
        let set_curve = &self.sets[set];
        let Some(line) = &set_curve.line else { return self.barrier(set, metric) };
        let pieces: Vec<f64> = self.t.windows(2).map(|pair| self.chord * (pair[1] - pair[0])).collect();
        barrier_of(metric, &self.t, &pieces, line)
    }
}

/// A thread's network and the vector that points are combined in.
struct Walker {
    network: Box<dyn Forward>,
    weights: Vec<f32>,
}

impl PathModel<'_> {
    fn walker(&self) -> Result<Walker, MeasureError> {
        let network = (self.network)()?;
        MeasureError::length("weights of the path", network.weights(), self.path.len())?;
        for statistics in self.statistics {
            MeasureError::length("running statistics of the path", network.statistics(), statistics.len())?;
        }
        Ok(Walker { network, weights: vec![0.0; self.path.len()] })
    }

    fn connected(&self) -> Result<(), MeasureError> {
        let help = match self.path.geometry {
            _ if self.path.points.len() < 2 => "a barrier needs two ends",
            Geometry::Plane => "measure `landscape` on a plane",
            Geometry::Gaussian => "measure samples of a Gaussian, or its ensemble",
            Geometry::Points => "its points are not connected: connect two of them, or measure `mergeable`",
            _ => return Ok(()),
        };
        Err(MeasureError::unsuitable(
            format!("this path ({}) has no barrier", self.path.geometry.word()),
            help,
        ))
    }

    /// The models' own statistics combined with these coefficients.
    fn combined(&self, own: Own, line: &Line, at: &Place) -> Result<Vec<f32>, MeasureError> {
        let between_ends = line.holds(&at.coefficients);
        match self.statistics {
            all if all.len() == at.coefficients.len() => Ok(blend(&at.coefficients, all)),
            [first, last] if between_ends || own == Own::Start => {
                Ok(blend(&[1.0 - at.t, at.t], &[first, last]))
            }
            [] => Err(MeasureError::unsuitable(
                "the path has no running statistics",
                "set `norm` to `reset`, which counts them on training data, or to `batch`",
            )),
            _ => Err(MeasureError::unsuitable(
                "the path has points without running statistics: they are no models of their own",
                "set `norm` to `reset`, which counts them on training data, or to `batch`",
            )),
        }
    }
}

/// A point on the way.
struct Place {
    t: f64,
    coefficients: Vec<f64>,
}

/// The straight line between the ends, as coefficients of the path's points.
struct Line([Vec<f64>; 2]);

impl Line {
    fn of(path: &Path) -> Line {
        Line([path.coefficients(0.0), path.coefficients(1.0)])
    }

    fn at(&self, t: f64) -> Place {
        let [from, to] = &self.0;
        Place { t, coefficients: from.iter().zip(to).map(|(a, b)| (1.0 - t) * a + t * b).collect() }
    }

    /// Whether a combination uses the ends only.
    fn holds(&self, coefficients: &[f64]) -> bool {
        let [from, to] = &self.0;
        coefficients.iter().zip(from.iter().zip(to)).all(|(c, (a, b))| *c == 0.0 || *a != 0.0 || *b != 0.0)
    }
}

/// What combined statistics are for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Own {
    /// To normalise with: they must be exact.
    Use,
    /// To start from: those of the ends will do.
    Start,
}

/// Evaluates a path at each `t` (see [`grid`](super::barrier::grid)) on each data set. Planes, Gaussians
/// and unconnected points have no barrier.
///
/// # Errors
/// Another geometry, vectors that do not fit the network, a policy that lacks what it needs, a failing network, or a stop.
pub fn walk(
    model: &PathModel<'_>,
    t: &[f64],
    norm: &NormSource<'_>,
    data: &[&Batches<'_>],
    run: &Run<'_>,
) -> Result<PathCurve, MeasureError> {
    model.connected()?;
    if t.len() < 3 || t[0] != 0.0 || t[t.len() - 1] != 1.0 {
        return Err(MeasureError::unsuitable(
            "a path is measured at both ends and the midpoint",
            "take the grid that this module makes",
        ));
    }
    if data.is_empty() {
        return Err(MeasureError::empty("the list of data sets"));
    }
    let path = model.path;
    let straight = path.points.len() == 2;
    let inner = &t[1..t.len() - 1];
    let lines = if straight { 0 } else { inner.len() };
    let own = if norm.policy == Some(NormPolicy::Ema) { Own::Start } else { Own::Use };
    let line = Line::of(path);
    let settle = |network: &mut dyn Forward, weights: &[f32], at: &Place| {
        norm.statistics(network, weights, || model.combined(own, &line, at))
    };

    // Job 0 is both ends and their ensemble, then the path, then the line.
    let jobs = 1 + inner.len() + lines;
    let scores: Vec<Vec<Vec<Score>>> = run.each(
        "path",
        jobs,
        || model.walker(),
        |walker, job| {
            let network = &mut *walker.network;
            if job == 0 {
                let ends = [0.0, 1.0].map(|t| (line.at(t), blend(&line.at(t).coefficients, &path.points)));
                let mut statistics = Vec::with_capacity(2);
                for (at, weights) in &ends {
                    statistics.push(settle(network, weights, at)?);
                }
                let points =
                    [0, 1].map(|end| Point { weights: &ends[end].1, statistics: statistics[end].as_deref() });
                return data.iter().map(|data| ensemble_score(network, &points, data, run)).collect();
            }
            let at = match job - 1 {
                at if at < inner.len() => Place { t: inner[at], coefficients: path.coefficients(inner[at]) },
                at => line.at(inner[at - inner.len()]),
            };
            blend_into(&at.coefficients, &path.points, &mut walker.weights);
            let statistics = settle(network, &walker.weights, &at)?;
            let point = Point { weights: &walker.weights, statistics: statistics.as_deref() };
            data.iter().map(|data| Ok(vec![score(network, point, data, run)?])).collect()
        },
    )?;

    let metric = path.metric();
    let coefficients: Vec<Vec<f64>> = t.iter().map(|&t| path.coefficients(t)).collect();
    let pieces: Vec<f64> = coefficients.windows(2).map(|pair| metric.distance(&pair[0], &pair[1])).collect();
    let sets = data.iter().enumerate().map(|(set, data)| {
        let ends: &[Score] = &scores[0][set];
        let between = |from: usize| {
            let inner = scores[from..from + inner.len()].iter().map(|sets: &Vec<Vec<Score>>| sets[set][0]);
            std::iter::once(ends[0]).chain(inner).chain(std::iter::once(ends[1])).collect::<Vec<Score>>()
        };
        SetCurve {
            name: data.name().to_owned(),
            path: between(1),
            line: (!straight).then(|| between(1 + inner.len())),
            ensemble: ends[2],
        }
    });
    Ok(PathCurve {
        t: t.to_vec(),
        length: pieces.iter().sum(),
        chord: metric.distance(&line.0[0], &line.0[1]),
        sets: sets.collect(),
        pieces,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::barrier::grid;
    use crate::measure::toy::{Examples, batches, double_well, normed, run};

    fn path(geometry: Geometry, points: &[&[f32]]) -> Path {
        Path::new(geometry, points.iter().map(|point| point.to_vec()).collect(), vec![]).expect("a path")
    }

    fn walked(path: &Path, points: usize, threads: usize) -> PathCurve {
        let source = Examples::numbers(&[1.0, 2.0, 3.0], 0.0);
        let data = batches(&source, 2);
        let model = PathModel { path, network: &double_well, statistics: &[] };
        walk(&model, &grid(points).expect("enough"), &NormSource::KEEP, &[&data], &run(threads))
            .expect("fits")
    }

    /// The loss (x² + y² − 1)² has minima on the circle. The line from (−1, 0) to (1, 0) has its barrier 1 in the middle; the curve
    /// with the bend (0, 2) passes (2t−1, 4t(1−t)): its squared distance from the circle at ½ is 0.
    #[test]
    fn a_curve_goes_around_what_the_line_must_climb() {
        let curve = path(Geometry::Bezier, &[&[-1.0, 0.0], &[0.0, 2.0], &[1.0, 0.0]]);
        let found = walked(&curve, 5, 1);
        let line = found.line_barrier(0, Metric::Loss).expect("a grid").expect("a loss");
        assert_eq!((line.height, line.chord, line.gap, line.at), (1.0, 1.0, 1.0, 0.5));
        assert_eq!((line.start, line.end, line.min), (0.0, 0.0, 0.0));
        let bent = found.barrier(0, Metric::Loss).expect("a grid").expect("a loss");
        assert_eq!((bent.start, bent.middle, bent.end), (0.0, 0.0, 0.0));
        // t = ¼: (−½, ¾): (¼ + 9/16 − 1)² = 9/256, and the same at ¾.
        assert_eq!((bent.height, bent.at), (9.0 / 256.0, 0.25));
        assert_eq!(found.barrier(0, Metric::Accuracy), Ok(None));
        assert_eq!((found.chord, found.t.len()), (2.0, 5));
        // √(¼ + 9/16) and √(¼ + 1/16), each twice.
        assert!((found.length - (13.0_f64.sqrt() / 2.0 + 5.0_f64.sqrt() / 2.0)).abs() < 1e-12);
        let expected = 9.0 / 256.0; // every piece has half of it as its mean
        assert!((bent.arc_mean - expected / 2.0).abs() < 1e-12);
        // Outputs of both ends are 0, so is their mean.
        assert_eq!(found.sets[0].ensemble.loss, 0.0);
    }

    #[test]
    fn a_line_is_measured_once_and_threads_do_not_matter() {
        let line = path(Geometry::Chain, &[&[-1.0, 0.5], &[1.0, 0.25]]);
        let found = walked(&line, 25, 1);
        assert_eq!(found.sets[0].line, None);
        assert_eq!(found.line_barrier(0, Metric::Loss), found.barrier(0, Metric::Loss));
        for threads in [2, 3] {
            assert_eq!(walked(&line, 25, threads), found);
        }
        let complex = path(Geometry::Complex { modes: 2 }, &[&[-1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]]);
        let found = walked(&complex, 3, 2);
        assert_eq!((found.chord, found.sets[0].path[2].loss, found.sets[0].path[1].loss), (2.0, 0.0, 0.0));
        assert_eq!(found.sets[0].line.as_ref().expect("not straight")[1].loss, 1.0);
    }

    #[test]
    fn paths_without_ends_are_refused() {
        let source = Examples::numbers(&[1.0], 0.0);
        let data = batches(&source, 1);
        let of = |path: &Path, t: &[f64]| {
            let model = PathModel { path, network: &double_well, statistics: &[] };
            walk(&model, t, &NormSource::KEEP, &[&data], &run(1)).map(|_| ())
        };
        let (a, b, c): (&[f32], &[f32], &[f32]) = (&[0.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]);
        let t = grid(3).expect("enough");
        for refused in [
            path(Geometry::Plane, &[a, b, c]),
            path(Geometry::Gaussian, &[a, b]),
            path(Geometry::Points, &[a, b]),
            path(Geometry::Chain, &[a]),
        ] {
            assert!(matches!(of(&refused, &t), Err(MeasureError::Unsuitable { .. })));
        }
        assert!(of(&path(Geometry::Chain, &[a, b]), &[0.0, 1.0]).is_err());
        let short = path(Geometry::Chain, &[&[1.0], &[2.0]]);
        assert!(matches!(of(&short, &t), Err(MeasureError::Length { expected: 2, found: 1, .. })));
    }

    /// Statistics that the policy `keep` combines: of all points, or of the ends on the line; never invented for a bend.
    #[test]
    fn kept_statistics_are_those_of_the_points() {
        let source = Examples::numbers(&[1.0, 3.0], 0.0);
        let data = batches(&source, 2);
        let (first, last): (&[f32], &[f32]) = (&[1.0, 4.0], &[3.0, 4.0]);
        let of = |points: &[&[f32]], statistics: &[&[f32]], policy: NormPolicy| {
            let path = path(Geometry::Bezier, points);
            let model = PathModel { path: &path, network: &normed, statistics };
            let norm = NormSource { policy: Some(policy), train: Some(&data), momentum: 0.5 };
            walk(&model, &grid(3).expect("enough"), &norm, &[&data], &run(1))
        };
        let line = of(&[&[1.0], &[1.0]], &[first, last], NormPolicy::Keep).expect("two ends");
        // Outputs (x − m)/2 with m = 1, 2, 3 on x = 1, 3: losses 1/2, 1/4, 1/2.
        assert_eq!(line.sets[0].path.iter().map(|score| score.loss).collect::<Vec<_>>(), [0.5, 0.25, 0.5]);
        let bend: [&[f32]; 3] = [&[1.0], &[1.0], &[1.0]];
        assert!(matches!(of(&bend, &[first, last], NormPolicy::Keep), Err(MeasureError::Unsuitable { .. })));
        assert!(of(&bend, &[], NormPolicy::Keep).is_err());
        assert!(of(&bend, &[first, last], NormPolicy::Ema).is_ok());
        assert!(of(&bend, &[first, first, last], NormPolicy::Keep).is_ok());
        assert!(of(&bend, &[&[1.0]], NormPolicy::Reset).is_err());
        let reset = of(&bend, &[], NormPolicy::Reset).expect("training data");
        // Normalised by its own mean 2 and unbiased variance 2: (x − 2)/√2, whose square is 1/2 (f32 roots).
        assert!(reset.sets[0].path.iter().all(|score| (score.loss - 0.5).abs() < 1e-6));
    }
}
