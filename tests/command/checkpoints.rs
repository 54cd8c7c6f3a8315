//! What `align` makes of checkpoints without a network, and what is said and written of it: widths, dtypes and configurations, when a stage
//! runs again, which inputs, stages and seeds are named; and what no result overwrites.

use std::collections::BTreeMap;
use std::fs;

use safetensors::tensor::Dtype;
use serde_json::Value as Json;

use crate::common::{Space, Tensor, load};

const NOTHING: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

/// A small Llama with this many hidden units: two layers, four heads of six.
fn llama(space: &Space, name: &str, seed: u64, hidden: usize, dtype: Dtype) {
    let mut all: Vec<(String, Vec<usize>)> = [
        ("model.embed_tokens.weight", vec![32, 24]),
        ("model.norm.weight", vec![24]),
        ("lm_head.weight", vec![32, 24]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .into();
    for layer in 0..2 {
        for (name, shape) in [
            ("self_attn.q_proj", vec![24, 24]),
            ("self_attn.k_proj", vec![12, 24]),
            ("self_attn.v_proj", vec![12, 24]),
            ("self_attn.o_proj", vec![24, 24]),
            ("input_layernorm", vec![24]),
            ("post_attention_layernorm", vec![24]),
            ("mlp.gate_proj", vec![hidden, 24]),
            ("mlp.up_proj", vec![hidden, 24]),
            ("mlp.down_proj", vec![24, hidden]),
        ] {
            all.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let tensors: Vec<Tensor> =
        all.iter().map(|(name, shape)| Tensor { dtype, ..Tensor::new(seed, name, shape) }).collect();
    space.model_of(name, 2, &tensors);
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_attention_heads": 4,
        "num_key_value_heads": 2, "hidden_size": 24, "head_dim": 6, "intermediate_size": hidden,
        "num_hidden_layers": 2, "vocab_size": 32, "tie_word_embeddings": false, "torch_dtype": "float32",
    });
    fs::write(space.path(name).join("config.json"), config.to_string()).unwrap();
    fs::write(space.path(name).join("tokenizer.json"), format!("\"of {name}\"")).unwrap();
}

fn json(space: &Space, name: &str) -> Json {
    serde_json::from_str(&space.read(name)).unwrap()
}

/// The metadata of an output.
fn metadata(space: &Space, name: &str) -> BTreeMap<String, String> {
    let bytes = fs::read(space.path(name)).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    header.metadata().clone().unwrap().into_iter().collect()
}

#[test]
fn models_of_other_widths_take_the_widths_of_the_reference() {
    let space = Space::new();
    llama(&space, "a", 1, 40, Dtype::F32);
    llama(&space, "w", 2, 44, Dtype::F32);
    for (from, to, hidden) in [("a", "w", 44), ("w", "a", 40)] {
        let recipe = format!(
            "fusion 1\nmodel a from \"a\"\nmodel w from \"w\"\nalign x using ot_fusion {{ reference {to}; from {from} }}\n\
             average m using mean {{ from [x, {to}] }}\nsave x to \"out/x\"\nsave m to \"out/m\"\n"
        );
        space.write("ot.fusion", recipe);
        space.ok(&["run", "ot.fusion", "--overwrite"]);
        let (x, m, reference) =
            (load(&space.path("out/x")), load(&space.path("out/m")), load(&space.path(to)));
        for (name, (_, shape, values)) in &reference {
            assert_eq!(x[name].1, *shape, "{name}");
            // Half a unit in the last place of f32 below 0.2.
            for ((found, own), theirs) in m[name].2.iter().zip(&x[name].2).zip(values) {
                assert!((found - (own + theirs) / 2.0).abs() < 1e-7, "{name}");
            }
        }
        for out in ["x", "m"] {
            let config = json(&space, &format!("out/{out}/config.json"));
            assert_eq!(config["intermediate_size"], hidden, "{out}");
        }
        // Its vocabulary is still its own.
        assert_eq!(space.read("out/x/tokenizer.json"), format!("\"of {from}\""));
    }
}

#[test]
fn an_aligned_average_keeps_its_dtype() {
    let space = Space::new();
    llama(&space, "a", 1, 40, Dtype::BF16);
    llama(&space, "b", 2, 40, Dtype::BF16);
    space.write(
        "chain.fusion",
        "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\naverage m using mean { from [a, b] }\n\
         align x using random_permutation { from m; seed = 3 }\n\
         align back using apply { from x; by x.alignment; inverse = true }\n\
         save m to \"out/m\"\nsave x to \"out/x\"\nsave back to \"out/back\"\n",
    );
    space.ok(&["run", "chain.fusion"]);
    let (m, back) = (load(&space.path("out/m")), load(&space.path("out/back")));
    assert!(m.values().all(|(dtype, ..)| *dtype == Dtype::BF16));
    assert_ne!(m, load(&space.path("out/x")));
    assert_eq!(m, back, "permutations move bits");
}

#[test]
fn a_stage_runs_again_when_its_symmetries_are_declared_otherwise() {
    let space = Space::new();
    llama(&space, "m", 1, 40, Dtype::F32);
    let run = |setting: &str| {
        space.write(
            "p.fusion",
            format!("fusion 1\nmodel m from \"m\"\nalign x using random_permutation {{ from m; seed = 7{setting} }}\nsave x to \"out\"\n"),
        );
        space.ok(&["run", "p.fusion", "--overwrite"]);
        let (old, new) = (load(&space.path("m")), load(&space.path("out")));
        old.keys().filter(|name| old[*name] != new[*name]).cloned().collect::<Vec<String>>()
    };
    let mlp = |layer: usize| {
        let name = |part: &str| format!("model.layers.{layer}.mlp.{part}_proj.weight");
        let text = format!(
            "node s[40]\n{} = s, pin[24]\n{} = s, pin[24]\n{} = pin[24], reads s\n",
            name("up"),
            name("gate"),
            name("down")
        );
        let mut moved = ["up", "gate", "down"].map(name).to_vec();
        moved.sort();
        (text, moved)
    };
    assert!(run("").len() > 10);
    for layer in [0, 1] {
        let (text, moved) = mlp(layer);
        space.write("m.symmetries", &text);
        assert_eq!(run(""), moved, "a declaration beside the checkpoint");
    }
    fs::remove_file(space.path("m.symmetries")).unwrap();
    for layer in [0, 1] {
        let (text, moved) = mlp(layer);
        space.write("own.symmetries", &text);
        assert_eq!(run("; symmetries = \"own.symmetries\""), moved, "a declaration of the stage");
    }
}

#[test]
fn records_and_cards_name_what_the_stages_before_have_read_and_drawn() {
    let space = Space::new();
    for (seed, name) in [(1, "a"), (2, "b"), (3, "u")] {
        llama(&space, name, seed, 40, Dtype::F32);
    }
    let models = "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\nmodel u from \"u\"\n";
    space.write(
        "aligned.fusion",
        format!(
            "{models}align x using weight_matching {{ reference a; from b; restarts = 2 }}\n\
             average m using mean {{ from [a, x] }}\naverage n using mean {{ from [a, u] }}\n\
             save m to \"out/m\"\nsave n to \"out/n\"\n"
        ),
    );
    space.write(
        "plain.fusion",
        format!("{models}average m using mean {{ from [a, b] }}\nsave m to \"out/plain\"\n"),
    );
    space.ok(&["run", "aligned.fusion"]);
    space.ok(&["run", "plain.fusion"]);
    // The hash of `b` is the same whoever reads it.
    let (aligned, plain) =
        (metadata(&space, "out/m/model.safetensors"), metadata(&space, "out/plain/model.safetensors"));
    for name in ["a", "b"] {
        let key = format!("fusion.input.{name}");
        assert_eq!(aligned[&key], plain[&key], "{key}");
    }
    let record = json(&space, "out/m/fusion.json")["record"].clone();
    let inputs = record["inputs"].as_array().unwrap();
    let mut names: Vec<&str> = inputs.iter().map(|input| input["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "x"]);
    assert!(inputs.iter().all(|input| input["hash"].as_str().is_some_and(|hash| hash != NOTHING)));
    assert!(!aligned.contains_key("fusion.input.u") && !plain.contains_key("fusion.input.u"));
    // What is not read is not named; what stages do is.
    let (card, other) = (space.read("out/m/README.md"), space.read("out/n/README.md"));
    assert!(card.contains("| `b` |") && !card.contains("| `u` |"), "{card}");
    assert!(
        !other.contains("| `b` |") && other.contains("| `u` |") && !other.contains("align x:"),
        "{other}"
    );
    let line = card.lines().find(|line| line.contains("align x: weight_matching")).expect("the stage");
    assert!(line.contains("restarts 2") && line.contains("start best"), "{line}");
    let seed = line.rsplit_once("seed ").expect("a seed").1;
    assert!(card.contains(&format!("- x: {seed}\n")), "{card}");
    let settings = record["settings"].to_string();
    assert!(settings.contains("weight_matching") && settings.contains(&format!("seed {seed}")), "{settings}");
    // The plan says the same beforehand.
    let plan = space.ok(&["plan", "aligned.fusion"]).out;
    assert!(plan.contains(&format!("seed {seed}")) && plan.contains("restarts 2"), "{plan}");
    assert!(plan.contains("out/m  cached"), "{plan}");
    // An input that an output does not read does not make it run again.
    llama(&space, "u", 4, 40, Dtype::F32);
    let plan = space.fusion(&["plan", "aligned.fusion", "--overwrite"]).out;
    assert!(plan.contains("out/m  cached") && plan.contains("out/n  run: files of `u` changed"), "{plan}");
    llama(&space, "b", 4, 40, Dtype::F32);
    let plan = space.fusion(&["plan", "aligned.fusion", "--overwrite"]).out;
    assert!(plan.contains("out/m  run: files of `b` changed"), "{plan}");
}

#[test]
fn an_aligned_tensor_is_explained_back_to_its_inputs() {
    let space = Space::new();
    llama(&space, "a", 1, 40, Dtype::F32);
    llama(&space, "b", 2, 40, Dtype::F32);
    space.write(
        "x.fusion",
        "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\nalign x using weight_matching { reference a; from b; seed = 5 }\nsave x to \"out\"\n",
    );
    let out = space.ok(&["explain", "x.fusion", "--tensor", "model.layers.0.mlp.up_proj.weight"]).out;
    for part in ["made by x (align weight_matching) from a, b", "units", "seed", "stored in a", "stored in b"]
    {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
}

#[test]
fn what_is_saved_never_replaces_an_input_nor_unasked_another_result() {
    let space = Space::new();
    llama(&space, "a", 1, 40, Dtype::F32);
    llama(&space, "b", 2, 40, Dtype::F32);
    let recipe = |seed: u64, rest: &str| {
        space.write(
            "s.fusion",
            format!(
                "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\n\
                 align x using random_permutation {{ from b; seed = {seed} }}\n{rest}\n"
            ),
        );
    };
    recipe(1, "save x.alignment to \"kept.json\"");
    space.ok(&["run", "s.fusion"]);
    let (model, kept) = (fs::read(space.path("a/model.safetensors")).unwrap(), space.read("kept.json"));
    space.write("own.symmetries", "node s[40]\nmodel.layers.0.mlp.up_proj.weight = s, pin[24]\n");
    for rest in [
        "save x.alignment to \"a/model.safetensors\"",
        "save x.alignment to \"b/config.json\"",
        "save x.alignment to \"b/../a/tokenizer.json\"",
        "save x to \"a\"",
        "align y using apply { from b; stored = \"kept.json\" }\nsave x.alignment to \"kept.json\"",
        "align y using apply { from b; stored = \"kept.json\" }\nreport [y] to \"kept.json\"",
        "report [x] to \"a\"",
    ] {
        recipe(1, rest);
        let done = space.fusion(&["run", "s.fusion", "--overwrite"]);
        assert_eq!(done.code, 1, "{rest}\n{}{}", done.out, done.err);
        assert!(done.err.contains("[F0504]"), "{rest}\n{}", done.err);
    }
    assert_eq!(fs::read(space.path("a/model.safetensors")).unwrap(), model);
    assert_eq!(space.read("kept.json"), kept);
    // The same result may be written again, another only when asked.
    recipe(1, "save x.alignment to \"kept.json\"");
    space.ok(&["run", "s.fusion"]);
    recipe(2, "save x.alignment to \"kept.json\"");
    space.fails(&["run", "s.fusion"], 1, "F0501");
    assert_eq!(space.read("kept.json"), kept);
    space.ok(&["run", "s.fusion", "--overwrite"]);
    assert_ne!(space.read("kept.json"), kept);
}

#[test]
fn a_budget_that_is_too_small_is_told_before_the_stages_run() {
    let space = Space::new();
    llama(&space, "b", 2, 40, Dtype::F32);
    space.write(
        "m.fusion",
        "fusion 1\nmodel b from \"b\"\nalign x using random_permutation { from b; seed = 1 }\nsave x to \"out\"\n",
    );
    let done = space.fails(&["run", "m.fusion", "--memory", "1KB"], 3, "F0508");
    assert!(
        !done.out.contains("align") && !done.err.contains("random_permutation"),
        "{}{}",
        done.out,
        done.err
    );
    let plan = space.ok(&["plan", "m.fusion"]).out;
    assert!(plan.contains("1 stage on networks would run"), "{plan}");
}

#[test]
fn an_output_follows_the_tokenizer_that_it_copies() {
    let space = Space::new();
    llama(&space, "a", 1, 40, Dtype::F32);
    llama(&space, "b", 2, 40, Dtype::F32);
    space.write(
        "t.fusion",
        "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\naverage m using mean { from [a, b] }\nsave m to \"out/m\"\n",
    );
    space.ok(&["run", "t.fusion"]);
    let done = space.ok(&["run", "t.fusion"]);
    assert!(done.out.contains("unchanged, not run again"), "{}", done.out);
    let copied = space.read("out/m/tokenizer.json");
    for (name, other) in [("a", "b"), ("b", "a")] {
        if copied == format!("\"of {name}\"") {
            // Not of the model whose tokenizer it has, and then of that.
            fs::write(space.path(other).join("tokenizer.json"), "\"other\"").unwrap();
            let done = space.ok(&["run", "t.fusion"]);
            assert!(done.out.contains("unchanged, not run again"), "{}", done.out);
            fs::write(space.path(name).join("tokenizer.json"), "\"changed\"").unwrap();
        }
    }
    space.ok(&["run", "t.fusion", "--overwrite"]);
    assert_eq!(space.read("out/m/tokenizer.json"), "\"changed\"");
}

#[test]
fn a_recipe_is_not_replaced_by_its_result() {
    let space = Space::new();
    let recipe = "fusion 1\nmodel a of mlp(2, [3], 2) { seed = 1 }\nalign b using random_permutation { from a; seed = 2 }\n\
                  save b.alignment to \"./p.fusion\"\n";
    space.write("p.fusion", recipe);
    let done = space.fails(&["run", "p.fusion", "--overwrite"], 1, "F0504");
    assert!(done.err.contains("the input `p.fusion`"), "{}", done.err);
    assert_eq!(space.read("p.fusion"), recipe);
}

#[test]
fn a_saved_path_is_replaced_by_its_own_result_only() {
    let space = Space::new();
    let recipe = |seed: u64, rest: &str| {
        space.write(
            "p.fusion",
            format!(
                "fusion 1\nmodel a of mlp(2, [3], 2) {{ seed = 1 }}\nmodel b of mlp(2, [3], 2) {{ seed = {seed} }}\n\
                 connect line using linear {{ between a and b }}\n{rest}\n"
            ),
        );
    };
    recipe(2, "save line to \"line\"");
    space.ok(&["run", "p.fusion"]);
    space.ok(&["run", "p.fusion"]);
    let first = space.read("line/path.json");
    recipe(3, "save line to \"line\"");
    space.fails(&["run", "p.fusion"], 1, "F0501");
    // First weights that a network takes over are an input, too.
    recipe(
        3,
        "model c of mlp(2, [3], 2) from \"line/point-00.safetensors\"\nsave line to \"line\"\nsave c to \"c\"",
    );
    space.fails(&["run", "p.fusion", "--overwrite"], 1, "F0504");
    assert_eq!(space.read("line/path.json"), first);
    recipe(3, "save line to \"line\"");
    space.ok(&["run", "p.fusion", "--overwrite"]);
    assert_ne!(space.read("line/path.json"), first);
}
