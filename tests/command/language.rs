//! What stages say of layers, first weights and data: `frozen`, `init`, data sets made of others; and names that are recipes.

use crate::common::{Space, load};

const RECIPE: &str = r#"fusion 1
data fours  from "digits:train" { samples = 400; only = [4]; flatten = true }
data others from "digits:train" { samples = 400; limit = 60; flatten = true }
data all    from [fours, others]
model a of mlp(784, [12, 10], 10, norm: batch) { seed = 1; init = he }
train run using adamw {
  start a
  data all
  epochs       = 2
  batch        = 20
  weight_decay = 0.1
  frozen       = ["layers.0", "norms.0.*", "layers.2.bias"]
  seed         = 1
  collect smooth { recorder = ema; decay = 0.5 }
  collect steps  { every = 1 step }
}
average mean using mean { from run.steps }
save a to "out/a.safetensors"
save run to "out/run.safetensors"
save run.smooth to "out/smooth.safetensors"
save mean to "out/mean.safetensors"
"#;

#[test]
fn frozen_layers_stay_bit_by_bit() {
    let space = Space::new();
    space.write("r.fusion", RECIPE);
    // 40 fours and 60 others in batches of 20: 10 steps.
    for (index, ends) in [(9, 0), (10, 1)] {
        let one = format!("from run.steps[{index}] }}");
        space.write("count.fusion", RECIPE.replace("from run.steps }", &one));
        let done = space.fusion(&["plan", "count.fusion"]);
        assert_eq!(done.code, ends, "{}", done.err);
    }
    space.ok(&["run", "r.fusion"]);
    let first = load(&space.path("out/a.safetensors"));
    // He's biases are zero, and the variance is 2/784: within five standard deviations of √(2/n)·v.
    assert!(first["layers.0.bias"].2.iter().all(|value| *value == 0.0));
    let weights = &first["layers.0.weight"].2;
    let variance = weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64;
    assert!((variance * 392.0 - 1.0).abs() < 5.0 * (2.0 / weights.len() as f64).sqrt(), "{variance}");
    for name in ["run", "smooth"] {
        let trained = load(&space.path(&format!("out/{name}.safetensors")));
        for (tensor, (_, _, values)) in trained.iter().filter(|(tensor, _)| !tensor.ends_with("tracked")) {
            let frozen = tensor.starts_with("layers.0.")
                || tensor.starts_with("norms.0.")
                || tensor == "layers.2.bias";
            assert_eq!(*values == first[tensor].2, frozen, "{tensor} of {name}");
        }
    }
    // What is frozen is part of the key, and so are the first weights.
    let line = |text: &str| {
        space.write("r.fusion", text);
        let done = space.ok(&["run", "r.fusion", "--overwrite"]);
        let found = done.err.lines().find(|line| line.starts_with("run ")).map(str::to_owned);
        found.unwrap_or_else(|| done.err.clone())
    };
    let other = line(&RECIPE.replace("\"norms.0.*\", ", ""));
    assert!(!other.contains("unchanged"), "{other}");
    let other = line(&RECIPE.replace("init = he", "init = xavier"));
    assert!(!other.contains("unchanged"), "{other}");
}

#[test]
fn what_does_not_fit_is_said_before_anything_runs() {
    let space = Space::new();
    let frozen = "[\"layers.0\", \"norms.0.*\", \"layers.2.bias\"]";
    let cases = [
        (frozen, "[\"layer.0\"]", "did you mean `layers.0`?"),
        (frozen, "[\"layers.0.wieght\"]", "did you mean `layers.0.weight`?"),
        (frozen, "[\"**\"]", "`frozen` leaves nothing to learn"),
        (frozen, "[\"layers.[0\"]", "`[` is never closed"),
        (frozen, "\"layers.0\"", "`frozen` takes a list"),
        ("init = he", "init = hee", "`init` has no choice `hee`"),
        (
            "mlp(784, [12, 10], 10, norm: batch)",
            "lstm(input: [1, 28, 28], outputs: 10)",
            "`init = he` is for linear layers",
        ),
        (
            "limit = 60; flatten = true",
            "limit = 60",
            "`others` cannot stand behind `fours`: an example is [1, 28, 28]",
        ),
        (
            "[fours, others]",
            "[fours, others] { flatten = true }",
            "data made of other data do not take this setting",
        ),
        ("[fours, others]", "[fours, others] { only = [11] }", "there is no class 11"),
    ];
    for (from, to, says) in cases {
        assert!(RECIPE.contains(from), "{from}");
        space.write("r.fusion", RECIPE.replace(from, to));
        let done = space.fusion(&["plan", "r.fusion"]);
        let text = done.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(says), "{to}: {}", done.err);
        assert_ne!(done.code, 0);
    }
    for word in ["usual", "pytorch", "he", "xavier"] {
        space.write("r.fusion", RECIPE.replace("init = he", &format!("init = {word}")));
        space.ok(&["plan", "r.fusion"]);
    }
    // Nothing frozen is nothing asked for.
    space.write("r.fusion", RECIPE.replace(frozen, "[]"));
    space.ok(&["plan", "r.fusion"]);
}

#[test]
fn names_that_are_recipes_are_shown_them() {
    let space = Space::new();
    let done = space.fusion(&["methods", "fedma"]);
    assert_ne!(done.code, 0);
    assert!(
        done.err.contains("`pfnm` layer by layer") && done.err.contains("x-al7-fedma.fusion"),
        "{}",
        done.err
    );
    let text = "fusion 1\nmodel a from \"a\"\nalign b using neuron_alignment { from a }\nsave b to \"b\"\n";
    space.write("r.fusion", text);
    let done = space.fusion(&["check", "r.fusion"]);
    assert!(done.err.contains("`neuron_alignment` is a recipe"), "{}", done.err);
}
