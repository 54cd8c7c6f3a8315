//! The trait for methods that need whole models at once: matching, searching, anything that walks through a network.

use crate::about::About;
use crate::context::Context;
use crate::error::MethodError;
use crate::task::{Params, Tasks};

/// The input models and the result, tensor by tensor: nothing is in memory that the method has not asked for.
///
/// A model is its *members*: the tensors that the stage computes, in the order of the tasks, the same for every input.
pub trait Models: Sync {
    /// How many input models, in port order.
    fn models(&self) -> usize;
    /// How many members.
    fn members(&self) -> usize;
    /// Name of a member; empty beyond the last.
    fn name(&self, member: usize) -> &str;
    /// Shape of a member; empty beyond the last.
    fn shape(&self, member: usize) -> &[usize];
    /// A member of an input model, whole, in f32.
    ///
    /// # Errors
    /// There is no such model or member.
    fn read(&self, model: usize, member: usize) -> Result<Vec<f32>, MethodError>;
    /// Stores a member of the result. Every member must be written, once.
    ///
    /// # Errors
    /// There is no such member, it has another length or was written before, or the disk is full.
    fn write(&self, member: usize, data: &[f32]) -> Result<(), MethodError>;

    /// The member of this name.
    fn find(&self, name: &str) -> Option<usize> {
        (0..self.members()).find(|&member| self.name(member) == name)
    }
}

/// A method that computes a whole model from whole models. The implementing type is the prepared kernel of one stage.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a whole-model method: it does not implement `WholeModel`",
    note = "a method is named with the trait that it implements: `Elementwise`, `Observe`, `WholeTensor`, `Group` or `WholeModel`"
)]
pub trait WholeModel: Send + Sync + Sized + 'static {
    /// Stage-level parameters.
    type Params: Params;
    /// Per-input parameters (edges); [`crate::NoParams`] for none.
    type Input: Params;

    /// Name, texts, ports.
    fn about() -> About;

    /// Checks the settings and builds the kernel of all tensors of the stage. Called by the planner too.
    fn prepare(tasks: Tasks<Self::Params, Self::Input>) -> Result<Self, MethodError>;

    /// Reads what it needs and writes every member of the result. Must be a pure function of the kernel and the inputs.
    fn run(&self, models: &dyn Models, context: &Context<'_>) -> Result<(), MethodError>;

    /// Bytes that it holds at most, for the memory budget.
    fn scratch_bytes(&self) -> usize {
        0
    }
}

/// A whole-model method prepared for a stage: what the engine drives.
pub trait ModelKernel: Send + Sync {
    /// Writes every member of the result.
    fn run(&self, models: &dyn Models, context: &Context<'_>) -> Result<(), MethodError>;
    /// Bytes that it holds at most.
    fn scratch_bytes(&self) -> usize;
}

pub(crate) struct OfModel<K>(pub(crate) K);

impl<K: WholeModel> ModelKernel for OfModel<K> {
    fn run(&self, models: &dyn Models, context: &Context<'_>) -> Result<(), MethodError> {
        self.0.run(models, context)
    }

    fn scratch_bytes(&self) -> usize {
        self.0.scratch_bytes()
    }
}
