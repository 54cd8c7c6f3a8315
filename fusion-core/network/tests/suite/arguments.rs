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
fn sizes_that_do_not_fit_are_errors() {
    let text = |name: &str, arguments: Json| parse(name, arguments).unwrap_err().to_string();
    let wrong = [
        (
            "cnn",
            json!({"input": [28, 28], "channels": [4], "outputs": 2}),
            "`input = [28, 28]` is not an image; give [channels",
        ),
        (
            "cnn",
            json!({"input": [1, 4, 4], "channels": [4, 4, 4], "outputs": 2}),
            "an image of 4 × 4 is used up before",
        ),
        ("vgg", json!({"depth": 12}), "there is no VGG of depth 12; take 11, 13, 16 or 19"),
        ("resnet", json!({"depth": 21}), "a depth of 21 is not 6n + 2; take 20 or 26"),
        ("resnet", json!({"depth": 20, "width": 0}), "`width = 0` must be above 0"),
        (
            "transformer",
            json!({"vocabulary": 9, "context": 8, "dim": 10}),
            "`dim = 10` is not a multiple of 4 heads",
        ),
        (
            "transformer",
            json!({"vocabulary": 9, "context": 8, "kv_heads": 3}),
            "4 heads are not a multiple of 3",
        ),
        (
            "transformer",
            json!({"vocabulary": 9, "context": 8, "dim": 12, "positions": "rope"}),
            "have no pairs to rotate",
        ),
        ("vit", json!({"patch": 5}), "patches of 5 do not divide an image of 32 × 32"),
        ("lstm", json!({}), "`lstm` needs to know what it reads"),
        ("lstm", json!({"vocabulary": 9}), "language needs both `vocabulary` and `context`"),
        ("lstm", json!({"vocabulary": 9, "context": 8, "input": [8, 8]}), "reads tokens or images, not both"),
        ("lstm", json!({"input": [8, 8]}), "`outputs` is missing"),
        ("mlp", json!({"inputs": 1e30, "hidden": [], "outputs": 1}), "is too large; sizes go up to 1048576"),
        (
            "mlp",
            json!({"inputs": 1000000, "hidden": [1000000], "outputs": 1}),
            "the network would have 1000002000001 weights",
        ),
        ("vgg", json!({"depth": 11, "input": [1, 1000000, 1000000]}), "is too large"),
    ];
    for (name, arguments, wanted) in wrong {
        let found = text(name, arguments);
        assert!(found.contains(wanted), "{found}");
    }
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
