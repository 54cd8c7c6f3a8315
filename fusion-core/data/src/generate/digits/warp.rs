//! Smooth random displacements, and what they do to an image.

use super::SIDE;
use crate::draw::Stream;

/// Knots of a side.
const KNOTS: usize = 6;

/// A smooth random vector field over the unit square: a uniform cubic B-spline with normal coefficients on 6×6 knots.
pub(super) struct Field {
    knots: [[(f64, f64); KNOTS]; KNOTS],
}

impl Field {
    /// `deviation` is that of a coefficient; the field's own is about half of it.
    pub(super) fn new(stream: &mut Stream, deviation: f64) -> Self {
        let mut knots = [[(0.0, 0.0); KNOTS]; KNOTS];
        for knot in knots.iter_mut().flatten() {
            *knot = (deviation * stream.normal(), deviation * stream.normal());
        }
        Field { knots }
    }

    /// The displacement at a point; outside of the unit square, that of the nearest point of its edge.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (column, across) = weights(x);
        let (row, down) = weights(y);
        let (mut dx, mut dy) = (0.0, 0.0);
        for (knots, down) in self.knots[row..row + 4].iter().zip(down) {
            for (knot, across) in knots[column..column + 4].iter().zip(across) {
                dx += down * across * knot.0;
                dy += down * across * knot.1;
            }
        }
        (dx, dy)
    }
}

/// The first of the four knots that matter at `x`, and their weights: the uniform cubic B-spline.
fn weights(x: f64) -> (usize, [f64; 4]) {
    let spans = (KNOTS - 3) as f64;
    let at = x.clamp(0.0, 1.0) * spans;
    let span = at.min(spans - 1.0).floor();
    let t = at - span;
    let (u, t2) = (1.0 - t, t * t);
    let t3 = t2 * t;
    let weights = [
        u * u * u / 6.0,
        (3.0 * t3 - 6.0 * t2 + 4.0) / 6.0,
        (-3.0 * t3 + 3.0 * t2 + 3.0 * t + 1.0) / 6.0,
        t3 / 6.0,
    ];
    (span as usize, weights)
}

/// Every pixel from its place plus the field, in pixels; bilinear, no ink outside.
pub(super) fn apply(from: &[f64], field: &Field, to: &mut Vec<f64>) {
    to.clear();
    let side = SIDE as isize;
    let ink = |x: isize, y: isize| -> f64 {
        if x < 0 || y < 0 || x >= side || y >= side { 0.0 } else { from[(y * side + x) as usize] }
    };
    for y in 0..SIDE {
        for x in 0..SIDE {
            let unit = 1.0 / (SIDE as f64 - 1.0);
            let (dx, dy) = field.at(x as f64 * unit, y as f64 * unit);
            let (px, py) = (x as f64 + dx, y as f64 + dy);
            let (left, top) = (px.floor(), py.floor());
            let (u, v) = (px - left, py - top);
            let (left, top) = (left as isize, top as isize);
            let upper = ink(left, top) * (1.0 - u) + ink(left + 1, top) * u;
            let lower = ink(left, top + 1) * (1.0 - u) + ink(left + 1, top + 1) * u;
            to.push(upper * (1.0 - v) + lower * v);
        }
    }
}

/// One pass of the kernel [w, 1 − 2w, w] along rows and columns.
pub(super) fn blur(pixels: &mut [f64], w: f64) {
    let mut line = [0.0; SIDE];
    let mut pass = |start: usize, step: usize, pixels: &mut [f64]| {
        for (at, value) in line.iter_mut().enumerate() {
            *value = pixels[start + at * step];
        }
        for at in 0..SIDE {
            let before = if at > 0 { line[at - 1] } else { 0.0 };
            let after = if at + 1 < SIDE { line[at + 1] } else { 0.0 };
            pixels[start + at * step] = w * (before + after) + (1.0 - 2.0 * w) * line[at];
        }
    };
    for at in 0..SIDE {
        pass(at * SIDE, 1, pixels);
    }
    for at in 0..SIDE {
        pass(at, SIDE, pixels);
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::rng::Key;

    use super::*;

    #[test]
    fn spline_weights_sum_to_one_and_join_smoothly() {
        for step in -2..=22 {
            let (first, weights) = weights(f64::from(step) / 20.0);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(first + 4 <= KNOTS && weights.iter().all(|&weight| weight > -1e-12));
        }
        let field = Field::new(&mut Stream::new(Key::new(1, "field", 0)), 1.0);
        for joint in [1.0 / 3.0, 2.0 / 3.0] {
            let (a, b) = (field.at(joint - 1e-9, 0.4), field.at(joint + 1e-9, 0.4));
            assert!((a.0 - b.0).abs() < 1e-7 && (a.1 - b.1).abs() < 1e-7);
        }
    }

    #[test]
    fn no_displacement_and_no_blur_change_nothing() {
        let image: Vec<f64> = (0..SIDE * SIDE).map(|at| (at % 7) as f64 / 7.0).collect();
        let mut out = Vec::new();
        apply(&image, &Field { knots: [[(0.0, 0.0); KNOTS]; KNOTS] }, &mut out);
        assert_eq!(out, image);
        blur(&mut out, 0.0);
        assert_eq!(out, image);
    }
}
