//! What a long call in the child may ask for: progress goes to the parent, models come from it, threads are the child's own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fusion_sdk::context::Host;
use fusion_sdk::{ErrorKind, MethodError, Models, RawGroup, RawTensor};
use rayon::prelude::*;

use super::child::wait;
use super::process::Lane;
use super::region::Region;
use super::wire::{Answer, Broken, Reply, Wire};

/// Side by side on the threads of the pool that this runs in.
fn for_each(n: usize, body: &(dyn Fn(usize) + Sync)) {
    (0..n).into_par_iter().for_each(body);
}

/// The context of a whole-tensor or group call.
pub(super) struct Caller<'a> {
    wire: Mutex<&'a mut Wire>,
    region: &'a Region,
}

impl<'a> Caller<'a> {
    pub(super) const fn new(wire: &'a mut Wire, region: &'a Region) -> Self {
        Caller { wire: Mutex::new(wire), region }
    }
}

impl Host for Caller<'_> {
    fn cancelled(&self) -> bool {
        self.region.stop()
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        // A parent that is gone needs none.
        let _ = wire.send(&Reply::Progress { done, total, note: note.to_owned() }, &mut wait);
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        for_each(n, body);
    }
}

/// The models and the context of a whole-model call.
pub(super) struct Given<'a> {
    /// One question at a time.
    lane: Mutex<&'a mut Lane>,
    group: &'a RawGroup,
    models: usize,
}

fn broken(broken: &Broken) -> MethodError {
    let how = match broken {
        Broken::Garbage(how) => how,
        Broken::Closed | Broken::Stopped => "it is gone",
    };
    MethodError::new(ErrorKind::Failed, format!("fusion cannot be asked: {how}"))
}

fn memory(error: &std::io::Error) -> MethodError {
    MethodError::new(ErrorKind::Failed, format!("shared memory: {error}"))
}

impl<'a> Given<'a> {
    pub(super) const fn new(lane: &'a mut Lane, group: &'a RawGroup, models: usize) -> Self {
        Given { lane: Mutex::new(lane), group, models }
    }

    fn lane(&self) -> MutexGuard<'_, &'a mut Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn member(&self, member: usize) -> Option<&RawTensor> {
        self.group.tensors.get(member)
    }
}

fn ask(lane: &mut Lane, reply: &Reply) -> Result<Answer, MethodError> {
    let asked = lane.wire.send(reply, &mut wait).and_then(|()| lane.wire.receive(&mut wait));
    match asked.map_err(|error| broken(&error))? {
        Answer::Failed(fault) => Err(fault.error(None)),
        answer => Ok(answer),
    }
}

impl Models for Given<'_> {
    fn models(&self) -> usize {
        self.models
    }

    fn members(&self) -> usize {
        self.group.tensors.len()
    }

    fn name(&self, member: usize) -> &str {
        self.member(member).map_or("", |tensor| &tensor.name)
    }

    fn shape(&self, member: usize) -> &[usize] {
        self.member(member).map_or(&[], |tensor| &tensor.shape)
    }

    fn read(&self, model: usize, member: usize) -> Result<Vec<f32>, MethodError> {
        let mut lane = self.lane();
        match ask(&mut lane, &Reply::Read { model, member })? {
            Answer::Data(len) => {
                let region = &mut lane.region;
                region.reach(len.saturating_mul(size_of::<f32>())).map_err(|error| memory(&error))?;
                let mut data = vec![0.0; len];
                region.take(0, &mut data).map_err(|error| memory(&error))?;
                Ok(data)
            }
            _ => Err(broken(&Broken::Garbage("an answer to another question".to_owned()))),
        }
    }

    fn write(&self, member: usize, data: &[f32]) -> Result<(), MethodError> {
        let mut lane = self.lane();
        let region = &mut lane.region;
        let put = region.grow(size_of_val(data)).and_then(|()| region.put(0, data));
        put.map_err(|error| memory(&error))?;
        ask(&mut lane, &Reply::Write { member, len: data.len() }).map(|_| ())
    }
}

impl Host for Given<'_> {
    fn cancelled(&self) -> bool {
        self.lane().region.stop()
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        // A parent that is gone needs none.
        let progress = Reply::Progress { done, total, note: note.to_owned() };
        let _ = self.lane().wire.send(&progress, &mut wait);
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        for_each(n, body);
    }
}
