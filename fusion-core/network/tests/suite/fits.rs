//! Foreign checkpoints: by name, behind a wrapper, by map, by shape and order, and when it cannot be known.

use fusion_network::{Architecture, Foreign, State, StateError};
use serde_json::json;

use crate::devices::{architecture, zoo};

fn foreign(tensors: &[(&str, &[usize])]) -> Vec<Foreign> {
    tensors.iter().map(|(name, shape)| Foreign { name: (*name).to_owned(), shape: shape.to_vec() }).collect()
}

fn own(architecture: &Architecture, prefix: &str) -> Vec<Foreign> {
    let tensors = architecture.tensors().into_iter();
    tensors.map(|spec| Foreign { name: format!("{prefix}{}", spec.name), shape: spec.shape }).collect()
}

fn indices(architecture: &Architecture, foreign: &[Foreign]) -> Vec<Option<usize>> {
    let fits =
        State::fit(architecture, foreign, None).unwrap_or_else(|error| panic!("{architecture}: {error}"));
    fits.into_iter().map(|fit| fit.foreign).collect()
}

fn small() -> Architecture {
    architecture("mlp", json!({"inputs": 3, "hidden": [4, 4], "outputs": 2}))
}

#[test]
fn the_same_names_fit_in_any_order_and_behind_a_wrapper() {
    for (architecture, _) in zoo() {
        for prefix in ["", "module.", "_orig_mod."] {
            let mut there = own(&architecture, prefix);
            there.reverse();
            let last = there.len() - 1;
            let wanted: Vec<Option<usize>> = (0..=last).map(|index| Some(last - index)).collect();
            assert_eq!(indices(&architecture, &there), wanted);
        }
    }
}

#[test]
fn other_names_fit_by_shape_and_order() {
    // As an `nn.Sequential` in the order of a pickle, and sorted as safetensors does it.
    let there = [
        ("0.weight", &[4, 3][..]),
        ("0.bias", &[4]),
        ("2.weight", &[4, 4]),
        ("2.bias", &[4]),
        ("10.weight", &[2, 4]),
        ("10.bias", &[2]),
    ];
    let every: Vec<Option<usize>> = (0..6).map(Some).collect();
    assert_eq!(indices(&small(), &foreign(&there)), every);
    // Counters may be missing, and may be there as one element.
    let normed = architecture("mlp", json!({"inputs": 3, "hidden": [4], "outputs": 2, "norm": "batch"}));
    let there = foreign(&[
        ("fc1.weight", &[4, 3]),
        ("fc1.bias", &[4]),
        ("out.weight", &[2, 4]),
        ("out.bias", &[2]),
        ("xbn.bias", &[4]),
        ("bn.weight", &[4]),
        ("bn.running_var", &[4]),
        ("bn.running_mean", &[4]),
    ]);
    let found = indices(&normed, &there);
    let names: Vec<Option<&str>> =
        found.iter().map(|index| index.map(|index| there[index].name.as_str())).collect();
    let wanted = [
        Some("fc1.weight"),
        Some("fc1.bias"),
        Some("out.weight"),
        Some("out.bias"),
        Some("bn.weight"),
        Some("xbn.bias"),
        Some("bn.running_mean"),
        Some("bn.running_var"),
        None,
    ];
    assert_eq!(names, wanted);
}

#[test]
fn what_fits_in_several_ways_is_an_error_that_lists_them() {
    // The file says encoder first, the names say decoder first.
    let there = [
        ("encoder.weight", &[4, 3][..]),
        ("encoder.bias", &[4]),
        ("decoder.weight", &[4, 4]),
        ("decoder.bias", &[4]),
        ("head.weight", &[2, 4]),
        ("head.bias", &[2]),
    ];
    let error = State::fit(&small(), &foreign(&there), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the checkpoint's names differ from the network's and do not fit in only one way: \
         `layers.0.bias` [4] could be encoder.bias or decoder.bias; \
         `layers.1.bias` [4] could be encoder.bias or decoder.bias"
    );
    // A map decides, and what it leaves open is found.
    let map = [("layers.0.bias".to_owned(), "encoder.bias".to_owned())];
    let fits = State::fit(&small(), &foreign(&there), Some(&map)).unwrap();
    assert_eq!(fits.iter().map(|fit| fit.foreign).collect::<Vec<_>>(), (0..6).map(Some).collect::<Vec<_>>());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let fit = |tensors: &[(&str, &[usize])]| State::fit(&small(), &foreign(tensors), None).unwrap_err();
    let error = fit(&[("a", &[4, 3])]);
    assert!(error.to_string().contains("`layers.1.weight` [4, 4] fits nothing"), "{error}");
    let mut there = own(&small(), "");
    there.push(Foreign { name: "extra".into(), shape: vec![1] });
    assert_eq!(
        State::fit(&small(), &there, None).unwrap_err(),
        StateError::Unexpected { name: "extra".into() }
    );
    there.truncate(5);
    assert_eq!(
        State::fit(&small(), &there, None).unwrap_err(),
        StateError::Missing { name: "layers.2.bias".into() }
    );
    there[0].shape = vec![3, 4];
    assert!(matches!(State::fit(&small(), &there, None).unwrap_err(), StateError::Shape { .. }));
    let twice = [there[1].clone(), there[1].clone()];
    assert!(matches!(State::fit(&small(), &twice, None).unwrap_err(), StateError::Twice { .. }));
    for (ours, theirs) in [("nothing", "layers.0.bias"), ("layers.0.bias", "nothing")] {
        let map = [(ours.to_owned(), theirs.to_owned())];
        assert!(State::fit(&small(), &own(&small(), ""), Some(&map)).is_err());
    }
    assert!(State::fit(&small(), &[], None).is_err());
}
