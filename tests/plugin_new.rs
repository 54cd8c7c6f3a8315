//! What `fusion plugin new` makes: every project builds from its own files without a warning, passes its own tests, loads, and computes
//! what its README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fusion_core::host::load;
use fusion_sdk::testing::{run, tensor};
use fusion_sdk::{ErrorKind, Method, RawGroup, TILE, rng};
use serde_json::{Value as Json, json};

const KINDS: [&str; 4] = ["elementwise", "tensor", "group", "model"];

fn fusion(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fusion")).args(arguments).current_dir(folder).output().unwrap()
}

/// Makes a project called as its kind.
fn new(folder: &Path, language: &str, kind: &str) -> PathBuf {
    let output = fusion(folder, &["plugin", "new", kind, "--lang", language, "--kind", kind]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let project = folder.join(kind);
    let output = fusion(&project, &["fmt", "--check", "recipe.fusion"]);
    assert!(output.status.success(), "{kind}: recipe.fusion is not formatted");
    project
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Element `i` of the weighted mean of the models.
fn mean(models: &[Vec<f32>], weights: &[f64], i: usize) -> f64 {
    let sum: f64 = models.iter().zip(weights).map(|(model, w)| w * f64::from(model[i])).sum();
    sum / weights.iter().sum::<f64>()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

/// The mean of some elements of all tensors, scaled to the mean norm of the models.
fn rescaled(data: &[Vec<Vec<f32>>], at: std::ops::Range<usize>, strength: f64) -> Vec<Vec<f64>> {
    let models = data[0].len();
    let of = |model: usize| {
        let at = at.clone();
        norm(data.iter().flat_map(move |tensor| at.clone().map(move |i| f64::from(tensor[model][i]))))
    };
    let norms = (0..models).map(of).sum::<f64>() / models as f64;
    let means: Vec<Vec<f64>> =
        data.iter().map(|tensor| at.clone().map(|i| mean(tensor, &vec![1.0; models], i)).collect()).collect();
    let own = norm(means.iter().flatten().copied());
    let factor = 1.0 + strength * (if own == 0.0 { 1.0 } else { norms / own } - 1.0);
    means.into_iter().map(|tensor| tensor.into_iter().map(|x| factor * x).collect()).collect()
}

/// The formulas of the READMEs, straight from their text. `data[tensor][model]`.
fn expected(
    kind: &str,
    data: &[Vec<Vec<f32>>],
    width: usize,
    weights: &[f64],
    setting: f64,
) -> Vec<Vec<f64>> {
    let n = data[0][0].len();
    match kind {
        "elementwise" => {
            data.iter().map(|tensor| (0..n).map(|i| mean(tensor, weights, i)).collect()).collect()
        }
        "tensor" => data
            .iter()
            .map(|tensor| {
                let tensor = std::slice::from_ref(tensor);
                (0..n)
                    .step_by(width)
                    .flat_map(|row| rescaled(tensor, row..row + width, setting).remove(0))
                    .collect()
            })
            .collect(),
        "group" => rescaled(data, 0..n, setting),
        _ => {
            let models = data[0].len();
            let even = vec![1.0; models];
            let distance = |model: usize| {
                let apart = |tensor: &Vec<Vec<f32>>, i| f64::from(tensor[model][i]) - mean(tensor, &even, i);
                norm(
                    data.iter().flat_map(|tensor| (0..n).map(move |i| (tensor, i))).map(|(t, i)| apart(t, i)),
                )
            };
            let distances: Vec<f64> = (0..models).map(distance).collect();
            let middle = distances.iter().sum::<f64>() / models as f64;
            let weights: Vec<f64> = distances.iter().map(|d| (middle / (middle + d)).powf(setting)).collect();
            data.iter().map(|tensor| (0..n).map(|i| mean(tensor, &weights, i)).collect()).collect()
        }
    }
}

/// Random models against the formula. Everything is f64 and rounded once: one unit in the last place is allowed, for sums in another
/// order.
fn computes(method: &dyn Method, kind: &str) {
    assert_eq!(method.describe().about.id, kind);
    let shape = if kind == "elementwise" { [1, TILE + 13] } else { [5, 7] };
    let (n, width) = (shape.iter().product::<usize>(), shape[1]);
    let weights = [0.5, 2.0, 0.0, 1.25];
    let tensors = if matches!(kind, "group" | "model") { 3 } else { 1 };
    let data: Vec<Vec<Vec<f32>>> = (0..tensors)
        .map(|tensor| {
            let values = |model: u64| {
                let key = rng::Key::new(tensor, "plugin new", model);
                (0..n as u64).map(|i| (model + 1) as f32 * (key.uniform(i) - 0.5)).collect()
            };
            (0..weights.len() as u64).map(values).collect()
        })
        .collect();
    let group = |params: &Json| {
        let edges = weights.map(|weight| {
            ("from", if kind == "elementwise" { json!({ "weight": weight }) } else { json!({}) })
        });
        let tensors =
            (0..tensors).map(|index| tensor(&format!("t{index}"), &shape, params, &edges)).collect();
        RawGroup { tensors, seed: 0 }
    };
    for setting in [1.0, 0.25, 0.0] {
        let params = match kind {
            "elementwise" => json!({}),
            "model" => json!({ "power": setting }),
            _ => json!({ "strength": setting }),
        };
        let found = run(method, &group(&params), &data).unwrap_or_else(|error| panic!("{kind}: {error}"));
        for (found, expected) in found.iter().zip(expected(kind, &data, width, &weights, setting)) {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                let tolerance = f64::from(f32::EPSILON) * expected.abs() + 1e-12;
                assert!(
                    (f64::from(*found) - expected).abs() <= tolerance,
                    "{kind}, {params}: {found} and not {expected}"
                );
            }
        }
    }
    // A setting out of its range is refused, and blamed.
    let (name, mut broken) = match kind {
        "elementwise" => ("weight", group(&json!({}))),
        "model" => ("power", group(&json!({ "power": 17.0 }))),
        _ => ("strength", group(&json!({ "strength": -0.5 }))),
    };
    if kind == "elementwise" {
        broken.tensors[0].inputs[2].settings.insert("weight".to_owned(), json!(-1.0));
    }
    let error = method.prepare(&broken).err().unwrap();
    assert_eq!((error.kind, error.parameter), (ErrorKind::Invalid, Some(name)), "{kind}: {error}");
    assert_eq!(error.input, (kind == "elementwise").then_some(2));
}

/// The results that the project itself promises.
fn keeps_its_promises(method: &dyn Method, project: &Path) {
    let text = fs::read_to_string(project.join("reference.json")).unwrap();
    let vectors: Vec<Json> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty());
    let floats = |json: &Json| -> Vec<f32> { serde_json::from_value(json.clone()).unwrap() };
    for vector in &vectors {
        assert_eq!(vector["method"], method.describe().about.id);
        let edges: Vec<(&str, Json)> = vector["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|input| (input["port"].as_str().unwrap(), input["params"].clone()))
            .collect();
        let tensors = vector["tensors"].as_array().unwrap();
        let task = |one: &Json| {
            let shape: Vec<usize> = serde_json::from_value(one["shape"].clone()).unwrap();
            tensor(one["name"].as_str().unwrap(), &shape, &vector["params"], &edges)
        };
        let group = RawGroup { tensors: tensors.iter().map(task).collect(), seed: 0 };
        let data: Vec<Vec<Vec<f32>>> = tensors
            .iter()
            .map(|one| one["inputs"].as_array().unwrap().iter().map(floats).collect())
            .collect();
        let found = run(method, &group, &data).unwrap();
        for (found, one) in found.iter().zip(tensors) {
            for (found, expected) in found.iter().zip(floats(&one["expected"])) {
                let tolerance = vector["tolerance"].as_f64().unwrap_or(0.0) as f32;
                assert!((found - expected).abs() <= tolerance, "{found} and not {expected}");
            }
        }
    }
}

/// Builds a C or C++ project by its Makefile, or as that would where there is no make.
fn build(project: &Path, kind: &str, language: &str) -> PathBuf {
    let library =
        project.join(format!("{}{kind}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    let strict = "-O2 -Wall -Wextra -Wpedantic -Werror";
    if has("make") {
        let flags = [format!("CFLAGS={strict}"), format!("CXXFLAGS={strict}")];
        succeeds(Command::new("make").args(flags).current_dir(project));
    } else {
        let (compiler, standard, ending) =
            if language == "c" { ("cc", "-std=c11", "c") } else { ("c++", "-std=c++17", "cpp") };
        let mut command = Command::new(compiler);
        command
            .arg(standard)
            .args(strict.split(' '))
            .args(["-shared", "-fPIC"])
            .arg(format!("{kind}.{ending}"));
        succeeds(command.arg("-o").arg(&library).arg("-lm").current_dir(project));
    }
    library
}

fn projects_work(language: &str) {
    let space = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let project = new(space.path(), language, kind);
        let plugin = load(&build(&project, kind, language)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plugin.id.as_str(), plugin.methods.len()), (&*format!("org.example.{kind}"), 1));
        computes(&*plugin.methods[0], kind);
        keeps_its_promises(&*plugin.methods[0], &project);
    }
}

#[test]
fn projects_in_c_work() {
    projects_work("c");
}

/// A machine without a C++ compiler does not run this test: nothing else of fusion needs one.
#[test]
fn projects_in_cpp_work() {
    if has("c++") {
        projects_work("cpp");
    }
}

/// All kinds are members of one workspace, so that cargo compiles the kit once; its folder stays, so that the next time it need not. The
/// versions are those of fusion's own lock file, and nothing is downloaded.
#[test]
fn projects_in_rust_work() {
    let space = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin_new");
    let (workspace, target) = (space.join("workspace"), space.join("target"));
    let _ = fs::remove_dir_all(&workspace); // of the last time
    fs::create_dir_all(&workspace).unwrap();
    for kind in KINDS {
        let manifest = new(&workspace, "rust", kind).join("Cargo.toml");
        // Alone, each is a workspace.
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("\n[workspace]\n", "\n")).unwrap();
    }
    let members = KINDS.map(|kind| format!("{kind:?}")).join(", ");
    fs::write(
        workspace.join("Cargo.toml"),
        format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n"),
    )
    .unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"), workspace.join("Cargo.lock")).unwrap();
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&workspace).env("CARGO_TARGET_DIR", &target);
        command
    };
    succeeds(&mut cargo(&["build", "--offline"]));
    succeeds(&mut cargo(&["test", "--offline"]));
    // Parts of a toolchain that not every machine has.
    if cargo(&["clippy", "--version"]).output().is_ok_and(|output| output.status.success()) {
        succeeds(&mut cargo(&["clippy", "--offline", "--all-targets", "--", "-D", "warnings"]));
    }
    if cargo(&["fmt", "--version"]).output().is_ok_and(|output| output.status.success()) {
        succeeds(&mut cargo(&["fmt", "--check"]));
    }
    for kind in KINDS {
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let library = target.join("debug").join(format!("{prefix}fusion_plugin_{kind}{suffix}"));
        let plugin = load(&library).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plugin.id.as_str(), plugin.methods.len()), (&*format!("org.example.{kind}"), 1));
        computes(&*plugin.methods[0], kind);
    }
}

#[test]
fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let space = tempfile::tempdir().unwrap();
    let names = || -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(space.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let refused = |arguments: &[&str], code: i32, said: &str| {
        let output = fusion(space.path(), &[&["plugin", "new"], arguments].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(said), "{text}");
    };
    fs::create_dir(space.path().join("taken")).unwrap();
    refused(&["taken", "--lang", "c"], 1, "`taken` is there already");
    refused(&["other", "--dir", "taken", "--lang", "c"], 1, "`taken` is there already");
    refused(&["Row-Norms"], 2, "lower-case word");
    refused(&["norms", "--id", "norms"], 2, "reverse domain name");
    refused(&["norms", "--sdk", "taken"], 2, "neither fusion's sources nor its folder `plugins/sdk`");
    refused(&["norms", "--lang", "cpp", "--sdk", "taken"], 2, "`--sdk` goes with `--lang rust`");
    refused(&["norms", "--lang", "fortran"], 2, "fortran");
    assert_eq!(names(), ["taken"]);
    // The kit may be named by itself or by the sources around it; a given id and folder are used.
    for (at, sdk) in ["", "plugins/sdk"].into_iter().enumerate() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join(sdk);
        let folder = format!("made/{at}");
        let id = "org.acme.norms";
        let output = fusion(
            space.path(),
            &["plugin", "new", "norms", "--id", id, "--dir", &folder, "--sdk", sdk.to_str().unwrap()],
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let manifest = fs::read_to_string(space.path().join(&folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("plugins/sdk\""), "{manifest}");
        let source = fs::read_to_string(space.path().join(&folder).join("src/lib.rs")).unwrap();
        assert!(source.contains("id = \"org.acme.norms\",") && source.contains("id: \"norms\","), "{source}");
    }
    assert_eq!(names(), ["made", "taken"]);
}
