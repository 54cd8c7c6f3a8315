//! `align` end to end: networks are matched, proved and merged, alignments kept and used again, checkpoints without a network streamed;
//! and what cannot be aligned says why before anything runs.

use std::fs;

use crate::common::{Space, load};

/// Two small networks that were trained apart.
const NETS: &str = r#"fusion 1

data train_set from "digits:train" { samples = 600; seed = 1; flatten = true }
data test_set  from "digits:test"  { samples = 300; seed = 1; flatten = true }
model a of mlp(inputs: 784, hidden: [48, 48], outputs: 10) { seed = 1 }
model b of mlp(inputs: 784, hidden: [48, 48], outputs: 10) { seed = 2 }
train net_a using adam { start a; data train_set; epochs = 6; batch = 100; rate = 3e-3; seed = 1 }
train net_b using adam { start b; data train_set; epochs = 6; batch = 100; rate = 3e-3; seed = 2 }
"#;

fn recipe(space: &Space, rest: &str) {
    space.write("align.fusion", format!("{NETS}\n{rest}"));
}

#[test]
fn a_shuffled_network_is_the_same_and_is_found_again() {
    let space = Space::new();
    recipe(
        &space,
        r#"align shuffled using random_permutation { from net_a; seed = 7 }
align back  using weight_matching { reference net_a; from shuffled; seed = 1 }
align undone using apply { from shuffled; by shuffled.alignment; inverse = true }

evaluate scores using accuracy { from [net_a, shuffled, back, undone]; data test_set }

expect shuffled.moved > 80
expect shuffled.deviation < 1e-4
expect scores.shuffled == scores.net_a and scores.back == scores.net_a

save net_a to "out/net_a.safetensors"
save shuffled to "out/shuffled.safetensors"
save back to "out/back.safetensors"
save undone to "out/undone.safetensors"
save shuffled.alignment to "out/shuffled.json"
"#,
    );
    let done = space.ok(&["run", "align.fusion"]);
    assert!(done.out.contains("holds  shuffled.moved > 80"), "{}", done.out);
    let of = |name: &str| load(&space.path(&format!("out/{name}.safetensors")));
    let original = of("net_a");
    assert_ne!(of("shuffled")["layers.0.weight"], original["layers.0.weight"]);
    // Bit by bit: permutations move values and never compute.
    assert_eq!(of("back"), original);
    assert_eq!(of("undone"), original);

    // A kept alignment does the same to the same network, and to any other of its kind.
    recipe(
        &space,
        r#"align again using apply { from net_a; stored = "out/shuffled.json" }
align other using apply { from net_b; stored = "out/shuffled.json" }
expect other.deviation < 1e-4
save again to "out/again.safetensors"
save other to "out/other.safetensors"
"#,
    );
    space.ok(&["run", "align.fusion"]);
    assert_eq!(of("again"), of("shuffled"));
}

#[test]
fn averages_of_aligned_networks_are_networks() {
    let space = Space::new();
    recipe(
        &space,
        r#"align b_in_a using activation_matching { reference net_a; from net_b; data train_set }
average plain   using linear { from [net_a, net_b] }
average aligned using linear { from [net_a, b_in_a] }
repair  louder  using repair { from aligned; endpoints [net_a, b_in_a]; data train_set }
evaluate scores using accuracy { from [net_a, net_b, b_in_a, plain, aligned, louder]; data test_set }
expect scores.b_in_a == scores.net_b
expect scores.aligned > scores.plain
expect scores.louder > scores.plain
report [scores, b_in_a, louder] to "out/report"
"#,
    );
    space.ok(&["run", "align.fusion"]);
    let page = space.read("out/report/index.html");
    assert!(
        page.contains("align activation_matching") && page.contains("units"),
        "no section of the alignment"
    );
}

#[test]
fn networks_with_batch_norm_keep_their_counters_and_are_averaged() {
    let space = Space::new();
    space.write(
        "norm.fusion",
        r#"fusion 1
data t from "digits:train" { samples = 200; seed = 1; flatten = true }
model ia of mlp(784, [16], 10, norm: batch) { seed = 1 }
model ib of mlp(784, [16], 10, norm: batch) { seed = 2 }
train a using adam { start ia; data t; epochs = 1; batch = 50; seed = 1 }
train b using adam { start ib; data t; epochs = 1; batch = 50; seed = 2 }
align b_in_a using activation_matching { reference a; from b; data t }
average m using mean { from [a, b_in_a] }
repair fixed using batch_norm { from m; data t }
evaluate s using accuracy { from [b, b_in_a, fixed]; data t }
expect s.b == s.b_in_a
save b to "out/b.safetensors"
save b_in_a to "out/aligned.safetensors"
"#,
    );
    space.ok(&["run", "norm.fusion"]);
    let of = |name: &str| {
        load(&space.path(&format!("out/{name}.safetensors")))["norms.0.num_batches_tracked"].clone()
    };
    assert_eq!(of("aligned"), of("b"));
}

#[test]
fn several_models_come_as_a_list() {
    let space = Space::new();
    recipe(
        &space,
        r#"align both using weight_matching { from [net_a, net_b]; seed = 1 }
average one using mean { from both.models }
evaluate scores using accuracy { from [net_a, net_b, one, both.models]; data test_set }
expect scores.one > 10%
"#,
    );
    let done = space.ok(&["run", "align.fusion"]);
    assert!(done.out.contains("holds"), "{}", done.out);
    recipe(&space, "align both using weight_matching { from [net_a, net_b] }\nsave both to \"out/both\"");
    let failed = space.fusion(&["check", "align.fusion"]);
    assert!(
        failed.err.contains("`both` is several models") && failed.err.contains("both.models"),
        "{}",
        failed.err
    );
}

#[test]
fn checkpoints_without_a_network_are_aligned_by_their_names() {
    let space = Space::new();
    let root = format!("{}/examples/first/models/chat", env!("CARGO_MANIFEST_DIR"));
    space.write(
        "llama.fusion",
        format!(
            r#"fusion 1
model chat from "{root}"
align shuffled using random_permutation {{ from chat; seed = 3 }}
align back using weight_matching {{ reference chat; from shuffled; seed = 1 }}
expect shuffled.moved > 300
expect back.objective > back.objective_before
save chat to "out/chat"
save shuffled to "out/shuffled"
save back to "out/back"
"#
        ),
    );
    space.ok(&["run", "llama.fusion"]);
    let of = |name: &str| load(&space.path(&format!("out/{name}/model.safetensors")));
    let name = "model.layers.1.mlp.up_proj.weight";
    assert_ne!(of("shuffled")[name], of("chat")[name]);
    assert_eq!(of("back"), of("chat"));
    // What the model needs besides weights goes along.
    assert!(
        space.path("out/shuffled/config.json").is_file()
            && space.path("out/shuffled/tokenizer.json").is_file()
    );
}

#[test]
fn what_cannot_be_aligned_says_why_before_anything_runs() {
    let space = Space::new();
    let refused = |rest: &str, parts: &[&str]| {
        recipe(&space, rest);
        let done = space.fusion(&["check", "align.fusion"]);
        assert!(done.code == 1 || done.code == 3, "{rest}\n{}\n{}", done.out, done.err);
        for part in parts {
            assert!(done.err.contains(part), "{part} is missing:\n{}", done.err);
        }
    };
    refused(
        "model c of mlp(inputs: 784, hidden: [48], outputs: 10) { seed = 3 }
align x using weight_matching { reference net_a; from c }",
        &["F0415", "different depth", "it lacks the units"],
    );
    refused(
        "model c of mlp(inputs: 784, hidden: [48, 32], outputs: 10) { seed = 3 }
align x using weight_matching { reference net_a; from c }",
        &["F0415", "32 units", "ot_fusion"],
    );
    refused(
        "align x using weight_matching { reference net_a; from net_b; symmetries = \"node h[7]; layers.0.weight = h, reads pin[784]\" }",
        &["layers.0.weight"],
    );
    refused(
        "align x using weight_matching { reference net_a; from net_b; symmetries = \"none.symmetries\" }",
        &["none.symmetries"],
    );
    refused(
        "align x using apply { from net_a; stored = \"none.json\" }",
        &["there is no alignment", "save NAME.alignment"],
    );
    refused("align x using weight_matching { reference net_a; from net_b; sweps = 3 }", &["sweeps"]);
}

#[test]
fn a_wrong_declaration_is_caught_by_running_the_network() {
    let space = Space::new();
    // Rows of the first layer may not move unless the second layer's columns do.
    recipe(
        &space,
        "align x using random_permutation { from net_a; seed = 1; symmetries = \"node h[48]; layers.0.weight = h, reads pin[784]; layers.0.bias = h\" }",
    );
    let done = space.fusion(&["run", "align.fusion"]);
    assert_ne!(done.code, 0);
    assert!(done.err.contains("`h`") && done.err.contains("symmetries"), "{}", done.err);
}

#[test]
fn a_checkpoint_that_nobody_knows_asks_for_a_description() {
    let space = Space::new();
    recipe(&space, "save net_a to \"odd/model.safetensors\"");
    space.ok(&["run", "align.fusion"]);
    space.write("odd.fusion", "fusion 1\nmodel odd from \"odd\"\nalign x using random_permutation { from odd; seed = 1 }\nsave x to \"out/x\"\n");
    let done = space.fusion(&["check", "odd.fusion"]);
    assert!(done.err.contains("F0424") && done.err.contains("symmetries"), "{}", done.err);
    let text = "node h[48]\nlayers.0.weight = h, reads pin[784]\nlayers.0.bias = h\nlayers.1.weight = pin[48], reads h\n";
    fs::write(space.path("odd/model.symmetries"), text).unwrap();
    space.ok(&["run", "odd.fusion"]);
    let (old, new) =
        (load(&space.path("odd/model.safetensors")), load(&space.path("out/x/model.safetensors")));
    assert_ne!(old["layers.1.weight"], new["layers.1.weight"]);
    assert_eq!(old["layers.2.weight"], new["layers.2.weight"]);
}
