//! Alignment of networks that can be run: symmetries are proved first, and what comes out must answer as what went in.

use std::collections::BTreeMap;

use fusion_data::BatchOptions;
use fusion_learn::measure::batches::Batches;
use fusion_learn::measure::features::{Candidate as Watch, NetworkFeatures};
use fusion_learn::measure::workers::Run;
use fusion_learn::objective::NetworkObjective;
use fusion_learn::shards::Shards;
use fusion_network::{Architecture, Flat, Network, Norm, Reads};
use fusion_sdk::Context;
use fusion_sdk::align::{AlignKernel, Candidate, Features, FlatSource, Matching, Tap, Vectors};
use fusion_sdk::alignment::Alignment;
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::objective::Objective;
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::Symmetries;

use super::super::super::results::Result as StepResult;
use super::super::super::run::Runtime;
use super::super::super::{AlignPlan, Input, Step};
use super::super::{BATCH, File, Made, SHARDS};
use super::{checked, facts, sections, workers};
use crate::engine::{NonFinite, RunError};
use crate::method::{DEFAULT_BATCH, DEFAULT_SHARDS};
use crate::plan::experiment::align::models;

/// Examples that symmetries and results are tried on.
const PROBE: usize = 8;

/// Largest difference of outputs, relative to their largest magnitude, that rounding explains: sums of f32 in another order.
const TOLERANCE: f64 = 1e-3;

pub(super) fn run(
    runtime: &Runtime<'_>,
    step: &Step,
    plan: &AlignPlan,
    kernel: &dyn AlignKernel,
    given: &[Alignment],
    threads: usize,
) -> Result<Made, RunError> {
    let fail = |message: String| runtime.failed(step, message, None);
    let architecture = |index: Option<usize>| -> Result<&Architecture, RunError> {
        index
            .and_then(|index| runtime.plan.experiment.architectures.get(index))
            .ok_or_else(|| fail("a model is no network".to_owned()))
    };
    let inputs: Vec<&Input> = models(&step.inputs).collect();
    let mut networks = Vec::new();
    let (mut flats, mut tracked) = (Vec::new(), Vec::new());
    for (input, model) in inputs.iter().zip(&plan.models) {
        let network = runtime.build(step, architecture(model.architecture)?)?;
        let state = runtime.state(step, input)?;
        tracked.push(state.batches_tracked());
        flats.push(network.flatten(&state).map_err(|error| fail(error.to_string()))?);
        networks.push(network);
    }
    let data = match step.data.iter().find(|(role, _)| role == "data") {
        Some((_, node)) => Some(runtime.dataset(step, *node)?),
        None => None,
    };
    // A pool of one: networks add up in another order on more.
    let one = super::super::pool(1).map_err(RunError::Threads)?;
    let mut probes = Vec::new();
    let mut symmetries: Vec<Symmetries> = Vec::new();
    let mut notes: Vec<String> = Vec::new();
    for ((network, model), (flat, input)) in
        networks.iter_mut().zip(&plan.models).zip(flats.iter().zip(&inputs))
    {
        let batch = match &data {
            Some(data) => {
                let mut batch = empty();
                let indices: Vec<usize> = (0..data.len().min(PROBE)).collect();
                data.gather(&indices, &mut batch);
                batch
            }
            None => random(network.architecture(), step.seed),
        };
        finite(step, network, flat, input)?;
        let verified = one
            .install(|| fusion_network::verify(network, &model.symmetries, flat, &batch, step.seed))
            .map_err(|error| fail(error.to_string()))?;
        if model.declared
            && let Some((node, reason)) = verified.pinned.first()
        {
            let message = format!("the declared symmetries are wrong for `{}`: {reason}", input.name);
            let help = format!(
                "the units `{node}` may not change places as it says: `fusion symmetries` shows what is inferred"
            );
            return Err(runtime.failed(step, message, Some(help)));
        }
        notes.extend(
            verified.pinned.iter().map(|(node, reason)| format!("`{node}` of `{}`: {reason}", input.name)),
        );
        // Scales that are given up for one model play no part in matching; nodes that are, do.
        symmetries.push(match verified.pinned.is_empty() {
            true => model.symmetries.clone(),
            false => verified.symmetries,
        });
        probes.push(batch);
    }
    // A node that one of the models cannot move stays in all of them.
    let pinned = notes.len();
    if pinned > 0 && symmetries.iter().any(|one| one.nodes.len() != plan.target.nodes.len()) {
        return Err(runtime.failed(
            step,
            format!("units that should be free are not: {}", notes.join("; ")),
            Some(
                "this is a fault of fusion; declare the symmetries meanwhile: `symmetries = \"…\"`"
                    .to_owned(),
            ),
        ));
    }
    let sources: Vec<FlatSource<'_>> =
        symmetries.iter().zip(&flats).map(|(own, flat)| FlatSource::new(own, vectors(flat))).collect();
    let candidates: Vec<Candidate<'_>> = inputs
        .iter()
        .zip(&symmetries)
        .zip(flats.iter().zip(&sources))
        .map(|((input, symmetries), (flat, source))| Candidate {
            name: &input.name,
            symmetries,
            source,
            vectors: Some(vectors(flat)),
        })
        .collect();
    let size = step.settings.get(BATCH).and_then(|size| size.as_u64()).unwrap_or(DEFAULT_BATCH) as usize;
    let shards = step.settings.get(SHARDS).and_then(|n| n.as_u64()).unwrap_or(DEFAULT_SHARDS) as usize;
    let mut own = Shards::new(architecture(plan.architecture)?, &runtime.device, shards, threads)
        .map_err(|error| fail(error.to_string()))?;
    let workers = workers(runtime, step, threads)?;
    let measured = |error| super::super::evaluate::measured(runtime, step, error);
    let batches = match &data {
        Some(data) => Some(Batches::of("data", data, size).map_err(measured)?),
        None => None,
    };
    let mut features = match &batches {
        Some(batches) => {
            let mut watched = Vec::new();
            for (input, model) in inputs.iter().zip(&plan.models) {
                watched.push(Watch { name: &input.name, architecture: architecture(model.architecture)? });
            }
            let run = Run { threads, context: Context::new(&workers) };
            Some(NetworkFeatures::new(
                watched,
                &runtime.device,
                taps(runtime, step, &networks, &symmetries)?,
                batches,
                run,
            ))
        }
        None => None,
    };
    let mut objective = None;
    if let Some(data) = &data {
        let options = BatchOptions { size, seed: step.seed, ..BatchOptions::default() };
        let made = NetworkObjective::new(&mut own, data, options, 0.0);
        objective = Some(made.map_err(|error| runtime.refused(step, error))?);
    }
    let given: Vec<&Alignment> = given.iter().collect();
    let matching = Matching {
        models: &candidates,
        reference: plan.reference,
        target: &plan.target,
        features: features.as_mut().map(|features| features as &mut dyn Features),
        objective: objective.as_mut().map(|objective| objective as &mut dyn Objective),
        alignments: &given,
        seed: step.seed,
        context: Context::new(&workers),
    };
    let found = kernel.align(matching).map_err(|error| runtime.refused(step, error))?;
    let first = usize::from(plan.reference);
    let moving: Vec<&Symmetries> = symmetries[first..].iter().collect();
    checked(runtime, step, plan, &found.alignments, &moving)?;

    let mut aligned = Vec::new();
    for ((alignment, from), flat) in found.alignments.iter().zip(&moving).zip(&flats[first..]) {
        let (weights, statistics) = alignment
            .apply_flat(from, &plan.target, &flat.weights, &flat.statistics)
            .map_err(|error| fail(error.to_string()))?;
        aligned.push(Flat { weights, statistics });
    }
    share(&plan.target, &found.shared, &mut aligned);
    let mut result_network = runtime.build(step, architecture(plan.architecture)?)?;
    let mut deviation = 0.0_f64;
    for (index, (alignment, new)) in found.alignments.iter().zip(&aligned).enumerate() {
        if !alignment.preserves() || !found.shared.is_empty() {
            continue;
        }
        let at = first + index;
        let off = one
            .install(|| difference(&mut networks[at], &flats[at], &mut result_network, new, &probes[at]))
            .map_err(|error| fail(error.to_string()))?;
        if off.is_nan() || off > TOLERANCE {
            let message = format!(
                "`{}` answers otherwise after it was aligned: its outputs differ by {off:.1e} of their size",
                inputs[at].name
            );
            let help =
                "an alignment that moves units must not change the function; please report this".to_owned();
            return Err(runtime.failed(step, message, Some(help)));
        }
        deviation = deviation.max(off);
    }
    let mut facts = facts(&found.alignments, &plan.target, &found.facts);
    facts.insert("deviation".to_owned(), deviation);
    facts.insert("pinned".to_owned(), pinned as f64);
    let mut files = Vec::new();
    for (index, flat) in aligned.iter().enumerate() {
        let part = if aligned.len() == 1 { "model".to_owned() } else { format!("models[{index}]") };
        // Statistics were moved along, and so is the number of batches that they were taken over.
        let state = result_network
            .unflatten(flat, tracked[first + index])
            .map_err(|error| fail(error.to_string()))?;
        files.push(File::Model(part, state));
    }
    files.extend(sections::alignments(&found.alignments));
    let section = sections::section(step, plan, &found, &facts, &notes);
    let result = StepResult {
        sections: vec![section],
        shown: sections::shown(&facts),
        cost: sections::cost(&plan.target),
        facts,
        seconds: 0.0,
    };
    Ok(Made { result, files })
}

/// Where units of the first network can be watched, on the axes of its symmetries; all networks here have the same places.
fn taps(
    runtime: &Runtime<'_>,
    step: &Step,
    networks: &[Network],
    symmetries: &[Symmetries],
) -> Result<Vec<Tap>, RunError> {
    let (Some(network), Some(own)) = (networks.first(), symmetries.first()) else { return Ok(Vec::new()) };
    let found = network.taps().and_then(|taps| Ok(network.architecture().symmetries()?.taps_in(&taps, own)));
    found.map_err(|error| runtime.failed(step, error.to_string(), None))
}

fn vectors(flat: &Flat) -> Vectors<'_> {
    Vectors { weights: &flat.weights, statistics: &flat.statistics }
}

/// Refuses weights that are not finite: a network is run before its units are moved.
fn finite(step: &Step, network: &Network, flat: &Flat, input: &Input) -> Result<(), RunError> {
    let found: Vec<NonFinite> = network
        .segments()
        .iter()
        .filter_map(|segment| {
            NonFinite::of_values(&input.name, &segment.name, flat.weights.get(segment.range())?)
        })
        .collect();
    match found.is_empty() {
        true => Ok(()),
        false => Err(RunError::needs_finite(&step.name, &step.method, found)),
    }
}

/// Gives all models the mean of the tensors that they share.
fn share(symmetries: &Symmetries, shared: &[String], models: &mut [Flat]) {
    use fusion_sdk::symmetry::TensorRole;
    let (mut weights, mut statistics) = (0, 0);
    let mut places: BTreeMap<&str, (bool, std::ops::Range<usize>)> = BTreeMap::new();
    for (index, tensor) in symmetries.tensors.iter().enumerate() {
        let elements: usize = symmetries.shape(index).iter().product();
        let of_weights = tensor.role == TensorRole::Parameter;
        let start = if of_weights { &mut weights } else { &mut statistics };
        places.insert(&tensor.name, (of_weights, *start..*start + elements));
        *start += elements;
    }
    let count = models.len() as f64;
    for (of_weights, range) in shared.iter().filter_map(|name| places.get(name.as_str())) {
        for at in range.clone() {
            let value =
                |flat: &Flat| f64::from(if *of_weights { flat.weights[at] } else { flat.statistics[at] });
            let mean = (models.iter().map(value).sum::<f64>() / count) as f32;
            for flat in models.iter_mut() {
                *if *of_weights { &mut flat.weights[at] } else { &mut flat.statistics[at] } = mean;
            }
        }
    }
}

/// The largest difference of two networks' outputs, relative to the largest output.
fn difference(
    old: &mut Network,
    before: &Flat,
    new: &mut Network,
    after: &Flat,
    batch: &Batch,
) -> Result<f64, fusion_network::NetworkError> {
    let one = old.outputs(&before.weights, &before.statistics, batch, Norm::Running)?;
    let other = new.outputs(&after.weights, &after.statistics, batch, Norm::Running)?;
    let size = one.iter().fold(f64::MIN_POSITIVE, |most, value| most.max(f64::from(value.abs())));
    let mut off = 0.0_f64;
    for (a, b) in one.iter().zip(&other) {
        let own = f64::from((a - b).abs()) / size;
        // A NaN in both is none of the alignment's doing; in one alone it is.
        if own.is_nan() && !(a.is_nan() && b.is_nan()) {
            return Ok(f64::NAN);
        }
        off = off.max(own);
    }
    Ok(off)
}

/// A batch that was not filled yet.
fn empty() -> Batch {
    Batch { inputs: Values::Floats(Vec::new()), shape: Vec::new(), targets: Targets::Classes(Vec::new()) }
}

/// Random inputs for a network that has no data here: normal numbers, or tokens of its vocabulary.
fn random(architecture: &Architecture, seed: u64) -> Batch {
    let key = Key::new(seed, "probe", 0);
    let elements = PROBE * architecture.input().iter().product::<usize>();
    let inputs = match architecture.reads() {
        Reads::Numbers => Values::Floats((0..elements as u64).map(|index| key.normal(index)).collect()),
        Reads::Tokens(vocabulary) => {
            let most = vocabulary.max(1) as u32;
            Values::Tokens((0..elements as u64).map(|index| key.bits(index) % most).collect())
        }
    };
    let shape = std::iter::once(PROBE).chain(architecture.input().iter().copied()).collect();
    Batch { inputs, shape, targets: Targets::Classes(Vec::new()) }
}
