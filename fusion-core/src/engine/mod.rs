//! The engine: it streams what the plan describes to disk, wave by wave, in bounded memory, the same bytes every time.

mod apply;
mod context;
mod device;
mod error;
mod events;
mod hashes;
mod lora;
mod memo;
mod observe;
mod program;
mod sidecars;
mod spill;
mod wave;
mod whole;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use fusion_sdk::{Prepared, TILE};
use serde::Serialize;

use crate::checkpoint::blocks::BLOCK_ELEMENTS;
use crate::checkpoint::write::{Begin, OutTensor, Transaction, layout, tidy};
use crate::method::Registry;
use crate::plan::ir::{Origin, Program};
use crate::plan::outputs::{Record, State, input_records, size};
use crate::plan::{Options, Output, Plan};
use context::Context;
use device::Placement;
use wave::WaveRun;

pub(crate) use whole::group_bytes;

pub use error::{Access, NonFinite, RunError};
pub use events::{Event, Listener};

/// What a run has done.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Per output: path, bytes written in this run, tensors taken over from an interrupted one, whether it was there already.
    pub outputs: Vec<OutputRun>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Bytes read from inputs.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Stages on networks and data, and what they have shown.
    #[cfg(feature = "learn")]
    pub experiment: crate::experiment::Outcome,
}

/// One output of a run.
#[derive(Clone, Debug, Serialize)]
pub struct OutputRun {
    /// Path in the recipe.
    pub path: String,
    /// Tensors.
    pub tensors: usize,
    /// Of these, finished by an interrupted run.
    pub resumed: usize,
    /// It was there and nothing had changed.
    pub cached: bool,
    /// BLAKE3 per file.
    pub hashes: BTreeMap<String, String>,
}

/// Runs a plan. `recipe` is the recipe's text for the model card.
///
/// # Errors
/// See [`RunError`]. After [`RunError::Cancelled`] the finished tensors are kept for a resume, after any other error
/// nothing is left behind.
pub fn run(
    plan: &Plan,
    registry: &Registry,
    options: &Options,
    recipe: &str,
    listener: Listener<'_>,
    cancel: &AtomicBool,
) -> Result<RunReport, RunError> {
    let began = std::time::Instant::now();
    // Before hours of stages.
    let chunk = fit(plan, &plan.outputs, options)?;
    #[cfg(feature = "learn")]
    fit(plan, &plan.experiment.between, options)?;
    #[cfg(feature = "learn")]
    let (plan, mut outcome) = match plan.experiment.is_empty() {
        true => (std::borrow::Cow::Borrowed(plan), crate::experiment::Outcome::default()),
        false => {
            let (plan, outcome) = crate::experiment::execute(plan, registry, options, listener, cancel)?;
            (std::borrow::Cow::Owned(plan), outcome)
        }
    };
    #[cfg(feature = "learn")]
    let plan = plan.as_ref();
    let context = Context::new(&plan.program, cancel, listener);
    let pool = threads(options)?;
    let placement = Placement::new(&plan.program, registry, options.device)?;
    let due = plan.outputs.iter().filter(|output| output.state != State::Cached).count();
    context.emit(&Event::Started {
        outputs: due,
        read: plan.report.cost.read,
        written: plan.report.cost.written,
        threads: options.threads,
    });
    if let Some(cache) = &options.cache {
        memo::load(&context, cache);
    }
    let mut outputs = Vec::new();
    for output in &plan.outputs {
        if output.state == State::Cached {
            if let Err(error) = tidy(&output.target, &output.key) {
                context.emit(&Event::Warning { message: format!("the result is complete, but {error}") });
            }
            context.emit(&Event::Cached { path: output.path.clone() });
            outputs.push(OutputRun {
                path: output.path.clone(),
                tensors: output.tensors.len(),
                resumed: 0,
                cached: true,
                hashes: BTreeMap::new(),
            });
            continue;
        }
        let wave = WaveRun {
            context: &context,
            pool: &pool,
            registry,
            output,
            placement: &placement,
            chunk,
            allow_non_finite: options.allow_non_finite,
            memory: options.memory,
        };
        outputs.push(one_output(plan, options, recipe, &wave)?);
    }
    if let Some(cache) = options.cache.as_ref().filter(|_| due > 0) {
        memo::save(&context, cache);
    }
    let (read, written) = context.totals();
    let seconds = began.elapsed().as_secs_f64();
    #[cfg(feature = "learn")]
    {
        outcome.decide(plan);
        crate::experiment::write_reports(plan, options, recipe, seconds, &mut outcome, listener)?;
    }
    context.emit(&Event::Progress { read, written });
    context.emit(&Event::Finished { seconds, read, written });
    Ok(RunReport {
        outputs,
        seconds,
        read,
        written,
        #[cfg(feature = "learn")]
        experiment: outcome,
    })
}

/// Computes one model of a plan to where its output says, without a word: what stages on networks need from stages on tensors.
#[cfg(feature = "learn")]
pub(crate) fn compute(
    plan: &Plan,
    output: &Output,
    registry: &Registry,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<(), RunError> {
    if let Some(parent) = output.target.path().parent() {
        std::fs::create_dir_all(parent)
            .map_err(|error| RunError::Spill { path: parent.to_owned(), reason: error.to_string() })?;
    }
    let context = Context::new(&plan.program, cancel, &|_| {});
    let pool = threads(options)?;
    let placement = Placement::new(&plan.program, registry, options.device)?;
    let wave = WaveRun {
        context: &context,
        pool: &pool,
        registry,
        output,
        placement: &placement,
        chunk: fit(plan, std::slice::from_ref(output), options)?,
        allow_non_finite: options.allow_non_finite,
        memory: options.memory,
    };
    one_output(plan, options, "", &wave).map(|_| ())
}

fn threads(options: &Options) -> Result<rayon::ThreadPool, RunError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.max(1))
        .thread_name(|index| format!("fusion-{index}"))
        .build()
        .map_err(|error| RunError::Threads(error.to_string()))
}

fn one_output(
    plan: &Plan,
    options: &Options,
    recipe: &str,
    wave: &WaveRun<'_>,
) -> Result<OutputRun, RunError> {
    let (context, output) = (wave.context, wave.output);
    let tensors: Vec<OutTensor> = output
        .tensors
        .iter()
        .map(|tensor| OutTensor {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: plan.program.tensor(tensor.tensor).shape.clone(),
        })
        .collect();
    let mut record = record(plan, options, output);
    let slots: Vec<String> = record.inputs.iter().map(|input| slot(&input.name)).collect();
    let placed = layout(&tensors, output.shard_bytes, &metadata(plan, output), &slots)?;
    let (sidecars, notes) = sidecars::sidecars(plan, output, recipe);
    for message in notes {
        context.emit(&Event::Warning { message });
    }
    let (transaction, resumed) = Transaction::begin(Begin {
        target: &output.target,
        layout: &placed,
        key: &output.key,
        overwrite: output.overwrite,
        sidecars: &sidecars,
        cancel: context.cancel,
    })?;
    if let Some(message) = resumed.note {
        context.emit(&Event::Warning { message });
    }
    context.emit(&Event::Output {
        path: output.path.clone(),
        name: output.name.clone(),
        tensors: output.tensors.len(),
        resumed: resumed.done.len(),
    });
    let computed = all_waves(wave, &resumed.done, options, &transaction)
        .and_then(|()| hashes::inputs(context, wave.pool, output))
        .and_then(|hashes| unchanged(&plan.program).map(|()| hashes));
    let hashes = match computed {
        Ok(hashes) => hashes,
        Err(error) => {
            if !error.keeps_progress() {
                // The error that stopped the run is the one to tell.
                let _ = transaction.discard();
            }
            return Err(error);
        }
    };
    for (input, hash) in record.inputs.iter_mut().zip(&hashes) {
        input.hash = blake3::Hash::from_bytes(*hash).to_hex().to_string();
    }
    let filled = slots.into_iter().zip(hashes).collect();
    context.emit(&Event::Syncing { path: output.path.clone() });
    let record = serde_json::to_value(&record).unwrap_or_default();
    let committed = transaction.commit(&filled, &record)?;
    if let Some(message) = committed.note {
        context.emit(&Event::Warning { message });
    }
    context.emit(&Event::Saved {
        path: output.path.clone(),
        bytes: placed.total_bytes,
        seconds: context.seconds(),
    });
    Ok(OutputRun {
        path: output.path.clone(),
        tensors: output.tensors.len(),
        resumed: resumed.done.len(),
        cached: false,
        hashes: committed
            .shards
            .into_iter()
            .map(|(file, hash)| (file, blake3::Hash::from_bytes(hash).to_hex().to_string()))
            .collect(),
    })
}

fn all_waves(
    wave: &WaveRun<'_>,
    done: &BTreeMap<usize, [u8; 32]>,
    options: &Options,
    transaction: &Transaction,
) -> Result<(), RunError> {
    let pending: Vec<usize> =
        (0..wave.output.tensors.len()).filter(|index| !done.contains_key(index)).collect();
    for tensors in wave::cut(wave.context.program, wave.output, &pending, wave.registry, options.memory / 4)?
    {
        wave.context.check()?;
        wave.run(&tensors, transaction)?;
    }
    Ok(())
}

/// Inputs are memory-mapped: if one was written to meanwhile, the result is no function of either version.
fn unchanged(program: &Program) -> Result<(), RunError> {
    for source in &program.sources {
        source.checkpoint.verify_unchanged().map_err(|_| RunError::Changed(source.path.clone()))?;
    }
    Ok(())
}

fn slot(input: &str) -> String {
    format!("fusion.input.{input}")
}

fn record(plan: &Plan, options: &Options, output: &Output) -> Record {
    Record {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        key: output.key.clone(),
        recipe: plan
            .graph
            .keys()
            .get(output.node.0 as usize)
            .map(|key| blake3::Hash::from_bytes(*key).to_hex().to_string())
            .unwrap_or_default(),
        inputs: input_records(&plan.program, &output.used),
        settings: plan
            .report
            .stages_before(&plan.graph, output.node)
            .into_iter()
            .map(|stage| (stage.name, stage.summary))
            .collect(),
        device: options.device.to_string(),
    }
}

/// The safetensors metadata: what made the file. Hashes of the inputs are filled in at the end.
fn metadata(plan: &Plan, output: &Output) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    metadata.insert("format".to_owned(), "pt".to_owned());
    metadata.insert("fusion.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    metadata.insert("fusion.key".to_owned(), output.key.clone());
    // The resolved recipe: seeds, settings and rules as they were, without names or comments.
    metadata.insert("fusion.recipe".to_owned(), serde_json::to_string(&plan.graph).unwrap_or_default());
    metadata
}

/// The chunk with which these outputs fit the budget: the one asked for, or smaller ones down to 64 Ki elements.
fn fit(plan: &Plan, outputs: &[Output], options: &Options) -> Result<usize, RunError> {
    let on_device =
        plan.report.stages.iter().any(|stage| stage.runs_on != "fused cpu" && stage.runs_on != "headers");
    let budget = options.memory / 2; // a quarter is for statistics, a quarter for partial ones
    let need = |chunk: usize| {
        let span = if on_device { chunk } else { TILE };
        buffer_bytes(&plan.program, outputs, span, chunk) * options.threads.max(1) as u64
    };
    let mut chunk = options.chunk.max(BLOCK_ELEMENTS) / BLOCK_ELEMENTS * BLOCK_ELEMENTS;
    while need(chunk) > budget && chunk > BLOCK_ELEMENTS {
        chunk = (chunk / 2).max(BLOCK_ELEMENTS) / BLOCK_ELEMENTS * BLOCK_ELEMENTS;
    }
    if need(chunk) > budget {
        return Err(RunError::Memory {
            budget: size(options.memory),
            threads: options.threads,
            needed: size(need(chunk) * 2),
        });
    }
    Ok(chunk)
}

/// Bytes of one worker's buffers: f32 values of `span` elements for each tensor of the widest program, and finished chunks.
pub(crate) fn buffer_bytes(program: &Program, outputs: &[Output], span: usize, chunk: usize) -> u64 {
    let tensors = || outputs.iter().flat_map(|output| &output.tensors);
    let slots = tensors().map(|tensor| program.closure(&[tensor.tensor]).len()).max().unwrap_or(1);
    let width = tensors().map(|tensor| tensor.dtype.size()).max().unwrap_or(1);
    (slots * span * size_of::<f32>() + writer::BUFFERS * chunk * width) as u64
}

/// Statistics that a wave of an output may hold, for the plan's estimate: the largest group of each stage, prepared without weights.
pub(crate) fn wave_state_bytes(program: &Program, output: &Output, registry: &Registry) -> u64 {
    let mut largest: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
    for tensor in &output.tensors {
        for id in program.closure(&[tensor.tensor]) {
            if let Origin::Computed { stage, group, .. } = program.tensor(id).origin {
                let len = program.tensor(id).len();
                let entry = largest.entry(stage).or_insert((len, group));
                if len > entry.0 {
                    *entry = (len, group);
                }
            }
        }
    }
    largest
        .into_iter()
        .map(|(stage, (_, group))| match wave::prepare(program, registry, stage, group) {
            Ok(Prepared::Elementwise(kernel)) => {
                let (state, partial) = kernel.state_bytes();
                8 * (state + partial) as u64
            }
            Ok(Prepared::Whole(kernel)) => {
                group_bytes(program, &program.stages[stage], group) + kernel.scratch_bytes() as u64
            }
            Ok(Prepared::Model(kernel)) => kernel.scratch_bytes() as u64,
            Err(_) => 0, // a plugin's method that is only declared: its library is not loaded to plan
        })
        .sum()
}
