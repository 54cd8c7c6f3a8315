//! A path through weight space as a value: control points and what lies between them.
//!
//! Every geometry is a combination θ(t) = Σ cⱼ(t) pⱼ of its control points, so whoever holds the points on a device can evaluate
//! it there. The connect family makes paths; evaluating, ensembling, averaging and saving only read them.

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
    /// The plane through three points; t is not used, see `Path::plane`.
    Plane,
    /// A Gaussian: p₀ mean, p₁ variance, the rest deviations (SWAG). `at(t)` is the mean.
    Gaussian,
    /// Unconnected points (FGE members): t selects the nearest.
    Points,
}

/// A path: see the module. Points are flat weights, all of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// What lies between the points.
    pub geometry: Geometry,
    /// Control points in order. Never empty.
    pub points: Vec<Vec<f32>>,
    /// t of each point, where the method knows it better than equal spacing (AutoNEB): strictly rising from 0 to 1. Empty: equal.
    pub knots: Vec<f64>,
}
