//! `simulated_annealing`: permutations found by trying swaps of two units, for small networks: a baseline.
//!
//! A swap of two units of a node (all nodes in proportion to their units; within one head for a node in heads) is taken if it lowers the energy,
//! and otherwise with probability exp(−ΔE/T). T falls geometrically from `hot` to `cold`, both as shares of the loss halfway at the
//! start, over `swaps` swaps. The energy is the loss at ½(A + π(B)), or the barrier max over λ of 𝓛((1−λ)A + λπ(B)) − ((1−λ)𝓛(A) +
//! λ𝓛(B)) at `points` inner points, on the same `batches` batches throughout. The best state that was visited is the result, so it is
//! never worse than the start by that measure.
//!
//! The paper's code anneals from 25000 to 2.5, far above any loss, which takes nearly every swap: a random walk that remembers its best. Here
//! the ratio is the same and the scale is that of the loss.
//!
//! *Cost*: one loss (or `points` of them) on `batches` batches a swap; four copies of the weights. Works for one or two hidden layers;
//! n²/2 swaps of a layer of n units are to be tried at least.
//!
//! Entezari, Sedghi, Saukh, Neyshabur, "The role of permutation invariance in linear mode connectivity of neural networks", ICLR 2022.

use fusion_sdk::align::{Align, Aligned, Incoming, Matching};
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{NodeId, Symmetries};
use fusion_sdk::{About, Category, Claim, MethodError, Params, Words};

use crate::search::{self, Between, blend};
use crate::state::State;

/// What is lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Energy {
    /// the loss halfway
    Midpoint,
    /// the largest excess of the loss over the chord between the two ends
    Barrier,
}

/// Stage parameters of `simulated_annealing`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct SimulatedAnnealingParams {
    /// what is lowered
    #[param(default = Energy::Midpoint)]
    pub energy: Energy,
    /// swaps that are tried
    #[param(range = 1..=100_000_000, default = 5000)]
    pub swaps: u64,
    /// first temperature, as a share of the loss halfway at the start
    #[param(above = 0, default = 1e-2)]
    pub hot: f64,
    /// last temperature, in the same unit
    #[param(above = 0, default = 1e-6)]
    pub cold: f64,
    /// batches that the energy is taken on
    #[param(range = 1.., default = 1)]
    pub batches: u64,
    /// inner points of the segment for `energy = barrier` (default: 3)
    #[param(range = 1..=1000)]
    pub points: Option<u32>,
}

/// The kernel of `simulated_annealing`.
#[derive(Clone, Debug)]
pub struct SimulatedAnnealing(SimulatedAnnealingParams);

impl Align for SimulatedAnnealing {
    type Params = SimulatedAnnealingParams;

    fn about() -> About {
        About {
            id: "simulated_annealing",
            version: 1,
            category: Category::Align,
            summary: "permutations by trying swaps of units; a baseline for small networks",
            formula: "swap two units; accept with probability min(1, exp(−ΔE/T));  T falls geometrically\n\
                      E = 𝓛(½(A + π(B))), or the barrier",
            citation: "Entezari et al., The role of permutation invariance in linear mode connectivity of neural networks, ICLR 2022",
            ports: search::ports(),
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: SimulatedAnnealingParams, incoming: Incoming) -> Result<Self, MethodError> {
        search::exactly_two("simulated_annealing", incoming)?;
        if params.cold > params.hot {
            return Err(MethodError::invalid(format!(
                "`cold = {}` is above `hot = {}`: temperatures fall",
                params.cold, params.hot
            ))
            .at("cold"));
        }
        if params.energy == Energy::Midpoint && params.points.is_some() {
            return Err(MethodError::invalid("`points` belongs to `energy = barrier`")
                .at("points")
                .help("remove it"));
        }
        Ok(SimulatedAnnealing(params))
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let params = &self.0;
        let (symmetries, seed) = (matching.target, matching.seed);
        let mut state = search::state(symmetries, matching.alignments)?;
        let mut between = Between::new(matching)?;
        let chord = match params.energy {
            Energy::Midpoint => None,
            Energy::Barrier => {
                let (a, b) = (between.a.weights, between.b.weights);
                let batches = Some(params.batches);
                Some([between.loss.loss(a, batches)?, between.loss.loss(b, batches)?])
            }
        };
        let scale = between.midpoint(&state, Some(params.batches))?.abs();
        let places = Places::new(symmetries);
        let key = Key::new(seed, "simulated_annealing", 0);
        let mut energy = self.energy(&mut between, &state, chord)?;
        let (start, mut best, mut lowest) = (energy, state.clone(), energy);
        let (mut taken, mut trace) = (0_u64, Vec::new());
        // A trace of at most a thousand numbers.
        let every = params.swaps.div_ceil(1000);
        for swap in 0..params.swaps {
            let Some((id, copy, one, other)) = places.draw(symmetries, key, 4 * swap) else { break };
            exchange(&mut state, id, copy, one, other);
            let found = self.energy(&mut between, &state, chord)?;
            let share = swap as f64 / params.swaps.saturating_sub(1).max(1) as f64;
            let temperature = scale * params.hot * (params.cold / params.hot).powf(share);
            let chance = libm::exp(-(found - energy) / temperature);
            if found <= energy || f64::from(key.uniform(4 * swap + 3)) < chance {
                energy = found;
                taken += 1;
                if energy < lowest {
                    (best, lowest) = (state.clone(), energy);
                }
            } else {
                exchange(&mut state, id, copy, one, other);
            }
            if (swap + 1) % every == 0 {
                trace.push(energy);
            }
            between.loss.progress(swap + 1, params.swaps, lowest);
        }
        let facts = vec![
            ("energy".to_owned(), lowest),
            ("start_energy".to_owned(), start),
            ("taken".to_owned(), taken as f64),
        ];
        let alignment = best.alignment(symmetries, symmetries);
        Ok(Aligned { alignments: vec![alignment], shared: Vec::new(), facts, trace })
    }
}

impl SimulatedAnnealing {
    fn energy(
        &self,
        between: &mut Between<'_>,
        state: &State,
        chord: Option<[f64; 2]>,
    ) -> Result<f64, MethodError> {
        let batches = Some(self.0.batches);
        let Some([first, last]) = chord else { return between.midpoint(state, batches) };
        let brought = between.brought(state)?;
        let points = self.0.points.unwrap_or(3);
        let mut most = f64::NEG_INFINITY;
        for point in 1..=points {
            let lambda = f64::from(point) / f64::from(points + 1);
            let mut theta = brought.clone();
            blend(between.a.weights, lambda as f32, &mut theta);
            let loss = between.loss.loss(&theta, batches)?;
            most = most.max(loss - (1.0 - lambda) * first - lambda * last);
        }
        Ok(most)
    }
}

/// Where swaps are possible: (node, copy), each with the number of units up to its end.
struct Places(Vec<(NodeId, usize, u64)>);

impl Places {
    fn new(symmetries: &Symmetries) -> Self {
        let mut places = Vec::new();
        let mut end = 0;
        for id in symmetries.ids().filter(|id| symmetries.node(*id).size > 1) {
            for copy in 0..symmetries.copies(id) {
                end += symmetries.node(id).size as u64;
                places.push((id, copy, end));
            }
        }
        Places(places)
    }

    /// Two units of a node, by three draws; `None` if there is nothing to swap.
    fn draw(&self, symmetries: &Symmetries, key: Key, at: u64) -> Option<(NodeId, usize, usize, usize)> {
        // The upper half of a 64-bit product: uniform but for 2⁻³².
        let below = |draw: u64, limit: u64| (u64::from(key.bits(draw)) * limit) >> 32;
        let unit = below(at, self.0.last()?.2);
        let (id, copy, _) = *self.0.iter().find(|(.., end)| unit < *end)?;
        let size = symmetries.node(id).size;
        let one = below(at + 1, size as u64) as usize;
        let other = below(at + 2, size as u64 - 1) as usize;
        Some((id, copy, one, if other >= one { other + 1 } else { other }))
    }
}

fn exchange(state: &mut State, id: NodeId, copy: usize, one: usize, other: usize) {
    let mut tables = state.tables(id).clone();
    tables[copy].swap(one, other);
    state.set(id, tables);
}

#[cfg(test)]
mod tests;
