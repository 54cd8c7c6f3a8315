//! `fusion inspect`.

use crate::common::{Space, decoder};

#[test]
fn a_checkpoint_is_summed_up() {
    let space = Space::new();
    space.model("a", 1);
    let done = space.ok(&["inspect", "a"]);
    insta::assert_snapshot!(done.out, @r"
    path          a
    format        safetensors, 2 files, 3.35 kB
    architecture  LlamaForCausalLM
    parameters    600
    dtypes        f32 (9 tensors, 600)
    tensors       9
    layers        2 in `model.layers`, 400 parameters
    vocabulary    12
    tokenizer     tokenizer.json

    each layer
      input_layernorm.weight   f32  [8]
      mlp.up_proj.weight       f32  [16, 8]
      self_attn.q_proj.weight  f32  [8, 8]
    ");
}

#[test]
fn statistics_are_those_of_the_values() {
    let space = Space::new();
    let mut a = decoder(1, 2, 8);
    a[1].values = vec![1.0, 2.0, 3.0, 4.0, f64::NAN, -2.0, f64::INFINITY, 0.0];
    space.model_of("a", 2, &a);
    let done = space.ok(&["inspect", "a", "--stats", "--tensors", "model.norm.*", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let [tensor] = json["tensors"].as_array().unwrap().as_slice() else { panic!("one tensor: {}", done.out) };
    let stats = &tensor["stats"];
    assert_eq!(stats["nan"], 1);
    assert_eq!(stats["infinite"], 1);
    assert_eq!(stats["min"], -2.0);
    assert_eq!(stats["max"], 4.0);
    let number = |name: &str| stats[name].as_f64().unwrap();
    assert!((number("mean") - 8.0 / 6.0).abs() < 1e-12);
    assert!((number("norm") - 34.0_f64.sqrt()).abs() < 1e-12);
    assert!((number("std") - (34.0 / 6.0 - (8.0_f64 / 6.0).powi(2)).sqrt()).abs() < 1e-12);
    let done = space.ok(&["inspect", "a", "--stats"]);
    assert!(done.out.contains("1 NaN, 1 infinite"), "{}", done.out);
    space.fails(&["inspect", "a", "--tensors", "nothing.*"], 1, "F0207");
}

#[test]
fn damage_is_found_again() {
    let space = Space::new();
    space.soup();
    space.fails(&["inspect", "a", "--verify"], 3, "F0608");
    space.ok(&["run", "soup.fusion"]);
    let done = space.ok(&["inspect", "out/soup", "--verify"]);
    assert!(done.out.contains("intact: "), "{}", done.out);
    let path = space.path("out/soup/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let done = space.fusion(&["inspect", "out/soup", "--verify"]);
    assert_eq!(done.code, 3);
    assert!(done.out.contains("damaged: "), "{}", done.out);
}
