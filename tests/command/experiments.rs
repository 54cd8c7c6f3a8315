//! Recipes that train and measure: results, caching, verdicts, resuming, and that threads change nothing.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::common::{Space, load};

/// Two small networks, the line between them and its barrier; a fraction of a second.
const LINE: &str = r#"fusion 1

# A line between two networks.

data train_set from "digits:train" { samples = 600; seed = 1; flatten = true }
data test_set  from "digits:test"  { samples = 300; seed = 1; flatten = true }

model a of mlp(inputs: 784, hidden: [24, 24], outputs: 10) { seed = 1 }
model b of mlp(inputs: 784, hidden: [24, 24], outputs: 10) { seed = 2 }

train net_a using adam { start a; data train_set; epochs = 8; batch = 100; rate = 3e-3; seed = 1 }
train net_b using adam {
  start b
  data  train_set
  epochs = 8
  batch  = 100
  rate   = 3e-3
  seed   = 2
  collect late { every = 1 epoch; after = 5 epochs }
  collect swa  { recorder = swa; every = 1 epoch; after = 5 epochs }
}

connect line using linear { between net_a and net_b }
average middle using point { path line; at = 50% }
average late   using mean { from net_b.late }

evaluate barrier using barrier { path line; data test_set; points = 5 }
evaluate scores  using accuracy { from [net_a, net_b, middle, late, net_b.swa]; data test_set }

expect scores.net_a > 50%
expect barrier.loss.height > 0
expect scores.middle < scores.net_a

report [barrier, scores] to "out/report"
save late to "out/late"
save net_b to "out/net_b.safetensors"
"#;

fn facts(space: &Space) -> serde_json::Value {
    serde_json::from_str(&space.read("out/report/report.json")).unwrap()
}

#[test]
fn stages_that_compute_the_same_run_once() {
    let space = Space::new();
    space.write(
        "twice.fusion",
        r#"fusion 1
data t from "digits:train" { samples = 200; seed = 1; flatten = true }
model a of mlp(784, [16], 10) { seed = 1 }
train one   using adam { start a; data t; epochs = 2; batch = 50; seed = 1 }
train two   using adam { start a; data t; epochs = 2; batch = 50; seed = 1 }
train three using adam { start a; data t; epochs = 2; batch = 50; seed = 1 }
evaluate scores using accuracy { from [one, two, three]; data t }
expect scores.one == scores.two and scores.two == scores.three
"#,
    );
    let done = space.ok(&["run", "twice.fusion", "--threads", "4"]);
    assert_eq!(done.err.matches("unchanged").count(), 2, "{}", done.err);
}

#[test]
fn an_experiment_runs_reports_and_is_remembered() {
    let space = Space::new();
    space.write("line.fusion", LINE);
    let done = space.ok(&["run", "line.fusion"]);
    assert!(done.out.contains("holds  scores.net_a > 50%"), "{}", done.out);
    assert!(done.err.contains("net_a            train adam"), "{}", done.err);
    for name in ["index.html", "report.json", "plots", "tables"] {
        assert!(space.names("out/report").iter().any(|other| other == name), "{name} is missing");
    }
    let page = space.read("out/report/index.html");
    assert!(page.contains("A line between two networks") && page.contains("<svg"), "{page}");
    // The mean of the snapshots, by another way: the recorder's running mean sees the same models.
    let report = facts(&space);
    let fact =
        |name: &str| report["report"]["facts"][name].as_f64().or(report["facts"][name].as_f64()).unwrap();
    assert!((fact("scores.late") - fact("scores.net_b.swa")).abs() < 0.011, "{report}");
    // A trained network is a checkpoint as PyTorch names it.
    let tensors = load(&space.path("out/net_b.safetensors"));
    assert_eq!(tensors["layers.0.weight"].1, [24, 784]);
    let again = space.ok(&["run", "line.fusion"]);
    assert!(
        again.err.contains("unchanged") && again.out.contains("unchanged, not run again"),
        "{}",
        again.err
    );
    // Another last stage does not train again.
    space.write("line.fusion", LINE.replace("points = 5", "points = 7"));
    let third = space.ok(&["run", "line.fusion"]);
    let line = |name: &str| third.err.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("net_a").contains("unchanged") && !line("barrier").contains("unchanged"), "{}", third.err);
}

#[test]
fn threads_change_nothing() {
    let one = Space::new();
    let two = Space::new();
    for (space, threads) in [(&one, "1"), (&two, "3")] {
        space.write("line.fusion", LINE);
        space.ok(&["run", "line.fusion", "--threads", threads]);
    }
    let bytes = |space: &Space| std::fs::read(space.path("out/net_b.safetensors")).unwrap();
    assert_eq!(load(&one.path("out/net_b.safetensors")), load(&two.path("out/net_b.safetensors")));
    assert_eq!(bytes(&one).len(), bytes(&two).len());
    // Everything that was measured, but the time that it took.
    let measured = |space: &Space| {
        let mut facts = facts(space)["facts"].as_object().unwrap().clone();
        facts.retain(|name, _| !name.ends_with(".seconds"));
        facts
    };
    assert!(measured(&one) == measured(&two), "another number of threads gives other values");
}

#[test]
fn an_expectation_that_fails_ends_with_one_and_names_the_values() {
    let space = Space::new();
    space.write("line.fusion", LINE.replace("scores.net_a > 50%", "scores.net_a > 100% + 1%"));
    let done = space.fusion(&["run", "line.fusion"]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.out.contains("fails  scores.net_a > 100% + 1%   (scores.net_a 0."), "{}", done.out);
    // What was asked for is there all the same.
    assert!(space.path("out/report/index.html").is_file() && space.path("out/late").is_dir());
}

/// Mistakes that cost nothing: they are found before anything runs.
#[test]
fn mistakes_are_found_before_anything_is_trained() {
    let space = Space::new();
    let cases = [
        ("inputs: 784", "inputs: 100", "F0423"),
        ("outputs: 10) { seed = 2 }", "outputs: 12) { seed = 2 }", "F0415"),
        ("epochs = 8", "epochs = 8; early_stopping = 2 epochs", "F0606"),
        ("after = 5 epochs }\n  collect swa", "after = 50 epochs }\n  collect swa", "F0606"),
        ("digits:train", "digitz:train", "F0512"),
        ("hidden: [24, 24]", "hiden: [24, 24]", "F0203"),
        ("expect scores.middle <", "expect scores.midle <", "F0315"),
        ("expect barrier.loss.height", "expect barrier.loss.hight", "F0315"),
    ];
    for (from, to, code) in cases {
        assert!(LINE.contains(from), "{from}");
        space.write("line.fusion", LINE.replace(from, to));
        let done = space.fusion(&["plan", "line.fusion"]);
        assert!(done.err.contains(code), "{to}: {}", done.err);
        assert_ne!(done.code, 0);
    }
    // What does not fit into the training's time, and a map of what is no plane.
    let small = "fusion 1\ndata d from \"spirals\" { samples = 45; seed = 1 }\nmodel m of mlp(inputs: 2, hidden: [4], outputs: 2) { seed = 1 }\n";
    for (stages, says) in [
        (
            "connect pair using instability { start m; data d; after = 3 epochs; epochs = 2; batch = 10; seed = 1 }",
            "after 15 steps of a training of 10",
        ),
        (
            "connect arms using subspace { start m; data d; shape = simplex; steps = 2; seed = 1 }\n\
             evaluate map using landscape { path arms; data d }",
            "connect NAME using plane",
        ),
    ] {
        space.write("small.fusion", format!("{small}{stages}\n"));
        let done = space.fails(&["plan", "small.fusion"], 1, "F0606");
        assert!(done.err.contains(says), "{}", done.err);
    }
    let normed = LINE.replace("outputs: 10)", "outputs: 10, norm: batch)");
    space.write("line.fusion", normed);
    let done = space.fails(&["plan", "line.fusion"], 1, "F0422");
    assert!(done.err.contains("norm = reset"), "{}", done.err);
}

/// Killed in the middle of a training, the same command goes on and ends with the same weights.
#[test]
fn a_training_that_is_killed_goes_on_with_the_same_result() {
    let recipe = r#"fusion 1

data train_set from "digits:train" { samples = 2000; seed = 1; flatten = true }
model a of mlp(inputs: 784, hidden: [64], outputs: 10) { seed = 1 }
train net using sgd { start a; data train_set; epochs = 40; batch = 20; rate = 0.05; seed = 1 }
save net to "out/net.safetensors"
"#;
    let space = Space::new();
    let whole = Space::new();
    for space in [&space, &whole] {
        space.write("r.fusion", recipe);
    }
    let mut child = space
        .command(&["run", "r.fusion", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if line.contains("\"training\"") {
            break;
        }
    }
    // SIGTERM is Ctrl-C: what is done is kept.
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!space.path("out").exists());
    space.ok(&["run", "r.fusion"]);
    whole.ok(&["run", "r.fusion"]);
    assert_eq!(load(&space.path("out/net.safetensors")), load(&whole.path("out/net.safetensors")));
}

#[test]
fn data_sets_are_listed() {
    let space = Space::new();
    let done = space.ok(&["data", "list"]);
    assert!(done.out.contains("digits") && done.out.contains("built in"), "{}", done.out);
    let done = space.fusion(&["data", "fetch", "nothing", "--to", "here"]);
    assert_ne!(done.code, 0);
    assert!(done.err.contains("nothing"), "{}", done.err);
}
