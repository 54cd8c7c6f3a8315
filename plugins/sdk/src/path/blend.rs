//! Combinations of control points, in one pass over memory.

use crate::simd;

/// Elements that are combined at once, so that the result stays in the first-level cache while the points go by.
const CHUNK: usize = 2048;

/// Σ cⱼ pⱼ into `out`, in f32, points in their order; a point with the coefficient 0 is not read. All zero gives 0.
///
/// `out` and the points have one length; the callers have checked that.
pub fn blend_into<P: AsRef<[f32]>>(coefficients: &[f64], points: &[P], out: &mut [f32]) {
    let terms: Vec<(f32, &[f32])> = coefficients
        .iter()
        .zip(points)
        .filter(|(coefficient, _)| **coefficient != 0.0)
        .map(|(coefficient, point)| (*coefficient as f32, point.as_ref()))
        .collect();
    if let [(1.0, point)] = terms[..] {
        return out.copy_from_slice(point);
    }
    simd(
        #[inline(always)]
        || {
            for (index, chunk) in out.chunks_mut(CHUNK).enumerate() {
                let start = index * CHUNK;
                chunk.fill(0.0);
                for (coefficient, point) in &terms {
                    for (out, value) in chunk.iter_mut().zip(&point[start..]) {
                        *out += coefficient * value;
                    }
                }
            }
        },
    );
}

/// [`blend_into`] a new vector of the points' length.
#[must_use]
pub fn blend<P: AsRef<[f32]>>(coefficients: &[f64], points: &[P]) -> Vec<f32> {
    let mut out = vec![0.0; points.first().map_or(0, |point| point.as_ref().len())];
    blend_into(coefficients, points, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_zeros_do_not_show() {
        let n = 2 * CHUNK + 77;
        let ramp: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let halves = blend(&[0.5, 0.25, 0.0], &[&ramp[..], &vec![4.0; n], &vec![f32::NAN; n]]);
        assert!(halves.iter().zip(&ramp).all(|(out, value)| *out == 0.5 * value + 1.0));
        assert_eq!(blend(&[0.0], &[[f32::NAN]]), [0.0]);
        assert_eq!(blend::<Vec<f32>>(&[], &[]), [0.0_f32; 0]);
        let copy = blend(&[0.0, 1.0], &[[f32::NAN], [-0.0]]);
        assert!(copy[0] == 0.0 && copy[0].is_sign_negative());
    }
}
