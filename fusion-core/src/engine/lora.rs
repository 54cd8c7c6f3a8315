//! Low-rank deltas (LoRA; Hu et al., 2021), added to a stretch of elements as it is read: W + s·B·A without W + s·B·A ever
//! being there as a whole.

use fusion_sdk::simd;

use crate::checkpoint::LowRank;

/// Adds elements `offset..offset + out.len()` (row-major) of s·B·A to `out`. Accumulates over the rank in f32, in order; the
/// scaled sum is added once. `scratch` holds at least `out.len()` elements.
pub(super) fn add(delta: &LowRank, offset: u64, out: &mut [f32], scratch: &mut [f32]) {
    let mut done = 0;
    while done < out.len() {
        let at = offset as usize + done;
        let (row, column) = (at / delta.columns, at % delta.columns);
        let len = (delta.columns - column).min(out.len() - done);
        let b = &delta.b[row * delta.rank..(row + 1) * delta.rank];
        let (target, sum) = (&mut out[done..done + len], &mut scratch[..len]);
        simd(
            #[inline(always)]
            || {
                sum.fill(0.0);
                for (k, &factor) in b.iter().enumerate() {
                    let start = k * delta.columns + column;
                    for (sum, a) in sum.iter_mut().zip(&delta.a[start..start + len]) {
                        *sum += factor * a;
                    }
                }
                for (target, sum) in target.iter_mut().zip(sum.iter()) {
                    *target += delta.scale * sum;
                }
            },
        );
        done += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: every product and sum is exact, so equality with the plain matrix product is the oracle.
    #[test]
    fn any_stretch_agrees_with_the_matrix_product() {
        let (rows, columns, rank) = (5, 7, 3);
        let a: Vec<f32> = (0..rank * columns).map(|i| (i % 5) as f32 - 2.0).collect();
        let b: Vec<f32> = (0..rows * rank).map(|i| (i % 4) as f32 - 1.0).collect();
        let delta = LowRank { rows, columns, rank, a: a.clone(), b: b.clone(), scale: 0.5 };
        let whole: Vec<f32> = (0..rows * columns)
            .map(|i| {
                let (r, c) = (i / columns, i % columns);
                1.0 + 0.5 * (0..rank).map(|k| b[r * rank + k] * a[k * columns + c]).sum::<f32>()
            })
            .collect();
        let mut scratch = vec![0.0; rows * columns];
        for start in 0..rows * columns {
            for end in start..=rows * columns {
                let mut out = vec![1.0; end - start];
                add(&delta, start as u64, &mut out, &mut scratch);
                assert_eq!(out, whole[start..end]);
            }
        }
    }
}
