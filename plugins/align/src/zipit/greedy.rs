//! The greedy merge of similar units: which of all models' units become one.
//!
//! The most similar pair i < j becomes one column in place of i; its similarity to any other is the lesser of the two times α. Row maxima
//! above the diagonal are kept, so a merge costs O(n) but for the rows whose best partner has gone, and the whole about O(n²).

use std::ops::Range;

/// What is merged, until when.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    /// The units of each model among all: ranges behind each other from 0.
    pub models: &'a [Range<usize>],
    /// Columns that are left in the end.
    pub target: usize,
    /// Factor on the similarities of a merged column, 0..=1. With 0 a unit is merged once.
    pub alpha: f64,
    /// How many pairs of one model may be merged, for each model. A merged column counts as one of its first unit's model.
    pub budgets: &'a [usize],
}

/// What was merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The units of each column that is left, ascending; columns in the order of their first units.
    pub clusters: Vec<Vec<usize>>,
    /// Each merge: places of the two among the columns at that time, and their similarity.
    pub merges: Vec<(usize, usize, f64)>,
}

/// Merges until `target` columns are left. `None` if no pair may be merged any more before that.
///
/// `similarity` is symmetric, n by n for n units of all models; its diagonal is not looked at. Values are finite. Of equal similarities the
/// first one, row by row, counts.
#[must_use]
pub fn merge(mut similarity: Vec<f64>, rules: &Rules<'_>) -> Option<Merged> {
    let n = rules.models.last().map_or(0, |last| last.end);
    let mut model_of = vec![0; n];
    for (model, units) in rules.models.iter().enumerate() {
        model_of[units.clone()].fill(model);
    }
    let mut state = State { n, similarity: &mut similarity, alive: vec![true; n], best: vec![None; n] };
    let mut budgets = rules.budgets.to_vec();
    for (units, _) in rules.models.iter().zip(&budgets).filter(|(_, budget)| **budget == 0) {
        state.forbid(&units.clone().collect::<Vec<usize>>());
    }
    (0..n).for_each(|row| state.scan(row));
    let mut clusters: Vec<Vec<usize>> = (0..n).map(|unit| vec![unit]).collect();
    let mut merged = Merged::default();
    for _ in rules.target..n {
        let (i, j, value) = state.most_similar()?;
        let place = |unit: usize| state.alive[..unit].iter().filter(|alive| **alive).count();
        merged.merges.push((place(i), place(j), value));
        let units = std::mem::take(&mut clusters[j]);
        clusters[i].extend(units);
        state.join(i, j, rules.alpha);
        let own = model_of[i];
        if own == model_of[j] && budgets[own] > 0 {
            budgets[own] -= 1;
            if budgets[own] == 0 {
                let units: Vec<usize> =
                    (0..n).filter(|unit| state.alive[*unit] && model_of[*unit] == own).collect();
                state.forbid(&units);
                units.iter().for_each(|unit| state.scan(*unit));
            }
        }
    }
    for cluster in clusters.iter_mut().filter(|cluster| !cluster.is_empty()) {
        cluster.sort_unstable();
        merged.clusters.push(std::mem::take(cluster));
    }
    Some(merged)
}

struct State<'a> {
    n: usize,
    similarity: &'a mut [f64],
    alive: Vec<bool>,
    /// For each living row its most similar later column, the first of several; none if all are forbidden.
    best: Vec<Option<(usize, f64)>>,
}

impl State<'_> {
    fn at(&self, i: usize, j: usize) -> f64 {
        self.similarity[i * self.n + j]
    }

    fn set(&mut self, i: usize, j: usize, value: f64) {
        self.similarity[i * self.n + j] = value;
        self.similarity[j * self.n + i] = value;
    }

    /// No two of these are merged.
    fn forbid(&mut self, units: &[usize]) {
        for (at, i) in units.iter().enumerate() {
            for j in &units[at + 1..] {
                self.set(*i, *j, f64::NEG_INFINITY);
            }
        }
    }

    /// Finds a row's best again.
    fn scan(&mut self, row: usize) {
        self.best[row] = None;
        for column in row + 1..self.n {
            let value = self.at(row, column);
            if self.alive[column]
                && value > f64::NEG_INFINITY
                && self.best[row].is_none_or(|(_, most)| value > most)
            {
                self.best[row] = Some((column, value));
            }
        }
    }

    fn most_similar(&self) -> Option<(usize, usize, f64)> {
        let mut most: Option<(usize, usize, f64)> = None;
        for (row, best) in self.best.iter().enumerate() {
            if let (true, Some((column, value))) = (self.alive[row], *best)
                && most.is_none_or(|(_, _, other)| value > other)
            {
                most = Some((row, column, value));
            }
        }
        most
    }

    /// Column j becomes part of column i < j.
    fn join(&mut self, i: usize, j: usize, alpha: f64) {
        self.alive[j] = false;
        for other in (0..self.n).filter(|other| *other != i && self.alive[*other]).collect::<Vec<usize>>() {
            let least = self.at(other, i).min(self.at(other, j));
            // 0 · −∞ is no number.
            let value = if alpha > 0.0 { least * alpha } else { f64::NEG_INFINITY };
            self.set(other, i, value);
        }
        self.scan(i);
        for row in (0..j).filter(|row| *row != i) {
            if !self.alive[row] {
                continue;
            }
            match self.best[row] {
                Some((column, _)) if column == i || column == j => self.scan(row),
                best if row < i => {
                    // A negative similarity times α has become greater.
                    let value = self.at(row, i);
                    let better =
                        best.is_none_or(|(column, most)| value > most || (value == most && i < column));
                    if better && value > f64::NEG_INFINITY {
                        self.best[row] = Some((i, value));
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
