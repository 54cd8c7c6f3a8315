//! Lengths, distances and volumes of a path, from the dots of its control points: one pass over the weights, then any question.

use super::{Geometry, Path};
use crate::stats::delta_dot;

/// Pieces into which arc length is cut for every control point.
const PIECES: usize = 256;

/// The shape of a path: Gᵢⱼ = (pᵢ−p₀)·(pⱼ−p₀) in f64. Distances between points Σ cⱼ pⱼ of equal Σ cⱼ follow from it; where they nearly
/// cancel they are exact to about 1e-8 of the largest distance between control points.
#[derive(Clone, Debug)]
pub struct Metric<'a> {
    path: &'a Path,
    gram: Vec<f64>,
}

impl Path {
    /// The dots of the control points: n(n−1)/2 passes over two of them.
    #[must_use]
    pub fn metric(&self) -> Metric<'_> {
        let (n, first) = (self.points.len(), &self.points[0]);
        let mut gram = vec![0.0; n * n];
        for i in 1..n {
            for j in 1..=i {
                let dot = delta_dot(&self.points[i], &self.points[j], first);
                (gram[i * n + j], gram[j * n + i]) = (dot, dot);
            }
        }
        Metric { path: self, gram }
    }
}

impl Metric<'_> {
    /// ‖Σ aⱼpⱼ − Σ bⱼpⱼ‖ for coefficients with equal sums.
    #[must_use]
    pub fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let change: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        self.dot(&change, &change).max(0.0).sqrt()
    }

    /// aᵀGb.
    fn dot(&self, a: &[f64], b: &[f64]) -> f64 {
        let n = self.path.points.len();
        let row = |i: usize| b.iter().enumerate().map(|(j, b)| self.gram[i * n + j] * b).sum::<f64>();
        a.iter().enumerate().map(|(i, a)| a * row(i)).sum()
    }

    /// Length of the polyline through `samples` points with equal steps of t, as Garipov et al. measure it: below the true length by
    /// O(1/samples²), exact for a straight line. Fewer than two samples have the length 0.
    #[must_use]
    pub fn length(&self, samples: usize) -> f64 {
        self.cumulative(&Path::samples(samples)).last().copied().unwrap_or(0.0)
    }

    /// Arc length from the first t up to each.
    #[must_use]
    pub fn cumulative(&self, ts: &[f64]) -> Vec<f64> {
        let mut before: Option<Vec<f64>> = None;
        let mut total = 0.0;
        ts.iter()
            .map(|&t| {
                let here = self.path.coefficients(t);
                if let Some(before) = &before {
                    total += self.distance(before, &here);
                }
                before = Some(here);
                total
            })
            .collect()
    }

    /// `n` values of t, from 0 to 1, between which the path is equally long; one is the middle. Exact for chains, within
    /// 1e-4 of t for smooth curves. Where a path has no length, and for points, equal steps of t.
    #[must_use]
    pub fn arc(&self, n: usize) -> Vec<f64> {
        if self.path.geometry == Geometry::Points {
            return Path::samples(n);
        }
        // Every corner is part of the grid: knots of chains, and for a simplex ½.
        let mut grid = vec![0.0];
        let corners = self.path.points.len().max(2) - 1;
        for corner in 0..corners {
            let (a, b) = match self.path.geometry {
                Geometry::Chain => (self.path.knot(corner), self.path.knot(corner + 1)),
                _ => (corner as f64 / corners as f64, (corner + 1) as f64 / corners as f64),
            };
            grid.extend((1..=PIECES).map(|i| a + (b - a) * i as f64 / PIECES as f64));
        }
        let lengths = self.cumulative(&grid);
        let total = lengths[lengths.len() - 1];
        if total.is_nan() || total <= 0.0 {
            return Path::samples(n);
        }
        let place = |share: f64| {
            if share >= 1.0 {
                return 1.0;
            }
            let goal = share * total;
            let right = lengths.partition_point(|&length| length <= goal).clamp(1, grid.len() - 1);
            let (from, to) = (lengths[right - 1], lengths[right]);
            let within = if to > from { (goal - from) / (to - from) } else { 0.0 };
            grid[right - 1] + within * (grid[right] - grid[right - 1])
        };
        Path::samples(n).into_iter().map(place).collect()
    }

    /// ‖p_last − p₀‖.
    #[must_use]
    pub fn chord(&self) -> f64 {
        self.gram.last().copied().unwrap_or(0.0).max(0.0).sqrt()
    }

    /// Distance of θ(t) from the straight line through the ends; from the common end where both are one. NaN for NaN.
    #[must_use]
    pub fn from_chord(&self, t: f64) -> f64 {
        let c = self.path.coefficients(t);
        let mut end = vec![0.0; c.len()];
        end[c.len() - 1] = 1.0;
        let (ww, we, ee) = (self.dot(&c, &c), self.dot(&c, &end), self.dot(&end, &end));
        let squared = if ee > 0.0 { ww - we * we / ee } else { ww };
        if squared.is_nan() { f64::NAN } else { squared.max(0.0).sqrt() }
    }

    /// Volume of the simplex of the control points: √det(Gram)/(n−1)!, which is Cayley and Menger's
    /// V² = |det CM| / ((n−1)!² 2ⁿ⁻¹) without its cancellation. It is a volume, not its square (which loss-surface-simplexes calls so):
    /// length, area, volume for 2, 3, 4 points, and 1 for one point. Degenerate simplexes have 0. That of a complex is the sum over its
    /// simplexes.
    #[must_use]
    pub fn volume(&self) -> f64 {
        self.simplexes().iter().map(|vertices| libm::exp(self.log_volume(vertices))).sum()
    }

    /// Vertices of each simplex: one of all points, or for each mode of a complex the mode and the connectors.
    #[must_use]
    pub fn simplexes(&self) -> Vec<Vec<usize>> {
        let n = self.path.points.len();
        match self.path.geometry {
            Geometry::Complex { modes } => {
                (0..modes).map(|mode| std::iter::once(mode).chain(modes..n).collect()).collect()
            }
            _ => vec![(0..n).collect()],
        }
    }

    /// ln of the volume of a simplex of some of the points, −∞ for degenerate ones: sums of logarithms do not overflow in many
    /// dimensions. Volumes are told from 0 down to heights of 1e-6 of the largest distance from the first point.
    ///
    /// # Panics
    /// There is no vertex.
    #[must_use]
    pub fn log_volume(&self, vertices: &[usize]) -> f64 {
        let n = self.path.points.len();
        let (base, others) = (vertices[0], &vertices[1..]);
        let gram = |i: usize, j: usize| self.gram[i * n + j];
        let size = others.len();
        let mut lower = vec![0.0; size * size];
        let noise = others.iter().chain([&base]).map(|&i| gram(i, i)).fold(0.0, f64::max) * 1e-12;
        let mut log = 0.0;
        for i in 0..size {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| lower[i * size + k] * lower[j * size + k]).sum();
                let (p, q) = (others[i], others[j]);
                let rest = gram(p, q) - gram(p, base) - gram(q, base) + gram(base, base) - known;
                if i != j {
                    lower[i * size + j] = rest / lower[j * size + j];
                    continue;
                }
                if rest.is_nan() || rest <= noise {
                    return if rest.is_nan() { f64::NAN } else { f64::NEG_INFINITY };
                }
                lower[i * size + i] = rest.sqrt();
                log += 0.5 * libm::log(rest) - libm::log((i + 1) as f64);
            }
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    fn path(geometry: Geometry, points: &[&[f32]], knots: &[f64]) -> Path {
        Path::new(geometry, points.iter().map(|point| point.to_vec()).collect(), knots.to_vec()).unwrap()
    }

    /// The parabola (t, 2t(1−t)·h): length ½√(1+4h²) + asinh(2h)/(4h) for this parametrisation; h = 1 gives 1.478943.
    #[test]
    fn a_parabola_has_its_length() {
        let path = path(Geometry::Bezier, &[&[0.0, 0.0], &[0.5, 1.0], &[1.0, 0.0]], &[]);
        // y = 2t(1−t), y' = 2−4t: ∫√(1+(2−4t)²)dt = ½√5 + asinh(2)/4.
        let exact = 0.5 * 5.0_f64.sqrt() + 2.0_f64.asinh() / 4.0;
        let metric = path.metric();
        assert!((metric.length(2) - 1.0).abs() < 1e-15);
        let coarse = exact - metric.length(61);
        assert!(coarse > 0.0 && coarse < 2e-4, "{coarse}");
        assert!((metric.length(10_001) - exact).abs() < 1e-8);
        assert_eq!(metric.length(1), 0.0);
        assert!((metric.chord() - 1.0).abs() < 1e-15);
        assert!((metric.from_chord(0.5) - 0.5).abs() < 1e-12);
        assert!((metric.from_chord(0.25) - 0.375).abs() < 1e-12);
        let ts = metric.arc(9);
        assert_eq!((ts[0], ts[8]), (0.0, 1.0));
        assert!((ts[4] - 0.5).abs() < 1e-9);
        let along = |t: f64| {
            let u: f64 = 2.0 - 4.0 * t;
            let primitive = |u: f64| 0.5 * (u * (1.0 + u * u).sqrt() + u.asinh());
            (primitive(2.0) - primitive(u)) / 4.0
        };
        for (i, &t) in ts.iter().enumerate() {
            assert!((along(t) - exact * i as f64 / 8.0).abs() < 1e-5, "{i} {t}");
        }
    }

    #[test]
    fn a_chain_is_walked_evenly() {
        let (p, q, r): (&[f32], &[f32], &[f32]) = (&[0.0, 0.0], &[3.0, 0.0], &[3.0, 1.0]);
        let even = path(Geometry::Chain, &[p, q, r], &[]);
        let ts = even.arc(5);
        for (t, wanted) in ts.iter().zip([0.0, 1.0 / 6.0, 1.0 / 3.0, 0.5, 1.0]) {
            assert!((t - wanted).abs() < 1e-12, "{ts:?}");
        }
        let knots = path(Geometry::Chain, &[p, q, r], &[0.0, 0.75, 1.0]);
        for (t, wanted) in knots.arc(5).iter().zip([0.0, 0.25, 0.5, 0.75, 1.0]) {
            assert!((t - wanted).abs() < 1e-12);
        }
        assert!((knots.length(5) - 4.0).abs() < 1e-12);
        let nowhere = path(Geometry::Chain, &[p, p], &[]);
        assert_eq!(nowhere.arc(3), [0.0, 0.5, 1.0]);
        assert_eq!(nowhere.metric().from_chord(0.5), 0.0);
        assert_eq!(path(Geometry::Chain, &[p], &[]).arc(2), [0.0, 1.0]);
    }

    #[test]
    fn volumes_are_those_of_the_books() {
        let volume = |points: &[&[f32]]| path(Geometry::Simplex, points, &[]).metric().volume();
        assert_eq!(volume(&[&[7.0, 7.0]]), 1.0);
        assert!((volume(&[&[1.0, 1.0], &[4.0, 5.0]]) - 5.0).abs() < 1e-13);
        assert!((volume(&[&[0.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]]) - 0.5).abs() < 1e-15);
        let corner: [&[f32]; 4] = [&[1.0, 1.0, 1.0], &[2.0, 1.0, 1.0], &[1.0, 2.0, 1.0], &[1.0, 1.0, 2.0]];
        assert!((volume(&corner) - 1.0 / 6.0).abs() < 1e-15);
        assert_eq!(volume(&[&[0.0, 0.0], &[1.0, 1.0], &[2.0, 2.0]]), 0.0);
        assert_eq!(volume(&[&[0.0], &[0.0]]), 0.0);
        // The regular simplex with edge √2 in n dimensions: √n/(n−1)! for its n vertices.
        let unit: Vec<Vec<f32>> = (0..6).map(|i| (0..6).map(|j| f32::from(i == j)).collect()).collect();
        let found = Path::new(Geometry::Simplex, unit, vec![]).unwrap().metric().volume();
        assert!((found - 6.0_f64.sqrt() / 120.0).abs() < 1e-15);
    }

    #[test]
    fn a_complex_is_the_sum_of_its_simplexes() {
        let corners: [&[f32]; 4] = [&[0.0, 0.0], &[3.0, 3.0], &[1.0, 0.0], &[0.0, 1.0]];
        let complex = path(Geometry::Complex { modes: 2 }, &corners, &[]);
        let metric = complex.metric();
        assert_eq!(metric.simplexes(), [[0, 2, 3], [1, 2, 3]]);
        // Triangles over the same edge of √2 with heights √½ and 5√½.
        assert!((metric.log_volume(&[0, 2, 3]) - 0.5_f64.ln()).abs() < 1e-14);
        assert!((metric.volume() - 3.0).abs() < 1e-13);
    }

    /// Against the determinant of Cayley and Menger's matrix, by elimination in f64.
    #[test]
    fn volumes_agree_with_cayley_and_menger() {
        for n in 2..7_usize {
            let key = Key::new(3, "simplex", n as u64);
            let points: Vec<Vec<f32>> =
                (0..n).map(|i| (0..9).map(|j| key.normal((i * 9 + j) as u64)).collect()).collect();
            let squared = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
            };
            let size = n + 1;
            let mut cm = vec![vec![1.0; size]; size];
            cm[n][n] = 0.0;
            for i in 0..n {
                for j in 0..n {
                    cm[i][j] = squared(&points[i], &points[j]);
                }
            }
            let mut det = 1.0;
            for i in 0..size {
                let pivot = (i..size).max_by(|a, b| cm[*a][i].abs().total_cmp(&cm[*b][i].abs())).unwrap();
                if pivot != i {
                    cm.swap(pivot, i);
                    det = -det;
                }
                det *= cm[i][i];
                for r in i + 1..size {
                    let factor = cm[r][i] / cm[i][i];
                    let (above, below) = cm.split_at_mut(r);
                    for (value, pivot) in below[0][i..].iter_mut().zip(&above[i][i..]) {
                        *value -= factor * pivot;
                    }
                }
            }
            let factorial: f64 = (1..n).map(|k| k as f64).product();
            let wanted = (det.abs() / (factorial.powi(2) * 2.0_f64.powi(n as i32 - 1))).sqrt();
            let found = Path::new(Geometry::Simplex, points, vec![]).unwrap().metric().volume();
            // Elimination of a 7×7 matrix in f64 keeps at least 12 digits.
            assert!((found / wanted - 1.0).abs() < 1e-11, "{n} {found} {wanted}");
        }
    }
}
