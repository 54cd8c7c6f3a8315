//! Random points of a path: what ensembles over paths and stochastic curve finding draw.

use super::{Geometry, Path, PathError};
use crate::rng::Key;

/// Smallest variance: the clamp of Maddox et al., which keeps the root of a constant weight finite.
const LEAST_VARIANCE: f32 = 1e-30;

impl Key {
    /// Uniform in (0, 1) with 32 bits, never 0 or 1.
    #[must_use]
    pub fn open_uniform(self, index: u64) -> f64 {
        (f64::from(self.bits(index)) + 0.5) / 4_294_967_296.0
    }

    /// Barycentric coordinates, uniform in the simplex of `n` vertices: −ln U of the draws `first`.. , normalised, which is
    /// Dirichlet(1, …, 1). `n` = 0 is empty.
    #[must_use]
    pub fn barycentric(self, first: u64, n: usize) -> Vec<f64> {
        let mut c: Vec<f64> =
            (0..n as u64).map(|i| -libm::log(self.open_uniform(first.wrapping_add(i)))).collect();
        let sum: f64 = c.iter().sum();
        c.iter_mut().for_each(|c| *c /= sum);
        c
    }

    /// An index of `weights`, drawn in proportion to them; evenly where they are all 0 or their sum is not finite. 0 for none.
    #[must_use]
    pub fn choose(self, index: u64, weights: &[f64]) -> usize {
        let (sum, u) = (weights.iter().sum::<f64>(), self.open_uniform(index));
        if !(sum > 0.0 && sum.is_finite()) {
            return (u * weights.len() as f64) as usize;
        }
        let mut left = u * sum;
        for (at, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return at;
            }
        }
        weights.len() - 1
    }
}

impl Path {
    /// Coefficients of a random point: t ∼ U(0,1) on chains and curves, uniform in simplexes and in a plane's triangle, in a complex
    /// uniform over its volume (which takes the dots of its points), one of the points with equal chance. `key` gives the point: another `key`, another point.
    ///
    /// # Errors
    /// A Gaussian is no combination of its points: see [`Path::gaussian`].
    pub fn random(&self, key: Key) -> Result<Vec<f64>, PathError> {
        let n = self.points.len();
        match self.geometry {
            Geometry::Chain | Geometry::Bezier => Ok(self.coefficients(key.open_uniform(0))),
            Geometry::Simplex | Geometry::Plane => Ok(key.barycentric(0, n)),
            Geometry::Complex { .. } => {
                let metric = self.metric();
                let simplexes = metric.simplexes();
                let volumes: Vec<f64> = simplexes.iter().map(|s| libm::exp(metric.log_volume(s))).collect();
                let vertices = &simplexes[key.choose(u64::MAX, &volumes)];
                let mut c = vec![0.0; n];
                for (vertex, share) in vertices.iter().zip(key.barycentric(0, vertices.len())) {
                    c[*vertex] = share;
                }
                Ok(c)
            }
            Geometry::Points => {
                let mut c = vec![0.0; n];
                c[((key.open_uniform(0) * n as f64) as usize).min(n - 1)] = 1.0;
                Ok(c)
            }
            Geometry::Gaussian => {
                Err(PathError::Lacks { geometry: self.geometry, what: "coefficients of a random point" })
            }
        }
    }

    /// A sample of a Gaussian into `out` (Maddox et al., 2019): θ̄ + √s (√max(σ², 1e-30) ∘ z₁ + Σₖ dₖ z₂ₖ / √(K−1)), where z are standard
    /// normal and K is the number of deviations that there are (without deviations the second term is absent). With s = ½ its
    /// covariance is ½(diagonal + low rank), as in the paper; s = 0 gives the mean.
    ///
    /// # Errors
    /// Another geometry.
    pub fn gaussian(&self, key: Key, scale: f64, out: &mut [f32]) -> Result<(), PathError> {
        let low = Key::derived(1, key.value());
        self.gaussian_from(&|i| key.normal(i), &|k| low.normal(k), scale, out)
    }

    fn gaussian_from(
        &self,
        diagonal: &dyn Fn(u64) -> f32,
        low_rank: &dyn Fn(u64) -> f32,
        scale: f64,
        out: &mut [f32],
    ) -> Result<(), PathError> {
        let (Geometry::Gaussian, [mean, variance, deviations @ ..]) = (self.geometry, &self.points[..])
        else {
            return Err(PathError::Lacks { geometry: self.geometry, what: "distribution" });
        };
        let root = scale.sqrt();
        let share =
            |k: usize| (root * f64::from(low_rank(k as u64)) / (deviations.len() as f64 - 1.0).sqrt()) as f32;
        let shares: Vec<f32> = (0..deviations.len()).map(share).collect();
        for (i, out) in out.iter_mut().enumerate() {
            let spread = root as f32 * variance[i].max(LEAST_VARIANCE).sqrt() * diagonal(i as u64);
            let along: f32 =
                shares.iter().zip(deviations).map(|(share, deviation)| share * deviation[i]).sum();
            *out = mean[i] + spread + along;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle O13 of the reference notes, with its z₁ and z₂, from numpy in f64; f32 keeps 7 digits of values below 1.
    #[test]
    fn a_sample_follows_the_formula() {
        let t =
            |seed: u64, n: u64| (0..n).map(move |i| splitmix_uniform((seed << 32) + i)).collect::<Vec<f64>>();
        let snapshots = t(91, 20);
        let (mut mean, mut deviations) = ([0.0; 4], Vec::new());
        for (n, row) in snapshots.chunks(4).enumerate() {
            for (mean, value) in mean.iter_mut().zip(row) {
                *mean += (value - *mean) / (n + 1) as f64;
            }
            deviations
                .push(row.iter().zip(mean).map(|(value, mean)| (value - mean) as f32).collect::<Vec<f32>>());
        }
        let variance = [0.192_325_833_576, 0.378_376_886_357, 0.153_948_607_026, 0.262_325_544_441_f64];
        let mut points = vec![mean.map(|v| v as f32).to_vec(), variance.map(|v| v as f32).to_vec()];
        points.extend(deviations.split_off(2));
        let path = Path::new(Geometry::Gaussian, points, vec![]).unwrap();
        let (z1, z2) = (t(92, 4), t(93, 3));
        let mut out = [0.0; 4];
        path.gaussian_from(&|i| z1[i as usize] as f32, &|k| z2[k as usize] as f32, 0.5, &mut out).unwrap();
        let wanted = [0.278_108_915_154, -0.508_399_522_256, -0.344_741_728_635, -0.317_113_073_126];
        for (out, wanted) in out.iter().zip(wanted) {
            assert!((f64::from(*out) - wanted).abs() < 3e-7, "{out} {wanted}");
        }
    }

    fn splitmix_uniform(x: u64) -> f64 {
        let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        2.0 * (((z ^ (z >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0) - 1.0
    }

    /// Mean, variances and covariance of 40 000 samples in two dimensions: (diagonal + DDᵀ/(K−1))·s = ½([4, 1] + [[2, 2], [2, 2]]).
    #[test]
    fn samples_have_their_covariance() {
        let points = vec![vec![1.0, -1.0], vec![4.0, 1.0], vec![1.0, 1.0], vec![-1.0, -1.0]];
        let path = Path::new(Geometry::Gaussian, points, vec![]).unwrap();
        let n = 40_000;
        let (mut sum, mut squares, mut product, mut out) = ([0.0; 2], [0.0; 2], 0.0, [0.0_f32; 2]);
        for i in 0..n {
            path.gaussian(Key::new(5, "swag", i), 0.5, &mut out).unwrap();
            let x = [f64::from(out[0]) - 1.0, f64::from(out[1]) + 1.0];
            for j in 0..2 {
                sum[j] += x[j];
                squares[j] += x[j] * x[j];
            }
            product += x[0] * x[1];
        }
        // Five standard errors: σ/√n of a mean, σ²√(2/n) of a variance, at most σ²√(2/n) of a covariance.
        let n = n as f64;
        for (j, variance) in [(0, 3.0), (1, 1.5)] {
            assert!((sum[j] / n).abs() < 5.0 * (variance / n).sqrt());
            assert!((squares[j] / n - variance).abs() < 5.0 * variance * (2.0 / n).sqrt());
        }
        assert!((product / n - 1.0).abs() < 5.0 * 3.0 * (2.0 / n).sqrt());
    }

    #[test]
    fn the_mean_and_constants_stay() {
        let path = Path::new(Geometry::Gaussian, vec![vec![1.0, 2.0], vec![0.0, 0.0]], vec![]).unwrap();
        let mut out = [0.0; 2];
        path.gaussian(Key::new(1, "", 0), 0.5, &mut out).unwrap();
        assert_eq!(out, [1.0, 2.0]); // 1e-15 is below the rounding of 1
        let wide = Path::new(Geometry::Gaussian, vec![vec![1.0], vec![9.0]], vec![]).unwrap();
        wide.gaussian(Key::new(1, "", 0), 0.0, &mut out[..1]).unwrap();
        assert_eq!(out[0], 1.0);
        assert!(wide.random(Key::new(1, "", 0)).is_err());
        let chain = Path::new(Geometry::Chain, vec![vec![1.0]], vec![]).unwrap();
        assert!(chain.gaussian(Key::new(1, "", 0), 0.5, &mut out[..1]).is_err());
    }

    /// Uniform in a triangle: E c = 1/3, E c² = 1/6 (Dirichlet(1,1,1)); 30 000 draws, five standard errors of √(1/18/n) and of c².
    #[test]
    fn barycentric_draws_are_uniform() {
        let simplex = Path::new(Geometry::Simplex, vec![vec![0.0]; 3], vec![]).unwrap();
        let n = 30_000;
        let (mut sum, mut squares) = ([0.0; 3], [0.0; 3]);
        for i in 0..n {
            let c = simplex.random(Key::new(2, "simplex", i)).unwrap();
            assert!((c.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for j in 0..3 {
                sum[j] += c[j];
                squares[j] += c[j] * c[j];
            }
        }
        let n = n as f64;
        for j in 0..3 {
            assert!((sum[j] / n - 1.0 / 3.0).abs() < 5.0 * (1.0 / 18.0 / n).sqrt());
            // E c⁴ = 1/15, so the variance of c² is 1/15 − 1/36.
            assert!((squares[j] / n - 1.0 / 6.0).abs() < 5.0 * ((1.0 / 15.0 - 1.0 / 36.0) / n).sqrt());
        }
    }

    /// Two triangles of which the second is five times the first: it is drawn 5/6 of the time (10 000 draws, five standard errors).
    #[test]
    fn a_complex_is_drawn_by_volume() {
        let points = vec![vec![0.0, 0.0], vec![3.0, 3.0], vec![1.0, 0.0], vec![0.0, 1.0]];
        let complex = Path::new(Geometry::Complex { modes: 2 }, points, vec![]).unwrap();
        let mut large = 0;
        for i in 0..10_000 {
            let c = complex.random(Key::new(4, "complex", i)).unwrap();
            assert!((c.iter().sum::<f64>() - 1.0).abs() < 1e-12 && c[0] * c[1] == 0.0);
            large += u32::from(c[1] > 0.0);
        }
        assert!((f64::from(large) / 1e4 - 5.0 / 6.0).abs() < 5.0 * (5.0 / 36.0 / 1e4_f64).sqrt(), "{large}");
        let flat = Path::new(Geometry::Complex { modes: 2 }, vec![vec![0.0]; 3], vec![]).unwrap();
        assert!((0..50).any(|i| flat.random(Key::new(4, "flat", i)).unwrap()[0] > 0.0));
    }

    #[test]
    fn every_member_is_drawn() {
        let points = Path::new(Geometry::Points, vec![vec![0.0]; 4], vec![]).unwrap();
        let mut seen = [0; 4];
        for i in 0..4000 {
            let c = points.random(Key::new(3, "points", i)).unwrap();
            seen[c.iter().position(|c| *c == 1.0).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (n - 1000_i32).abs() < 5 * 28), "{seen:?}"); // √(4000·¼·¾) = 27.4
        assert_eq!(points.random(Key::new(3, "points", 7)), points.random(Key::new(3, "points", 7)));
    }
}
