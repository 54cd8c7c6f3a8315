//! The search itself: Jonker and Volgenant's initialisation, then shortest augmenting paths, on short lists of columns (`shortlist`) where
//! there are many.
//!
//! Duals u, v with c[i, j] − u[i] − v[j] ≥ 0 everywhere, = 0 where assigned. Any v is a start: u[i] = min_j (c[i, j] − v[j]). For more columns
//! than rows v must be 0 in columns without a row and ≤ 0 elsewhere; all steps keep that, since they only lower v, and never free a column.

use super::lanes::{self, Least};
use super::shortlist::Shortlists;

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

impl<'a> Costs<'a> {
    fn row(self, row: usize) -> &'a [f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.sign * self.values[row * self.columns + column]
    }
}

/// Columns from which on rows have short lists.
const LISTED: usize = 192;

/// Passes of augmenting row reduction, and rows that one row may displace in a pass, one after another: chains go on for long where costs differ
/// by little, and paths are better then. By whole rows, and by lists.
const PASSES: [(usize, usize); 2] = [(3, 32), (6, 64)];

/// Share of rows without a column after the first look, from which on duals of another problem are no help.
const LOST: usize = 2;

/// A row whose list was used, while a path is sought: columns that are left out are at `from` or farther.
struct Pending {
    from: f64,
    row: usize,
    shift: f64,
}

/// An assignment in the making.
pub(super) struct Solver<'a> {
    pub(super) costs: Costs<'a>,
    pub(super) column_of: Vec<usize>,
    pub(super) row_of: Vec<usize>,
    pub(super) v: Vec<f64>,
    /// Whether all costs are finite. Known once all rows have been looked at.
    pub(super) finite: bool,
    pub(super) lists: Option<Shortlists>,
    // Of the search for a path.
    open: Vec<f64>,
    limit: Vec<f64>,
    parent: Vec<u32>,
    pending: Vec<Pending>,
    floor: f64,
    /// Columns without a row, for rows that are assigned by paths.
    vacant: Vec<usize>,
}

impl<'a> Solver<'a> {
    /// Nothing assigned. `v` is the start of the column duals: for square costs anything, otherwise 0.
    /// `lists` is memory of another one.
    pub(super) fn new(costs: Costs<'a>, v: Vec<f64>, lists: Option<Shortlists>) -> Solver<'a> {
        let columns = costs.columns;
        let lists = (columns >= LISTED).then(|| lists.unwrap_or_default().cleared(costs.rows, columns));
        Solver {
            costs,
            column_of: vec![FREE; costs.rows],
            row_of: vec![FREE; columns],
            v,
            finite: true,
            lists,
            open: vec![0.0; columns],
            limit: vec![0.0; columns],
            parent: vec![0; columns],
            pending: Vec::new(),
            floor: f64::INFINITY,
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
                || lanes::lower(&mut least, own, costs.sign),
            );
        }
        least
    }

    /// Assigns all rows. If a cost is not finite the search is given up.
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

    /// Gives every row its best column, if no row before it has that; the others are returned. Lists are made
    /// of those rows only that are looked at again.
    fn begin(&mut self) -> Vec<usize> {
        let mut free = Vec::new();
        for row in 0..self.costs.rows {
            let (least, finite) = self.whole(row);
            if !finite {
                self.finite = false;
                return Vec::new();
            }
            match self.row_of[least.column] {
                FREE => self.assign(row, least.column),
                _ => free.push(row),
            }
        }
        free
    }

    fn finish(&mut self, mut free: Vec<usize>) {
        if !self.finite {
            return;
        }
        let (passes, chain) = PASSES[usize::from(self.lists.is_some())];
        for _ in 0..passes {
            free = self.reduce(free, chain);
        }
        self.vacant = (0..self.costs.columns).filter(|column| self.row_of[*column] == FREE).collect();
        for row in free {
            self.augment(row);
        }
    }

    pub(super) fn assign(&mut self, row: usize, column: usize) {
        self.row_of[column] = row;
        self.column_of[row] = column;
    }

    /// The two least reduced costs of a row. A row's own column wins against equal ones.
    fn least(&mut self, row: usize) -> Least {
        let listed = self.lists.as_ref().and_then(|lists| lists.least(row, &self.v));
        listed.unwrap_or_else(|| self.renew(row).0)
    }

    /// The same by the whole row, and whether all its costs are finite. Its list is written anew.
    fn renew(&mut self, row: usize) -> (Least, bool) {
        let own = self.costs.row(row);
        match &mut self.lists {
            Some(lists) => lists.renew(row, own, self.costs.sign, &self.v),
            None => self.whole(row),
        }
    }

    /// The same without a list.
    fn whole(&self, row: usize) -> (Least, bool) {
        let own = self.costs.row(row);
        let (mut least, finite) = crate::simd(
            #[inline(always)]
            || lanes::two_least(own, &self.v, self.costs.sign),
        );
        if let Some(v) = self.v.get(row)
            && self.costs.at(row, row) - v == least.first
        {
            least.column = row;
        }
        (least, finite)
    }

    /// Augmenting row reduction: each free row takes its best column and lowers its dual to the second best; the row that had it goes on.
    fn reduce(&mut self, free: Vec<usize>, chain: usize) -> Vec<usize> {
        let mut left = Vec::new();
        for row in free {
            let mut row = row;
            let mut budget = chain;
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
        self.pending.clear();
        self.floor = f64::INFINITY;
        // Columns that are reached, with their distance.
        let mut reached: Vec<(usize, f64)> = Vec::new();
        let (mut row, mut distance) = (start, 0.0);
        let sink = loop {
            // The row's dual is implied: 0 at its own column, or its least for the first row, which shifts all distances alike.
            let shift = match self.column_of[row] {
                FREE => 0.0,
                column => distance - (self.costs.at(row, column) - self.v[column]),
            };
            self.relax(row, shift);
            let (least, column) = self.nearest();
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

    /// Lowers open distances through a row, or its list.
    fn relax(&mut self, row: usize, shift: f64) {
        if self.lists.as_ref().is_none_or(|lists| lists.bound(row) == f64::NEG_INFINITY) {
            self.renew(row);
            self.relax_all(row, shift);
            return;
        }
        let Some(lists) = &self.lists else { return };
        for (column, cost) in lists.of(row) {
            let value = (cost - self.limit[column]) + shift;
            if value < self.open[column] {
                self.open[column] = value;
                self.parent[column] = row as u32;
            }
        }
        let from = lists.bound(row) + shift;
        self.floor = self.floor.min(from);
        self.pending.push(Pending { from, row, shift });
    }

    fn relax_all(&mut self, row: usize, shift: f64) {
        let (own, sign) = (self.costs.row(row), self.costs.sign);
        let (open, limit, parent) = (&mut self.open, &self.limit, &mut self.parent);
        crate::simd(
            #[inline(always)]
            || lanes::relax(own, sign, limit, shift, row as u32, open, parent),
        );
    }

    /// The nearest open column. Rows are looked at as a whole where a column that their lists leave out could be nearer.
    fn nearest(&mut self) -> (f64, usize) {
        loop {
            let open = &self.open;
            let (least, column) = crate::simd(
                #[inline(always)]
                || lanes::least_of(open),
            );
            if self.floor >= least {
                return (least, column);
            }
            let mut at = 0;
            while at < self.pending.len() {
                if self.pending[at].from < least {
                    let Pending { row, shift, .. } = self.pending.swap_remove(at);
                    self.renew(row);
                    self.relax_all(row, shift);
                } else {
                    at += 1;
                }
            }
            self.floor = self.pending.iter().fold(f64::INFINITY, |least, one| least.min(one.from));
        }
    }

    /// A free column at this distance, which ends the search, where there are few to look at.
    fn tied(&self, distance: f64) -> Option<usize> {
        if self.vacant.len() > self.costs.columns / 8 {
            return None;
        }
        self.vacant.iter().copied().find(|column| self.open[*column] == distance)
    }
}
