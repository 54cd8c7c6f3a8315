//! `fusion run`: numbers, caching, sweeps, stitches, chains.

use crate::common::{SOUP, Space, Tensor, close, decoder, load, steady, weighted};

#[test]
fn a_linear_merge_is_the_weighted_mean() {
    let space = Space::new();
    let (a, b) = space.soup();
    let done = space.ok(&["run", "soup.fusion"]);
    close(&space.path("out/soup"), &weighted(&[(&a, 0.75), (&b, 0.25)]));
    assert!(done.out.contains("out/soup"), "{}", done.out);
    let names = space.names("out/soup");
    for name in ["config.json", "fusion.json", "model.safetensors", "tokenizer.json", "README.md"] {
        assert!(names.iter().any(|other| other == name), "{name} is missing: {names:?}");
    }
    assert_eq!(space.names("out"), ["soup"], "nothing is left behind");
}

#[test]
fn the_result_is_rounded_once_to_the_dtype_asked_for() {
    let space = Space::new();
    let (a, b) = space.soup();
    space.write("r.fusion", SOUP.replace("\"out/soup\"", "\"out/soup\" { dtype = bf16 }"));
    space.ok(&["run", "r.fusion"]);
    let found = load(&space.path("out/soup"));
    for tensor in weighted(&[(&a, 0.75), (&b, 0.25)]) {
        let (dtype, _, values) = &found[&tensor.name];
        assert_eq!(*dtype, safetensors::Dtype::BF16);
        for (is, should) in values.iter().zip(&tensor.values) {
            assert_eq!(*is, half::bf16::from_f32(*should as f32).to_f64());
        }
    }
    assert!(space.read("out/soup/config.json").contains("bfloat16"));
}

#[test]
fn an_unchanged_output_is_not_made_again() {
    let space = Space::new();
    space.soup();
    space.ok(&["run", "soup.fusion"]);
    let before = std::fs::metadata(space.path("out/soup/model.safetensors")).unwrap().modified().unwrap();
    let done = space.ok(&["run", "soup.fusion"]);
    assert!(done.out.contains("unchanged, not run again"), "{}", done.out);
    let after = std::fs::metadata(space.path("out/soup/model.safetensors")).unwrap().modified().unwrap();
    assert_eq!(before, after);
}

#[test]
fn another_result_is_replaced_only_when_asked() {
    let space = Space::new();
    let (a, b) = space.soup();
    space.ok(&["run", "soup.fusion"]);
    space.write("soup.fusion", SOUP.replace("0.75", "0.5").replace("0.25", "0.5"));
    let done = space.fails(&["run", "soup.fusion"], 1, "F0501");
    assert!(done.err.contains("--overwrite"), "{}", done.err);
    close(&space.path("out/soup"), &weighted(&[(&a, 0.75), (&b, 0.25)]));
    space.ok(&["run", "soup.fusion", "--overwrite"]);
    close(&space.path("out/soup"), &weighted(&[(&a, 0.5), (&b, 0.5)]));
}

#[test]
fn a_sweep_writes_one_result_for_each_value() {
    let space = Space::new();
    let (a, b) = space.soup();
    let text = SOUP
        .replace("model a", "param w: fraction = 50% \"share of a\"\n\nmodel a")
        .replace("0.75", "w")
        .replace("0.25", "1 - w")
        .replace("out/soup", "out/w-{w}");
    space.write("sweep.fusion", text);
    let done = space.ok(&["run", "sweep.fusion", "--set", "w=25%,75%"]);
    assert!(done.err.contains("(1 of 2)") && done.err.contains("(2 of 2)"), "{}", done.err);
    let outputs = space.names("out");
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    close(&space.path("out").join(&outputs[0]), &weighted(&[(&a, 0.25), (&b, 0.75)]));
    close(&space.path("out").join(&outputs[1]), &weighted(&[(&a, 0.75), (&b, 0.25)]));
}

#[test]
fn a_chain_of_stages_is_one_run() {
    let space = Space::new();
    let (a, b) = space.soup();
    let c = space.model("c", 3);
    space.write(
        "chain.fusion",
        r#"fusion 1

model a from "a"
model b from "b"
model c from "c"

average first using mean { from [a, b] }

average second using linear {
  from first { weight = 2 }
  from c
}

save second to "out/chain"
"#,
    );
    space.ok(&["run", "chain.fusion"]);
    close(&space.path("out/chain"), &weighted(&[(&a, 1.0 / 3.0), (&b, 1.0 / 3.0), (&c, 1.0 / 3.0)]));
    assert_eq!(space.names("out"), ["chain"]);
}

#[test]
fn a_stitch_takes_layers_and_counts_them_in_the_config() {
    let space = Space::new();
    let (a, b) = space.soup();
    space.write(
        "tall.fusion",
        r#"fusion 1

model a from "a"
model b from "b"

stitch tall {
  take layers 0..2 of a
  take layers 1..2 of b
  rest of a
}

expect tall.layers == 3
save tall to "out/tall"
"#,
    );
    space.ok(&["run", "tall.fusion"]);
    let mut expected = a.clone();
    for tensor in &b {
        if let Some(rest) = tensor.name.strip_prefix("model.layers.1.") {
            expected.push(Tensor { name: format!("model.layers.2.{rest}"), ..tensor.clone() });
        }
    }
    close(&space.path("out/tall"), &expected);
    let config: serde_json::Value = serde_json::from_str(&space.read("out/tall/config.json")).unwrap();
    assert_eq!(config["num_hidden_layers"], 3);
}

#[test]
fn rules_set_what_they_match() {
    let space = Space::new();
    let (a, b) = space.soup();
    let text = SOUP.replace(
        "from b { weight = 0.25 }",
        "from b { weight = 0.25 }\n  on \"lm_head.weight\" { copy = b }",
    );
    space.write("rule.fusion", text);
    space.ok(&["run", "rule.fusion"]);
    let mut expected = weighted(&[(&a, 0.75), (&b, 0.25)]);
    for (tensor, of_b) in expected.iter_mut().zip(&b) {
        if tensor.name == "lm_head.weight" {
            tensor.values = of_b.values.clone();
        }
    }
    close(&space.path("out/soup"), &expected);
}

#[test]
fn values_that_are_not_finite_stop_the_run_unless_allowed() {
    let space = Space::new();
    space.soup();
    let mut a = decoder(1, 2, 8);
    a[0].values[3] = f64::NAN;
    a[4].values[0] = f64::INFINITY;
    space.model_of("a", 2, &a);
    let done = space.fails(&["run", "soup.fusion"], 1, "F0601");
    assert!(done.err.contains("`model.embed_tokens.weight` of `a`: 1 NaN, 0 infinite"), "{}", done.err);
    assert!(done.err.contains("--allow-non-finite"), "{}", done.err);
    assert_eq!(space.names("out"), [""; 0], "nothing is left behind");
    let done = space.ok(&["run", "soup.fusion", "--allow-non-finite"]);
    assert!(done.err.contains("not finite, kept"), "{}", done.err);
    assert!(load(&space.path("out/soup"))["model.embed_tokens.weight"].2[3].is_nan());
}

#[test]
fn events_are_json_lines() {
    let space = Space::new();
    space.soup();
    let done = space.ok(&["run", "soup.fusion", "--json"]);
    let events: Vec<serde_json::Value> =
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    for kind in ["started", "output", "saved", "finished", "report"] {
        assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
    }
    assert_eq!(done.err, "");
    space.write("soup.fusion", SOUP.replace("linear", "linaer"));
    let done = space.fusion(&["run", "soup.fusion", "--json"]);
    assert_eq!(done.code, 1);
    let event: serde_json::Value = serde_json::from_str(done.out.lines().next().unwrap()).unwrap();
    assert_eq!(event["event"], "diagnostic");
    assert_eq!(event["diagnostic"]["code"], "F0302");
}

#[test]
fn quiet_is_quiet_and_the_summary_lines_up() {
    let space = Space::new();
    space.soup();
    let done = space.ok(&["run", "soup.fusion", "--quiet"]);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("", ""));
    std::fs::remove_dir_all(space.path("out")).unwrap();
    let done = space.ok(&["run", "soup.fusion"]);
    let text = steady(&done.out);
    assert!(text.starts_with("out/soup  "), "{text}");
    assert!(text.contains("1 output in"), "{text}");
}

#[test]
fn an_expectation_that_fails_ends_with_1_and_writes_nothing() {
    let space = Space::new();
    space.soup();
    space.write("soup.fusion", format!("{SOUP}expect soup.layers == 3\n"));
    space.fails(&["run", "soup.fusion"], 1, "F0602");
    assert_eq!(space.names("out"), [""; 0]);
}
