//! Moves flat vectors into a module's parameters and gradients out of it.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use crate::architecture::Model;
use crate::layout::{Part, Slot};

/// A module with these values on a device. Without statistics, running ones stay as they are: unset. On a device with autodiff
/// weights require gradients, but those of frozen slots.
pub(crate) fn load(
    module: Model,
    slots: &[Slot],
    weights: &[f32],
    statistics: Option<&[f32]>,
    device: &Device,
) -> Model {
    module.map(&mut Loader { slots: slots.iter(), weights, statistics, device, train: device.is_autodiff() })
}

struct Loader<'a> {
    slots: std::slice::Iter<'a, Slot>,
    weights: &'a [f32],
    statistics: Option<&'a [f32]>,
    device: &'a Device,
    train: bool,
}

impl ModuleMapper for Loader<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Maps and visits go the same way, so the iterator ends with the module.
        let Some(slot) = self.slots.next() else { return param };
        let values = match (slot.part, self.statistics) {
            (Part::Weights, _) => &self.weights[slot.range()],
            (Part::Statistics, Some(statistics)) => &statistics[slot.range()],
            (Part::Statistics, None) => return param,
        };
        let tensor =
            Tensor::<D>::from_data(TensorData::new(values.to_vec(), slot.shape.clone()), self.device);
        // What needs no gradient, and what lies before it all the way, is no work on the way back.
        let learns = self.train && slot.part == Part::Weights && !slot.frozen;
        let tensor = if learns { tensor.require_grad() } else { tensor };
        Param::initialized(param.id, tensor)
    }
}

/// Writes the gradients of all weights into the flat vector; a weight that the loss does not depend on gets zeros.
pub(crate) fn gather(
    module: &Model,
    slots: &[Slot],
    gradients: Gradients,
    gradient: &mut [f32],
) -> Result<(), String> {
    let mut gatherer = Gatherer { slots: slots.iter(), gradients, gradient, error: None };
    module.visit(&mut gatherer);
    gatherer.error.map_or(Ok(()), Err)
}

struct Gatherer<'a> {
    slots: std::slice::Iter<'a, Slot>,
    gradients: Gradients,
    gradient: &'a mut [f32],
    error: Option<String>,
}

impl ModuleVisitor for Gatherer<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(slot) = self.slots.next() else { return };
        if slot.part != Part::Weights || self.error.is_some() {
            return;
        }
        let target = &mut self.gradient[slot.range()];
        if slot.frozen {
            return target.fill(0.0);
        }
        match param.val().grad_remove(&mut self.gradients) {
            Some(tensor) => {
                let read = tensor.try_into_data().map_err(|error| error.to_string()).and_then(|data| {
                    data.as_slice::<f32>()
                        .map(|values| target.copy_from_slice(values))
                        .map_err(|error| error.to_string())
                });
                self.error = read.err();
            }
            None => target.fill(0.0),
        }
    }
}

/// A tensor's values, row-major. A tensor that nothing else holds is not copied on the CPU.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    let data = tensor.try_into_data().map_err(|error| error.to_string())?;
    data.try_into_vec::<f32>().map_err(|error| error.to_string())
}
