use std::sync::Arc;

use fusion_data::Dataset;
use fusion_sdk::batch::Targets;
use fusion_sdk::rng::Key;
use serde_json::{Value as Json, json};

use super::*;
use crate::measure::toy::run;

const BASIC: Setup =
    Setup { kind: Correct::Both, form: Form::Forward, spread: Spread::Std, size: 64, threads: 2 };

#[derive(Clone, Copy)]
struct Setup {
    kind: Correct,
    form: Form,
    spread: Spread,
    size: usize,
    threads: usize,
}

fn mlp(more: Json) -> Architecture {
    let mut arguments = json!({ "inputs": 4, "hidden": [8, 8], "outputs": 3 });
    let object = arguments.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    Architecture::parse("mlp", object).expect("an architecture")
}

fn flat(architecture: &Architecture, seed: u64) -> Flat {
    let network = Network::new(architecture, &Device::flex()).expect("a device");
    network.flatten(&architecture.initial(seed)).expect("its own state")
}

/// Mean weights and statistics.
fn mean(flats: &[Flat], shares: &[f64]) -> Flat {
    let mix = |of: fn(&Flat) -> &Vec<f32>| -> Vec<f32> {
        let sum = |index: usize| {
            let parts = flats.iter().zip(shares).map(|(flat, share)| share * f64::from(of(flat)[index]));
            parts.sum::<f64>() as f32
        };
        (0..of(&flats[0]).len()).map(sum).collect()
    };
    Flat { weights: mix(|flat| &flat.weights), statistics: mix(|flat| &flat.statistics) }
}

/// 64 examples of normal numbers, about 1.
fn data(features: usize) -> Arc<Dataset> {
    let key = Key::new(1, "repair", 0);
    let values = (0..64 * features as u64).map(|index| key.normal(index) + 1.0).collect();
    Arc::new(Dataset::of_rows(values, features, Targets::Classes(vec![0; 64]), 3).expect("rows"))
}

fn repaired(
    architecture: &Architecture,
    merged: &Flat,
    flats: &[Flat],
    shares: &[f64],
    setup: Setup,
) -> Result<Repaired, MeasureError> {
    let names = ["a", "b", "c"];
    let endpoints: Vec<Endpoint<'_>> = (0..flats.len())
        .map(|index| Endpoint { name: names[index], flat: &flats[index], share: shares[index] })
        .collect();
    let set = data(architecture.input().iter().product());
    let batches = Batches::training("data", &set, setup.size, 3, None).expect("data");
    repair(&Repair {
        architecture,
        device: &Device::flex(),
        merged: Endpoint { name: "merged", flat: merged, share: 1.0 },
        endpoints: &endpoints,
        kind: setup.kind,
        form: setup.form,
        spread: setup.spread,
        batches: &batches,
        run: run(setup.threads),
    })
}

/// A model that is like itself already stays as it is: 1e-6 of a layer's largest weight, since its own pass gives moments that differ from
/// the corrected one's by the rounding of f32 activations.
#[test]
fn a_model_repaired_by_itself_stays() {
    let cnn = json!({ "input": [1, 6, 6], "channels": [3, 4], "outputs": 3, "kernel": 3, "hidden": [5] });
    let cnn = Architecture::parse("cnn", cnn.as_object().expect("an object")).expect("an architecture");
    for architecture in [mlp(json!({})), mlp(json!({ "activation": "tanh" })), cnn] {
        let own = flat(&architecture, 1);
        for form in [Form::Forward, Form::Closed] {
            let setup = Setup { form, ..BASIC };
            let found = repaired(&architecture, &own, &[own.clone(), own.clone()], &[0.5, 0.5], setup)
                .expect("a repair");
            let network = Network::new(&architecture, &Device::flex()).expect("a device");
            for segment in network.segments() {
                let range = segment.start..segment.start + segment.len;
                let (old, new) = (&own.weights[range.clone()], &found.flat.weights[range]);
                let largest = old.iter().fold(1.0_f32, |top, value| top.max(value.abs()));
                let close = old.iter().zip(new).all(|(old, new)| (old - new).abs() <= 1e-6 * largest);
                assert!(close, "{architecture} {form:?} {}", segment.name);
            }
            assert!(found.layers.iter().all(|layer| (layer.after.variance - 1.0).abs() < 1e-5));
        }
    }
}

/// Three independent networks: what collapsed has its spread and its mean again. One batch is all of the data, so the corrections hold to
/// the rounding of f32.
#[test]
fn averages_get_what_their_models_have() {
    let architecture = mlp(json!({}));
    let flats = [1, 2, 3].map(|seed| flat(&architecture, seed));
    let shares = [0.5, 0.3, 0.2];
    let merged = mean(&flats, &shares);
    for spread in [Spread::Std, Spread::Variance] {
        let found =
            repaired(&architecture, &merged, &flats, &shares, Setup { spread, ..BASIC }).expect("a repair");
        let [before, after] = found.variances();
        assert!(before < 0.8, "{before}");
        assert!((after - 1.0).abs() < 1e-4, "{after}");
        for layer in &found.layers {
            assert_eq!((layer.units, layer.dead), (8, 0));
            assert!((layer.after.variance - 1.0).abs() < 1e-4 && layer.after.offset < 1e-4, "{layer:?}");
        }
    }
    let names = |setup| {
        let found = repaired(&architecture, &merged, &flats, &shares, setup).expect("a repair");
        found.layers.into_iter().map(|layer| layer.after).collect::<Vec<_>>()
    };
    for layer in names(Setup { kind: Correct::Scale, ..BASIC }) {
        assert!((layer.variance - 1.0).abs() < 1e-4, "{layer:?}");
    }
    for layer in names(Setup { kind: Correct::Shift, ..BASIC }) {
        assert!(layer.offset < 1e-4 && layer.variance < 0.9, "{layer:?}");
    }
}

/// For one hidden layer the closed form is exact, whatever the batches: 1e-5 of the largest weight for f32 activations.
#[test]
fn the_closed_form_is_exact_for_one_layer() {
    let architecture = mlp(json!({ "hidden": [8] }));
    let flats = [1, 2].map(|seed| flat(&architecture, seed));
    let merged = mean(&flats, &[0.5, 0.5]);
    for size in [64, 20] {
        let of = |form| {
            let setup = Setup { form, size, ..BASIC };
            repaired(&architecture, &merged, &flats, &[0.5, 0.5], setup).expect("a repair").flat.weights
        };
        let (forward, closed) = (of(Form::Forward), of(Form::Closed));
        assert!(forward.iter().zip(&closed).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(forward.iter().zip(&merged.weights).any(|(a, b)| (a - b).abs() > 1e-2));
    }
}

/// Deeper layers are near their goal in the closed form, and the same bits come from any number of threads in both.
#[test]
fn threads_do_not_matter() {
    let architecture = mlp(json!({}));
    let flats = [1, 2].map(|seed| flat(&architecture, seed));
    let merged = mean(&flats, &[0.5, 0.5]);
    for form in [Form::Forward, Form::Closed] {
        let of = |threads| {
            let setup = Setup { form, size: 9, threads, ..BASIC };
            repaired(&architecture, &merged, &flats, &[0.5, 0.5], setup).expect("a repair")
        };
        let one = of(1);
        assert_eq!(one, of(3), "{form:?}");
        let ([before, after], far) = (one.variances(), |value: f64| (value - 1.0).abs());
        assert!(far(after) < 0.5 * far(before), "{form:?} {before} {after}");
    }
}

/// A unit that never changes has no spread to correct: it is counted, and everything stays finite.
#[test]
fn dead_units_stay_finite() {
    let architecture = mlp(json!({}));
    let mut flats = [1, 2].map(|seed| flat(&architecture, seed));
    for flat in &mut flats {
        (0..4).for_each(|input| flat.weights[8 * input + 5] = 0.0);
        flat.weights[32 + 5] = -1.0;
    }
    let merged = mean(&flats, &[0.5, 0.5]);
    for form in [Form::Forward, Form::Closed] {
        let setup = Setup { form, ..BASIC };
        let found = repaired(&architecture, &merged, &flats, &[0.5, 0.5], setup).expect("a repair");
        assert_eq!(found.layers[0].dead, 1);
        assert!(found.flat.weights.iter().all(|value| value.is_finite()));
        assert_eq!(found.flat.weights[32 + 5], -1.0);
    }
}

#[test]
fn what_cannot_be_repaired_is_said() {
    let halves = [0.5, 0.5];
    let of = |architecture: &Architecture, setup: Setup, spoil: bool| {
        let mut flats = [1, 2].map(|seed| flat(architecture, seed));
        let merged = mean(&flats, &halves);
        if spoil {
            flats[1].weights[40] = f32::NAN;
        }
        repaired(architecture, &merged, &flats, &halves, setup)
    };
    for form in [Form::Forward, Form::Closed] {
        let error = of(&mlp(json!({})), Setup { form, ..BASIC }, true).unwrap_err().to_string();
        assert!(error.contains("layer `layers.1` of `b` gives NaN"), "{error}");
    }
    let bare = mlp(json!({ "bias": false, "norm": "layer" }));
    let error = of(&bare, BASIC, false).unwrap_err().to_string();
    assert!(error.contains("layer `layers.0` has no bias") && error.contains("rescale"), "{error}");
    let scaled = of(&bare, Setup { kind: Correct::Scale, ..BASIC }, false).expect("scales only");
    assert!((scaled.variances()[1] - 1.0).abs() < 1e-4);
    let error = of(&mlp(json!({ "norm": "batch" })), BASIC, false).unwrap_err().to_string();
    assert!(
        error.contains("BatchNorm follows every hidden layer") && error.contains("batch_norm"),
        "{error}"
    );
    let error = of(&mlp(json!({ "hidden": [] })), BASIC, false).unwrap_err().to_string();
    assert!(error.contains("no layer that could be corrected"), "{error}");
}

/// Where BatchNorm stands behind some layers only, the others are corrected and its statistics are measured again: behind convolutions
/// that are as they were, those of the average itself.
#[test]
fn batch_norm_is_measured_again() {
    let cnn = json!({ "input": [1, 6, 6], "channels": [3], "outputs": 3, "kernel": 3, "hidden": [5], "norm": "batch" });
    let cnn = Architecture::parse("cnn", cnn.as_object().expect("an object")).expect("an architecture");
    let flats = [1, 2].map(|seed| flat(&cnn, seed));
    let merged = mean(&flats, &[0.5, 0.5]);
    let found = repaired(&cnn, &merged, &flats, &[0.5, 0.5], BASIC).expect("a repair");
    let names: Vec<&str> = found.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["layers.0"]);
    let mut network = Network::new(&cnn, &Device::flex()).expect("a device");
    let batch = Batches::training("data", &data(36), 64, 3, None).expect("data");
    let own = network.batch_statistics(&merged.weights, &batch.get(0).expect("there")).expect("fits");
    // Perhaps in another order of sums.
    assert!(found.flat.statistics.iter().zip(&own).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(found.flat.statistics.len(), own.len());
}

/// 1-1-1 with weights 2 and biases (3, 5) and (1, −1): with equal shares biases are ½(3 + 1) = 2 and ¼(5 − 1) = 1, as with α = ½ of the
/// mean's (2, 2); with shares ¾ and ¼ they are 2.5 and 9/16·5 − 1/16.
#[test]
fn biases_shrink_with_height() {
    let architecture = mlp(json!({ "inputs": 1, "hidden": [1], "outputs": 1 }));
    let network = Network::new(&architecture, &Device::flex()).expect("a device");
    let flat = |first: f32, second: f32| Flat { weights: vec![2.0, first, 2.0, second], statistics: vec![] };
    let (a, b) = (flat(3.0, 5.0), flat(1.0, -1.0));
    let endpoints = |shares: [f64; 2]| {
        [("a", &a), ("b", &b)]
            .into_iter()
            .zip(shares)
            .map(|((name, flat), share)| Endpoint { name, flat, share })
            .collect::<Vec<_>>()
    };
    let mut weights = vec![2.0, 2.0, 2.0, 2.0];
    let found = correct_biases(&network, &mut weights, &endpoints([0.5, 0.5]), 0.5).expect("a chain");
    assert_eq!(weights, [2.0, 2.0, 2.0, 1.0]);
    assert_eq!(found[1], Biased { name: "layers.1".to_owned(), height: 2, ratio: 0.5 });
    let mut weights = vec![2.0, 2.0, 2.0, 2.0];
    correct_biases(&network, &mut weights, &[], 0.5).expect("a chain");
    assert_eq!(weights, [2.0, 2.0, 2.0, 1.0]);
    correct_biases(&network, &mut weights, &endpoints([0.75, 0.25]), 0.5).expect("a chain");
    assert_eq!(weights, [2.0, 2.5, 2.0, 2.75]);
    for (more, word) in [(json!({ "norm": "layer" }), "normalises"), (json!({ "bias": false }), "no biases")]
    {
        let network = Network::new(&mlp(more), &Device::flex()).expect("a device");
        let mut weights = vec![0.0; network.len()];
        let error = correct_biases(&network, &mut weights, &[], 0.5).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
