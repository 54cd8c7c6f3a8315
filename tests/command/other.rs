//! The other commands: explain, methods, ast, completions, help.

use std::io::Write as _;
use std::process::Stdio;

use crate::common::{SOUP, Space};

#[test]
fn without_arguments_there_is_a_guide() {
    let done = Space::new().ok(&[]);
    assert!(
        done.out.contains("fusion plan  merge.fusion") && done.out.contains("A first recipe"),
        "{}",
        done.out
    );
    assert!(done.out.lines().count() < 30);
}

#[test]
fn help_documents_the_exit_codes() {
    let space = Space::new();
    assert!(space.ok(&["--help"]).out.contains("130  stopped by Ctrl-C"));
    assert!(space.ok(&["run", "--help"]).out.contains("--set keep=40%"));
    let done = space.fusion(&["rum"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("run"), "{}", done.err);
    for arguments in
        [&["run"][..], &["run", "x", "--set", "y"], &["run", "x", "--memory", "lots"], &["explain", "F9"]]
    {
        assert_eq!(space.fusion(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn codes_are_explained() {
    let space = Space::new();
    assert!(space.ok(&["explain", "f0203"]).out.starts_with("# F0203: the method has no such parameter"));
    let done = space.ok(&["explain", "--list"]);
    assert!(done.out.contains("  F0203  error    the method has no such parameter"), "{}", done.out);
}

#[test]
fn methods_are_listed_and_described() {
    let space = Space::new();
    let done = space.ok(&["methods"]);
    assert!(done.out.contains("average\n") && done.out.contains("linear"), "{}", done.out);
    // `linear` averages and connects: both have their page.
    let done = space.ok(&["methods", "linear"]);
    let (average, connect) = done.out.split_once("\nlinear  connect").unwrap();
    assert!(connect.contains("between  exactly 2"), "{connect}");
    insta::assert_snapshot!(average, @r"
    linear  average, version 1
      weighted average of models

    formula
      θ = Σ wᵢθᵢ / Σ wᵢ
      θ = Σ wᵢθᵢ with normalize = false

    inputs
      from  1 or more, each with settings of its own: the models to average

    parameters
      normalize: bool  default true, may vary over tensors and layers
          divide by the sum of the weights, so that only their ratios matter
      weight: number  default 1, per input, may vary over tensors and layers
          how much this model counts; any number, negative ones subtract (mergekit has no default and
          requires it)

    in a recipe
      average result using linear {
        from chat { weight = 1 }
        from code
        normalize = true
      }

    how it runs
      streams element by element

    source
      Utans, Weight averaging for neural networks and local resampling schemes, AAAI 1996 workshop;
      Wortsman et al., Model soups, ICML 2022
    ");
    let done = space.fails(&["methods", "linaer"], 1, "F0302");
    assert!(done.err.contains("did you mean `linear`?"), "{}", done.err);
    // A verb: its methods. `repair` is a verb and a method.
    let done = space.ok(&["methods", "align"]);
    assert!(done.out.contains("weight_matching") && !done.out.contains("average"), "{}", done.out);
    let done = space.ok(&["methods", "repair"]);
    assert!(done.out.contains("batch_norm") && done.out.contains("repair  repair, version"), "{}", done.out);
    let done = space.fails(&["methods", "distill"], 1, "F0302");
    assert!(done.err.contains("no method for `distill` yet"), "{}", done.err);
    let json: serde_json::Value = serde_json::from_str(&space.ok(&["methods", "--json"]).out).unwrap();
    assert!(json.as_array().unwrap().iter().any(|method| method["id"] == "stitch"));
}

#[test]
fn a_recipe_becomes_json_and_a_recipe_again() {
    let space = Space::new();
    space.write("soup.fusion", SOUP);
    let tree = space.ok(&["ast", "soup.fusion", "--json"]).out;
    space.write("soup.json", &tree);
    let again = space.ok(&["ast", "--from-json", "soup.json"]).out;
    assert_eq!(again, SOUP);
    let graph: serde_json::Value =
        serde_json::from_str(&space.ok(&["ast", "soup.fusion", "--graph"]).out).unwrap();
    assert_eq!(graph["graph"]["nodes"].as_array().unwrap().len(), 4);
    space.write("broken.json", "{\"edition\": true}");
    space.fails(&["ast", "--from-json", "broken.json"], 1, "F0103");
    for what in ["ast", "graph", "diagnostic", "method", "plugin"] {
        let schema: serde_json::Value =
            serde_json::from_str(&space.ok(&["ast", "--schema", what]).out).unwrap();
        assert!(schema["$schema"].is_string(), "{what}");
    }
}

#[test]
fn recipes_come_from_stdin_too() {
    let space = Space::new();
    space.soup();
    let mut child = space
        .command(&["run", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(SOUP.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(space.path("out/soup/model.safetensors").is_file());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let space = Space::new();
    let mut child =
        space.command(&["explain", "--list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn completions_name_the_commands() {
    let space = Space::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(space.ok(&["completions", shell]).out.contains("inspect"), "{shell}");
    }
}
