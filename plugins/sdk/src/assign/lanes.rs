//! The inner loops of assignment, over whole rows of costs and written for vectors.

/// Lanes of the inner loops.
const LANES: usize = 8;

/// The smallest values of c − v in a row, and where the smallest is first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Least {
    pub(super) first: f64,
    pub(super) second: f64,
    pub(super) column: usize,
}

impl Least {
    /// Of nothing yet.
    pub(super) const NONE: Least = Least { first: f64::INFINITY, second: f64::INFINITY, column: 0 };

    /// Counts a value in. Of equal ones the first column stays.
    #[inline(always)]
    pub(super) fn take(&mut self, value: f64, column: usize) {
        if value < self.first || (value == self.first && column < self.column) {
            self.second = self.first;
            self.first = value;
            self.column = column;
        } else if value < self.second {
            self.second = value;
        }
    }
}

/// Lowers what is least so far to a row.
#[inline(always)]
pub(super) fn lower(least: &mut [f64], row: &[f64], sign: f64) {
    for (least, cost) in least.iter_mut().zip(row) {
        let cost = sign * cost;
        *least = if cost < *least { cost } else { *least };
    }
}

/// The two least values of c − v, and whether all are finite.
#[inline(always)]
pub(super) fn two_least(row: &[f64], v: &[f64], sign: f64) -> (Least, bool) {
    let (mut first, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
    let (mut at, mut wrong) = ([0_u64; LANES], [0.0; LANES]);
    let whole = row.len() / LANES * LANES;
    let mut base = 0_u64;
    for (costs, duals) in row.chunks_exact(LANES).zip(v.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let value = sign * costs[lane] - duals[lane];
            let less = value < first[lane];
            let other = if less { first[lane] } else { value };
            second[lane] = if other < second[lane] { other } else { second[lane] };
            at[lane] = if less { base } else { at[lane] };
            first[lane] = if less { value } else { first[lane] };
            wrong[lane] += value * 0.0;
        }
        base += LANES as u64;
    }
    let mut least = Least::NONE;
    for lane in 0..LANES {
        if first[lane] < f64::INFINITY {
            least.take(first[lane], at[lane] as usize + lane);
        }
    }
    let mut wrong: f64 = wrong.iter().sum();
    for column in whole..row.len() {
        let value = sign * row[column] - v[column];
        least.take(value, column);
        wrong += value * 0.0;
    }
    let rest = second.iter().fold(f64::INFINITY, |least, value| least.min(*value));
    least.second = least.second.min(rest);
    (least, wrong == 0.0)
}

/// All values of c − v, a bound that few of them reach, and whether all are finite. The bound is the largest of the least values of eight
/// classes of columns: about the twentieth of all, if they are in no order.
#[inline(always)]
pub(super) fn reduced(row: &[f64], v: &[f64], sign: f64, values: &mut [f64]) -> (f64, bool) {
    const WIDE: usize = 2 * LANES;
    let (mut least, mut wrong) = ([f64::INFINITY; WIDE], [0.0; WIDE]);
    let whole = row.len() / WIDE * WIDE;
    let chunks = row.chunks_exact(WIDE).zip(v.chunks_exact(WIDE)).zip(values.chunks_exact_mut(WIDE));
    for ((costs, duals), values) in chunks {
        for lane in 0..WIDE {
            let value = sign * costs[lane] - duals[lane];
            values[lane] = value;
            least[lane] = if value < least[lane] { value } else { least[lane] };
            wrong[lane] += value * 0.0;
        }
    }
    for column in whole..row.len() {
        let (value, lane) = (sign * row[column] - v[column], column - whole);
        values[column] = value;
        least[lane] = if value < least[lane] { value } else { least[lane] };
        wrong[lane] += value * 0.0;
    }
    let bound =
        (0..LANES).fold(f64::NEG_INFINITY, |most, lane| most.max(least[lane].min(least[lane + LANES])));
    (bound, wrong.iter().sum::<f64>() == 0.0)
}

/// The places of values up to a bound, ascending. `chunks` is room.
#[inline(always)]
pub(super) fn up_to(values: &[f64], bound: f64, chunks: &mut Vec<u32>, found: &mut Vec<u32>) {
    // Without branches: which chunks have one, then which of their values.
    chunks.resize(values.len() / LANES + 1, 0);
    let mut hit = 0;
    for (index, chunk) in values.chunks_exact(LANES).enumerate() {
        let mut any = false;
        for value in chunk {
            any |= *value <= bound;
        }
        chunks[hit] = index as u32;
        hit += usize::from(any);
    }
    found.resize((hit + 1) * LANES, 0);
    let mut count = 0;
    for chunk in &chunks[..hit] {
        let base = *chunk as usize * LANES;
        for (lane, value) in values[base..base + LANES].iter().enumerate() {
            found[count] = (base + lane) as u32;
            count += usize::from(*value <= bound);
        }
    }
    let whole = values.len() / LANES * LANES;
    for (lane, value) in values[whole..].iter().enumerate() {
        found[count] = (whole + lane) as u32;
        count += usize::from(*value <= bound);
    }
    found.truncate(count);
}

/// Lowers open distances through a row. `limit` is v, or −∞ for columns that are done.
#[inline(always)]
pub(super) fn relax(
    row: &[f64],
    sign: f64,
    limit: &[f64],
    shift: f64,
    from: u32,
    open: &mut [f64],
    parent: &mut [u32],
) {
    for (((cost, limit), open), parent) in row.iter().zip(limit).zip(open).zip(parent) {
        let value = (sign * cost - limit) + shift;
        let less = value < *open;
        *open = if less { value } else { *open };
        *parent = if less { from } else { *parent };
    }
}

/// The least of some values, and its first place.
#[inline(always)]
pub(super) fn least_of(values: &[f64]) -> (f64, usize) {
    let (mut least, mut at) = ([f64::INFINITY; LANES], [0_u64; LANES]);
    let whole = values.len() / LANES * LANES;
    let mut base = 0_u64;
    for chunk in values.chunks_exact(LANES) {
        for lane in 0..LANES {
            let less = chunk[lane] < least[lane];
            at[lane] = if less { base } else { at[lane] };
            least[lane] = if less { chunk[lane] } else { least[lane] };
        }
        base += LANES as u64;
    }
    let (mut all, mut place) = (f64::INFINITY, 0);
    for lane in 0..LANES {
        let own = at[lane] as usize + lane;
        if least[lane] < all || (least[lane] == all && own < place) {
            (all, place) = (least[lane], own);
        }
    }
    for (index, value) in values.iter().enumerate().skip(whole) {
        if *value < all {
            (all, place) = (*value, index);
        }
    }
    (all, place)
}
