//! The pen: smooth strokes through points, drawn with round ends and soft edges, and how ink becomes bytes.

use fusion_sdk::rng::Key;

use super::SIDE;

/// Straight pieces between two points of a stroke.
const PIECES: usize = 7;

/// An image in the making; ink is 0 to 1.
pub(super) struct Canvas {
    pub(super) pixels: Vec<f64>,
}

impl Default for Canvas {
    fn default() -> Self {
        Canvas { pixels: vec![0.0; SIDE * SIDE] }
    }
}

impl Canvas {
    pub(super) fn clear(&mut self) {
        self.pixels.fill(0.0);
    }

    /// Draws a Catmull-Rom spline through `points`; the pen's radius goes from `radius`·(1 + `pressure`) to `radius`·(1 − `pressure`).
    pub(super) fn stroke(&mut self, points: &[(f64, f64)], radius: f64, pressure: f64) {
        let Some(last) = points.len().checked_sub(1).filter(|&last| last > 0) else { return };
        let mut from = points[0];
        for span in 0..last {
            let at = |offset: isize| points[(span as isize + offset).clamp(0, last as isize) as usize];
            let (p0, p1, p2, p3) = (at(-1), at(0), at(1), at(2));
            let pieces = if last == 1 { 1 } else { PIECES };
            for piece in 1..=pieces {
                let t = piece as f64 / pieces as f64;
                let to = (catmull_rom(p0.0, p1.0, p2.0, p3.0, t), catmull_rom(p0.1, p1.1, p2.1, p3.1, t));
                let along = (span as f64 + t) / last as f64;
                self.segment(from, to, radius * (1.0 + pressure * (1.0 - 2.0 * along)));
                from = to;
            }
        }
    }

    /// A straight line with round ends. Ink falls from 1 to 0 over one pixel around the radius.
    fn segment(&mut self, (ax, ay): (f64, f64), (bx, by): (f64, f64), radius: f64) {
        let reach = radius + 0.5;
        let range = |low: f64, high: f64| {
            let first = (low - reach).max(0.0) as usize;
            let end = ((high + reach).min(SIDE as f64 - 1.0) + 1.0).max(0.0) as usize;
            first..end.min(SIDE)
        };
        let (dx, dy) = (bx - ax, by - ay);
        let square = dx * dx + dy * dy;
        let inverse = if square > 0.0 { 1.0 / square } else { 0.0 };
        for y in range(ay.min(by), ay.max(by)) {
            for x in range(ax.min(bx), ax.max(bx)) {
                let (px, py) = (x as f64 - ax, y as f64 - ay);
                let t = ((px * dx + py * dy) * inverse).clamp(0.0, 1.0);
                let (ex, ey) = (px - t * dx, py - t * dy);
                let distance = ex * ex + ey * ey;
                if distance < reach * reach {
                    let ink = (reach - distance.sqrt()).min(1.0);
                    let pixel = &mut self.pixels[y * SIDE + x];
                    *pixel = pixel.max(ink);
                }
            }
        }
    }
}

/// The cubic through p1 (t = 0) and p2 (t = 1) with slopes (p2 − p0)/2 and (p3 − p1)/2 (Catmull and Rom, 1974).
fn catmull_rom(p0: f64, p1: f64, p2: f64, p3: f64, t: f64) -> f64 {
    let slope = p2 - p0;
    let square = 2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3;
    let cube = 3.0 * (p1 - p2) + p3 - p0;
    p1 + 0.5 * t * (slope + t * (square + t * cube))
}

/// Ink times `ink`, plus noise of the given deviation, as bytes. The noise of a pixel is the sum of the four bytes of one draw, which is
/// close to normal and needs no logarithm.
pub(super) fn develop(pixels: &[f64], ink: f64, (key, noise): (Key, f64), image: &mut [u8]) {
    // A byte has variance (256² − 1)/12.
    let scale = noise / (4.0 * 65_535.0 / 12.0_f64).sqrt();
    for ((pixel, byte), index) in pixels.iter().zip(image).zip(0..) {
        let sum: u32 = key.bits(index).to_le_bytes().into_iter().map(u32::from).sum();
        let value = pixel * ink + scale * (f64::from(sum) - 510.0);
        *byte = (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splines_go_through_their_points() {
        for (t, wanted) in [(0.0, 3.0), (1.0, -2.0)] {
            assert_eq!(catmull_rom(7.0, 3.0, -2.0, 9.0, t), wanted);
        }
        // Points on a line stay on it.
        assert!((catmull_rom(1.0, 2.0, 3.0, 4.0, 0.3) - 2.3).abs() < 1e-12);
    }

    /// A horizontal stroke of radius r has thickness 2r: ink per column sums to it (soft edges are symmetric).
    #[test]
    fn a_stroke_has_its_thickness_and_stays_on_the_page() {
        let mut canvas = Canvas::default();
        canvas.stroke(&[(4.0, 13.3), (24.0, 13.3)], 1.5, 0.0);
        let column: f64 = (0..SIDE).map(|y| canvas.pixels[y * SIDE + 14]).sum();
        assert!((column - 3.0).abs() < 0.05, "{column}");
        canvas.stroke(&[(-50.0, -50.0), (80.0, 80.0)], 2.0, 0.2);
        canvas.stroke(&[(-50.0, 3.0), (-40.0, 3.0)], 2.0, 0.2);
        canvas.stroke(&[(5.0, 5.0), (5.0, 5.0)], 1.0, 0.0);
        canvas.stroke(&[(5.0, 5.0)], 1.0, 0.0);
        assert!(canvas.pixels.iter().all(|ink| (0.0..=1.0).contains(ink)));
    }
}
