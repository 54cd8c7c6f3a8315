//! What goes wrong with `align`, and what it takes in from elsewhere: exit codes by kind, before anything runs where that is possible, with
//! the model, the tensor, the file that it is about.

use std::fs;

use crate::common::{Done, Space, Tensor, load, safetensors};

/// Two layers with units between them.
fn tensors(seed: u64, units: usize) -> Vec<Tensor> {
    vec![
        Tensor::new(seed, "up.weight", &[units, 4]),
        Tensor::new(seed, "down.weight", &[3, units]),
        Tensor::new(seed, "other.weight", &[5]),
    ]
}

/// Writes a checkpoint with its symmetries beside it.
fn put(space: &Space, name: &str, tensors: &[Tensor]) {
    space.write(&format!("{name}.safetensors"), safetensors(tensors));
    let units = tensors[0].shape[0];
    let bias = if tensors.iter().any(|tensor| tensor.name == "up.bias") { "up.bias = h\n" } else { "" };
    let text = format!("node h[{units}]\nup.weight = h, reads pin[4]\n{bias}down.weight = pin[3], reads h\n");
    space.write(&format!("{name}.symmetries"), text);
}

fn pair() -> Space {
    let space = Space::new();
    put(&space, "a", &tensors(1, 6));
    put(&space, "b", &tensors(2, 6));
    put(&space, "c", &tensors(3, 6));
    put(&space, "w", &tensors(4, 9));
    space
}

fn recipe(space: &Space, rest: &str) {
    let models: Vec<String> = ["a", "b", "c", "w", "n"]
        .into_iter()
        .filter(|name| space.path(&format!("{name}.safetensors")).exists())
        .map(|name| format!("model {name} from \"{name}.safetensors\"\n"))
        .collect();
    space.write("r.fusion", format!("fusion 1\n{}{rest}", models.concat()));
}

/// Checks a recipe, which must fail so.
fn refused(space: &Space, rest: &str, code: i32, diagnostic: &str) -> Done {
    recipe(space, rest);
    space.fails(&["check", "r.fusion"], code, diagnostic)
}

#[test]
fn several_models_have_an_alignment_each() {
    let space = pair();
    recipe(
        &space,
        "align s using random_permutation { from [a, b]; seed = 2 }
align y using apply { from s.models; by s.alignment; inverse = true }
save s.models[1] to \"out/sb.safetensors\"
save y.models[0] to \"out/a.safetensors\"
save y.models[1] to \"out/b.safetensors\"
save s.alignment to \"out/s.json\"
",
    );
    space.ok(&["run", "r.fusion"]);
    let moved = load(&space.path("out/sb.safetensors"));
    for name in ["a", "b"] {
        // Bit by bit: what was moved by its own permutation is moved back by the same.
        let file = format!("{name}.safetensors");
        assert_eq!(load(&space.path(&format!("out/{file}"))), load(&space.path(&file)), "{name}");
    }
    assert_ne!(moved, load(&space.path("b.safetensors")));

    // The file has both, and so has one of them alone, as it was written at first.
    let kept: serde_json::Value = serde_json::from_str(&space.read("out/s.json")).unwrap();
    assert_eq!(kept["format"], "fusion-alignment");
    let of: Vec<&str> =
        kept["alignments"].as_array().unwrap().iter().map(|one| one["model"].as_str().unwrap()).collect();
    assert_eq!(of, ["a", "b"]);
    space.write("one.json", kept["alignments"][1]["alignment"].to_string());
    recipe(
        &space,
        "align y using apply { from [a, b]; stored = \"out/s.json\" }
align z using apply { from b; stored = \"one.json\" }
save y.models[1] to \"out/yb.safetensors\"
save z to \"out/z.safetensors\"
",
    );
    space.ok(&["run", "r.fusion"]);
    assert_eq!(load(&space.path("out/yb.safetensors")), moved);
    assert_eq!(load(&space.path("out/z.safetensors")), moved);

    let two = "align s using random_permutation { from [a, b]; seed = 2 }\n";
    let one_each = |models: &str, code: &str, word: &str| {
        let done = refused(
            &space,
            &format!("{two}align y using apply {{ from {models}; by s.alignment }}"),
            1,
            code,
        );
        assert!(done.err.contains(word) && done.err.contains("of `b` by `s`"), "{}", done.err);
    };
    one_each("[a, b, c]", "F0308", "2 alignments for 3 models");
    one_each("a", "F0307", "2 alignments for 1 models");
}

#[test]
fn values_that_are_not_finite_name_model_and_tensor() {
    let space = pair();
    let mut bad = tensors(5, 6);
    bad[0].values[3] = f64::NAN;
    put(&space, "n", &bad);
    let matched = "align x using weight_matching { reference a; from n }\nsave x to \"out/x.safetensors\"";
    recipe(&space, matched);
    for arguments in [&["run", "r.fusion"][..], &["run", "r.fusion", "--allow-non-finite"]] {
        let done = space.fails(arguments, 1, "F0601");
        assert!(done.err.contains("`up.weight` of `n`: 1 NaN, 0 infinite"), "{}", done.err);
        assert!(
            done.err.contains("--allow-non-finite") && done.err.contains("weight_matching"),
            "{}",
            done.err
        );
    }
    // A method that reads no values moves them, if it may.
    recipe(&space, "align x using random_permutation { from n; seed = 2 }\nsave x to \"out/x.safetensors\"");
    let done = space.fails(&["run", "r.fusion"], 1, "F0601");
    assert!(done.err.contains("`up.weight` of `n`: 1 NaN, 0 infinite"), "{}", done.err);
    space.ok(&["run", "r.fusion", "--allow-non-finite"]);
    let nan = |values: &[f64]| values.iter().filter(|value| value.is_nan()).count();
    assert_eq!(nan(&load(&space.path("out/x.safetensors"))["up.weight"].2), 1);

    // So does one that reads others.
    let mut bad = tensors(5, 6);
    bad[2].values[1] = f64::INFINITY;
    put(&space, "n", &bad);
    recipe(&space, matched);
    let done = space.fails(&["run", "r.fusion", "--overwrite"], 1, "F0601");
    assert!(done.err.contains("`other.weight` of `n`: 0 NaN, 1 infinite"), "{}", done.err);
    space.ok(&["run", "r.fusion", "--overwrite", "--allow-non-finite"]);
    assert_eq!(load(&space.path("out/x.safetensors"))["other.weight"].2[1], f64::INFINITY);
}

#[test]
fn mistakes_of_the_recipe_are_told_from_those_of_the_machine() {
    let space = pair();
    // The recipe's, alone and with another.
    let start = "align x using weight_matching { reference a; from b; start = activations";
    refused(&space, &format!("{start} }}"), 1, "F0606");
    refused(&space, &format!("{start}; sweeps = 0 }}"), 1, "F0204");
    // Files.
    fs::write(space.path("cut.json"), "{\"from\": \"12").unwrap();
    let done = refused(&space, "align x using apply { from b; stored = \"cut.json\" }", 3, "F0511");
    assert!(done.err.contains("cut.json") && done.err.contains("save NAME.alignment"), "{}", done.err);
    let done = refused(
        &space,
        "align x using random_permutation { from b; symmetries = \"none.symmetries\" }",
        3,
        "F0511",
    );
    assert!(done.err.contains("none.symmetries"), "{}", done.err);
    // The cache folder is tried before the search.
    recipe(
        &space,
        "align x using random_permutation { from b; seed = 2 }\nsave x.alignment to \"file/x.json\"",
    );
    space.write("file", "no folder");
    let output =
        space.command(&["run", "r.fusion"]).env("FUSION_CACHE", space.path("file")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for word in ["F0505", "the cache folder", "/file", "$FUSION_CACHE"] {
        assert!(said.contains(word), "{word} is missing:\n{said}");
    }
    // An alignment that cannot be written, and a report.
    let done = space.fusion(&["run", "r.fusion"]);
    assert_eq!(done.code, 3, "{}", done.err);
    assert!(done.err.contains("[F05") && done.err.contains("file/x.json"), "{}", done.err);
    fs::create_dir(space.path("taken")).unwrap();
    space.write("taken/mine.txt", "mine");
    recipe(&space, "align x using random_permutation { from b; seed = 2 }\nreport x to \"taken\"");
    let done = space.fusion(&["run", "r.fusion"]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.contains("F0501") && done.err.contains("taken"), "{}", done.err);
}

#[test]
fn weights_of_another_shape_are_found_by_a_check() {
    let space = Space::new();
    let weights = |units: usize| {
        safetensors(&[
            Tensor::new(1, "layers.0.weight", &[units, 4]),
            Tensor::new(1, "layers.0.bias", &[units]),
            Tensor::new(1, "layers.1.weight", &[3, units]),
            Tensor::new(1, "layers.1.bias", &[3]),
        ])
    };
    space.write("net.safetensors", weights(6));
    space.write("r.fusion", "fusion 1\nmodel f of mlp(4, [6], 3) from \"net.safetensors\"\nalign x using random_permutation { from f; seed = 1 }\nsave x to \"out/x.safetensors\"");
    space.ok(&["check", "r.fusion"]);
    space.write("net.safetensors", weights(5));
    let done = space.fails(&["check", "r.fusion"], 1, "F0403");
    assert!(done.err.contains("layers.0.weight") && done.err.contains("[5, 4]"), "{}", done.err);
}

#[test]
fn an_alignment_for_other_models_is_refused_before_anything_runs() {
    let space = pair();
    recipe(
        &space,
        "align s using random_permutation { from a; seed = 2 }
align t using ot_fusion { reference a; from w }
align y using apply { from w; by t.alignment }
save s.alignment to \"out/s.json\"
save t.alignment to \"out/t.json\"
save t to \"out/t.safetensors\"
save y to \"out/y.safetensors\"
",
    );
    space.ok(&["run", "r.fusion"]);
    // Between widths: it does again what it was found for.
    let fused = load(&space.path("out/t.safetensors"));
    assert_eq!(fused["up.weight"].1, [6, 4]);
    assert_eq!(load(&space.path("out/y.safetensors")), fused);
    recipe(
        &space,
        "align y using apply { from w; stored = \"out/t.json\" }\nsave y to \"out/z.safetensors\"",
    );
    space.ok(&["run", "r.fusion"]);
    assert_eq!(load(&space.path("out/z.safetensors")), fused);

    let sizes = "`h`: 6 units in the alignment, 9 in `w`";
    let done = refused(&space, "align y using apply { from w; stored = \"out/s.json\" }", 1, "F0415");
    assert!(done.err.contains(sizes), "{}", done.err);
    let done = refused(
        &space,
        "align s using random_permutation { from a; seed = 2 }\nalign y using apply { from w; by s.alignment }",
        1,
        "F0415",
    );
    assert!(done.err.contains(sizes) && done.err.contains("of `a` by `s`"), "{}", done.err);
    let done = refused(
        &space,
        "align y using apply { from a; stored = \"out/t.json\"; inverse = true }",
        1,
        "F0415",
    );
    assert!(done.err.contains("cannot be undone: it makes 6 units of 9 in `h`"), "{}", done.err);
    // Names count too.
    let renamed = space.read("out/s.json").replace("\"h\"", "\"g\"");
    space.write("renamed.json", renamed);
    let done = refused(&space, "align y using apply { from a; stored = \"renamed.json\" }", 1, "F0415");
    assert!(done.err.contains("it has the units `g`"), "{}", done.err);
}

#[test]
fn models_with_other_tensors_say_which() {
    let space = pair();
    let mut biased = tensors(5, 6);
    biased.push(Tensor::new(5, "up.bias", &[6]));
    put(&space, "n", &biased);
    let done = refused(&space, "align x using weight_matching { reference a; from n }", 1, "F0415");
    assert!(done.err.contains("`n` has `up.bias`, and `a` has not"), "{}", done.err);
}

#[test]
fn a_single_example_is_no_data_for_repair() {
    let space = Space::new();
    let text = |samples: usize| {
        format!(
            "fusion 1
data t from \"gaussians\" {{ samples = {samples}; classes = 3; dims = 6 }}
model a of mlp(6, [12], 3) {{ seed = 1 }}
model b of mlp(6, [12], 3) {{ seed = 2 }}
average m using mean {{ from [a, b] }}
repair r using repair {{ from m; endpoints [a, b]; data t }}
save r to \"out/r.safetensors\"
"
        )
    };
    space.write("r.fusion", text(1));
    let done = space.fails(&["check", "r.fusion"], 1, "F0606");
    assert!(done.err.contains("a single example") && done.err.contains("at least 2"), "{}", done.err);
    space.write("r.fusion", text(12));
    space.ok(&["run", "r.fusion"]);
}
