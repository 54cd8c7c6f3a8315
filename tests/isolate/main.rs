//! Plugins in a process of their own: the same results as in this one, and whatever their code does, this process lives and says what
//! happened.

mod engine;
mod faults;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fusion_core::host::isolate::isolate;
use fusion_core::host::{HostError, Plugin, load};
use fusion_sdk::testing::{run, tensor};
use fusion_sdk::{BLOCK, Method, RawGroup, TILE, rng};
use serde_json::json;
use tempfile::TempDir;

/// A library of a C file.
pub(crate) struct Built {
    _folder: TempDir,
    pub(crate) library: PathBuf,
}

pub(crate) fn build(source: &str, defines: &[&str]) -> Built {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libtest.so");
    let output = Command::new("cc")
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC"])
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg("-I")
        .arg(root.join("plugins/abi/include"))
        .arg(root.join(source))
        .arg("-o")
        .arg(&library)
        .arg("-lm")
        .output()
        .expect("a C compiler is there: Rust links with it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Built { _folder: folder, library }
}

pub(crate) fn faulty() -> Built {
    build("tests/isolate/faulty.c", &[])
}

/// The program that serves plugins.
pub(crate) fn host() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fusion"));
    command.arg("plugin-host");
    command
}

pub(crate) fn isolated(library: &Path, stop: &Arc<AtomicBool>) -> Plugin {
    isolate(host(), library, stop.clone()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn method<'a>(plugin: &'a Plugin, id: &str) -> &'a dyn Method {
    let found = plugin.methods.iter().find(|method| method.describe().about.id == id);
    &**found.unwrap_or_else(|| panic!("`{id}` is missing"))
}

pub(crate) fn values(seed: u64, name: &str, n: usize) -> Vec<f32> {
    let key = rng::Key::new(seed, name, 0);
    (0..n as u64).map(|i| key.uniform(i) - 0.4).collect()
}

/// A group of tensors with values for inputs of these roles.
pub(crate) fn group(tensors: &[(&str, &[usize])], roles: &[&str]) -> (RawGroup, Vec<Vec<Vec<f32>>>) {
    let inputs: Vec<_> = roles.iter().map(|role| (*role, json!({ "strength": 0.7 }))).collect();
    let data = tensors.iter().map(|(name, shape)| {
        let n = shape.iter().product();
        (0..roles.len() as u64).map(|input| values(input, name, n)).collect()
    });
    let data = data.collect();
    let tensors = tensors.iter().map(|(name, shape)| tensor(name, shape, &json!({}), &inputs)).collect();
    (RawGroup { tensors, seed: 0 }, data)
}

fn bits(all: &[Vec<f32>]) -> Vec<Vec<u32>> {
    all.iter().map(|values| values.iter().map(|x| x.to_bits()).collect()).collect()
}

/// Runs in this process and in another, and compares bit by bit.
fn agree(here: &dyn Method, there: &dyn Method, tensors: &[(&str, &[usize])], roles: &[&str]) {
    let (group, data) = group(tensors, roles);
    let expected = run(here, &group, &data).unwrap_or_else(|error| panic!("{error}"));
    let found = run(there, &group, &data).unwrap_or_else(|error| panic!("{error}"));
    assert!(bits(&found) == bits(&expected), "`{}` differs", here.describe().about.id);
}

#[test]
fn the_sample_gives_the_same_bits() {
    let built = build("plugins/samples/c/median.c", &[]);
    let (here, there) = (load(&built.library).unwrap(), isolated(&built.library, &Arc::default()));
    assert_eq!((&here.id, &here.version, here.built), (&there.id, &there.version, there.built));
    let (one, other) = (here.methods[0].describe(), there.methods[0].describe());
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    for models in [1, 2, 5, 20] {
        let roles = vec!["from"; models];
        agree(&*here.methods[0], &*there.methods[0], &[("w", &[2 * TILE + 77])], &roles);
    }
    // An error of `create` crosses whole.
    let (group, _) = group(&[("w", &[4])], &["from"; 65]);
    let (Err(one), Err(other)) = (here.methods[0].prepare(&group), there.methods[0].prepare(&group)) else {
        panic!("65 models were taken")
    };
    assert_eq!(one, other);
}

#[test]
fn every_kernel_class_gives_the_same_bits() {
    let built = faulty();
    let (here, there) = (load(&built.library).unwrap(), isolated(&built.library, &Arc::default()));
    let layer: &[(&str, &[usize])] =
        &[("a", &[70, 50]), ("b", &[3, TILE + 1]), ("none", &[0, 4]), ("c", &[])];
    let blocks: &[(&str, &[usize])] = &[("a", &[BLOCK + 3 * TILE + 5]), ("b", &[7])];
    let pick = |id: &str| (method(&here, id), method(&there, id));
    for (id, tensors, roles) in [
        ("spread", layer, &["from", "from", "from"][..]),
        ("spread", blocks, &["from", "from"]),
        ("spread_deltas", layer, &["base", "from", "from"]),
        ("spread", &[("plan.copy", &[TILE + 5])], &["from", "from"]),
        ("centre", &[("a", &[300, 70])], &["from"]),
        // More than a region holds at first.
        ("centre", &[("a", &[1500, 700])], &["from"]),
        ("centre", &[("plan.copy", &[30, 7])], &["from"]),
        ("balance", layer, &["from"]),
        ("shift", layer, &["from", "from"]),
        ("shift", &[("a", &[1500, 700]), ("b", &[3])], &["from", "from"]),
    ] {
        let (here, there) = pick(id);
        agree(here, there, tensors, roles);
    }
}

#[test]
fn what_a_library_is_refused_for_is_the_same() {
    let built = build("tests/isolate/faulty.c", &["REFUSES"]);
    let text = |error: HostError| format!("{error}: {}", error.help());
    let (Err(here), Err(there)) = (load(&built.library), isolate(host(), &built.library, Arc::default()))
    else {
        panic!("it was loaded")
    };
    assert!(matches!(there, HostError::Refused { .. }), "{there}");
    assert_eq!(text(here), text(there));
    let missing = built.library.with_file_name("missing.so");
    assert!(matches!(isolate(host(), &missing, Arc::default()), Err(HostError::Open { .. })));
}
