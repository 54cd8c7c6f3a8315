//! Plugins as recipes use them: packed, installed, locked, checked without their code, run; and every refusal on the way.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Space, listing, load};

const MEDIAN: &str = "org.fusion.samples.median";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles a C file into a library of this test's own.
fn compile(space: &Space, source: &Path, name: &str, defines: &[&str]) -> PathBuf {
    let library = space.path(&format!("{name}.so"));
    let output = Command::new("cc")
        .args(["-std=c11", "-O2", "-shared", "-fPIC"])
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

/// The sample, changed a little. Wherever it is loaded, it leaves the file `loaded` in the working directory.
fn median(space: &Space, name: &str, changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(root().join("plugins/samples/c/median.c")).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let mark = "#include <stdio.h>\n\
        __attribute__((constructor)) static void mark(void) { FILE *f = fopen(\"loaded\", \"w\"); if (f) fclose(f); }\n";
    let source = space.write(&format!("{name}.c"), format!("{mark}{text}"));
    compile(space, &source, name, &[]);
    format!("{name}.so")
}

/// Whether the sample was loaded since the last time that this was asked.
fn loaded(space: &Space) -> bool {
    std::fs::remove_file(space.path("loaded")).is_ok()
}

/// A recipe that takes the median of three of the first example's models.
fn recipe(version: &str) -> String {
    let model = |name: &str| {
        format!("model {name} from \"{}\"\n", root().join("examples/first/models").join(name).display())
    };
    format!(
        "fusion 1\n\nuse plugin \"{MEDIAN}\"{version} as samples\n\n{}{}{}\naverage m using samples.median {{\n  \
         from chat\n  from code\n  from math\n}}\n\nsave m to \"out/m\"\n",
        model("chat"),
        model("code"),
        model("math"),
    )
}

/// A space with the recipe and the sample, packed and added, but not locked.
fn installed() -> Space {
    let space = Space::new();
    let library = median(&space, "median", &[]);
    space.write("r.fusion", recipe(" version \"^1.0\""));
    space.ok(&["plugin", "pack", &library, "--out", "dist"]);
    space.ok(&["plugin", "add", "dist/org.fusion.samples.median-1.0.0"]);
    assert!(loaded(&space));
    space
}

fn locked() -> Space {
    let space = installed();
    space.ok(&["lock", "r.fusion"]);
    space
}

const INSTALLED: &str = ".fusion/plugins/org.fusion.samples.median-1.0.0";

/// The manifest of the installed sample, changed.
fn edit(space: &Space, folder: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let file = format!("{folder}/plugin.json");
    let mut json: serde_json::Value = serde_json::from_str(&space.read(&file)).unwrap();
    change(&mut json);
    space.write(&file, json.to_string());
}

fn target(space: &Space) -> String {
    let manifest: serde_json::Value =
        serde_json::from_str(&space.read(&format!("{INSTALLED}/plugin.json"))).unwrap();
    manifest["libraries"].as_object().unwrap().keys().next().unwrap().clone()
}

/// Without hashes, sizes and this machine's name.
fn steady(text: &str) -> String {
    let ends = [' ', '\n', '…', '`', ',', '/'];
    let words: Vec<&str> = text.split_inclusive(ends).collect();
    let mut out = String::new();
    for (at, word) in words.iter().enumerate() {
        let bare = word.trim_end_matches(ends);
        let hash = bare.len() == 12 && bare.chars().all(|c| c.is_ascii_hexdigit());
        let triple = bare.contains("-unknown-linux-") || bare.contains("-apple-");
        let size = words.get(at + 1).is_some_and(|unit| unit.starts_with("kB"));
        out.push_str(match (hash, triple, size) {
            (true, ..) => "HASH",
            (_, true, _) => "TARGET",
            (_, _, true) => "SIZE",
            _ => bare,
        });
        out.push_str(&word[bare.len()..]);
    }
    out
}

#[test]
fn a_plugin_is_packed_added_locked_planned_and_run() {
    let space = Space::new();
    let library = median(&space, "median", &[]);
    space.write("r.fusion", recipe(" version \"^1.0\""));
    space.write("ABOUT.md", "takes medians");
    let done = space.ok(&["plugin", "pack", &library, "--out", "dist", "--readme", "ABOUT.md"]);
    insta::assert_snapshot!(steady(&done.out), @r"
    packed org.fusion.samples.median 1.0.0 in dist/org.fusion.samples.median-1.0.0
      methods  average median
      library  TARGET  SIZE kB  HASH
    `fusion plugin add dist/org.fusion.samples.median-1.0.0` installs it
    ");
    assert!(loaded(&space), "packing loads the library");
    let bundle = "dist/org.fusion.samples.median-1.0.0";
    assert_eq!(space.read(&format!("{bundle}/README.md")), "takes medians");
    assert_eq!(space.names("dist"), ["org.fusion.samples.median-1.0.0"]);
    let done = space.ok(&["plugin", "add", bundle]);
    insta::assert_snapshot!(steady(&done.out), @r#"
    added org.fusion.samples.median 1.0.0 in .fusion/plugins/org.fusion.samples.median-1.0.0
      methods  average median
      library  TARGET  SIZE kB  HASH
    in a recipe: `use plugin "org.fusion.samples.median" version "^1.0" as median`, then `fusion lock RECIPE`
    "#);
    // Installed is not trusted.
    let done = space.fails(&["check", "r.fusion"], 4, "F0708");
    insta::assert_snapshot!(done.err, @r#"
    error[F0708]: the plugin `org.fusion.samples.median` is not locked
     --> r.fusion:3:1
      |
    3 | use plugin "org.fusion.samples.median" version "^1.0" as samples
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: found 1.0.0 in .fusion/plugins/org.fusion.samples.median-1.0.0
      = help: if you trust it, run `fusion lock r.fusion`

    1 error in r.fusion; `fusion explain F0708` says more
    "#);
    space.fails(&["run", "r.fusion"], 4, "F0708");
    let done = space.ok(&["lock", "r.fusion"]);
    insta::assert_snapshot!(steady(&done.out), @r"
    locked: fusion.lock: 1 plugin
      org.fusion.samples.median  1.0.0  added  TARGET  HASH
    ");
    let done = space.ok(&["lock", "r.fusion", "--check"]);
    insta::assert_snapshot!(done.out, @"ok: fusion.lock is up to date");
    // Everything but `run` lives on the manifest.
    insta::assert_snapshot!(space.ok(&["check", "r.fusion"]).out, @"ok: r.fusion: 1 stage, 1 output");
    let plan = space.ok(&["plan", "r.fusion"]).out;
    assert!(plan.contains(&format!("{MEDIAN}  1.0.0  {INSTALLED}")), "{plan}");
    assert!(plan.contains(&format!("average using {MEDIAN}.median")), "{plan}");
    let plan: serde_json::Value =
        serde_json::from_str(&space.ok(&["plan", "r.fusion", "--json"]).out).unwrap();
    assert_eq!(plan["plugins"][0]["id"], MEDIAN);
    assert!(space.ok(&["graph", "r.fusion"]).out.contains("median"));
    let tensor = "model.norm.weight";
    assert!(space.ok(&["explain", "r.fusion", "--tensor", tensor]).out.contains("computed by m"));
    space.ok(&["ast", "r.fusion", "--graph"]);
    space.ok(&["plugin", "list"]);
    space.ok(&["plugin", "inspect", MEDIAN]);
    assert!(!loaded(&space), "only packing and running load a library");
    space.ok(&["run", "r.fusion"]);
    assert!(loaded(&space));
    let models = root().join("examples/first/models");
    let inputs = ["chat", "code", "math"].map(|name| load(&models.join(name)));
    let found = load(&space.path("out/m"));
    assert_eq!(found.len(), inputs[0].len());
    for (name, (dtype, shape, values)) in &found {
        assert_eq!((dtype, shape), (&inputs[0][name].0, &inputs[0][name].1), "{name}");
        for (at, value) in values.iter().enumerate() {
            let mut all = inputs.each_ref().map(|input| input[name].2[at]);
            all.sort_by(f64::total_cmp);
            assert_eq!(*value, all[1], "{name}[{at}]");
        }
    }
    // What is there already needs no code either.
    assert!(space.ok(&["run", "r.fusion"]).out.contains("unchanged"));
    assert!(!loaded(&space));
}

#[test]
fn a_plugin_that_is_not_there_is_missed_once() {
    let space = Space::new();
    space.write("r.fusion", recipe(" version \"^1.0\""));
    let done = space.fails(&["check", "r.fusion"], 4, "F0701");
    insta::assert_snapshot!(plain(&space, &done.err), @r#"
    error[F0701]: the plugin `org.fusion.samples.median` is not installed
     --> r.fusion:3:12
      |
    3 | use plugin "org.fusion.samples.median" version "^1.0" as samples
      |  ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: looked in `.fusion/plugins`, `SPACE/data/fusion/plugins` and `/usr/lib/fusion/plugins`
      = help: install it with `fusion plugin add`, or name its folder with `--plugin-path`

    1 error in r.fusion; `fusion explain F0701` says more
    "#);
    space.fails(&["lock", "r.fusion"], 4, "F0701");
    assert!(!space.path("fusion.lock").exists());
    let done = space.fails(&["plugin", "list", "--why", MEDIAN], 4, "F0701");
    assert!(done.out.contains(".fusion/plugins"), "{}", done.out);
    space.fails(&["plugin", "inspect", MEDIAN], 4, "F0701");
    space.fails(&["check", "r.fusion", "--plugin-path", "nowhere"], 3, "F0511");
    assert!(space.ok(&["plugin", "list"]).out.starts_with("no plugin is installed"));
}

#[test]
fn plugins_are_found_in_every_place_and_the_best_accepted_version_is_taken() {
    let space = Space::new();
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        let library = median(&space, "median", &[("\"1.0.0\"", &format!("\"{version}\""))]);
        space.ok(&["plugin", "pack", &library, "--out", "dist"]);
    }
    space.write("sub/r.fusion", recipe(" version \"^1\""));
    let chosen = |arguments: &[&str], environment: &[(&str, &str)]| {
        std::fs::remove_file(space.path("sub/fusion.lock")).ok();
        let mut all = vec!["lock", "sub/r.fusion", "--json"];
        all.extend(arguments);
        let output = space.command(&all).envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["files"][0]["plugins"][0]["after"]["version"].as_str().unwrap().to_owned()
    };
    let bundle = |version: &str| format!("dist/org.fusion.samples.median-{version}");
    assert_eq!(chosen(&["--plugin-path", "dist"], &[]), "1.1.0");
    assert_eq!(chosen(&["--plugin-path", &bundle("1.0.0")], &[]), "1.0.0");
    assert_eq!(chosen(&[], &[("FUSION_PLUGIN_PATH", "none:dist")]), "1.1.0");
    space.ok(&["plugin", "add", &bundle("1.0.0"), "--global"]);
    assert_eq!(space.names("data/fusion/plugins"), ["org.fusion.samples.median-1.0.0"]);
    assert_eq!(chosen(&[], &[]), "1.0.0");
    // Beside the recipe, rather than in the working directory.
    std::fs::create_dir_all(space.path("sub/.fusion")).unwrap();
    std::fs::rename(space.path("dist"), space.path("sub/.fusion/plugins")).unwrap();
    assert_eq!(chosen(&[], &[]), "1.1.0");
    // A locked version stays as long as it is there.
    space.write("sub/r.fusion", recipe(" version \"=1.0.0\""));
    space.fails(&["check", "sub/r.fusion"], 4, "F0704");
    space.ok(&["lock", "sub/r.fusion"]);
    space.write("sub/r.fusion", recipe(""));
    space.ok(&["check", "sub/r.fusion"]);
    let done = space.fusion(&["lock", "sub/r.fusion", "--check"]);
    assert_eq!(done.code, 1, "{}{}", done.out, done.err);
    insta::assert_snapshot!(steady(&done.out), @r"
    stale: sub/fusion.lock: 1 plugin
      org.fusion.samples.median  1.0.0 → 2.0.0  changed  TARGET  HASH → HASH
    nothing was changed; without `--check` it is
    ");
    for place in ["data/fusion/plugins", "sub/.fusion/plugins"] {
        std::fs::remove_dir_all(space.path(&format!("{place}/org.fusion.samples.median-1.0.0"))).unwrap();
    }
    let done = space.fails(&["check", "sub/r.fusion"], 4, "F0704");
    assert!(done.err.contains("is locked at 1.0.0, and found is 2.0.0"), "{}", done.err);
    // A requirement that nothing meets, and one that is none.
    space.write("sub/r.fusion", recipe(" version \"^3\""));
    let done = space.fails(&["check", "sub/r.fusion"], 4, "F0702");
    insta::assert_snapshot!(done.err, @r#"
    error[F0702]: no installed version of the plugin `org.fusion.samples.median` is accepted
     --> sub/r.fusion:3:48
      |
    3 | use plugin "org.fusion.samples.median" version "^3" as samples
      |                                                ^^^^
      |
      = note: 1.1.0 in sub/.fusion/plugins/org.fusion.samples.median-1.1.0: not accepted by `^3`
      = note: 2.0.0 in sub/.fusion/plugins/org.fusion.samples.median-2.0.0: not accepted by `^3`
      = help: install another version, or change the requirement; `fusion plugin list --why org.fusion.samples.median` says more

    1 error in sub/r.fusion; `fusion explain F0702` says more
    "#);
    space.write("sub/r.fusion", recipe(" version \"newest\""));
    space.fails(&["check", "sub/r.fusion"], 4, "F0702");
}

#[test]
fn a_recipe_and_its_imports_share_one_version() {
    let space = Space::new();
    for version in ["1.0.0", "1.1.0"] {
        let library = median(&space, "median", &[("\"1.0.0\"", &format!("\"{version}\""))]);
        space.ok(&["plugin", "add", &library]);
    }
    let import = |version: &str| {
        space.write("inner.fusion", recipe(version).replace("save m to \"out/m\"\n", ""));
        let text =
            recipe(" version \"^1\"").replace("fusion 1\n", "fusion 1\n\nimport \"inner.fusion\" as inner\n");
        space.write("r.fusion", text.replace("  from math\n", "  from inner.m\n"));
    };
    import(" version \"<1.1\"");
    let json: serde_json::Value =
        serde_json::from_str(&space.ok(&["lock", "r.fusion", "--json"]).out).unwrap();
    assert_eq!(json["files"][0]["plugins"][0]["after"]["version"], "1.0.0");
    let done = space.ok(&["plan", "r.fusion"]);
    assert!(done.out.contains("1.0.0"), "{}", done.out);
    space.write("r.fusion", space.read("r.fusion").replace("\"^1\"", "\">=1.1\""));
    let done = space.fails(&["check", "r.fusion"], 4, "F0702");
    assert!(done.err.contains("accepted everywhere"), "{}", done.err);
    assert!(done.err.contains("`<1.1` and `>=1.1`"), "{}", done.err);
}

#[test]
fn a_library_that_is_not_the_locked_one_is_not_loaded() {
    let space = locked();
    space.ok(&["run", "r.fusion"]);
    assert!(loaded(&space));
    let library = format!("{INSTALLED}/{}/plugin.so", target(&space));
    let good = std::fs::read(space.path(&library)).unwrap();
    let mut bytes = good.clone();
    bytes.push(0);
    std::fs::write(space.path(&library), &bytes).unwrap();
    for command in ["check", "plan", "run"] {
        let done = space.fails(&[command, "r.fusion"], 4, "F0704");
        assert!(
            done.err.contains(&format!("locked: {}…, found: {}…", short_hash(&good), short_hash(&bytes))),
            "{}",
            done.err
        );
        assert!(done.err.contains("fusion lock r.fusion"), "{}", done.err);
    }
    // Nor is it locked: the manifest knows the other.
    let before = space.read("fusion.lock");
    space.fails(&["lock", "r.fusion"], 4, "F0706");
    assert_eq!(space.read("fusion.lock"), before);
    assert!(space.ok(&["plugin", "list"]).out.starts_with("damaged"));
    assert!(!loaded(&space));
    // Another build of the same version: replaced when asked, locked when asked, and its results are others.
    let other = median(&space, "other", &[("TEXT(\"C\")", "TEXT(\"C, built again\")")]);
    space.fails(&["plugin", "add", &other], 1, "F0501");
    space.ok(&["plugin", "add", &other, "--replace"]);
    space.fails(&["run", "r.fusion"], 4, "F0704");
    space.ok(&["lock", "r.fusion"]);
    let done = space.ok(&["plan", "r.fusion", "--overwrite"]);
    assert!(done.out.contains(&format!("the plugin `{MEDIAN}` changed")), "{}", done.out);
    space.fails(&["run", "r.fusion"], 1, "F0501");
    space.ok(&["run", "r.fusion", "--overwrite"]);
}

fn short_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()[..12].to_owned()
}

#[test]
fn a_stale_manifest_is_seen_before_anything_is_written() {
    let space = locked();
    edit(&space, INSTALLED, |json| json["methods"][0]["summary"] = "another".into());
    space.ok(&["check", "r.fusion"]);
    let done = space.fails(&["run", "r.fusion"], 4, "F0714");
    insta::assert_snapshot!(done.err, @r"
    error[F0714]: `.fusion/plugins/org.fusion.samples.median-1.0.0/plugin.json` is stale: the library describes the method `median` otherwise
     |
     = help: its author runs `fusion plugin pack` after each build; install the bundle that comes of it
    ");
    assert!(!space.path("out").exists());
    let done = space.fusion(&["run", "r.fusion", "--json"]);
    assert!(done.out.contains("F0714"), "{}", done.out);
}

#[test]
fn a_broken_manifest_is_named() {
    let space = locked();
    edit(&space, INSTALLED, |json| {
        json["libraries"]["x"] = serde_json::json!({"file": "../../x", "blake3": "", "bytes": 0})
    });
    let done = space.fails(&["check", "r.fusion"], 4, "F0706");
    assert!(done.err.contains(&format!("{INSTALLED}/plugin.json")), "{}", done.err);
    assert!(done.err.contains("no path inside of the bundle"), "{}", done.err);
    let done = space.ok(&["plugin", "list", "--why", MEDIAN]);
    assert!(done.out.contains("no path inside of the bundle"), "{}", done.out);
}

#[test]
fn a_bundle_for_other_systems_does_not_run_here() {
    let space = locked();
    let here = target(&space);
    edit(&space, INSTALLED, |json| {
        let library = json["libraries"].as_object_mut().unwrap().remove(&here).unwrap();
        json["libraries"]["wasm32-wasip1"] = library;
    });
    let done = space.fails(&["check", "r.fusion"], 4, "F0711");
    insta::assert_snapshot!(steady(&done.err), @r#"
    error[F0711]: the plugin `org.fusion.samples.median` has no library for this system
     --> r.fusion:3:12
      |
    3 | use plugin "org.fusion.samples.median" version "^1.0" as samples
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: 1.0.0 in .fusion/plugins/org.fusion.samples.median-1.0.0: has no library for `TARGET`, only for `wasm32-wasip1`
      = help: install a bundle with one; `fusion plugin list --why org.fusion.samples.median` says more

    1 error in r.fusion; `fusion explain F0711` says more
    "#);
    space.ok(&["plugin", "inspect", MEDIAN]);
    edit(&space, INSTALLED, |json| json["abi"]["needs_minor"] = 77.into());
    let done = space.fails(&["check", "r.fusion"], 4, "F0709");
    assert!(done.err.contains("needs version 1.77 of the plugin contract"), "{}", done.err);
}

#[test]
fn plugins_can_be_switched_off() {
    let space = locked();
    for command in [
        &["check", "r.fusion"][..],
        &["plan", "r.fusion"],
        &["run", "r.fusion"],
        &["graph", "r.fusion"],
        &["explain", "r.fusion", "--tensor", "model.norm.weight"],
        &["ast", "r.fusion", "--graph"],
    ] {
        let mut off = command.to_vec();
        off.push("--no-plugins");
        let done = space.fails(&off, 4, "F0707");
        assert!(!done.err.contains("F0302"), "{}", done.err);
    }
    assert!(!loaded(&space));
    // Recipes without plugins do not care.
    space.soup();
    space.ok(&["check", "soup.fusion", "--no-plugins"]);
}

#[test]
fn every_candidate_says_why_it_is_not_taken() {
    let space = Space::new();
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        let library = median(&space, "median", &[("\"1.0.0\"", &format!("\"{version}\""))]);
        space.ok(&["plugin", "add", &library]);
    }
    space.ok(&["plugin", "add", ".fusion/plugins/org.fusion.samples.median-1.1.0", "--global"]);
    space.write(".fusion/plugins/org.fusion.samples.median-0.9.0/plugin.json", "{}");
    let done = space.ok(&["plugin", "list"]);
    insta::assert_snapshot!(plain(&space, &done.out), @r"
    broken  org.fusion.samples.median  0.9.0  .fusion/plugins/org.fusion.samples.median-0.9.0
    older  org.fusion.samples.median  1.0.0  .fusion/plugins/org.fusion.samples.median-1.0.0
    older  org.fusion.samples.median  1.1.0  .fusion/plugins/org.fusion.samples.median-1.1.0
    usable  org.fusion.samples.median  2.0.0  average median  .fusion/plugins/org.fusion.samples.median-2.0.0
    older  org.fusion.samples.median  1.1.0  SPACE/data/fusion/plugins/org.fusion.samples.median-1.1.0
    `fusion plugin list --why ID` says why
    ");
    let done = space.ok(&["plugin", "list", "--why", MEDIAN, "--accept", "^1"]);
    insta::assert_snapshot!(plain(&space, &done.out), @r"
    org.fusion.samples.median
      0.9.0 broken  .fusion/plugins/org.fusion.samples.median-0.9.0
      `.fusion/plugins/org.fusion.samples.median-0.9.0/plugin.json` does not say its `format`
      1.0.0 older  .fusion/plugins/org.fusion.samples.median-1.0.0
      older than 1.1.0 in .fusion/plugins/org.fusion.samples.median-1.1.0
      1.1.0 usable  .fusion/plugins/org.fusion.samples.median-1.1.0
      this is the one that recipes get, unless they or their lock file want another
      2.0.0 not accepted  .fusion/plugins/org.fusion.samples.median-2.0.0
      not accepted by `^1`
      1.1.0 shadowed  SPACE/data/fusion/plugins/org.fusion.samples.median-1.1.0
      shadowed by the same version in .fusion/plugins/org.fusion.samples.median-1.1.0
    looked in
      .fusion/plugins  working directory
      SPACE/data/fusion/plugins  this user
      /usr/lib/fusion/plugins  this system  not there
    ");
    let json: serde_json::Value = serde_json::from_str(&space.ok(&["plugin", "list", "--json"]).out).unwrap();
    let plugins = json["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), 5);
    assert_eq!(plugins.iter().filter(|one| one["usable"] == true).count(), 1);
    assert!(plugins.iter().any(|one| one["refused"]["why"] == "broken"));
}

/// Without this test's folder, and without the blanks of columns that its length decides.
fn plain(space: &Space, text: &str) -> String {
    let mut out = text.replace(&space.path("").display().to_string(), "SPACE/");
    while out.contains("   ") {
        out = out.replace("   ", "  ");
    }
    out
}

#[test]
fn a_manifest_tells_all_that_a_writer_needs() {
    let space = installed();
    let done = space.ok(&["plugin", "inspect", MEDIAN]);
    insta::assert_snapshot!(steady(&done.out), @r"
    average · median — element-wise median of models (Yin et al., Byzantine-robust distributed learning, ICML 2018)
      θ = median(θ₁ … θₙ), element by element
      from  model, 1 to 64    the models
    kernel element-wise · version 1 · deterministic · commutative · idempotent · affine · scale-equivariant

    org.fusion.samples.median 1.0.0 · ABI 1.0 or newer · MIT OR Apache-2.0 · built with C · .fusion/plugins/org.fusion.samples.median-1.0.0
    for TARGET
    ");
    let same = space.ok(&["plugin", "inspect", INSTALLED]);
    assert_eq!(same.out, done.out);
    let schema: serde_json::Value =
        serde_json::from_str(&space.ok(&["plugin", "inspect", &format!("{MEDIAN}.median"), "--schema"]).out)
            .unwrap();
    assert_eq!(schema["type"], "object");
    let method: serde_json::Value =
        serde_json::from_str(&space.ok(&["plugin", "inspect", &format!("{MEDIAN}.median"), "--json"]).out)
            .unwrap();
    assert_eq!(method["verb"], "average");
    let manifest: serde_json::Value =
        serde_json::from_str(&space.ok(&["plugin", "inspect", MEDIAN, "--json"]).out).unwrap();
    assert_eq!(manifest["format"], 1);
    space.fails(&["plugin", "inspect", &format!("{MEDIAN}.mode")], 1, "F0302");
    assert_eq!(space.fusion(&["plugin", "inspect", "median.so"]).code, 2);
    loaded(&space);
}

#[test]
fn what_is_no_plugin_is_neither_packed_nor_added() {
    let space = Space::new();
    let source = root().join("fusion-core/tests/host/broken.c");
    for (define, code) in [
        ("NO_ENTRY", "F0712"),
        ("OTHER_MAJOR", "F0703"),
        ("NEEDS_MINOR=9", "F0709"),
        ("NEEDS_SERVICE", "F0710"),
        ("REFUSES", "F0705"),
        ("BAD_METHOD_ID", "F0713"),
    ] {
        compile(&space, &source, "bad", &[define]);
        let done = space.fails(&["plugin", "pack", "bad.so", "--out", "dist"], 4, code);
        assert!(done.err.contains("bad.so"), "{}", done.err);
        space.fails(&["plugin", "add", "bad.so"], 4, code);
        assert_eq!(space.names("dist"), [""; 0]);
        assert_eq!(space.names(".fusion/plugins"), [""; 0], "{define}");
    }
    space.write("text.so", "no library");
    space.fails(&["plugin", "pack", "text.so"], 4, "F0712");
    space.fails(&["plugin", "pack", "missing.so"], 3, "F0511");
    space.fails(&["plugin", "add", "missing"], 3, "F0511");
}

#[test]
fn packing_adds_to_a_bundle_and_never_describes_a_library_wrongly() {
    let space = Space::new();
    let library = median(&space, "median", &[]);
    space.ok(&["plugin", "pack", &library, "--out", "dist"]);
    let bundle = "dist/org.fusion.samples.median-1.0.0";
    let manifest = || -> serde_json::Value {
        serde_json::from_str(&space.read(&format!("{bundle}/plugin.json"))).unwrap()
    };
    let here = manifest()["libraries"].as_object().unwrap().keys().next().unwrap().clone();
    // As if it had been packed on another system.
    edit(&space, bundle, |json| {
        let mut library = json["libraries"].as_object_mut().unwrap().remove(&here).unwrap();
        library["file"] = "elsewhere/plugin.so".into();
        json["libraries"]["elsewhere"] = library;
    });
    std::fs::rename(space.path(&format!("{bundle}/{here}")), space.path(&format!("{bundle}/elsewhere")))
        .unwrap();
    let packed: serde_json::Value =
        serde_json::from_str(&space.ok(&["plugin", "pack", &library, "--out", "dist", "--json"]).out)
            .unwrap();
    assert_eq!(packed["before"], "other");
    assert_eq!(manifest()["libraries"].as_object().unwrap().len(), 2);
    assert_eq!(listing(&space.path(&format!("{bundle}/elsewhere"))).len(), 1);
    let before = manifest();
    let other = median(&space, "other", &[("element-wise median of models", "another")]);
    let done = space.fails(&["plugin", "pack", &other, "--out", "dist"], 1, "F0501");
    assert!(done.err.contains("describes the method `median` otherwise"), "{}", done.err);
    assert_eq!(manifest(), before);
    // Alone in its bundle, a library may change.
    std::fs::remove_dir_all(space.path("dist")).unwrap();
    space.ok(&["plugin", "pack", &library, "--out", "dist"]);
    space.ok(&["plugin", "pack", &other, "--out", "dist"]);
    assert_eq!(manifest()["methods"][0]["summary"], "another");
}

#[test]
fn a_plugin_that_fails_is_named_and_leaves_no_result() {
    let space = Space::new();
    compile(&space, &root().join("fusion-core/tests/host/broken.c"), "bad", &["FAILS"]);
    space.ok(&["plugin", "add", "bad.so"]);
    space.soup();
    space.write(
        "r.fusion",
        "fusion 1\nuse plugin \"org.fusion.tests.copy\" as bad\nmodel a from \"a\"\naverage m using bad.copy { from a }\nsave m to \"out/m\"\n",
    );
    space.ok(&["lock", "r.fusion"]);
    let done = space.fails(&["run", "r.fusion"], 4, "F0705");
    insta::assert_snapshot!(done.err, @r"
    error[F0705]: `org.fusion.tests.copy.copy` of stage `m` failed: out of luck
     --> r.fusion:4:17
      |
    4 | average m using bad.copy { from a }
      |                 ^^^^^^^^
      |
      = note: reported by the plugin org.fusion.tests.copy 1.0.0
      = help: where it blames no setting or input, tell the plugin's author

    1 error in r.fusion; `fusion explain F0705` says more
    ");
    assert!(!space.path("out/m").exists());
    // A plugin's trouble may pass: what is finished is kept for the same command.
    assert_eq!(space.names("out"), [".m.fusion-part"]);
}

#[test]
fn a_lock_file_keeps_what_other_recipes_need() {
    let space = locked();
    let mut lock: serde_json::Value = serde_json::from_str(&space.read("fusion.lock")).unwrap();
    lock["plugins"]["org.other"] = serde_json::json!({ "version": "1.0.0", "libraries": { "x": "00" } });
    space.write("fusion.lock", lock.to_string());
    std::fs::remove_dir_all(space.path(INSTALLED)).unwrap();
    let other = median(&space, "other", &[("TEXT(\"C\")", "TEXT(\"C, built again\")")]);
    space.ok(&["plugin", "add", &other]);
    let before = space.read("fusion.lock");
    let done = space.fusion(&["lock", "r.fusion", "--check"]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert_eq!(space.read("fusion.lock"), before);
    space.ok(&["lock", "r.fusion"]);
    let after: serde_json::Value = serde_json::from_str(&space.read("fusion.lock")).unwrap();
    assert_eq!(after["plugins"]["org.other"], lock["plugins"]["org.other"]);
    assert_ne!(after["plugins"][MEDIAN], lock["plugins"][MEDIAN]);
    // What cannot be read locks nothing, and is not thrown away.
    space.write("fusion.lock", "{");
    space.fails(&["check", "r.fusion"], 4, "F0708");
    space.fails(&["lock", "r.fusion"], 4, "F0708");
    assert_eq!(space.read("fusion.lock"), "{");
    // A recipe without plugins makes no lock file.
    space.soup();
    std::fs::remove_file(space.path("fusion.lock")).unwrap();
    assert!(space.ok(&["lock", "soup.fusion"]).out.contains("nothing to lock"));
    assert!(!space.path("fusion.lock").exists());
}

/// A warning is shown wherever the plugin runs; what is only information is not, unless it is asked for.
#[test]
fn what_a_plugin_logs_is_shown_in_process_and_isolated() {
    for isolated in [false, true] {
        let space = Space::new();
        let source = std::fs::read_to_string(root().join("plugins/samples/c/median.c")).unwrap();
        let head = "static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {";
        assert!(source.contains(head));
        let logs = "const fusion_str w = TEXT(\"mind the gap\"), i = TEXT(\"all is well\");\n\
                    host->log(host->ctx, 1, w);\nhost->log(host->ctx, 2, i);";
        space.write("m.c", source.replace(head, &format!("{head}\n{logs}")));
        compile(&space, &space.path("m.c"), "m", &[]);
        space.ok(&["plugin", "add", "m.so"]);
        space.soup();
        space.write(
            "r.fusion",
            "fusion 1\nuse plugin \"org.fusion.samples.median\" as own\nmodel a from \"a\"\naverage m using own.median { from a }\nsave m to \"out/m\"\n",
        );
        space.ok(&["lock", "r.fusion"]);
        let mut arguments = vec!["run", "r.fusion"];
        if isolated {
            arguments.extend(["--isolate", "org.fusion.samples.median"]);
        }
        let done = space.ok(&arguments);
        assert!(done.err.contains("WARN plugin: mind the gap"), "{isolated}: {}", done.err);
        assert!(!done.err.contains("all is well"), "{isolated}: {}", done.err);
    }
}

#[test]
fn an_isolated_plugin_gives_the_same_bytes_and_its_crash_is_an_error() {
    let space = locked();
    space.ok(&["run", "r.fusion"]);
    let expected = listing(&space.path("out/m"));
    space.ok(&["run", "r.fusion", "--overwrite", "--isolate", MEDIAN]);
    assert!(loaded(&space));
    assert!(listing(&space.path("out/m")) == expected);
    let done = space.fusion(&["run", "r.fusion", "--isolate", "org.other"]);
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(
        done.err.contains(&format!("the recipe uses no plugin `org.other`; it uses `{MEDIAN}`")),
        "{}",
        done.err
    );
    // One that crashes.
    compile(&space, &root().join("tests/isolate/faulty.c"), "faulty", &[]);
    space.ok(&["plugin", "add", "faulty.so"]);
    space.model_of("bad", 1, &[crate::common::Tensor::new(1, "apply.segfault", &[40, 50])]);
    let id = "org.fusion.tests.faulty";
    space.write(
        "bad.fusion",
        format!("fusion 1\nuse plugin \"{id}\" as bad\nmodel a from \"bad\"\naverage m using bad.spread {{ from a }}\nsave m to \"out/bad\"\n"),
    );
    space.ok(&["lock", "bad.fusion"]);
    let done = space.fails(&["run", "bad.fusion", "--isolate", id], 4, "F0705");
    insta::assert_snapshot!(done.err, @r"
    error[F0705]: `org.fusion.tests.faulty.spread` of stage `m` failed: the plugin `org.fusion.tests.faulty` crashed in `apply` (signal 11, SIGSEGV)
     --> bad.fusion:4:17
      |
    4 | average m using bad.spread { from a }
      |                 ^^^^^^^^^^
      |
      = note: reported by the plugin org.fusion.tests.faulty 1.0.0
      = help: the rest of fusion is unharmed; what is finished is kept and the same command goes on: tell the plugin's author

    1 error in bad.fusion; `fusion explain F0705` says more
    ");
    assert!(!space.path("out/bad").exists());
    // A process of its own serves nobody else.
    let done = space.fails(&["plugin-host", "faulty.so"], 4, "F0705");
    assert!(done.err.contains("this command is for fusion itself"), "{}", done.err);
}
