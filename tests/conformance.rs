//! `fusion plugin check`: a plugin that keeps the contract passes every test, and for every test there is a fault that it finds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fusion_conformance::{TESTS, Test};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles a C file into a library in a folder of its own, beside which manifests and vectors may stand.
fn compile(folder: &TempDir, source: &str, name: &str, defines: &[&str]) -> PathBuf {
    let place = folder.path().join(name);
    std::fs::create_dir_all(&place).unwrap();
    let library = place.join("libplugin.so");
    let output = Command::new("cc")
        .args(["-std=c11", "-O0", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"])
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg("-I")
        .arg(root().join("plugins/abi/include"))
        .arg(root().join(source))
        .arg("-o")
        .arg(&library)
        .arg("-lm")
        .output()
        .expect("a C compiler is there: Rust links with it");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    library
}

const FAULTY: &str = "plugins/conformance/faulty/faulty.c";

/// Checks a library: the exit code, each test's result by id, and the summary.
fn check(library: &Path, arguments: &[&str]) -> (i32, BTreeMap<String, Json>, Json) {
    let output = Command::new(env!("CARGO_BIN_EXE_fusion"))
        .args(["plugin", "check", "--json"])
        .args(arguments)
        .arg(library)
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let mut results = BTreeMap::new();
    let mut summary = Json::Null;
    for line in out.lines() {
        let json: Json = serde_json::from_str(line).unwrap();
        match json.get("test").and_then(Json::as_str) {
            Some(test) => drop(results.insert(test.to_owned(), json.clone())),
            None => summary = json["summary"].clone(),
        }
    }
    assert!(!summary.is_null(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), results, summary)
}

/// All tests but these pass; these are skipped.
fn passes(library: &Path, skipped: &[&str]) {
    let (code, results, _) = check(library, &[]);
    assert_eq!(results.len(), TESTS.len());
    for (test, result) in &results {
        let expected = if skipped.contains(&test.as_str()) { "skipped" } else { "passed" };
        assert_eq!(result["verdict"], expected, "{}: {result}", library.display());
    }
    assert_eq!(code, 0);
}

/// What no variant has.
const NEVER: &[&str] = &["manifest-equal", "panic-contained", "reference-vectors"];

fn without(more: &[&'static str]) -> Vec<&'static str> {
    NEVER.iter().chain(more).copied().collect()
}

/// The built-in family through the same kit as everybody's: its 500 valid and 500 invalid settings a method among it.
#[test]
fn the_built_in_family_passes() {
    // Links the library in, so that cargo builds it.
    use fusion_average_dynamic as _;
    let name =
        format!("{}fusion_average_dynamic{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let tests = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = [tests.join(&name), tests.parent().unwrap().join(&name)]
        .into_iter()
        .find(|path| path.is_file())
        .expect("cargo builds the cdylib beside its tests");
    let (code, results, _) = check(&library, &[]);
    for (test, result) in &results {
        assert!(result["verdict"] == "passed" || result["verdict"] == "skipped", "{test}: {result}");
    }
    let passed = |id: &str| results[id]["verdict"] == "passed";
    assert!(
        passed("random-valid-accepted")
            && passed("random-invalid-never-crashes")
            && passed("idempotent-on-equal-inputs")
    );
    assert_eq!(code, 0);
}

#[test]
fn a_plugin_without_faults_passes_every_test() {
    let folder = tempfile::tempdir().unwrap();
    let whole =
        ["chunk-invariant", "state-blank-after-absorb", "different-seed-differs", "every-member-written"];
    let claims = ["idempotent-on-equal-inputs", "affine", "scale-equivariant"];
    let element = without(&["state-blank-after-absorb", "different-seed-differs", "every-member-written"]);
    passes(&compile(&folder, FAULTY, "plain", &[]), &element);
    passes(&compile(&folder, FAULTY, "delta", &["DELTA"]), &element);
    let numbers = [&element[..], &["unknown-field-rejected"]].concat();
    passes(&compile(&folder, FAULTY, "numbers", &["NUMBERS"]), &numbers);
    let observe = without(&["different-seed-differs", "every-member-written"]);
    passes(&compile(&folder, FAULTY, "observe", &["OBSERVE"]), &[&observe[..], &claims].concat());
    let random = without(&["state-blank-after-absorb", "every-member-written", "commutative"]);
    passes(&compile(&folder, FAULTY, "random", &["RANDOM"]), &[&random[..], &claims].concat());
    for (name, kernel) in [("tensor", "KERNEL=2"), ("group", "KERNEL=3")] {
        passes(&compile(&folder, FAULTY, name, &[kernel]), &without(&whole));
    }
    let model = without(&[whole[0], whole[1], whole[2], "canary-around-outputs"]);
    passes(&compile(&folder, FAULTY, "model", &["KERNEL=4"]), &model);
}

#[test]
fn the_c_sample_passes() {
    let folder = tempfile::tempdir().unwrap();
    let library = compile(&folder, "plugins/samples/c/median.c", "median", &[]);
    let (code, results, summary) = check(&library, &[]);
    assert_eq!(code, 0, "{results:#?}");
    assert_eq!(summary["failed"], 0);
    assert!(summary["passed"].as_u64().unwrap() > 25, "{summary}");
}

/// Tests whose fault needs another variant than the plain one.
const VARIANTS: &[(&str, &[&str])] = &[
    ("missing-service-refused-cleanly", &["KERNEL=2"]),
    ("cancel-within-200ms", &["KERNEL=2"]),
    ("every-member-written", &["KERNEL=4"]),
    ("state-blank-after-absorb", &["OBSERVE"]),
    ("worker-invariant", &["OBSERVE"]),
    ("different-seed-differs", &["RANDOM"]),
];

/// Faults that end the process.
const CRASHES: &[&str] = &[
    "short-structs",
    "missing-service-refused-cleanly",
    "random-invalid-never-crashes",
    "nan-and-inf-in",
    "f32-extremes",
    "zero-sized",
    "one-element",
    "least-aligned-inputs",
    "no-pointer-kept-after-call",
    "panic-contained",
];

/// Faults that stand beside the library.
fn files(test: &Test, library: &Path) {
    let text = match test.id {
        "manifest-equal" => {
            let methods = json!([{ "id": "faulty", "version": 2, "params": {} }]);
            (
                "plugin.json",
                json!({ "id": "org.fusion.tests.faulty", "version": "1.0.0", "methods": methods }),
            )
        }
        "reference-vectors" => ("reference.json", vector(3.0)),
        _ => return,
    };
    std::fs::write(library.with_file_name(text.0), text.1.to_string()).unwrap();
}

fn vector(second: f64) -> Json {
    json!([{
        "method": "faulty",
        "params": { "power": 2 },
        "inputs": [{ "port": "from", "params": { "weight": 1 } }, { "port": "from", "params": { "weight": 2 } }],
        "tensors": [{ "name": "w", "shape": [2], "inputs": [[1, -2], [second, 8]], "expected": [2.6, 6.0] }],
        "tolerance": 1e-6
    }])
}

/// Every test has a fault, there is none without: the define is the test's id.
#[test]
fn every_fault_is_found_by_its_test() {
    let source = std::fs::read_to_string(root().join(FAULTY)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some(test) = TESTS.get(next.fetch_add(1, Ordering::SeqCst)) {
            let fault = format!("FAULT_{}", test.id.replace('-', "_"));
            if test.id != "manifest-equal" && !source.contains(&fault) {
                wrong.lock().unwrap().push(format!("`{}` has no fault", test.id));
                continue;
            }
            let variant =
                VARIANTS.iter().find(|(id, _)| *id == test.id).map_or(&[][..], |(_, defines)| defines);
            let library = compile(&folder, FAULTY, test.id, &[variant, &[fault.as_str()]].concat());
            files(test, &library);
            let (code, results, _) = check(&library, &["--only", test.id]);
            let expected = match test.id {
                _ if test.warning => ("warning", 0),
                id if CRASHES.contains(&id) => ("crashed", 4),
                _ => ("failed", 4),
            };
            let found = results.get(test.id).cloned().unwrap_or_default();
            if (found["verdict"].as_str(), code) != (Some(expected.0), expected.1) || results.len() != 1 {
                wrong.lock().unwrap().push(format!("`{}` gives {found} and not `{}`", test.id, expected.0));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_beside_the_library_are_held_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let library = compile(&folder, FAULTY, "files", &[]);
    std::fs::write(library.with_file_name("reference.json"), vector(3.0).to_string()).unwrap();
    let (code, results, _) = check(&library, &["--only", "reference-vectors"]);
    assert_eq!((code, &results["reference-vectors"]["verdict"]), (0, &json!("passed")), "{results:?}");
    std::fs::write(library.with_file_name("reference.json"), vector(4.0).to_string()).unwrap();
    let (code, results, _) = check(&library, &["--only", "reference-vectors"]);
    assert_eq!(code, 4, "{results:?}");
    let reason = results["reference-vectors"]["reason"].as_str().unwrap();
    assert!(reason.contains("vector 0") && reason.contains("element 0"), "{reason}");
}

#[test]
fn a_test_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let library = compile(&folder, FAULTY, "hangs", &["FAULT_timed_out"]);
    let (code, results, summary) = check(&library, &["--only", "inputs-unchanged", "--limit", "1"]);
    assert_eq!(results["inputs-unchanged"]["verdict"], "timed-out");
    assert_eq!((code, &summary["timed_out"]), (4, &json!(1)));
}

/// What does not load fails once, and the rest is not tried.
#[test]
fn what_does_not_load_fails_once() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libnone.so");
    std::fs::write(&library, "no library").unwrap();
    let (code, results, summary) = check(&library, &[]);
    assert_eq!((code, &summary["failed"]), (4, &json!(1)));
    assert_eq!(results["load-now-local"]["verdict"], "failed");
    assert_eq!(summary["skipped"].as_u64().unwrap() as usize, TESTS.len() - 1);
}

/// The table for people: groups, the reason, the command that repeats a failure.
#[test]
fn failures_say_how_to_repeat_them() {
    let folder = tempfile::tempdir().unwrap();
    let library = compile(&folder, FAULTY, "people", &["FAULT_random_valid_accepted"]);
    let output = Command::new(env!("CARGO_BIN_EXE_fusion"))
        .args(["plugin", "check", "--only", "random-valid-accepted", "--only", "ids-unique", "--seed", "77"])
        .arg(&library)
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{out}");
    assert!(
        out.starts_with(
            "descriptor\n  passed     ids-unique\nparameters\n  failed     random-valid-accepted\n"
        ),
        "{out}"
    );
    let again =
        format!("again: fusion plugin check {} --only random-valid-accepted --seed 77\n", library.display());
    assert!(out.contains(&again), "{out}");
    assert!(out.ends_with("\n1 passed, 1 failed\n"), "{out}");
    let output = Command::new(env!("CARGO_BIN_EXE_fusion"))
        .args(["plugin", "check", "--only", "ids-uniqe"])
        .arg(&library)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `ids-unique`?"));
}
