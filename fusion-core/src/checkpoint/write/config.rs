//! Patches the donor's `config.json` where the result differs, so that loaders build the model that was written.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::tensor::Dtype;

/// What differs from the donor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// The element type of the result's weights, where it was set.
    pub dtype: Option<Dtype>,
    /// Another stack of layers.
    pub layers: Option<LayerChange>,
    /// Whether the output head shares the embedding.
    pub tie_word_embeddings: Option<bool>,
}

/// How the result's layers come from the donor's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerChange {
    /// Layers of the donor.
    pub old: usize,
    /// For each layer of the result: the donor's layer, or the nearest one. Beyond the donor counts as its last.
    pub origin: Vec<usize>,
}

impl LayerChange {
    fn new_count(&self) -> usize {
        self.origin.len()
    }

    /// Whether the stack is the donor's, layer by layer.
    fn is_none(&self) -> bool {
        self.origin.len() == self.old && self.origin.iter().enumerate().all(|(new, &old)| new == old)
    }

    /// Whether the result's layers are the donor's first ones: settings by layer number keep their meaning.
    fn is_prefix(&self) -> bool {
        self.origin.iter().enumerate().all(|(new, &old)| new == old)
    }

    /// The result's layers, each as a number below `old`; nothing where the donor has no layers.
    fn origins(&self) -> impl Iterator<Item = usize> {
        let last = self.old.checked_sub(1);
        self.origin.iter().filter_map(move |&layer| last.map(|last| layer.min(last)))
    }
}

/// Objects that hold the settings of the language model in configs of models with more parts.
const LANGUAGE: [&str; 5] = ["text_config", "language_config", "llm_config", "thinker_config", "decoder"];
/// Names of the layer count: Llama and most others, GPT-2, ChatGLM and T5, MPT and DBRX.
const COUNTS: [&str; 4] = ["num_hidden_layers", "n_layer", "num_layers", "n_layers"];
/// Names of element types, new and old.
const DTYPES: [&str; 2] = ["dtype", "torch_dtype"];
/// Lists of layer numbers, as opposed to lists with one entry per layer.
const NUMBERS: [&str; 7] = [
    "mlp_only_layers",
    "cross_attention_layers",
    "moe_layers",
    "full_attn_idxs",
    "attn_layer_indices",
    "global_attn_layers",
    "full_attention_layers",
];
/// Lists that have nothing to do with layers, whatever their length.
const NOT_LAYERS: [&str; 9] = [
    "architectures",
    "mrope_section",
    "short_factor",
    "long_factor",
    "suppress_tokens",
    "begin_suppress_tokens",
    "image_grid_pinpoints",
    "bad_words_ids",
    "forced_decoder_ids",
];
/// Objects that have nothing to do with layers.
const NOT_LAYER_OBJECTS: [&str; 7] = [
    "rope_scaling",
    "rope_parameters",
    "quantization_config",
    "auto_map",
    "id2label",
    "label2id",
    "task_specific_params",
];
/// Settings whose meaning depends on layer numbers and that no rule can carry over.
const BY_NUMBER: [&str; 10] = [
    "first_k_dense_replace",
    "full_attention_interval",
    "sliding_window_pattern",
    "global_attn_every_n_layers",
    "decoder_sparse_step",
    "moe_layer_freq",
    "interleave_moe_layer_step",
    "no_rope_layer_interval",
    "attn_layer_period",
    "num_kv_shared_layers",
];

/// The donor's config with the changes applied, and notes on what was changed or needs a look. Keys keep their order.
///
/// - *dtype*: `dtype` and `torch_dtype` at the top and in every nested `*_config` (but `quantization_config`); a config
///   that names none gets `torch_dtype`.
/// - *layers*, at the top and in nested language model configs: counts equal to the donor's; lists with one entry per
///   layer (`layer_types`, …) rebuilt by origin; lists of layer numbers (`mlp_only_layers`, …) renumbered;
///   `max_window_layers` and pattern strings (`hybrid_override_pattern`) alike.
/// - *`tie_word_embeddings`*: at the top, and nested where it is there.
///
/// A config that is not an object is returned as it is, with a note.
#[must_use]
pub fn patch(config: &Value, change: &ConfigChange) -> (Value, Vec<String>) {
    let mut notes = Vec::new();
    let Value::Object(config) = config else {
        return (
            config.clone(),
            vec!["`config.json` is not a JSON object and was copied as it is".to_owned()],
        );
    };
    let mut config = config.clone();
    if let Some(dtype) = change.dtype {
        if !set_dtype(&mut config, dtype, true, &mut notes) {
            config.insert("torch_dtype".to_owned(), dtype.torch_name().into());
            notes.push(format!(
                "`config.json` named no dtype; added `torch_dtype` = `{}`",
                dtype.torch_name()
            ));
        }
        if config.get("quantization_config").is_some_and(|value| !value.is_null()) {
            notes.push(
                "`config.json` has a `quantization_config` of the donor: remove it if the result is not quantized so"
                    .to_owned(),
            );
        }
    }
    if let Some(layers) = change.layers.as_ref().filter(|layers| !layers.is_none()) {
        let mut counted = false;
        set_layers(&mut config, layers, "", &mut counted, &mut notes);
        if !counted {
            notes.push(format!(
                "no layer count of {} found in `config.json`: set it to {} by hand",
                layers.old,
                layers.new_count()
            ));
        }
    }
    if let Some(tied) = change.tie_word_embeddings {
        set_tied(&mut config, tied, "", &mut notes);
    }
    (Value::Object(config), notes)
}

fn path(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn set(object: &mut Map<String, Value>, key: &str, value: Value, prefix: &str, notes: &mut Vec<String>) {
    if let Some(old) = object.get_mut(key)
        && *old != value
    {
        notes.push(format!("`{}`: {old} is now {value}", path(prefix, key)));
        *old = value;
    }
}

/// Returns whether any dtype was named.
fn set_dtype(object: &mut Map<String, Value>, dtype: Dtype, top: bool, notes: &mut Vec<String>) -> bool {
    let mut named = false;
    for key in DTYPES {
        // A nested `null` inherits from the top.
        if object.get(key).is_some_and(|value| value.is_string() || (top && value.is_null())) {
            set(object, key, dtype.torch_name().into(), "", notes);
            named = true;
        }
    }
    for (key, value) in object.iter_mut() {
        let part = key.ends_with("_config") || LANGUAGE.contains(&key.as_str());
        if let Value::Object(inner) = value
            && part
            && key != "quantization_config"
        {
            named |= set_dtype(inner, dtype, false, notes);
        }
    }
    named
}

fn set_layers(
    object: &mut Map<String, Value>,
    layers: &LayerChange,
    prefix: &str,
    counted: &mut bool,
    notes: &mut Vec<String>,
) {
    for key in COUNTS {
        if object.get(key).and_then(Value::as_u64) == Some(layers.old as u64) {
            set(object, key, layers.new_count().into(), prefix, notes);
            *counted = true;
        }
    }
    if object.get("max_window_layers").and_then(Value::as_u64) == Some(layers.old as u64) {
        set(object, "max_window_layers", layers.new_count().into(), prefix, notes);
    }
    rebuild_lists(object, layers, prefix, notes);
    for key in LANGUAGE {
        if let Some(Value::Object(inner)) = object.get_mut(key) {
            set_layers(inner, layers, &path(prefix, key), counted, notes);
        }
    }
    if !layers.is_prefix() {
        for key in BY_NUMBER {
            if object.get(key).is_some_and(|value| !value.is_null() && *value != 0 && *value != 1) {
                notes.push(format!(
                    "`{}` depends on layer numbers, which have changed: check it by hand",
                    path(prefix, key)
                ));
            }
        }
    }
}

/// Lists and pattern strings in an object and in the plain objects within it; language configs come on their own.
fn rebuild_lists(
    object: &mut Map<String, Value>,
    layers: &LayerChange,
    prefix: &str,
    notes: &mut Vec<String>,
) {
    for (key, value) in object.iter_mut() {
        let name = path(prefix, key);
        match value {
            Value::Array(list) if NUMBERS.contains(&key.as_str()) => {
                let chosen: BTreeSet<u64> = list.iter().filter_map(Value::as_u64).collect();
                let new: Vec<Value> = layers
                    .origins()
                    .enumerate()
                    .filter(|(_, old)| chosen.contains(&(*old as u64)))
                    .map(|(new, _)| Value::from(new))
                    .collect();
                if *list != new {
                    notes.push(format!("`{name}`: layer numbers follow the new stack"));
                    *list = new;
                }
            }
            Value::Array(list) if list.len() == layers.old && is_per_layer(key) => {
                let new: Vec<Value> = layers.origins().filter_map(|old| list.get(old).cloned()).collect();
                if *list != new {
                    notes.push(format!(
                        "`{name}`: {} entries, one per layer, instead of {}",
                        new.len(),
                        list.len()
                    ));
                    *list = new;
                }
            }
            Value::String(text) if key.ends_with("_pattern") && text.chars().count() == layers.old => {
                let old: Vec<char> = text.chars().collect();
                let new: String = layers.origins().filter_map(|layer| old.get(layer)).collect();
                if *text != new {
                    notes.push(format!("`{name}`: one letter per layer of the new stack"));
                    *text = new;
                }
            }
            Value::Object(inner) if is_plain(key) => rebuild_lists(inner, layers, &name, notes),
            _ => {}
        }
    }
}

fn is_per_layer(key: &str) -> bool {
    let other = NOT_LAYERS.contains(&key)
        || ["_token_id", "_token_ids", "_section", "_sizes"].iter().any(|s| key.ends_with(s));
    !other
}

/// Whether an object belongs to the model around it: other parts have layers of their own.
fn is_plain(key: &str) -> bool {
    !(NOT_LAYER_OBJECTS.contains(&key)
        || LANGUAGE.contains(&key)
        || key == "encoder"
        || key.ends_with("_config")
            && ["vision", "audio", "image", "video", "encoder", "talker", "projector"]
                .iter()
                .any(|part| key.contains(part)))
}

fn set_tied(object: &mut Map<String, Value>, tied: bool, prefix: &str, notes: &mut Vec<String>) {
    const KEY: &str = "tie_word_embeddings";
    if prefix.is_empty() && !object.contains_key(KEY) {
        object.insert(KEY.to_owned(), tied.into());
        notes.push(format!("`{KEY}`: added as {tied}"));
    }
    set(object, KEY, tied.into(), prefix, notes);
    for key in LANGUAGE {
        if let Some(Value::Object(inner)) = object.get_mut(key) {
            set_tied(inner, tied, &path(prefix, key), notes);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layers(old: usize, origin: &[usize]) -> ConfigChange {
        ConfigChange { layers: Some(LayerChange { old, origin: origin.to_vec() }), ..ConfigChange::default() }
    }

    #[test]
    fn llama_gets_dtype_and_layers_and_keeps_its_key_order() {
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_hidden_layers": 4, "use_cache": true,
            "torch_dtype": "float16", "eos_token_id": [1, 2, 3, 4], "rope_scaling": { "short_factor": [1, 2, 3, 4] }
        });
        let change = ConfigChange { dtype: Some(Dtype::BF16), ..layers(4, &[0, 1, 1, 2, 3, 3]) };
        let (new, notes) = patch(&config, &change);
        let mut expected = config.clone();
        expected["num_hidden_layers"] = 6.into();
        expected["torch_dtype"] = "bfloat16".into();
        assert_eq!(new.to_string(), expected.to_string(), "same keys in the same order");
        assert_eq!(
            notes,
            ["`torch_dtype`: \"float16\" is now \"bfloat16\"", "`num_hidden_layers`: 4 is now 6"]
        );
    }

    #[test]
    fn qwen_lists_follow_their_layers() {
        let config = json!({
            "num_hidden_layers": 4, "max_window_layers": 4, "dtype": "bfloat16",
            "layer_types": ["full", "sliding", "full", "linear"], "mlp_only_layers": [0, 3],
            "sliding_window_pattern": 2, "attention": { "scales": [1.0, 2.0, 3.0, 4.0] },
            "hybrid_override_pattern": "M*-E"
        });
        let (new, notes) = patch(&config, &layers(4, &[0, 3, 3, 1, 9]));
        assert_eq!(new["layer_types"], json!(["full", "linear", "linear", "sliding", "linear"]));
        assert_eq!(new["mlp_only_layers"], json!([0, 1, 2, 4]));
        assert_eq!(new["attention"]["scales"], json!([1.0, 4.0, 4.0, 2.0, 4.0]));
        assert_eq!(new["hybrid_override_pattern"], "MEE*E");
        assert_eq!(
            (new["num_hidden_layers"].clone(), new["max_window_layers"].clone()),
            (5.into(), 5.into())
        );
        assert!(
            notes.iter().any(|note| note.contains("`sliding_window_pattern` depends on layer numbers")),
            "{notes:?}"
        );
    }

    #[test]
    fn nested_language_configs_change_and_vision_does_not() {
        let config = json!({
            "text_config": { "num_hidden_layers": 2, "dtype": "float32", "layer_types": ["a", "b"], "tie_word_embeddings": true },
            "vision_config": { "num_hidden_layers": 2, "dtype": "float32", "depths": [1, 2] },
            "quantization_config": { "dtype": "x" }
        });
        let change = ConfigChange {
            dtype: Some(Dtype::F16),
            tie_word_embeddings: Some(false),
            ..layers(2, &[1, 0, 1])
        };
        let (new, notes) = patch(&config, &change);
        assert_eq!(
            new["text_config"],
            json!({ "num_hidden_layers": 3, "dtype": "float16", "layer_types": ["b", "a", "b"], "tie_word_embeddings": false })
        );
        assert_eq!(
            new["vision_config"],
            json!({ "num_hidden_layers": 2, "dtype": "float16", "depths": [1, 2] })
        );
        assert_eq!(new["quantization_config"]["dtype"], "x");
        assert_eq!(new["tie_word_embeddings"], false);
        assert!(notes.iter().any(|note| note.contains("quantization_config")), "{notes:?}");
    }

    #[test]
    fn nothing_to_change_changes_nothing() {
        let config = json!({ "num_hidden_layers": 3, "n": [1, 2, 3] });
        assert_eq!(patch(&config, &ConfigChange::default()), (config.clone(), vec![]));
        assert_eq!(patch(&config, &layers(3, &[0, 1, 2])), (config.clone(), vec![]));
        let (new, notes) = patch(&config, &layers(7, &[0]));
        assert_eq!(new, config);
        assert!(notes[0].contains("set it to 1 by hand"));
        let (new, _) =
            patch(&config, &ConfigChange { dtype: Some(Dtype::F8E4M3), ..ConfigChange::default() });
        assert_eq!(new["torch_dtype"], "float8_e4m3fn");
        assert_eq!(patch(&json!([1]), &layers(3, &[0])).0, json!([1]));
        assert_eq!(patch(&json!({ "num_layers": 0 }), &layers(0, &[0, 0])).0, json!({ "num_layers": 2 }));
    }
}
