//! The samples that authors copy from, built as their comments say: they load, compute their formulas, and refuse what they should.

use std::path::{Path, PathBuf};
use std::process::Command;

use fusion_core::host::{Plugin, load};
use fusion_sdk::testing::{run, tensor};
use fusion_sdk::{BLOCK, Claim, ErrorKind, RawGroup, TILE, rng};
use serde_json::{Value as Json, json};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Compiles a sample; `None` where this machine has no such compiler.
fn compile(folder: &Path, compiler: &str, standard: &str, source: &str) -> Option<PathBuf> {
    let library = folder.join(format!("lib{}.so", Path::new(source).file_stem().unwrap().to_string_lossy()));
    let output = Command::new(compiler)
        .args([
            standard,
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Wconversion",
            "-Werror",
            "-shared",
            "-fPIC",
        ])
        .arg("-I")
        .arg(root().join("plugins/abi/include"))
        .arg(root().join("plugins/samples").join(source))
        .arg("-o")
        .arg(&library)
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(library)
}

fn loaded(library: &Path) -> Plugin {
    load(library).unwrap_or_else(|error| panic!("{error}"))
}

/// Models that differ in size, and a task for them.
fn models(n: usize, models: u64, params: &Json) -> (RawGroup, Vec<Vec<f32>>) {
    let inputs = vec![("from", json!({})); models as usize];
    let data = (0..models)
        .map(|model| {
            let key = rng::Key::new(5, "samples", model);
            (0..n as u64).map(|i| (model + 1) as f32 * (key.uniform(i) - 0.5)).collect()
        })
        .collect();
    (RawGroup { tensors: vec![tensor("w", &[n], params, &inputs)], seed: 0 }, data)
}

/// The C++ sample over more than one block. Its sums and elements are f64 and rounded once; the oracle sums in another order, which
/// moves the factor by some 10⁻¹³, so the results differ by one unit in the last place at most.
///
/// A machine without a C++ compiler does not run this test: nothing else of fusion needs one.
#[test]
fn the_cpp_sample_keeps_the_size_of_the_models() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = compile(folder.path(), "c++", "-std=c++17", "cpp/rms_match.cpp") else { return };
    let plugin = loaded(&library);
    assert_eq!((plugin.id.as_str(), plugin.methods.len()), ("org.fusion.samples.rms_match", 1));
    let method = &*plugin.methods[0];
    let described = method.describe();
    assert_eq!((described.about.id, described.passes), ("rms_match", 1));
    assert!(described.about.claims.contains(&Claim::Idempotent));
    for (n, strength) in [(BLOCK + TILE + 9, 1.0), (1000, 0.25), (1000, 0.0), (1, 1.0), (0, 1.0)] {
        let (group, data) = models(n, 3, &json!({ "strength": strength }));
        let out = run(method, &group, std::slice::from_ref(&data)).unwrap().remove(0);
        let mean: Vec<f64> =
            (0..n).map(|i| data.iter().rev().map(|model| f64::from(model[i])).sum::<f64>() / 3.0).collect();
        let size = |values: &mut dyn Iterator<Item = f64>| {
            (values.map(|x| x * x).sum::<f64>() / n.max(1) as f64).sqrt()
        };
        let sizes: Vec<f64> =
            data.iter().map(|model| size(&mut model.iter().map(|x| f64::from(*x)))).collect();
        let own = size(&mut mean.iter().copied());
        let ratio = if own == 0.0 { 1.0 } else { sizes.iter().sum::<f64>() / 3.0 / own };
        let factor = 1.0 + strength * (ratio - 1.0);
        assert_eq!(out.len(), n);
        for (found, mean) in out.iter().zip(&mean) {
            let expected = factor * mean;
            let tolerance = f64::from(f32::EPSILON) * expected.abs();
            assert!((f64::from(*found) - expected).abs() <= tolerance, "{found} and not {expected}");
        }
        if n > 1 && strength == 1.0 {
            let reached = size(&mut out.iter().map(|x| f64::from(*x)));
            assert!((reached * 3.0 / sizes.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{reached}");
        }
    }
    // Opposite models cancel out: there is no size to scale.
    let (group, _) = models(3, 2, &json!({ "strength": 1.0 }));
    let out = run(method, &group, &[vec![vec![1.0, -2.0, 4.0], vec![-1.0, 2.0, -4.0]]]).unwrap();
    assert_eq!(out, [[0.0; 3]]);
    let out = run(method, &group, &[vec![vec![1.0, f32::NAN, 4.0], vec![3.0, 2.0, -4.0]]]).unwrap();
    assert!(out[0].iter().all(|value| value.is_nan()));
}

/// An exception is an error of the method with its text and its parameter; a missing setting is one, too.
#[test]
fn exceptions_of_the_cpp_sample_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = compile(folder.path(), "c++", "-std=c++17", "cpp/rms_match.cpp") else { return };
    let plugin = loaded(&library);
    for params in [json!({ "strength": 1.5 }), json!({ "strength": -0.1 }), json!({})] {
        let (group, _) = models(8, 2, &params);
        let error = plugin.methods[0].prepare(&group).err().unwrap();
        assert_eq!((error.kind, error.parameter), (ErrorKind::Invalid, Some("strength")), "{params}");
        assert_eq!(error.message, "`strength` must lie between 0 and 1");
    }
}

/// The median commutes with shifts and scales, which it claims, and a minority of NaN does it no harm.
#[test]
fn the_c_sample_holds_its_claims() {
    let folder = tempfile::tempdir().unwrap();
    let library = compile(folder.path(), "cc", "-std=c11", "c/median.c");
    let plugin = loaded(&library.expect("a C compiler is there: Rust links with it"));
    let method = &*plugin.methods[0];
    assert_eq!(method.describe().about.claims.len(), Claim::ALL.len());
    let (group, data) = models(TILE + 5, 4, &json!({}));
    let median = |data: &[Vec<f32>]| run(method, &group, &[data.to_vec()]).unwrap().remove(0);
    let plain = median(&data);
    let mapped = |f: &dyn Fn(f32) -> f32| -> Vec<Vec<f32>> {
        data.iter().map(|model| model.iter().map(|x| f(*x)).collect()).collect()
    };
    // Powers of two scale without rounding.
    let expected: Vec<f32> = plain.iter().map(|x| 4.0 * x).collect();
    assert_eq!(median(&mapped(&|x| 4.0 * x)), expected);
    // Each input and the result are rounded once where they are shifted: two half units of the largest number, which is below 4.
    for (shifted, plain) in median(&mapped(&|x| x + 1.0)).iter().zip(&plain) {
        assert!((shifted - (plain + 1.0)).abs() <= 4.0 * f32::EPSILON);
    }
    let mut broken = data.clone();
    broken[2].fill(f32::NAN);
    assert!(median(&broken).iter().all(|x| x.is_finite()));
    let ends = vec![vec![f32::MAX], vec![-f32::MAX], vec![f32::MAX], vec![-f32::MAX]];
    let (group, _) = models(1, 4, &json!({}));
    assert_eq!(run(method, &group, &[ends]).unwrap(), [[0.0]]);
}
