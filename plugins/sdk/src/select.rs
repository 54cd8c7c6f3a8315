//! Exact selection of the k largest magnitudes by counting float bits: no sorting, no copy of the tensor.
//!
//! The magnitude bits of an f32 order as unsigned integers. A first pass looks at a few tiles and guesses a narrow window that
//! should hold the k-th largest; the second counts what lies above the window and collects what lies in it, in order of
//! position: threshold and ties follow exactly. Where the guess fails, or too much lies in the window (constant tensors,
//! coarse grids), histograms take over: upper 15 bits, then the bin's elements or their lower 16 bits, then the ties. Either way
//! exactly k are kept: among equals, those that come first in the tensor.
//! Cost: one read and a sample; in the worst case three more. State: at most [`COLLECT`] 4-byte values and 12 bytes a tile.

use bytemuck::{cast, cast_slice};
use pulp::{Arch, Simd, WithSimd};

use crate::kernel::TILE;

const UPPER: usize = 1 << 15;
const LOWER: usize = 1 << 16;

/// Copies of the first histogram: neighbours go to different ones, so that equal keys in a row do not wait for each other.
const COPIES: usize = 4;

/// Most elements that a pass collects.
const COLLECT: u64 = 4 << 20;

/// Up to so many elements are collected at once, without a guess.
const SMALL: u64 = 32 * TILE as u64;

/// About so many tiles are looked at to guess the window.
const SAMPLED: u64 = 128;

/// The bits of |x|; NaN orders above infinity.
#[inline(always)]
pub fn magnitude_bits(x: f32) -> u32 {
    x.to_bits() & 0x7fff_ffff
}

/// Which pass of a selection is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Every so many tiles.
    Sample {
        stride: usize,
    },
    /// Keys from `low` to `high`, both included.
    Window {
        low: u32,
        high: u32,
    },
    Upper,
    Lower,
    Ties,
    Done,
}

/// Selection of the `k` largest of `n` magnitudes; driven by observe passes.
#[derive(Clone, Debug)]
pub struct Selection {
    k: u64,
    n: u64,
    step: Step,
    /// Most elements to collect.
    collect: u64,
    /// More than that lay in the window.
    overflow: bool,
    counts: Vec<u64>,
    /// Elements above the window or bin that is being refined.
    above: u64,
    bin: u32,
    threshold: u32,
    /// Elements equal to the threshold to keep.
    keep_equal: u64,
    /// Elements of the bin, then elements equal to the threshold.
    equal_total: u64,
    /// The sample, or the keys in the window in order of position.
    found: Vec<u32>,
    /// Per tile of all tensors in order: keys in the window, or equal to the threshold.
    ties: Vec<u32>,
    /// Running sum of the ties before each tile and, last, after all; empty if all or no ties are kept.
    before: Vec<u64>,
}

/// Counts of one block.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    bins: Vec<u32>,
    found: Vec<u32>,
    ties: Vec<u32>,
    above: u64,
}

impl Selection {
    /// Keeps the `k` largest of `n` values. `k` of 0 keeps none, `k >= n` all; neither needs a pass.
    pub fn new(k: u64, n: u64) -> Selection {
        Selection::collecting(k, n, COLLECT)
    }

    fn collecting(k: u64, n: u64, collect: u64) -> Selection {
        let step = if k == 0 || k >= n {
            Step::Done
        } else if n <= SMALL.min(collect) {
            Step::Window { low: 0, high: u32::MAX }
        } else {
            Step::Sample { stride: (n.div_ceil(TILE as u64) / SAMPLED).max(4) as usize }
        };
        Selection {
            k,
            n,
            step,
            collect,
            overflow: false,
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

    /// Whether the current pass wants this tile, counted over all tensors of the group in order.
    pub fn wants(&self, tile: usize) -> bool {
        match self.step {
            Step::Sample { stride } => tile % stride == stride / 2,
            Step::Done => false,
            _ => true,
        }
    }

    /// Blank counts for the current pass.
    pub fn partial(&self) -> Counts {
        let bins = match self.step {
            Step::Upper => COPIES * UPPER,
            Step::Lower => LOWER,
            _ => 0,
        };
        Counts { bins: vec![0; bins], ..Counts::default() }
    }

    /// Adds a tile of magnitude bits ([`magnitude_bits`]) to the counts of its block.
    #[inline(always)]
    pub fn observe(&self, counts: &mut Counts, keys: &[u32]) {
        match self.step {
            Step::Sample { .. } => counts.found.extend_from_slice(keys),
            Step::Window { low, high } => {
                let start = counts.found.len();
                let above = Arch::new().dispatch(Window { keys, low, high, found: &mut counts.found });
                counts.above += u64::from(above);
                counts.ties.push((counts.found.len() - start) as u32);
            }
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
            Step::Lower => {
                let Ok(bins) = <&mut [u32; LOWER]>::try_from(counts.bins.as_mut_slice()) else { return };
                for &key in keys {
                    if key >> 16 == self.bin {
                        bins[(key & 0xffff) as usize] += 1;
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
        // A wrong guess may find far more in the window than it holds memory for: then the histograms take over.
        self.overflow |= self.found.len() + counts.found.len() > self.limit();
        if self.overflow {
            (self.found, self.ties) = (Vec::new(), Vec::new());
            counts.found.clear();
            counts.ties.clear();
        }
        self.found.append(&mut counts.found);
        self.ties.append(&mut counts.ties);
        self.above += std::mem::take(&mut counts.above);
    }

    /// Most elements that this pass may keep.
    fn limit(&self) -> usize {
        if matches!(self.step, Step::Window { .. }) { self.collect as usize } else { usize::MAX }
    }

    /// Ends the pass.
    pub fn finish_pass(&mut self) {
        match self.step {
            Step::Sample { .. } => self.guess(),
            Step::Window { .. } => {
                let within = self
                    .k
                    .checked_sub(self.above)
                    .filter(|&rank| !self.overflow && rank >= 1 && rank <= self.found.len() as u64);
                match within {
                    Some(rank) => self.conclude(rank as usize),
                    None => {
                        // The guess was wrong: count from the start.
                        (self.above, self.found, self.ties, self.overflow) =
                            (0, Vec::new(), Vec::new(), false);
                        self.step = Step::Upper;
                    }
                }
            }
            Step::Upper => {
                self.bin = self.descend() as u32;
                if self.equal_total <= self.collect {
                    // Everything above the bin is counted again, so that one pass serves both cases.
                    self.above = 0;
                    self.step = Step::Window { low: self.bin << 16, high: self.bin << 16 | 0xffff };
                } else {
                    self.step = Step::Lower;
                }
            }
            Step::Lower => {
                let low = self.descend();
                self.threshold = self.bin << 16 | low as u32;
                self.keep_equal = self.k - self.above;
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

    /// From the sample to a window that should hold the k-th largest: its rank in the sample, six standard errors (at least 0.4 %
    /// of the sample, since neighbours are alike) to both sides. Too much in the window: histograms.
    fn guess(&mut self) {
        let mut sample = std::mem::take(&mut self.found);
        let count = sample.len();
        let p = self.k as f64 / self.n as f64;
        let rank = p * count as f64;
        let margin = (6.0 * (count as f64 * p * (1.0 - p)).sqrt()).max(0.004 * count as f64) + 1.0;
        self.step = Step::Upper;
        if count == 0 {
            return;
        }
        // The j-th largest of the sample; beyond its ends the window is open.
        let mut largest = |j: f64| {
            (0.0..count as f64).contains(&j).then(|| *sample.select_nth_unstable(count - 1 - j as usize).1)
        };
        let high = largest(rank - margin).unwrap_or(u32::MAX);
        let low = largest(rank + margin).unwrap_or(0);
        let inside = sample.iter().filter(|&&key| key >= low && key <= high).count();
        let expected = inside as f64 / count as f64 * self.n as f64;
        if expected * 2.0 <= self.collect as f64 {
            self.step = Step::Window { low, high };
        }
    }

    /// From the keys in the window to threshold and ties: the threshold is the `rank`-th largest of them (from 1).
    fn conclude(&mut self, rank: usize) {
        let found = std::mem::take(&mut self.found);
        let mut order = found.clone();
        let (above, &mut threshold, _) = order.select_nth_unstable_by(rank - 1, |a, b| b.cmp(a));
        self.threshold = threshold;
        let larger = above.iter().filter(|&&key| key > threshold).count();
        self.keep_equal = (rank - larger) as u64;
        let mut at = 0;
        for tie in &mut self.ties {
            let end = (at + *tie as usize).min(found.len());
            *tie = found[at..end].iter().map(|&key| u32::from(key == threshold)).sum();
            at = end;
        }
        self.equal_total = self.ties.iter().map(|&tie| u64::from(tie)).sum();
        self.settle();
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
        let sample = (n as usize / 4).min(2 * SAMPLED as usize * TILE) * 4;
        let tiles = (n as usize).div_ceil(TILE) * 12;
        if n <= SMALL {
            return (n as usize * 8 + tiles, n as usize * 4);
        }
        // Usually the window holds one or two in a hundred; the histograms of the worst case are as large.
        (LOWER * 8 + sample.max(n.min(COLLECT) as usize / 8) + tiles, COPIES * UPPER * 4)
    }
}

/// Appends the keys from `low` to `high` to `found`, in order, and counts those above.
struct Window<'a> {
    keys: &'a [u32],
    low: u32,
    high: u32,
    found: &'a mut Vec<u32>,
}

impl WithSimd for Window<'_> {
    type Output = u32;

    /// Few keys lie in the window: one comparison tells for a whole vector which do. Written with vectors because compilers
    /// turn the plain loop into one test per key, which is three times slower; with a buffer of its own because a call in the
    /// loop would keep the vectors out of registers.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> u32 {
        const GROUP: usize = 1024;
        let Window { keys, low, high, found } = self;
        let [lowest, highest] = [low, high].map(|bound| simd.splat_u32s(bound));
        let width = simd.splat_u32s(high - low);
        let mut above = 0;
        for group in keys.chunks(GROUP) {
            let (mut hits, mut count) = ([0_u32; GROUP], 0);
            let (vectors, rest) = S::as_simd_u32s(group);
            for (&vector, run) in vectors.iter().zip(group.chunks_exact(S::U32_LANES)) {
                above += bits(simd, simd.greater_than_u32s(vector, highest)).count_ones();
                let distance = simd.sub_u32s(vector, lowest);
                let mut inside = bits(simd, simd.less_than_or_equal_u32s(distance, width));
                while inside != 0 {
                    hits[count % GROUP] = run[inside.trailing_zeros() as usize % S::U32_LANES];
                    count += 1;
                    inside &= inside - 1;
                }
            }
            found.extend_from_slice(&hits[..count]);
            above += rest.iter().map(|&key| u32::from(key > high)).sum::<u32>();
            found.extend(rest.iter().filter(|key| (low..=high).contains(*key)));
        }
        above
    }
}

/// One bit per lane, the first lane lowest.
#[inline(always)]
fn bits<S: Simd>(_: S, mask: S::m32s) -> u32 {
    match const { size_of::<S::m32s>() } {
        1 => u32::from(cast::<_, u8>(mask)),
        2 => u32::from(cast::<_, u16>(mask)),
        _ => {
            let lanes: S::u32s = cast(mask);
            let lanes: &[u32] = cast_slice(std::slice::from_ref(&lanes));
            lanes.iter().enumerate().fold(0, |bits, (lane, &set)| bits | u32::from(set != 0) << lane)
        }
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
            for (first, block) in values.chunks(TILE * block_tiles).enumerate() {
                let mut counts = selection.partial();
                for (index, tile) in block.chunks(TILE).enumerate() {
                    if !selection.wants(first * block_tiles + index) {
                        continue;
                    }
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
        for n in [3 * TILE + 77, 20 * TILE + 5] {
            let smooth: Vec<f32> = (0..n as u64).map(|i| key.uniform(i) - 0.5).collect();
            let coarse: Vec<f32> = smooth.iter().map(|x| (x * 16.0).round() / 16.0).collect();
            let constant = vec![-0.25_f32; n];
            // The tiles that are sampled are unlike the others, so the guess is wrong.
            let hostile: Vec<f32> = smooth
                .iter()
                .enumerate()
                .map(|(i, x)| if i / TILE % 4 == 2 { x * 100.0 } else { *x })
                .collect();
            for values in [&smooth, &coarse, &constant, &hostile] {
                for k in [0, 1, 2, n / 3, n / 2, n - 1, n, n + 5] {
                    let expected = oracle(values, k);
                    for (blocks, collect) in [(1, 0), (2, 5000), (64, COLLECT), (3, COLLECT)] {
                        let kept = run(values, k as u64, blocks, collect);
                        assert!(kept == expected, "n {n} k {k} blocks {blocks} collect {collect}");
                    }
                }
            }
        }
        assert!(run(&[], 1, 1, COLLECT).is_empty());
    }

    #[test]
    fn smooth_data_takes_one_full_pass() {
        let key = crate::rng::Key::new(2, "select", 0);
        let n = 300 * TILE;
        let mut selection = Selection::new(n as u64 / 2, n as u64);
        let mut tiles = 0;
        while selection.observing() {
            let mut counts = selection.partial();
            for tile in (0..n / TILE).filter(|&tile| selection.wants(tile)) {
                let start = (tile * TILE) as u64;
                let keys: Vec<u32> =
                    (start..start + TILE as u64).map(|i| magnitude_bits(key.uniform(i))).collect();
                selection.observe(&mut counts, &keys);
                tiles += 1;
            }
            selection.absorb(&mut counts);
            selection.finish_pass();
        }
        assert!(tiles <= n / TILE * 5 / 4 + 1, "{tiles} tiles were read for {}", n / TILE);
    }
}
