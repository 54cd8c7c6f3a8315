//! Mean and standard deviation of inputs, exactly and in f64.

use crate::error::DataError;
use crate::raw::{Affine, Inputs, Raw};

/// Mean and standard deviation of each channel of images (of bytes over 255) or of each number of a row; the standard deviation is that
/// of the population (divided by n), and 1 where all values are alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f64>,
    pub(crate) std: Vec<f64>,
}

impl Statistics {
    pub(crate) fn of(inputs: &Inputs) -> Self {
        let moments: Vec<(f64, f64)> = match inputs {
            Inputs::Images { bytes, channels, height, width } => {
                let plane = height * width;
                let mut counts = vec![[0_u64; 256]; *channels];
                for (at, bytes) in bytes.chunks_exact(plane.max(1)).enumerate() {
                    let counts = &mut counts[at % channels];
                    bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
                }
                counts.iter().map(of_counts).collect()
            }
            Inputs::Rows { values, width } => {
                (0..*width).map(|column| of_column(values, *width, column)).collect()
            }
            Inputs::Text { .. } => Vec::new(),
        };
        Statistics {
            mean: moments.iter().map(|&(mean, _)| mean).collect(),
            std: moments.iter().map(|&(_, std)| if std > 0.0 { std } else { 1.0 }).collect(),
        }
    }
}

fn of_counts(counts: &[u64; 256]) -> (f64, f64) {
    let n = counts.iter().sum::<u64>().max(1) as f64;
    let weighted = |of: &dyn Fn(f64) -> f64| {
        counts.iter().enumerate().map(|(byte, &count)| of(byte as f64) * count as f64).sum::<f64>() / n
    };
    let mean = weighted(&|byte| byte);
    let variance = weighted(&|byte| (byte - mean) * (byte - mean));
    (mean / 255.0, variance.sqrt() / 255.0)
}

fn of_column(values: &[f32], width: usize, column: usize) -> (f64, f64) {
    let values = || values.iter().skip(column).step_by(width).map(|&value| f64::from(value));
    let n = values().count().max(1) as f64;
    let mean = values().sum::<f64>() / n;
    let variance = values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// The map that given, computed or published statistics mean for `raw`. One number stands for all channels or columns.
pub(crate) fn affine(raw: &Raw, statistics: Option<Statistics>) -> Result<Affine, DataError> {
    let (parts, what, unit) = match &raw.inputs {
        Inputs::Images { channels, .. } => (*channels, "channels", 255.0),
        Inputs::Rows { width, .. } => (*width, "numbers in a row", 1.0),
        Inputs::Text { .. } => return Ok(Affine::default()),
    };
    let Some(Statistics { mut mean, mut std }) = statistics else {
        return Ok(match unit {
            1.0 => Affine::default(),
            unit => Affine::standardise(&vec![0.0; parts], &vec![1.0; parts], unit),
        });
    };
    if mean.len() == 1 {
        mean = vec![mean[0]; parts];
        std = vec![std[0]; parts];
    }
    if mean.len() != parts {
        return Err(DataError::setting_fix(
            "mean",
            format!("it has {} numbers, and inputs have {parts} {what}", mean.len()),
            format!("give 1 or {parts}, and as many in `std`"),
        ));
    }
    let affine = Affine::standardise(&mean, &std, unit);
    if affine.scale.iter().chain(&affine.shift).any(|factor| !factor.is_finite()) {
        return Err(DataError::setting("std", "it is so small that inputs overflow"));
    }
    Ok(affine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_definition() {
        let images =
            Inputs::Images { bytes: vec![0, 255, 10, 10, 255, 0, 10, 10], channels: 2, height: 1, width: 2 };
        let found = Statistics::of(&images);
        assert_eq!(found.mean, [0.5, 10.0 / 255.0]);
        assert_eq!(found.std, [0.5, 1.0]);
        let rows = Inputs::Rows { values: vec![1.0, 5.0, 3.0, 5.0], width: 2 };
        assert_eq!(Statistics::of(&rows), Statistics { mean: vec![2.0, 5.0], std: vec![1.0, 1.0] });
    }
}
