//! Sums in f64 with a fixed order, for dots and norms that do not depend on the processor.
//!
//! Each sum runs in 16 lanes (element i goes to lane i mod 16), which are added pairwise at the end. Products of two f32
//! are exact in f64, so the error of a tile's sum is below 2⁻⁵³ · n/16 · Σ|terms|.

use crate::simd;

const LANES: usize = 16;

/// Σ aᵢ·bᵢ in f64. Slices of different length are cut to the shorter; empty slices give 0. NaN propagates.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    simd(
        #[inline(always)]
        || accumulate(a, b, |x, y| f64::from(x) * f64::from(y)),
    )
}

/// Σ aᵢ² in f64.
pub fn sum_of_squares(a: &[f32]) -> f64 {
    dot(a, a)
}

/// `[a·a, b·b, a·b]` in f64: the same values as three calls of [`dot`], for one pass over the slices.
pub fn dots(a: &[f32], b: &[f32]) -> [f64; 3] {
    simd(
        #[inline(always)]
        || {
            let mut lanes = [[0.0_f64; LANES]; 3];
            let n = a.len().min(b.len());
            let (a, b) = (&a[..n], &b[..n]);
            let (wide_a, rest_a) = a.as_chunks::<LANES>();
            let (wide_b, rest_b) = b.as_chunks::<LANES>();
            let [aa, bb, ab] = &mut lanes;
            for (x, y) in wide_a.iter().zip(wide_b) {
                for lane in 0..LANES {
                    let (x, y) = (f64::from(x[lane]), f64::from(y[lane]));
                    aa[lane] += x * x;
                    bb[lane] += y * y;
                    ab[lane] += x * y;
                }
            }
            for (lane, (&x, &y)) in rest_a.iter().zip(rest_b).enumerate() {
                let (x, y) = (f64::from(x), f64::from(y));
                aa[lane] += x * x;
                bb[lane] += y * y;
                ab[lane] += x * y;
            }
            lanes.map(fold)
        },
    )
}

/// Σ |aᵢ| in f64.
pub fn l1_norm(a: &[f32]) -> f64 {
    simd(
        #[inline(always)]
        || accumulate(a, a, |x, _| f64::from(x.abs())),
    )
}

/// Σ |aᵢ − bᵢ| in f64, each difference rounded to f32 first (as the methods do).
pub fn l1_distance(a: &[f32], b: &[f32]) -> f64 {
    simd(
        #[inline(always)]
        || accumulate(a, b, |x, y| f64::from((x - y).abs())),
    )
}

/// Σ (aᵢ − cᵢ)·(bᵢ − cᵢ) in f64: the dot of two task vectors over base `c`; differences are taken in f64, exactly rounded.
pub fn delta_dot(a: &[f32], b: &[f32], c: &[f32]) -> f64 {
    simd(
        #[inline(always)]
        || {
            let mut lanes = [0.0_f64; LANES];
            let n = a.len().min(b.len()).min(c.len());
            let (a, b, c) = (&a[..n], &b[..n], &c[..n]);
            let whole = n - n % LANES;
            for start in (0..whole).step_by(LANES) {
                let (x, y, z) =
                    (&a[start..start + LANES], &b[start..start + LANES], &c[start..start + LANES]);
                for lane in 0..LANES {
                    let z = f64::from(z[lane]);
                    lanes[lane] += (f64::from(x[lane]) - z) * (f64::from(y[lane]) - z);
                }
            }
            for i in whole..n {
                let z = f64::from(c[i]);
                lanes[i - whole] += (f64::from(a[i]) - z) * (f64::from(b[i]) - z);
            }
            fold(lanes)
        },
    )
}

#[inline(always)]
fn accumulate(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f64) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        let (x, y) = (&a[start..start + LANES], &b[start..start + LANES]);
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], y[lane]);
        }
    }
    for i in whole..n {
        lanes[i - whole] += term(a[i], b[i]);
    }
    fold(lanes)
}

#[inline(always)]
fn fold(mut lanes: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Integers stay exact in f64, so any order of summation gives the same: equality is the oracle.
    #[test]
    fn sums_of_integers_are_exact() {
        for n in [0_usize, 1, 15, 16, 17, 1000] {
            let a: Vec<f32> = (0..n).map(|i| i as f32 - 3.0).collect();
            let b: Vec<f32> = (0..n).map(|i| 2.0 * i as f32 + 1.0).collect();
            let c: Vec<f32> = (0..n).map(|i| (i % 5) as f32).collect();
            let by = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
            assert_eq!(dot(&a, &b), by(&|i| f64::from(a[i]) * f64::from(b[i])));
            assert_eq!(dots(&a, &b), [dot(&a, &a), dot(&b, &b), dot(&a, &b)]);
            assert_eq!(l1_norm(&a), by(&|i| f64::from(a[i].abs())));
            assert_eq!(l1_distance(&a, &b), by(&|i| f64::from((a[i] - b[i]).abs())));
            assert_eq!(delta_dot(&a, &b, &c), by(&|i| f64::from(a[i] - c[i]) * f64::from(b[i] - c[i])));
        }
    }
}
