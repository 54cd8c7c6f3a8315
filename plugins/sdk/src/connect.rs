//! The trait for methods that connect models: from their weights, and where they need it a loss, to a path.

use serde_json::{Map, Value as Json};

use crate::about::{About, Class, Described};
use crate::context::Context;
use crate::error::MethodError;
use crate::method::described;
use crate::objective::Objective;
use crate::path::Path;
use crate::task::{NoParams, Params, read};

/// What a connect method works on.
pub struct Search<'a> {
    /// Flat weights of the inputs, in the order of the method's ports; empty for a method that starts from nothing.
    pub models: &'a [&'a [f32]],
    /// How many inputs each port has, in port order (model ports only).
    pub counts: &'a [usize],
    /// The loss, where the method has a `data` port and it is connected.
    pub objective: Option<&'a mut dyn Objective>,
    /// Fresh initial weights of the network for a seed, where the inputs are networks that this tool has built.
    pub fresh: Option<&'a (dyn Fn(u64) -> Vec<f32> + Sync)>,
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

    /// Checks the settings against the data, before anything is read: an epoch has this many steps.
    ///
    /// # Errors
    /// What is asked for does not fit into the time of the training.
    fn fits(&self, _steps_per_epoch: u64) -> Result<(), MethodError> {
        Ok(())
    }

    /// Finds the path. A pure function of the settings and the search.
    ///
    /// # Errors
    /// The loss fails or is not finite, or the user asked to stop.
    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError>;
}

/// A connect method as the registry holds it: no type parameters left.
pub trait PathMethod: Send + Sync {
    /// Name, texts, ports and parameter schema; the class is [`Class::Path`].
    fn describe(&self) -> Described;

    /// Checks a stage's settings (without `seed`, which the search brings) for this many inputs.
    ///
    /// # Errors
    /// The settings do not fit the schema, each other, or that many models.
    fn prepare(
        &self,
        settings: &Map<String, Json>,
        models: usize,
    ) -> Result<Box<dyn PathKernel>, MethodError>;
}

/// A connect method prepared for a stage: what the engine drives.
pub trait PathKernel: Send + Sync {
    /// Checks the settings against the data.
    ///
    /// # Errors
    /// Those of [`Connect::fits`].
    fn fits(&self, _steps_per_epoch: u64) -> Result<(), MethodError> {
        Ok(())
    }

    /// Finds the path.
    ///
    /// # Errors
    /// Those of [`Connect::connect`].
    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError>;
}

/// The registry's form of a connect method.
#[must_use]
pub fn method<K: Connect>() -> Box<dyn PathMethod> {
    Box::new(Erased {
        describe: || described::<K::Params, NoParams>(K::about(), Class::Path, 0),
        prepare: |settings, models| Ok(Box::new(OfConnect(K::prepare(read(settings)?, models)?))),
    })
}

/// A connect method by its functions, with its type gone.
struct Erased {
    describe: fn() -> Described,
    prepare: Prepare,
}

type Prepare = fn(&Map<String, Json>, usize) -> Result<Box<dyn PathKernel>, MethodError>;

impl PathMethod for Erased {
    fn describe(&self) -> Described {
        (self.describe)()
    }

    fn prepare(
        &self,
        settings: &Map<String, Json>,
        models: usize,
    ) -> Result<Box<dyn PathKernel>, MethodError> {
        (self.prepare)(settings, models)
    }
}

struct OfConnect<K>(K);

impl<K: Connect> PathKernel for OfConnect<K> {
    fn fits(&self, steps_per_epoch: u64) -> Result<(), MethodError> {
        self.0.fits(steps_per_epoch)
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        self.0.connect(search)
    }
}
