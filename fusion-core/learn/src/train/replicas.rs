//! Several replicas that train together: what they exchange between steps, and what comes out of them.
//!
//! - `local_sgd` (Stich, 2018): every H steps all take the mean of their weights. With `synchronous` the gradients are averaged in every
//!   step before that (post-local SGD, Lin et al., 2018).
//! - `swap` (Gupta et al., 2020): shared gradients, then each on its own; the result is the mean at the end.
//! - `hwa` (Gu et al., 2023): as `local_sgd`; the result is the mean of the newest I of these means.
//! - `papa` (Jolicoeur-Martineau et al., 2023): every H steps θⱼ ← αθⱼ + (1−α)θ̄; the result is θ̄.
//! - `pswa` (Guo et al., 2022): one network. Within a period its weights are averaged every so often; at its end the network goes on from
//!   that mean. The result is the mean of the last period.
//!
//! Momentum stays with its replica. Means are sums in f64, rounded once. Running statistics are averaged as the weights are.

use std::collections::VecDeque;

use fusion_network::Flat;
use fusion_sdk::optim::Optimizer;
use fusion_sdk::schedule::Span;
use fusion_sdk::simd;

use crate::record::{Seen, fit, mean_of, snapshots};

use super::params::{ParallelKind, TrainParams};
use super::timeline::Timeline;

/// Elements that are averaged at a time: the f64 sums stay in the first-level cache.
const RUN: usize = 1024;

/// A network in training.
pub(crate) struct Replica {
    pub weights: Vec<f32>,
    pub statistics: Vec<f32>,
    pub optimizer: Optimizer,
    pub gradient: Vec<f32>,
}

impl Replica {
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen { weights: &self.weights, statistics: &self.statistics }
    }
}

/// What links the replicas, in steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Link {
    None,
    /// Means every `every` steps after `synchronous`.
    Local {
        every: u64,
        synchronous: u64,
    },
    /// No exchange after `synchronous`.
    Swap {
        synchronous: u64,
    },
    /// Means of one network.
    Periodic {
        every: u64,
        sample: u64,
    },
    /// Means, of which the newest `window` count.
    Hierarchical {
        every: u64,
        window: usize,
    },
    /// A pull of 1 − `keep` to the mean.
    Pull {
        every: u64,
        keep: f32,
    },
}

/// The link at work.
pub(crate) struct Linked {
    link: Link,
    /// Newest means (`hwa`).
    pub means: VecDeque<Flat>,
    /// Sum over the period (`pswa`) and its terms.
    pub sum: Vec<f64>,
    pub terms: u64,
}

impl Linked {
    pub(crate) fn new(params: &TrainParams, timeline: &Timeline) -> Self {
        let parallel = &params.parallel;
        let every = |default: Span| timeline.steps(parallel.average_every.unwrap_or(default)).max(1);
        let synchronous = parallel.synchronous.map_or(0, |span| timeline.steps(span));
        let link = match parallel.parallel {
            ParallelKind::None => Link::None,
            ParallelKind::LocalSgd => Link::Local { every: every(Span::of_steps(16)), synchronous },
            ParallelKind::Swap => Link::Swap { synchronous },
            ParallelKind::Pswa => Link::Periodic {
                every: every(Span::epochs(5.0)),
                sample: timeline.steps(parallel.sample_every.unwrap_or(Span::epochs(1.0))).max(1),
            },
            ParallelKind::Hwa => {
                Link::Hierarchical { every: every(Span::epochs(1.0)), window: parallel.window.unwrap_or(10) }
            }
            ParallelKind::Papa => {
                Link::Pull { every: every(Span::of_steps(10)), keep: parallel.pull.unwrap_or(0.99) as f32 }
            }
        };
        Linked { link, means: VecDeque::new(), sum: Vec::new(), terms: 0 }
    }

    /// Whether the replicas share the gradient of step `step`.
    pub(crate) fn shares_gradient(&self, step: u64) -> bool {
        match self.link {
            Link::Local { synchronous, .. } | Link::Swap { synchronous } => step < synchronous,
            _ => false,
        }
    }

    /// What happens after `done` steps.
    pub(crate) fn exchange(&mut self, done: u64, replicas: &mut [Replica]) {
        match self.link {
            Link::None | Link::Swap { .. } => {}
            Link::Local { every, synchronous } => {
                if done > synchronous && (done - synchronous).is_multiple_of(every) {
                    average(replicas);
                }
            }
            Link::Hierarchical { every, window } => {
                if done.is_multiple_of(every) {
                    average(replicas);
                    if let Some(replica) = replicas.first() {
                        snapshots::push(&mut self.means, window, replica.seen());
                    }
                }
            }
            Link::Pull { every, keep } => {
                if done.is_multiple_of(every) {
                    each(
                        replicas,
                        |replica| &mut replica.weights,
                        |own, mean| keep * own + (1.0 - keep) * mean,
                    );
                    each(
                        replicas,
                        |replica| &mut replica.statistics,
                        |own, mean| keep * own + (1.0 - keep) * mean,
                    );
                }
            }
            Link::Periodic { every, sample } => {
                let Some(replica) = replicas.first_mut() else { return };
                // A period's end is a sample too, so that no period is without one.
                let end = done.is_multiple_of(every);
                if end || (done % every).is_multiple_of(sample) {
                    fit::add(&mut self.sum, &replica.weights);
                    self.terms += 1;
                }
                if end {
                    replica.weights = fit::mean(&self.sum, self.terms);
                    self.sum.clear();
                    self.terms = 0;
                }
            }
        }
    }

    /// What comes out of the replicas.
    pub(crate) fn result(&self, replicas: &[Replica]) -> Flat {
        if let Some(mean) = mean_of(&self.means) {
            return mean;
        }
        let mut flat = Flat::default();
        mean(replicas, |replica| &replica.weights, &mut flat.weights);
        mean(replicas, |replica| &replica.statistics, &mut flat.statistics);
        if self.terms > 0 {
            flat.weights = fit::mean(&self.sum, self.terms);
        }
        flat
    }
}

/// Gives all replicas the mean of their gradients.
pub(crate) fn share_gradients(replicas: &mut [Replica]) {
    each(replicas, |replica| &mut replica.gradient, |_, mean| mean);
}

fn average(replicas: &mut [Replica]) {
    each(replicas, |replica| &mut replica.weights, |_, mean| mean);
    each(replicas, |replica| &mut replica.statistics, |_, mean| mean);
}

/// `own ← f(own, mean)` for one vector of each replica.
fn each(
    replicas: &mut [Replica],
    vector: impl Fn(&mut Replica) -> &mut Vec<f32>,
    f: impl Fn(f32, f32) -> f32 + Copy,
) {
    let Some(len) = replicas.first_mut().map(|replica| vector(replica).len()) else { return };
    let count = replicas.len() as f64;
    let mut sums = [0.0_f64; RUN];
    for start in (0..len).step_by(RUN) {
        let end = len.min(start + RUN);
        let sums = &mut sums[..end - start];
        sums.fill(0.0);
        for replica in &mut *replicas {
            let own = &vector(replica)[start..end];
            simd(
                #[inline(always)]
                || sums.iter_mut().zip(own).for_each(|(sum, &own)| *sum += f64::from(own)),
            );
        }
        for replica in &mut *replicas {
            let own = &mut vector(replica)[start..end];
            simd(
                #[inline(always)]
                || own.iter_mut().zip(&*sums).for_each(|(own, &sum)| *own = f(*own, (sum / count) as f32)),
            );
        }
    }
}

/// The mean of one vector of each replica into `out`.
pub(crate) fn mean(replicas: &[Replica], vector: impl Fn(&Replica) -> &[f32], out: &mut Vec<f32>) {
    out.clear();
    let [first, rest @ ..] = replicas else { return };
    if rest.is_empty() {
        out.extend_from_slice(vector(first));
        return;
    }
    let count = replicas.len() as f64;
    out.extend((0..vector(first).len()).map(|index| {
        let sum = replicas.iter().map(|replica| f64::from(vector(replica)[index])).sum::<f64>();
        (sum / count) as f32
    }));
}

#[cfg(test)]
mod tests;
