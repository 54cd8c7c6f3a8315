//! What does not learn: parts of the flat weights and running statistics that a training leaves as they were.
//!
//! Their gradient counts as zero, also for `clip`; after every update, exchange between replicas and move of a recorder they are put back, so
//! neither weight decay nor rounding can touch them. Recorders give them as they were too (SWAG: variance and deviations zero). The network
//! may skip their gradients (`Shards::freeze`); results do not depend on it.

use std::ops::Range;

use fusion_network::Flat;
use fusion_sdk::MethodError;

use crate::record::RecorderKind;

use super::replicas::Replica;

/// Ranges of the flat vectors that do not learn.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Frozen {
    /// Of the weights.
    pub weights: Vec<Range<usize>>,
    /// Of the running statistics.
    pub statistics: Vec<Range<usize>>,
}

impl Frozen {
    /// Whether everything learns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty() && self.statistics.is_empty()
    }

    /// Whether it suits vectors of these lengths and leaves a weight that learns.
    pub(crate) fn check(&self, weights: usize, statistics: usize) -> Result<(), MethodError> {
        let inside = |ranges: &[Range<usize>], len| {
            ranges.iter().all(|range| range.start <= range.end && range.end <= len)
        };
        if !inside(&self.weights, weights) || !inside(&self.statistics, statistics) {
            return Err(MethodError::invalid("what is frozen lies outside of the network").at("frozen"));
        }
        let mut learns = vec![true; weights];
        self.weights.iter().for_each(|range| learns[range.clone()].fill(false));
        match learns.contains(&true) {
            true => Ok(()),
            false => Err(MethodError::invalid("`frozen` leaves nothing to learn")
                .at("frozen")
                .help("name fewer layers")),
        }
    }
}

/// The frozen values.
pub(crate) struct Held {
    weights: Vec<(Range<usize>, Vec<f32>)>,
    statistics: Vec<(Range<usize>, Vec<f32>)>,
}

impl Held {
    pub(crate) fn new(frozen: &Frozen, start: &Flat) -> Self {
        let take = |ranges: &[Range<usize>], from: &[f32]| {
            ranges.iter().map(|range| (range.clone(), from[range.clone()].to_vec())).collect()
        };
        Held {
            weights: take(&frozen.weights, &start.weights),
            statistics: take(&frozen.statistics, &start.statistics),
        }
    }

    /// Before an update.
    pub(crate) fn still(&self, gradient: &mut [f32]) {
        self.weights.iter().for_each(|(range, _)| gradient[range.clone()].fill(0.0));
    }

    /// After anything has moved a replica.
    pub(crate) fn restore(&self, replica: &mut Replica) {
        put(&self.weights, &mut replica.weights);
        put(&self.statistics, &mut replica.statistics);
    }

    /// What a recorder gives: models, or the moments of a Gaussian, of which the first is the mean.
    pub(crate) fn recorded(&self, kind: RecorderKind, flats: &mut [Flat]) {
        for (index, flat) in flats.iter_mut().enumerate() {
            match kind == RecorderKind::Swag && index > 0 {
                true => self.still(&mut flat.weights),
                false => put(&self.weights, &mut flat.weights),
            }
            put(&self.statistics, &mut flat.statistics);
        }
    }

    /// A model.
    pub(crate) fn model(&self, flat: &mut Flat) {
        put(&self.weights, &mut flat.weights);
        put(&self.statistics, &mut flat.statistics);
    }
}

fn put(held: &[(Range<usize>, Vec<f32>)], to: &mut [f32]) {
    for (range, values) in held {
        to[range.clone()].copy_from_slice(values);
    }
}
