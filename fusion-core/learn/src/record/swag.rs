//! `swag`: moments of a Gaussian over the weights (Maddox et al., "A Simple Baseline for Bayesian Uncertainty", 2019).
//!
//! Mean and variance by Welford's rule in f64: the reference's Σθ²/n − θ̄² in f32 cancels where the variance is small against the mean.
//! The variance is the population's (divisor n), as there. A deviation is θ − θ̄ with the mean *after* it has taken in θ.
//!
//! What comes out, in this order: mean, variance, deviations from the oldest to the newest. `Geometry::Gaussian` reads it so.

use std::collections::VecDeque;

use fusion_network::Flat;
use fusion_sdk::{MethodError, simd};

use super::{Recorder, Saved, Seen, When, fit, nothing, number};

pub(crate) struct Swag {
    when: When,
    rank: usize,
    count: u64,
    mean: Vec<f64>,
    /// Σ (θ − θ̄)².
    squares: Vec<f64>,
    deviations: VecDeque<Vec<f32>>,
    statistics: Vec<f32>,
}

impl Swag {
    pub(crate) fn new(when: When, rank: usize) -> Self {
        Swag {
            when,
            rank,
            count: 0,
            mean: Vec::new(),
            squares: Vec::new(),
            deviations: VecDeque::new(),
            statistics: Vec::new(),
        }
    }
}

impl Recorder for Swag {
    fn due(&self, done: u64) -> bool {
        self.when.due(done)
    }

    fn record(&mut self, seen: Seen<'_>) {
        let n = seen.weights.len();
        self.mean.resize(n, 0.0);
        self.squares.resize(n, 0.0);
        let mut newest = match self.deviations.len() >= self.rank {
            true => self.deviations.pop_front().unwrap_or_default(),
            false => Vec::new(),
        };
        newest.resize(n, 0.0);
        self.count += 1;
        let count = self.count as f64;
        let (mean, squares, deviation) = (&mut self.mean, &mut self.squares, &mut newest);
        simd(
            #[inline(always)]
            || {
                for (((mean, squares), deviation), &w) in
                    mean.iter_mut().zip(squares).zip(deviation).zip(seen.weights)
                {
                    let before = f64::from(w) - *mean;
                    *mean += before / count;
                    let after = f64::from(w) - *mean;
                    *squares += before * after;
                    *deviation = after as f32;
                }
            },
        );
        self.deviations.push_back(newest);
        self.statistics.clear();
        self.statistics.extend_from_slice(seen.statistics);
    }

    fn finish(&mut self) -> Result<Vec<Flat>, MethodError> {
        if self.count == 0 {
            return Err(nothing("swag"));
        }
        let moments = [fit::mean(&self.mean, 1), fit::mean(&self.squares, self.count)];
        let flat = |weights| Flat { weights, statistics: self.statistics.clone() };
        Ok(moments.into_iter().chain(std::mem::take(&mut self.deviations)).map(flat).collect())
    }

    fn save(&self) -> Saved<'_> {
        let vectors = [&self.statistics].into_iter().chain(&self.deviations);
        Saved {
            numbers: serde_json::json!({ "count": self.count }),
            singles: vectors.map(|vector| (&vector[..]).into()).collect(),
            doubles: vec![(&self.mean[..]).into(), (&self.squares[..]).into()],
        }
    }

    fn load(&mut self, saved: Saved<'static>) -> Result<(), String> {
        self.count = number(&saved, "count")?;
        let [mean, squares] = fit::exactly(saved.doubles)?;
        (self.mean, self.squares) = (mean.into_owned(), squares.into_owned());
        let mut singles = saved.singles.into_iter().map(std::borrow::Cow::into_owned);
        self.statistics = singles.next().ok_or("the statistics are missing")?;
        self.deviations = singles.collect();
        Ok(())
    }
}
