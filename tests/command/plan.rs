//! `fusion plan`, `fusion graph`, `fusion explain --tensor`: what is shown before anything runs.

use crate::common::{SOUP, Space, steady};

const RULES: &str = r#"fusion 1

param keep: number = 0.75 "weight of a"

model a from "a"
model b from "b"

average soup using linear {
  from a { weight = keep }
  from b { weight = ramp(0, 1) }
  on "*.layers.1.mlp.**" { normalize = false }
  on "lm_head.weight" { copy = a }
}

expect soup.layers == 2
save soup to "out/soup" { dtype = bf16 }
"#;

#[test]
fn a_plan_says_what_would_run_and_why() {
    let space = Space::new();
    space.soup();
    space.write("rules.fusion", RULES);
    let done = space.ok(&["plan", "rules.fusion", "--threads", "2"]);
    insta::assert_snapshot!(steady(&done.out), @r"
    inputs
      a  a  safetensors  9 tensors  600 parameters  2 layers  f32  2.40 kB
      b  b  safetensors  9 tensors  600 parameters  2 layers  f32  2.40 kB

    stages
      soup  average using linear  element-wise, fused cpu
        inputs     a, b
        tensors    8 computed, 1 copied from a (line 12); 2 layers, 600 parameters
        normalize  true (default), false on 1 tensor (line 11)
        weight     a 0.75 (line 9); b 0 → 1 (line 10)

    outputs
      out/soup  run: new
        soup    9 tensors, 600 parameters, bf16, 1.20 kB in 1 shard
        beside  config and tokenizer from a

    expectations
      holds  soup.layers == 2

    reads 4.42 kB in 1 pass, writes 1.20 kB, buffers up to ~B, about ~ms on cpu with ~thread
    nothing was executed
    ");
    assert_eq!(done.err, "");
    assert_eq!(space.names("out"), [""; 0], "nothing was executed");
}

#[test]
fn a_plan_says_what_is_cached_and_what_changed() {
    let space = Space::new();
    space.soup();
    space.ok(&["run", "soup.fusion"]);
    let done = space.ok(&["plan", "soup.fusion"]);
    assert!(done.out.contains("out/soup  cached: "), "{}", done.out);
    space.write("soup.fusion", SOUP.replace("0.75", "0.7"));
    let done = space.ok(&["plan", "soup.fusion", "--overwrite"]);
    assert!(done.out.contains("0.75") && done.out.contains("0.7") && done.out.contains('→'), "{}", done.out);
}

#[test]
fn a_plan_in_json_has_places() {
    let space = Space::new();
    space.soup();
    space.write("rules.fusion", RULES);
    let done = space.ok(&["plan", "rules.fusion", "--json", "--set", "keep=0.5"]);
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let plan = &json["variants"][0]["plan"];
    assert_eq!(plan["stages"][0]["method"], "linear");
    let settings = plan["stages"][0]["settings"].as_array().unwrap();
    let of_b = settings.iter().find(|s| s["name"] == "weight" && s["input"] == "b").unwrap();
    assert_eq!(of_b["place"]["line"], 10);
    assert_eq!(plan["stages"][0]["copies"][0]["place"]["line"], 12);
    assert_eq!(plan["outputs"][0]["action"], "run");
    assert!(plan["cost"]["read"].as_u64().unwrap() > 0);
}

#[test]
fn a_tensor_is_explained_with_the_lines_that_decided() {
    let space = Space::new();
    space.soup();
    space.write("rules.fusion", RULES);
    let done = space.ok(&["explain", "rules.fusion", "--tensor", "model.layers.1.mlp.up_proj.weight"]);
    insta::assert_snapshot!(done.out, @r"
    model.layers.1.mlp.up_proj.weight  f32 [16, 8]  computed by soup (linear) from a, b
        normalize    false  line 11
        weight of a  0.75   line 9
        weight of b  1      line 10
    <- model.layers.1.mlp.up_proj.weight  f32 [16, 8]  stored in a
    <- model.layers.1.mlp.up_proj.weight  f32 [16, 8]  stored in b
    ");
    let done = space.fails(&["explain", "rules.fusion", "--tensor", "up_proj.weight"], 1, "F0207");
    assert!(done.err.contains("model.layers.0.mlp.up_proj.weight"), "{}", done.err);
}

#[test]
fn graphs_are_drawn() {
    let space = Space::new();
    space.write("soup.fusion", SOUP);
    let done = space.ok(&["graph", "soup.fusion"]);
    insta::assert_snapshot!(done.out, @r##"
    flowchart LR
      n0[("b<br/>b")]
      n1[("a<br/>a")]
      n2["soup<br/>average using linear"]
      n3[/"out/soup<br/>save"/]
      n1 -->|"from"| n2
      n0 -->|"from"| n2
      n2 -->|"save"| n3
    "##);
    let done = space.ok(&["graph", "soup.fusion", "--dot"]);
    assert!(done.out.starts_with("digraph recipe {") && done.out.contains("n0 -> "), "{}", done.out);
    space.ok(&["graph", "soup.fusion", "-o", "g.svg"]);
    let svg = space.read("g.svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<rect ").count(), 4);
    assert_eq!(svg.matches("marker-end").count(), 3);
}
