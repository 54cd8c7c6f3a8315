//! Contours of values on a grid: marching squares (Lorensen & Cline, 1987, in two dimensions), values linear along edges.
//!
//! Every line has the higher values on its left (y upwards), so neighbouring cells agree and lines join end to end without
//! searching. A saddle is decided by the mean of its four corners.

/// A grid of values with places.
pub(super) struct Grid {
    xs: Vec<f64>,
    ys: Vec<f64>,
    values: Vec<f64>,
}

/// A contour line. Closed ones have their first point at the end again.
pub(super) type Line = Vec<(f64, f64)>;

impl Grid {
    /// Values row by row, all finite.
    pub(super) fn new(xs: &[f64], ys: &[f64], values: Vec<f64>) -> Grid {
        debug_assert_eq!(xs.len() * ys.len(), values.len());
        Grid { xs: xs.to_vec(), ys: ys.to_vec(), values }
    }

    /// The same with a ring of infinitely low values on its edge, so that every contour is closed along the edge.
    pub(super) fn closed(&self) -> Grid {
        let ends = |line: &[f64]| {
            let (first, last) = (line.first().copied(), line.last().copied());
            first.into_iter().chain(line.iter().copied()).chain(last).collect::<Vec<_>>()
        };
        let mut values = vec![f64::NEG_INFINITY; self.xs.len() + 2];
        for row in self.values.chunks(self.xs.len().max(1)) {
            values.push(f64::NEG_INFINITY);
            values.extend_from_slice(row);
            values.push(f64::NEG_INFINITY);
        }
        values.resize(values.len() + self.xs.len() + 2, f64::NEG_INFINITY);
        Grid { xs: ends(&self.xs), ys: ends(&self.ys), values }
    }

    /// The lines between values below the level and values at or above it, in the order of the grid.
    pub(super) fn lines(&self, level: f64) -> Vec<Line> {
        let mut next = self.segments(level);
        let mut entered = vec![false; next.len()];
        for to in next.iter().flatten() {
            entered[*to] = true;
        }
        let mut lines = Vec::new();
        // Lines from edge to edge first, then the closed ones.
        for closed in [false, true] {
            for start in 0..next.len() {
                if next[start].is_none() || (!closed && entered[start]) {
                    continue;
                }
                let mut line = vec![self.crossing(start, level)];
                let mut at = start;
                while let Some(to) = next[at].take() {
                    line.push(self.crossing(to, level));
                    at = to;
                }
                lines.push(line);
            }
        }
        lines
    }

    fn value(&self, i: usize, j: usize) -> f64 {
        self.values[j * self.xs.len() + i]
    }

    /// For each edge where a line comes into a cell, the edge where it leaves it. The edge from (i, j) to the right has the
    /// number 2(j·w + i), the one upwards one more.
    fn segments(&self, level: f64) -> Vec<Option<usize>> {
        let (w, h) = (self.xs.len(), self.ys.len());
        let mut next = vec![None; 2 * w * h];
        for j in 0..h.saturating_sub(1) {
            for i in 0..w.saturating_sub(1) {
                // Corners against the clock, and the edge after each.
                let corners =
                    [self.value(i, j), self.value(i + 1, j), self.value(i + 1, j + 1), self.value(i, j + 1)];
                let edges =
                    [2 * (j * w + i), 2 * (j * w + i + 1) + 1, 2 * ((j + 1) * w + i), 2 * (j * w + i) + 1];
                let inside = corners.map(|value| value >= level);
                let leaves = |k: &usize| inside[*k] && !inside[(*k + 1) % 4];
                let enters = |k: &usize| !inside[*k] && inside[(*k + 1) % 4];
                let high = corners.iter().sum::<f64>() / 4.0 >= level;
                for k in (0..4).filter(leaves) {
                    // Around the low corner after it, or back around the high corner before it; the same where there is one.
                    let mut turn = (1..4).map(|step| if high { (k + step) % 4 } else { (k + 4 - step) % 4 });
                    if let Some(end) = turn.find(enters) {
                        next[edges[k]] = Some(edges[end]);
                    }
                }
            }
        }
        next
    }

    fn crossing(&self, edge: usize, level: f64) -> (f64, f64) {
        let w = self.xs.len();
        let (i, j) = (edge / 2 % w, edge / 2 / w);
        let (k, l) = if edge.is_multiple_of(2) { (i + 1, j) } else { (i, j + 1) };
        let (from, to) = (self.value(i, j), self.value(k, l));
        let part = (level - from) / (to - from);
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.5 };
        let mix = |a: f64, b: f64| a + (b - a) * part;
        (mix(self.xs[i], self.xs[k]), mix(self.ys[j], self.ys[l]))
    }
}

/// Area within a closed line, positive where it runs against the clock (y upwards), that is where the inside is higher.
pub(super) fn area(line: &[(f64, f64)]) -> f64 {
    line.windows(2).map(|pair| (pair[0].0 * pair[1].1 - pair[1].0 * pair[0].1) / 2.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(n: usize, f: impl Fn(f64, f64) -> f64) -> Grid {
        let line: Vec<f64> = (0..n).map(|i| -1.0 + 2.0 * i as f64 / (n - 1) as f64).collect();
        let values = line.iter().flat_map(|y| line.iter().map(|x| f(*x, *y)).collect::<Vec<_>>()).collect();
        Grid::new(&line, &line, values)
    }

    #[test]
    fn a_circle_is_one_closed_line_with_the_circles_area() {
        // Linear interpolation of r² on a grid of step h errs by at most h²/8 · 2 in value: area errs below π·h².
        let lines = grid(81, |x, y| x * x + y * y).lines(0.49);
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line.first(), line.last());
        let error = (area(line) + std::f64::consts::PI * 0.49).abs();
        assert!(
            error < std::f64::consts::PI * 0.025f64.powi(2),
            "the inside is lower, so the area is negative: {error}"
        );
        assert!(line.iter().all(|(x, y)| (x.hypot(*y) - 0.7).abs() < 0.001));
    }

    #[test]
    fn on_a_plane_the_line_is_exact() {
        let lines = grid(5, |x, y| 2.0 * x + y).lines(0.3);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].iter().all(|(x, y)| (2.0 * x + y - 0.3).abs() < 1e-12));
        assert_ne!(lines[0].first(), lines[0].last());
    }

    #[test]
    fn areas_of_the_closed_grid_add_up() {
        // {v ≥ level} and {v < level} share the square; ripples make holes, islands and lines that end at the edge.
        let waves = grid(41, |x, y| (7.0 * x).sin() * (5.0 * y).cos());
        let minus = grid(41, |x, y| -(7.0 * x).sin() * (5.0 * y).cos());
        for level in [-0.7, -0.2, 0.1, 0.45, 0.9] {
            let above: f64 = waves.closed().lines(level).iter().map(|line| area(line)).sum();
            let below: f64 = minus.closed().lines(-level).iter().map(|line| area(line)).sum();
            assert!((above + below - 4.0).abs() < 1e-9, "{level}: {above} + {below}");
            assert!(waves.closed().lines(level).iter().all(|line| line.first() == line.last()));
        }
    }

    #[test]
    fn a_saddle_is_decided_by_its_middle() {
        let square = |values: [f64; 4]| Grid::new(&[0.0, 1.0], &[0.0, 1.0], values.to_vec());
        // High corners (0, 0) and (1, 1). With a high middle the low corners are cut off, and the other way round.
        let high = square([1.0, 0.0, 0.0, 1.0]).lines(0.4);
        let low = square([1.0, 0.0, 0.0, 1.0]).lines(0.6);
        assert_eq!((high.len(), low.len()), (2, 2));
        let near = |line: &Line, corner: (f64, f64)| {
            line.iter().all(|(x, y)| (x - corner.0).hypot(y - corner.1) < 0.5)
        };
        assert!(
            high.iter().any(|line| near(line, (1.0, 0.0))) && high.iter().any(|line| near(line, (0.0, 1.0)))
        );
        assert!(
            low.iter().any(|line| near(line, (0.0, 0.0))) && low.iter().any(|line| near(line, (1.0, 1.0)))
        );
    }

    #[test]
    fn nothing_and_everything_have_no_lines_inside() {
        assert!(grid(5, |_, _| 1.0).lines(2.0).is_empty());
        assert!(grid(5, |_, _| 1.0).lines(0.0).is_empty());
        let all = grid(5, |_, _| 1.0).closed().lines(0.0);
        assert_eq!(all.len(), 1);
        assert!((area(&all[0]) - 4.0).abs() < 1e-12);
        assert!(Grid::new(&[], &[], vec![]).closed().lines(0.0).is_empty());
    }
}
