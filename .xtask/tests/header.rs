//! `fusion_plugin.h` is what cbindgen makes of the Rust structs of `plugins/abi`, and clean C. With `FUSION_WRITE` set, which is what
//! `cargo xtask gen` does, it is written first.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Where it is checked in.
const PATH: &str = "plugins/abi/include/fusion_plugin.h";

/// The header's text.
fn text(root: &Path) -> Result<String, String> {
    let folder = root.join("plugins/abi");
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml"))
        .map_err(|error| format!("plugins/abi/cbindgen.toml: {error}"))?;
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(folder.join("src/lib.rs"))
        .with_src(folder.join("src/host.rs"))
        .with_src(folder.join("src/method.rs"))
        .with_src(folder.join("src/plugin.rs"))
        .with_src(folder.join("src/services.rs"))
        .with_src(folder.join("src/tensor.rs"))
        .generate()
        .map_err(|error| format!("plugins/abi: {error}"))?;
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_header_is_fresh() {
    let text = text(root()).unwrap();
    let path = root().join(PATH);
    if env::var_os("FUSION_WRITE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(text == fs::read_to_string(&path).unwrap(), "run `cargo xtask gen`");
}

/// No warning of any kind, in C11 and in C++17. A machine without a C++ compiler checks C alone.
#[test]
fn the_header_is_clean_c_and_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wpadded", "-Werror", "-fsyntax-only"];
    for (compiler, standard, file, needed) in
        [("cc", "-std=c11", "use.c", true), ("c++", "-std=c++17", "use.cpp", false)]
    {
        let source = folder.path().join(file);
        fs::write(&source, "#include \"fusion_plugin.h\"\n").unwrap();
        let include = root().join("plugins/abi/include");
        let output =
            Command::new(compiler).arg(standard).args(strict).arg("-I").arg(include).arg(&source).output();
        match output {
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            Err(error) => assert!(!needed, "{compiler}: {error}"),
        }
    }
}
