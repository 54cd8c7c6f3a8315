//! The trait for methods that compute each element from the same element of every input, after any statistics passes.

use std::any::Any;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

use crate::about::{About, Described};
use crate::error::MethodError;
use crate::kernel::{Kernel, Tile};
use crate::task::{Group, Params, RawGroup, Scope, read};

/// An element-wise method. The implementing type is the *prepared kernel* of one group of tensors.
///
/// Order of calls: `prepare` (at plan time too: no weights yet), then while `observing()`: `observe` over all tiles of all
/// tensors, `absorb` per block in order, `finish_pass`; at last `apply` for every tile, in any order and from any thread.
pub trait Elementwise: Send + Sync + Sized + 'static {
    /// Stage-level parameters.
    type Params: Params;
    /// Per-input parameters (edges); [`crate::NoParams`] for none.
    type Input: Params;
    /// Statistics of one block; `()` for methods that observe nothing.
    type Partial: Send + 'static;

    /// Name, texts, ports.
    fn about() -> About;

    /// Which tensors share a state. The parameters are those of the stage without rules.
    fn scope(_params: &Self::Params) -> Scope {
        Scope::Tensor
    }

    /// Checks the settings and builds the kernel. Called once by the planner, so that mistakes show before weights are read,
    /// and again by the engine.
    fn prepare(group: Group<Self::Params, Self::Input>) -> Result<Self, MethodError>;

    /// Whether an (or another) observe pass is due.
    fn observing(&self) -> bool {
        false
    }

    /// Whether the current pass wants to see a tile (its index in the tensor); what it does not want is not even read. A pass
    /// that only needs a sample says so here.
    fn wants(&self, _tensor: usize, _tile: usize) -> bool {
        true
    }

    /// A blank partial state for the current pass.
    fn partial(&self) -> Self::Partial;

    /// Adds a tile to the partial state of its block.
    fn observe(&self, _partial: &mut Self::Partial, _tile: &Tile<'_>) {}

    /// Takes a block's partial state and leaves it blank. Called in order of tensor, then block.
    fn absorb(&mut self, _partial: &mut Self::Partial) {}

    /// Ends a pass: all blocks have been absorbed.
    fn finish_pass(&mut self) -> Result<(), MethodError> {
        Ok(())
    }

    /// Computes `out` (as long as the tile). Must be a pure function of the kernel and the tile.
    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]);

    /// Bytes of the state and of one partial state, for the memory budget.
    fn state_bytes(&self) -> (usize, usize) {
        (0, size_of::<Self::Partial>())
    }
}

struct Erased<K>(K);

impl<K: Elementwise> Kernel for Erased<K> {
    fn observing(&self) -> bool {
        self.0.observing()
    }

    fn wants(&self, tensor: usize, tile: usize) -> bool {
        self.0.wants(tensor, tile)
    }

    fn partial(&self) -> Box<dyn Any + Send> {
        Box::new(self.0.partial())
    }

    fn observe(&self, partial: &mut (dyn Any + Send), tile: &Tile<'_>) {
        if let Some(partial) = partial.downcast_mut() {
            self.0.observe(partial, tile);
        }
    }

    fn absorb(&mut self, partial: &mut (dyn Any + Send)) {
        if let Some(partial) = partial.downcast_mut() {
            self.0.absorb(partial);
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.0.finish_pass()
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        self.0.apply(tile, out);
    }

    fn state_bytes(&self) -> (usize, usize) {
        self.0.state_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        &self.0
    }
}

/// A method as the registry holds it: no type parameters left.
pub trait Method: Send + Sync {
    /// Name, texts, ports and parameter schema.
    fn describe(&self) -> Described;
    /// See [`Elementwise::scope`].
    fn scope(&self, params: &Map<String, Json>) -> Result<Scope, MethodError>;
    /// See [`Elementwise::prepare`].
    fn prepare(&self, group: &RawGroup) -> Result<Box<dyn Kernel>, MethodError>;
}

struct ErasedMethod<K>(PhantomData<fn() -> K>);

impl<K: Elementwise> Method for ErasedMethod<K> {
    fn describe(&self) -> Described {
        let about = K::about();
        Described { params: schema::<K::Params, K::Input>(about.random), about }
    }

    fn scope(&self, params: &Map<String, Json>) -> Result<Scope, MethodError> {
        Ok(K::scope(&read(params)?))
    }

    fn prepare(&self, group: &RawGroup) -> Result<Box<dyn Kernel>, MethodError> {
        Ok(Box::new(Erased(K::prepare(group.typed()?)?)))
    }
}

/// The registry's form of a method.
pub fn erase<K: Elementwise>() -> Box<dyn Method> {
    Box::new(ErasedMethod::<K>(PhantomData))
}

/// One object schema: stage parameters, then per-input ones marked `x-input`, then `seed` for random methods.
fn schema<P: Params, I: Params>(random: bool) -> Json {
    let generate = |mark: bool| {
        let mut whole = if mark {
            SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<I>().to_value()
        } else {
            SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<P>().to_value()
        };
        if mark && let Some(properties) = whole.get_mut("properties").and_then(Json::as_object_mut) {
            for property in properties.values_mut().filter_map(Json::as_object_mut) {
                property.insert("x-input".into(), true.into());
            }
        }
        whole
    };
    let (stage, input) = (generate(false), generate(true));
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut defs = Map::new();
    for part in [&stage, &input] {
        if let Some(found) = part.get("properties").and_then(Json::as_object) {
            properties.extend(found.iter().map(|(name, schema)| (name.clone(), schema.clone())));
        }
        if let Some(found) = part.get("required").and_then(Json::as_array) {
            required.extend(found.iter().cloned());
        }
        if let Some(found) = part.get("$defs").and_then(Json::as_object) {
            defs.extend(found.iter().map(|(name, schema)| (name.clone(), schema.clone())));
        }
    }
    if random {
        properties.insert(
            "seed".into(),
            serde_json::json!({
                "type": "integer", "minimum": 0, "x-unit": "seed",
                "description": "starts the random stream; derived from the recipe where it is not given, and shown in the plan"
            }),
        );
    }
    let mut object = Map::new();
    object.insert("type".into(), "object".into());
    object.insert("properties".into(), properties.into());
    if !required.is_empty() {
        object.insert("required".into(), required.into());
    }
    object.insert("additionalProperties".into(), false.into());
    if !defs.is_empty() {
        object.insert("$defs".into(), defs.into());
    }
    Json::Object(object)
}
