//! Exact assignment: which unit of one model goes with which unit of another, at the least total cost.
//!
//! Column and row reduction (Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
//! problems", 1987) and shortest augmenting paths for the rows that are left: O(rows² · columns) for rows ≤ columns, and near rows ·
//! columns on the costs of alignment; large problems look at short lists of columns, which lose nothing (`shortlist`). Everything is f64 and in a fixed order, so the same costs give the same assignment everywhere. Where
//! several assignments are best, rows keep their own column as far as a swap or a cycle of equal worth leads there, so that equal costs, and
//! a model matched with itself, give the identity.

mod home;
mod lanes;
mod shortlist;
mod solver;

use shortlist::Shortlists;
use solver::{Costs, Solver};

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

/// Memory that assignments one after another use again. It has no part in what they find.
#[derive(Debug, Default)]
pub struct Room(Option<Shortlists>);

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
    length(cost, rows, columns)?;
    let sign = sign(maximise);
    if rows <= columns {
        let costs = Costs { values: cost, rows, columns, sign };
        let found = assigned(costs).ok_or_else(|| not_finite(cost, columns))?;
        return Ok(found.into_iter().map(Some).collect());
    }
    let mut turned = Vec::with_capacity(cost.len());
    for column in 0..columns {
        turned.extend((0..rows).map(|row| cost[row * columns + column]));
    }
    let mut result = vec![None; rows];
    let costs = Costs { values: &turned, rows: columns, columns: rows, sign };
    let found = assigned(costs).ok_or_else(|| not_finite(cost, columns))?;
    for (column, row) in found.into_iter().enumerate() {
        result[row] = Some(column);
    }
    Ok(result)
}

/// The same for `size` by `size` costs, from the duals of costs like these: what a search that solves one node again and again saves most of
/// its time by. `duals` is replaced by this problem's; a vector of another length counts as none. After an error there are none.
///
/// The total is the optimum for any duals. Where several assignments are best, which one is found may depend on them, but for the preference of
/// the identity.
///
/// # Errors
/// See [`AssignError`].
pub fn solve_again(
    cost: &[f64],
    size: usize,
    maximise: bool,
    duals: &mut Vec<f64>,
    room: &mut Room,
) -> Result<Vec<usize>, AssignError> {
    length(cost, size, size)?;
    let costs = Costs { values: cost, rows: size, columns: size, sign: sign(maximise) };
    let lists = room.0.take();
    let mut solver;
    if duals.len() == size && duals.iter().all(|dual| dual.is_finite()) {
        solver = Solver::new(costs, std::mem::take(duals), lists);
        solver.solve_again();
    } else {
        solver = Solver::new(costs, Solver::column_minima(costs), lists);
        solver.solve();
    }
    if !solver.finite {
        return Err(not_finite(cost, size));
    }
    solver.toward_identity();
    *duals = solver.v;
    room.0 = solver.lists;
    Ok(solver.column_of)
}

/// The column of each row, for rows ≤ columns; none if a cost is not finite.
fn assigned(costs: Costs<'_>) -> Option<Vec<usize>> {
    let duals = match costs.rows == costs.columns {
        true => Solver::column_minima(costs),
        false => vec![0.0; costs.columns],
    };
    let mut solver = Solver::new(costs, duals, None);
    solver.solve();
    if !solver.finite {
        return None;
    }
    solver.toward_identity();
    Some(solver.column_of)
}

fn length(cost: &[f64], rows: usize, columns: usize) -> Result<(), AssignError> {
    match rows.checked_mul(columns) == Some(cost.len()) {
        true => Ok(()),
        false => Err(AssignError::Length { found: cost.len(), rows, columns }),
    }
}

/// The first cost that is not finite.
fn not_finite(cost: &[f64], columns: usize) -> AssignError {
    let at = cost.iter().position(|value| !value.is_finite()).unwrap_or(0);
    AssignError::NotFinite { row: at / columns, column: at % columns }
}

const fn sign(maximise: bool) -> f64 {
    if maximise { -1.0 } else { 1.0 }
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

    /// T(seed, shape) of the notes: SplitMix64, uniform in [−1, 1).
    fn table(seed: u64, n: usize) -> Vec<f64> {
        let draw = |i: u64| {
            let x = ((seed << 32) + i).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            2.0 * (((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64) - 1.0
        };
        (0..n as u64).map(draw).collect()
    }

    fn total(cost: &[f64], columns: usize, found: &[Option<usize>]) -> f64 {
        let each = found.iter().enumerate();
        each.filter_map(|(row, column)| column.map(|column| cost[row * columns + column])).sum()
    }

    /// The notes' O4, computed with scipy; twelve digits are given.
    #[test]
    fn totals_are_those_of_scipy() {
        let cases = [
            (7, 5, 3.082678028236, -2.678867714340),
            (8, 16, 12.586641774858, -12.536390995704),
            (9, 64, 61.435193504856, -60.934891373676),
            (10, 128, 124.775813297797, -124.501872294596),
        ];
        for (seed, n, most, least) in cases {
            let cost = table(seed, n * n);
            for (maximise, wanted) in [(true, most), (false, least)] {
                let found = solve(&cost, n, n, maximise).unwrap();
                assert!((total(&cost, n, &found) - wanted).abs() < 1e-12, "{n}");
            }
            let found: Vec<usize> = solve(&cost, n, n, true).unwrap().into_iter().flatten().collect();
            let weighted: usize = found.iter().enumerate().map(|(row, column)| row * column).sum();
            match n {
                5 => assert_eq!(found, [3, 0, 2, 1, 4]),
                16 => assert_eq!(found, [0, 9, 14, 6, 5, 2, 15, 7, 12, 4, 11, 10, 1, 8, 3, 13]),
                64 => assert_eq!(weighted, 65_228),
                _ => assert_eq!(weighted, 524_964),
            }
        }
        let cost = table(11, 28);
        let found = solve(&cost, 4, 7, true).unwrap();
        assert!((total(&cost, 7, &found) - 3.064534279310).abs() < 1e-12);
        assert_eq!(found, [0, 4, 2, 1].map(Some));
    }

    /// Duals of any other problem lead to the same optimum.
    #[test]
    fn a_warm_start_changes_nothing_but_the_time() {
        let n = 40;
        let (mut duals, mut room) = (Vec::new(), Room::default());
        for seed in 0..20 {
            let cost = table(seed, n * n);
            let cold = solve(&cost, n, n, seed % 2 == 0).unwrap();
            let warm = solve_again(&cost, n, seed % 2 == 0, &mut duals, &mut room).unwrap();
            assert_eq!(warm.into_iter().map(Some).collect::<Vec<_>>(), cold);
        }
    }

    /// Costs that are large enough for short lists of columns: drawn alone, products of vectors, of few values, all equal, of rank 1, of one
    /// planted permutation, and with rows and columns many times.
    fn large(n: usize) -> Vec<(&'static str, Vec<f64>)> {
        let gram = |other: u64| {
            let (a, b) = (table(1, n * 8), table(other, n * 8));
            let product = move |x: usize, y: usize| (0..8).map(|k| a[x * 8 + k] * b[y * 8 + k]).sum::<f64>();
            (0..n * n).map(|at| product(at / n, at % n)).collect::<Vec<f64>>()
        };
        let own = gram(1);
        let turned = (0..n * n).map(|at| own[at / n * n + (at % n + 7) % n]).collect();
        let one = table(3, n);
        vec![
            ("random", table(4, n * n)),
            ("products", gram(2)),
            ("with itself", own),
            ("planted", turned),
            ("few values", table(5, n * n).iter().map(|value| (4.0 * value).round()).collect()),
            ("equal", vec![2.5; n * n]),
            ("zero", vec![0.0; n * n]),
            ("rank 1", (0..n * n).map(|at| one[at / n] * one[at % n]).collect()),
            ("repeated", (0..n * n).map(|at| one[at / n % 5] * one[at % n % 7]).collect()),
            ("wide range", table(6, n * n).iter().map(|value| value.powi(9) * 1e6).collect()),
        ]
    }

    /// Duals that leave no reduced cost below 0, with all assigned pairs at 0, prove an optimum. Cold and warm, from the duals of each other
    /// problem, in both directions; the same assignment where only one is best, or where ties go home.
    #[test]
    fn long_rows_are_proved_by_their_duals() {
        let n = 200;
        let problems = large(n);
        for maximise in [false, true] {
            let sign = sign(maximise);
            let (mut duals, mut room) = (Vec::new(), Room::default());
            for (name, cost) in problems.iter().chain(problems.iter().rev()) {
                let largest = cost.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                let cold = solve(cost, n, n, maximise).unwrap();
                let warm = solve_again(cost, n, maximise, &mut duals, &mut room).unwrap();
                let mut columns = warm.clone();
                columns.sort_unstable();
                assert!(columns.into_iter().eq(0..n), "{name}");
                for row in 0..n {
                    let at = |column: usize| sign * cost[row * n + column] - duals[column];
                    let own = at(warm[row]);
                    // Duals are differences of costs: rounded a few times.
                    assert!((0..n).all(|column| at(column) >= own - 1e-12 * largest), "{name} {row}");
                }
                let warm: Vec<Option<usize>> = warm.into_iter().map(Some).collect();
                let (one, other) = (total(cost, n, &cold), total(cost, n, &warm));
                assert!((one - other).abs() <= 1e-12 * largest * n as f64, "{name}: {one} {other}");
                match *name {
                    "random" | "products" => assert_eq!(cold, warm, "{name}"),
                    "equal" | "zero" => assert!(warm.into_iter().eq((0..n).map(Some)), "{name}"),
                    "with itself" if maximise => assert!(warm.into_iter().eq((0..n).map(Some))),
                    "planted" if maximise => {
                        assert!(warm.into_iter().eq((0..n).map(|row| Some((row + n - 7) % n))));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Memory of a larger problem, and of a smaller one, tells nothing of the next.
    #[test]
    fn room_is_for_any_size() {
        let mut room = Room::default();
        for n in [230, 200, 260, 10, 200] {
            let cost = table(n as u64, n * n);
            let found = solve_again(&cost, n, true, &mut Vec::new(), &mut room).unwrap();
            assert_eq!(found.into_iter().map(Some).collect::<Vec<_>>(), solve(&cost, n, n, true).unwrap());
        }
    }

    #[test]
    fn a_long_row_that_is_not_finite_is_named_and_leaves_no_duals() {
        let n = 200;
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut cost = table(1, n * n);
            let (mut duals, mut room) = (Vec::new(), Room::default());
            solve_again(&cost, n, false, &mut duals, &mut room).unwrap();
            cost[150 * n + 199] = wrong;
            let error = AssignError::NotFinite { row: 150, column: 199 };
            assert_eq!(solve(&cost, n, n, true), Err(error.clone()));
            assert_eq!(solve_again(&cost, n, false, &mut duals, &mut room), Err(error));
            assert!(duals.is_empty());
        }
    }

    /// Costs of few values have many best assignments: what is found has the most that no swap could bring home, and whole numbers are exact.
    #[test]
    fn rows_keep_their_column_where_that_costs_nothing() {
        // Units 1 and 3 are equal, and so are dead units 4 and 5; a Gram matrix prefers none.
        let units = [[1.0, 2.0], [3.0, 1.0], [2.0, 2.0], [3.0, 1.0], [0.0, 0.0], [0.0, 0.0]];
        let gram: Vec<f64> =
            units.iter().flat_map(|a| units.iter().map(move |b| a[0] * b[0] + a[1] * b[1])).collect();
        assert_eq!(solve(&gram, 6, 6, true).unwrap(), [0, 1, 2, 3, 4, 5].map(Some));
        // The same with the model's units in another order: distances are least for the pairs, and ties go home.
        let order = [3, 4, 2, 1, 0, 5];
        let moved: Vec<f64> = units
            .iter()
            .flat_map(|a| order.map(|b| -(a[0] - units[b][0]).powi(2) - (a[1] - units[b][1]).powi(2)))
            .collect();
        assert_eq!(solve(&moved, 6, 6, true).unwrap(), [4, 0, 2, 3, 1, 5].map(Some));
        // A cycle of three that can be closed at no cost.
        let cost = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0];
        assert_eq!(solve(&cost, 3, 3, true).unwrap(), [0, 1, 2].map(Some));
    }
}
