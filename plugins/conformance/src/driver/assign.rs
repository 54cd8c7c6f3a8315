//! Exact linear assignment for the kit's `fusion.assign/1`: shortest augmenting paths with potentials (Crouse, 2016), n³.

/// The cheapest column for each row, `None` for rows without one. `cost` is row-major, `rows` by `cols`.
pub(super) fn solve(cost: &[f64], rows: usize, cols: usize) -> Vec<Option<usize>> {
    if rows > cols {
        let turned: Vec<f64> =
            (0..cols).flat_map(|col| (0..rows).map(move |row| cost[row * cols + col])).collect();
        let mut of_row = vec![None; rows];
        for (col, row) in solve(&turned, cols, rows).into_iter().enumerate() {
            if let Some(row) = row {
                of_row[row] = Some(col);
            }
        }
        return of_row;
    }
    let mut row_of: Vec<Option<usize>> = vec![None; cols];
    let (mut u, mut v) = (vec![0.0; rows], vec![0.0; cols]);
    for start in 0..rows {
        let mut reach = vec![f64::INFINITY; cols];
        let mut from = vec![None; cols];
        let mut done = vec![false; cols];
        let mut row = start;
        let mut last = None;
        let mut at = 0.0;
        let end = loop {
            let mut next = None;
            for col in (0..cols).filter(|&col| !done[col]) {
                let through = at + cost[row * cols + col] - u[row] - v[col];
                if through < reach[col] {
                    (reach[col], from[col]) = (through, last);
                }
                if next.is_none_or(|best: usize| reach[col] < reach[best]) {
                    next = Some(col);
                }
            }
            let Some(col) = next else { break None };
            at = reach[col];
            done[col] = true;
            last = Some(col);
            match row_of[col] {
                Some(taken) => row = taken,
                None => break Some(col),
            }
        };
        u[start] += at;
        for col in (0..cols).filter(|&col| done[col]) {
            if let Some(taken) = row_of[col] {
                u[taken] += at - reach[col];
            }
            v[col] -= at - reach[col];
        }
        let mut col = end;
        while let Some(at) = col {
            let before: Option<usize> = from[at];
            row_of[at] = before.map_or(Some(start), |before| row_of[before]);
            col = before;
        }
    }
    let mut of_row = vec![None; rows];
    for (col, row) in row_of.into_iter().enumerate() {
        if let Some(row) = row {
            of_row[row] = Some(col);
        }
    }
    of_row
}

#[cfg(test)]
mod tests {
    use fusion_sdk::rng::Key;

    use super::solve;

    /// The cheapest of all assignments, by trying them.
    fn best(cost: &[f64], rows: usize, cols: usize, row: usize, used: &mut Vec<bool>) -> f64 {
        if row == rows {
            return 0.0;
        }
        let mut least = f64::INFINITY;
        for col in 0..cols {
            if !used[col] {
                used[col] = true;
                least = least.min(cost[row * cols + col] + best(cost, rows, cols, row + 1, used));
                used[col] = false;
            }
        }
        least
    }

    #[test]
    fn assignments_are_the_cheapest() {
        for case in 0..200_u64 {
            let key = Key::new(case, "assign", 0);
            let (rows, cols) = (1 + (case % 5) as usize, 1 + (case / 5 % 6) as usize);
            let cost: Vec<f64> = (0..(rows * cols) as u64).map(|i| f64::from(key.uniform(i)) - 0.5).collect();
            let found = solve(&cost, rows, cols);
            let sum: f64 =
                found.iter().enumerate().filter_map(|(row, col)| Some(cost[row * cols + (*col)?])).sum();
            let mut columns: Vec<usize> = found.iter().flatten().copied().collect();
            columns.sort_unstable();
            columns.dedup();
            assert_eq!(columns.len(), rows.min(cols), "case {case}");
            if rows <= cols {
                let least = best(&cost, rows, cols, 0, &mut vec![false; cols]);
                assert!((sum - least).abs() < 1e-9, "case {case}: {sum} is not {least}");
            }
        }
    }
}
