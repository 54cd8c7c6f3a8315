//! Normalising weights, and refusing those whose sum cannot divide, so that no method writes infinities or amplified noise.

use fusion_sdk::{ErrorKind, MethodError, Params};

/// The share of Σ|w| below which Σw counts as cancelling: dividing by it would amplify rounding a thousandfold.
const CANCELLING: f64 = 1e-3;

/// The per-input parameter of weighted methods.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Weight {
    /// how much this model counts; any number, negative ones subtract (mergekit has no default and requires it)
    #[param(default = 1, varies)]
    pub weight: f64,
}

/// Divides the weights by their sum.
///
/// # Errors
/// [`ErrorKind::ZeroSum`] if the sum is zero, [`ErrorKind::Cancelling`] if |Σw| < 10⁻³ Σ|w|.
pub(crate) fn normalised(weights: &[f64]) -> Result<Vec<f64>, MethodError> {
    let sum: f64 = weights.iter().sum();
    let size: f64 = weights.iter().map(|w| w.abs()).sum();
    let help =
        "set `normalize = false` to keep the weights as they are, or choose weights that do not cancel";
    if size == 0.0 || sum == 0.0 {
        let text = "the weights sum to zero, so they cannot be normalised";
        return Err(MethodError::new(ErrorKind::ZeroSum, text).at("weight").help(help));
    }
    if sum.abs() < CANCELLING * size {
        let text = format!(
            "the weights nearly cancel: their sum is {sum:e}, so normalising amplifies each model by up to {:.0}",
            (size / sum).abs()
        );
        return Err(MethodError::new(ErrorKind::Cancelling, text).at("weight").help(help));
    }
    Ok(weights.iter().map(|w| w / sum).collect())
}

/// Rounds to the precision of the kernels.
pub(crate) fn to_f32(weights: &[f64]) -> Vec<f32> {
    weights.iter().map(|&w| w as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_cannot_divide_are_refused() {
        assert_eq!(normalised(&[1.0, 3.0]).unwrap(), [0.25, 0.75]);
        assert_eq!(normalised(&[2.0, -1.0]).unwrap(), [2.0, -1.0]);
        for weights in [&[0.0][..], &[0.0, 0.0], &[0.5, -0.5]] {
            assert_eq!(normalised(weights).unwrap_err().kind, ErrorKind::ZeroSum);
        }
        let error = normalised(&[0.5, -0.4999]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelling);
        assert!(error.message.contains("9999"), "{}", error.message);
        assert!(normalised(&[0.5, -0.4]).is_ok());
    }
}
