//! Runs a method in memory, so that a method's author can test it without an engine, a recipe or files.
//!
//! The driver goes through the same passes in the same blocks as the engine, for every class of methods. [`run`] also runs everything a
//! second time: tiles in another order, with reused partial states, on several threads. It fails if one bit differs, if an output was left
//! unwritten, or if a long call does not stop when it is told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value as Json};

use crate::context::{Context, Host};
use crate::error::{ErrorKind, MethodError};
use crate::kernel::{BLOCK, Kernel, TILE, Tile};
use crate::method::{Method, Prepared};
use crate::model::{ModelKernel, Models};
use crate::task::{RawGroup, RawInput, RawTensor};
use crate::whole::{Member, WholeKernel};

/// A tensor's task: its name, shape, stage settings, and (role, settings) per input. Settings that are no JSON object count
/// as empty.
pub fn tensor(name: &str, shape: &[usize], params: &Json, inputs: &[(&str, Json)]) -> RawTensor {
    let object = |json: &Json| json.as_object().cloned().unwrap_or_else(Map::new);
    RawTensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        layer: None,
        params: object(params),
        inputs: inputs
            .iter()
            .map(|(role, settings)| RawInput { role: (*role).to_owned(), settings: object(settings) })
            .collect(),
    }
}

/// What is left where nothing was written: a NaN that no computation gives.
const UNWRITTEN: u32 = 0x7fc0_dead;

/// Computes all tensors of a group. `data[tensor][input]` are the values, in port order.
///
/// # Errors
/// Those of the method; [`ErrorKind::Shape`] if the data does not fit the group; [`ErrorKind::Failed`] if the method breaks a rule of
/// the contract (see the module).
pub fn run(
    method: &dyn Method,
    group: &RawGroup,
    data: &[Vec<Vec<f32>>],
) -> Result<Vec<Vec<f32>>, MethodError> {
    let fits = group.tensors.len() == data.len()
        && group.tensors.iter().zip(data).all(|(tensor, inputs)| {
            let n: usize = tensor.shape.iter().product();
            tensor.inputs.len() == inputs.len() && inputs.iter().all(|values| values.len() == n)
        });
    if !fits {
        return Err(MethodError::new(
            ErrorKind::Shape,
            "the data does not fit the group's tensors and inputs",
        ));
    }
    let first = pass(method, group, data, false)?;
    let second = pass(method, group, data, true)?;
    if bits(&first) != bits(&second) {
        return broken(
            "the result depends on the order in which it is computed, or on the number of threads",
        );
    }
    if first.iter().flatten().any(|value| value.to_bits() == UNWRITTEN) {
        return broken("an output was not written");
    }
    stops(method, group, data)?;
    Ok(first)
}

fn broken<T>(message: &str) -> Result<T, MethodError> {
    Err(MethodError::new(ErrorKind::Failed, message))
}

fn bits(all: &[Vec<f32>]) -> Vec<u32> {
    all.iter().flatten().map(|x| x.to_bits()).collect()
}

fn blank(data: &[Vec<Vec<f32>>]) -> Vec<Vec<f32>> {
    let length = |inputs: &Vec<Vec<f32>>| inputs.first().map_or(0, Vec::len);
    data.iter().map(|inputs| vec![f32::from_bits(UNWRITTEN); length(inputs)]).collect()
}

/// A host with as many threads as asked for, which says stop after some questions.
struct Double {
    threads: usize,
    patience: AtomicUsize,
}

impl Double {
    fn new(threads: usize, patience: usize) -> Self {
        Double { threads, patience: AtomicUsize::new(patience) }
    }
}

impl Host for Double {
    fn cancelled(&self) -> bool {
        self.patience.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        if self.threads < 2 {
            return (0..n).for_each(body);
        }
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    while let Some(index) = n.checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
                        body(index); // from the last to the first
                    }
                });
            }
        });
    }
}

/// One run; `other` reverses the order, reuses partial states and takes more threads.
fn pass(
    method: &dyn Method,
    group: &RawGroup,
    data: &[Vec<Vec<f32>>],
    other: bool,
) -> Result<Vec<Vec<f32>>, MethodError> {
    let host = Double::new(if other { 3 } else { 1 }, usize::MAX);
    match method.prepare(group)? {
        Prepared::Elementwise(kernel) => elementwise(kernel, data, other),
        Prepared::Whole(kernel) => whole(&*kernel, group, data, &Context::new(&host)),
        Prepared::Model(kernel) => model(&*kernel, group, data, &Context::new(&host)),
    }
}

/// A long call that is told to stop ends with the error that says so, or comes to its end.
fn stops(method: &dyn Method, group: &RawGroup, data: &[Vec<Vec<f32>>]) -> Result<(), MethodError> {
    for patience in [0, 1, 7] {
        let host = Double::new(1, patience);
        let context = Context::new(&host);
        let ended = match method.prepare(group)? {
            Prepared::Elementwise(_) => return Ok(()), // its calls are too short to be stopped
            Prepared::Whole(kernel) => whole(&*kernel, group, data, &context),
            Prepared::Model(kernel) => model(&*kernel, group, data, &context),
        };
        match ended {
            Err(error) if error.kind != ErrorKind::Cancelled => {
                return broken(&format!("told to stop, it failed: {}", error.message));
            }
            _ => {}
        }
    }
    Ok(())
}

fn whole(
    kernel: &dyn WholeKernel,
    group: &RawGroup,
    data: &[Vec<Vec<f32>>],
    context: &Context<'_>,
) -> Result<Vec<Vec<f32>>, MethodError> {
    let mut results = blank(data);
    let slices: Vec<Vec<&[f32]>> =
        data.iter().map(|inputs| inputs.iter().map(Vec::as_slice).collect()).collect();
    let mut members: Vec<Member<'_>> = group
        .tensors
        .iter()
        .zip(&slices)
        .zip(&mut results)
        .map(|((tensor, inputs), out)| Member { name: &tensor.name, shape: &tensor.shape, inputs, out })
        .collect();
    kernel.apply(&mut members, context)?;
    Ok(results)
}

/// Models in memory.
struct InMemory<'a> {
    group: &'a RawGroup,
    data: &'a [Vec<Vec<f32>>],
    written: Vec<Mutex<Option<Vec<f32>>>>,
}

impl Models for InMemory<'_> {
    fn models(&self) -> usize {
        self.data.first().map_or(0, Vec::len)
    }

    fn members(&self) -> usize {
        self.data.len()
    }

    fn name(&self, member: usize) -> &str {
        self.group.tensors.get(member).map_or("", |tensor| &tensor.name)
    }

    fn shape(&self, member: usize) -> &[usize] {
        self.group.tensors.get(member).map_or(&[], |tensor| &tensor.shape)
    }

    fn read(&self, model: usize, member: usize) -> Result<Vec<f32>, MethodError> {
        let found = self.data.get(member).and_then(|inputs| inputs.get(model));
        found
            .cloned()
            .ok_or_else(|| MethodError::invalid(format!("there is no member {member} of model {model}")))
    }

    fn write(&self, member: usize, data: &[f32]) -> Result<(), MethodError> {
        let Some(slot) = self.written.get(member) else {
            return Err(MethodError::invalid(format!("there is no member {member}")));
        };
        let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if data.len() != self.shape(member).iter().product::<usize>() {
            return Err(MethodError::invalid(format!(
                "`{}` was written with another length",
                self.name(member)
            )));
        }
        match slot.replace(data.to_vec()) {
            None => Ok(()),
            Some(_) => Err(MethodError::invalid(format!("`{}` was written twice", self.name(member)))),
        }
    }
}

fn model(
    kernel: &dyn ModelKernel,
    group: &RawGroup,
    data: &[Vec<Vec<f32>>],
    context: &Context<'_>,
) -> Result<Vec<Vec<f32>>, MethodError> {
    let models = InMemory { group, data, written: data.iter().map(|_| Mutex::new(None)).collect() };
    kernel.run(&models, context)?;
    let written = models.written.into_iter().zip(&group.tensors).map(|(slot, tensor)| {
        let value = slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        value.ok_or_else(|| MethodError::new(ErrorKind::Failed, format!("`{}` was not written", tensor.name)))
    });
    written.collect()
}

fn elementwise(
    mut kernel: Box<dyn Kernel>,
    data: &[Vec<Vec<f32>>],
    other: bool,
) -> Result<Vec<Vec<f32>>, MethodError> {
    while kernel.observing() {
        let mut reused = kernel.partial();
        for (index, inputs) in data.iter().enumerate() {
            let n = inputs.first().map_or(0, Vec::len);
            for block in (0..n).step_by(BLOCK) {
                let mut fresh = kernel.partial();
                let partial = if other { &mut reused } else { &mut fresh };
                for offset in (block..n.min(block + BLOCK)).step_by(TILE) {
                    if !kernel.wants(index, offset / TILE) {
                        continue;
                    }
                    let slices = slices(inputs, offset);
                    kernel.observe(
                        &mut **partial,
                        &Tile { tensor: index, offset: offset as u64, inputs: &slices },
                    );
                }
                kernel.absorb(&mut **partial);
            }
        }
        kernel.finish_pass()?;
    }
    let mut results = blank(data);
    for ((index, inputs), out) in data.iter().enumerate().zip(&mut results) {
        let n = out.len();
        let mut offsets: Vec<usize> = (0..n).step_by(TILE).collect();
        if other {
            offsets.reverse();
        }
        for offset in offsets {
            let slices = slices(inputs, offset);
            let tile = Tile { tensor: index, offset: offset as u64, inputs: &slices };
            kernel.apply(&tile, &mut out[offset..n.min(offset + TILE)]);
        }
    }
    if let Some(error) = kernel.trouble() {
        return Err(error);
    }
    Ok(results)
}

fn slices(inputs: &[Vec<f32>], offset: usize) -> Vec<&[f32]> {
    inputs.iter().map(|values| &values[offset..values.len().min(offset + TILE)]).collect()
}
