//! Checks and sizes that several architectures share.

use fusion_sdk::MethodError;

/// Numbers of the largest image.
const PIXELS: usize = 1 << 26;

/// [channels, height, width] of an image.
pub(crate) fn image(input: &[usize]) -> Result<[usize; 3], MethodError> {
    match input {
        &[channels, height, width] if channels.saturating_mul(height).saturating_mul(width) <= PIXELS => {
            Ok([channels, height, width])
        }
        [_, _, _] => Err(MethodError::invalid(format!("an image of {input:?} is too large")).at("input")),
        _ => Err(MethodError::invalid(format!("`input = {input:?}` is not an image"))
            .at("input")
            .help("give [channels, height, width], for instance [3, 32, 32]")),
    }
}

/// Channels times a width factor, at least 1.
pub(crate) fn scaled(channels: usize, factor: f64) -> usize {
    ((channels as f64 * factor).round() as usize).max(1)
}

/// Length of an axis behind a convolution or pooling; `None` if nothing is left.
pub(crate) fn behind(length: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    (length + 2 * padding).checked_sub(kernel).map(|free| free / stride + 1)
}
