//! How much of each control point θ(t) holds, geometry by geometry, and how that changes with t.

use super::{Geometry, Path};

impl Path {
    /// c(t) with θ(t) = Σ cⱼ(t) pⱼ and Σ cⱼ = 1. t outside of 0..=1 is clamped; NaN gives NaN for all.
    ///
    /// Bernstein polynomials for a curve (Bézier), hats for a chain (between knots where it has some), the walk
    /// vertex → centre → vertex for a simplex (mode → centre of the connectors → mode for a complex), one 1 for points (the nearest; half-way the later one), the mean of a Gaussian, the
    /// centre of a plane's triangle.
    #[must_use]
    pub fn coefficients(&self, t: f64) -> Vec<f64> {
        let n = self.points.len();
        if t.is_nan() {
            return vec![f64::NAN; n];
        }
        let t = t.clamp(0.0, 1.0);
        match self.geometry {
            Geometry::Bezier => bernstein(n, t),
            Geometry::Chain => {
                let (left, share, _) = self.piece(t);
                let mut c = vec![0.0; n];
                c[left] = 1.0 - share;
                if share > 0.0 {
                    c[left + 1] = share;
                }
                c
            }
            Geometry::Simplex => {
                let (vertex, towards) = if t <= 0.5 { (0, 2.0 * t) } else { (n - 1, 2.0 - 2.0 * t) };
                let mut c = vec![towards / n as f64; n];
                c[vertex] += 1.0 - towards;
                c
            }
            Geometry::Complex { modes } => {
                let (vertex, towards) = if t <= 0.5 { (0, 2.0 * t) } else { (modes - 1, 2.0 - 2.0 * t) };
                let mut c = vec![0.0; n];
                c[modes..].fill(towards / (n - modes) as f64);
                c[vertex] = 1.0 - towards;
                c
            }
            Geometry::Points => one_hot(n, (t * (n - 1) as f64).round() as usize),
            Geometry::Gaussian => one_hot(n, 0),
            Geometry::Plane => vec![1.0 / n as f64; n],
        }
    }

    /// dc/dt, whose sum is 0. At a corner of a chain or a simplex the slope of the piece to the right, at t = 1 that to the left;
    /// 0 for points, planes and Gaussians. NaN gives NaN.
    #[must_use]
    pub fn slopes(&self, t: f64) -> Vec<f64> {
        let n = self.points.len();
        if t.is_nan() {
            return vec![f64::NAN; n];
        }
        let t = t.clamp(0.0, 1.0);
        let mut slopes = vec![0.0; n];
        match self.geometry {
            Geometry::Bezier if n > 1 => {
                let degree = (n - 1) as f64;
                for (j, c) in bernstein(n - 1, t).into_iter().enumerate() {
                    slopes[j] -= degree * c;
                    slopes[j + 1] += degree * c;
                }
            }
            Geometry::Chain if n > 1 => {
                let (mut left, share, mut width) = self.piece(t);
                if left == n - 1 {
                    left -= 1;
                    width = self.knot(left + 1) - self.knot(left);
                } else if share == 0.0 {
                    width = self.knot(left + 1) - self.knot(left);
                }
                slopes[left] = -1.0 / width;
                slopes[left + 1] = 1.0 / width;
            }
            Geometry::Simplex if n > 1 => {
                let (vertex, speed) = if t < 0.5 { (0, 2.0) } else { (n - 1, -2.0) };
                slopes.fill(speed / n as f64);
                slopes[vertex] -= speed;
            }
            Geometry::Complex { modes } => {
                let (vertex, speed) = if t < 0.5 { (0, 2.0) } else { (modes - 1, -2.0) };
                slopes[modes..].fill(speed / (n - modes) as f64);
                slopes[vertex] = -speed;
            }
            _ => {}
        }
        slopes
    }

    /// t of a control point of a chain.
    pub(super) fn knot(&self, point: usize) -> f64 {
        match self.knots.get(point) {
            Some(&knot) => knot,
            None => point as f64 / (self.points.len().max(2) - 1) as f64,
        }
    }

    /// The piece of a chain that t lies on: its left point, how far along it, its width in t. The last point is a piece of its own.
    fn piece(&self, t: f64) -> (usize, f64, f64) {
        let last = self.points.len() - 1;
        if t >= 1.0 || last == 0 {
            return (last, 0.0, 0.0);
        }
        if self.knots.is_empty() {
            // As cⱼ = max(0, 1−|t(n−1)−j|), to the bit.
            let place = t * last as f64;
            let left = (place.floor() as usize).min(last - 1);
            return (left, place - left as f64, 1.0 / last as f64);
        }
        let left = self.knots.partition_point(|&knot| knot <= t).clamp(1, last) - 1;
        let width = self.knots[left + 1] - self.knots[left];
        (left, (t - self.knots[left]) / width, width)
    }
}

/// Bⱼ(t) = C(n−1,j) tʲ (1−t)ⁿ⁻¹⁻ʲ for j < n, by de Casteljau's recurrence: no powers, no binomials, no overflow.
fn bernstein(n: usize, t: f64) -> Vec<f64> {
    let mut c = vec![0.0; n];
    c[0] = 1.0;
    for degree in 1..n {
        for j in (1..=degree).rev() {
            c[j] = (1.0 - t) * c[j] + t * c[j - 1];
        }
        c[0] *= 1.0 - t;
    }
    c
}

fn one_hot(n: usize, at: usize) -> Vec<f64> {
    let mut c = vec![0.0; n];
    c[at] = 1.0;
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(geometry: Geometry, n: usize, knots: &[f64]) -> Path {
        let points = (0..n).map(|i| vec![i as f32]).collect();
        Path::new(geometry, points, knots.to_vec()).unwrap()
    }

    fn close(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (a, b) in found.iter().zip(wanted) {
            assert!((a - b).abs() < 1e-14, "{found:?} {wanted:?}");
        }
    }

    /// Oracle O5 of the reference notes (dnn-mode-connectivity).
    #[test]
    fn curves_and_chains_follow_the_reference_code() {
        let bezier = |n, t| path(Geometry::Bezier, n, &[]).coefficients(t);
        let chain = |n, t| path(Geometry::Chain, n, &[]).coefficients(t);
        close(&bezier(3, 0.25), &[0.5625, 0.375, 0.0625]);
        close(&bezier(3, 0.9), &[0.01, 0.18, 0.81]);
        close(&bezier(4, 0.25), &[0.421875, 0.421875, 0.140625, 0.015625]);
        close(&chain(3, 0.25), &[0.5, 0.5, 0.0]);
        close(&chain(3, 0.9), &[0.0, 0.2, 0.8]);
        close(&chain(4, 0.25), &[0.25, 0.75, 0.0, 0.0]);
        close(&bezier(1, 0.3), &[1.0]);
        close(&chain(1, 0.3), &[1.0]);
    }

    #[test]
    fn other_geometries_have_closed_forms() {
        let knots = path(Geometry::Chain, 3, &[0.0, 0.2, 1.0]);
        close(&knots.coefficients(0.1), &[0.5, 0.5, 0.0]);
        close(&knots.coefficients(0.2), &[0.0, 1.0, 0.0]);
        close(&knots.coefficients(0.6), &[0.0, 0.5, 0.5]);
        close(&knots.slopes(0.1), &[-5.0, 5.0, 0.0]);
        close(&knots.slopes(0.2), &[0.0, -1.25, 1.25]);
        close(&knots.slopes(1.0), &[0.0, -1.25, 1.25]);
        let simplex = path(Geometry::Simplex, 4, &[]);
        close(&simplex.coefficients(0.25), &[0.625, 0.125, 0.125, 0.125]);
        close(&simplex.coefficients(0.5), &[0.25; 4]);
        close(&simplex.coefficients(0.75), &[0.125, 0.125, 0.125, 0.625]);
        let complex = path(Geometry::Complex { modes: 3 }, 5, &[]);
        close(&complex.coefficients(0.25), &[0.5, 0.0, 0.0, 0.25, 0.25]);
        close(&complex.coefficients(0.5), &[0.0, 0.0, 0.0, 0.5, 0.5]);
        close(&complex.coefficients(1.0), &[0.0, 0.0, 1.0, 0.0, 0.0]);
        close(&complex.slopes(0.5), &[0.0, 0.0, 2.0, -1.0, -1.0]);
        close(&path(Geometry::Simplex, 2, &[]).coefficients(0.3), &[0.7, 0.3]);
        let points = path(Geometry::Points, 3, &[]);
        close(&points.coefficients(0.24), &[1.0, 0.0, 0.0]);
        close(&points.coefficients(0.25), &[0.0, 1.0, 0.0]);
        close(&points.slopes(0.5), &[0.0; 3]);
        close(&path(Geometry::Plane, 3, &[]).coefficients(0.9), &[1.0 / 3.0; 3]);
        let gaussian = Path::new(Geometry::Gaussian, vec![vec![5.0], vec![1.0]], vec![]).unwrap();
        close(&gaussian.coefficients(0.9), &[1.0, 0.0]);
        assert!(simplex.coefficients(f64::NAN).iter().all(|c| c.is_nan()));
        assert!(simplex.slopes(f64::NAN).iter().all(|c| c.is_nan()));
    }

    /// For every geometry, size and t: the sum is 1 and that of the slopes 0, within rounding of n terms; ends are exact.
    #[test]
    fn coefficients_are_affine() {
        for geometry in [Geometry::Chain, Geometry::Bezier, Geometry::Simplex, Geometry::Points] {
            for n in 1..12 {
                let path = path(geometry, n, &[]);
                for i in 0..=100 {
                    let t = f64::from(i) / 100.0;
                    let (c, s) = (path.coefficients(t), path.slopes(t));
                    assert!((c.iter().sum::<f64>() - 1.0).abs() < 1e-14, "{geometry:?} {n} {t}");
                    assert!(s.iter().sum::<f64>().abs() < 1e-12, "{geometry:?} {n} {t}");
                }
                assert_eq!(path.coefficients(-1.0), one_hot(n, 0));
                assert_eq!(path.coefficients(f64::INFINITY), one_hot(n, n - 1));
            }
        }
    }
}
