//! What recorders share: sums over vectors, and checks of states that come from files.

use fusion_sdk::simd;

/// `sum[i] += values[i]`; an empty sum is zeros.
pub(crate) fn add(sum: &mut Vec<f64>, values: &[f32]) {
    if sum.is_empty() {
        sum.extend(values.iter().map(|&value| f64::from(value)));
        return;
    }
    simd(
        #[inline(always)]
        || sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value)),
    );
}

/// `sum[i] += other[i]`; an empty sum is zeros.
pub(crate) fn add_sum(sum: &mut Vec<f64>, other: &[f64]) {
    if sum.is_empty() {
        sum.extend_from_slice(other);
        return;
    }
    simd(
        #[inline(always)]
        || sum.iter_mut().zip(other).for_each(|(sum, &value)| *sum += value),
    );
}

/// `sum / count`, rounded once.
pub(crate) fn mean(sum: &[f64], count: u64) -> Vec<f32> {
    let count = count as f64;
    sum.iter().map(|&sum| (sum / count) as f32).collect()
}

/// A state has no vectors of this kind.
pub(crate) fn none<T>(vectors: &[T]) -> Result<(), String> {
    match vectors.len() {
        0 => Ok(()),
        n => Err(format!("{n} vectors too many")),
    }
}

/// A state has exactly `N` vectors of this kind.
pub(crate) fn exactly<T, const N: usize>(vectors: Vec<T>) -> Result<[T; N], String> {
    let found = vectors.len();
    vectors.try_into().map_err(|_| format!("{N} vectors are needed, {found} are there"))
}
