//! Linear centred kernel alignment: how alike two layers see the same examples, up to rotation and scale.
//!
//! CKA(X, Y) = ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) with Frobenius norms and centred columns (Kornblith et al., "Similarity of neural network
//! representations revisited", 2019). 1 for X = Y, for any rotation and any scaling of either; 0 for layers without
//! correlation. For n examples and p, q features the same number comes from the n×n matrices XXᵀ and YYᵀ; whichever is
//! smaller is computed, so nothing is ever larger than the smaller of n² and pq plus p² plus q².

use rayon::prelude::*;

use crate::measure::MeasureError;

/// Features of the same examples, row-major [examples, width].
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    /// Row length.
    pub width: usize,
    /// Row-major.
    pub rows: &'a [f32],
}

impl Features<'_> {
    /// Number of rows; the length must fit.
    fn examples(&self, what: &str) -> Result<usize, MeasureError> {
        if self.width == 0 || self.rows.is_empty() {
            return Err(MeasureError::empty(what));
        }
        let examples = self.rows.len() / self.width;
        MeasureError::length(what, examples * self.width, self.rows.len())?;
        Ok(examples)
    }
}

/// Linear CKA, between 0 and 1. In f64; features of which no example differs from another have no similarity: NaN, and so
/// have features with NaN or infinity.
///
/// # Errors
/// Fewer than two examples, or different numbers of them.
pub fn linear_cka(x: Features<'_>, y: Features<'_>) -> Result<f64, MeasureError> {
    let n = x.examples("features of the first model")?;
    MeasureError::length("examples of the second model", n, y.examples("features of the second model")?)?;
    if n < 2 {
        return Err(MeasureError::unsuitable("the similarity over one example", "measure on more data"));
    }
    let (a, b) = (centred(x), centred(y));
    let (p, q) = (x.width, y.width);
    let (cross, own_x, own_y) = if n * n < p * q + p * p + q * q {
        // XXᵀ and YYᵀ: ⟨XXᵀ, YYᵀ⟩ = ‖YᵀX‖².
        let (k, l) = (product(&transposed(&a, p), n, &transposed(&a, p), n), {
            let t = transposed(&b, q);
            product(&t, n, &t, n)
        });
        (dot(&k, &l), dot(&k, &k), dot(&l, &l))
    } else {
        let square = |left: &[f64], p, right: &[f64], q| {
            let c = product(left, p, right, q);
            dot(&c, &c)
        };
        (square(&a, p, &b, q), square(&a, p, &a, p), square(&b, q, &b, q))
    };
    Ok(cross / (own_x.sqrt() * own_y.sqrt()))
}

/// Columns minus their means, and everything divided by the largest magnitude: CKA does not see it, squares of squares do.
fn centred(x: Features<'_>) -> Vec<f64> {
    let n = (x.rows.len() / x.width) as f64;
    let mut means = vec![0.0_f64; x.width];
    for row in x.rows.chunks_exact(x.width) {
        for (mean, &value) in means.iter_mut().zip(row) {
            *mean += f64::from(value);
        }
    }
    means.iter_mut().for_each(|mean| *mean /= n);
    let mut out: Vec<f64> = x
        .rows
        .chunks_exact(x.width)
        .flat_map(|row| row.iter().zip(&means).map(|(&v, m)| f64::from(v) - m))
        .collect();
    let top = out.iter().fold(0.0_f64, |top, value| top.max(value.abs()));
    if top > 0.0 && top.is_finite() {
        out.iter_mut().for_each(|value| *value /= top);
    }
    out
}

fn transposed(rows: &[f64], width: usize) -> Vec<f64> {
    let n = rows.len() / width;
    (0..width).flat_map(|column| (0..n).map(move |row| rows[row * width + column])).collect()
}

/// Columns of the result that a thread works on, and rows that it adds at a time.
const BLOCK: usize = 16;

/// AᵀB for row-major A [n, p] and B [n, q]. Each element is a sum over the rows in order, whatever the number of threads.
fn product(a: &[f64], p: usize, b: &[f64], q: usize) -> Vec<f64> {
    let mut out = vec![0.0_f64; p * q];
    out.par_chunks_mut(BLOCK * q).enumerate().for_each(|(block, out)| {
        let first = block * BLOCK;
        fusion_sdk::simd(
            #[inline(always)]
            || {
                for (row_a, row_b) in a.chunks_exact(p).zip(b.chunks_exact(q)) {
                    for (index, out) in out.chunks_exact_mut(q).enumerate() {
                        let factor = row_a[first + index];
                        for (sum, &value) in out.iter_mut().zip(row_b) {
                            *sum += factor * value;
                        }
                    }
                }
            },
        );
    });
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use fusion_sdk::rng::Key;

    use super::*;

    fn normal(name: &str, n: usize, width: usize) -> Vec<f32> {
        let key = Key::new(5, name, 0);
        (0..(n * width) as u64).map(|index| key.normal(index)).collect()
    }

    fn cka(x: &[f32], p: usize, y: &[f32], q: usize) -> f64 {
        linear_cka(Features { width: p, rows: x }, Features { width: q, rows: y }).expect("fits")
    }

    /// One feature each: CKA is the squared correlation. x = (−1, 0, 1), y = (0, 1, 0) + x: centred (−4/3, 2/3, 2/3)… by hand
    /// xᵀy = 2, xᵀx = 2, yᵀy = 2 + 2/3, so 4/(2·8/3) = 3/4.
    #[test]
    fn one_feature_is_the_squared_correlation() {
        let found = cka(&[-1.0, 0.0, 1.0], 1, &[-1.0, 1.0, 1.0], 1);
        assert!((found - 0.75).abs() < 1e-15, "{found}");
    }

    /// X with centred columns (1,1,−1,−1) and (1,−1,1,−1) has XᵀX = 4I; y = (1,1,−1,−1)·a + (1,−1,1,−1)·b has Xᵀy = 4(a, b), so
    /// CKA = 16(a² + b²) / (4√2 · 4(a² + b²)) = 1/√2 for every direction.
    #[test]
    fn a_direction_of_a_plane() {
        let x = [1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0];
        for (a, b) in [(1.0_f32, 0.0_f32), (3.0, 4.0), (-0.5, 2.0)] {
            let y = [a + b, a - b, b - a, -a - b];
            assert!((cka(&x, 2, &y, 1) - 0.5_f64.sqrt()).abs() < 1e-12);
        }
    }

    /// Equal features give 1; a rotation by the 3-4-5 angle of pairs of columns, a scale and a shift change nothing. f32 inputs
    /// round to 6e-8.
    #[test]
    fn rotations_scales_and_shifts_do_not_matter() {
        let (x, y) = (normal("x", 40, 6), normal("y", 40, 4));
        assert!((cka(&x, 6, &x, 6) - 1.0).abs() < 1e-14);
        let turned: Vec<f32> = x
            .chunks_exact(2)
            .flat_map(|pair| [0.6 * pair[0] - 0.8 * pair[1], 0.8 * pair[0] + 0.6 * pair[1]])
            .map(|value| 3.0 * value + 1.0)
            .collect();
        assert!((cka(&x, 6, &turned, 6) - 1.0).abs() < 1e-6);
        let plain = cka(&x, 6, &y, 4);
        assert!((cka(&turned, 6, &y, 4) - plain).abs() < 1e-6);
        assert!((cka(&y, 4, &x, 6) - plain).abs() < 1e-14);
        assert!((0.0..1.0).contains(&plain), "{plain}");
        let huge: Vec<f32> = x.iter().map(|value| value * 1e30).collect();
        assert!((cka(&huge, 6, &y, 4) - plain).abs() < 1e-6);
    }

    /// Few examples and many features take the other way to the same number: by the definition, in plain loops.
    #[test]
    fn both_ways_agree_with_the_definition() {
        for (n, p, q) in [(8, 30, 20), (60, 17, 19)] {
            let (x, y) = (normal("x", n, p), normal("y", n, q));
            let (a, b) = (centred(Features { width: p, rows: &x }), centred(Features { width: q, rows: &y }));
            let norm = |a: &[f64], p: usize, b: &[f64], q: usize| {
                let mut sum = 0.0;
                for i in 0..p {
                    for j in 0..q {
                        let dot: f64 = (0..n).map(|row| a[row * p + i] * b[row * q + j]).sum();
                        sum += dot * dot;
                    }
                }
                sum
            };
            let wanted = norm(&a, p, &b, q) / (norm(&a, p, &a, p) * norm(&b, q, &b, q)).sqrt();
            assert!((cka(&x, p, &y, q) - wanted).abs() < 1e-13, "{n}");
        }
    }

    #[test]
    fn what_has_no_similarity_says_so() {
        let features = |width, rows| Features { width, rows };
        assert!(cka(&[1.0; 6], 2, &[1.0, 2.0, 3.0], 1).is_nan());
        assert!(cka(&[1.0, f32::NAN, 0.0], 1, &[1.0, 2.0, 3.0], 1).is_nan());
        assert!(linear_cka(features(1, &[1.0]), features(1, &[1.0])).is_err());
        assert!(linear_cka(features(1, &[1.0, 2.0]), features(1, &[1.0, 2.0, 3.0])).is_err());
        assert!(linear_cka(features(2, &[1.0, 2.0, 3.0]), features(1, &[1.0])).is_err());
        assert!(linear_cka(features(0, &[]), features(0, &[])).is_err());
    }
}
