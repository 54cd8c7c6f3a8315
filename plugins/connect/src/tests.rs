use fusion_sdk::connect::Search;
use fusion_sdk::context::{Alone, Context, Host};
use fusion_sdk::path::Path;
use fusion_sdk::{Class, ErrorKind, MethodError, Space};
use serde_json::{Map, Value as Json, json};

use crate::methods;
use crate::toy::{Noisy, Quadratic, Smooth, search};

fn settings(json: Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

/// Fewest models that a method takes.
fn least(method: &dyn fusion_sdk::connect::PathMethod) -> usize {
    let ports = method.describe().about.ports;
    ports.iter().filter(|port| port.space == Space::Model).map(|port| port.min as usize).sum()
}

#[test]
fn every_method_describes_itself() {
    let mut ids = Vec::new();
    for method in methods() {
        let described = method.describe();
        let id = described.about.id;
        assert_eq!(described.class, Class::Path, "{id}");
        assert!(!described.about.citation.is_empty() && !described.about.formula.is_empty(), "{id}");
        let data = described.about.ports.iter().filter(|port| port.space == Space::Dataset).count();
        assert!(data <= 1, "{id}");
        let properties = described.params["properties"].as_object().unwrap();
        assert_eq!(properties.contains_key("seed"), described.about.random, "{id}");
        for (name, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{id} {name}");
        }
        assert!(described.params.get("required").is_none(), "{id}: every setting has a default");
        assert!(method.prepare(&Map::new(), least(&*method)).is_ok(), "{id}");
        assert!(method.prepare(&Map::new(), 0).is_err(), "{id}");
        let error = method.prepare(&settings(json!({ "no_such": 1 })), least(&*method)).err().unwrap();
        assert!(error.message.contains("no_such"), "{id}: {error}");
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), methods().len());
}

#[test]
fn settings_come_in_as_json() {
    let method = methods().into_iter().find(|method| method.describe().about.id == "bezier").unwrap();
    let good = json!({ "bends": 2, "rate": { "cosine": { "from": 0.1, "to": 0.0 } }, "optimizer": "adam", "epochs": 3 });
    assert!(method.prepare(&settings(good), 2).is_ok());
    for (bad, parameter) in [
        (json!({ "bends": 0 }), "bends"),
        (json!({ "rate": -1.0 }), "rate"),
        (json!({ "optimizer": "adam", "momentum": 0.5 }), "momentum"),
        (json!({ "anneal": "early" }), "anneal"),
        (json!({ "epochs": 0 }), "epochs"),
        (json!({ "clip": 0 }), "clip"),
    ] {
        let error = method.prepare(&settings(bad), 2).err().unwrap();
        assert_eq!(error.parameter, Some(parameter), "{error}");
    }
}

/// Settings that keep a run of any method short.
fn short(id: &str) -> Map<String, Json> {
    settings(match id {
        "linear" | "swag" | "plane" => json!({}),
        "autoneb" => json!({ "cycles": 2, "steps": 5, "rate": 0.01 }),
        "fge" => json!({ "members": 2, "cycle": { "value": 4, "unit": "step" } }),
        _ => json!({ "steps": 6, "rate": 0.01 }),
    })
}

fn run(id: &str, seed: u64, host: &dyn Host) -> Result<Path, MethodError> {
    let method = methods().into_iter().find(|method| method.describe().about.id == id).unwrap();
    let models: [&[f32]; 3] = [&[1.0, 0.5, 0.25, 0.0], &[0.0, 1.0, 0.5, 0.5], &[0.5, 0.25, 1.0, 0.0]];
    let count = least(&*method);
    let mut toy = Noisy::new(4);
    let fresh = |seed: u64| vec![seed as f32 * 1e-19, 1.0, -0.5, 0.25];
    let search = Search {
        models: &models[..count],
        counts: &[count],
        objective: Some(&mut toy),
        fresh: Some(&fresh),
        seed,
        context: Context::new(host),
    };
    method.prepare(&short(id), count)?.connect(search)
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for method in methods() {
        let id = method.describe().about.id;
        let bits =
            |path: &Path| -> Vec<u32> { path.points.iter().flatten().map(|value| value.to_bits()).collect() };
        let first = run(id, 1, &Alone).unwrap();
        assert_eq!(bits(&first), bits(&run(id, 1, &Alone).unwrap()), "{id}");
        // Methods without draws of their own depend on the seed through the order of the data only, which the engine sets.
        let draws = matches!(id, "bezier" | "polychain" | "subspace" | "simplex" | "instability");
        assert_eq!(bits(&first) != bits(&run(id, 2, &Alone).unwrap()), draws, "{id}");
    }
}

/// Says stop at the third question.
struct Impatient(std::sync::atomic::AtomicUsize);

impl Host for Impatient {
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        assert!(done <= total && note.starts_with("loss "));
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).for_each(body);
    }
}

#[test]
fn a_stop_is_heard_within_a_step() {
    for id in ["bezier", "polychain", "autoneb", "subspace", "simplex", "fge", "instability"] {
        let host = Impatient(0.into());
        assert_eq!(run(id, 1, &host).unwrap_err().kind, ErrorKind::Cancelled, "{id}");
        assert_eq!(host.0.into_inner(), 3, "{id}");
    }
}

#[test]
fn a_loss_that_is_not_finite_is_an_error_with_advice() {
    let models: [&[f32]; 2] = [&[1.0], &[-1.0]];
    for method in methods() {
        let id = method.describe().about.id;
        if matches!(id, "linear" | "swag" | "plane") {
            continue;
        }
        let count = least(&*method);
        let mut toy = Smooth::new(1, |_, gradient: &mut [f64]| {
            gradient[0] = 0.0;
            f64::NAN
        });
        let fresh = |_| vec![0.0];
        let search = Search { fresh: Some(&fresh), ..search(&models[..count], Some(&mut toy), 0) };
        let error = method.prepare(&short(id), count).unwrap().connect(search).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{id}");
        assert!(error.message.contains("NaN in step 1") && error.help.unwrap().contains("rate"), "{id}");
    }
}

#[test]
fn data_and_lengths_are_looked_at_first() {
    let method = methods().into_iter().find(|method| method.describe().about.id == "bezier").unwrap();
    let kernel = method.prepare(&Map::new(), 2).unwrap();
    let models: [&[f32]; 2] = [&[1.0], &[-1.0]];
    let error = kernel.connect(search(&models, None, 0)).unwrap_err();
    assert!(error.help.unwrap().contains("data"), "{}", error.message);
    let mut longer = Quadratic::new(&[0.0, 0.0], &[1.0, 1.0]);
    let error = kernel.connect(search(&models, Some(&mut longer), 0)).unwrap_err();
    assert_eq!((error.kind, error.input), (ErrorKind::Shape, Some(0)));
    let mut empty = Quadratic::new(&[], &[]);
    let none: [&[f32]; 2] = [&[], &[]];
    let error = kernel.connect(search(&none, Some(&mut empty), 0)).unwrap_err();
    assert!(error.message.contains("no trainable weights"), "{error}");
    let broken: [&[f32]; 2] = [&[1.0], &[f32::INFINITY]];
    let mut toy = Quadratic::new(&[0.0], &[1.0]);
    assert_eq!(kernel.connect(search(&broken, Some(&mut toy), 0)).unwrap_err().input, Some(1));
}
