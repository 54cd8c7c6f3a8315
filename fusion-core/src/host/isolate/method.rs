//! A method whose code is in the child, behind the trait that the planner and the engine know.

use std::sync::Arc;

use fusion_sdk::{Described, Method, MethodError, RawGroup, Scope};
use serde_json::{Map, Value as Json};

use super::elementwise::IsolatedKernel;
use super::process::Process;
use super::whole::{IsolatedModel, IsolatedWhole};
use super::wire::{Form, Reply, Request};

/// A method of an isolated plugin.
pub(super) struct IsolatedMethod {
    pub(super) process: Arc<Process>,
    pub(super) index: usize,
    pub(super) described: Arc<Described>,
}

impl Method for IsolatedMethod {
    fn describe(&self) -> Described {
        Described::clone(&self.described)
    }

    fn scope(&self, params: &Map<String, Json>) -> Result<Scope, MethodError> {
        let mut call = self.process.call("scope", None)?;
        call.send(&Request::Scope { method: self.index, params: params.clone() })?;
        let answer = match call.receive()? {
            Reply::Scope(scope) => Ok(scope),
            Reply::Failed(fault) => Err(fault.error(Some(&self.described))),
            _ => return Err(call.nonsense()),
        };
        call.done();
        answer
    }

    fn prepare(&self, group: &RawGroup) -> Result<fusion_sdk::Prepared, MethodError> {
        let mut call = self.process.call("create", None)?;
        call.send(&Request::Prepare { method: self.index, group: group.clone() })?;
        let prepared = match call.receive()? {
            Reply::Prepared(prepared) => prepared,
            Reply::Failed(fault) => {
                call.done();
                return Err(fault.error(Some(&self.described)));
            }
            _ => return Err(call.nonsense()),
        };
        call.done();
        let held = Held {
            process: self.process.clone(),
            kernel: prepared.kernel,
            described: self.described.clone(),
        };
        Ok(match prepared.form {
            Form::Elementwise => {
                fusion_sdk::Prepared::Elementwise(Box::new(IsolatedKernel::new(held, prepared.copies, group)))
            }
            Form::Whole => fusion_sdk::Prepared::Whole(Box::new(IsolatedWhole::new(held, prepared, group))),
            Form::Model => fusion_sdk::Prepared::Model(Box::new(IsolatedModel::new(held, &prepared, group))),
        })
    }
}

/// A kernel in the child, which goes when this does.
pub(super) struct Held {
    pub(super) process: Arc<Process>,
    pub(super) kernel: u64,
    pub(super) described: Arc<Described>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // A child that is gone has nothing left to end.
        let _ = tell(&self.process, "destroy", &Request::Drop { kernel: self.kernel });
    }
}

/// Asks for something that gives nothing back.
pub(super) fn tell(process: &Process, what: &'static str, request: &Request) -> Result<(), MethodError> {
    let mut call = process.call(what, None)?;
    call.send(request)?;
    match call.receive()? {
        Reply::Done => call.done(),
        Reply::Failed(fault) => {
            call.done();
            return Err(fault.error(None));
        }
        _ => return Err(call.nonsense()),
    }
    Ok(())
}
