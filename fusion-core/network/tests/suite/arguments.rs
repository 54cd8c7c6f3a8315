//! Arguments of recipes: read, checked, printed.

use fusion_network::{Architecture, ArchitectureError};
use serde_json::{Map, Value as Json, json};

fn parse(name: &str, arguments: Json) -> Result<Architecture, ArchitectureError> {
    Architecture::parse(name, arguments.as_object().unwrap_or(&Map::new()))
}

#[test]
fn arguments_are_read_by_name_and_place_and_printed_as_in_a_recipe() {
    let mlp = parse("mlp", json!({"0": 784.0, "1": [512, 512], "outputs": 10, "norm": "batch"})).unwrap();
    assert_eq!(mlp.to_string(), "mlp(inputs: 784, hidden: [512, 512], outputs: 10, norm: batch)");
    assert_eq!((mlp.input(), mlp.outputs(), mlp.has_batch_norm()), (&[784][..], 10, true));
    let written = serde_json::to_value(&mlp).unwrap();
    assert_eq!(serde_json::from_value::<Architecture>(written).unwrap(), mlp);
}

#[test]
fn mistakes_are_named() {
    let text = |name: &str, arguments: Json| parse(name, arguments).unwrap_err().to_string();
    let error = text("mpl", json!({}));
    assert!(
        error.starts_with("there is no architecture `mpl` (did you mean `mlp`?); the architectures are "),
        "{error}"
    );
    let error = text("mlp", json!({"inputs": 3, "hiden": []}));
    assert!(
        error.starts_with(
            "`mlp` has no argument `hiden` (did you mean `hidden`?); its arguments are inputs, hidden"
        ),
        "{error}"
    );
    let error = text("mlp", json!({"0": 3, "inputs": 3, "hidden": [], "outputs": 1}));
    assert_eq!(error, "`mlp`: `inputs` is given twice; give it once, by name or by place");
    let error = text("mlp", json!({"0": 1, "1": [], "2": 3, "3": 4}));
    assert!(error.starts_with("`mlp` has no argument `3`"), "{error}");
    let error = text("mlp", json!({"inputs": 3, "hidden": [0], "outputs": 1}));
    assert!(error.contains("`hidden = 0` must be at least 1"), "{error}");
    let error = text("mlp", json!({"inputs": 3, "hidden": [4]}));
    assert!(error.contains("`outputs` is missing"), "{error}");
    let error = text("mlp", json!({"inputs": -3, "hidden": [4], "outputs": 1}));
    assert!(error.contains("inputs"), "{error}");
    let error = text("mlp", json!({"inputs": 3, "hidden": [4], "outputs": 1, "activation": "swish"}));
    assert!(error.contains("`swish` is none of `relu`"), "{error}");
}

#[test]
fn the_catalogue_has_schemas() {
    for entry in Architecture::catalogue() {
        assert_eq!(entry.schema["type"], "object", "{}", entry.name);
        for name in entry.positional {
            assert!(entry.schema["properties"].get(name).is_some(), "{}: {name}", entry.name);
        }
    }
}
