//! Plugins in C: the sample works through the contract, and every way to break the contract has its own error.

use std::path::{Path, PathBuf};
use std::process::Command;

use fusion_core::host::{HostError, Plugin, load};
use fusion_sdk::testing::{run, tensor};
use fusion_sdk::{ErrorKind, RawGroup, TILE, rng};
use serde_json::json;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Compiles a C file into a library of this test's own.
fn compile(folder: &Path, source: &Path, name: &str, defines: &[&str]) -> PathBuf {
    let library = folder.join(format!("lib{name}.so"));
    let output = Command::new("cc")
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC"])
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg("-I")
        .arg(root().join("plugins/abi/include"))
        .arg(source)
        .arg("-o")
        .arg(&library)
        .output()
        .expect("a C compiler is there: Rust links with it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

#[test]
fn the_c_sample_takes_medians() {
    let folder = tempfile::tempdir().unwrap();
    let library = compile(folder.path(), &root().join("plugins/samples/c/median.c"), "median", &[]);
    let plugin: Plugin = load(&library).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((plugin.id.as_str(), plugin.methods.len()), ("org.fusion.samples.median", 1));
    let n = 2 * TILE + 77;
    for models in [1, 2, 5, 9] {
        let inputs = vec![("from", json!({})); models];
        let group = RawGroup { tensors: vec![tensor("w", &[n], &json!({}), &inputs)], seed: 0 };
        let data: Vec<Vec<f32>> = (0..models as u64)
            .map(|model| {
                let key = rng::Key::new(3, "median", model);
                (0..n as u64).map(|i| key.uniform(i) - 0.5).collect()
            })
            .collect();
        let out = run(&*plugin.methods[0], &group, std::slice::from_ref(&data)).unwrap().remove(0);
        for (i, &found) in out.iter().enumerate() {
            // The oracle sorts.
            let mut all: Vec<f32> = data.iter().map(|values| values[i]).collect();
            all.sort_by(f32::total_cmp);
            let (low, high) = (f64::from(all[(models - 1) / 2]), f64::from(all[models / 2]));
            assert_eq!(found, ((low + high) / 2.0) as f32, "element {i} of {models} models");
        }
    }
    let inputs = vec![("from", json!({})); 65];
    let group = RawGroup { tensors: vec![tensor("w", &[4], &json!({}), &inputs)], seed: 0 };
    let Err(error) = plugin.methods[0].prepare(&group) else { panic!("65 models were taken") };
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Invalid, "`median` takes at most 64 models")
    );
}

/// Each broken plugin is refused with the error that names what is wrong; none is loaded by half.
#[test]
fn every_breach_of_the_contract_has_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let source = root().join("fusion-core/tests/host/broken.c");
    let refused = |name: &str, define: &str| {
        let library = compile(folder.path(), &source, name, &[define]);
        match load(&library) {
            Ok(_) => panic!("`{name}` was loaded"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&format!("lib{name}.so")), "{text}");
                assert!(!error.help().is_empty());
                (error, text)
            }
        }
    };
    assert!(matches!(refused("no_entry", "NO_ENTRY").0, HostError::NoEntry { .. }));
    assert!(matches!(refused("major", "OTHER_MAJOR").0, HostError::OtherMajor { found: 2, .. }));
    assert!(refused("refuses", "REFUSES").1.ends_with("refused to start: no licence"));
    assert!(matches!(refused("newer", "NEEDS_MINOR=9").0, HostError::TooNew { needs: 9, have: 0, .. }));
    assert!(refused("service", "NEEDS_SERVICE").1.contains("`acme.time/1`"));
    for (define, said) in [
        ("SHORT_PLUGIN", "struct_size is 16"),
        ("NO_METHODS", "0 methods"),
        ("BAD_PLUGIN_ID", "`Bad Id` is not a lower-case domain name"),
        ("BAD_METHOD_ID", "not a lower-case word"),
        ("TWICE", "two methods are called `copy`"),
        ("BAD_SCHEMA", "its parameter schema is not JSON"),
        ("BAD_CATEGORY", "there is no category 77"),
        ("BAD_KERNEL", "kernel class 9 is not run"),
        ("NO_APPLY", "the function `apply` is missing"),
        ("HALF_OBSERVE", "the function `state_new` is missing"),
        ("BAD_PORT", "takes at least 3 and at most 2 inputs"),
    ] {
        let (error, text) = refused(&define.to_lowercase(), define);
        assert!(matches!(error, HostError::Descriptor { .. }), "{define}: {text}");
        assert!(text.contains(said), "{define}: {text}");
    }
    let missing = folder.path().join("missing.so");
    assert!(matches!(load(&missing), Err(HostError::Open { .. })));
    std::fs::write(&missing, "no library").unwrap();
    assert!(matches!(load(&missing), Err(HostError::Open { .. })));
}

/// A call that fails ends the run with the plugin's words, and no further call is made.
#[test]
fn a_failing_call_is_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let source = root().join("fusion-core/tests/host/broken.c");
    let plugin =
        load(&compile(folder.path(), &source, "fails", &["FAILS"])).unwrap_or_else(|e| panic!("{e}"));
    let group = RawGroup { tensors: vec![tensor("w", &[9], &json!({}), &[("from", json!({}))])], seed: 0 };
    let error = run(&*plugin.methods[0], &group, &[vec![vec![1.0; 9]]]).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Failed, "out of luck"));
    let kernel = plugin.methods[0].kernel(&group).unwrap();
    assert!(kernel.trouble().is_none());
}
