//! Volumes of simplexes of which one vertex moves: heights over fixed bases, in closed form.

use fusion_sdk::rng::Key;
use fusion_sdk::stats::delta_dot;

/// The simplexes of a complex; the last point is the vertex that moves, and belongs to all of them.
#[derive(Clone, Debug)]
pub(super) struct Hulls {
    hulls: Vec<Hull>,
}

/// A simplex: its fixed vertices and their dots.
#[derive(Clone, Debug)]
struct Hull {
    /// Indices of the fixed vertices.
    base: Vec<usize>,
    /// Cholesky factor of (pⱼ−p₀)·(pₖ−p₀) over the base, row by row; `None` where the base has no volume.
    lower: Option<Vec<f64>>,
    /// ln of the base's volume.
    log_base: f64,
}

/// Where the moving vertex stands over a base.
#[derive(Clone, Debug)]
pub(super) struct Height {
    /// ln of the simplex' volume, up to a constant that all have in common; −∞ for none.
    log_volume: f64,
    /// Affine coefficients of the foot of the perpendicular, over the base.
    foot: Vec<f64>,
    /// ‖h‖².
    squared: f64,
}

impl Hulls {
    /// Each of the first `modes` points with all points from there on; the last one is yet to move.
    pub(super) fn over(points: &[Vec<f32>], modes: usize) -> Hulls {
        let newest = points.len() - 1;
        let hull = |mode: usize| Hull::over(points, std::iter::once(mode).chain(modes..newest).collect());
        Hulls { hulls: (0..modes).map(hull).collect() }
    }

    /// The vertex over every base.
    pub(super) fn heights(&self, points: &[Vec<f32>]) -> Vec<Height> {
        self.hulls.iter().map(|hull| hull.height(points)).collect()
    }

    /// Volumes relative to the largest: all 0 where no simplex has one.
    fn shares(heights: &[Height]) -> Vec<f64> {
        let most = heights.iter().map(|height| height.log_volume).fold(f64::NEG_INFINITY, f64::max);
        let share = |height: &Height| match most > f64::NEG_INFINITY {
            true => libm::exp(height.log_volume - most),
            false => 0.0,
        };
        heights.iter().map(share).collect()
    }

    /// Coefficients of a random point over all `n` points: a simplex by its volume (evenly while none has one), then uniform in it.
    pub(super) fn draw(&self, heights: &[Height], key: Key, n: usize) -> Vec<f64> {
        let chosen = match self.hulls.len() {
            1 => 0,
            _ => key.choose(u64::MAX, &Self::shares(heights)),
        };
        let base = &self.hulls[chosen].base;
        let drawn = key.barycentric(0, base.len() + 1);
        let mut c = vec![0.0; n];
        for (vertex, share) in base.iter().zip(&drawn) {
            c[*vertex] = *share;
        }
        c[n - 1] = drawn[base.len()];
        c
    }

    /// ∇ ln V with respect to the vertex, as coefficients over all `n` points (their sum is 0); `None` where V is 0.
    pub(super) fn log_volume_gradient(&self, heights: &[Height], n: usize) -> Option<Vec<f64>> {
        let shares = Self::shares(heights);
        let total: f64 = shares.iter().sum();
        if total.is_nan() || total <= 0.0 {
            return None;
        }
        let mut c = vec![0.0; n];
        for ((hull, height), share) in self.hulls.iter().zip(heights).zip(shares) {
            if share > 0.0 {
                let factor = share / total / height.squared;
                c[n - 1] += factor;
                for (vertex, foot) in hull.base.iter().zip(&height.foot) {
                    c[*vertex] -= factor * foot;
                }
            }
        }
        Some(c)
    }
}

impl Hull {
    fn over(points: &[Vec<f32>], base: Vec<usize>) -> Hull {
        let origin = &points[base[0]];
        let size = base.len() - 1;
        let mut lower = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| lower[i * size + k] * lower[j * size + k]).sum();
                let dot = delta_dot(&points[base[i + 1]], &points[base[j + 1]], origin);
                if i != j {
                    lower[i * size + j] = (dot - known) / lower[j * size + j];
                } else if dot - known > 1e-12 * dot {
                    lower[i * size + i] = (dot - known).sqrt();
                } else {
                    return Hull { base, lower: None, log_base: f64::NEG_INFINITY };
                }
            }
        }
        // Without the factorial: it is the same for all bases of a complex.
        let log_base = (0..size).map(|i| libm::log(lower[i * size + i])).sum();
        Hull { base, lower: Some(lower), log_base }
    }

    fn height(&self, points: &[Vec<f32>]) -> Height {
        let nowhere = Height { log_volume: f64::NEG_INFINITY, foot: Vec::new(), squared: 0.0 };
        let Some(lower) = &self.lower else { return nowhere };
        let (origin, vertex) = (&points[self.base[0]], &points[points.len() - 1]);
        let size = self.base.len() - 1;
        // L y = r, then ‖h‖² = v·v − y·y, and Lᵀ α = y.
        let mut y = vec![0.0; size];
        for i in 0..size {
            let known: f64 = (0..i).map(|k| lower[i * size + k] * y[k]).sum();
            y[i] = (delta_dot(vertex, &points[self.base[i + 1]], origin) - known) / lower[i * size + i];
        }
        let whole = delta_dot(vertex, vertex, origin);
        let squared = whole - y.iter().map(|y| y * y).sum::<f64>();
        if squared.is_nan() || squared <= 1e-12 * whole {
            return nowhere;
        }
        let mut alpha = y;
        for i in (0..size).rev() {
            let known: f64 = (i + 1..size).map(|k| lower[k * size + i] * alpha[k]).sum();
            alpha[i] = (alpha[i] - known) / lower[i * size + i];
        }
        let mut foot = vec![1.0 - alpha.iter().sum::<f64>()];
        foot.extend(alpha);
        Height { log_volume: self.log_base + 0.5 * libm::log(squared), foot, squared }
    }
}

/// The volume of what the points span, for tests of the closed form.
#[cfg(test)]
pub(super) fn log_volume(points: &[Vec<f32>], modes: usize) -> f64 {
    use fusion_sdk::path::{Geometry, Path};
    let geometry = if modes == 1 { Geometry::Simplex } else { Geometry::Complex { modes } };
    Path::new(geometry, points.to_vec(), Vec::new()).unwrap().metric().volume().ln()
}
