//! Settings on their way to a kernel: resolved per tensor and per input, first as JSON, then as the method's own types.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::MethodError;

/// A method's settings: a struct with `#[derive(Params)]`, which implements this trait and all that it builds on.
///
/// ```
/// use fusion_sdk::{Params, Words};
///
/// /// Settings of `consensus`.
/// #[derive(Clone, Debug, PartialEq, Params)]
/// pub struct Consensus {
///     /// share of models that must agree on the sign
///     #[param(unit = fraction, range = 0.5..=1.0, default = 0.6, varies)]
///     pub agreement: f64,
///     /// how often to repeat; required, since it has no default
///     #[param(range = 1..)]
///     pub steps: u32,
///     /// share that is kept (default: what the dialect does)
///     #[param(unit = fraction, range = 0..=1)]
///     pub density: Option<f64>,
///     /// whose semantics decide
///     #[param(default = Dialect::Fusion)]
///     pub dialect: Dialect,
/// }
///
/// /// Whose semantics decide.
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
/// pub enum Dialect {
///     /// the defaults documented here
///     Fusion,
///     /// exactly what mergekit computes
///     Mergekit,
/// }
/// ```
///
/// Ranges hold before a method sees its settings, NaN and infinities never come in, and an error names its parameter. In the
/// schema `x-unit` (`fraction`, `seed`, …) says how recipes write a setting, and `x-varies` allows `on` rules and schedules.
///
/// A type with a `Deserialize` of its own can implement the trait by hand, without any function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold a method's settings",
    note = "put `#[derive(Clone, Params)]` above it, or use `NoParams` for none"
)]
pub trait Params: DeserializeOwned + Serialize + JsonSchema + Clone + Send + Sync + 'static {
    /// Reads settings by name, without regard to ranges.
    ///
    /// # Errors
    /// For unknown and missing parameters and values of a wrong type.
    fn from_settings(settings: &Map<String, Json>) -> Result<Self, MethodError> {
        serde_json::from_value(Json::Object(settings.clone()))
            .map_err(|error| MethodError::invalid(format!("settings do not fit the schema: {error}")))
    }

    /// Checks what a schema can say of values: ranges.
    ///
    /// # Errors
    /// For the first value that does not fit; the error names its parameter.
    fn check(&self) -> Result<(), MethodError> {
        Ok(())
    }
}

/// For methods that take no parameters at this level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, fusion_sdk_macros::Params)]
pub struct NoParams {}

/// Which tensors share one kernel state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Every tensor on its own.
    Tensor,
    /// The tensors of a layer; those outside of layers on their own.
    Layer,
    /// All tensors of the stage (statistics over the whole parameter vector).
    Model,
}

/// Where a tensor lies in its model's stack of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Counted from 0.
    pub index: u32,
    /// Layers of the model.
    pub of: u32,
}

/// One input of one tensor.
#[derive(Clone, Debug)]
pub struct Input<I> {
    /// The port.
    pub role: String,
    /// Per-input settings (defaults for ports without settings).
    pub settings: I,
}

/// One output tensor to be computed.
#[derive(Clone, Debug)]
pub struct TensorTask<P, I> {
    /// Name in the result: rules and random streams go by it.
    pub name: String,
    /// Row-major shape, the same for all inputs.
    pub shape: Vec<usize>,
    /// Its layer; `None` outside of the stack.
    pub layer: Option<Layer>,
    /// Stage settings resolved for this tensor.
    pub params: P,
    /// In port order.
    pub inputs: Vec<Input<I>>,
}

impl<P, I> TensorTask<P, I> {
    /// Number of elements (1 for a scalar).
    pub fn len(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// Whether the tensor has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The tensors that share a state: one, those of a layer, or all of the stage.
#[derive(Clone, Debug)]
pub struct Tasks<P, I> {
    /// Never empty.
    pub tensors: Vec<TensorTask<P, I>>,
    /// The stage's seed (0 for methods that draw nothing).
    pub seed: u64,
}

/// [`Input`] before typing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawInput {
    /// The port.
    pub role: String,
    /// Per-input settings by name.
    pub settings: Map<String, Json>,
}

/// [`TensorTask`] before typing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawTensor {
    /// Name in the result.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Its layer.
    pub layer: Option<Layer>,
    /// Stage settings by name.
    pub params: Map<String, Json>,
    /// In port order.
    pub inputs: Vec<RawInput>,
}

/// [`Tasks`] before typing: what the planner resolves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawGroup {
    /// Never empty.
    pub tensors: Vec<RawTensor>,
    /// The stage's seed.
    pub seed: u64,
}

impl RawGroup {
    /// Reads the settings into the method's types and checks them. The language has checked recipes before, so only programs
    /// that build graphs themselves see an error.
    ///
    /// # Errors
    /// Those of [`Params::from_settings`] and [`Params::check`]; the error names the parameter and the input.
    pub fn typed<P: Params, I: Params>(&self) -> Result<Tasks<P, I>, MethodError> {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for raw in &self.tensors {
            let mut inputs = Vec::with_capacity(raw.inputs.len());
            for (index, input) in raw.inputs.iter().enumerate() {
                let settings = read::<I>(&input.settings).map_err(|e| e.of_input(index))?;
                inputs.push(Input { role: input.role.clone(), settings });
            }
            tensors.push(TensorTask {
                name: raw.name.clone(),
                shape: raw.shape.clone(),
                layer: raw.layer,
                params: read::<P>(&raw.params)?,
                inputs,
            });
        }
        Ok(Tasks { tensors, seed: self.seed })
    }
}

/// Reads and checks.
pub(crate) fn read<T: Params>(settings: &Map<String, Json>) -> Result<T, MethodError> {
    let read = T::from_settings(settings)?;
    read.check()?;
    Ok(read)
}
