//! The erased form of a method, whatever its class: what the registry holds, and how each class's trait becomes it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

use crate::about::{About, Class, Described, Port};
use crate::delta::Deltas;
use crate::elementwise::{Elementwise, Plain};
use crate::error::{ErrorKind, MethodError};
use crate::kernel::Kernel;
use crate::model::{ModelKernel, OfModel, WholeModel};
use crate::observe::{Observe, Observing};
use crate::task::{Params, RawGroup, Scope, read};
use crate::whole::{Group, OfGroup, OfTensor, WholeKernel, WholeTensor};

/// A method as the registry holds it: no type parameters left.
pub trait Method: Send + Sync {
    /// Name, texts, ports, class and parameter schema.
    fn describe(&self) -> Described;

    /// Which tensors share a state under these stage settings.
    ///
    /// # Errors
    /// The settings do not fit.
    fn scope(&self, params: &Map<String, Json>) -> Result<Scope, MethodError>;

    /// Checks the settings and builds the kernel of a group.
    ///
    /// # Errors
    /// The settings or shapes do not fit.
    fn prepare(&self, group: &RawGroup) -> Result<Prepared, MethodError>;

    /// [`Method::prepare`] for callers that only know element-wise methods.
    ///
    /// # Errors
    /// Those of `prepare`, and that the method is of another class.
    fn kernel(&self, group: &RawGroup) -> Result<Box<dyn Kernel>, MethodError> {
        match self.prepare(group)? {
            Prepared::Elementwise(kernel) => Ok(kernel),
            _ => Err(MethodError::new(ErrorKind::Failed, "the method is not element-wise")),
        }
    }
}

/// A method prepared for a group of tensors.
pub enum Prepared {
    /// Tiles of elements.
    Elementwise(Box<dyn Kernel>),
    /// A whole tensor, or a group.
    Whole(Box<dyn WholeKernel>),
    /// Whole models.
    Model(Box<dyn ModelKernel>),
}

/// A method by its functions, with its type gone.
struct Erased {
    describe: fn() -> Described,
    ports: fn() -> Vec<Port>,
    scope: fn(&Map<String, Json>) -> Result<Scope, MethodError>,
    prepare: fn(&RawGroup) -> Result<Prepared, MethodError>,
}

impl Method for Erased {
    fn describe(&self) -> Described {
        (self.describe)()
    }

    fn scope(&self, params: &Map<String, Json>) -> Result<Scope, MethodError> {
        (self.scope)(params)
    }

    fn prepare(&self, group: &RawGroup) -> Result<Prepared, MethodError> {
        let deltas = Deltas::of(&(self.ports)(), group)?;
        Deltas::wrap(deltas, (self.prepare)(group)?)
    }
}

/// The registry's form of an element-wise method without observe passes.
#[must_use]
pub fn elementwise<K: Elementwise>() -> Box<dyn Method> {
    Box::new(Erased {
        describe: || described::<K::Params, K::Input>(K::about(), Class::Elementwise, 0),
        ports: || K::about().ports,
        scope: |params| Ok(K::scope(&read(params)?)),
        prepare: |group| Ok(Prepared::Elementwise(Box::new(Plain(K::prepare(group.typed()?)?)))),
    })
}

/// The registry's form of an element-wise method with observe passes.
#[must_use]
pub fn observing<K: Observe>() -> Box<dyn Method> {
    Box::new(Erased {
        describe: || described::<K::Params, K::Input>(K::about(), Class::Elementwise, K::PASSES),
        ports: || K::about().ports,
        scope: |params| Ok(K::scope(&read(params)?)),
        prepare: |group| Ok(Prepared::Elementwise(Box::new(Observing(K::prepare(group.typed()?)?)))),
    })
}

/// The registry's form of a whole-tensor method.
#[must_use]
pub fn whole_tensor<K: WholeTensor>() -> Box<dyn Method> {
    Box::new(Erased {
        describe: || described::<K::Params, K::Input>(K::about(), Class::WholeTensor, 0),
        ports: || K::about().ports,
        scope: |_| Ok(Scope::Tensor),
        prepare: |group| Ok(Prepared::Whole(Box::new(OfTensor(K::prepare(group.typed()?)?)))),
    })
}

/// The registry's form of a group method.
#[must_use]
pub fn group<K: Group>() -> Box<dyn Method> {
    Box::new(Erased {
        describe: || described::<K::Params, K::Input>(K::about(), Class::Group, 0),
        ports: || K::about().ports,
        scope: |params| Ok(K::scope(&read(params)?)),
        prepare: |group| Ok(Prepared::Whole(Box::new(OfGroup(K::prepare(group.typed()?)?)))),
    })
}

/// The registry's form of a whole-model method.
#[must_use]
pub fn whole_model<K: WholeModel>() -> Box<dyn Method> {
    Box::new(Erased {
        describe: || described::<K::Params, K::Input>(K::about(), Class::WholeModel, 0),
        ports: || K::about().ports,
        scope: |_| Ok(Scope::Model),
        prepare: |group| Ok(Prepared::Model(Box::new(OfModel(K::prepare(group.typed()?)?)))),
    })
}

/// What registration hands to the language: the texts with the schemas of the parameters.
#[must_use]
pub fn described<P: Params, I: Params>(about: About, class: Class, passes: u32) -> Described {
    Described { params: schema::<P, I>(about.random), about, class, passes }
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
