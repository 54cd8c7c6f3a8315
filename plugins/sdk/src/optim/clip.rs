//! Gradient clipping.

use crate::{simd, stats};

/// Scales the gradient so that its norm is at most `max`: g ← g · min(1, max/(‖g‖ + 10⁻⁶)), PyTorch's `clip_grad_norm_`. Returns ‖g‖
/// before, a sum in f64. A norm that is not finite leaves the gradient as it is: the caller sees it in what is returned.
pub fn clip_norm(gradient: &mut [f32], max: f64) -> f64 {
    let norm = stats::sum_of_squares(gradient).sqrt();
    let factor = max / (norm + 1e-6);
    if norm.is_finite() && factor < 1.0 {
        let factor = factor as f32;
        simd(
            #[inline(always)]
            || gradient.iter_mut().for_each(|g| *g *= factor),
        );
    }
    norm
}

/// Limits every element to −`max`..=`max`, which is at least 0: PyTorch's `clip_grad_value_`. NaN stays NaN.
pub fn clip_value(gradient: &mut [f32], max: f32) {
    let max = max.abs();
    simd(
        #[inline(always)]
        || gradient.iter_mut().for_each(|g| *g = g.clamp(-max, max)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_is_cut_to_its_bound_and_never_raised() {
        let mut g = [3.0, -4.0];
        assert_eq!(clip_norm(&mut g, 5.1), 5.0);
        assert_eq!(g, [3.0, -4.0]);
        assert_eq!(clip_norm(&mut g, 1.0), 5.0);
        // PyTorch's 10⁻⁶ makes the norm a little smaller than its bound: 1 − 2·10⁻⁷; f32 adds 10⁻⁷.
        assert!((g[0] - 0.6).abs() < 4e-7 && (g[1] + 0.8).abs() < 4e-7, "{g:?}");
        let mut g = [1.0, f32::INFINITY];
        assert_eq!(clip_norm(&mut g, 1.0), f64::INFINITY);
        assert_eq!(g, [1.0, f32::INFINITY]);
        assert!(clip_norm(&mut [f32::NAN], 1.0).is_nan());
        assert_eq!(clip_norm(&mut [], 1.0), 0.0);
    }

    #[test]
    fn values_are_cut_to_their_bound() {
        let mut g = [3.0, -4.0, 0.5, f32::NEG_INFINITY, f32::NAN];
        clip_value(&mut g, 1.0);
        assert_eq!(g[..4], [1.0, -1.0, 0.5, -1.0]);
        assert!(g[4].is_nan());
    }
}
