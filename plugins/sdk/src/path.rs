//! A path through weight space as a value: control points and what lies between them.
//!
//! Every geometry is a combination θ(t) = Σ cⱼ(t) pⱼ of its control points with Σ cⱼ = 1, so whoever holds the points on a device
//! can evaluate it there ([`Path::coefficients`]), and lengths, distances and volumes follow from the dots of the points
//! ([`Path::metric`]). The connect family makes paths; evaluating, ensembling, averaging and saving only read them.

mod blend;
mod coefficients;
mod draw;
mod metric;
mod plane;

use crate::error::MethodError;

pub use blend::{blend, blend_into};
pub use metric::Metric;
pub use plane::Plane;

/// What lies between control points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Geometry {
    /// (1−t)p₀ + t p₁ and, for more than two points, equal pieces of t: a polygonal chain. cⱼ = max(0, 1−|t(n−1)−j|).
    Chain,
    /// Bernstein polynomials of degree n−1: cⱼ = C(n−1,j) tʲ (1−t)ⁿ⁻¹⁻ʲ.
    Bezier,
    /// Convex combinations of the points; t walks from the first vertex over the centre to the last.
    Simplex,
    /// Simplexes that share all vertices but one (SPRO): the convex hulls of pᵢ and the connectors p_modes.., for each i below `modes`.
    /// t walks from the first mode over the centre of the connectors to the last mode.
    Complex {
        /// Points that belong to one simplex only, at least 2; they come first.
        modes: usize,
    },
    /// The plane through three points; t is not used, see [`Path::plane`].
    Plane,
    /// A Gaussian: p₀ mean, p₁ variance, the rest deviations (SWAG). `at(t)` is the mean, see [`Path::gaussian`].
    Gaussian,
    /// Unconnected points (FGE members): t selects the nearest.
    Points,
}

impl Geometry {
    /// The word in recipes and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Geometry::Chain => "chain",
            Geometry::Bezier => "bezier",
            Geometry::Simplex => "simplex",
            Geometry::Complex { .. } => "complex",
            Geometry::Plane => "plane",
            Geometry::Gaussian => "gaussian",
            Geometry::Points => "points",
        }
    }
}

/// A path: see the module. Points are flat weights, all of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// What lies between the points.
    pub geometry: Geometry,
    /// Control points in order. Never empty.
    pub points: Vec<Vec<f32>>,
    /// t of each point of a chain, where the method knows it better than equal spacing (AutoNEB): strictly rising from 0 to 1.
    /// Empty: equal.
    pub knots: Vec<f64>,
}

/// Why points are no path, or a path has no such property.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PathError {
    /// Too few or too many control points.
    #[error("a {} has {wanted} control points, not {found}", geometry.word())]
    Count {
        /// The geometry.
        geometry: Geometry,
        /// What it needs.
        wanted: &'static str,
        /// What there are.
        found: usize,
    },
    /// Points of different lengths.
    #[error(
        "control point {point} has {found} weights, the first has {wanted}: all must be weights of one network"
    )]
    Length {
        /// Index of the point.
        point: usize,
        /// Its length.
        found: usize,
        /// That of the first.
        wanted: usize,
    },
    /// NaN or infinity in a point.
    #[error(
        "weight {index} of control point {point} is {value}: the model that it comes from has diverged or is damaged"
    )]
    NotFinite {
        /// Index of the point.
        point: usize,
        /// Index of the weight.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A variance below zero.
    #[error(
        "weight {index} has the variance {value}: the second input of a Gaussian holds variances, which are never negative"
    )]
    Variance {
        /// Index of the weight.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Knots that are not strictly rising from 0 to 1, or not one a point, or not of a chain.
    #[error("knots of a {}: {why}", geometry.word())]
    Knots {
        /// The geometry.
        geometry: Geometry,
        /// What is wrong.
        why: &'static str,
    },
    /// Three points on one line span no plane.
    #[error(
        "the three points of the plane lie on one line (the third is {distance:e} away from it): no plane is defined by them"
    )]
    Collinear {
        /// Distance of the third point from the line through the other two.
        distance: f64,
    },
    /// Something that only another geometry has.
    #[error("a {} has no {what}", geometry.word())]
    Lacks {
        /// The geometry.
        geometry: Geometry,
        /// What was asked for.
        what: &'static str,
    },
}

impl From<PathError> for MethodError {
    fn from(error: PathError) -> Self {
        MethodError::invalid(error.to_string())
    }
}

impl Path {
    /// Checks the points: their number (plane 3, Gaussian at least 2 and not 3, complex more than its modes, else at least 1), one length, finite values, no
    /// negative variance, and the knots (see [`Path::knots`]).
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn new(geometry: Geometry, points: Vec<Vec<f32>>, knots: Vec<f64>) -> Result<Path, PathError> {
        let count = |wanted| Err(PathError::Count { geometry, wanted, found: points.len() });
        match (geometry, points.len()) {
            (Geometry::Plane, n) if n != 3 => return count("3"),
            (Geometry::Gaussian, 0 | 1) => return count("at least 2 (mean and variance)"),
            (Geometry::Gaussian, 3) => return count("2, or at least 4 (one deviation alone has no K−1)"),
            (_, 0) => return count("at least 1"),
            (Geometry::Complex { modes }, n) if modes < 2 || n <= modes => {
                return count("at least 3 (two modes and a connector)");
            }
            _ => {}
        }
        let wanted = points[0].len();
        for (point, values) in points.iter().enumerate() {
            if values.len() != wanted {
                return Err(PathError::Length { point, found: values.len(), wanted });
            }
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(PathError::NotFinite { point, index, value: values[index] });
            }
        }
        if geometry == Geometry::Gaussian
            && let Some(index) = points[1].iter().position(|&variance| variance < 0.0)
        {
            return Err(PathError::Variance { index, value: points[1][index] });
        }
        check_knots(geometry, points.len(), &knots)?;
        Ok(Path { geometry, points, knots })
    }

    /// Number of weights of every point.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.first().map_or(0, Vec::len)
    }

    /// Whether the points have no weights.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// θ(t) = Σ cⱼ(t) pⱼ into `out`, as long as a point, in one pass; a point with the coefficient 0 is not read, so both ends of
    /// chains, curves and simplexes are copies. t outside of 0..=1 is clamped, NaN gives NaN.
    pub fn at(&self, t: f64, out: &mut [f32]) {
        blend_into(&self.coefficients(t), &self.points, out);
    }

    /// dθ/dt into `out`: see [`Path::slopes`]. Differences of points are taken in f64, so a slope is as exact as the points.
    pub fn tangent(&self, t: f64, out: &mut [f32]) {
        let slopes = self.slopes(t);
        let first = &self.points[0];
        for (index, out) in out.iter_mut().enumerate() {
            let origin = f64::from(first[index]);
            let along = |(slope, point): (&f64, &Vec<f32>)| slope * (f64::from(point[index]) - origin);
            *out = slopes.iter().zip(&self.points).map(along).sum::<f64>() as f32;
        }
    }

    /// `n` values of t from 0 to 1 in equal steps; one is ½, none is empty.
    #[must_use]
    pub fn samples(n: usize) -> Vec<f64> {
        match n {
            1 => vec![0.5],
            _ => (0..n).map(|i| i as f64 / (n - 1) as f64).collect(),
        }
    }

    /// `n` values of t from 0 to 1 in equal steps of arc length: [`Metric::arc`]. To ask for more than one property of a path's
    /// shape take [`Path::metric`] once.
    #[must_use]
    pub fn arc(&self, n: usize) -> Vec<f64> {
        self.metric().arc(n)
    }

    /// Length of the polyline through `samples` points with equal steps of t: [`Metric::length`].
    #[must_use]
    pub fn length(&self, samples: usize) -> f64 {
        self.metric().length(samples)
    }
}

fn check_knots(geometry: Geometry, points: usize, knots: &[f64]) -> Result<(), PathError> {
    let (Some(first), Some(last)) = (knots.first(), knots.last()) else { return Ok(()) };
    let why = if geometry != Geometry::Chain {
        "only a chain has them"
    } else if knots.len() != points {
        "there must be one a point"
    } else if points < 2 || *first != 0.0 || *last != 1.0 {
        "they run from 0 to 1"
    } else if !knots.windows(2).all(|pair| pair[0] < pair[1]) {
        "they must rise strictly"
    } else {
        return Ok(());
    };
    Err(PathError::Knots { geometry, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(geometry: Geometry, points: &[&[f32]], knots: &[f64]) -> PathError {
        Path::new(geometry, points.iter().map(|point| point.to_vec()).collect(), knots.to_vec()).unwrap_err()
    }

    #[test]
    fn what_is_no_path_is_refused() {
        use Geometry::{Bezier, Chain, Gaussian, Plane};
        let p: &[f32] = &[1.0, 2.0];
        let complex = |modes| Geometry::Complex { modes };
        for (geometry, points) in [
            (Chain, 0),
            (Plane, 2),
            (Plane, 4),
            (Gaussian, 1),
            (Gaussian, 3),
            (complex(2), 2),
            (complex(1), 3),
        ] {
            let error = refused(geometry, &vec![p; points], &[]);
            assert!(matches!(error, PathError::Count { found, .. } if found == points), "{error}");
        }
        assert_eq!(refused(Chain, &[p, &[1.0]], &[]), PathError::Length { point: 1, found: 1, wanted: 2 });
        let error = refused(Bezier, &[p, &[1.0, f32::NAN]], &[]);
        assert!(matches!(error, PathError::NotFinite { point: 1, index: 1, .. }));
        assert_eq!(refused(Gaussian, &[p, &[0.0, -1.0]], &[]), PathError::Variance { index: 1, value: -1.0 });
        for knots in
            [&[0.0, 0.5, 0.5, 1.0][..], &[0.0, 0.5, 1.0], &[0.1, 0.2, 0.3, 1.0], &[0.0, f64::NAN, 0.5, 1.0]]
        {
            assert!(matches!(refused(Chain, &[p; 4], knots), PathError::Knots { .. }), "{knots:?}");
        }
        assert!(matches!(refused(Bezier, &[p; 2], &[0.0, 1.0]), PathError::Knots { .. }));
        assert!(matches!(refused(Chain, &[p; 1], &[0.0]), PathError::Knots { .. }));
        let error: MethodError = refused(Plane, &[p], &[]).into();
        assert_eq!(error.message, "a plane has 3 control points, not 1");
    }

    #[test]
    fn samples_are_even() {
        assert!(Path::samples(0).is_empty());
        assert_eq!(Path::samples(1), [0.5]);
        assert_eq!(Path::samples(5), [0.0, 0.25, 0.5, 0.75, 1.0]);
    }

    /// Against differences of θ; the step of 2⁻¹⁰ is exact for the piecewise linear, and off by h²/6·θ‴ = 0 for a parabola.
    #[test]
    fn tangents_are_slopes() {
        let points = vec![vec![0.0, 0.0], vec![1.0, 4.0], vec![2.0, 0.0]];
        for geometry in [Geometry::Chain, Geometry::Bezier, Geometry::Simplex, Geometry::Complex { modes: 2 }]
        {
            let path = Path::new(geometry, points.clone(), vec![]).unwrap();
            let (mut a, mut b, mut slope) = ([0.0_f32; 2], [0.0_f32; 2], [0.0_f32; 2]);
            let h = 1.0 / 1024.0;
            for t in [0.25, 0.375, 0.625, 0.875] {
                path.at(t - h, &mut a);
                path.at(t + h, &mut b);
                path.tangent(t, &mut slope);
                for i in 0..2 {
                    let difference = f64::from(b[i] - a[i]) / (2.0 * h);
                    // Values of at most 4 in f32 differ by 2⁻²² at worst; over 2h that is 1.3e-4.
                    assert!((difference - f64::from(slope[i])).abs() < 2e-4, "{geometry:?} {t} {i}");
                }
            }
        }
    }

    #[test]
    fn ends_are_copies() {
        let points = vec![vec![0.1, -3.3], vec![f32::MAX, 4.0], vec![2.7, 1e-30]];
        for geometry in [Geometry::Chain, Geometry::Bezier, Geometry::Simplex, Geometry::Points] {
            let path = Path::new(geometry, points.clone(), vec![]).unwrap();
            let mut out = [0.0; 2];
            path.at(0.0, &mut out);
            assert_eq!(out, points[0][..]);
            path.at(2.0, &mut out);
            assert_eq!(out, points[2][..]);
        }
    }
}
