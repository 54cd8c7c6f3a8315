//! What the derives promise to method authors: schema, reading, defaults, and errors that name their parameter.

use fusion_sdk::{ErrorKind, MethodError, NoParams, Params, RawGroup, Words, testing};
use schemars::schema_for;
use serde_json::{Value as Json, json};

/// Settings of `consensus`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Consensus {
    /// share of models that must
    /// agree on the sign
    #[param(unit = fraction, range = 0.5..=1.0, default = 0.6, varies)]
    pub agreement: f64,
    /// divide by the sum of the weights
    #[param(default = true, varies)]
    pub normalize: bool,
    /// required: no default
    pub steps: u32,
    /// share that is kept
    #[param(range = 0.0..=1.0, unit = fraction)]
    pub density: Option<f64>,
    /// whose semantics decide
    #[param(default = Dialect::Fusion)]
    pub dialect: Dialect,
}

/// Whose semantics decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Dialect {
    /// the defaults documented here
    Fusion,
    /// exactly what mergekit computes
    Mergekit,
    #[expect(missing_docs)]
    NoDoc,
}

/// Everything else that a field can be.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Others {
    #[param(above = 0, default = 1)]
    rate: f32,
    #[param(above = -1, range = ..=1, default = 0.1)]
    momentum: f32,
    #[param(range = 1.., default = LAYERS)]
    layers: u8,
    #[param(above = 0)]
    width: Option<u64>,
    #[param(range = ..=-1, default = -1)]
    offset: i8,
    #[param(range = 0..=MOST, unit = fraction, default = vec![0.25, 0.75])]
    ramp: Vec<f64>,
    #[param(range = 1..=9)]
    counts: Option<Vec<u16>>,
    #[param(unit = seed)]
    dice: Option<u64>,
    #[param(default = "relu")]
    r#type: String,
    #[param(default = vec![Dialect::NoDoc])]
    dialects: Vec<Dialect>,
}

const LAYERS: u8 = 2;
const MOST: f64 = 1.0;

/// No setting is required, so that `Default` exists; nothing is said of them either.
#[derive(Clone, Debug, PartialEq, Params)]
struct Plain {
    scale: Option<f64>,
}

fn read<T: Params>(settings: &Json) -> Result<T, MethodError> {
    let tensor = testing::tensor("w", &[1], settings, &[("from", json!({}))]);
    let group = RawGroup { tensors: vec![tensor], seed: 0 }.typed::<T, NoParams>()?;
    Ok(group.tensors[0].params.clone())
}

/// The parameter to blame and the message.
fn refused<T: Params + std::fmt::Debug>(settings: &Json) -> (Option<&'static str>, String) {
    let error = read::<T>(settings).unwrap_err();
    assert_eq!((error.kind, error.input), (ErrorKind::Invalid, None));
    (error.parameter, error.message)
}

fn others(name: &str, value: Json) -> (Option<&'static str>, String) {
    refused::<Others>(&json!({ name: value }))
}

#[test]
fn the_schema_says_all_that_the_author_said() {
    assert_eq!(
        schema_for!(Consensus).to_value(),
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Consensus",
            "description": "Settings of `consensus`.",
            "type": "object",
            "properties": {
                "agreement": {
                    "type": "number", "format": "double",
                    "description": "share of models that must agree on the sign",
                    "minimum": 0.5, "maximum": 1.0, "default": 0.6, "x-unit": "fraction", "x-varies": true
                },
                "normalize": {
                    "type": "boolean", "description": "divide by the sum of the weights",
                    "default": true, "x-varies": true
                },
                "steps": {
                    "type": "integer", "format": "uint32", "minimum": 0, "description": "required: no default"
                },
                "density": {
                    "type": ["number", "null"], "format": "double", "description": "share that is kept",
                    "minimum": 0.0, "maximum": 1.0, "default": null, "x-unit": "fraction"
                },
                "dialect": {
                    "$ref": "#/$defs/Dialect", "description": "whose semantics decide", "default": "fusion"
                }
            },
            "required": ["steps"],
            "additionalProperties": false,
            "$defs": {
                "Dialect": {
                    "description": "Whose semantics decide.",
                    "oneOf": [
                        { "type": "string", "const": "fusion", "description": "the defaults documented here" },
                        { "type": "string", "const": "mergekit", "description": "exactly what mergekit computes" },
                        { "type": "string", "const": "no_doc" }
                    ]
                }
            }
        })
    );
}

#[test]
fn bounds_and_defaults_stand_in_the_schema_as_they_are_meant() {
    let schema = schema_for!(Others).to_value();
    let property = |name: &str| schema["properties"][name].clone();
    assert_eq!(
        property("rate"),
        json!({ "type": "number", "format": "float", "exclusiveMinimum": 0.0, "default": 1.0 })
    );
    assert_eq!(
        property("momentum"),
        json!({ "type": "number", "format": "float", "exclusiveMinimum": -1.0, "maximum": 1.0, "default": 0.1 })
    );
    assert_eq!(
        property("layers"),
        json!({ "type": "integer", "format": "uint8", "minimum": 1, "maximum": 255, "default": 2 })
    );
    assert_eq!(
        property("width"),
        json!({ "type": ["integer", "null"], "format": "uint64", "exclusiveMinimum": 0, "default": null })
    );
    assert_eq!(
        property("ramp"),
        json!({ "type": "array", "default": [0.25, 0.75], "items": {
            "type": "number", "format": "double", "minimum": 0.0, "maximum": 1.0, "x-unit": "fraction"
        } })
    );
    assert_eq!(property("counts")["items"]["maximum"], json!(9));
    assert_eq!(property("dice")["x-unit"], json!("seed"));
    assert_eq!(property("type"), json!({ "type": "string", "default": "relu" }));
    assert_eq!(property("dialects")["default"], json!(["no_doc"]));
    assert_eq!(schema.get("required"), None);
}

#[test]
fn defaults_fill_in_what_is_absent() {
    let read = read::<Consensus>(&json!({ "steps": 3 })).unwrap();
    let expected =
        Consensus { agreement: 0.6, normalize: true, steps: 3, density: None, dialect: Dialect::Fusion };
    assert_eq!(read, expected);
    assert_eq!(Others::default(), serde_json::from_value(json!({})).unwrap());
    assert_eq!((Others::default().r#type.as_str(), Others::default().layers), ("relu", 2));
    assert_eq!(Plain::default(), Plain { scale: None });
}

#[test]
fn settings_survive_json() {
    let settings =
        json!({ "agreement": 1, "normalize": false, "steps": 4, "density": 0.5, "dialect": "mergekit" });
    let value = read::<Consensus>(&settings).unwrap();
    let expected = Consensus {
        agreement: 1.0,
        normalize: false,
        steps: 4,
        density: Some(0.5),
        dialect: Dialect::Mergekit,
    };
    assert_eq!(value, expected);
    for value in [value, Consensus { density: None, dialect: Dialect::NoDoc, ..expected }] {
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<Consensus>(&text).unwrap(), value, "{text}");
    }
    let others = Others { counts: Some(vec![1, 9]), dice: Some(u64::MAX), ..Others::default() };
    let json = serde_json::to_value(&others).unwrap();
    assert_eq!(json["type"], json!("relu"));
    assert_eq!(read::<Others>(&json).unwrap(), others);
}

/// A bound itself is allowed, or with `above` is not; the next value beyond it never is.
#[test]
fn every_bound_is_enforced_and_blames_its_parameter() {
    for settings in [
        json!({ "steps": 0, "agreement": 0.5 }),
        json!({ "steps": 0, "agreement": 1 }),
        json!({ "steps": u32::MAX, "density": 0 }),
        json!({ "steps": 0, "density": null }),
    ] {
        assert!(read::<Consensus>(&settings).is_ok(), "{settings}");
    }
    for settings in [
        json!({ "rate": 1e-9, "momentum": 1, "layers": 1, "width": 1, "offset": -128, "ramp": [0, 1, 0.5] }),
        json!({ "offset": -1, "ramp": [], "counts": [1, 9], "width": null, "counts": null }),
    ] {
        assert!(read::<Others>(&settings).is_ok(), "{settings}");
    }
    let agreement = |value: f64| refused::<Consensus>(&json!({ "steps": 1, "agreement": value }));
    let text = "`agreement = 1.5` must lie between 50% and 100%".to_owned();
    assert_eq!(agreement(1.5), (Some("agreement"), text));
    assert_eq!(agreement(0.499).0, Some("agreement"));
    assert_eq!(refused::<Consensus>(&json!({ "steps": 1, "density": -0.1 })).0, Some("density"));
    for (name, value, message) in [
        ("rate", json!(0), "`rate = 0` must be above 0"),
        ("momentum", json!(-1), "`momentum = -1` must be above -1 and at most 1"),
        ("momentum", json!(1.5), "`momentum = 1.5` must be above -1 and at most 1"),
        ("layers", json!(0), "`layers = 0` must be at least 1"),
        ("width", json!(0), "`width = 0` must be above 0"),
        ("offset", json!(0), "`offset = 0` must be at most -1"),
        ("ramp", json!([0.5, 1.25]), "`ramp = 1.25` must lie between 0% and 100%"),
        ("counts", json!([1, 10]), "`counts = 10` must lie between 1 and 9"),
    ] {
        let (parameter, found) = others(name, value);
        assert_eq!((parameter, found.as_str()), (Some(name), message));
    }
    // serde's own door is guarded too.
    let error = serde_json::from_value::<Others>(json!({ "layers": 0 })).unwrap_err();
    assert!(error.to_string().contains("`layers = 0` must be at least 1"), "{error}");
}

#[test]
fn values_of_another_type_blame_their_parameter() {
    for (name, value, part) in [
        ("rate", json!("fast"), "`rate = \"fast\"` does not fit: invalid type"),
        ("rate", json!(null), "`rate = null` does not fit"),
        ("layers", json!(256), "`layers = 256` does not fit"),
        ("layers", json!(-1), "`layers = -1` does not fit"),
        ("layers", json!(1.5), "`layers = 1.5` does not fit"),
        ("width", json!("wide"), "expected u64"),
        ("counts", json!([1, 70000]), "70000"),
        ("ramp", json!(0.5), "expected a sequence"),
        ("type", json!(true), "expected a string"),
        ("dialects", json!(["fusion", "other"]), "`other` is none of `fusion`, `mergekit`, `no_doc`"),
    ] {
        let (parameter, message) = others(name, value);
        assert_eq!(parameter, Some(name));
        assert!(message.contains(part), "{message}");
    }
    let (parameter, message) = refused::<Consensus>(&json!({ "steps": 1, "dialect": 3 }));
    assert_eq!(parameter, Some("dialect"));
    assert!(message.contains("expected a string"), "{message}");
}

#[test]
fn missing_and_unknown_parameters_are_named() {
    let missing = refused::<Consensus>(&json!({ "agreement": 0.7 }));
    assert_eq!(missing, (Some("steps"), "`steps` is missing and has no default".to_owned()));
    let error = read::<Consensus>(&json!({ "steps": 1, "agrement": 0.7 })).unwrap_err();
    assert_eq!(error.message, "there is no parameter `agrement`");
    assert!(error.help.as_deref().is_some_and(|help| help.contains("`agreement`")), "{error:?}");
    let error = read::<NoParams>(&json!({ "weight": 1 })).unwrap_err();
    assert_eq!(error.message, "there is no parameter `weight`");
}

/// JSON has neither, but an f32 can overflow, and programs can build settings themselves.
#[test]
fn nan_and_infinities_do_not_come_in() {
    assert_eq!(
        others("rate", json!(1e300)),
        (Some("rate"), "`rate = inf` is not a finite number".to_owned())
    );
    assert_eq!(others("rate", json!(f64::NAN)).0, Some("rate"));
    let check = |agreement, density| {
        let settings = Consensus { agreement, normalize: true, steps: 1, density, dialect: Dialect::Fusion };
        settings.check().map_err(|error| (error.parameter, error.message))
    };
    assert_eq!(check(0.7, Some(0.1)), Ok(()));
    let message = "`agreement = NaN` is not a finite number".to_owned();
    assert_eq!(check(f64::NAN, None), Err((Some("agreement"), message)));
    assert_eq!(check(0.7, Some(f64::NAN)).unwrap_err().0, Some("density"));
    assert!(Plain { scale: Some(f64::NEG_INFINITY) }.check().is_err());
    assert!(Others { ramp: vec![0.1, f64::NAN], ..Others::default() }.check().is_err());
}

#[test]
fn errors_of_an_input_say_which() {
    let input = |density: f64| ("from", json!({ "steps": 1, "density": density }));
    let tensor = testing::tensor("w", &[1], &json!({}), &[input(0.5), input(2.0)]);
    let error = RawGroup { tensors: vec![tensor], seed: 0 }.typed::<NoParams, Consensus>().unwrap_err();
    assert_eq!((error.parameter, error.input), (Some("density"), Some(1)));
}
