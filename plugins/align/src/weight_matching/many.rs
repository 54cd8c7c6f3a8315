//! Merging many: models brought to each other without a reference.
//!
//! Each model in turn, in random order, is matched to the mean of the others as they stand; rounds go on while that shrinks the spread.
//! Σ_i ‖θ_i − mean‖² falls exactly when the mean product of pairs 2/(n(n−1)) Σ_{i<j} ⟨π_i θ_i, π_j θ_j⟩ rises, which is what is reported.
//! Before the first round all models are brought to the first one with the method's starts (`start = identity` does not).

use fusion_sdk::align::{Aligned, Candidate, Source};
use fusion_sdk::alignment::Gather;
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::Symmetries;
use fusion_sdk::{Context, MethodError};

use super::descent::Descent;
use super::{Looks, Start, Sums, WeightMatching};
use crate::cost::Pair;
use crate::state::{State, shuffle};

/// Most rounds, as in the reference code.
const ROUNDS: u32 = 100;

/// Brings all models together.
///
/// # Errors
/// Those of the descent.
pub(super) fn align(
    method: &WeightMatching,
    models: &[Candidate<'_>],
    target: &Symmetries,
    looks: &mut Looks<'_>,
    seed: u64,
    context: Context<'_>,
) -> Result<Aligned, MethodError> {
    let symmetries = models[0].symmetries;
    let mut states = vec![State::identity(symmetries); models.len()];
    let mut sums = Sums::default();
    if method.params.start != Start::Identity {
        for (index, state) in states.iter_mut().enumerate().skip(1) {
            let found = method.pair(&[models[0], models[index]], looks, seed, context)?;
            sums.from_activations |= found.from_activations;
            sums.sweeps = sums.sweeps.max(found.run.trace.len());
            *state = found.run.state;
        }
    }
    let identity = vec![State::identity(symmetries); models.len()];
    sums.before = together(method, models, &identity, context)?;
    let mut value = together(method, models, &states, context)?;
    let mut trace = vec![value];
    let key = Key::new(seed, "weight_matching.many", 0);
    // With two models the first search has done it all.
    let rounds = if models.len() == 2 && method.params.start != Start::Identity { 0 } else { ROUNDS };
    for round in 0..rounds {
        context.progress(u64::from(round), u64::from(rounds), "rounds");
        let mut order: Vec<usize> = (0..models.len()).collect();
        shuffle(&mut order, key, u64::from(round) << 32);
        let mut gained = false;
        for index in order {
            let others = Others::new(symmetries, models, &states, index)?;
            let pair = Pair {
                symmetries,
                a: &others,
                b: models[index].source,
                names: ["the mean of the others", models[index].name],
                precision: method.params.precision,
                context,
            };
            let descent = Descent::new(pair, method.order(), method.params.sweeps)?;
            let draw = u64::from(round) * models.len() as u64 + index as u64;
            let run = descent.run(&states[index], seed, draw)?;
            if run.after > run.before && run.state != states[index] {
                states[index] = run.state;
                gained = true;
            }
        }
        let after = together(method, models, &states, context)?;
        trace.push(after);
        // A sum over others has another rounding than the sum over all.
        if !gained || after <= value + 1e-12 * value.abs() {
            break;
        }
        value = after;
    }
    sums.after = together(method, models, &states, context)?;
    sums.moved = states.iter().map(|state| state.moved_from(&identity[0])).sum();
    let units = |id| symmetries.copies(id) * symmetries.node(id).size;
    sums.units = models.len() * symmetries.ids().map(units).sum::<usize>();
    let alignments =
        models.iter().zip(&states).map(|(model, state)| state.alignment(model.symmetries, target));
    Ok(Aligned { alignments: alignments.collect(), facts: sums.facts(), trace, ..Aligned::default() })
}

/// The mean product of pairs.
pub(super) fn together(
    method: &WeightMatching,
    models: &[Candidate<'_>],
    states: &[State],
    context: Context<'_>,
) -> Result<f64, MethodError> {
    let mut sum = 0.0;
    for (index, model) in models.iter().enumerate() {
        let others = Others::new(model.symmetries, models, states, index)?;
        let pair = Pair {
            symmetries: model.symmetries,
            a: &others,
            b: model.source,
            names: ["the mean of the others", model.name],
            precision: method.params.precision,
            context,
        };
        sum += pair.objective(&states[index])?;
    }
    Ok(sum / models.len() as f64)
}

/// The mean of all models but one, where they stand.
struct Others<'a> {
    symmetries: &'a Symmetries,
    /// With the order of the elements of each tensor.
    models: Vec<(&'a dyn Source, Vec<Gather>)>,
}

impl<'a> Others<'a> {
    fn new(
        symmetries: &'a Symmetries,
        models: &[Candidate<'a>],
        states: &[State],
        but: usize,
    ) -> Result<Others<'a>, MethodError> {
        let mut others = Vec::with_capacity(models.len());
        for (index, (model, state)) in models.iter().zip(states).enumerate() {
            if index == but {
                continue;
            }
            let alignment = state.alignment(symmetries, symmetries);
            let gathers = (0..symmetries.tensors.len()).map(|tensor| alignment.gather(symmetries, tensor));
            let gathers: Result<Vec<Gather>, _> = gathers.collect();
            others.push((model.source, gathers.map_err(|error| MethodError::invalid(error.to_string()))?));
        }
        Ok(Others { symmetries, models: others })
    }
}

impl Source for Others<'_> {
    fn read(&self, tensor: usize, start: usize, out: &mut [f32]) -> Result<(), MethodError> {
        let mut wide = vec![0.0; out.len()];
        self.read_f64(tensor, start, &mut wide)?;
        out.iter_mut().zip(wide).for_each(|(to, value)| *to = value as f32);
        Ok(())
    }

    fn read_f64(&self, tensor: usize, start: usize, out: &mut [f64]) -> Result<(), MethodError> {
        out.fill(0.0);
        let end = start + out.len();
        let mut values = Vec::new();
        for (source, gathers) in &self.models {
            // The runs within the part, and the elements that they come from.
            let (mut runs, mut low, mut high) = (Vec::new(), usize::MAX, 0);
            gathers[tensor].runs(|target, from, length| {
                let (first, last) = (target.max(start), (target + length).min(end));
                if first < last {
                    let from = from + (first - target);
                    runs.push((first - start, from, last - first));
                    (low, high) = (low.min(from), high.max(from + (last - first)));
                }
            });
            if runs.is_empty() {
                continue;
            }
            debug_assert!(high <= self.symmetries.shape(tensor).iter().product());
            values.resize(high - low, 0.0);
            source.read_f64(tensor, low, &mut values)?;
            for (target, from, length) in runs {
                let part = &values[from - low..from - low + length];
                out[target..target + length].iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
            }
        }
        let count = self.models.len() as f64;
        out.iter_mut().for_each(|value| *value /= count);
        Ok(())
    }
}
