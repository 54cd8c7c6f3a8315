//! Exact selection of the k largest magnitudes by histograms over float bits: no sorting, no copy of the tensor.
//!
//! The magnitude bits of an f32 order as unsigned integers. The first pass counts their upper 15 bits, which gives the bin
//! that holds the k-th largest. If few elements share that bin, as in real weights, the second pass collects their lower
//! 16 bits in order of position: threshold and ties follow from them. Otherwise (constant tensors, coarse grids) the second
//! pass counts the lower bits and a third one counts, tile by tile, the elements equal to the threshold. Either way exactly
//! k are kept: among equals, those that come first in the tensor.
//! Cost: 2 or 3 reads; state: at most 256 KiB, 12 bytes a tile and [`COLLECT`] 2-byte values.

use crate::kernel::TILE;

const UPPER: usize = 1 << 15;
const LOWER: usize = 1 << 16;

/// Copies of the first histogram: neighbours go to different ones, so that equal keys in a row do not wait for each other.
const COPIES: usize = 4;

/// Most elements that the second pass collects.
const COLLECT: u64 = 4 << 20;

/// The bits of |x|; NaN orders above infinity.
#[inline(always)]
pub fn magnitude_bits(x: f32) -> u32 {
    x.to_bits() & 0x7fff_ffff
}

/// Which pass of a selection is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Upper,
    Collect,
    Lower,
    Ties,
    Done,
}

/// Selection of the `k` largest of `n` magnitudes; driven by two or three observe passes.
#[derive(Clone, Debug)]
pub struct Selection {
    k: u64,
    step: Step,
    /// Most elements to collect in the second pass.
    collect: u64,
    counts: Vec<u64>,
    /// Elements above the bin that is being refined.
    above: u64,
    bin: u32,
    threshold: u32,
    /// Elements equal to the threshold to keep.
    keep_equal: u64,
    /// Elements of the bin, then elements equal to the threshold.
    equal_total: u64,
    /// Lower bits of the bin's elements, in order of position.
    found: Vec<u16>,
    /// Per tile of all tensors in order: elements in the bin, or equal to the threshold.
    ties: Vec<u32>,
    /// Running sum of the ties before each tile and, last, after all; empty if all or no ties are kept.
    before: Vec<u64>,
}

/// Counts of one block.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    bins: Vec<u32>,
    found: Vec<u16>,
    ties: Vec<u32>,
}

impl Selection {
    /// Keeps the `k` largest of `n` values. `k` of 0 keeps none, `k >= n` all; neither needs a pass.
    pub fn new(k: u64, n: u64) -> Selection {
        Selection::collecting(k, n, COLLECT)
    }

    fn collecting(k: u64, n: u64, collect: u64) -> Selection {
        let trivial = k == 0 || k >= n;
        Selection {
            k,
            step: if trivial { Step::Done } else { Step::Upper },
            collect,
            counts: Vec::new(),
            above: 0,
            bin: 0,
            threshold: if k == 0 { u32::MAX } else { 0 },
            keep_equal: if k == 0 { 0 } else { u64::MAX },
            equal_total: 0,
            found: Vec::new(),
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
            Step::Upper => COPIES * UPPER,
            Step::Lower => LOWER,
            Step::Collect | Step::Ties | Step::Done => 0,
        };
        Counts { bins: vec![0; bins], ..Counts::default() }
    }

    /// Adds a tile of magnitude bits ([`magnitude_bits`]) to the counts of its block.
    #[inline(always)]
    pub fn observe(&self, counts: &mut Counts, keys: &[u32]) {
        match self.step {
            Step::Upper => {
                let (copies, _) = counts.bins.as_chunks_mut::<UPPER>();
                let [a, b, c, d] = copies else { return };
                let bin = |key: u32| (key >> 16) as usize & (UPPER - 1);
                let (quads, rest) = keys.as_chunks::<COPIES>();
                for quad in quads {
                    a[bin(quad[0])] += 1;
                    b[bin(quad[1])] += 1;
                    c[bin(quad[2])] += 1;
                    d[bin(quad[3])] += 1;
                }
                for &key in rest {
                    a[bin(key)] += 1;
                }
            }
            Step::Collect => {
                let start = counts.found.len();
                let found = &mut counts.found;
                self.in_bin(keys, |key| found.push(key as u16));
                counts.ties.push((counts.found.len() - start) as u32);
            }
            Step::Lower => {
                let Ok(bins) = <&mut [u32; LOWER]>::try_from(counts.bins.as_mut_slice()) else { return };
                self.in_bin(keys, |key| bins[(key & 0xffff) as usize] += 1);
            }
            Step::Ties => {
                let equal: u32 = keys.iter().map(|&key| u32::from(key == self.threshold)).sum();
                counts.ties.push(equal);
            }
            Step::Done => {}
        }
    }

    /// Visits the keys of the bin, in order. Few elements share it, so whole runs are tested with vector instructions first.
    #[inline(always)]
    fn in_bin(&self, keys: &[u32], mut visit: impl FnMut(u32)) {
        let bin = self.bin;
        let (runs, rest) = keys.as_chunks::<32>();
        for run in runs {
            let mut hits = 0;
            for &key in run {
                hits |= u32::from(key >> 16 == bin);
            }
            if hits > 0 {
                for &key in run {
                    if key >> 16 == bin {
                        visit(key);
                    }
                }
            }
        }
        for &key in rest {
            if key >> 16 == bin {
                visit(key);
            }
        }
    }

    /// Adds a block's counts and leaves them blank. Blocks must come in order.
    pub fn absorb(&mut self, counts: &mut Counts) {
        let width = if self.step == Step::Upper { UPPER } else { LOWER };
        if self.counts.is_empty() && !counts.bins.is_empty() {
            self.counts = vec![0; width];
        }
        for copy in counts.bins.chunks(width) {
            for (sum, bin) in self.counts.iter_mut().zip(copy) {
                *sum += u64::from(*bin);
            }
        }
        counts.bins.fill(0);
        self.found.append(&mut counts.found);
        self.ties.append(&mut counts.ties);
    }

    /// Ends the pass.
    pub fn finish_pass(&mut self) {
        match self.step {
            Step::Upper => {
                self.bin = self.descend() as u32;
                self.step = if self.equal_total <= self.collect { Step::Collect } else { Step::Lower };
            }
            Step::Collect => {
                let found = std::mem::take(&mut self.found);
                self.counts = vec![0; LOWER];
                for &low in &found {
                    self.counts[usize::from(low)] += 1;
                }
                let low = self.refine();
                let mut at = 0;
                for tie in &mut self.ties {
                    let end = (at + *tie as usize).min(found.len());
                    *tie = found[at..end].iter().map(|&x| u32::from(usize::from(x) == low)).sum();
                    at = end;
                }
                self.settle();
            }
            Step::Lower => {
                self.refine();
                if self.keep_equal == self.equal_total {
                    self.settle();
                } else {
                    self.step = Step::Ties;
                }
            }
            Step::Ties => self.settle(),
            Step::Done => {}
        }
    }

    /// From the counts of the lower bits to the threshold.
    fn refine(&mut self) -> usize {
        let low = self.descend();
        self.threshold = self.bin << 16 | low as u32;
        self.keep_equal = self.k - self.above;
        low
    }

    /// From ties per tile to their running sum.
    fn settle(&mut self) {
        let ties = std::mem::take(&mut self.ties);
        if self.keep_equal == self.equal_total {
            self.keep_equal = u64::MAX;
        } else {
            let mut sum = 0;
            self.before = Vec::with_capacity(ties.len() + 1);
            self.before.push(0);
            for count in ties {
                sum += u64::from(count);
                self.before.push(sum);
            }
        }
        self.step = Step::Done;
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

    /// The rule for one tile: keep keys above `threshold`, and the first `equal` of those equal to it (`u64::MAX` for all).
    /// At most one tile has an `equal` other than 0 and `u64::MAX`. `tile` counts over all tensors of the group, in order.
    pub fn cut(&self, tile: usize) -> Cut {
        let equal = match (self.before.get(tile), self.before.get(tile + 1)) {
            (Some(&before), Some(&after)) if self.keep_equal < after => {
                self.keep_equal.saturating_sub(before)
            }
            (Some(_), Some(_)) => u64::MAX,
            _ => self.keep_equal,
        };
        Cut { threshold: self.threshold, equal }
    }

    /// Bytes of the state for `n` elements and of one partial state.
    pub fn state_bytes(n: u64) -> (usize, usize) {
        let found = 2 * n.min(COLLECT) as usize;
        (LOWER * 8 + found + (n as usize).div_ceil(TILE) * 12, COPIES * UPPER * 4)
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
    /// The cut as one signed comparison, `key as i32 > limit`, for tiles that keep all or none of the ties; `None` for the
    /// one tile (of a selection) that keeps some of them.
    #[inline(always)]
    pub fn limit(&self) -> Option<i32> {
        match self.equal {
            0 => Some(i32::try_from(self.threshold).unwrap_or(i32::MAX)),
            u64::MAX => Some(self.threshold as i32 - 1),
            _ => None,
        }
    }

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

    fn run(values: &[f32], k: u64, block_tiles: usize, collect: u64) -> Vec<f32> {
        let mut selection = Selection::collecting(k, values.len() as u64, collect);
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
        let mut partial = 0;
        for (index, tile) in out.chunks_mut(TILE).enumerate() {
            let cut = selection.cut(index);
            match cut.limit() {
                None => partial += 1,
                Some(limit) => {
                    let by_limit: Vec<f32> = tile
                        .iter()
                        .map(|&x| if magnitude_bits(x) as i32 > limit { x } else { 0.0 })
                        .collect();
                    let mut by_cut = tile.to_vec();
                    cut.apply(&mut by_cut);
                    assert_eq!(by_limit, by_cut);
                }
            }
            cut.apply(tile);
        }
        assert!(partial <= 1, "{partial} tiles keep some of their ties");
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
                    for collect in [0, 5000, COLLECT] {
                        let kept = run(values, k as u64, blocks, collect);
                        assert_eq!(kept, expected, "k {k} blocks {blocks} collect {collect}");
                    }
                }
            }
        }
        assert!(run(&[], 1, 1, COLLECT).is_empty());
    }
}
