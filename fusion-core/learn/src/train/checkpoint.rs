//! Checkpoints of a training under way: one safetensors file, whose metadata holds the numbers as JSON, written beside its place and
//! renamed, so that there is the old one, or the new one, or none.
//!
//! A run that goes on from it gives the same bits as one that was never interrupted.

mod file;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use fusion_network::Flat;
use fusion_sdk::optim::OptimizerState;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::record::Saved;

use super::error::TrainError;
use super::history::{History, Meter};
use super::session::{Best, Setup, State};
use super::timeline::Timeline;
use file::{File, Tensor, Vector, add, flat};

/// The metadata's key.
const KEY: &str = "fusion.training";

/// Where a training keeps its checkpoint, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// An existing folder; the file in it is `training.safetensors`.
    pub folder: PathBuf,
    /// Time between two checkpoints. One is written too when the user stops the run.
    pub every: Duration,
}

impl Resume {
    /// Checkpoints in this folder, once a minute.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Resume { folder: folder.into(), every: Duration::from_secs(60) }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join("training.safetensors")
    }

    /// Removes the checkpoint: for callers that have the result in safety.
    ///
    /// # Errors
    /// If there is one and it cannot be removed.
    pub fn clear(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The numbers of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Numbers {
    identity: String,
    done: u64,
    optimizer_steps: Vec<u64>,
    means: usize,
    terms: u64,
    stopped_early: bool,
    point: Meter,
    epoch: Meter,
    /// Bits of the loss, and its step.
    best: Option<(u64, u64)>,
    recorders: Vec<RecorderNumbers>,
    history: History,
}

#[derive(Serialize, Deserialize)]
struct RecorderNumbers {
    numbers: Json,
    singles: usize,
    doubles: usize,
}

/// All that a training's result depends on, as text; checkpoints with another are not of this training.
pub(crate) fn identity(setup: &Setup<'_>, timeline: &Timeline, start: &Flat) -> String {
    let params = setup.params;
    let collects: Vec<_> =
        setup.collects.iter().map(|collect| json!([collect.name, collect.params])).collect();
    json!({
        "version": 1,
        "identity": setup.identity,
        "common": params.common,
        "frozen": setup.frozen,
        "parallel": params.parallel,
        "rule": format!("{:?}", params.rule),
        "rate": params.rate,
        "collects": collects,
        "validated": setup.validated,
        "steps_per_epoch": timeline.steps_per_epoch(),
        "weights": start.weights.len(),
        "statistics": start.statistics.len(),
        "start": format!("{:016x}", digest(start)),
    })
    .to_string()
}

/// FNV-1a over the bits of the weights: tells starts apart, no more.
fn digest(flat: &Flat) -> u64 {
    flat.weights.iter().chain(&flat.statistics).fold(0xcbf2_9ce4_8422_2325, |hash, value| {
        (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Writes the state.
pub(crate) fn save(resume: &Resume, identity: &str, state: &State) -> Result<(), TrainError> {
    let mut tensors: Vec<(String, Tensor<'_>)> = Vec::new();
    for (index, replica) in state.replicas.iter().enumerate() {
        let (first, second) = replica.optimizer.moments();
        for (part, values) in [
            ("weights", &replica.weights[..]),
            ("statistics", &replica.statistics[..]),
            ("first", first),
            ("second", second),
        ] {
            add(&mut tensors, format!("replica.{index}.{part}"), Vector::Single(values.into()));
        }
    }
    for (index, mean) in state.linked.means.iter().enumerate() {
        flat(&mut tensors, &format!("mean.{index}"), mean);
    }
    add(&mut tensors, "sum".to_owned(), Vector::Double((&state.linked.sum[..]).into()));
    if let Some(best) = &state.best {
        flat(&mut tensors, "best", &best.flat);
    }
    let mut recorders = Vec::new();
    for (index, recorder) in state.recorders.iter().enumerate() {
        let Saved { numbers, singles, doubles } = recorder.save();
        recorders.push(RecorderNumbers { numbers, singles: singles.len(), doubles: doubles.len() });
        for (at, values) in singles.into_iter().enumerate() {
            add(&mut tensors, format!("recorder.{index}.single.{at}"), Vector::Single(values));
        }
        for (at, values) in doubles.into_iter().enumerate() {
            add(&mut tensors, format!("recorder.{index}.double.{at}"), Vector::Double(values));
        }
    }
    let numbers = Numbers {
        identity: identity.to_owned(),
        done: state.done,
        optimizer_steps: state.replicas.iter().map(|replica| replica.optimizer.steps()).collect(),
        means: state.linked.means.len(),
        terms: state.linked.terms,
        stopped_early: state.stopped_early,
        point: state.point,
        epoch: state.epoch,
        best: state.best.as_ref().map(|best| (best.loss.to_bits(), best.done)),
        recorders,
        history: state.history.clone(),
    };
    let path = resume.file();
    let failed = |cause: String| TrainError::Write { path: path.clone(), cause };
    let numbers = serde_json::to_string(&numbers).map_err(|error| failed(error.to_string()))?;
    let part = resume.folder.join("training.safetensors.part");
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::serialize_to_file(views, Some(HashMap::from([(KEY.to_owned(), numbers)])), &part)
        .map_err(|error| failed(error.to_string()))?;
    let flushed = std::fs::File::open(&part).and_then(|file| file.sync_all());
    flushed.and_then(|()| std::fs::rename(&part, &path)).map_err(|error| failed(error.to_string()))
}

/// Reads the state, if there is a checkpoint; says whether there was one.
pub(crate) fn load(resume: &Resume, identity: &str, state: &mut State) -> Result<bool, TrainError> {
    let path = resume.file();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(TrainError::Checkpoint { path, cause: error.to_string() }),
    };
    match restore(&bytes, identity, state) {
        Ok(()) => Ok(true),
        Err(cause) => Err(TrainError::Checkpoint { path, cause }),
    }
}

fn restore(bytes: &[u8], identity: &str, state: &mut State) -> Result<(), String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let file = File(SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?);
    let text = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
    let text = text.ok_or("it has no state of a training")?;
    let numbers: Numbers = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if numbers.identity != identity {
        return Err("it was written with other settings, data or start".to_owned());
    }
    if numbers.recorders.len() != state.recorders.len()
        || numbers.optimizer_steps.len() != state.replicas.len()
    {
        return Err("it has other recorders or replicas".to_owned());
    }
    for (index, (replica, steps)) in state.replicas.iter_mut().zip(numbers.optimizer_steps).enumerate() {
        let part = |part: &str| file.single(&format!("replica.{index}.{part}"));
        file.fill(&format!("replica.{index}.weights"), &mut replica.weights)?;
        file.fill(&format!("replica.{index}.statistics"), &mut replica.statistics)?;
        let optimizer = OptimizerState { steps, first: part("first")?, second: part("second")? };
        replica.optimizer.restore(optimizer).map_err(|error| error.message)?;
    }
    let like = &state.replicas[0];
    let (weights, statistics) = (like.weights.len(), like.statistics.len());
    let flat = |name: &str| {
        let mut flat = Flat { weights: vec![0.0; weights], statistics: vec![0.0; statistics] };
        file.fill(&format!("{name}.weights"), &mut flat.weights)?;
        file.fill(&format!("{name}.statistics"), &mut flat.statistics)?;
        Ok::<_, String>(flat)
    };
    state.linked.means =
        (0..numbers.means).map(|index| flat(&format!("mean.{index}"))).collect::<Result<_, _>>()?;
    state.linked.sum = file.double("sum")?;
    state.linked.terms = numbers.terms;
    state.best = match numbers.best {
        Some((loss, done)) => Some(Best { loss: f64::from_bits(loss), done, flat: flat("best")? }),
        None => None,
    };
    for (index, (recorder, found)) in state.recorders.iter_mut().zip(numbers.recorders).enumerate() {
        let singles = (0..found.singles).map(|at| file.single(&format!("recorder.{index}.single.{at}")));
        let doubles = (0..found.doubles).map(|at| file.double(&format!("recorder.{index}.double.{at}")));
        let saved = Saved {
            numbers: found.numbers,
            singles: singles.map(|values| values.map(Cow::Owned)).collect::<Result<_, _>>()?,
            doubles: doubles.map(|values| values.map(Cow::Owned)).collect::<Result<_, _>>()?,
        };
        // Zipped loops would not see a vector that is too short.
        let lengths = saved
            .singles
            .iter()
            .map(|values| values.len())
            .chain(saved.doubles.iter().map(|values| values.len()));
        if let Some(length) = lengths.into_iter().find(|length| ![0, weights, statistics].contains(length)) {
            return Err(format!("recorder {index} has a vector of {length} numbers"));
        }
        recorder.load(saved)?;
    }
    (state.done, state.history) = (numbers.done, numbers.history);
    (state.point, state.epoch) = (numbers.point, numbers.epoch);
    state.stopped_early = numbers.stopped_early;
    Ok(())
}
