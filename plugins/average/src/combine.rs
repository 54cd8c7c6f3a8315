//! Weighted sums of a tile, so that every method that ends in one shares the same vectorised loops.
//!
//! Sums run in f32, in input order, one rounding per operation. Two, three and four inputs have loops of their own (one
//! pass, everything in registers); more inputs go by short runs that stay in the first-level cache.

use fusion_sdk::simd;

/// Elements of a run: short enough for the first-level cache, long enough for the loop's cost not to matter.
pub(crate) const RUN: usize = 1024;

/// `out = Σ weights[i] · inputs[i]`. NaN and infinities propagate, also under a weight of 0.
pub(crate) fn weighted_sum(weights: &[f32], inputs: &[&[f32]], out: &mut [f32]) {
    simd(
        #[inline(always)]
        || match (weights, inputs) {
            (&[w], &[x]) => each(out, [x], |[x]| w * x),
            (&[w, v], &[x, y]) => each(out, [x, y], |[x, y]| w * x + v * y),
            (&[w, v, u], &[x, y, z]) => each(out, [x, y, z], |[x, y, z]| w * x + v * y + u * z),
            (&[w, v, u, s], &[x, y, z, a]) => {
                each(out, [x, y, z, a], |[x, y, z, a]| w * x + v * y + u * z + s * a)
            }
            _ => {
                for start in (0..out.len()).step_by(RUN) {
                    let end = out.len().min(start + RUN);
                    let out = &mut out[start..end];
                    out.fill(0.0);
                    for (&weight, input) in weights.iter().zip(inputs) {
                        for (sum, &x) in out.iter_mut().zip(&input[start..end]) {
                            *sum += weight * x;
                        }
                    }
                }
            }
        },
    );
}

/// `out = base + Σ weights[i] · (inputs[i] − base)`, each difference rounded to f32.
pub(crate) fn delta_sum(base: &[f32], weights: &[f32], inputs: &[&[f32]], out: &mut [f32]) {
    simd(
        #[inline(always)]
        || match (weights, inputs) {
            (&[w], &[x]) => each(out, [base, x], |[b, x]| b + w * (x - b)),
            (&[w, v], &[x, y]) => each(out, [base, x, y], |[b, x, y]| b + (w * (x - b) + v * (y - b))),
            (&[w, v, u], &[x, y, z]) => {
                each(out, [base, x, y, z], |[b, x, y, z]| b + (w * (x - b) + v * (y - b) + u * (z - b)))
            }
            (&[w, v, u, s], &[x, y, z, a]) => each(out, [base, x, y, z, a], |[b, x, y, z, a]| {
                b + (w * (x - b) + v * (y - b) + u * (z - b) + s * (a - b))
            }),
            _ => {
                for start in (0..out.len()).step_by(RUN) {
                    let end = out.len().min(start + RUN);
                    let (out, base) = (&mut out[start..end], &base[start..end]);
                    out.fill(0.0);
                    for (&weight, input) in weights.iter().zip(inputs) {
                        for ((sum, &x), &b) in out.iter_mut().zip(&input[start..end]).zip(base) {
                            *sum += weight * (x - b);
                        }
                    }
                    for (sum, &b) in out.iter_mut().zip(base) {
                        *sum += b;
                    }
                }
            }
        },
    );
}

/// One pass over `N` inputs of the same length.
#[inline(always)]
pub(crate) fn each<const N: usize>(out: &mut [f32], inputs: [&[f32]; N], f: impl Fn([f32; N]) -> f32) {
    let n = out.len();
    let inputs = inputs.map(|input| &input[..n]);
    for i in 0..n {
        out[i] = f(std::array::from_fn(|j| inputs[j][i]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers are exact in f32, so the order of summation does not matter and equality is the oracle.
    #[test]
    fn every_number_of_inputs_gives_the_sum() {
        for inputs in 1..=7_usize {
            for n in [0, 1, 7, RUN, 2 * RUN + 3] {
                let data: Vec<Vec<f32>> =
                    (0..=inputs).map(|j| (0..n).map(|i| ((i * 7 + j * 13) % 32) as f32).collect()).collect();
                let slices: Vec<&[f32]> = data[1..].iter().map(Vec::as_slice).collect();
                let weights: Vec<f32> = (0..inputs).map(|j| j as f32 - 2.0).collect();
                let mut out = vec![f32::NAN; n];
                weighted_sum(&weights, &slices, &mut out);
                let expected: Vec<f32> =
                    (0..n).map(|i| (0..inputs).map(|j| weights[j] * data[j + 1][i]).sum::<f32>()).collect();
                assert_eq!(out, expected);
                delta_sum(&data[0], &weights, &slices, &mut out);
                let expected: Vec<f32> = (0..n)
                    .map(|i| {
                        let b = data[0][i];
                        b + (0..inputs).map(|j| weights[j] * (data[j + 1][i] - b)).sum::<f32>()
                    })
                    .collect();
                assert_eq!(out, expected);
            }
        }
    }
}
