//! Shapes of small real models against their templates, and templates against what is inferred from graphs of ours.

use serde_json::{Value as Json, json};

mod families;
mod forward;
mod models;
mod sound;

use super::{Header, NamesError, Symmetries, beside, of_file, of_names, of_text};

fn header(name: &str, shape: &[usize]) -> Header {
    (name.to_owned(), shape.to_vec())
}

fn axes(found: &Symmetries, tensor: &str) -> String {
    let index = found.tensor(tensor).unwrap_or_else(|| panic!("no {tensor}"));
    found.dimension_texts(&found.tensors[index]).join(", ")
}

/// A Llama with 4 query heads, `kv` heads of keys and values, 16 numbers a head.
fn llama(kv: usize, extra: &[&str]) -> Vec<Header> {
    let mut all = vec![header("model.embed_tokens.weight", &[100, 64])];
    for layer in 0..2 {
        let mut add =
            |name: &str, shape: &[usize]| all.push(header(&format!("model.layers.{layer}.{name}"), shape));
        add("self_attn.q_proj.weight", &[64, 64]);
        add("self_attn.k_proj.weight", &[16 * kv, 64]);
        add("self_attn.v_proj.weight", &[16 * kv, 64]);
        add("self_attn.o_proj.weight", &[64, 64]);
        if extra.contains(&"bias") {
            add("self_attn.q_proj.bias", &[64]);
            add("self_attn.k_proj.bias", &[16 * kv]);
            add("self_attn.v_proj.bias", &[16 * kv]);
        }
        if extra.contains(&"norms") {
            add("self_attn.q_norm.weight", &[16]);
            add("self_attn.k_norm.weight", &[16]);
        }
        add("mlp.gate_proj.weight", &[172, 64]);
        add("mlp.up_proj.weight", &[172, 64]);
        add("mlp.down_proj.weight", &[64, 172]);
        add("input_layernorm.weight", &[64]);
        add("post_attention_layernorm.weight", &[64]);
    }
    all.push(header("model.norm.weight", &[64]));
    if !extra.contains(&"tied") {
        all.push(header("lm_head.weight", &[100, 64]));
    }
    all
}

/// Four heads of a model that has a head for its outputs: the embedding, if the file has no other.
fn config() -> Json {
    tied(json!({"num_attention_heads": 4, "n_head": 4}))
}

fn tied(mut config: Json) -> Json {
    config["architectures"] = json!(["LlamaForCausalLM"]);
    config["tie_word_embeddings"] = json!(true);
    config
}

fn of_class(class: &str) -> Json {
    json!({"num_attention_heads": 4, "architectures": [class]})
}

#[test]
fn llama_mistral_and_qwen() {
    let found = of_names(&llama(2, &[]), Some(&config())).unwrap();
    // stream; kv, r, dv and the gate of two layers
    assert_eq!(found.nodes.len(), 9);
    assert_eq!(found.notes, [] as [String; 0]);
    let at = "model.layers.1.self_attn";
    assert_eq!(
        axes(&found, &format!("{at}.q_proj.weight")),
        format!("{at}.head · {at}.q_proj.head · pin[16], reads stream")
    );
    assert_eq!(axes(&found, &format!("{at}.k_proj.weight")), format!("{at}.head · pin[16], reads stream"));
    assert_eq!(
        axes(&found, &format!("{at}.o_proj.weight")),
        format!("stream, reads {at}.head · {at}.q_proj.head · {at}.v_proj")
    );
    assert_eq!(axes(&found, "lm_head.weight"), "pin[100], reads stream");
    assert_eq!(axes(&found, "model.embed_tokens.weight"), "pin[100], stream");

    let tied = of_names(&llama(4, &["tied", "bias"]), Some(&config())).unwrap();
    assert_eq!(axes(&tied, "model.embed_tokens.weight"), "pin[100], both stream");
    assert_eq!(axes(&tied, &format!("{at}.v_proj.bias")), format!("{at}.head · {at}.v_proj"));
    assert_eq!(tied.nodes.len(), 7);
    // Norms over heads tell their width, so no number is needed.
    let qwen3 = of_names(&llama(2, &["tied", "norms"]), None).unwrap();
    assert_eq!(axes(&qwen3, &format!("{at}.q_norm.weight")), "pin[16]");
}

#[test]
fn what_is_missing_is_named() {
    let error = of_names(&llama(2, &[]), None).unwrap_err();
    assert_eq!(error.to_string(), "llama: `num_attention_heads` is needed, and there is no `config.json`");
    let error = of_names(&llama(2, &[]), Some(&json!({"model_type": "llama"}))).unwrap_err();
    assert!(error.to_string().contains("`config.json` does not say it"), "{error}");
    let error = of_names(&llama(2, &[]), Some(&json!({"num_attention_heads": 5}))).unwrap_err();
    assert!(matches!(error, NamesError::Shape { .. }), "{error}");
    let error = of_names(&llama(2, &[]), Some(&json!({"num_attention_heads": "four"}))).unwrap_err();
    assert!(error.to_string().contains("\"four\""), "{error}");
    let mut short = llama(2, &[]);
    short.retain(|(name, _)| name != "model.layers.1.mlp.up_proj.weight");
    let error = of_names(&short, Some(&config())).unwrap_err();
    assert!(error.to_string().contains("`model.layers.1.mlp.up_proj.weight` is missing"), "{error}");
    assert!(error.help().unwrap().contains("NAME.symmetries"));
}

#[test]
fn unknown_tensors_stay_unless_they_are_as_wide_as_the_stream() {
    let mut more = llama(2, &[]);
    more.push(header("model.extra.scale", &[3]));
    let found = of_names(&more, Some(&config())).unwrap();
    assert_eq!(found.notes, ["not described, and left as they are: `model.extra.scale`"]);
    more.push(header("model.layers.0.adapter.weight", &[8, 64]));
    let error = of_names(&more, Some(&config())).unwrap_err();
    assert!(error.to_string().contains("`model.layers.0.adapter.weight`"), "{error}");
    let error = of_names(&[header("a", &[2])], None).unwrap_err();
    assert!(error.to_string().contains("`a`") && error.to_string().contains("GPT-2"), "{error}");
}

#[test]
fn gpt2() {
    let mut all = vec![header("wte.weight", &[100, 64]), header("wpe.weight", &[32, 64])];
    for layer in 0..2 {
        let mut add = |name: &str, shape: &[usize]| all.push(header(&format!("h.{layer}.{name}"), shape));
        for norm in ["ln_1", "ln_2"] {
            add(&format!("{norm}.weight"), &[64]);
            add(&format!("{norm}.bias"), &[64]);
        }
        add("attn.bias", &[1, 1, 64, 64]);
        add("attn.c_attn.weight", &[64, 192]);
        add("attn.c_attn.bias", &[192]);
        add("attn.c_proj.weight", &[64, 64]);
        add("attn.c_proj.bias", &[64]);
        add("mlp.c_fc.weight", &[64, 256]);
        add("mlp.c_fc.bias", &[256]);
        add("mlp.c_proj.weight", &[256, 64]);
        add("mlp.c_proj.bias", &[64]);
    }
    all.push(header("ln_f.weight", &[64]));
    all.push(header("ln_f.bias", &[64]));
    let found = of_names(&all, Some(&config())).unwrap();
    assert_eq!(found.nodes.len(), 1 + 2 * 4);
    let at = "h.0.attn";
    assert_eq!(
        axes(&found, &format!("{at}.c_attn.weight")),
        format!(
            "reads stream, {at}.head · {at}.c_attn ++ {at}.head · {at}.c_attn ++ {at}.head · {at}.c_attn.v"
        )
    );
    assert_eq!(
        axes(&found, &format!("{at}.c_proj.weight")),
        format!("reads {at}.head · {at}.c_attn.v, stream")
    );
    assert_eq!(axes(&found, "h.1.mlp.c_proj.weight"), "reads h.1.mlp.c_fc, stream");
    let error = of_names(&all, None).unwrap_err();
    assert!(error.to_string().contains("`n_head`"), "{error}");
}

#[test]
fn neox() {
    let mut all = vec![header("gpt_neox.embed_in.weight", &[100, 64])];
    let mut add = |name: &str, shape: &[usize]| all.push(header(&format!("gpt_neox.layers.0.{name}"), shape));
    for norm in ["input_layernorm", "post_attention_layernorm"] {
        add(&format!("{norm}.weight"), &[64]);
        add(&format!("{norm}.bias"), &[64]);
    }
    for (name, out, from) in [
        ("attention.query_key_value", 192, 64),
        ("attention.dense", 64, 64),
        ("mlp.dense_h_to_4h", 256, 64),
        ("mlp.dense_4h_to_h", 64, 256),
    ] {
        add(&format!("{name}.weight"), &[out, from]);
        add(&format!("{name}.bias"), &[out]);
    }
    add("attention.rotary_emb.inv_freq", &[2]);
    all.push(header("gpt_neox.final_layer_norm.weight", &[64]));
    all.push(header("gpt_neox.final_layer_norm.bias", &[64]));
    all.push(header("embed_out.weight", &[100, 64]));
    let found = of_names(&all, Some(&config())).unwrap();
    assert_eq!(found.nodes.len(), 4);
    let at = "gpt_neox.layers.0.attention";
    let fused = format!("{at}.query_key_value");
    assert_eq!(
        axes(&found, &format!("{fused}.weight")),
        format!("{at}.head · (pin[32] ++ {fused}.v), reads stream")
    );
    assert_eq!(axes(&found, &format!("{at}.dense.weight")), format!("stream, reads {at}.head · {fused}.v"));
    assert_eq!(found.notes, [] as [String; 0]);
}

fn linear(all: &mut Vec<Header>, name: &str, out: usize, from: usize) {
    all.push(header(&format!("{name}.weight"), &[out, from]));
    all.push(header(&format!("{name}.bias"), &[out]));
}

fn layer_norm(all: &mut Vec<Header>, name: &str, width: usize) {
    all.push(header(&format!("{name}.weight"), &[width]));
    all.push(header(&format!("{name}.bias"), &[width]));
}

/// BERT's body; `prefix` ends with a dot.
fn bert(prefix: &str) -> Vec<Header> {
    bert_of(prefix, 100, 64)
}

/// The same with this many words and units in the stream.
fn bert_of(prefix: &str, words: usize, width: usize) -> Vec<Header> {
    let mut all = vec![
        header(&format!("{prefix}embeddings.word_embeddings.weight"), &[words, width]),
        header(&format!("{prefix}embeddings.position_embeddings.weight"), &[32, width]),
        header(&format!("{prefix}embeddings.token_type_embeddings.weight"), &[2, width]),
        header(&format!("{prefix}embeddings.position_ids"), &[1, 32]),
    ];
    layer_norm(&mut all, &format!("{prefix}embeddings.LayerNorm"), width);
    for layer in 0..2 {
        let at = format!("{prefix}encoder.layer.{layer}");
        for map in
            ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
        {
            linear(&mut all, &format!("{at}.{map}"), width, width);
        }
        layer_norm(&mut all, &format!("{at}.attention.output.LayerNorm"), width);
        linear(&mut all, &format!("{at}.intermediate.dense"), 4 * width, width);
        linear(&mut all, &format!("{at}.output.dense"), width, 4 * width);
        layer_norm(&mut all, &format!("{at}.output.LayerNorm"), width);
    }
    all
}

#[test]
fn bert_and_roberta_with_their_heads() {
    // Masked tokens: the decoder is the embedding, so what comes in front of it is the stream.
    let mut masked = bert("bert.");
    linear(&mut masked, "cls.predictions.transform.dense", 64, 64);
    layer_norm(&mut masked, "cls.predictions.transform.LayerNorm", 64);
    masked.push(header("cls.predictions.bias", &[100]));
    masked.push(header("cls.predictions.decoder.weight", &[100, 64]));
    let found = of_names(&masked, Some(&config())).unwrap();
    assert_eq!(found.nodes.len(), 1 + 2 * 4);
    assert_eq!(axes(&found, "cls.predictions.transform.dense.weight"), "stream, reads stream");
    assert_eq!(axes(&found, "bert.embeddings.word_embeddings.weight"), "pin[100], both stream");
    let at = "bert.encoder.layer.1.attention";
    assert_eq!(
        axes(&found, &format!("{at}.self.key.weight")),
        format!("{at}.head · {at}.self.query, reads stream")
    );
    // Classes of a sequence: BERT reads what is pooled, RoBERTa has a layer of its own.
    let mut classes = bert("bert.");
    linear(&mut classes, "bert.pooler.dense", 64, 64);
    linear(&mut classes, "classifier", 3, 64);
    let found = of_names(&classes, Some(&of_class("BertForSequenceClassification"))).unwrap();
    assert_eq!(axes(&found, "classifier.weight"), "pin[3], reads bert.pooler.dense");
    let mut classes = bert("roberta.");
    linear(&mut classes, "classifier.dense", 64, 64);
    linear(&mut classes, "classifier.out_proj", 3, 64);
    let found = of_names(&classes, Some(&config())).unwrap();
    assert_eq!(axes(&found, "classifier.out_proj.weight"), "pin[3], reads classifier.dense");
    // Without a head the stream is the output.
    let found = of_names(&bert(""), Some(&config())).unwrap();
    assert!(found.named("stream").is_none() && found.nodes.len() == 2 * 4);
    assert!(found.notes[0].contains("`stream`"), "{:?}", found.notes);
}

/// ViT with one layer, 2 channels, patches of 2, 6 patches and the class token.
fn vit() -> Vec<Header> {
    let mut all = vec![
        header("vit.embeddings.cls_token", &[1, 1, 8]),
        header("vit.embeddings.position_embeddings", &[1, 7, 8]),
        header("vit.embeddings.patch_embeddings.projection.weight", &[8, 2, 2, 2]),
        header("vit.embeddings.patch_embeddings.projection.bias", &[8]),
    ];
    let at = "vit.encoder.layer.0";
    for map in ["query", "key", "value"] {
        linear(&mut all, &format!("{at}.attention.attention.{map}"), 8, 8);
    }
    linear(&mut all, &format!("{at}.attention.output.dense"), 8, 8);
    linear(&mut all, &format!("{at}.intermediate.dense"), 12, 8);
    linear(&mut all, &format!("{at}.output.dense"), 8, 12);
    layer_norm(&mut all, &format!("{at}.layernorm_before"), 8);
    layer_norm(&mut all, &format!("{at}.layernorm_after"), 8);
    layer_norm(&mut all, "vit.layernorm", 8);
    linear(&mut all, "classifier", 3, 8);
    all
}

#[test]
fn vision_transformers() {
    let found = of_names(&vit(), Some(&json!({"num_attention_heads": 2}))).unwrap();
    assert_eq!(found.nodes.len(), 5);
    assert_eq!(
        axes(&found, "vit.embeddings.patch_embeddings.projection.weight"),
        "stream, reads pin[2], pin[2], pin[2]"
    );
    assert_eq!(axes(&found, "vit.embeddings.position_embeddings"), "1, pin[7], stream");
}

#[test]
fn clip_has_two_towers() {
    let mut all = vec![
        header("logit_scale", &[]),
        header("text_model.embeddings.token_embedding.weight", &[100, 64]),
        header("text_model.embeddings.position_embedding.weight", &[77, 64]),
        header("text_model.embeddings.position_ids", &[1, 77]),
        header("vision_model.embeddings.class_embedding", &[96]),
        header("vision_model.embeddings.patch_embedding.weight", &[96, 3, 8, 8]),
        header("vision_model.embeddings.position_embedding.weight", &[17, 96]),
        header("visual_projection.weight", &[48, 96]),
        header("text_projection.weight", &[48, 64]),
    ];
    for (tower, width) in [("text_model", 64), ("vision_model", 96)] {
        let at = format!("{tower}.encoder.layers.0");
        for map in ["q", "k", "v", "out"] {
            linear(&mut all, &format!("{at}.self_attn.{map}_proj"), width, width);
        }
        linear(&mut all, &format!("{at}.mlp.fc1"), 4 * width, width);
        linear(&mut all, &format!("{at}.mlp.fc2"), width, 4 * width);
        layer_norm(&mut all, &format!("{at}.layer_norm1"), width);
        layer_norm(&mut all, &format!("{at}.layer_norm2"), width);
    }
    layer_norm(&mut all, "text_model.final_layer_norm", 64);
    layer_norm(&mut all, "vision_model.pre_layrnorm", 96);
    layer_norm(&mut all, "vision_model.post_layernorm", 96);
    let heads =
        json!({"text_config": {"num_attention_heads": 4}, "vision_config": {"num_attention_heads": 6}});
    let found = of_names(&all, Some(&heads)).unwrap();
    assert_eq!(found.nodes.len(), 10);
    assert_eq!(found.node(found.named("vision_model.encoder.layers.0.self_attn.head").unwrap()).size, 6);
    assert_eq!(axes(&found, "visual_projection.weight"), "pin[48], reads vision_model.stream");
    let error = of_names(&all, Some(&json!({"text_config": {"num_attention_heads": 4}}))).unwrap_err();
    assert!(error.to_string().contains("`vision_config.num_attention_heads`"), "{error}");
}

fn batch_norm(all: &mut Vec<Header>, name: &str, width: usize) {
    layer_norm(all, name, width);
    all.push(header(&format!("{name}.running_mean"), &[width]));
    all.push(header(&format!("{name}.running_var"), &[width]));
    all.push(header(&format!("{name}.num_batches_tracked"), &[]));
}

/// A bottleneck network with one block a stage; `groups` as in ResNeXt.
fn bottleneck(groups: usize) -> Vec<Header> {
    let mut all = vec![header("conv1.weight", &[8, 3, 7, 7])];
    batch_norm(&mut all, "bn1", 8);
    let mut from = 8;
    for stage in 1..=4 {
        let (inner, out) = (8 * stage, 32 * stage);
        let at = format!("layer{stage}.0");
        for (conv, to, taken, kernel) in
            [(1, inner, from, 1), (2, inner, inner / groups, 3), (3, out, inner, 1)]
        {
            all.push(header(&format!("{at}.conv{conv}.weight"), &[to, taken, kernel, kernel]));
            batch_norm(&mut all, &format!("{at}.bn{conv}"), to);
        }
        all.push(header(&format!("{at}.downsample.0.weight"), &[out, from, 1, 1]));
        batch_norm(&mut all, &format!("{at}.downsample.1"), out);
        from = out;
    }
    linear(&mut all, "fc", 10, from);
    all
}

#[test]
fn bottlenecks_plain_and_grouped() {
    let found = of_names(&bottleneck(1), None).unwrap();
    assert_eq!(found.nodes.len(), 1 + 4 * 3);
    assert_eq!(axes(&found, "layer2.0.downsample.0.weight"), "layer2.stream, reads layer1.stream, 1, 1");
    assert!(found.nodes.iter().all(|node| node.scalable));
    let found = of_names(&bottleneck(4), None).unwrap();
    assert_eq!(
        axes(&found, "layer1.0.conv2.weight"),
        "layer1.0.conv1.group · layer1.0.conv2, reads layer1.0.conv1, pin[3], pin[3]"
    );
    assert_eq!(
        axes(&found, "layer1.0.conv3.weight"),
        "layer1.stream, reads layer1.0.conv1.group · layer1.0.conv2, 1, 1"
    );
}

#[test]
fn vgg_with_three_linear_layers() {
    let mut all = Vec::new();
    for (place, to, from) in [(0, 8, 3), (3, 16, 8)] {
        all.push(header(&format!("features.{place}.weight"), &[to, from, 3, 3]));
        all.push(header(&format!("features.{place}.bias"), &[to]));
    }
    linear(&mut all, "classifier.0", 32, 16 * 49);
    linear(&mut all, "classifier.3", 32, 32);
    linear(&mut all, "classifier.6", 10, 32);
    let found = of_names(&all, None).unwrap();
    assert_eq!(axes(&found, "classifier.0.weight"), "classifier.0, reads features.3 · pin[49]");
    assert_eq!(axes(&found, "classifier.6.weight"), "pin[10], reads classifier.3");
    assert!(found.nodes.iter().all(|node| node.scalable));
}

#[test]
fn texts_beside_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("a.safetensors");
    std::fs::write(&checkpoint, "").unwrap();
    assert_eq!(beside(&checkpoint), None);
    let text = folder.path().join("a.symmetries");
    std::fs::write(&text, "node h[4]\nw = h, reads pin[2]\nb = h\nv = pin[3], reads h\n").unwrap();
    assert_eq!(beside(&checkpoint), Some(text.clone()));
    let model = [header("w", &[4, 2]), header("b", &[4]), header("v", &[3, 4]), header("c", &[1])];
    let found = of_file(&text, &model).unwrap();
    assert_eq!(found.notes, ["not described, and left as they are: `c`"]);
    let error = of_file(&text, &[header("w", &[5, 2])]).unwrap_err();
    assert!(error.to_string().contains("[5, 2]"), "{error}");
    std::fs::write(&text, "node h[4]\nw = g\n").unwrap();
    let error = of_file(&text, &model).unwrap_err();
    assert!(error.to_string().contains("line 2: there is no node `g`"), "{error}");
    // A folder's own text, its name with dots, and one inside.
    let model = folder.path().join("llama-3.2");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(model.join("model.symmetries"), "node h[4]").unwrap();
    assert_eq!(beside(&model), Some(model.join("model.symmetries")));
    std::fs::write(folder.path().join("llama-3.2.symmetries"), "").unwrap();
    assert_eq!(beside(&model), Some(model.join("model.symmetries")));
    std::fs::write(folder.path().join("llama-3.2.symmetries"), "node h[4]").unwrap();
    assert_eq!(beside(&model), Some(folder.path().join("llama-3.2.symmetries")));
    let declared = Symmetries::parse("node h[4]\nz = h").unwrap();
    assert!(of_text(declared, &[]).is_err());
}

/// Templates say the same as the graph, but for names.
#[cfg(feature = "learn")]
mod inferred {
    use fusion_network::Architecture;
    use fusion_sdk::symmetry::{Factor, Side};

    use super::*;

    /// Names, roles and axes with nodes numbered by their first use, sizes and parents; `rename` maps names of tensors.
    fn normal(found: &Symmetries, rename: &dyn Fn(&str) -> String) -> Vec<String> {
        let mut sorted: Vec<_> = found.tensors.iter().map(|tensor| (rename(&tensor.name), tensor)).collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut order = Vec::new();
        let mut lines = Vec::new();
        for (name, tensor) in sorted {
            let mut axes = Vec::new();
            for axis in &tensor.axes {
                let mut products = Vec::new();
                for product in &axis.segments {
                    let mut factors = Vec::new();
                    for factor in product {
                        factors.push(match factor {
                            Factor::Pinned(length) => format!("pin{length}"),
                            Factor::Node(id) => {
                                if !order.contains(id) {
                                    order.push(*id);
                                }
                                format!("n{}", order.iter().position(|own| own == id).unwrap())
                            }
                        });
                    }
                    products.push(factors.join("*"));
                }
                // What is pinned is neither read nor written.
                let moves = products.iter().any(|product| {
                    product.contains('n') && !product.starts_with("pin") || product.contains("*n")
                });
                let side = if moves { axis.side } else { Side::Writes };
                axes.push(format!("{side:?} {}", products.join("+")));
            }
            lines.push(format!("{name} {:?} {}", tensor.role, axes.join(", ")));
        }
        for (number, id) in order.iter().enumerate() {
            let node = found.node(*id);
            let mut parents: Vec<usize> = node
                .parents
                .iter()
                .map(|parent| order.iter().position(|own| own == parent).unwrap())
                .collect();
            parents.sort_unstable();
            lines.push(format!("n{number}[{}] in {parents:?} scalable {}", node.size, node.scalable));
        }
        lines
    }

    fn same(name: &str, arguments: Json, config: Json, rename: &dyn Fn(&str) -> String) {
        let network = Architecture::parse(name, arguments.as_object().unwrap()).unwrap();
        let inferred = network.symmetries().unwrap().disk;
        let headers: Vec<Header> =
            network.tensors().into_iter().map(|spec| (rename(&spec.name), spec.shape)).collect();
        let by_names = of_names(&headers, Some(&config)).unwrap();
        assert_eq!(normal(&by_names, &|name| name.to_owned()), normal(&inferred, rename), "{network}");
    }

    #[test]
    fn transformers() {
        let base = json!({"vocabulary": 50, "context": 16, "layers": 2, "dim": 32, "heads": 4});
        for more in [
            json!({"positions": "rope", "norm": "rms", "activation": "swiglu", "tied": false, "bias": false, "kv_heads": 2}),
            json!({"positions": "rope", "norm": "rms", "activation": "swiglu"}),
            json!({"kv_heads": 1, "tied": false}),
            json!({}),
        ] {
            let mut arguments = base.as_object().unwrap().clone();
            arguments.extend(more.as_object().unwrap().clone());
            same("transformer", arguments.into(), config(), &|name| name.to_owned());
        }
    }

    #[test]
    fn residual_networks_and_vgg() {
        for norm in ["batch", "layer"] {
            let arguments = json!({"depth": 14, "width": 0.5, "norm": norm, "input": [3, 8, 8]});
            let config = if norm == "layer" { json!({"norm": norm}) } else { json!({}) };
            same("resnet", arguments, config, &|name| name.to_owned());
        }
        for norm in ["none", "batch", "layer"] {
            let arguments = json!({"depth": 11, "width": 0.125, "norm": norm, "input": [3, 16, 16]});
            let config = if norm == "layer" { json!({"norm": norm}) } else { json!({}) };
            same("vgg", arguments, config, &|name| name.to_owned());
        }
    }

    #[test]
    fn vision_transformers() {
        let rename = |name: &str| {
            let name = name
                .replace("cls_token", "vit.embeddings.cls_token")
                .replace("pos_embed", "vit.embeddings.position_embeddings")
                .replace("patch_embed.proj", "vit.embeddings.patch_embeddings.projection")
                .replace("blocks.", "vit.encoder.layer.")
                .replace("self_attn.q_proj", "attention.attention.query")
                .replace("self_attn.k_proj", "attention.attention.key")
                .replace("self_attn.v_proj", "attention.attention.value")
                .replace("self_attn.o_proj", "attention.output.dense")
                .replace("input_layernorm", "layernorm_before")
                .replace("post_attention_layernorm", "layernorm_after")
                .replace("mlp.up_proj", "intermediate.dense")
                .replace("mlp.down_proj", "output.dense");
            match name.strip_prefix("norm.") {
                Some(field) => format!("vit.layernorm.{field}"),
                None => name.replace("head.", "classifier."),
            }
        };
        let arguments = json!({"input": [2, 4, 6], "patch": 2, "classes": 3, "layers": 2, "dim": 8, "heads": 2, "hidden": 12});
        same("vit", arguments, json!({"num_attention_heads": 2}), &rename);
    }
}
