//! Whole-tensor, group and whole-model kernels in the child.
//!
//! A group's inputs and outputs are all copied through shared memory, which takes as much again as they do; a whole-model method asks for
//! one tensor at a time, over the line that its call has.

use fusion_sdk::{Context, Member, MethodError, ModelKernel, Models, RawGroup, RawTensor, WholeKernel};

use super::method::Held;
use super::process::Call;
use super::region::Layout;
use super::told::Fault;
use super::wire::{Answer, Prepared, Reply, Request};

fn elements(tensor: &RawTensor) -> usize {
    tensor.shape.iter().product()
}

/// A prepared whole-tensor or group method in the child.
pub(super) struct IsolatedWhole {
    held: Held,
    prepared: Prepared,
    /// Bytes of shared memory that a call takes.
    shared: usize,
}

impl IsolatedWhole {
    pub(super) fn new(held: Held, prepared: Prepared, group: &RawGroup) -> Self {
        let mut layout = Layout::default();
        for tensor in &group.tensors {
            for _ in 0..=tensor.inputs.len() {
                layout.place(elements(tensor));
            }
        }
        IsolatedWhole { held, prepared, shared: layout.bytes() }
    }
}

impl WholeKernel for IsolatedWhole {
    fn apply(&self, members: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError> {
        let lengths: Vec<Vec<usize>> = members
            .iter()
            .map(|one| one.inputs.iter().map(|input| input.len()).chain([one.out.len()]).collect())
            .collect();
        let mut layout = Layout::default();
        let places: Vec<Vec<usize>> =
            lengths.iter().map(|own| own.iter().map(|len| layout.place(*len)).collect()).collect();
        let mut call = self.held.process.call("apply", Some(context))?;
        let region = call.region();
        let put = region.grow(layout.bytes()).and_then(|()| {
            members.iter().zip(&places).try_for_each(|(member, places)| {
                let all = member.inputs.iter().copied().chain([&*member.out]);
                all.zip(places).try_for_each(|(values, at)| region.put(*at, values))
            })
        });
        put.map_err(|error| call.memory(&error))?;
        call.send(&Request::Whole {
            kernel: self.held.kernel,
            lengths,
            threads: rayon::current_num_threads(),
        })?;
        loop {
            match call.receive()? {
                Reply::Progress { done, total, note } => context.progress(done, total, &note),
                Reply::Done => break,
                Reply::Failed(fault) => {
                    call.done();
                    return Err(fault.error(Some(&self.held.described)));
                }
                _ => return Err(call.nonsense()),
            }
        }
        for (member, places) in members.iter_mut().zip(&places) {
            if let Some(at) = places.last() {
                call.region().take(*at, member.out).map_err(|error| call.memory(&error))?;
            }
        }
        call.done();
        Ok(())
    }

    fn scratch_bytes(&self) -> usize {
        self.prepared.scratch.saturating_add(self.shared)
    }

    fn serial(&self) -> bool {
        self.prepared.serial
    }

    fn copies(&self, member: usize) -> Option<usize> {
        self.prepared.copies.get(member).copied().flatten()
    }
}

/// A prepared whole-model method in the child.
pub(super) struct IsolatedModel {
    held: Held,
    scratch: usize,
}

impl IsolatedModel {
    pub(super) fn new(held: Held, prepared: &Prepared, group: &RawGroup) -> Self {
        // One tensor on its way: here, and in shared memory.
        let largest = group.tensors.iter().map(elements).max().unwrap_or(0);
        let way = largest.saturating_mul(2 * size_of::<f32>());
        IsolatedModel { held, scratch: prepared.scratch.saturating_add(way) }
    }

    fn serve_read(
        call: &mut Call<'_>,
        given: &dyn Models,
        model: usize,
        member: usize,
    ) -> Result<(), MethodError> {
        let answer = match given.read(model, member) {
            Ok(data) => {
                let region = call.region();
                let put = region.grow(size_of_val(data.as_slice())).and_then(|()| region.put(0, &data));
                put.map_err(|error| call.memory(&error))?;
                Answer::Data(data.len())
            }
            Err(error) => Answer::Failed(Fault::from(error)),
        };
        call.send(&answer)
    }

    fn serve_write(
        call: &mut Call<'_>,
        given: &dyn Models,
        member: usize,
        len: usize,
    ) -> Result<(), MethodError> {
        let reached = call.region().reach(len.saturating_mul(size_of::<f32>()));
        reached.map_err(|error| call.memory(&error))?;
        let mut data = vec![0.0; len];
        call.region().take(0, &mut data).map_err(|error| call.memory(&error))?;
        let answer = match given.write(member, &data) {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed(Fault::from(error)),
        };
        call.send(&answer)
    }
}

impl ModelKernel for IsolatedModel {
    fn run(&self, given: &dyn Models, context: &Context<'_>) -> Result<(), MethodError> {
        let mut call = self.held.process.call("run", Some(context))?;
        call.send(&Request::Run {
            kernel: self.held.kernel,
            models: given.models(),
            threads: rayon::current_num_threads(),
        })?;
        let answer = loop {
            match call.receive()? {
                Reply::Progress { done, total, note } => context.progress(done, total, &note),
                Reply::Read { model, member } => IsolatedModel::serve_read(&mut call, given, model, member)?,
                Reply::Write { member, len } => IsolatedModel::serve_write(&mut call, given, member, len)?,
                Reply::Done => break Ok(()),
                Reply::Failed(fault) => break Err(fault.error(Some(&self.held.described))),
                _ => return Err(call.nonsense()),
            }
        };
        call.done();
        answer
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch
    }
}
