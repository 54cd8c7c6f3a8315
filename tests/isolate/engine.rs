//! Whole runs with isolated plugins.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fusion_core::engine::{self, Event, RunError};
use fusion_core::host::{Plugin, load};
use fusion_core::method::Registry;
use fusion_core::plan::{Options, plan};
use fusion_dsl::descriptor::MethodDescriptor;
use fusion_dsl::world::World;
use safetensors::tensor::{Dtype, TensorView};

use crate::{faulty, isolated, values};

struct Methods(Vec<MethodDescriptor>);

impl World for Methods {
    fn read(&self, _: &str, path: &str) -> Result<(String, String), String> {
        Err(format!("`{path}` is not there"))
    }

    fn methods(&self) -> &[MethodDescriptor] {
        &self.0
    }
}

fn registry(plugin: Plugin) -> Registry {
    let mut registry = Registry::new();
    plugin.methods.into_iter().for_each(|method| registry.add_method(method));
    registry
}

/// A model of two layers; `first` is the name of one more tensor.
fn save(folder: &Path, model: &str, seed: u64, first: &str) {
    let mut tensors =
        vec![(first.to_owned(), vec![3, 5000]), ("model.embed.weight".to_owned(), vec![1300, 900])];
    for layer in 0..2 {
        tensors.push((format!("model.layers.{layer}.a.weight"), vec![70, 50]));
        tensors.push((format!("model.layers.{layer}.b.weight"), vec![3, 2048]));
        tensors.push((format!("model.layers.{layer}.norm.weight"), vec![50]));
    }
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| {
            values(seed, name, shape.iter().product()).iter().flat_map(|x| x.to_le_bytes()).collect()
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&data)
        .map(|((name, shape), bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::create_dir_all(folder.join(model)).unwrap();
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join(model).join("model.safetensors"), bytes).unwrap();
}

/// Every kernel class, one after the other.
const CHAIN: &str = "\
average s using spread {
  from a { strength = 0.5 }
  from b
}

average d using spread_deltas {
  base a
  from s
  from b
}

average c using centre {
  from d
}

average g using balance {
  from c
}

average m using shift {
  from g
  from b
}
";

fn run(
    folder: &Path,
    registry: &Registry,
    stages: &str,
    options: Options,
    listener: engine::Listener<'_>,
    cancel: &AtomicBool,
) -> Result<Vec<u8>, RunError> {
    let text = format!("fusion 1\n\nmodel a from \"a\"\nmodel b from \"b\"\n\n{stages}\nsave m to \"out\"\n");
    let compiled = fusion_dsl::compile(&Methods(registry.descriptors()), "r.fusion", &text, &[]);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    let (plan, found) = plan(&compiled.variants[0].graph, registry, &options);
    let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
    engine::run(&plan, registry, &options, &text, listener, cancel)?;
    Ok(std::fs::read(folder.join("out/model.safetensors")).unwrap())
}

#[test]
fn a_run_writes_the_same_bytes_for_any_number_of_threads() {
    let built = faulty();
    let mut results = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a", 1, "model.first.weight");
    save(folder.path(), "b", 2, "model.first.weight");
    for (threads, isolate) in [(1, false), (1, true), (4, true)] {
        let plugin = if isolate {
            isolated(&built.library, &Arc::default())
        } else {
            load(&built.library).unwrap_or_else(|error| panic!("{error}"))
        };
        let options = Options { threads, chunk: 64 << 10, ..Options::new(folder.path()) };
        let told = AtomicBool::new(false);
        let listener = |event: &Event| {
            if let Event::Working { stage, done: 1, total: 2, note } = event
                && (stage.as_str(), note.as_str()) == ("c", "half")
            {
                told.store(true, Ordering::Relaxed);
            }
        };
        let bytes = run(folder.path(), &registry(plugin), CHAIN, options, &listener, &AtomicBool::new(false));
        results.push(bytes.unwrap_or_else(|error| panic!("{error}")));
        assert!(told.into_inner(), "progress was not forwarded");
        std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    }
    assert!(results[0] == results[1] && results[1] == results[2]);
}

/// A crash ends the run with an error of the stage, leaves no output, and the command can be repeated.
#[test]
fn a_crash_ends_the_run_and_not_the_process() {
    let built = faulty();
    for (method, name) in
        [("spread", "apply.segfault"), ("spread", "observe.abort"), ("centre", "apply.exit")]
    {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), "a", 1, name);
        save(folder.path(), "b", 2, name);
        let options = || Options { threads: 3, chunk: 64 << 10, ..Options::new(folder.path()) };
        let stages = format!("average m using {method} {{\n  from a\n}}\n");
        let bad = registry(isolated(&built.library, &Arc::default()));
        let ended = run(folder.path(), &bad, &stages, options(), &|_| {}, &AtomicBool::new(false));
        let Err(RunError::Method { stage, message, help, .. }) = ended else { panic!("{name}: {ended:?}") };
        assert_eq!(stage, "m");
        assert!(message.starts_with("the plugin `org.fusion.tests.faulty` "), "{message}");
        assert!(help.unwrap().contains("what is finished is kept"));
        assert!(!folder.path().join("out").exists());
        // With a plugin that works.
        save(folder.path(), "a", 1, "model.first.weight");
        let good = registry(isolated(&built.library, &Arc::default()));
        run(folder.path(), &good, &stages, options(), &|_| {}, &AtomicBool::new(false))
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn ctrl_c_ends_a_run_whose_plugin_hangs() {
    let built = faulty();
    for (method, name) in [("spread", "apply.loop"), ("spread", "observe.loop"), ("centre", "apply.loop")] {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), "a", 1, name);
        save(folder.path(), "b", 2, name);
        let options = Options { threads: 2, ..Options::new(folder.path()) };
        let cancel = Arc::new(AtomicBool::new(false));
        let registry = registry(isolated(&built.library, &cancel));
        let stages = format!("average m using {method} {{\n  from a\n}}\n");
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(400));
                cancel.store(true, Ordering::Relaxed);
            });
            run(folder.path(), &registry, &stages, options, &|_| {}, &cancel)
        });
        assert!(matches!(ended, Err(RunError::Cancelled)), "{name}: {ended:?}");
    }
}
