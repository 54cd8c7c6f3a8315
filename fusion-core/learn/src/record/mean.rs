//! `swa` and `lawa`: means of weights.

use std::collections::VecDeque;

use fusion_network::Flat;
use fusion_sdk::MethodError;

use super::{Recorder, Saved, Seen, When, fit, nothing, number, snapshots};

/// SWA: θ̄ = (1/n) Σ θᵢ over all records (Izmailov et al., 2018), as a sum in f64 that is divided once.
pub(crate) struct Mean {
    when: When,
    count: u64,
    sum: Vec<f64>,
    statistics: Vec<f32>,
}

impl Mean {
    pub(crate) fn new(when: When) -> Self {
        Mean { when, count: 0, sum: Vec::new(), statistics: Vec::new() }
    }
}

impl Recorder for Mean {
    fn due(&self, done: u64) -> bool {
        self.when.due(done)
    }

    fn record(&mut self, seen: Seen<'_>) {
        fit::add(&mut self.sum, seen.weights);
        self.statistics.clear();
        self.statistics.extend_from_slice(seen.statistics);
        self.count += 1;
    }

    fn finish(&mut self) -> Result<Vec<Flat>, MethodError> {
        match self.count {
            0 => Err(nothing("swa")),
            count => Ok(vec![Flat {
                weights: fit::mean(&self.sum, count),
                statistics: std::mem::take(&mut self.statistics),
            }]),
        }
    }

    fn save(&self) -> Saved<'_> {
        Saved {
            numbers: serde_json::json!({ "count": self.count }),
            singles: vec![(&self.statistics[..]).into()],
            doubles: vec![(&self.sum[..]).into()],
        }
    }

    fn load(&mut self, saved: Saved<'static>) -> Result<(), String> {
        self.count = number(&saved, "count")?;
        let [statistics] = fit::exactly(saved.singles)?;
        let [sum] = fit::exactly(saved.doubles)?;
        (self.statistics, self.sum) = (statistics.into_owned(), sum.into_owned());
        Ok(())
    }
}

/// LAWA: the mean of the newest k records (Kaddour, "Stop wasting my time!", 2022).
pub(crate) struct Window {
    when: When,
    most: usize,
    kept: VecDeque<Flat>,
}

impl Window {
    pub(crate) fn new(when: When, most: usize) -> Self {
        Window { when, most, kept: VecDeque::new() }
    }
}

/// The mean of some models, in f64, with the statistics of the last; `None` of none.
pub(crate) fn mean_of(models: &VecDeque<Flat>) -> Option<Flat> {
    let last = models.back()?;
    let mut sum = Vec::new();
    for flat in models {
        fit::add(&mut sum, &flat.weights);
    }
    Some(Flat { weights: fit::mean(&sum, models.len() as u64), statistics: last.statistics.clone() })
}

impl Recorder for Window {
    fn due(&self, done: u64) -> bool {
        self.when.due(done)
    }

    fn record(&mut self, seen: Seen<'_>) {
        snapshots::push(&mut self.kept, self.most, seen);
    }

    fn finish(&mut self) -> Result<Vec<Flat>, MethodError> {
        mean_of(&self.kept).map(|mean| vec![mean]).ok_or_else(|| nothing("lawa"))
    }

    fn save(&self) -> Saved<'_> {
        Saved { singles: snapshots::saved(&self.kept), ..Saved::default() }
    }

    fn load(&mut self, saved: Saved<'static>) -> Result<(), String> {
        fit::none(&saved.doubles)?;
        self.kept = snapshots::loaded(saved.singles)?;
        Ok(())
    }
}
