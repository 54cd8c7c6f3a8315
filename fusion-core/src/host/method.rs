//! A plugin's method behind the trait that the planner and the engine know: they see no difference to a built-in one.

use fusion_abi::{FUSION_OK, FUSION_SCOPE_LAYER, FUSION_SCOPE_MODEL, FUSION_SCOPE_TENSOR, fusion_method};
use fusion_sdk::{Class, Deltas, Described, ErrorKind, Method, MethodError, Prepared, RawGroup, Scope};
use serde_json::{Map, Value as Json};

use super::callbacks::Host;
use super::elementwise::DynamicKernel;
use super::frame::text;
use super::instance::{Instance, failure, process};
use super::model::DynamicModel;
use super::whole::DynamicWhole;

/// A method of a loaded plugin.
pub(super) struct DynamicMethod {
    method: &'static fusion_method,
    described: Described,
}

// SAFETY: a static descriptor that nobody writes to; its functions say themselves which thread may call them.
unsafe impl Send for DynamicMethod {}
// SAFETY: as above.
unsafe impl Sync for DynamicMethod {}

impl DynamicMethod {
    pub(super) fn new(method: &'static fusion_method, described: Described) -> Self {
        DynamicMethod { method, described }
    }
}

impl Method for DynamicMethod {
    fn describe(&self) -> Described {
        self.described.clone()
    }

    fn scope(&self, params: &Map<String, Json>) -> Result<Scope, MethodError> {
        let default = match self.described.class {
            Class::WholeModel => return Ok(Scope::Model),
            Class::WholeTensor => return Ok(Scope::Tensor),
            Class::Group => FUSION_SCOPE_LAYER,
            Class::Elementwise | Class::Route | Class::Path | Class::Align | Class::Learn => {
                FUSION_SCOPE_TENSOR
            }
        };
        let mut answer = default;
        if let Some(scope) = self.method.scope {
            let host = Host::new();
            let params = Json::Object(params.clone()).to_string();
            let _turn = process(self.method);
            // SAFETY: all pointers live through the call.
            match unsafe { scope(host.table(), text(&params), &raw mut answer) } {
                FUSION_OK => {}
                status => return Err(failure(status, &host, &self.described, &[])),
            }
        }
        match answer {
            FUSION_SCOPE_TENSOR => Ok(Scope::Tensor),
            FUSION_SCOPE_MODEL => Ok(Scope::Model),
            FUSION_SCOPE_LAYER => Ok(Scope::Layer),
            other => Err(MethodError::new(
                ErrorKind::Failed,
                format!("it answers scope {other}, which there is not"),
            )),
        }
    }

    fn prepare(&self, group: &RawGroup) -> Result<Prepared, MethodError> {
        let deltas = Deltas::of(&self.described.about.ports, group)?;
        let instance = Instance::new(self.method, &self.described, group)?;
        let prepared = match self.described.class {
            Class::WholeTensor | Class::Group => Prepared::Whole(Box::new(DynamicWhole(instance))),
            Class::WholeModel => Prepared::Model(Box::new(DynamicModel(instance))),
            // The last three are never read from a plugin: `describe` knows none of them.
            Class::Elementwise | Class::Route | Class::Path | Class::Align | Class::Learn => {
                Prepared::Elementwise(Box::new(DynamicKernel::new(instance)?))
            }
        };
        Deltas::wrap(deltas, prepared)
    }
}
