//! The invariants of ARCHITECTURE.md that no compiler checks.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a folder, tests and fuzz targets left out.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut stack = vec![root().join(folder)];
    while let Some(path) = stack.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" && name != "fuzz" && name != "target" {
                stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "testing.rs" {
            let text = fs::read_to_string(&path).unwrap();
            // Unit tests stand at the end of a file.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            found.push((path, code));
        }
    }
    assert!(!found.is_empty(), "no sources under {folder}");
    found
}

/// Lines of code (comments left out) in which any of the words stands.
fn offences(folder: &str, words: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, text) in sources(folder) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                lines.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    lines
}

#[test]
fn the_language_knows_neither_burn_nor_files() {
    let manifest = fs::read_to_string(root().join("fusion-dsl/Cargo.toml")).unwrap();
    for forbidden in ["burn", "fusion-core", "fusion-sdk", "memmap2", "safetensors"] {
        assert!(!manifest.contains(forbidden), "fusion-dsl depends on {forbidden}");
    }
    let found = offences(
        "fusion-dsl/src",
        &["std::fs", "fs::read", "File::open", "std::env", "std::net", "std::process"],
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn libraries_print_nothing_and_read_no_environment() {
    for folder in [
        "fusion-core/src",
        "fusion-dsl/src",
        "plugins/sdk/src",
        "plugins/average/src",
        "plugins/conformance/src",
        "plugins/connect/src",
        "fusion-core/data/src",
        "fusion-core/network/src",
        "fusion-core/learn/src",
        "fusion-core/report/src",
    ] {
        let found = offences(folder, &["println!", "print!(", "dbg!", "env::var", "env::args"]);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn unsafe_stands_only_in_maps_prefetches_and_the_plugin_border() {
    let allowed = [
        "checkpoint/map.rs",
        "tensor/prefetch.rs",
        "fusion-core/src/host/",
        "sdk/src/export/",
        "plugins/abi/src/",
        "plugins/conformance/src/driver/",
    ];
    for folder in ["fusion-core", "fusion-dsl/src", "plugins", "src"] {
        let found: Vec<String> = offences(folder, &["unsafe {", "unsafe fn", "unsafe impl"])
            .into_iter()
            .filter(|line| !allowed.iter().any(|file| line.contains(file)))
            .collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn the_contract_knows_no_burn() {
    let manifest = fs::read_to_string(root().join("plugins/sdk/Cargo.toml")).unwrap();
    assert!(!manifest.contains("burn"), "fusion-sdk depends on burn");
}

/// Two models of 256 GB each, whose weights are a hole in a sparse file: whoever read them would need minutes.
#[test]
fn the_planner_reads_headers_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        let bytes: u64 = 256 << 30;
        let header = format!(
            r#"{{"model.layers.0.w":{{"dtype":"BF16","shape":[{},1024],"data_offsets":[0,{bytes}]}}}}"#,
            bytes / 2048
        );
        let mut file = fs::File::create(path.join("model.safetensors")).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        if file.set_len(8 + header.len() as u64 + bytes).is_err() {
            return; // this file system has no sparse files of that size
        }
    }
    let recipe = folder.path().join("r.fusion");
    fs::write(
        &recipe,
        "fusion 1\n\nmodel a from \"a\"\nmodel b from \"b\"\n\naverage m using linear {\n  from a\n  from b\n}\n\nexpect m.tensors == 1\n",
    )
    .unwrap();
    let started = Instant::now();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_fusion")).arg("plan").arg(&recipe).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(started.elapsed().as_secs() < 20, "planning took {:?}", started.elapsed());
}
