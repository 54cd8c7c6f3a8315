//! Statistics of tensors in f64, streamed: several tensors at once, one buffer of fixed size per thread.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use fusion_core::checkpoint::{Checkpoint, CheckpointError};
use fusion_core::tensor::{Dtype, to_f32};
use serde::Serialize;

/// Elements that a thread holds at once.
const CHUNK: usize = 64 << 10;

/// What is told of one tensor. NaN and infinities are counted and left out of everything else; a tensor without finite
/// elements has none of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Stats {
    /// Smallest.
    pub(super) min: Option<f64>,
    /// Largest.
    pub(super) max: Option<f64>,
    /// Arithmetic mean.
    pub(super) mean: Option<f64>,
    /// Standard deviation of the population: √(Σ(x − mean)² / n).
    pub(super) std: Option<f64>,
    /// Euclidean norm: √Σx².
    pub(super) norm: Option<f64>,
    /// How many NaN.
    pub(super) nan: u64,
    /// How many infinities.
    pub(super) infinite: u64,
}

/// Moments of a stretch, joined by the formulas of Chan, Golub and LeVeque (1979), which lose nothing to cancellation.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    spread: f64,
    squares: f64,
    min: f64,
    max: f64,
    nan: u64,
    infinite: u64,
}

impl Moments {
    const EMPTY: Moments = Moments {
        count: 0.0,
        mean: 0.0,
        spread: 0.0,
        squares: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        nan: 0,
        infinite: 0,
    };

    fn of(values: impl Iterator<Item = f64> + Clone) -> Moments {
        let mut out = Moments::EMPTY;
        let mut sum = 0.0;
        for value in values.clone() {
            if value.is_finite() {
                out.count += 1.0;
                sum += value;
                out.squares += value * value;
                out.min = out.min.min(value);
                out.max = out.max.max(value);
            } else if value.is_nan() {
                out.nan += 1;
            } else {
                out.infinite += 1;
            }
        }
        if out.count > 0.0 {
            out.mean = sum / out.count;
            out.spread =
                values.filter(|value| value.is_finite()).map(|value| (value - out.mean).powi(2)).sum();
        }
        out
    }

    fn join(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        let share = if count > 0.0 { other.count / count } else { 0.0 };
        Moments {
            count,
            mean: self.mean + apart * share,
            spread: self.spread + other.spread + apart * apart * self.count * share,
            squares: self.squares + other.squares,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            nan: self.nan + other.nan,
            infinite: self.infinite + other.infinite,
        }
    }

    fn stats(self) -> Stats {
        let some = |value: f64| (self.count > 0.0).then_some(value);
        Stats {
            min: some(self.min),
            max: some(self.max),
            mean: some(self.mean),
            std: some((self.spread / self.count).sqrt()),
            norm: some(self.squares.sqrt()),
            nan: self.nan,
            infinite: self.infinite,
        }
    }
}

/// Statistics of the tensors at these positions, in their order. The result does not depend on the threads.
pub(super) fn all(
    checkpoint: &Checkpoint,
    positions: &[usize],
    threads: usize,
) -> Result<Vec<Stats>, CheckpointError> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Stats>> = Mutex::new(vec![Stats::default(); positions.len()]);
    let first_error: Mutex<Option<CheckpointError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, positions.len().max(1)) {
            scope.spawn(|| {
                let mut buffers = Buffers::default();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(index) = positions.get(place) else { return };
                    match one(checkpoint, *index, &mut buffers) {
                        Ok(stats) => found.lock().unwrap_or_else(PoisonError::into_inner)[place] = stats,
                        Err(error) => {
                            let mut slot = first_error.lock().unwrap_or_else(PoisonError::into_inner);
                            slot.get_or_insert(error);
                            next.store(positions.len(), Ordering::Relaxed);
                            return;
                        }
                    }
                }
            });
        }
    });
    match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    values: Vec<f32>,
}

fn one(checkpoint: &Checkpoint, index: usize, buffers: &mut Buffers) -> Result<Stats, CheckpointError> {
    let tensor = &checkpoint.tensors()[index];
    let (dtype, len) = (tensor.dtype, tensor.len());
    let mut moments = Moments::EMPTY;
    for start in (0..len).step_by(CHUNK) {
        let range = start..(start + CHUNK).min(len);
        buffers.bytes.resize(range.len() * dtype.size(), 0);
        checkpoint.read(index, range.clone(), &mut buffers.bytes)?;
        moments = moments.join(chunk(dtype, &buffers.bytes, &mut buffers.values));
    }
    Ok(moments.stats())
}

/// f64 and 64-bit integers would lose digits in f32; everything else is exact there.
fn chunk(dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) -> Moments {
    let wide = |read: fn([u8; 8]) -> f64| {
        let (eights, _) = bytes.as_chunks::<8>();
        Moments::of(eights.iter().map(move |eight| read(*eight)))
    };
    let four = |read: fn([u8; 4]) -> f64| {
        let (fours, _) = bytes.as_chunks::<4>();
        Moments::of(fours.iter().map(move |four| read(*four)))
    };
    match dtype {
        Dtype::F64 => wide(f64::from_le_bytes),
        Dtype::I64 => wide(|b| i64::from_le_bytes(b) as f64),
        Dtype::U64 => wide(|b| u64::from_le_bytes(b) as f64),
        Dtype::I32 => four(|b| f64::from(i32::from_le_bytes(b))),
        Dtype::U32 => four(|b| f64::from(u32::from_le_bytes(b))),
        _ => {
            values.resize(bytes.len() / dtype.size(), 0.0);
            // What is not finite is counted below.
            let _finite = to_f32(dtype, bytes, values);
            Moments::of(values.iter().map(|value| f64::from(*value)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_moments_are_those_of_the_whole() {
        let values: Vec<f64> = (0..1000).map(|i| 1e6 + f64::from(i)).collect();
        let mut joined = Moments::EMPTY;
        for part in values.chunks(7) {
            joined = joined.join(Moments::of(part.iter().copied()));
        }
        let stats = joined.stats();
        assert_eq!((stats.min, stats.max), (Some(1e6), Some(1_000_999.0)));
        assert!((stats.mean.unwrap() - 1_000_499.5).abs() < 1e-6);
        assert!((stats.std.unwrap() - (999_999.0_f64 / 12.0).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let stats = Moments::of([1.0, f64::NAN, 3.0, f64::INFINITY].into_iter()).stats();
        assert_eq!((stats.nan, stats.infinite, stats.mean, stats.std), (1, 1, Some(2.0), Some(1.0)));
        assert_eq!(Moments::EMPTY.stats(), Stats::default());
        assert_eq!(Moments::of([f64::NAN].into_iter()).stats().mean, None);
    }
}
