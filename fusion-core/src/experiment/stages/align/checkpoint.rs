//! Alignment of checkpoints that no network is known for: weights are read a piece at a time, and the aligned copy is written tensor by
//! tensor, so memory is bounded by the largest tensors and not by the models.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusion_dsl::span::Span;
use fusion_sdk::align::{AlignKernel, Candidate, Matching, Source};
use fusion_sdk::alignment::{Alignment, AlignmentError};
use fusion_sdk::symmetry::Symmetries;
use fusion_sdk::{Context, ErrorKind, MethodError};
use safetensors::tensor::{Dtype as Stored, View as Write};

use super::super::super::results::Result as StepResult;
use super::super::super::run::Runtime;
use super::super::super::{AlignPlan, Feed, Input, Step, load};
use super::super::{File, Made};
use super::{checked, facts, sections, workers};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::engine::{NonFinite, RunError};
use crate::plan::experiment::align::models;
use crate::plan::ir::Origin;
use crate::tensor::{Dtype, from_f32, to_f32};

/// Elements that are converted at once.
const PIECE: usize = 64 << 10;

/// A tensor in a checkpoint.
#[derive(Clone)]
struct Place {
    checkpoint: Arc<Checkpoint>,
    index: usize,
}

/// A model's tensors by the places of its symmetries, and the rest of them by name.
struct Model {
    /// Name in the recipe.
    name: String,
    places: Vec<Place>,
    others: BTreeMap<String, Place>,
    /// What the method has met, which its own error may tell in other words.
    met: Mutex<Met>,
}

/// Why reading has failed.
#[derive(Default)]
struct Met {
    unread: Option<CheckpointError>,
    /// By place of the tensor.
    bad: BTreeMap<usize, NonFinite>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    fn unread(&self, error: CheckpointError) -> MethodError {
        let message = error.to_string();
        lock(&self.met).unread = Some(error);
        MethodError::new(ErrorKind::Failed, message)
    }
}

impl Source for Model {
    fn read(&self, tensor: usize, start: usize, out: &mut [f32]) -> Result<(), MethodError> {
        let place = &self.places[tensor];
        let info = &place.checkpoint.tensors()[place.index];
        let mut bytes = vec![0; PIECE.min(out.len()) * info.dtype.size()];
        let mut at = start;
        for piece in out.chunks_mut(PIECE) {
            let bytes = &mut bytes[..piece.len() * info.dtype.size()];
            let read = place.checkpoint.read(place.index, at..at + piece.len(), bytes);
            read.map_err(|error| self.unread(error))?;
            if !to_f32(info.dtype, bytes, piece) {
                let all = place.checkpoint.bytes(place.index).map_err(|error| self.unread(error))?;
                if let Some(found) = NonFinite::of_bytes(&self.name, &info.name, info.dtype, all) {
                    lock(&self.met).bad.insert(tensor, found);
                }
                let message = format!("`{}` of `{}` has values that are not finite", info.name, self.name);
                return Err(MethodError::new(ErrorKind::Failed, message));
            }
            at += piece.len();
        }
        Ok(())
    }
}

/// Why a method has given up: what it met in a model's file, or what it says.
fn refused(runtime: &Runtime<'_>, step: &Step, models: &[Model], error: MethodError) -> RunError {
    if error.kind == ErrorKind::Cancelled || runtime.cancel.load(Ordering::Relaxed) {
        return RunError::Cancelled;
    }
    let mut bad = Vec::new();
    for model in models {
        let met = std::mem::take(&mut *lock(&model.met));
        if let Some(error) = met.unread {
            return RunError::Read(error);
        }
        bad.extend(met.bad.into_values());
    }
    match bad.is_empty() {
        true => runtime.refused(step, error),
        false => RunError::needs_finite(&step.name, &step.method, bad),
    }
}

pub(super) fn run(
    runtime: &Runtime<'_>,
    step: &Step,
    plan: &AlignPlan,
    kernel: &dyn AlignKernel,
    given: &[Alignment],
    threads: usize,
) -> Result<Made, RunError> {
    let inputs: Vec<&Input> = models(&step.inputs).collect();
    let opened = inputs
        .iter()
        .zip(&plan.models)
        .map(|(input, model)| open(runtime, step, input, &model.symmetries))
        .collect::<Result<Vec<_>, _>>()?;
    let candidates: Vec<Candidate<'_>> = inputs
        .iter()
        .zip(&plan.models)
        .zip(&opened)
        .map(|((input, model), source)| Candidate {
            name: &input.name,
            symmetries: &model.symmetries,
            source,
            vectors: None,
        })
        .collect();
    let workers = workers(runtime, step, threads)?;
    let given: Vec<&Alignment> = given.iter().collect();
    let matching = Matching {
        models: &candidates,
        reference: plan.reference,
        target: &plan.target,
        features: None,
        objective: None,
        alignments: &given,
        seed: step.seed,
        context: Context::new(&workers),
    };
    let found = kernel.align(matching).map_err(|error| refused(runtime, step, &opened, error))?;
    let first = usize::from(plan.reference);
    let moving: Vec<&Symmetries> = plan.models[first..].iter().map(|model| &model.symmetries).collect();
    checked(runtime, step, plan, &found.alignments, &moving)?;
    if !found.shared.is_empty() {
        return Err(runtime.failed(step, "the method merges activations, which need a network", None));
    }
    let facts = facts(&found.alignments, &plan.target, &found.facts);
    let mut files = Vec::new();
    let count = opened.len() - first;
    for (index, (model, alignment)) in opened.into_iter().skip(first).zip(&found.alignments).enumerate() {
        let part = if count == 1 { "model".to_owned() } else { format!("models[{index}]") };
        let streamed = Streamed {
            model,
            alignment: alignment.clone(),
            from: moving[index].clone(),
            to: plan.target.clone(),
            stage: step.name.clone(),
            method: step.method.clone(),
            allow: runtime.options.allow_non_finite,
            failed: Mutex::default(),
        };
        files.push(File::Streamed(part, Box::new(streamed)));
    }
    files.extend(sections::alignments(&found.alignments));
    let section = sections::section(step, plan, &found, &facts, &plan.target.notes);
    let result = StepResult {
        sections: vec![section],
        shown: sections::shown(&facts),
        cost: sections::cost(&plan.target),
        facts,
        seconds: 0.0,
    };
    Ok(Made { result, files })
}

/// Finds a model's tensors in their checkpoints.
fn open(
    runtime: &Runtime<'_>,
    step: &Step,
    input: &Input,
    symmetries: &Symmetries,
) -> Result<Model, RunError> {
    let Feed::Model { view, between } = &input.feed else {
        return Err(runtime.failed(step, format!("`{}` is no model", input.name), None));
    };
    let computed = match between {
        Some(index) => {
            let folder = runtime.plan.experiment.between[*index].target.path();
            Some(Arc::new(Checkpoint::open(folder)?))
        }
        None => None,
    };
    let mut others = BTreeMap::new();
    for (name, entry) in &view.tensors {
        let place = match (&computed, &runtime.plan.program.tensor(entry.tensor).origin) {
            (Some(checkpoint), _) => {
                checkpoint.find(name).map(|index| Place { checkpoint: checkpoint.clone(), index })
            }
            (None, Origin::Stored { source, tensor }) => Some(Place {
                checkpoint: runtime.plan.program.sources[*source].checkpoint.clone(),
                index: *tensor,
            }),
            (None, _) => None,
        };
        if let Some(place) = place {
            others.insert(name.clone(), place);
        }
    }
    let mut places = Vec::new();
    for tensor in &symmetries.tensors {
        match others.remove(&tensor.name) {
            Some(place) => places.push(place),
            None => {
                let message = format!("`{}` has no tensor `{}`", input.name, tensor.name);
                return Err(runtime.failed(step, message, None));
            }
        }
    }
    Ok(Model { name: input.name.clone(), places, others, met: Mutex::default() })
}

/// An aligned checkpoint before it is written.
pub(in crate::experiment) struct Streamed {
    model: Model,
    alignment: Alignment,
    from: Symmetries,
    to: Symmetries,
    stage: String,
    method: String,
    /// Whether values that are not finite are kept.
    allow: bool,
    /// What went wrong: whoever asks for bytes cannot be told.
    failed: Mutex<Failed>,
}

#[derive(Default)]
struct Failed {
    /// Values that are not finite, where they are not allowed.
    bad: Vec<NonFinite>,
    /// The first of anything else.
    other: Option<RunError>,
}

impl Streamed {
    /// Writes it as one safetensors file, a tensor at a time.
    pub(in crate::experiment) fn write(self, to: &Path) -> std::io::Result<()> {
        let described = self.from.tensors.iter().enumerate().map(|(index, tensor)| {
            let place = &self.model.places[index];
            let lazy = Lazy { place, streamed: &self, aligned: Some(index), shape: self.to.shape(index) };
            (tensor.name.as_str(), lazy)
        });
        let others = self.model.others.iter().map(|(name, place)| {
            let shape = place.checkpoint.tensors()[place.index].shape.clone();
            (name.as_str(), Lazy { place, streamed: &self, aligned: None, shape })
        });
        let tensors: Vec<(&str, Lazy<'_>)> = described.chain(others).collect();
        let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
        safetensors::serialize_to_file(tensors, metadata, to).map_err(load::written)?;
        let Failed { bad, other } = std::mem::take(&mut *lock(&self.failed));
        match other {
            Some(error) => Err(std::io::Error::other(error)),
            None if bad.is_empty() => Ok(()),
            None => Err(std::io::Error::other(RunError::non_finite(bad))),
        }
    }

    /// The bytes of a tensor as they are stored. Notes those that are not finite.
    fn old<'a>(&self, place: &'a Place) -> Result<&'a [u8], RunError> {
        let info = &place.checkpoint.tensors()[place.index];
        let bytes = place.checkpoint.bytes(place.index)?;
        if !self.allow
            && let Some(found) = NonFinite::of_bytes(&self.model.name, &info.name, info.dtype, bytes)
        {
            lock(&self.failed).bad.push(found);
        }
        Ok(bytes)
    }

    /// The bytes of a tensor after the alignment, in its own dtype.
    fn bytes(&self, index: usize) -> Result<Vec<u8>, RunError> {
        let place = &self.model.places[index];
        let info = &place.checkpoint.tensors()[place.index];
        let size = info.dtype.size();
        let old = self.old(place)?;
        let fail = |error: AlignmentError| RunError::Method {
            stage: self.stage.clone(),
            method: self.method.clone(),
            message: error.to_string(),
            help: None,
            span: Span::NONE,
        };
        if self.alignment.permutes() {
            // Bit by bit, in any dtype.
            let gather = self.alignment.gather(&self.from, index).map_err(fail)?;
            let mut new = vec![0; old.len()];
            gather.runs(|target, source, length| {
                new[target * size..(target + length) * size]
                    .copy_from_slice(&old[source * size..(source + length) * size]);
            });
            return Ok(new);
        }
        let mut values = vec![0.0; info.len()];
        let finite = to_f32(info.dtype, old, &mut values);
        let values = self.alignment.apply(&self.from, &self.to, index, &values).map_err(fail)?;
        let mut new = vec![0; values.len() * size];
        // What was not finite before is judged where it is read.
        if from_f32(info.dtype, &values, &mut new) || !finite {
            return Ok(new);
        }
        Err(RunError::Overflow {
            tensor: info.name.clone(),
            output: self.stage.clone(),
            dtype: info.dtype.to_string(),
        })
    }
}

/// A tensor whose bytes are made when they are written.
struct Lazy<'a> {
    place: &'a Place,
    streamed: &'a Streamed,
    aligned: Option<usize>,
    shape: Vec<usize>,
}

impl Lazy<'_> {
    fn dtype_of(&self) -> Dtype {
        self.place.checkpoint.tensors()[self.place.index].dtype
    }
}

impl Write for Lazy<'_> {
    fn dtype(&self) -> Stored {
        self.dtype_of().to_safetensors()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = match self.aligned {
            Some(index) => self.streamed.bytes(index).map(Cow::Owned),
            None => self.streamed.old(self.place).map(Cow::Borrowed),
        };
        bytes.unwrap_or_else(|error| {
            lock(&self.streamed.failed).other.get_or_insert(error);
            Cow::Owned(vec![0; self.data_len()])
        })
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype_of().size()
    }
}
