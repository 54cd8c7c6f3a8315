//! What templates and declarations must not do: move a part of something and leave the rest. Each case is a checkpoint that once came out with another
//! function than it went in with.

use serde_json::{Value as Json, json};

use super::super::Found;
use super::{
    Header, Symmetries, axes, batch_norm, bert, bottleneck, config, header, layer_norm, linear, llama,
    of_class, of_names, tied,
};

fn refused(tensors: &[Header], config: &Json) -> String {
    of_names(tensors, Some(config)).unwrap_err().to_string()
}

/// Whether the stream moves.
fn free(tensors: &[Header], config: &Json) -> bool {
    let found = of_names(tensors, Some(config)).unwrap();
    let free = found.named("stream").is_some();
    assert_eq!(free, !found.notes.iter().any(|note| note.contains("`stream` stay")), "{:?}", found.notes);
    free
}

#[test]
fn a_stream_that_is_the_output_stays() {
    let (headless, with_head) = (llama(2, &["tied"]), llama(2, &[]));
    let of = |class: &str, tied: Json| json!({"num_attention_heads": 4, "architectures": [class], "tie_word_embeddings": tied});
    assert!(free(&headless, &of("LlamaForCausalLM", json!(true))));
    for config in [
        json!({"num_attention_heads": 4}),
        json!({"num_attention_heads": 4, "tie_word_embeddings": true}),
        of("MistralModel", json!(true)),
        of("LlamaForCausalLM", json!(false)),
        of("LlamaForCausalLM", Json::Null),
    ] {
        assert!(!free(&headless, &config), "{config}");
        // What does not touch the stream moves all the same.
        assert_eq!(of_names(&headless, Some(&config)).unwrap().nodes.len(), 8);
    }
    assert!(free(&with_head, &of("LlamaForCausalLM", json!(false))));
    assert!(free(&with_head, &json!({"num_attention_heads": 4})));
    assert!(!free(&with_head, &of("LlamaModel", json!(false))));
    // Where `config.json` does not say it, Gemma's embedding is its head.
    let gemma =
        json!({"num_attention_heads": 4, "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"});
    assert!(free(&headless, &gemma));
    let error = refused(&headless, &of("LlamaForCausalLM", json!("yes")));
    assert!(error.contains("`tie_word_embeddings`") && error.contains("\"yes\""), "{error}");

    let mut gpt2 = vec![header("wte.weight", &[100, 64]), header("wpe.weight", &[32, 64])];
    for (name, shape) in [
        ("attn.c_attn", [64, 192]),
        ("attn.c_proj", [64, 64]),
        ("mlp.c_fc", [64, 256]),
        ("mlp.c_proj", [256, 64]),
    ] {
        gpt2.push(header(&format!("h.0.{name}.weight"), &shape));
    }
    ["h.0.ln_1", "h.0.ln_2", "ln_f"].iter().for_each(|norm| layer_norm(&mut gpt2, norm, 64));
    for (class, moves) in [("GPT2LMHeadModel", true), ("GPT2Model", false)] {
        assert_eq!(free(&gpt2, &json!({"n_head": 4, "architectures": [class]})), moves, "{class}");
    }
    assert!(!free(&gpt2, &json!({"n_head": 4})));
}

/// Files of one model have its tensors by name, by layer, or as they were made; layer 10 comes behind layer 9 in all of them.
#[test]
fn the_order_of_a_file_does_not_matter() {
    let config = json!({"num_attention_heads": 4});
    let mut tensors = llama(2, &[]);
    let first: Vec<Header> = tensors.iter().filter(|(name, _)| name.contains("layers.0.")).cloned().collect();
    for layer in 2..11 {
        let at =
            |(name, shape): &Header| (name.replace("layers.0.", &format!("layers.{layer}.")), shape.clone());
        tensors.extend(first.iter().map(at));
    }
    let found = of_names(&tensors, Some(&config)).unwrap();
    let mut backwards = tensors.clone();
    backwards.reverse();
    let mut by_name = tensors;
    by_name.sort();
    for other in [backwards, by_name] {
        assert_eq!(of_names(&other, Some(&config)).unwrap(), found);
    }
    let place = |layer: usize| {
        let name = format!("model.layers.{layer}.mlp");
        found.nodes.iter().position(|node| node.name.starts_with(&name)).unwrap()
    };
    assert!(place(2) < place(9) && place(9) < place(10));
}

#[test]
fn what_a_classifier_reads_is_not_guessed() {
    let mut old = bert("bert.");
    linear(&mut old, "bert.pooler.dense", 64, 64);
    linear(&mut old, "classifier", 3, 64);
    let of = |class: &str| of_names(&old, Some(&of_class(class))).unwrap();
    let tokens = of("BertForTokenClassification");
    assert_eq!(axes(&tokens, "classifier.weight"), "pin[3], reads stream");
    assert_eq!(axes(&tokens, "bert.pooler.dense.weight"), "pin[64], reads stream");
    let pooled = of("BertForSequenceClassification");
    assert_eq!(axes(&pooled, "classifier.weight"), "pin[3], reads bert.pooler.dense");
    // Without a word on it both stay.
    for config in [json!({"num_attention_heads": 4}), of_class("MyBert")] {
        let either = of_names(&old, Some(&config)).unwrap();
        assert_eq!(axes(&either, "classifier.weight"), "pin[3], reads pin[64]");
        assert_eq!(axes(&either, "bert.pooler.dense.weight"), "pin[64], reads pin[64]");
        assert!(either.notes[0].contains("`architectures`"), "{:?}", either.notes);
    }
    let body = of("BertModel");
    assert_eq!(axes(&body, "classifier.weight"), "pin[3], reads pin[64]");
}

#[test]
fn relative_positions_keep_what_they_are_multiplied_by() {
    let mut relative = bert("bert.");
    for layer in 0..2 {
        let name = format!("bert.encoder.layer.{layer}.attention.self.distance_embedding.weight");
        relative.push(header(&name, &[63, 16]));
    }
    linear(&mut relative, "qa_outputs", 2, 64);
    let found = of_names(&relative, Some(&of_class("BertForQuestionAnswering"))).unwrap();
    let at = "bert.encoder.layer.1.attention";
    assert_eq!(
        axes(&found, &format!("{at}.self.query.weight")),
        format!("{at}.head · pin[16], reads stream")
    );
    assert_eq!(axes(&found, &format!("{at}.self.distance_embedding.weight")), "pin[63], reads pin[16]");
}

#[test]
fn group_norm_is_not_by_channel() {
    let mut group = bottleneck(1);
    group.retain(|(name, _)| !name.contains("running") && !name.contains("tracked"));
    let error = refused(&group, &json!({}));
    assert!(error.contains("`norm`") && error.contains("`bn1` has no running statistics"), "{error}");
    assert!(refused(&group, &json!({"norm": "group"})).contains("groups of channels"));
    let layer = of_names(&group, Some(&json!({"norm": "layer"}))).unwrap();
    assert_eq!(layer.nodes.len(), 1 + 4 * 3);
    // One that lacks them, in a projection.
    let mut one = bottleneck(1);
    one.retain(|(name, _)| !name.starts_with("layer3.0.downsample.1.running"));
    assert!(refused(&one, &json!({})).contains("`layer3.0.downsample.1`"));

    let mut vgg =
        vec![header("features.0.weight", &[8, 3, 3, 3]), header("features.3.weight", &[16, 8, 3, 3])];
    layer_norm(&mut vgg, "features.1", 8);
    batch_norm(&mut vgg, "features.4", 16);
    linear(&mut vgg, "classifier.0", 32, 16 * 49);
    linear(&mut vgg, "classifier.3", 10, 32);
    let found = of_names(&vgg, None).unwrap();
    assert_eq!(axes(&found, "features.3.weight"), "features.3, reads pin[8], pin[3], pin[3]");
    assert_eq!(axes(&found, "features.1.bias"), "pin[8]");
    assert!(found.notes[0].contains("groups"), "{:?}", found.notes);
    let layer = of_names(&vgg, Some(&json!({"norm": "instance"}))).unwrap();
    assert_eq!(axes(&layer, "features.1.bias"), "features.0");
}

#[test]
fn what_is_not_known_and_may_belong_to_what_moves_is_refused() {
    // A norm over hidden units; a convolution over channels; a scale in a place of its own behind a norm; a table that all layers share.
    let with = |mut model: Vec<Header>, name: &str, shape: &[usize]| {
        model.push(header(name, shape));
        model
    };
    let sub = with(llama(2, &[]), "model.layers.1.mlp.ffn_layernorm.weight", &[172]);
    let eca = with(bottleneck(1), "layer2.0.se.conv.weight", &[1, 1, 3]);
    let mut vgg = vec![header("features.0.weight", &[8, 3, 3, 3])];
    batch_norm(&mut vgg, "features.1", 8);
    linear(&mut vgg, "classifier", 10, 8);
    let prelu = with(vgg.clone(), "features.2.weight", &[8]);
    let shared = with(llama(2, &[]), "model.relative_bias.weight", &[32, 4]);
    for (model, name) in [
        (sub, "`model.layers.1.mlp.ffn_layernorm.weight`"),
        (eca, "`layer2.0.se.conv.weight`"),
        (prelu, "`features.2.weight`"),
        (shared, "`model.relative_bias.weight`"),
    ] {
        let error = refused(&model, &config());
        assert!(error.contains(name) && error.contains("not known"), "{error}");
    }
    // What is neither stays, and is said to.
    let other = Found::by_names(&with(vgg, "features.9.weight", &[3]), None).unwrap();
    assert_eq!(other.warnings, ["not described, and left as they are: `features.9.weight`"]);
}

#[test]
fn layers_and_heads_that_do_not_fit_are_named() {
    let without = |gone: &str| {
        let mut model = llama(2, &[]);
        let third: Vec<Header> = model
            .iter()
            .filter(|(name, _)| name.contains("layers.1."))
            .map(|(name, shape)| (name.replace("layers.1.", "layers.2."), shape.clone()))
            .collect();
        model.extend(third);
        model.retain(|(name, _)| !name.contains(gone));
        refused(&model, &config())
    };
    let error = without("layers.1.");
    assert!(error.contains("no tensor of `model.layers.1`") && error.contains("`model.layers.2`"), "{error}");
    let error = without("layers.1.self_attn.q_proj");
    assert!(error.contains("`model.layers.1.self_attn.q_proj.weight` is missing"), "{error}");

    let mut wrong = config();
    wrong["num_attention_heads"] = json!(8);
    wrong["num_key_value_heads"] = json!(2);
    // By the shapes four heads of keys of 8 numbers each.
    let error = refused(&llama(2, &[]), &wrong);
    assert!(
        error.contains("`num_key_value_heads`") && error.contains("says 2") && error.contains("4 heads"),
        "{error}"
    );
    let error = refused(&llama(2, &["norms"]), &json!({"num_attention_heads": 8}));
    assert!(error.contains("`num_attention_heads`") && error.contains("16 numbers"), "{error}");
}

#[test]
fn models_that_see_images_move_within_layers() {
    for (prefix, head, tower) in [
        ("language_model.model.", "language_model.lm_head.weight", "vision_tower."),
        ("model.language_model.", "lm_head.weight", "model.visual."),
    ] {
        let rename = |name: &str| match name.strip_prefix("model.") {
            Some(rest) => format!("{prefix}{rest}"),
            None => head.to_owned(),
        };
        let mut model: Vec<Header> =
            llama(2, &[]).into_iter().map(|(name, shape)| (rename(&name), shape)).collect();
        model.push(header(&format!("{tower}blocks.0.attn.qkv.weight"), &[96, 32]));
        model.push(header(&format!("{tower}merger.weight"), &[64, 32]));
        let config = json!({"architectures": ["LlavaForConditionalGeneration"], "text_config": {"num_attention_heads": 4, "num_key_value_heads": 2}});
        let Found { symmetries: found, warnings } = Found::by_names(&model, Some(&config)).unwrap();
        assert_eq!((found.nodes.len(), found.named("stream")), (8, None));
        assert_eq!(axes(&found, head), "pin[100], reads pin[64]");
        assert!(found.notes[0].contains(tower.trim_end_matches('.')), "{:?}", found.notes);
        assert_eq!(warnings.len(), 1);
        let error = refused(&model, &json!({"text_config": {"model_type": "llama"}}));
        assert!(error.contains("`text_config.num_attention_heads`"), "{error}");
    }
    // Without such a part it is a model of texts, whose numbers may be in the part for texts.
    let mut texts = json!({"text_config": {"num_attention_heads": 4, "tie_word_embeddings": true}});
    texts["architectures"] = json!(["Gemma3ForConditionalGeneration"]);
    assert!(free(&llama(2, &["tied"]), &texts));
    assert!(free(&llama(2, &["tied"]), &tied(json!({"num_attention_heads": 4}))));
}

#[test]
fn declarations_that_move_one_half_are_refused() {
    let model = llama(2, &["bias"]);
    let read = |text: &str| Found::by_text(Symmetries::parse(text).unwrap(), &model);
    let error = |text: &str| read(text).unwrap_err().to_string();
    let mlp = "model.layers.0.mlp";
    // Made and never read; read and never made; without the tensor that reads them.
    let text = format!("node h[172]\n{mlp}.up_proj.weight = h, pin[64]");
    assert!(
        error(&text).contains("`h`") && error(&text).contains("nothing is declared to read them"),
        "{}",
        error(&text)
    );
    let text = format!("node h[172]\n{mlp}.down_proj.weight = pin[64], reads h");
    assert!(error(&text).contains("nothing is declared to make them"), "{}", error(&text));
    let made = format!(
        "node h[172]\n{mlp}.up_proj.weight = h, reads pin[64]\n{mlp}.gate_proj.weight = h, reads pin[64]\n"
    );
    assert!(error(&made).contains(&format!("`{mlp}.down_proj.weight` is as long")), "{}", error(&made));
    assert!(read(&made).unwrap_err().help().unwrap().contains("bias and norm"));
    // With it, it is a description that begins small; the rest is named.
    let found = read(&format!("{made}{mlp}.down_proj.weight = pin[64], reads h")).unwrap();
    let said = found.warnings;
    assert!(said.len() == 1 && said[0].starts_with("not described") && said[0].ends_with("more"), "{said:?}");
    // A layer without its bias.
    let at = "model.layers.0.self_attn";
    let values = format!("node d[32]\n{at}.v_proj.weight = d, reads pin[64]\n");
    let text = error(&format!("{values}{at}.o_proj.weight = pin[64], reads d ++ pin[32]"));
    assert!(text.contains(&format!("`{at}.v_proj.bias` [32] is left out")), "{text}");
    // Queries and keys are compared, so nothing reads them; it is said where something could.
    let compared = format!(
        "node h[32]\n{at}.q_proj.weight = h ++ pin[32], reads pin[64]\n{at}.q_proj.bias = h ++ pin[32]\n{at}.k_proj.weight = h, reads pin[64]\n\
         {at}.k_proj.bias = h\n{at}.v_proj.weight = pin[32], reads pin[64]\n{at}.v_proj.bias = pin[32]\n\
         {at}.o_proj.weight = pin[64], reads pin[64]\n{mlp}.gate_proj.weight = pin[172], reads pin[64]\n\
         {mlp}.up_proj.weight = pin[172], reads pin[64]\n{mlp}.down_proj.weight = pin[64], reads pin[172]\n\
         model.layers.0.input_layernorm.weight = pin[64]\nmodel.layers.0.post_attention_layernorm.weight = pin[64]\n"
    );
    let found = read(&compared).unwrap();
    assert!(
        found.warnings[0].starts_with("nothing is declared to read the units `h`"),
        "{:?}",
        found.warnings
    );
    assert_eq!(found.warnings.len(), 2);
    assert_eq!(found.symmetries.notes, found.warnings);
}
