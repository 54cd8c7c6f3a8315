//! The samples as `examples/plugins/README.md` has it: built, checked, packed, installed, locked, planned, run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

// Links the library in, so that cargo builds it.
use fusion_sample_consensus as _;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust sample's library, which cargo puts beside the tests.
fn rust_sample() -> PathBuf {
    let name =
        format!("{}fusion_sample_consensus{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let tests = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let places = [tests.join(&name), tests.parent().unwrap().join(&name)];
    places.into_iter().find(|path| path.is_file()).expect("cargo builds the cdylib beside its tests")
}

/// Compiles a sample; `None` without such a compiler, which only C++ may lack.
fn compile(folder: &Path, compiler: &str, standard: &str, source: &str, name: &str) -> Option<PathBuf> {
    let library = folder.join(format!("lib{name}.so"));
    let output = Command::new(compiler)
        .args([standard, "-O2", "-shared", "-fPIC", "-I"])
        .arg(root().join("plugins/abi/include"))
        .arg(root().join("plugins/samples").join(source))
        .arg("-o")
        .arg(&library)
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(library)
}

#[test]
fn every_sample_is_checked_installed_and_merges() {
    let space = tempfile::tempdir().unwrap();
    let folder = space.path().join("plugins");
    std::fs::create_dir(&folder).unwrap();
    for file in std::fs::read_dir(root().join("examples/plugins")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if path.extension().is_some_and(|end| end == "fusion") {
            let models = root().join("examples/first/models").display().to_string();
            std::fs::write(folder.join(path.file_name().unwrap()), text.replace("../first/models", &models))
                .unwrap();
        }
    }
    let fusion = |arguments: &[&str]| -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_fusion"))
            .args(arguments)
            .current_dir(&folder)
            .env("XDG_DATA_HOME", space.path().join("data"))
            .env("FUSION_CACHE", space.path().join("cache"))
            .env_remove("FUSION_PLUGIN_PATH")
            .output()
            .unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {text}");
        output
    };
    let median = compile(&folder, "cc", "-std=c11", "c/median.c", "median").expect("Rust links with it");
    let mut samples = vec![
        (rust_sample(), "org.fusion.samples.consensus", vec!["consensus", "geometric_median"]),
        (median, "org.fusion.samples.median", vec!["median"]),
    ];
    if let Some(library) = compile(&folder, "c++", "-std=c++17", "cpp/rms_match.cpp", "rms_match") {
        samples.push((library, "org.fusion.samples.rms_match", vec!["rms_match"]));
    }
    for (library, id, recipes) in &samples {
        let library = library.display().to_string();
        fusion(&["plugin", "check", &library]);
        fusion(&["plugin", "pack", &library, "--out", "dist"]);
        let bundle = std::fs::read_dir(folder.join("dist")).unwrap().map(|entry| entry.unwrap().path());
        let bundle = bundle.filter(|path| path.display().to_string().contains(id)).last().unwrap();
        fusion(&["plugin", "add", &bundle.display().to_string()]);
        for recipe in recipes {
            let recipe = format!("{recipe}.fusion");
            fusion(&["lock", &recipe]);
            fusion(&["check", &recipe]);
            fusion(&["plan", &recipe]);
            fusion(&["run", &recipe]);
            fusion(&["run", &recipe, "--isolate", id, "--overwrite"]);
        }
        for recipe in recipes {
            assert!(folder.join("out").join(recipe).join("model.safetensors").is_file(), "{recipe}");
        }
    }
}
