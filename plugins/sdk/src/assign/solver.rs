//! The search itself: Jonker and Volgenant's initialisation, then shortest augmenting paths, on rows of whole matrices so that the inner
//! loops are vector code.
//!
//! Duals u, v with c[i, j] − u[i] − v[j] ≥ 0 everywhere, = 0 where assigned. Any v is a start: u[i] = min_j (c[i, j] − v[j]). For more columns
//! than rows v must be 0 in columns without a row and ≤ 0 elsewhere; all steps keep that, since they only lower v, and never free a column.

/// No partner.
pub(super) const FREE: usize = usize::MAX;

/// A square or wide matrix of costs; smaller is better after `sign`.
#[derive(Clone, Copy)]
pub(super) struct Costs<'a> {
    pub(super) values: &'a [f64],
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// 1, or −1 to maximise.
    pub(super) sign: f64,
}

impl Costs<'_> {
    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.sign * self.values[row * self.columns + column]
    }
}

/// Passes of augmenting row reduction.
const PASSES: usize = 3;

/// Rows that one row may displace in a pass, one after another: chains go on for long where costs differ by little, and paths are better then.
const CHAIN: usize = 32;

/// Share of rows without a column after the first look, from which on duals of another problem are no help.
const LOST: usize = 4;

/// Lanes of the inner loops.
const LANES: usize = 8;

/// The smallest values of c − v in a row, and where the smallest is first.
struct Least {
    first: f64,
    second: f64,
    column: usize,
}

/// An assignment in the making.
pub(super) struct Solver<'a> {
    costs: Costs<'a>,
    pub(super) column_of: Vec<usize>,
    row_of: Vec<usize>,
    pub(super) v: Vec<f64>,
    // Of the search for a path.
    open: Vec<f64>,
    limit: Vec<f64>,
    parent: Vec<u64>,
    /// Columns without a row, for rows that are assigned by paths.
    vacant: Vec<usize>,
}

impl<'a> Solver<'a> {
    /// Nothing assigned. `v` is the start of the column duals: for square costs anything, otherwise 0.
    pub(super) fn new(costs: Costs<'a>, v: Vec<f64>) -> Solver<'a> {
        let columns = costs.columns;
        Solver {
            costs,
            column_of: vec![FREE; costs.rows],
            row_of: vec![FREE; columns],
            v,
            open: vec![0.0; columns],
            limit: vec![0.0; columns],
            parent: vec![0; columns],
            vacant: Vec::new(),
        }
    }

    /// The least cost of every column: the usual start for square costs.
    pub(super) fn column_minima(costs: Costs<'_>) -> Vec<f64> {
        let mut least = vec![f64::INFINITY; costs.columns];
        for row in 0..costs.rows {
            let own = costs.row(row);
            crate::simd(
                #[inline(always)]
                || lower(&mut least, own, costs.sign),
            );
        }
        least
    }

    /// Assigns all rows.
    pub(super) fn solve(&mut self) {
        let free = self.begin();
        self.finish(free);
    }

    /// The same from duals of another problem; they are dropped where they leave too many rows without a column.
    pub(super) fn solve_again(&mut self) {
        let mut free = self.begin();
        if free.len() > self.costs.rows / LOST {
            self.column_of.fill(FREE);
            self.row_of.fill(FREE);
            self.v = Solver::column_minima(self.costs);
            free = self.begin();
        }
        self.finish(free);
    }

    /// Gives every row its best column, if no row before it has that; the others are returned.
    fn begin(&mut self) -> Vec<usize> {
        let mut free = Vec::new();
        for row in 0..self.costs.rows {
            let least = self.least(row);
            match self.row_of[least.column] {
                FREE => self.assign(row, least.column),
                _ => free.push(row),
            }
        }
        free
    }

    fn finish(&mut self, mut free: Vec<usize>) {
        for _ in 0..PASSES {
            free = self.reduce(free);
        }
        self.vacant = (0..self.costs.columns).filter(|column| self.row_of[*column] == FREE).collect();
        for row in free {
            self.augment(row);
        }
    }

    fn assign(&mut self, row: usize, column: usize) {
        self.row_of[column] = row;
        self.column_of[row] = column;
    }

    /// The two least reduced costs of a row. A row's own column wins against equal ones.
    fn least(&self, row: usize) -> Least {
        let own = self.costs.row(row);
        let mut least = crate::simd(
            #[inline(always)]
            || two_least(own, &self.v, self.costs.sign),
        );
        if let Some(v) = self.v.get(row)
            && self.costs.at(row, row) - v == least.first
        {
            least.column = row;
        }
        least
    }

    /// Augmenting row reduction: each free row takes its best column and lowers its dual to the second best; the row that had it goes on.
    fn reduce(&mut self, free: Vec<usize>) -> Vec<usize> {
        let mut left = Vec::new();
        for row in free {
            let mut row = row;
            let mut budget = CHAIN;
            loop {
                let least = self.least(row);
                let previous = self.row_of[least.column];
                let gain = least.second - least.first;
                if gain > 0.0 && gain.is_finite() {
                    self.v[least.column] -= gain;
                } else if previous != FREE {
                    left.push(row);
                    break;
                }
                self.assign(row, least.column);
                if previous == FREE {
                    break;
                }
                self.column_of[previous] = FREE;
                if budget == 0 {
                    left.push(previous);
                    break;
                }
                budget -= 1;
                row = previous;
            }
        }
        left
    }

    /// Dijkstra from a free row to the nearest free column, then turns the path round.
    fn augment(&mut self, start: usize) {
        self.open.fill(f64::INFINITY);
        self.limit.copy_from_slice(&self.v);
        // Columns that are reached, with their distance.
        let mut reached: Vec<(usize, f64)> = Vec::new();
        let (mut row, mut distance) = (start, 0.0);
        let sink = loop {
            // The row's dual is implied: 0 at its own column, or its least for the first row, which shifts all distances alike.
            let own = self.costs.row(row);
            let shift = match self.column_of[row] {
                FREE => 0.0,
                column => distance - (self.costs.at(row, column) - self.v[column]),
            };
            let (open, limit, parent) = (&mut self.open, &self.limit, &mut self.parent);
            let (least, column) = crate::simd(
                #[inline(always)]
                || relax(own, self.costs.sign, limit, shift, row as u64, open, parent),
            );
            let column = self.tied(least).unwrap_or(column);
            distance = least;
            reached.push((column, distance));
            self.open[column] = f64::INFINITY;
            self.limit[column] = f64::NEG_INFINITY;
            if self.row_of[column] == FREE {
                break column;
            }
            row = self.row_of[column];
        };
        for (column, at) in reached {
            self.v[column] -= distance - at;
        }
        self.vacant.retain(|column| *column != sink);
        let mut column = sink;
        loop {
            let row = self.parent[column] as usize;
            self.row_of[column] = row;
            column = std::mem::replace(&mut self.column_of[row], column);
            if row == start {
                return;
            }
        }
    }

    /// A free column at this distance, which ends the search, where there are few to look at.
    fn tied(&self, distance: f64) -> Option<usize> {
        if self.vacant.len() > self.costs.columns / 8 {
            return None;
        }
        self.vacant.iter().copied().find(|column| self.open[*column] == distance)
    }

    /// Puts rows on their own columns where that costs nothing: along cycles of the edges that are as good as those taken.
    ///
    /// `scale` is the largest cost.
    pub(super) fn toward_identity(&mut self, scale: f64) {
        let (rows, columns) = (self.costs.rows, self.costs.columns);
        let tolerance = 1e-13 * scale;
        let u: Vec<f64> = (0..rows)
            .map(|row| self.costs.at(row, self.column_of[row]) - self.v[self.column_of[row]])
            .collect();
        let mut from = vec![FREE; rows];
        for row in 0..rows.min(columns) {
            let tight = |row: usize, column: usize| self.costs.at(row, column) - u[row] - self.v[column];
            let target = self.column_of[row];
            if target == row || tight(row, row) > tolerance {
                continue;
            }
            let first = self.row_of[row];
            if first == FREE {
                // The column that it leaves must be worth nothing.
                if self.v[target].abs() <= tolerance {
                    self.row_of[target] = FREE;
                    self.assign(row, row);
                }
                continue;
            }
            // From the row that has the column to the column that is left over.
            from.fill(FREE);
            from[first] = row;
            let mut queue = vec![first];
            let mut last = None;
            'search: while let Some(next) = queue.pop() {
                for column in (0..columns).filter(|column| tight(next, *column) <= tolerance) {
                    if column == target {
                        last = Some(next);
                        break 'search;
                    }
                    let owner = self.row_of[column];
                    if owner != FREE && owner != row && owner != column && from[owner] == FREE {
                        from[owner] = next;
                        queue.push(owner);
                    }
                }
            }
            // Each row of the path takes the column of the one after it.
            let Some(mut next) = last else { continue };
            let mut column = target;
            while next != row {
                let own = self.column_of[next];
                self.assign(next, column);
                column = own;
                next = from[next];
            }
            self.assign(row, column);
        }
    }
}

#[inline(always)]
fn lower(least: &mut [f64], row: &[f64], sign: f64) {
    for (least, cost) in least.iter_mut().zip(row) {
        let cost = sign * cost;
        *least = if cost < *least { cost } else { *least };
    }
}

#[inline(always)]
fn two_least(row: &[f64], v: &[f64], sign: f64) -> Least {
    let (mut first, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
    let mut at = [0_u64; LANES];
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
        }
        base += LANES as u64;
    }
    let mut least = Least { first: f64::INFINITY, second: f64::INFINITY, column: 0 };
    let mut take = |value: f64, column: usize| {
        if value < least.first || (value == least.first && column < least.column) {
            least.second = least.first;
            least.first = value;
            least.column = column;
        } else if value < least.second {
            least.second = value;
        }
    };
    for lane in 0..LANES {
        if first[lane] < f64::INFINITY {
            take(first[lane], at[lane] as usize + lane);
        }
    }
    for column in whole..row.len() {
        take(sign * row[column] - v[column], column);
    }
    let rest = second.iter().fold(f64::INFINITY, |least, value| least.min(*value));
    least.second = least.second.min(rest);
    least
}

/// Lowers open distances through a row; returns the least of them, and where. `limit` is v, or −∞ for columns that are done.
#[inline(always)]
fn relax(
    row: &[f64],
    sign: f64,
    limit: &[f64],
    shift: f64,
    from: u64,
    open: &mut [f64],
    parent: &mut [u64],
) -> (f64, usize) {
    let (mut least, mut at) = ([f64::INFINITY; LANES], [0_u64; LANES]);
    let whole = row.len() / LANES * LANES;
    let (head, tail) = row.split_at(whole);
    let (open_head, open_tail) = open.split_at_mut(whole);
    let (parent_head, parent_tail) = parent.split_at_mut(whole);
    let chunks = head.chunks_exact(LANES).zip(limit[..whole].chunks_exact(LANES));
    let chunks = chunks.zip(open_head.chunks_exact_mut(LANES)).zip(parent_head.chunks_exact_mut(LANES));
    let mut base = 0_u64;
    for (((costs, limits), open), parent) in chunks {
        for lane in 0..LANES {
            let value = (sign * costs[lane] - limits[lane]) + shift;
            let less = value < open[lane];
            open[lane] = if less { value } else { open[lane] };
            parent[lane] = if less { from } else { parent[lane] };
            let less = open[lane] < least[lane];
            at[lane] = if less { base } else { at[lane] };
            least[lane] = if less { open[lane] } else { least[lane] };
        }
        base += LANES as u64;
    }
    let (mut all, mut column) = (f64::INFINITY, 0);
    for lane in 0..LANES {
        if least[lane] < all {
            (all, column) = (least[lane], at[lane] as usize + lane);
        }
    }
    for (index, cost) in tail.iter().enumerate() {
        let value = (sign * cost - limit[whole + index]) + shift;
        if value < open_tail[index] {
            open_tail[index] = value;
            parent_tail[index] = from;
        }
        if open_tail[index] < all {
            (all, column) = (open_tail[index], whole + index);
        }
    }
    (all, column)
}

/// The largest magnitude of some values; NaN if one is not finite.
#[inline(always)]
pub(super) fn scale(values: &[f64]) -> f64 {
    let (mut most, mut wrong) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let value = chunk[lane].abs();
            wrong[lane] += value * 0.0;
            most[lane] = if value > most[lane] { value } else { most[lane] };
        }
    }
    let mut all = 0.0_f64;
    for value in most.iter().chain(rest) {
        all = all.max(value.abs());
    }
    all + wrong.iter().sum::<f64>() + rest.iter().map(|value| value * 0.0).sum::<f64>()
}
