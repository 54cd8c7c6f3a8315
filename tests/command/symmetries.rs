//! `fusion symmetries`.

use crate::common::{Space, Tensor};

/// A Llama with two layers: 8 wide, 4 query heads, 2 heads of keys and values.
fn llama(space: &Space, heads: bool) {
    let mut all = vec![Tensor::new(1, "model.embed_tokens.weight", &[12, 8])];
    for layer in 0..2 {
        let mut add = |name: &str, shape: &[usize]| {
            all.push(Tensor::new(1, &format!("model.layers.{layer}.{name}"), shape))
        };
        add("self_attn.q_proj.weight", &[8, 8]);
        add("self_attn.k_proj.weight", &[4, 8]);
        add("self_attn.v_proj.weight", &[4, 8]);
        add("self_attn.o_proj.weight", &[8, 8]);
        add("mlp.gate_proj.weight", &[16, 8]);
        add("mlp.up_proj.weight", &[16, 8]);
        add("mlp.down_proj.weight", &[8, 16]);
        add("input_layernorm.weight", &[8]);
        add("post_attention_layernorm.weight", &[8]);
    }
    all.push(Tensor::new(1, "model.norm.weight", &[8]));
    space.model_of("a", 2, &all);
    if heads {
        space.write(
            "a/config.json",
            r#"{"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": true, "num_attention_heads": 4}"#,
        );
    }
}

#[test]
fn an_architecture_is_shown_by_its_graph() {
    let space = Space::new();
    let done = space.ok(&["symmetries", "mlp(inputs: 5, hidden: [7, 7], outputs: 3)"]);
    insta::assert_snapshot!(done.out, @r"
    model        mlp(inputs: 5, hidden: [7, 7], outputs: 3)
    symmetries   inferred from the network's graph
    nodes        2, 14 units that may change places
    tensors      6
    fingerprint  aa57a82494b1aeb6

    nodes
      layers.0  7  used by 3 tensors  also scaled
      layers.1  7  used by 3 tensors  also scaled

    tensors
      layers.0.weight  layers.0, reads pin[5]
      layers.0.bias    layers.0
      layers.1.weight  layers.1, reads layers.0
      layers.1.bias    layers.1
      layers.2.weight  pin[3], reads layers.1
      layers.2.bias    pin[3]
    ");
}

#[test]
fn a_checkpoint_is_shown_by_its_names_with_layers_folded() {
    let space = Space::new();
    llama(&space, true);
    let done = space.ok(&["symmetries", "a"]);
    insta::assert_snapshot!(done.out, @r"
    model        a
    symmetries   by the names of tensors (llama)
    nodes        9, 60 units that may change places
    tensors      20
    fingerprint  2ad5d6e754e4c48f

    nodes
      stream                                     8  used by 20 tensors
      model.layers.[0-1].mlp.gate_proj          16  used by 3 tensors
      model.layers.[0-1].self_attn.head          2  used by 4 tensors
      model.layers.[0-1].self_attn.q_proj.head   2  used by 2 tensors                in model.layers.[0-1].self_attn.head
      model.layers.[0-1].self_attn.v_proj        2  used by 2 tensors   also scaled  in model.layers.[0-1].self_attn.head

    tensors
      model.embed_tokens.weight                           pin[12], both stream
      model.layers.[0-1].input_layernorm.weight           stream
      model.layers.[0-1].mlp.down_proj.weight             stream, reads model.layers.[0-1].mlp.gate_proj
      model.layers.[0-1].mlp.gate_proj.weight             model.layers.[0-1].mlp.gate_proj, reads stream
      model.layers.[0-1].mlp.up_proj.weight               model.layers.[0-1].mlp.gate_proj, reads stream
      model.layers.[0-1].post_attention_layernorm.weight  stream
      model.layers.[0-1].self_attn.k_proj.weight          model.layers.[0-1].self_attn.head · pin[2], reads stream
      model.layers.[0-1].self_attn.o_proj.weight          stream, reads model.layers.[0-1].self_attn.head · model.layers.[0-1].self_attn.q_proj.head · model.layers.[0-1].self_attn.v_proj
      model.layers.[0-1].self_attn.q_proj.weight          model.layers.[0-1].self_attn.head · model.layers.[0-1].self_attn.q_proj.head · pin[2], reads stream
      model.layers.[0-1].self_attn.v_proj.weight          model.layers.[0-1].self_attn.head · model.layers.[0-1].self_attn.v_proj, reads stream
      model.norm.weight                                   stream
    ");
    let all = space.ok(&["symmetries", "a", "--all"]);
    assert!(all.out.contains("model.layers.1.mlp.up_proj.weight"), "{}", all.out);
    assert!(done.out.lines().count() + 13 == all.out.lines().count(), "{}", all.out);
}

#[test]
fn the_text_can_be_changed_and_declared() {
    let space = Space::new();
    llama(&space, true);
    let text = space.ok(&["symmetries", "a", "--text"]).out;
    assert!(text.starts_with("symmetries 1\nnode stream[8]\n"), "{text}");
    space.write("a.symmetries", &text);
    assert_eq!(space.ok(&["symmetries", "a", "--text"]).out, text);
    let json: serde_json::Value =
        serde_json::from_str(&space.ok(&["symmetries", "a", "--json"]).out).unwrap();
    assert_eq!(json["origin"], "declared");
    assert_eq!(json["nodes"][0]["name"], "stream");
    assert_eq!(json["nodes"][0]["units"], 8);
    assert_eq!(json["tensors"][0]["axes"][1], "both stream");
    space.write("a.symmetries", text.replace("stream[8]", "stream[9]"));
    let done = space.fails(&["symmetries", "a"], 1, "F0424");
    assert!(done.err.contains("its axes say"), "{}", done.err);
    space.write("a.symmetries", "node h[4]\nw = g\n");
    let done = space.fails(&["symmetries", "a"], 1, "F0424");
    assert!(done.err.contains("line 2: there is no node `g`"), "{}", done.err);
}

#[test]
fn what_is_not_known_is_said() {
    let space = Space::new();
    llama(&space, false);
    let done = space.fails(&["symmetries", "a"], 1, "F0424");
    assert!(done.err.contains("`num_attention_heads`") && done.err.contains("config.json"), "{}", done.err);
    space.model("b", 1);
    space.write("b/config.json", r#"{"model_type": "llama", "num_attention_heads": 4}"#);
    let done = space.fails(&["symmetries", "b"], 1, "F0424");
    assert!(done.err.contains("k_proj"), "{}", done.err);
    space.model_of("c", 0, &[Tensor::new(1, "x", &[2])]);
    let done = space.fails(&["symmetries", "c"], 1, "F0424");
    assert!(done.err.contains("GPT-2") && done.err.contains("--text"), "{}", done.err);
    let done = space.fusion(&["symmetries", "nowhere"]);
    assert!(done.code != 0 && done.err.contains("mlp(inputs"), "{}", done.err);
    space.fails(&["symmetries", "mlp(inputs: 5, hidden: [7], outputs: 3, depth: 2)"], 1, "F0203");
}

#[test]
fn a_text_is_written_to_a_file_or_by_the_shell() {
    let space = Space::new();
    llama(&space, true);
    let text = space.ok(&["symmetries", "a", "--text"]).out;
    // A shell makes the file before anything is read.
    space.write("a.symmetries", "");
    assert_eq!(space.ok(&["symmetries", "a", "--text"]).out, text);
    assert_eq!(space.ok(&["symmetries", "a", "--text", "-o", "a.symmetries"]).out, "");
    assert_eq!(std::fs::read_to_string(space.path("a.symmetries")).unwrap(), text);
    // What is in a file is not replaced: it may be a checkpoint.
    let before = std::fs::read(space.path("a/model.safetensors")).unwrap();
    space.fails(&["symmetries", "a", "--text", "-o", "a/model.safetensors"], 1, "F0501");
    assert_eq!(std::fs::read(space.path("a/model.safetensors")).unwrap(), before);
    let json = space.ok(&["symmetries", "a", "--json"]).out;
    assert!(json.contains("\"origin\":\"declared\"") || json.contains("\"origin\": \"declared\""), "{json}");
    assert_ne!(space.fusion(&["symmetries", "a", "-o", "b.symmetries"]).code, 0);
    // A text without a node declares nothing.
    space.write("a.symmetries", "symmetries 1\n# later\n");
    let done = space.fails(&["symmetries", "a"], 1, "F0424");
    assert!(done.err.contains("there is no node in it"), "{}", done.err);
    let done = space.fails(&["symmetries", "a.symmetries"], 1, "F0424");
    assert!(done.err.contains("there is no node in it"), "{}", done.err);
}

#[test]
fn what_stays_is_said_at_check_and_one_half_is_refused() {
    let space = Space::new();
    llama(&space, true);
    let recipe = |symmetries: &str| {
        let text = format!(
            "fusion 1\nmodel a from \"a\"\nalign x using random_permutation {{ from a; seed = 1{symmetries} }}\nsave x to \"x\"\n"
        );
        space.write("a.fusion", &text);
        space.fusion(&["check", "a.fusion"])
    };
    let done = recipe("");
    assert!(done.code == 0 && !done.err.contains("F0424"), "{}", done.err);
    let mlp = "model.layers.0.mlp";
    let whole = format!(
        "; symmetries = \"node h[16];{mlp}.gate_proj.weight=h, reads pin[8];{mlp}.up_proj.weight=h, reads pin[8];{mlp}.down_proj.weight=pin[8], reads h\""
    );
    let done = recipe(&whole);
    assert!(done.code == 0 && done.err.contains("warning"), "{}", done.err);
    assert!(
        done.err.contains("`a`: not described, and left as they are") && done.err.contains("and 13 more"),
        "{}",
        done.err
    );
    let done = recipe(&format!("; symmetries = \"node h[16]; {mlp}.up_proj.weight = h, pin[8]\""));
    assert!(done.code == 1 && done.err.contains("does not fit the declared symmetries"), "{}", done.err);
    assert!(done.err.contains("nothing is declared to read them"), "{}", done.err);
    let large = "; symmetries = \"node h[4294967296]; node g[4294967296]; model.norm.weight = h * g\"";
    let done = recipe(large);
    assert!(done.code == 1 && done.err.contains("more elements than can be counted"), "{}", done.err);
}
