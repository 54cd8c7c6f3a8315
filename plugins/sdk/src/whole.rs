//! The traits for methods that need whole tensors: decompositions, row norms, anything that is not element by element.

use crate::about::About;
use crate::context::Context;
use crate::error::MethodError;
use crate::task::{Params, Scope, Tasks};

/// One output tensor with its inputs, whole and in f32, row-major.
#[derive(Debug)]
pub struct Member<'a> {
    /// Name in the result.
    pub name: &'a str,
    /// Shape of the output and of every input.
    pub shape: &'a [usize],
    /// One slice per input in port order.
    pub inputs: &'a [&'a [f32]],
    /// To be filled; its content before that is arbitrary.
    pub out: &'a mut [f32],
}

/// A method that computes a whole tensor from whole tensors. The implementing type is the prepared kernel of one tensor.
///
/// The engine holds the tensor's inputs and its output in memory, 4 bytes an element: `fusion plan` says how much that is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a whole-tensor method: it does not implement `WholeTensor`",
    note = "a method is named with the trait that it implements: `Elementwise`, `Observe`, `WholeTensor`, `Group` or `WholeModel`"
)]
pub trait WholeTensor: Send + Sync + Sized + 'static {
    /// Stage-level parameters.
    type Params: Params;
    /// Per-input parameters (edges); [`crate::NoParams`] for none.
    type Input: Params;

    /// Name, texts, ports.
    fn about() -> About;

    /// Checks the settings and builds the kernel of the one tensor in `tasks`. Called by the planner too.
    fn prepare(tasks: Tasks<Self::Params, Self::Input>) -> Result<Self, MethodError>;

    /// Computes `tensor.out`. Must be a pure function of the kernel and the inputs.
    fn apply(&self, tensor: &mut Member<'_>, context: &Context<'_>) -> Result<(), MethodError>;

    /// Bytes that a call allocates for itself, for the memory budget.
    fn scratch_bytes(&self) -> usize {
        0
    }
}

/// A method that computes several tensors together, by default those of a layer. The implementing type is the prepared kernel of one
/// group.
///
/// The engine holds all inputs and outputs of a group in memory.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a group method: it does not implement `Group`",
    note = "a method is named with the trait that it implements: `Elementwise`, `Observe`, `WholeTensor`, `Group` or `WholeModel`"
)]
pub trait Group: Send + Sync + Sized + 'static {
    /// Stage-level parameters.
    type Params: Params;
    /// Per-input parameters (edges); [`crate::NoParams`] for none.
    type Input: Params;

    /// Name, texts, ports.
    fn about() -> About;

    /// Which tensors go together. The parameters are those of the stage without rules.
    fn scope(_params: &Self::Params) -> Scope {
        Scope::Layer
    }

    /// Checks the settings and builds the kernel. Called by the planner too.
    fn prepare(tasks: Tasks<Self::Params, Self::Input>) -> Result<Self, MethodError>;

    /// Computes the `out` of every tensor, in the order of the tasks. Must be a pure function of the kernel and the inputs.
    fn apply(&self, tensors: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError>;

    /// Bytes that a call allocates for itself, for the memory budget.
    fn scratch_bytes(&self) -> usize {
        0
    }
}

/// A whole-tensor or group method prepared for its tensors: what the engine drives.
pub trait WholeKernel: Send + Sync {
    /// Computes the `out` of every member.
    fn apply(&self, members: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError>;
    /// Bytes that a call needs beside inputs and outputs.
    fn scratch_bytes(&self) -> usize;
    /// Whether calls must not run side by side.
    fn serial(&self) -> bool {
        false
    }
    /// The input that is copied to this member instead of calling the method.
    fn copies(&self, _member: usize) -> Option<usize> {
        None
    }
}

pub(crate) struct OfTensor<K>(pub(crate) K);

impl<K: WholeTensor> WholeKernel for OfTensor<K> {
    fn apply(&self, members: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError> {
        members.iter_mut().try_for_each(|member| self.0.apply(member, context))
    }

    fn scratch_bytes(&self) -> usize {
        self.0.scratch_bytes()
    }
}

pub(crate) struct OfGroup<K>(pub(crate) K);

impl<K: Group> WholeKernel for OfGroup<K> {
    fn apply(&self, members: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError> {
        self.0.apply(members, context)
    }

    fn scratch_bytes(&self) -> usize {
        self.0.scratch_bytes()
    }
}
