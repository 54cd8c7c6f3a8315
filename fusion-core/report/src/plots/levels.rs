//! Levels of a landscape's contours, and their labels on the scale of values.

use crate::number;

/// Levels that are chosen here.
const LEVELS: usize = 8;
/// Distance of the first level from the least value, as a part of the whole range.
const FIRST: f64 = 0.02;
/// Levels above the least value, at logarithmic distances up to the 95% quantile, rounded. None where all values are the same;
/// there is at least one value, and all are finite.
pub(super) fn choose(finite: &[f64]) -> Vec<f64> {
    let mut sorted = finite.to_vec();
    sorted.sort_by(f64::total_cmp);
    let low = sorted[0];
    let high = sorted[((sorted.len() - 1) as f64 * 0.95).round() as usize];
    let span = high - low;
    if span <= low.abs().max(high.abs()) * 1e-9 {
        return Vec::new();
    }
    let exact = |k: usize| low + span * FIRST.powf(1.0 - k as f64 / (LEVELS - 1) as f64);
    let mut levels: Vec<f64> = (0..LEVELS)
        .map(|k| {
            // By less than an eighth of the distance to the level below: numbers that can be read.
            let gap = exact(k) - if k == 0 { low } else { exact(k - 1) };
            let decade = 10f64.powf(gap.log10().floor());
            let steps = [2.0, 1.0, 0.5, 0.2].map(|part| part * decade);
            let step = steps.into_iter().find(|step| *step < gap / 4.0).unwrap_or(0.1 * decade);
            (exact(k) / step).round() * step
        })
        .collect();
    levels.dedup_by(|next, level| *next <= *level);
    levels
}

/// The levels, and the least and the greatest value at the ends.
pub(super) fn labels(levels: &[f64], finite: &[f64], height: f64) -> Vec<(f64, String)> {
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bands = levels.len() as f64 + 1.0;
    let inner = levels
        .iter()
        .enumerate()
        .map(|(k, level)| ((k as f64 + 1.0) / bands, number::significant(*level, 4)));
    let all: Vec<_> = [(0.0, number::significant(low, 3))]
        .into_iter()
        .chain(inner)
        .chain([(1.0, number::significant(high, 3))])
        .collect();
    // Fewer where they would touch.
    let every = (14.0 * bands / height).ceil().max(1.0) as usize;
    let last = all.len() - 1;
    all.into_iter()
        .enumerate()
        .filter(|(k, _)| k % every == 0 || *k == last)
        .map(|(_, label)| label)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_within_the_range_and_are_short() {
        for values in [
            vec![0.021, 0.03, 0.5, 2.3, 9.0],
            vec![1e-9, 3e-9],
            vec![1000.0, 1000.5, 1001.0],
            vec![-5.0, 5.0],
        ] {
            let levels = choose(&values);
            assert!(levels.len() >= 4, "{levels:?}");
            assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{levels:?}");
            assert!(
                levels[0] > values[0] && levels[levels.len() - 1] <= values[values.len() - 1] * 1.05 + 0.5
            );
        }
        assert!(choose(&[2.0, 2.0]).is_empty());
    }
}
