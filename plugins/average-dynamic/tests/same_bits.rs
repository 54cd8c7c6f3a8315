//! The average family through the C contract against the same family linked in: descriptors, errors and every bit are the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use fusion_core::engine;
use fusion_core::host::{Plugin, load};
use fusion_core::method::Registry;
use fusion_core::plan::{Options, plan};
use fusion_dsl::descriptor::MethodDescriptor;
use fusion_dsl::world::NoFiles;
// Links the library in, so that cargo builds it.
use fusion_average_dynamic as _;
use fusion_sdk::testing::{run, tensor};
use fusion_sdk::{BLOCK, Method, RawGroup, TILE, rng};
use serde_json::{Value as Json, json};

fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name =
        format!("{}fusion_average_dynamic{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    [folder.join(&name), folder.parent().unwrap().join(&name)]
        .into_iter()
        .find(|path| path.is_file())
        .expect("cargo builds the cdylib beside its tests")
}

fn plugin() -> Plugin {
    load(&library()).unwrap_or_else(|error| panic!("{error}"))
}

fn built_in() -> Registry {
    let mut registry = Registry::new();
    fusion_average::register(&mut registry);
    registry
}

/// Settings for every method: stage, then each `from`.
fn cases() -> Vec<(&'static str, usize, bool, Json, Json)> {
    vec![
        ("mean", 3, false, json!({}), json!({})),
        ("linear", 3, false, json!({}), json!({"weight": 0.3})),
        ("linear", 3, false, json!({"normalize": false}), json!({"weight": 0.7})),
        ("slerp", 2, false, json!({"t": 0.3}), json!({})),
        ("task_arithmetic", 3, true, json!({"lambda": 0.8}), json!({"weight": 0.4})),
        ("ties", 3, true, json!({}), json!({"weight": 0.5, "density": 0.4})),
        ("ties", 3, true, json!({"trim": "model", "rescale": "l1"}), json!({"density": 0.3})),
        ("ties", 2, true, json!({"dialect": "mergekit"}), json!({"density": 0.5})),
        ("dare", 3, true, json!({}), json!({"density": 0.5})),
        ("model_stock", 3, true, json!({}), json!({})),
    ]
}

fn group(
    base: bool,
    models: usize,
    params: &Json,
    input: &Json,
    sizes: &[usize],
) -> (RawGroup, Vec<Vec<Vec<f32>>>) {
    let mut inputs: Vec<(&str, Json)> = vec![("from", input.clone()); models];
    if base {
        inputs.insert(0, ("base", json!({})));
    }
    let tensors = sizes
        .iter()
        .enumerate()
        .map(|(index, &n)| tensor(&format!("layers.{index}.w"), &[n], params, &inputs))
        .collect();
    let data = sizes
        .iter()
        .enumerate()
        .map(|(index, &n)| {
            (0..inputs.len())
                .map(|input| {
                    let key = rng::Key::new(index as u64, "same bits", input as u64);
                    (0..n as u64).map(|i| key.uniform(i) - 0.5).collect()
                })
                .collect()
        })
        .collect();
    (RawGroup { tensors, seed: 11 }, data)
}

#[test]
fn descriptors_are_those_of_the_built_in_methods() {
    let plugin = plugin();
    assert_eq!(plugin.id, "org.fusion.average");
    assert_eq!((plugin.version.as_str(), plugin.built), (env!("CARGO_PKG_VERSION"), (1, 0)));
    let mut dynamic = Registry::new();
    for method in plugin.methods {
        dynamic.add_method(method);
    }
    let built_in = built_in();
    let known: Vec<MethodDescriptor> =
        built_in.descriptors().into_iter().filter(|descriptor| descriptor.id != "stitch").collect();
    assert_eq!(dynamic.descriptors(), known);
}

#[test]
fn every_method_gives_the_same_bits() {
    let plugin = plugin();
    let methods: BTreeMap<&str, &dyn Method> =
        plugin.methods.iter().map(|method| (method.describe().about.id, &**method)).collect();
    let built_in = built_in();
    for (id, models, base, params, input) in cases() {
        let fixed = built_in.get(id).and_then(|entry| entry.method.as_deref()).unwrap();
        let whole = fixed.scope(params.as_object().unwrap()).unwrap();
        assert_eq!(methods[id].scope(params.as_object().unwrap()).unwrap(), whole, "{id}");
        let sizes: &[usize] = match whole {
            fusion_sdk::Scope::Model => &[TILE + 5, 0, 3 * TILE],
            fusion_sdk::Scope::Tensor | fusion_sdk::Scope::Layer => &[BLOCK + TILE + 77],
        };
        let (group, data) = group(base, models, &params, &input, sizes);
        let bits = |method: &dyn Method| -> Vec<u32> {
            run(method, &group, &data).unwrap().into_iter().flatten().map(f32::to_bits).collect()
        };
        assert!(bits(methods[id]) == bits(fixed), "{id} {params} {input}");
    }
}

#[test]
fn errors_name_the_same_setting() {
    let plugin = plugin();
    let built_in = built_in();
    for (id, models, base, params, input) in [
        ("ties", 3, true, json!({"dialect": "mergekit", "trim": "model"}), json!({})),
        ("ties", 3, true, json!({}), json!({"density": 1.5})),
        ("linear", 2, false, json!({}), json!({"weight": 0.0})),
        ("slerp", 2, false, json!({"t": 2.0}), json!({})),
        ("slerp", 3, false, json!({}), json!({})),
        ("linear", 2, false, json!({"nonsense": 1}), json!({})),
    ] {
        let (group, _) = group(base, models, &params, &input, &[100]);
        let fixed = built_in.get(id).and_then(|entry| entry.method.as_deref()).unwrap();
        let dynamic = plugin.methods.iter().find(|method| method.describe().about.id == id).unwrap();
        let Err(expected) = fixed.prepare(&group) else { panic!("{id} accepts {params} {input}") };
        let Err(found) = dynamic.prepare(&group) else { panic!("{id} accepts {params} {input}") };
        assert_eq!(
            (&found.message, found.parameter, found.input, &found.help),
            (&expected.message, expected.parameter, expected.input, &expected.help)
        );
    }
}

/// The whole way of a recipe: compiled, planned, streamed; only the registry differs.
#[test]
fn whole_runs_write_the_same_bytes() {
    let models = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/first/models");
    let models = models.canonicalize().unwrap();
    let text = format!(
        r#"fusion 1

model base from "{m}/base"
model chat from "{m}/chat"
model code from "{m}/code"

average merged using ties {{
  base base
  from chat {{ weight = ramp(0.6, 0.3) }}
  from code
  density = 50%
  on "**.mlp.*.weight" {{ density = 75% }}
}}

average both using slerp {{
  from merged
  from chat
  t = 30%
}}

save both to "out"
"#,
        m = models.display()
    );
    let mut dynamic = Registry::new();
    for method in plugin().methods {
        dynamic.add_method(method);
    }
    let mut written = Vec::new();
    for (registry, threads, chunk) in [(built_in(), 2, 256 << 10), (dynamic, 3, 64 << 10)] {
        let folder = tempfile::tempdir().unwrap();
        let world = NoFiles(registry.descriptors());
        let compiled = fusion_dsl::compile(&world, "same.fusion", &text, &[]);
        assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
        let options = Options { threads, chunk, ..Options::new(folder.path()) };
        let (planned, diagnostics) = plan(&compiled.variants[0].graph, &registry, &options);
        let planned = planned.unwrap_or_else(|| panic!("{diagnostics:?}"));
        engine::run(&planned, &registry, &options, &text, &|_| {}, &AtomicBool::new(false)).unwrap();
        written.push(std::fs::read(folder.path().join("out/model.safetensors")).unwrap());
    }
    assert!(written[0].len() > 100_000);
    assert!(written[0] == written[1], "the bytes differ");
}
