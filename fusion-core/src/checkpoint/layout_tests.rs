use serde_json::json;

use super::*;

fn tensors(names: &[(&str, &[usize])]) -> Vec<TensorInfo> {
    let mut tensors: Vec<TensorInfo> = names
        .iter()
        .map(|(name, shape)| TensorInfo {
            name: (*name).to_owned(),
            dtype: Dtype::BF16,
            shape: shape.to_vec(),
            file: 0,
        })
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

fn owned(names: Vec<(String, Vec<usize>)>) -> Vec<TensorInfo> {
    tensors(&names.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect::<Vec<_>>())
}

fn llama(layers: usize, head: bool) -> Vec<TensorInfo> {
    let mut names = vec![
        ("model.embed_tokens.weight".to_owned(), vec![100, 8]),
        ("model.norm.weight".to_owned(), vec![8]),
    ];
    for layer in 0..layers {
        for (suffix, shape) in [
            ("self_attn.q_proj.weight", vec![8, 8]),
            ("mlp.up_proj.weight", vec![32, 8]),
            ("input_layernorm.weight", vec![8]),
        ] {
            names.push((format!("model.layers.{layer}.{suffix}"), shape));
        }
    }
    if head {
        names.push(("lm_head.weight".to_owned(), vec![100, 8]));
    }
    owned(names)
}

#[test]
fn a_decoder_has_one_stack_with_templates() {
    let layout =
        Layout::new(&llama(12, true), Some(&json!({"vocab_size": 100, "tie_word_embeddings": false})), &[]);
    let stack = layout.main().unwrap();
    assert_eq!((stack.prefix.as_str(), stack.count, layout.stacks.len()), ("model.layers", 12, 1));
    let suffixes: Vec<&str> = stack.templates.iter().map(|template| template.suffix.as_str()).collect();
    assert_eq!(suffixes, ["input_layernorm.weight", "mlp.up_proj.weight", "self_attn.q_proj.weight"]);
    assert!(stack.templates.iter().all(|template| template.layers == 12 && template.experts == 1));
    assert_eq!(stack.templates[1].shape.as_deref(), Some(&[32, 8][..]));
    assert_eq!(layout.layer_of("model.layers.11.mlp.up_proj.weight"), Some((0, 11)));
    assert_eq!(layout.layer_of("model.layers.12.mlp.up_proj.weight"), None);
    assert_eq!(layout.layer_of("model.layers.01.mlp.up_proj.weight"), None);
    assert_eq!(layout.layer_of("lm_head.weight"), None);
    assert_eq!(
        stack.renumber("model.layers.3.mlp.up_proj.weight", 40).unwrap(),
        "model.layers.40.mlp.up_proj.weight"
    );
    let vocabulary = layout.vocabulary.unwrap();
    assert_eq!(vocabulary.size, 100);
    assert_eq!(
        vocabulary.axes,
        [("lm_head.weight".to_owned(), 0), ("model.embed_tokens.weight".to_owned(), 0)]
    );
    assert!(layout.ties.is_empty());
    assert_eq!(layout.parameters, 12 * (64 + 256 + 8) + 1600 + 8);
    assert_eq!(layout.dtypes[&Dtype::BF16].0, 39);
}

#[test]
fn ties_are_declared_absent_or_shared() {
    let causal = json!({"tie_word_embeddings": true, "architectures": ["LlamaForCausalLM"]});
    let declared = Layout::new(&llama(2, true), Some(&causal), &[]);
    assert_eq!(declared.ties[0].reason, TieReason::Declared);
    let absent = Layout::new(&llama(2, false), Some(&causal), &[]);
    assert_eq!(absent.ties[0].reason, TieReason::Absent);
    assert_eq!(absent.ties[0].names, ["model.embed_tokens.weight"]);
    assert!(absent.tied_head());
    // A bare encoder has no head to tie.
    let bare = Layout::new(&llama(2, false), Some(&json!({"architectures": ["LlamaModel"]})), &[]);
    assert!(bare.ties.is_empty());
    let all = llama(2, true);
    let find = |name: &str| all.iter().position(|tensor| tensor.name == name).unwrap();
    let group = vec![find("lm_head.weight"), find("model.embed_tokens.weight")];
    let shared = Layout::new(&all, Some(&causal), &[group]);
    assert_eq!((shared.ties.len(), shared.ties[0].reason), (1, TieReason::SharedStorage));
    assert_eq!(shared.parameters, declared.parameters - 800);
}

#[test]
fn experts_nest_inside_of_layers_and_dense_layers_may_differ() {
    let mut names = Vec::new();
    for layer in 0..4 {
        names.push((format!("model.layers.{layer}.self_attn.q_proj.weight"), vec![8, 8]));
        if layer == 0 {
            names.push((format!("model.layers.{layer}.mlp.up_proj.weight"), vec![64, 8]));
        } else {
            for expert in 0..16 {
                for part in ["w1", "w2"] {
                    names.push((
                        format!("model.layers.{layer}.mlp.experts.{expert}.{part}.weight"),
                        vec![16, 8],
                    ));
                }
            }
        }
    }
    let layout = Layout::new(&owned(names), None, &[]);
    assert_eq!(layout.stacks.len(), 1);
    let stack = layout.main().unwrap();
    assert_eq!((stack.prefix.as_str(), stack.count), ("model.layers", 4));
    let told: Vec<(&str, usize, usize)> = stack
        .templates
        .iter()
        .map(|template| (template.suffix.as_str(), template.experts, template.layers))
        .collect();
    assert_eq!(
        told,
        [
            ("mlp.experts.{}.w1.weight", 16, 3),
            ("mlp.experts.{}.w2.weight", 16, 3),
            ("mlp.up_proj.weight", 1, 1),
            ("self_attn.q_proj.weight", 1, 4),
        ]
    );
    assert_eq!(layout.layer_of("model.layers.2.mlp.experts.7.w1.weight"), Some((0, 2)));
}

#[test]
fn several_stacks_are_ordered_by_parameters() {
    let mut names = Vec::new();
    for layer in 0..6 {
        names.push((format!("decoder.block.{layer}.layer.0.SelfAttention.q.weight"), vec![8, 8]));
        names.push((format!("decoder.block.{layer}.layer.0.layer_norm.weight"), vec![8]));
        names.push((format!("decoder.block.{layer}.layer.1.layer_norm.weight"), vec![8]));
        names.push((format!("decoder.block.{layer}.layer.1.EncDecAttention.q.weight"), vec![8, 8]));
    }
    for layer in 0..3 {
        names.push((format!("encoder.block.{layer}.layer.0.SelfAttention.q.weight"), vec![8, 8]));
    }
    let layout = Layout::new(&owned(names), None, &[]);
    let told: Vec<(&str, usize)> =
        layout.stacks.iter().map(|stack| (stack.prefix.as_str(), stack.count)).collect();
    assert_eq!(told, [("decoder.block", 6), ("encoder.block", 3)]);
    // Sub-layers of different kinds are no experts.
    assert!(layout.stacks[0].templates.iter().all(|template| template.experts == 1 && template.layers == 6));
    assert_eq!(layout.layer_of("encoder.block.2.layer.0.SelfAttention.q.weight"), Some((1, 2)));
}

#[test]
fn numbers_that_do_not_count_layers_are_none() {
    // A torch Sequential with activations in between, and sentence-transformers' outer numbering.
    let sequential = tensors(&[("0.weight", &[4, 4]), ("2.weight", &[4, 4])]);
    assert!(Layout::new(&sequential, None, &[]).stacks.is_empty());
    let single = tensors(&[("0.weight", &[4, 4]), ("0.bias", &[4])]);
    assert!(Layout::new(&single, None, &[]).stacks.is_empty());
    let mut names = vec![("1.linear.weight".to_owned(), vec![8, 8])];
    for layer in 0..3 {
        names.push((format!("0.auto_model.encoder.layer.{layer}.attention.weight"), vec![8, 8]));
    }
    let layout = Layout::new(&owned(names), None, &[]);
    assert_eq!(layout.stacks.len(), 1);
    assert_eq!(layout.main().unwrap().prefix, "0.auto_model.encoder.layer");
    // A model of one layer still has a stack.
    assert_eq!(Layout::new(&llama(1, true), None, &[]).main().unwrap().count, 1);
    // A name made of numbers costs no more than its length.
    let long = "0.".repeat(200_000) + "weight";
    let layout = Layout::new(&owned(vec![(long, vec![1])]), None, &[]);
    assert!(layout.stacks.len() <= 1);
}

#[test]
fn the_vocabulary_is_found_without_a_configuration_and_in_composed_ones() {
    let layout = Layout::new(&llama(2, true), None, &[]);
    assert_eq!(layout.vocabulary.unwrap().size, 100);
    let composed = json!({"text_config": {"vocab_size": 100, "tie_word_embeddings": true}, "architectures": ["XForConditionalGeneration"]});
    let layout = Layout::new(&llama(2, false), Some(&composed), &[]);
    assert_eq!(layout.vocabulary.as_ref().unwrap().axes.len(), 1);
    assert!(
        layout.tied_head()
            && layout.is_embedding("model.embed_tokens.weight")
            && !layout.is_embedding("lm_head.weight")
    );
    let none = Layout::new(&tensors(&[("fc.weight", &[10, 4]), ("head.weight", &[1000, 4])]), None, &[]);
    assert_eq!(none.vocabulary, None);
}
