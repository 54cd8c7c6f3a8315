//! Short lists of the columns that may matter to each row, so that most looks at a row cost twenty values and not all of them.
//!
//! A list holds all columns whose c − v is below its row's bound. Column duals only fall while an assignment is sought, so c − v only
//! grows: what is left out stays at the bound or above. Whatever is found below the bound is therefore exact, and for the rest the whole row is
//! looked at again.

use super::lanes::{self, Least};

/// Most columns of a list.
const MOST: usize = 48;

/// Lists of all rows.
#[derive(Debug, Default)]
pub(super) struct Shortlists {
    /// `MOST` a row, ascending.
    columns: Vec<u32>,
    /// The signed costs there.
    costs: Vec<f64>,
    length: Vec<usize>,
    /// No column that is left out has c − v below this: −∞ for rows without a list.
    bound: Vec<f64>,
    values: Vec<f64>,
    chunks: Vec<u32>,
    found: Vec<u32>,
}

impl Shortlists {
    /// No lists, for as many rows and columns.
    pub(super) fn cleared(mut self, rows: usize, columns: usize) -> Shortlists {
        self.columns.resize(rows * MOST, 0);
        self.costs.resize(rows * MOST, 0.0);
        self.values.resize(columns, 0.0);
        self.length.clear();
        self.length.resize(rows, 0);
        self.bound.clear();
        self.bound.resize(rows, f64::NEG_INFINITY);
        self
    }

    /// Writes a row's list anew; returns its two least values, and whether all are finite. Its own column wins against equal ones.
    pub(super) fn renew(&mut self, row: usize, costs: &[f64], sign: f64, v: &[f64]) -> (Least, bool) {
        let (values, chunks, found) = (&mut self.values, &mut self.chunks, &mut self.found);
        let (mut bound, finite) = crate::simd(
            #[inline(always)]
            || {
                let (bound, finite) = lanes::reduced(costs, v, sign, values);
                lanes::up_to(values, bound, chunks, found);
                (bound, finite)
            },
        );
        if found.len() > MOST {
            found.sort_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
            found.truncate(MOST);
            bound = found.last().map_or(bound, |last| values[*last as usize]);
            found.sort_unstable();
        }
        self.bound[row] = bound;
        self.length[row] = found.len();
        let places = row * MOST..row * MOST + found.len();
        self.columns[places.clone()].copy_from_slice(found);
        let mut least = Least::NONE;
        for (cost, column) in self.costs[places].iter_mut().zip(&*found) {
            let column = *column as usize;
            *cost = sign * costs[column];
            least.take(values[column], column);
        }
        if values.get(row).is_some_and(|own| *own == least.first) {
            least.column = row;
        }
        (least, finite)
    }

    /// The two least values of a row, if its list tells them.
    pub(super) fn least(&self, row: usize, v: &[f64]) -> Option<Least> {
        let (mut first, mut second, mut place) = (f64::INFINITY, f64::INFINITY, 0);
        let mut own = f64::INFINITY;
        // Selections and not branches, which nothing could foresee.
        for (column, cost) in self.of(row) {
            let value = cost - v[column];
            let less = value < first;
            let other = if less { first } else { value };
            second = if other < second { other } else { second };
            place = if less { column } else { place };
            first = if less { value } else { first };
            own = if column == row { value } else { own };
        }
        let mut least = Least { first, second, column: place };
        if own == least.first {
            least.column = row;
        }
        (least.second <= self.bound[row]).then_some(least)
    }

    /// Below what nothing is left out.
    pub(super) fn bound(&self, row: usize) -> f64 {
        self.bound[row]
    }

    /// The columns of a row, with their costs.
    pub(super) fn of(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        let places = row * MOST..row * MOST + self.length[row];
        let columns = self.columns[places.clone()].iter().map(|column| *column as usize);
        columns.zip(self.costs[places].iter().copied())
    }
}
