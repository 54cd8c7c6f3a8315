//! The band of `autoneb`: pivots and their target spacing, tangents, respacing.

use fusion_sdk::MethodError;
use fusion_sdk::path::{Geometry, Path, blend, blend_into};
use fusion_sdk::stats::delta_dot;

/// A chain of pivots. The first and the last never move.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub(super) pivots: Vec<Vec<f32>>,
    /// Target length of each piece as a share of the whole; they sum to 1.
    pub(super) shares: Vec<f64>,
}

impl Band {
    /// `inner` pivots evenly on the segment.
    pub(super) fn between(ends: [&[f32]; 2], inner: usize) -> Band {
        let pieces = inner + 1;
        let mut pivots = vec![ends[0].to_vec()];
        pivots.extend((1..pieces).map(|i| {
            let t = i as f64 / pieces as f64;
            blend(&[1.0 - t, t], &ends)
        }));
        pivots.push(ends[1].to_vec());
        Band { pivots, shares: vec![1.0 / pieces as f64; pieces] }
    }

    /// A pivot inside a piece, at `share` of it.
    pub(super) fn insert(&mut self, piece: usize, share: f64) {
        let new = blend(&[1.0 - share, share], &[&self.pivots[piece], &self.pivots[piece + 1]]);
        self.pivots.insert(piece + 1, new);
        let whole = self.shares[piece];
        self.shares[piece] = whole * share;
        self.shares.insert(piece + 1, whole * (1.0 - share));
    }

    /// Lengths of the pieces.
    pub(super) fn distances(&self) -> Vec<f64> {
        self.pivots.windows(2).map(|pair| delta_dot(&pair[0], &pair[0], &pair[1]).sqrt()).collect()
    }

    /// Moves the inner pivots along the band to their target spacing. `spare` holds as many vectors as there are pivots.
    pub(super) fn space(&mut self, spare: &mut [Vec<f32>]) {
        let distances = self.distances();
        let total: f64 = distances.iter().sum();
        if total.is_nan() || total <= 0.0 {
            return;
        }
        let last = self.pivots.len() - 1;
        let (mut piece, mut walked, mut goal) = (0, 0.0, 0.0);
        for (i, moved) in spare.iter_mut().enumerate().take(last).skip(1) {
            goal += self.shares[i - 1] * total;
            while piece + 1 < last && walked + distances[piece] < goal {
                walked += distances[piece];
                piece += 1;
            }
            let share = match distances[piece] > 0.0 {
                true => ((goal - walked) / distances[piece]).clamp(0.0, 1.0),
                false => 0.0,
            };
            blend_into(&[1.0 - share, share], &[&self.pivots[piece], &self.pivots[piece + 1]], moved);
        }
        for (pivot, moved) in self.pivots[1..last].iter_mut().zip(&mut spare[1..last]) {
            std::mem::swap(pivot, moved);
        }
    }

    /// The unit tangent at an inner pivot: see the module above. 0 where neighbours coincide with it.
    pub(super) fn tangent(&self, i: usize, energies: &[f64], distances: &[f64], out: &mut [f32]) {
        let (before, here, after) = (energies[i - 1], energies[i], energies[i + 1]);
        let (left, right) = if (before < here && after < here) || (before > here && after > here) {
            let (a, b) = ((before - here).abs(), (after - here).abs());
            let (most, least) = (a.max(b), a.min(b));
            if before > after { (most, least) } else { (least, most) }
        } else if before > after {
            (1.0, 0.0)
        } else {
            (0.0, 1.0)
        };
        let unit = |weight: f64, distance: f64| if distance > 0.0 { weight / distance } else { 0.0 };
        let (left, right) = (unit(left, distances[i - 1]), unit(right, distances[i]));
        let [p, q, r] = [&self.pivots[i - 1], &self.pivots[i], &self.pivots[i + 1]];
        let mut squares = 0.0;
        for (index, out) in out.iter_mut().enumerate() {
            let (p, q, r) = (f64::from(p[index]), f64::from(q[index]), f64::from(r[index]));
            let value = left * (q - p) + right * (r - q);
            squares += value * value;
            *out = value as f32;
        }
        let norm = squares.sqrt();
        crate::descent::scale(out, if norm > 0.0 { 1.0 / norm } else { 0.0 });
    }

    /// (dᵢ−d*ᵢ) − (dᵢ₊₁−d*ᵢ₊₁): how much more the piece before pivot i is stretched than that behind it.
    pub(super) fn stretch(&self, i: usize, distances: &[f64]) -> f64 {
        let total: f64 = distances.iter().sum();
        (distances[i - 1] - self.shares[i - 1] * total) - (distances[i] - self.shares[i] * total)
    }

    /// The chain of the pivots, with t in proportion to its length; evenly where pieces have none.
    pub(super) fn into_path(self) -> Result<Path, MethodError> {
        let distances = self.distances();
        let total: f64 = distances.iter().sum();
        let mut knots = vec![0.0];
        let mut walked = 0.0;
        for distance in &distances {
            walked += distance;
            knots.push(walked / total);
        }
        if let Some(last) = knots.last_mut() {
            *last = 1.0;
        }
        if !knots.windows(2).all(|pair| pair[0] < pair[1]) {
            knots.clear();
        }
        Ok(Path::new(Geometry::Chain, self.pivots, knots)?)
    }
}
