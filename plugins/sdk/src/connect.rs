//! The trait for methods that connect models: from their weights, and where they need it a loss, to a path.

use crate::about::About;
use crate::context::Context;
use crate::error::MethodError;
use crate::objective::Objective;
use crate::path::Path;
use crate::task::Params;

/// What a connect method works on.
pub struct Search<'a> {
    /// Flat weights of the inputs, in the order of the method's ports; empty for a method that starts from nothing.
    pub models: &'a [&'a [f32]],
    /// How many inputs each port has, in port order (model ports only).
    pub counts: &'a [usize],
    /// The loss, where the method has a `data` port and it is connected.
    pub objective: Option<&'a mut dyn Objective>,
    /// Fresh initial weights of the network for a seed, where the inputs are networks that this tool has built.
    pub fresh: Option<&'a dyn Fn(u64) -> Vec<f32>>,
    /// Of the stage's random stream.
    pub seed: u64,
    /// Stop, progress, threads.
    pub context: Context<'a>,
}

/// A connect method. The implementing type is the method with its settings checked.
pub trait Connect: Send + Sync + Sized + 'static {
    /// Stage-level parameters.
    type Params: Params;

    /// Name, texts, ports.
    fn about() -> About;

    /// Checks the settings, before anything is read. `models` is how many inputs there are.
    ///
    /// # Errors
    /// The settings do not fit together, or not that many models.
    fn prepare(params: Self::Params, models: usize) -> Result<Self, MethodError>;

    /// Finds the path. A pure function of the settings and the search.
    ///
    /// # Errors
    /// The loss fails or is not finite, or the user asked to stop.
    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError>;
}

/// A connect method prepared for a stage: what the engine drives.
pub trait PathKernel: Send + Sync {
    /// Finds the path.
    ///
    /// # Errors
    /// Those of [`Connect::connect`].
    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError>;
}

pub(crate) struct OfConnect<K>(pub(crate) K);

impl<K: Connect> PathKernel for OfConnect<K> {
    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        self.0.connect(search)
    }
}
