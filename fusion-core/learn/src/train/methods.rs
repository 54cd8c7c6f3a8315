//! The `train` methods as the language sees them.

use fusion_sdk::{About, Category, Class, Described, MethodError, Params, Port, Space};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::params::{AdamParams, AdamwParams, CommonParams, LionParams, ParallelParams, SgdParams};

/// The methods of `train`.
pub const METHODS: [&str; 4] = ["sgd", "adam", "adamw", "lion"];

/// The methods of `train`, for the registry.
#[must_use]
pub fn methods() -> Vec<Described> {
    METHODS.iter().filter_map(|id| described(id).ok()).collect()
}

fn described(id: &str) -> Result<Described, MethodError> {
    let (id, summary, formula, citation) = match id {
        "sgd" => (
            "sgd",
            "stochastic gradient descent with momentum",
            "g ← ∇L + λθ\nv ← μv + g\nθ ← θ − ηv, or θ − η(g + μv) with `nesterov`",
            "Robbins and Monro, 1951; Sutskever et al., On the importance of initialization and momentum, ICML 2013",
        ),
        "adam" => (
            "adam",
            "Adam, with an L2 penalty where weights decay",
            "g ← ∇L + λθ\nm ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²\nθ ← θ − η m/(1−β₁ᵗ) / (√(v/(1−β₂ᵗ)) + ε)",
            "Kingma and Ba, Adam, ICLR 2015",
        ),
        "adamw" => (
            "adamw",
            "Adam with weight decay of its own",
            "m ← β₁m + (1−β₁)∇L,  v ← β₂v + (1−β₂)(∇L)²\n\
             θ ← (1−ηλ)θ − η m/(1−β₁ᵗ) / (√(v/(1−β₂ᵗ)) + ε)",
            "Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019",
        ),
        "lion" => (
            "lion",
            "steps along the sign of a momentum",
            "θ ← (1−ηλ)θ − η sign(β₁m + (1−β₁)∇L)\nm ← β₂m + (1−β₂)∇L",
            "Chen et al., Symbolic Discovery of Optimization Algorithms, NeurIPS 2023",
        ),
        other => {
            return Err(MethodError::invalid(format!("`train` has no method `{other}`"))
                .help(format!("its methods are `{}`", METHODS.join("`, `"))));
        }
    };
    let port = |role, space, min, doc| Port { role, space, min, max: Some(1), settings: false, doc };
    let about = About {
        id,
        version: 1,
        category: Category::Train,
        summary,
        formula,
        citation,
        ports: vec![
            port("start", Space::Model, 1, "the network whose weights the training starts from"),
            port("data", Space::Dataset, 1, "examples to train on"),
            port("validate", Space::Dataset, 0, "examples to validate on, for `early_stopping` and `swad`"),
        ],
        random: true,
        claims: &[],
    };
    Ok(Described { about, class: Class::Learn, passes: 0, params: schema(id)? })
}

/// Names of a method's settings, `seed` not among them.
pub(crate) fn names(method: &str) -> Result<Vec<String>, MethodError> {
    Ok(of(method)?.into_iter().flat_map(|(properties, _)| properties).map(|(name, _)| name).collect())
}

/// One object schema of the settings, with `seed`.
fn schema(method: &str) -> Result<Json, MethodError> {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (part, needed) in of(method)? {
        properties.extend(part);
        required.extend(needed);
    }
    // A training's length is in epochs unless it says otherwise.
    if let Some(epochs) = properties.get_mut("epochs").and_then(Json::as_object_mut) {
        epochs.insert("x-bare".into(), "epoch".into());
    }
    properties.insert(
        "seed".into(),
        json!({
            "type": "integer", "minimum": 0, "x-unit": "seed",
            "description": "starts the random stream of the data's order, dropout and mixup; derived from the recipe where it is not given, and shown in the plan"
        }),
    );
    Ok(
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }),
    )
}

/// Properties of a struct of settings, and names of the required ones.
type Object = (Map<String, Json>, Vec<Json>);

/// The three structs of a method.
fn of(method: &str) -> Result<[Object; 3], MethodError> {
    let rule = match method {
        "sgd" => object::<SgdParams>(),
        "adam" => object::<AdamParams>(),
        "adamw" => object::<AdamwParams>(),
        "lion" => object::<LionParams>(),
        other => {
            return Err(MethodError::invalid(format!("`train` has no method `{other}`"))
                .help(format!("its methods are `{}`", METHODS.join("`, `"))));
        }
    };
    Ok([object::<CommonParams>(), rule, object::<ParallelParams>()])
}

/// The properties of a struct of settings.
pub(crate) fn properties<P: Params>() -> Map<String, Json> {
    object::<P>().0
}

fn object<P: Params>() -> Object {
    // Subschemas in place: the parts are put together without their `$defs`.
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<P>().to_value();
    let properties = schema.get_mut("properties").and_then(Json::as_object_mut).map(std::mem::take);
    let required = schema.get_mut("required").and_then(Json::as_array_mut).map(std::mem::take);
    (properties.unwrap_or_default(), required.unwrap_or_default())
}
