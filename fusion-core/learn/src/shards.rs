//! One network on several threads, with results that do not depend on them.
//!
//! A batch is cut into a fixed number of shards; each is computed on one thread by a network of its own, and losses and gradients are added
//! in the order of the shards. How many threads there are decides how many shards are under way at once, and nothing else. A matrix
//! product that is split among threads would add up in another order for each number of them, and for small networks it is slower too.

use fusion_network::{
    Architecture, Device, Flat, Network, NetworkError, Norm, State, StateError, Step, StepOptions,
};
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::objective::Segment;
use fusion_sdk::rng::Key;
use fusion_sdk::simd;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::train::empty;

/// Examples of a shard, at least: smaller ones cost more than they save.
const LEAST: usize = 32;

/// Networks of one architecture that compute parts of a batch.
pub struct Shards {
    parts: Vec<Part>,
    pools: Vec<ThreadPool>,
}

/// A network with its part of a batch.
struct Part {
    network: Network,
    batch: Batch,
    gradient: Vec<f32>,
}

impl Shards {
    /// Networks for this many shards on at most this many threads (0 counts as 1 for both).
    ///
    /// # Errors
    /// The device has no such network, or the system gives no thread.
    pub fn new(
        architecture: &Architecture,
        device: &Device,
        shards: usize,
        threads: usize,
    ) -> Result<Self, NetworkError> {
        let networks =
            (0..shards.max(1)).map(|_| Network::new(architecture, device)).collect::<Result<Vec<_>, _>>()?;
        Self::of(networks, threads)
    }

    /// The same from networks, which must be of one architecture.
    fn of(networks: Vec<Network>, threads: usize) -> Result<Self, NetworkError> {
        let pools = (0..threads.clamp(1, networks.len().max(1)))
            .map(|_| ThreadPoolBuilder::new().num_threads(1).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| NetworkError::Device { message: format!("no thread for a shard: {error}") })?;
        let part = |network| Part { network, batch: empty(), gradient: Vec::new() };
        Ok(Shards { parts: networks.into_iter().map(part).collect(), pools })
    }

    /// One network that computes whole batches.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn whole(network: Network) -> Result<Self, NetworkError> {
        Self::of(vec![network], 1)
    }

    /// The first network: they are all alike.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.parts[0].network
    }

    /// From now on tensors with these names have a gradient of zeros, as [`Network::freeze`].
    pub fn freeze(&mut self, frozen: impl Fn(&str) -> bool) {
        self.parts.iter_mut().for_each(|part| part.network.freeze(&frozen));
    }

    /// Trainable tensors.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.network().segments()
    }

    /// A state as flat vectors.
    ///
    /// # Errors
    /// The state is of another architecture.
    pub fn flatten(&self, state: &State) -> Result<Flat, StateError> {
        self.network().flatten(state)
    }

    /// Loss and gradient of a batch, as [`Network::gradient`]: loss = Σ nᵢ/n · lossᵢ, gradient alike, over the shards' sizes nᵢ.
    ///
    /// Networks with BatchNorm are not cut, since their statistics are those of the whole batch; nor are batches with less than 64 examples.
    ///
    /// # Errors
    /// Those of [`Network::gradient`], of the first shard that has one.
    pub fn gradient(
        &mut self,
        weights: &[f32],
        batch: &Batch,
        options: &StepOptions,
        gradient: &mut [f32],
    ) -> Result<Step, NetworkError> {
        let shards = match self.network().statistics_len() {
            0 => self.parts.len().min(batch.len() / LEAST).max(1),
            _ => 1,
        };
        if shards == 1 {
            let Shards { parts, pools } = self;
            let network = &mut parts[0].network;
            return pools[0].install(|| network.gradient(weights, batch, options, gradient));
        }
        let rows = batch.len();
        for (index, part) in self.parts[..shards].iter_mut().enumerate() {
            cut(batch, rows * index / shards, rows * (index + 1) / shards, &mut part.batch);
            part.gradient.resize(gradient.len(), 0.0);
        }
        let mut steps: Vec<(usize, Result<Step, NetworkError>)> = Vec::with_capacity(shards);
        let size = shards.div_ceil(self.pools.len());
        let run = |first: usize, parts: &mut [Part]| {
            let one = |(at, part): (usize, &mut Part)| {
                let mut own = *options;
                own.dropout_seed = Key::derived(options.dropout_seed, (first + at) as u64).value();
                (part.batch.len(), part.network.gradient(weights, &part.batch, &own, &mut part.gradient))
            };
            parts.iter_mut().enumerate().map(one).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let chunks = self.parts[..shards].chunks_mut(size).enumerate().zip(&self.pools);
            let mut chunks = chunks.map(|((index, chunk), pool)| (index * size, chunk, pool));
            // The first is computed by this thread's own call, so one thread starts none.
            let own = chunks.next();
            let running: Vec<_> = chunks
                .map(|(first, chunk, pool)| scope.spawn(move || pool.install(|| run(first, chunk))))
                .collect();
            if let Some((first, chunk, pool)) = own {
                steps.extend(pool.install(|| run(first, chunk)));
            }
            for thread in running {
                match thread.join() {
                    Ok(found) => steps.extend(found),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        let mut whole = Step { loss: 0.0, correct: 0, predictions: 0, batch_statistics: Vec::new() };
        for (index, (examples, step)) in steps.into_iter().enumerate() {
            let step = step?;
            let share = examples as f64 / rows as f64;
            whole.loss += share * step.loss;
            whole.correct += step.correct;
            whole.predictions += step.predictions;
            add(share as f32, &self.parts[index].gradient, gradient, index == 0);
        }
        Ok(whole)
    }

    /// Outputs of a batch, as [`Network::outputs`], on one thread.
    ///
    /// # Errors
    /// Those of [`Network::outputs`].
    pub fn outputs(
        &mut self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
        norm: Norm,
    ) -> Result<Vec<f32>, NetworkError> {
        let Shards { parts, pools } = self;
        let network = &mut parts[0].network;
        pools[0].install(|| network.outputs(weights, statistics, batch, norm))
    }
}

/// sum ← [sum +] share·values
fn add(share: f32, values: &[f32], sum: &mut [f32], first: bool) {
    simd(
        #[inline(always)]
        || {
            for (sum, &value) in sum.iter_mut().zip(values) {
                *sum = if first { 0.0 } else { *sum } + share * value;
            }
        },
    );
}

/// The examples `from..to` of a batch. Reuses the buffers of `out`.
fn cut(batch: &Batch, from: usize, to: usize, out: &mut Batch) {
    let rows = batch.len().max(1);
    out.shape.clear();
    out.shape.extend_from_slice(&batch.shape);
    out.shape[0] = to - from;
    let part = |len: usize| len / rows * from..len / rows * to;
    match (&batch.inputs, &mut out.inputs) {
        (Values::Floats(all), Values::Floats(own)) => copy(own, &all[part(all.len())]),
        (Values::Tokens(all), Values::Tokens(own)) => copy(own, &all[part(all.len())]),
        (Values::Floats(all), own) => *own = Values::Floats(all[part(all.len())].to_vec()),
        (Values::Tokens(all), own) => *own = Values::Tokens(all[part(all.len())].to_vec()),
    }
    match (&batch.targets, &mut out.targets) {
        (Targets::Classes(all), Targets::Classes(own)) => copy(own, &all[part(all.len())]),
        (Targets::Classes(all), own) => *own = Targets::Classes(all[part(all.len())].to_vec()),
        (Targets::Soft { classes, rows }, own) => {
            *own = Targets::Soft { classes: *classes, rows: rows[part(rows.len())].to_vec() };
        }
        (Targets::Numbers { width, rows }, own) => {
            *own = Targets::Numbers { width: *width, rows: rows[part(rows.len())].to_vec() };
        }
    }
}

fn copy<T: Copy>(own: &mut Vec<T>, from: &[T]) {
    own.clear();
    own.extend_from_slice(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cover_a_batch() {
        let batch = Batch {
            inputs: Values::Floats((0..14).map(|value| value as f32).collect()),
            shape: vec![7, 2],
            targets: Targets::Classes((0..7).collect()),
        };
        let mut seen = (Vec::new(), Vec::new());
        let mut out = Batch { inputs: Values::Tokens(vec![9]), ..empty() };
        for index in 0..3 {
            cut(&batch, 7 * index / 3, 7 * (index + 1) / 3, &mut out);
            let (Values::Floats(inputs), Targets::Classes(labels)) = (&out.inputs, &out.targets) else {
                panic!("kinds change");
            };
            assert_eq!(out.shape, [labels.len(), 2]);
            seen.0.extend_from_slice(inputs);
            seen.1.extend_from_slice(labels);
        }
        assert_eq!(Values::Floats(seen.0), batch.inputs);
        assert_eq!(Targets::Classes(seen.1), batch.targets);
    }

    #[test]
    fn sums_are_weighed() {
        let mut sum = [9.0, 9.0, 9.0];
        add(0.25, &[4.0, 8.0, 0.0], &mut sum, true);
        add(0.75, &[4.0, 0.0, 8.0], &mut sum, false);
        assert_eq!(sum, [4.0, 2.0, 6.0]);
    }
}
