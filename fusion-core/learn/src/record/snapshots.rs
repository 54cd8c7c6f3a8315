//! `snapshots` and `fge`: the weights as they are.

use std::borrow::Cow;
use std::collections::VecDeque;

use fusion_network::Flat;
use fusion_sdk::MethodError;

use super::{Recorder, Saved, Seen, When, fit, nothing};

/// Keeps models, all or the newest few, oldest first.
pub(crate) struct Snapshots {
    when: When,
    most: usize,
    kept: VecDeque<Flat>,
}

impl Snapshots {
    pub(crate) fn new(when: When, last: Option<usize>) -> Self {
        Snapshots { when, most: last.unwrap_or(usize::MAX), kept: VecDeque::new() }
    }
}

/// Adds a model to the newest `most`, in the memory of the one that it drives out.
pub(crate) fn push(kept: &mut VecDeque<Flat>, most: usize, seen: Seen<'_>) {
    let mut flat = match kept.len() >= most {
        true => kept.pop_front().unwrap_or_default(),
        false => Flat::default(),
    };
    flat.weights.clear();
    flat.weights.extend_from_slice(seen.weights);
    flat.statistics.clear();
    flat.statistics.extend_from_slice(seen.statistics);
    kept.push_back(flat);
}

/// Models as vectors of a checkpoint.
pub(crate) fn saved(kept: &VecDeque<Flat>) -> Vec<Cow<'_, [f32]>> {
    kept.iter().flat_map(|flat| [(&flat.weights[..]).into(), (&flat.statistics[..]).into()]).collect()
}

/// Models from such vectors.
pub(crate) fn loaded(singles: Vec<Cow<'static, [f32]>>) -> Result<VecDeque<Flat>, String> {
    let mut kept = VecDeque::new();
    let mut vectors = singles.into_iter();
    while let Some(weights) = vectors.next() {
        let statistics = vectors.next().ok_or("a model has no statistics")?;
        kept.push_back(Flat { weights: weights.into_owned(), statistics: statistics.into_owned() });
    }
    Ok(kept)
}

impl Recorder for Snapshots {
    fn due(&self, done: u64) -> bool {
        self.when.due(done)
    }

    fn record(&mut self, seen: Seen<'_>) {
        push(&mut self.kept, self.most, seen);
    }

    fn finish(&mut self) -> Result<Vec<Flat>, MethodError> {
        match self.kept.is_empty() {
            true => Err(nothing("snapshots")),
            false => Ok(std::mem::take(&mut self.kept).into()),
        }
    }

    fn save(&self) -> Saved<'_> {
        Saved { singles: saved(&self.kept), ..Saved::default() }
    }

    fn load(&mut self, state: Saved<'static>) -> Result<(), String> {
        fit::none(&state.doubles)?;
        self.kept = loaded(state.singles)?;
        Ok(())
    }
}
