//! Exact assignment: which unit of one model goes with which unit of another, at the least total cost.
//!
//! The shortest augmenting path method for rectangular costs (Crouse, "On implementing 2D rectangular assignment algorithms", 2016), as
//! in scipy's `linear_sum_assignment`: O(rows² · columns) for rows ≤ columns. Everything is f64 and in a fixed order, so the same costs
//! give the same assignment everywhere; where several are best, equal costs give the identity.

/// Costs that cannot be assigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// The slice is not rows × columns long.
    #[error("{found} costs were given for {rows} rows and {columns} columns")]
    Length {
        /// Costs.
        found: usize,
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// A cost is NaN or infinite.
    #[error("the cost of row {row} and column {column} is not finite")]
    NotFinite {
        /// Row.
        row: usize,
        /// Column.
        column: usize,
    },
}

/// The column of each row (`None` for rows without one, where there are fewer columns than rows) that minimises Σ cost, or maximises it.
///
/// `cost` is row-major, `rows` by `columns`. No rows or no columns give no assignment.
///
/// # Errors
/// See [`AssignError`].
pub fn solve(
    cost: &[f64],
    rows: usize,
    columns: usize,
    maximise: bool,
) -> Result<Vec<Option<usize>>, AssignError> {
    if rows.checked_mul(columns) != Some(cost.len()) {
        return Err(AssignError::Length { found: cost.len(), rows, columns });
    }
    if let Some(at) = cost.iter().position(|value| !value.is_finite()) {
        return Err(AssignError::NotFinite { row: at / columns, column: at % columns });
    }
    let sign = if maximise { -1.0 } else { 1.0 };
    if rows <= columns {
        let found = wide(rows, columns, |row, column| sign * cost[row * columns + column]);
        return Ok(found.into_iter().map(Some).collect());
    }
    let found = wide(columns, rows, |row, column| sign * cost[column * columns + row]);
    let mut result = vec![None; rows];
    for (column, row) in found.into_iter().enumerate() {
        result[row] = Some(column);
    }
    Ok(result)
}

/// No partner.
const FREE: usize = usize::MAX;

/// The column of each row, for rows ≤ columns.
fn wide(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let (mut of_rows, mut of_columns) = (vec![0.0; rows], vec![0.0; columns]); // dual variables
    let (mut column_of, mut row_of) = (vec![FREE; rows], vec![FREE; columns]);
    let (mut shortest, mut path) = (vec![0.0; columns], vec![FREE; columns]);
    let mut remaining: Vec<usize> = Vec::with_capacity(columns);
    for start in 0..rows {
        // Dijkstra from `start` to the nearest free column.
        remaining.clear();
        remaining.extend((0..columns).rev()); // so that equal costs give the identity
        shortest.fill(f64::INFINITY);
        let (mut seen_rows, mut seen_columns) = (vec![start], Vec::new());
        let (mut least, mut row) = (0.0, start);
        let sink = loop {
            let (mut next, mut lowest) = (0, f64::INFINITY);
            for (at, &column) in remaining.iter().enumerate() {
                let length = least + cost(row, column) - of_rows[row] - of_columns[column];
                if length < shortest[column] {
                    path[column] = row;
                    shortest[column] = length;
                }
                if shortest[column] < lowest || (shortest[column] == lowest && row_of[column] == FREE) {
                    lowest = shortest[column];
                    next = at;
                }
            }
            least = lowest;
            let column = remaining.swap_remove(next);
            seen_columns.push(column);
            if row_of[column] == FREE {
                break column;
            }
            row = row_of[column];
            seen_rows.push(row);
        };
        of_rows[start] += least;
        for &row in &seen_rows[1..] {
            of_rows[row] += least - shortest[column_of[row]];
        }
        for &column in &seen_columns {
            of_columns[column] -= least - shortest[column];
        }
        // Turn the path round.
        let mut column = sink;
        loop {
            let row = path[column];
            row_of[column] = row;
            column = std::mem::replace(&mut column_of[row], column);
            if row == start {
                break;
            }
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    /// The least total over all injections, by trying each.
    fn brute(cost: &[f64], rows: usize, columns: usize) -> f64 {
        fn go(
            cost: &[f64],
            rows: usize,
            columns: usize,
            row: usize,
            used: &mut Vec<bool>,
            left: usize,
        ) -> f64 {
            if row == rows {
                return if left == 0 { 0.0 } else { f64::INFINITY };
            }
            let mut best = f64::INFINITY;
            if rows - row > left {
                best = go(cost, rows, columns, row + 1, used, left);
            }
            for column in 0..columns {
                if left > 0 && !used[column] {
                    used[column] = true;
                    let rest = go(cost, rows, columns, row + 1, used, left - 1);
                    best = best.min(cost[row * columns + column] + rest);
                    used[column] = false;
                }
            }
            best
        }
        go(cost, rows, columns, 0, &mut vec![false; columns], rows.min(columns))
    }

    /// Small whole numbers are exact in f64, so the totals are compared for equality.
    #[test]
    fn totals_are_those_of_all_tried() {
        for (case, (rows, columns)) in
            [(1, 1), (2, 2), (3, 3), (5, 5), (6, 6), (3, 6), (6, 3), (1, 5), (5, 1)].into_iter().enumerate()
        {
            for round in 0..20 {
                let key = Key::new(round, "assign", case as u64);
                let cost: Vec<f64> =
                    (0..rows * columns).map(|i| f64::from(key.bits(i as u64) % 17) - 8.0).collect();
                for maximise in [false, true] {
                    let found = solve(&cost, rows, columns, maximise).unwrap();
                    let mut used = vec![false; columns];
                    let mut total = 0.0;
                    for (row, column) in found.iter().enumerate() {
                        if let Some(column) = *column {
                            assert!(!std::mem::replace(&mut used[column], true), "column {column} twice");
                            total += cost[row * columns + column];
                        }
                    }
                    assert_eq!(found.iter().flatten().count(), rows.min(columns));
                    let negated: Vec<f64> = cost.iter().map(|c| -c).collect();
                    let best =
                        if maximise { -brute(&negated, rows, columns) } else { brute(&cost, rows, columns) };
                    assert_eq!(total, best, "{rows} x {columns}, {cost:?}");
                }
            }
        }
    }

    #[test]
    fn equal_costs_give_the_identity_and_bad_ones_an_error() {
        let identity: Vec<Option<usize>> = (0..7).map(Some).collect();
        assert_eq!(solve(&[2.5; 49], 7, 7, true).unwrap(), identity);
        assert_eq!(solve(&[], 0, 3, false).unwrap(), []);
        assert_eq!(solve(&[], 3, 0, false).unwrap(), [None; 3]);
        assert_eq!(solve(&[1.0], 2, 1, false), Err(AssignError::Length { found: 1, rows: 2, columns: 1 }));
        assert_eq!(
            solve(&[0.0, 1.0, f64::NAN, 0.0], 2, 2, false),
            Err(AssignError::NotFinite { row: 1, column: 0 })
        );
    }
}
