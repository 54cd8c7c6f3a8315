//! `swad`: the dense mean between the validated start and end of a flat region (Cha et al., "SWAD", 2021, algorithm 1).
//!
//! Validation loss Eᵢ belongs to the end of segment i, the steps since the loss before. With N_s = `converged`, N_e = `patience`,
//! r = `tolerance`:
//! - the start is the end of the first segment s with E_s = min(E_s, …, E_{s+N_s−1}); from then on E is too high above
//!   (1+r)·mean(E_s, …, E_{s+N_s−1});
//! - the end is the first segment e with E_{e+1}, …, E_{e+N_e} all too high; without one it is the end of the training.
//!
//! The mean is over every step of the segments s..=e. Where no start is found, it is that of the last segment, as in the authors' code.
//! Steps after the last validation belong to no segment. Loss values that are NaN count as too high and never as a start.

use std::collections::VecDeque;

use fusion_network::Flat;
use fusion_sdk::MethodError;

use super::params::CollectParams;
use super::{Recorder, Saved, Seen, fit, nothing};

/// The sum over the steps of a segment, with the loss at its end.
#[derive(Clone, Debug, Default)]
struct Segment {
    loss: f64,
    steps: u64,
    sum: Vec<f64>,
}

pub(crate) struct Swad {
    converged: usize,
    patience: usize,
    tolerance: f64,
    /// The segment under way.
    open: Segment,
    /// Segments of which nobody knows yet whether they count, oldest first.
    pending: VecDeque<Segment>,
    /// Losses above it are too high; known once the start is.
    threshold: Option<f64>,
    /// Segments that count.
    mean: Segment,
    ended: bool,
    statistics: Vec<f32>,
}

impl Swad {
    pub(crate) fn new(params: &CollectParams) -> Self {
        Swad {
            converged: params.converged.unwrap_or(3),
            patience: params.patience.unwrap_or(6),
            tolerance: params.tolerance.unwrap_or(0.3),
            open: Segment::default(),
            pending: VecDeque::new(),
            threshold: None,
            mean: Segment::default(),
            ended: false,
            statistics: Vec::new(),
        }
    }

    /// Looks for the start among the newest segments.
    fn start(&mut self) {
        if self.pending.len() > self.converged {
            self.pending.pop_front();
        }
        let Some(first) = self.pending.front() else { return };
        if self.pending.len() < self.converged
            || self.pending.iter().any(|segment| segment.loss < first.loss || segment.loss.is_nan())
        {
            return;
        }
        let losses = self.pending.iter().map(|segment| segment.loss).sum::<f64>();
        self.threshold = Some((1.0 + self.tolerance) * losses / self.converged as f64);
        if let Some(first) = self.pending.pop_front() {
            self.mean = first;
        }
    }

    /// Takes in every segment behind which, within `patience`, one is not too high; ends where none is.
    fn settle(&mut self, threshold: f64) {
        let high = |segment: &&Segment| segment.loss > threshold || segment.loss.is_nan();
        loop {
            let run = self.pending.iter().take_while(high).count();
            if run >= self.patience {
                self.ended = true;
                self.pending.clear();
            }
            if run >= self.pending.len() {
                return;
            }
            self.take_in(run + 1);
        }
    }

    /// Adds the oldest pending segments to the mean.
    fn take_in(&mut self, segments: usize) {
        for segment in self.pending.drain(..segments) {
            self.mean.steps += segment.steps;
            fit::add_sum(&mut self.mean.sum, &segment.sum);
        }
    }
}

impl Recorder for Swad {
    fn due(&self, _: u64) -> bool {
        !self.ended
    }

    fn record(&mut self, seen: Seen<'_>) {
        fit::add(&mut self.open.sum, seen.weights);
        self.open.steps += 1;
        self.statistics.clear();
        self.statistics.extend_from_slice(seen.statistics);
    }

    fn validated(&mut self, loss: f64) {
        if self.ended || self.open.steps == 0 {
            return;
        }
        let segment = Segment { loss, ..std::mem::take(&mut self.open) };
        self.pending.push_back(segment);
        if self.threshold.is_none() {
            self.start();
        }
        if let Some(threshold) = self.threshold {
            self.settle(threshold);
        }
    }

    fn finish(&mut self) -> Result<Vec<Flat>, MethodError> {
        match self.threshold {
            // Trailing segments that are too high but fewer than `patience` are inside: the end was not reached.
            Some(_) => self.take_in(self.pending.len()),
            None => self.mean = self.pending.pop_back().unwrap_or_default(),
        }
        match self.mean.steps {
            0 => Err(nothing("swad").help("validate more often (`validate_every`), or train longer")),
            steps => Ok(vec![Flat {
                weights: fit::mean(&self.mean.sum, steps),
                statistics: std::mem::take(&mut self.statistics),
            }]),
        }
    }

    fn save(&self) -> Saved<'_> {
        let segments: Vec<_> = [&self.open, &self.mean].into_iter().chain(&self.pending).collect();
        // NaN has no JSON number: losses go as bits.
        let numbers =
            segments.iter().map(|segment| (segment.loss.to_bits(), segment.steps)).collect::<Vec<_>>();
        Saved {
            numbers: serde_json::json!({
                "segments": numbers, "threshold": self.threshold.map(f64::to_bits), "ended": self.ended,
            }),
            singles: vec![(&self.statistics[..]).into()],
            doubles: segments.iter().map(|segment| (&segment.sum[..]).into()).collect(),
        }
    }

    fn load(&mut self, saved: Saved<'static>) -> Result<(), String> {
        #[derive(serde::Deserialize)]
        struct Numbers {
            segments: Vec<(u64, u64)>,
            threshold: Option<u64>,
            ended: bool,
        }
        let numbers: Numbers = serde_json::from_value(saved.numbers).map_err(|error| error.to_string())?;
        if numbers.segments.len() != saved.doubles.len() {
            return Err("not every segment has its sum".to_owned());
        }
        let mut segments = numbers
            .segments
            .into_iter()
            .zip(saved.doubles)
            .map(|((loss, steps), sum)| Segment { loss: f64::from_bits(loss), steps, sum: sum.into_owned() });
        self.open = segments.next().ok_or("the open segment is missing")?;
        self.mean = segments.next().ok_or("the mean is missing")?;
        self.pending = segments.collect();
        self.threshold = numbers.threshold.map(f64::from_bits);
        self.ended = numbers.ended;
        let [statistics] = fit::exactly(saved.singles)?;
        self.statistics = statistics.into_owned();
        Ok(())
    }
}
