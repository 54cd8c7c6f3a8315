//! Which of several best assignments is taken: the one nearer to the identity.

use super::solver::{FREE, Solver};

impl Solver<'_> {
    /// Puts rows on their own columns where that costs nothing: along cycles of the edges that are as good as those taken.
    pub(super) fn toward_identity(&mut self) {
        let (rows, columns) = (self.costs.rows, self.costs.columns);
        let u: Vec<f64> = (0..rows)
            .map(|row| self.costs.at(row, self.column_of[row]) - self.v[self.column_of[row]])
            .collect();
        let largest = |duals: &[f64]| duals.iter().fold(0.0_f64, |most, dual| most.max(dual.abs()));
        let tolerance = 1e-13 * (largest(&u) + largest(&self.v));
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
