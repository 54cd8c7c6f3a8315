//! Sign election and the disjoint merge of TIES, shared with DARE.
//!
//! Dᵢ = weighted change of model i. The elected sign s is that of Σ Dᵢ (0 counts as +) or of the majority of signs. Changes
//! of sign s are added; `mean` divides by the shares of the models that took part.

use std::cell::RefCell;

use fusion_sdk::select::magnitude_bits;
use fusion_sdk::simd;

use crate::combine::RUN;
use crate::settings::{Combine, Dialect, Election};

thread_local! {
    static PLANES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer of `len` values with arbitrary content, the same one to each call of a thread.
pub(crate) fn with_planes<R>(len: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    PLANES.with_borrow_mut(|planes| {
        if planes.len() < len {
            planes.resize(len, 0.0);
        }
        body(&mut planes[..len])
    })
}

/// How the changes of one tensor are merged.
#[derive(Clone, Debug)]
pub(crate) struct Votes {
    /// What each model adds to the divisor: |w|, or w in mergekit's dialect.
    pub shares: Vec<f32>,
    /// `None`: no election, all are added (and `lambda` holds the divisor).
    pub election: Option<Election>,
    /// Whether to divide by the shares.
    pub mean: bool,
    /// Scale of the merged change.
    pub lambda: f32,
}

impl Votes {
    pub(crate) fn new(
        weights: &[f64],
        dialect: Dialect,
        election: Option<Election>,
        combine: Combine,
        lambda: f64,
    ) -> Votes {
        let share = |w: &f64| if dialect == Dialect::Mergekit { *w } else { w.abs() } as f32;
        Votes {
            shares: weights.iter().map(share).collect(),
            election,
            mean: combine == Combine::Mean && election.is_some(),
            lambda: lambda as f32,
        }
    }

    /// Merges weighted changes, one plane of the length of `out` after the other.
    pub(crate) fn merge(&self, base: &[f32], planes: &[f32], out: &mut [f32]) {
        let n = out.len();
        if n == 0 {
            return;
        }
        simd(
            #[inline(always)]
            || {
                for start in (0..n).step_by(RUN) {
                    let end = n.min(start + RUN);
                    let planes = planes.chunks_exact(n).map(|plane| &plane[start..end]);
                    self.merge_run(&base[start..end], planes, &mut out[start..end]);
                }
            },
        );
    }

    #[inline(always)]
    fn merge_run<'a>(&self, base: &[f32], planes: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [f32]) {
        let n = out.len();
        let (mut sum, mut kept, mut divisor) = ([0.0_f32; RUN], [0.0_f32; RUN], [0.0_f32; RUN]);
        for plane in planes.clone() {
            for (sum, &d) in sum[..n].iter_mut().zip(plane) {
                *sum += d;
            }
        }
        let Some(election) = self.election else {
            for i in 0..n {
                out[i] = base[i] + self.lambda * sum[i];
            }
            return;
        };
        if election == Election::Count {
            let mut votes = [0.0_f32; RUN];
            for plane in planes.clone() {
                for (votes, &d) in votes[..n].iter_mut().zip(plane) {
                    *votes += if d > 0.0 { 1.0 } else { 0.0 } - if d < 0.0 { 1.0 } else { 0.0 };
                }
            }
            for i in 0..n {
                sum[i] = if votes[i] == 0.0 || sum[i].is_nan() { sum[i] } else { votes[i] };
            }
        }
        for (plane, &share) in planes.zip(&self.shares) {
            for (i, &d) in plane.iter().enumerate() {
                let agrees = agrees(sum[i], d);
                kept[i] += if agrees { d } else { 0.0 };
                divisor[i] += if agrees { share } else { 0.0 };
            }
        }
        for i in 0..n {
            let divisor = if self.mean && divisor[i] != 0.0 { divisor[i] } else { 1.0 };
            out[i] = base[i] + self.lambda * (kept[i] / divisor);
        }
    }
}

/// Whether a change has the elected sign. Zero never does; NaN does, so that it shows in the result.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must count as agreeing")]
fn agrees(elected: f32, change: f32) -> bool {
    let turned = if elected >= 0.0 { change } else { -change };
    !(turned <= 0.0)
}

/// Trim by one comparison per model, weigh, elect by weighted sum and merge, in one pass: the fast path of TIES.
#[inline(always)]
pub(crate) fn trim_and_merge<const N: usize, const MEAN: bool>(
    base: &[f32],
    inputs: [&[f32]; N],
    limits: [i32; N],
    factors: [f32; N],
    shares: [f32; N],
    lambda: f32,
    out: &mut [f32],
) {
    let n = out.len();
    let base = &base[..n];
    let inputs = inputs.map(|input| &input[..n]);
    for i in 0..n {
        let b = base[i];
        let mut changes = [0.0_f32; N];
        let mut sum = 0.0_f32;
        for j in 0..N {
            let delta = inputs[j][i] - b;
            changes[j] = if magnitude_bits(delta) as i32 > limits[j] { factors[j] * delta } else { 0.0 };
            sum += changes[j];
        }
        let (mut kept, mut divisor) = (0.0_f32, 0.0_f32);
        for j in 0..N {
            let agrees = agrees(sum, changes[j]);
            kept += if agrees { changes[j] } else { 0.0 };
            if MEAN {
                divisor += if agrees { shares[j] } else { 0.0 };
            }
        }
        out[i] = if MEAN {
            b + lambda * (kept / if divisor == 0.0 { 1.0 } else { divisor })
        } else {
            b + lambda * kept
        };
    }
}
