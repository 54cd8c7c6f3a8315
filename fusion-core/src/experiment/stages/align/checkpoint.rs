//! Alignment of checkpoints that no network is known for: weights are read a piece at a time, and the aligned copy is written tensor by
//! tensor, so memory is bounded by the largest tensors and not by the models.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fusion_sdk::align::{AlignKernel, Candidate, Matching, Source};
use fusion_sdk::alignment::Alignment;
use fusion_sdk::symmetry::Symmetries;
use fusion_sdk::{Context, ErrorKind, MethodError};
use safetensors::tensor::{Dtype as Stored, View as Write};

use super::super::super::results::Result as StepResult;
use super::super::super::run::Runtime;
use super::super::super::{AlignPlan, Feed, Input, Step};
use super::super::{File, Made};
use super::{checked, facts, sections, workers};
use crate::checkpoint::Checkpoint;
use crate::engine::RunError;
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
    places: Vec<Place>,
    others: BTreeMap<String, Place>,
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
            read.map_err(|error| MethodError::new(ErrorKind::Failed, error.to_string()))?;
            if !to_f32(info.dtype, bytes, piece) {
                let message = format!("`{}` has values that are not finite", info.name);
                return Err(MethodError::new(ErrorKind::Failed, message)
                    .help("its training has diverged, or the file is damaged"));
            }
            at += piece.len();
        }
        Ok(())
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
    let found = kernel.align(matching).map_err(|error| runtime.refused(step, error))?;
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
            failed: Mutex::new(None),
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
    Ok(Model { places, others })
}

/// An aligned checkpoint before it is written.
pub(in crate::experiment) struct Streamed {
    model: Model,
    alignment: Alignment,
    from: Symmetries,
    to: Symmetries,
    /// The first thing that went wrong: whoever asks for bytes cannot be told.
    failed: Mutex<Option<String>>,
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
        safetensors::serialize_to_file(tensors, metadata, to).map_err(std::io::Error::other)?;
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(message) => Err(std::io::Error::other(message)),
        }
    }

    /// The bytes of a tensor after the alignment, in its own dtype.
    fn bytes(&self, index: usize) -> Result<Vec<u8>, String> {
        let place = &self.model.places[index];
        let info = &place.checkpoint.tensors()[place.index];
        let size = info.dtype.size();
        let old = place.checkpoint.bytes(place.index).map_err(|error| error.to_string())?;
        if self.alignment.permutes() {
            // Bit by bit, in any dtype.
            let gather = self.alignment.gather(&self.from, index).map_err(|error| error.to_string())?;
            let mut new = vec![0; old.len()];
            gather.runs(|target, source, length| {
                new[target * size..(target + length) * size]
                    .copy_from_slice(&old[source * size..(source + length) * size]);
            });
            return Ok(new);
        }
        let mut values = vec![0.0; info.len()];
        let _ = to_f32(info.dtype, old, &mut values);
        let values =
            self.alignment.apply(&self.from, &self.to, index, &values).map_err(|error| error.to_string())?;
        let mut new = vec![0; values.len() * size];
        match from_f32(info.dtype, &values, &mut new) {
            true => Ok(new),
            false => Err(format!("`{}` has values that its dtype cannot hold", info.name)),
        }
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
            None => {
                let bytes = self.place.checkpoint.bytes(self.place.index);
                bytes.map(Cow::Borrowed).map_err(|error| error.to_string())
            }
        };
        bytes.unwrap_or_else(|message| {
            self.streamed.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
            Cow::Owned(vec![0; self.data_len()])
        })
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype_of().size()
    }
}
