//! The plane through three points of weight space, with the orthonormal axes of Garipov et al.: what landscapes are drawn on.

use super::{Geometry, Path, PathError, blend_into};
use crate::stats::delta_dot;

/// A plane: origin a, û = (b−a)/‖b−a‖, v̂ the unit vector along the rest of c−a (Gram and Schmidt). The axes are not stored:
/// (x, y) is a combination of a, b, c.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    points: [&'a [f32]; 3],
    /// ‖b−a‖, so b lies at (width, 0).
    width: f64,
    /// (c−a)·û, so c lies at (shift, height).
    shift: f64,
    /// ‖c−a − shift·û‖.
    height: f64,
}

impl Path {
    /// The plane of a path with this geometry.
    ///
    /// # Errors
    /// Another geometry, or the three points lie on one line.
    pub fn plane(&self) -> Result<Plane<'_>, PathError> {
        match (self.geometry, &self.points[..]) {
            (Geometry::Plane, [a, b, c]) => Plane::through(a, b, c),
            (geometry, _) => Err(PathError::Lacks { geometry, what: "plane" }),
        }
    }
}

impl<'a> Plane<'a> {
    /// The plane through three points.
    ///
    /// # Errors
    /// They differ in length, or lie on one line: the third is nearer to it than 1e-7 of its distance from a, which is the rounding of
    /// f32 weights.
    pub fn through(a: &'a [f32], b: &'a [f32], c: &'a [f32]) -> Result<Plane<'a>, PathError> {
        for (point, values) in [(1, b), (2, c)] {
            if values.len() != a.len() {
                return Err(PathError::Length { point, found: values.len(), wanted: a.len() });
            }
        }
        let (bb, bc, cc) = (delta_dot(b, b, a), delta_dot(b, c, a), delta_dot(c, c, a));
        let width = bb.sqrt();
        let shift = if width > 0.0 { bc / width } else { 0.0 };
        // Summed over elements rather than cc − shift², which cancels for flat triangles.
        let slope = if width > 0.0 { shift / width } else { 0.0 };
        let mut squared = 0.0;
        for ((&a, &b), &c) in a.iter().zip(b).zip(c) {
            let rest = (f64::from(c) - f64::from(a)) - slope * (f64::from(b) - f64::from(a));
            squared += rest * rest;
        }
        let height = squared.sqrt();
        if !(width > 0.0 && height > 1e-7 * cc.sqrt()) {
            return Err(PathError::Collinear { distance: height });
        }
        Ok(Plane { points: [a, b, c], width, shift, height })
    }

    /// Where a, b and c lie: (0, 0), (‖b−a‖, 0), (shift, height).
    #[must_use]
    pub fn corners(&self) -> [[f64; 2]; 3] {
        [[0.0, 0.0], [self.width, 0.0], [self.shift, self.height]]
    }

    /// Coefficients of a, b, c at (x, y): their sum is 1.
    #[must_use]
    pub fn coefficients(&self, x: f64, y: f64) -> [f64; 3] {
        let c = y / self.height;
        let b = (x - c * self.shift) / self.width;
        [1.0 - b - c, b, c]
    }

    /// a + xû + yv̂ into `out`.
    pub fn at(&self, x: f64, y: f64, out: &mut [f32]) {
        blend_into(&self.coefficients(x, y), &self.points, out);
    }

    /// û and v̂.
    #[must_use]
    pub fn basis(&self) -> [Vec<f32>; 2] {
        let [a, b, c] = self.points;
        let along = |b: f32, a: f32| (f64::from(b) - f64::from(a)) / self.width;
        let u = a.iter().zip(b).map(|(&a, &b)| along(b, a) as f32).collect();
        let rest = |((&a, &b), &c): ((&f32, &f32), &f32)| {
            ((f64::from(c) - f64::from(a) - self.shift * along(b, a)) / self.height) as f32
        };
        [u, a.iter().zip(b).zip(c).map(rest).collect()]
    }

    /// Coordinates of the point of the plane that is nearest to `point`, and how far from the plane it is.
    ///
    /// # Errors
    /// It has another length.
    pub fn project(&self, point: &[f32]) -> Result<([f64; 2], f64), PathError> {
        let [a, b, c] = self.points;
        if point.len() != a.len() {
            return Err(PathError::Length { point: 3, found: point.len(), wanted: a.len() });
        }
        let x = delta_dot(point, b, a) / self.width;
        let y = (delta_dot(point, c, a) - self.shift * x) / self.height;
        let away = delta_dot(point, point, a) - x * x - y * y;
        Ok(([x, y], if away.is_nan() { f64::NAN } else { away.max(0.0).sqrt() }))
    }

    /// The rectangle around the corners and `others`, wider by `margin` of its extent on every side: `[x from, x to]`, `[y from, y to]`.
    #[must_use]
    pub fn frame(&self, others: &[[f64; 2]], margin: f64) -> [[f64; 2]; 2] {
        let corners = self.corners();
        [0, 1].map(|axis| {
            let of = corners.iter().chain(others).map(|point| point[axis]);
            let (low, high) = of.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            [low - margin * (high - low), high + margin * (high - low)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;
    use crate::stats::dot;

    #[test]
    fn axes_are_orthonormal_and_coordinates_come_back() {
        let key = Key::new(1, "plane", 0);
        let points: Vec<Vec<f32>> =
            (0..4).map(|i| (0..100).map(|j| key.normal(i * 100 + j)).collect()).collect();
        let plane = Plane::through(&points[0], &points[1], &points[2]).unwrap();
        let [u, v] = plane.basis();
        // 100 products of f32 components of about 0.1: 1e-7 is their rounding.
        assert!((dot(&u, &u) - 1.0).abs() < 1e-6 && (dot(&v, &v) - 1.0).abs() < 1e-6);
        assert!(dot(&u, &v).abs() < 1e-6);
        for (point, corner) in points.iter().zip(plane.corners()) {
            let (found, away) = plane.project(point).unwrap();
            assert!((found[0] - corner[0]).abs() < 1e-9 && (found[1] - corner[1]).abs() < 1e-9);
            assert!(away < 1e-5);
        }
        let mut out = vec![0.0; 100];
        plane.at(2.0, -3.0, &mut out);
        let direct = |i: usize| points[0][i] + 2.0 * u[i] - 3.0 * v[i];
        assert!(out.iter().enumerate().all(|(i, out)| (out - direct(i)).abs() < 1e-5));
        let (found, _) = plane.project(&out).unwrap();
        assert!((found[0] - 2.0).abs() < 1e-5 && (found[1] + 3.0).abs() < 1e-5);
        let ([x, y], away) = plane.project(&points[3]).unwrap();
        let rest: Vec<f32> = (0..100).map(|i| points[3][i] - points[0][i]).collect();
        assert!((dot(&rest, &u) - x).abs() < 1e-5 && (dot(&rest, &v) - y).abs() < 1e-5);
        assert!(((away * away + x * x + y * y) - dot(&rest, &rest)).abs() < 1e-4);
    }

    #[test]
    fn a_right_triangle_has_known_coordinates() {
        let path =
            Path::new(Geometry::Plane, vec![vec![1.0, 1.0], vec![4.0, 1.0], vec![2.0, 3.0]], vec![]).unwrap();
        let plane = path.plane().unwrap();
        assert_eq!(plane.corners(), [[0.0, 0.0], [3.0, 0.0], [1.0, 2.0]]);
        assert_eq!(plane.coefficients(3.0, 0.0), [0.0, 1.0, 0.0]);
        assert_eq!(plane.frame(&[[5.0, -2.0]], 0.5), [[-2.5, 7.5], [-4.0, 4.0]]);
    }

    #[test]
    fn a_line_is_no_plane() {
        let (a, b, c) = ([0.0, 0.0], [1.0, 1.0], [2.0, 2.0]);
        assert!(matches!(Plane::through(&a, &b, &c), Err(PathError::Collinear { .. })));
        assert!(matches!(Plane::through(&a, &a, &c), Err(PathError::Collinear { .. })));
        assert!(matches!(Plane::through(&a, &b, &a), Err(PathError::Collinear { .. })));
        assert!(matches!(Plane::through(&a, &b, &[1.0]), Err(PathError::Length { point: 2, .. })));
        let chain = Path::new(Geometry::Chain, vec![a.to_vec()], vec![]).unwrap();
        assert!(matches!(chain.plane(), Err(PathError::Lacks { .. })));
    }
}
