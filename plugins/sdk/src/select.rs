//! Exact selection of the k largest magnitudes by two histograms over float bits: no sorting, no copy of the tensor.
//!
//! The magnitude bits of an f32 order as unsigned integers. The first pass counts their upper 15 bits, the second the lower 16
//! bits inside the bin that holds the k-th largest; the threshold is then exact. A third pass counts, tile by tile, the
//! elements equal to the threshold, so that exactly k are kept: among equals, those that come first in the tensor.
//! Cost: 3 reads; state: 384 KiB and 4 bytes a tile.

use crate::kernel::TILE;

const UPPER: usize = 1 << 15;
const LOWER: usize = 1 << 16;

/// The bits of |x|; NaN orders above infinity.
#[inline(always)]
pub fn magnitude_bits(x: f32) -> u32 {
    x.to_bits() & 0x7fff_ffff
}

/// Which pass of a selection is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Upper,
    Lower,
    Ties,
    Done,
}

/// Selection of the `k` largest of `n` magnitudes; driven by three observe passes.
#[derive(Clone, Debug)]
pub struct Selection {
    k: u64,
    step: Step,
    counts: Vec<u64>,
    /// Elements above the bin that is being refined.
    above: u64,
    bin: u32,
    threshold: u32,
    /// Elements equal to the threshold to keep.
    keep_equal: u64,
    equal_total: u64,
    /// Per tile of all tensors in order: elements equal to the threshold, then their running sum.
    ties: Vec<u32>,
    before: Vec<u64>,
}

/// Counts of one block.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    bins: Vec<u32>,
    ties: Vec<u32>,
}

impl Selection {
    /// Keeps the `k` largest of `n` values. `k` of 0 keeps none, `k >= n` all; neither needs a pass.
    pub fn new(k: u64, n: u64) -> Selection {
        let trivial = k == 0 || k >= n;
        Selection {
            k,
            step: if trivial { Step::Done } else { Step::Upper },
            counts: Vec::new(),
            above: 0,
            bin: 0,
            threshold: if k == 0 { u32::MAX } else { 0 },
            keep_equal: if k == 0 { 0 } else { u64::MAX },
            equal_total: 0,
            ties: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Whether another pass is due.
    pub fn observing(&self) -> bool {
        self.step != Step::Done
    }

    /// Blank counts for the current pass.
    pub fn partial(&self) -> Counts {
        let bins = match self.step {
            Step::Upper => UPPER,
            Step::Lower => LOWER,
            Step::Ties | Step::Done => 0,
        };
        Counts { bins: vec![0; bins], ties: Vec::new() }
    }

    /// Adds a tile of magnitude bits ([`magnitude_bits`]) to the counts of its block.
    #[inline(always)]
    pub fn observe(&self, counts: &mut Counts, keys: &[u32]) {
        match self.step {
            Step::Upper => {
                let Ok(bins) = <&mut [u32; UPPER]>::try_from(counts.bins.as_mut_slice()) else { return };
                for &key in keys {
                    bins[(key >> 16) as usize & (UPPER - 1)] += 1;
                }
            }
            Step::Lower => {
                let Ok(bins) = <&mut [u32; LOWER]>::try_from(counts.bins.as_mut_slice()) else { return };
                // Few elements share the bin: test whole runs with vector instructions before looking at single ones.
                for run in keys.chunks(32) {
                    let hits: u32 = run.iter().map(|&key| u32::from(key >> 16 == self.bin)).sum();
                    if hits > 0 {
                        for &key in run {
                            if key >> 16 == self.bin {
                                bins[(key & 0xffff) as usize] += 1;
                            }
                        }
                    }
                }
            }
            Step::Ties => {
                let equal: u32 = keys.iter().map(|&key| u32::from(key == self.threshold)).sum();
                counts.ties.push(equal);
            }
            Step::Done => {}
        }
    }

    /// Adds a block's counts and leaves them blank. Blocks must come in order.
    pub fn absorb(&mut self, counts: &mut Counts) {
        if self.counts.len() < counts.bins.len() {
            self.counts = vec![0; counts.bins.len()];
        }
        for (sum, bin) in self.counts.iter_mut().zip(&counts.bins) {
            *sum += u64::from(*bin);
        }
        counts.bins.fill(0);
        self.ties.append(&mut counts.ties);
    }

    /// Ends the pass.
    pub fn finish_pass(&mut self) {
        match self.step {
            Step::Upper => {
                self.bin = self.descend() as u32;
                self.step = Step::Lower;
            }
            Step::Lower => {
                let low = self.descend() as u32;
                self.threshold = self.bin << 16 | low;
                self.keep_equal = self.k - self.above;
                self.step = if self.keep_equal == self.equal_total { Step::Done } else { Step::Ties };
            }
            Step::Ties => {
                let mut sum = 0;
                self.before = Vec::with_capacity(self.ties.len());
                for &count in &self.ties {
                    self.before.push(sum);
                    sum += u64::from(count);
                }
                self.ties = Vec::new();
                self.step = Step::Done;
            }
            Step::Done => {}
        }
    }

    /// Walks down from the largest bin until `k` elements are at or above it.
    fn descend(&mut self) -> usize {
        let mut found = 0;
        for bin in (0..self.counts.len()).rev() {
            if self.above + self.counts[bin] >= self.k {
                found = bin;
                break;
            }
            self.above += self.counts[bin];
        }
        self.equal_total = self.counts.get(found).copied().unwrap_or(0);
        self.counts = Vec::new();
        found
    }

    /// The rule for one tile: keep keys above `threshold`, and the first `equal` of those equal to it. `tile` counts over all
    /// tensors of the group, in order.
    pub fn cut(&self, tile: usize) -> Cut {
        let equal = match self.before.get(tile) {
            Some(&before) => self.keep_equal.saturating_sub(before),
            None => self.keep_equal,
        };
        Cut { threshold: self.threshold, equal }
    }

    /// Bytes of the state for `n` elements and of one partial state.
    pub fn state_bytes(n: u64) -> (usize, usize) {
        (LOWER * 8 + (n as usize).div_ceil(TILE) * 12, LOWER * 4)
    }
}

/// What a tile keeps, from [`Selection::cut`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Keys above it are kept.
    pub threshold: u32,
    /// How many of the keys equal to it are kept, from the tile's start.
    pub equal: u64,
}

impl Cut {
    /// Sets `values` that are not kept to 0. NaN is kept if k allows (it orders above all).
    #[inline(always)]
    pub fn apply(&self, values: &mut [f32]) {
        let threshold = self.threshold;
        if self.equal >= values.len() as u64 {
            for value in values.iter_mut() {
                *value = if magnitude_bits(*value) >= threshold { *value } else { 0.0 };
            }
        } else if self.equal == 0 {
            for value in values.iter_mut() {
                *value = if magnitude_bits(*value) > threshold { *value } else { 0.0 };
            }
        } else {
            let mut left = self.equal;
            for value in values.iter_mut() {
                let key = magnitude_bits(*value);
                let equal = key == threshold;
                let keep = key > threshold || (equal && left > 0);
                left -= u64::from(equal && left > 0);
                *value = if keep { *value } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[f32], k: u64, block_tiles: usize) -> Vec<f32> {
        let mut selection = Selection::new(k, values.len() as u64);
        while selection.observing() {
            for block in values.chunks(TILE * block_tiles) {
                let mut counts = selection.partial();
                for tile in block.chunks(TILE) {
                    let keys: Vec<u32> = tile.iter().map(|&x| magnitude_bits(x)).collect();
                    selection.observe(&mut counts, &keys);
                }
                selection.absorb(&mut counts);
            }
            selection.finish_pass();
        }
        let mut out = values.to_vec();
        for (index, tile) in out.chunks_mut(TILE).enumerate() {
            selection.cut(index).apply(tile);
        }
        out
    }

    /// The oracle sorts (stable, by magnitude, descending) and keeps the first k.
    fn oracle(values: &[f32], k: usize) -> Vec<f32> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()));
        let mut out = vec![0.0; values.len()];
        for &i in order.iter().take(k) {
            out[i] = values[i];
        }
        out
    }

    #[test]
    fn keeps_exactly_the_k_largest_and_the_first_of_equals() {
        let key = crate::rng::Key::new(1, "select", 0);
        let n = 3 * TILE + 77;
        let smooth: Vec<f32> = (0..n as u64).map(|i| key.uniform(i) - 0.5).collect();
        let coarse: Vec<f32> = smooth.iter().map(|x| (x * 16.0).round() / 16.0).collect();
        let constant = vec![-0.25_f32; n];
        for values in [&smooth, &coarse, &constant] {
            for k in [0, 1, 2, n / 3, n / 2, n - 1, n, n + 5] {
                let expected = oracle(values, k);
                for blocks in [1, 2, 64] {
                    assert_eq!(run(values, k as u64, blocks), expected, "k {k} blocks {blocks}");
                }
            }
        }
        assert!(run(&[], 1, 1).is_empty());
    }
}
