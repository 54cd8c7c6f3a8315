//! Infers what a model is made of from names and shapes alone, so that no list of architectures has to be kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TensorInfo;
use crate::tensor::Dtype;

/// What headers and `config.json` tell about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Stacks of layers (decoder, encoder, vision tower), most parameters first: the main stack is `stacks[0]`.
    pub stacks: Vec<Stack>,
    /// Number of elements; tensors that share storage count once.
    pub parameters: u64,
    /// Per dtype the number of tensors and of elements.
    pub dtypes: BTreeMap<Dtype, (u64, u64)>,
    /// Tensors that must stay equal.
    pub ties: Vec<Tie>,
    /// The tokens' axis in the tensors that have one.
    pub vocabulary: Option<Vocabulary>,
}

/// A numbered series of layers, for example `model.layers.0` to `model.layers.21`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// What stands before the number, without the dot: `model.layers`; empty where names start with the number.
    pub prefix: String,
    /// Number of layers; they are numbered from 0 without gaps.
    pub count: usize,
    /// Elements of all its tensors.
    pub parameters: u64,
    /// What a layer consists of, sorted by suffix.
    pub templates: Vec<Template>,
}

/// One tensor of a layer, or one per expert of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// What stands after the layer's number: `self_attn.q_proj.weight`; `{}` stands for an expert's number.
    pub suffix: String,
    /// Number of experts behind `{}`; 1 where there is none.
    pub experts: usize,
    /// Number of layers that have it (dense and expert layers of one model differ).
    pub layers: usize,
    /// Its shape, where all layers agree.
    pub shape: Option<Vec<usize>>,
    /// Its dtype, where all layers agree.
    pub dtype: Option<Dtype>,
}

/// Tensors that must stay equal, because they are one parameter under several names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tie {
    /// Names, sorted; with [`TieReason::Absent`] only that of the embedding, for the file does not name the other.
    pub names: Vec<String>,
    /// How it is known.
    pub reason: TieReason,
}

/// How a [`Tie`] is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TieReason {
    /// The file stores them once.
    SharedStorage,
    /// `config.json` sets `tie_word_embeddings` and the file stores both.
    Declared,
    /// The output head is not in the file: the input embedding takes its place.
    Absent,
}

/// The axis that counts tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Number of rows, padding included.
    pub size: usize,
    /// Tensors with that axis, and which axis it is; sorted by name.
    pub axes: Vec<(String, usize)>,
}

impl Layout {
    /// Infers the layout. `shared` lists groups of positions in `tensors` that share storage.
    #[must_use]
    pub fn new(tensors: &[TensorInfo], config: Option<&Value>, shared: &[Vec<usize>]) -> Self {
        let stacks = find_stacks(tensors);
        let mut dtypes: BTreeMap<Dtype, (u64, u64)> = BTreeMap::new();
        let mut parameters = 0u64;
        for tensor in tensors {
            let entry = dtypes.entry(tensor.dtype).or_default();
            entry.0 += 1;
            entry.1 += tensor.len() as u64;
            parameters += tensor.len() as u64;
        }
        for group in shared {
            parameters -= group.iter().skip(1).map(|&index| tensors[index].len() as u64).sum::<u64>();
        }
        let mut layout = Self { stacks, parameters, dtypes, ties: Vec::new(), vocabulary: None };
        layout.ties = layout.find_ties(tensors, config, shared);
        layout.vocabulary = layout.find_vocabulary(tensors, config);
        layout
    }

    /// The stack with most parameters: what `layers` means in a recipe.
    #[must_use]
    pub fn main(&self) -> Option<&Stack> {
        self.stacks.first()
    }

    /// The layer of the main stack that a tensor belongs to.
    #[must_use]
    pub fn main_layer_of(&self, name: &str) -> Option<usize> {
        self.main()?.layer_of(name)
    }

    /// Whether a tensor is part of what comes before the layers: an embedding of tokens, positions or types, outside of
    /// every stack.
    #[must_use]
    pub fn is_embedding(&self, name: &str) -> bool {
        self.layer_of(name).is_none()
            && !is_output_head(name)
            && (is_input_embedding(name)
                || name.split('.').any(|part| {
                    part.contains("embed") && part != "embed_out" || part == "wpe" || part == "wte"
                }))
    }

    /// Whether the output head is the input embedding under another name.
    #[must_use]
    pub fn tied_head(&self) -> bool {
        self.ties
            .iter()
            .any(|tie| tie.reason == TieReason::Absent || tie.names.iter().any(|name| is_output_head(name)))
    }

    /// Which stack (position in [`Self::stacks`]) and which layer of it a tensor belongs to.
    #[must_use]
    pub fn layer_of(&self, name: &str) -> Option<(usize, usize)> {
        self.stacks.iter().enumerate().find_map(|(index, stack)| Some((index, stack.layer_of(name)?)))
    }

    fn find_ties(&self, tensors: &[TensorInfo], config: Option<&Value>, shared: &[Vec<usize>]) -> Vec<Tie> {
        let mut ties: Vec<Tie> = shared
            .iter()
            .map(|group| Tie {
                names: group.iter().map(|&index| tensors[index].name.clone()).collect(),
                reason: TieReason::SharedStorage,
            })
            .collect();
        let declared = setting(config, "tie_word_embeddings").and_then(Value::as_bool);
        let outside = || {
            tensors.iter().filter(|tensor| self.layer_of(&tensor.name).is_none() && tensor.shape.len() == 2)
        };
        let inputs: Vec<&TensorInfo> = outside().filter(|tensor| is_input_embedding(&tensor.name)).collect();
        let head = outside().find(|tensor| is_output_head(&tensor.name));
        // An encoder-decoder model repeats its embedding; only one input embedding makes the tie plain.
        let [input] = inputs.as_slice() else { return ties };
        match head {
            Some(head) if declared == Some(true) && head.shape == input.shape => {
                let mut names = vec![input.name.clone(), head.name.clone()];
                names.sort();
                if !ties.iter().any(|tie| names.iter().all(|name| tie.names.contains(name))) {
                    ties.push(Tie { names, reason: TieReason::Declared });
                }
            }
            None if declared != Some(false) && predicts_tokens(config) => {
                ties.push(Tie { names: vec![input.name.clone()], reason: TieReason::Absent });
            }
            _ => {}
        }
        ties
    }

    fn find_vocabulary(&self, tensors: &[TensorInfo], config: Option<&Value>) -> Option<Vocabulary> {
        let candidates: Vec<&TensorInfo> = tensors
            .iter()
            .filter(|tensor| self.layer_of(&tensor.name).is_none())
            .filter(|tensor| is_input_embedding(&tensor.name) || is_output_head(&tensor.name))
            .collect();
        let declared =
            setting(config, "vocab_size").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let size = match declared {
            Some(size) if candidates.iter().any(|tensor| tensor.shape.contains(&size)) => size,
            // Without a (matching) declaration: the rows of the embedding. A head alone may be a classifier's.
            _ => {
                let mut embeddings = candidates.iter().filter(|tensor| is_input_embedding(&tensor.name));
                embeddings.find(|tensor| tensor.shape.len() == 2).map(|tensor| tensor.shape[0])?
            }
        };
        // Axis 0 first: where the vocabulary is as large as the hidden size, embeddings and heads have it there.
        let axes = candidates
            .iter()
            .filter_map(|tensor| Some((tensor.name.clone(), tensor.shape.iter().position(|&n| n == size)?)))
            .collect();
        Some(Vocabulary { size, axes })
    }
}

impl Stack {
    /// The layer that a tensor of this name belongs to, if it is in this stack.
    #[must_use]
    pub fn layer_of(&self, name: &str) -> Option<usize> {
        let (index, _) = self.split(name)?;
        Some(index)
    }

    /// The same tensor's name in another layer, or `None` if `name` is not in this stack. `layer` may be beyond
    /// [`Self::count`], as when layers are stacked anew.
    #[must_use]
    pub fn renumber(&self, name: &str, layer: usize) -> Option<String> {
        let (_, suffix) = self.split(name)?;
        Some(self.name_of(layer, suffix))
    }

    /// The name of the tensor with this suffix in a layer.
    #[must_use]
    pub fn name_of(&self, layer: usize, suffix: &str) -> String {
        if self.prefix.is_empty() {
            format!("{layer}.{suffix}")
        } else {
            format!("{}.{layer}.{suffix}", self.prefix)
        }
    }

    fn split<'a>(&self, name: &'a str) -> Option<(usize, &'a str)> {
        let rest =
            if self.prefix.is_empty() { name } else { name.strip_prefix(&self.prefix)?.strip_prefix('.')? };
        let (digits, suffix) = rest.split_once('.')?;
        let index = number(digits)?;
        (index < self.count).then_some((index, suffix))
    }
}

/// A layer number as writers write it: digits without a leading zero.
fn number(text: &str) -> Option<usize> {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// A value of `config.json`, also where a composed model keeps it one level down.
fn setting<'a>(config: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    let config = config?;
    config.get(key).or_else(|| {
        ["text_config", "llm_config", "language_config"].iter().find_map(|inner| config.get(inner)?.get(key))
    })
}

/// Whether `config.json` is that of a model with an output head over tokens.
fn predicts_tokens(config: Option<&Value>) -> bool {
    let names = config.and_then(|config| config.get("architectures")).and_then(Value::as_array);
    names.is_some_and(|names| {
        names.iter().filter_map(Value::as_str).any(|name| {
            ["CausalLM", "LMHead", "ConditionalGeneration", "MaskedLM"].iter().any(|kind| name.contains(kind))
        })
    })
}

fn module_of(name: &str) -> Option<&str> {
    name.strip_suffix(".weight")
        .or_else(|| name.strip_suffix(".bias"))
        .map(|rest| rest.rsplit('.').next().unwrap_or(rest))
}

/// Whether this is an embedding of tokens, by the names that model code gives them; position and type embeddings are none.
#[must_use]
pub fn is_input_embedding(name: &str) -> bool {
    module_of(name).is_some_and(|module| {
        [
            "embed_tokens",
            "wte",
            "word_embeddings",
            "tok_embeddings",
            "embed_in",
            "tok_emb",
            "token_embedding",
            "token_embd",
            "word_embedding",
            "shared",
            "embeddings",
            "embedding",
            "tokens_embed",
            "embedder",
        ]
        .contains(&module)
    })
}

/// Whether this is the output head over tokens, by the names that model code gives it.
#[must_use]
pub fn is_output_head(name: &str) -> bool {
    module_of(name).is_some_and(|module| {
        ["lm_head", "embed_out", "output", "head", "score_head", "lm_output", "output_projection"]
            .contains(&module)
    })
}

/// One way to read a name as a layer's tensor.
struct Reading<'a> {
    prefix: &'a str,
    layer: usize,
    suffix: &'a str,
}

/// Every reading of a name, outermost number first.
fn readings(name: &str) -> impl Iterator<Item = Reading<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        while start < name.len() {
            let here = start;
            let end = name[here..].find('.')? + here;
            start = end + 1;
            if let Some(layer) = number(&name[here..end]) {
                return Some(Reading {
                    prefix: name[..here].trim_end_matches('.'),
                    layer,
                    suffix: &name[start..],
                });
            }
        }
        None
    })
    // Real names have two or three numbers; a name made of thousands must not cost the square of its length.
    .take(8)
}

/// The layers and suffixes seen under one prefix.
type Series<'a> = BTreeMap<usize, BTreeSet<&'a str>>;

/// Layers are numbered from 0 without gaps and have at least one tensor in common; a single one counts only if it
/// holds submodules, for a lone `0.weight` is no layer.
fn is_stack(series: &Series<'_>) -> bool {
    let contiguous = series.keys().copied().eq(0..series.len());
    let mut sets = series.values();
    let Some(first) = sets.next() else { return false };
    if series.len() == 1 {
        return contiguous && first.iter().filter(|suffix| suffix.contains('.')).count() > 1;
    }
    contiguous && first.iter().any(|suffix| series.values().all(|set| set.contains(suffix)))
}

fn find_stacks(tensors: &[TensorInfo]) -> Vec<Stack> {
    let mut series: BTreeMap<&str, Series<'_>> = BTreeMap::new();
    for tensor in tensors {
        for reading in readings(&tensor.name) {
            series
                .entry(reading.prefix)
                .or_default()
                .entry(reading.layer)
                .or_default()
                .insert(reading.suffix);
        }
    }
    let valid: BTreeMap<&str, usize> = series
        .iter()
        .filter(|(_, series)| is_stack(series))
        .map(|(&prefix, series)| (prefix, series.len()))
        .collect();
    // A name belongs to its outermost stack of several layers, else to its outermost single one.
    let mut members: BTreeMap<&str, Vec<(usize, &str, &TensorInfo)>> = BTreeMap::new();
    for tensor in tensors {
        let several =
            readings(&tensor.name).find(|reading| valid.get(reading.prefix).is_some_and(|&count| count > 1));
        let chosen =
            several.or_else(|| readings(&tensor.name).find(|reading| valid.contains_key(reading.prefix)));
        if let Some(reading) = chosen {
            members.entry(reading.prefix).or_default().push((reading.layer, reading.suffix, tensor));
        }
    }
    let mut stacks: Vec<Stack> = members
        .into_iter()
        .filter(|(prefix, members)| {
            // Inner series lose members to outer stacks; what is left must still be the whole series.
            let layers: BTreeSet<usize> = members.iter().map(|member| member.0).collect();
            layers.len() == valid[prefix]
        })
        .map(|(prefix, members)| Stack {
            prefix: prefix.to_owned(),
            count: valid[prefix],
            parameters: members.iter().map(|member| member.2.len() as u64).sum(),
            templates: templates(&members),
        })
        .collect();
    stacks.sort_by(|a, b| b.parameters.cmp(&a.parameters).then_with(|| a.prefix.cmp(&b.prefix)));
    stacks
}

/// Prefixes inside of a layer whose numbers are experts: 0 to n without gaps, all with the very same tensors.
fn expert_series<'a>(suffixes: &BTreeSet<&'a str>) -> BTreeMap<&'a str, usize> {
    let mut inner: BTreeMap<&str, Series<'_>> = BTreeMap::new();
    for suffix in suffixes {
        for reading in readings(suffix) {
            inner.entry(reading.prefix).or_default().entry(reading.layer).or_default().insert(reading.suffix);
        }
    }
    inner
        .into_iter()
        .filter(|(_, series)| series.len() > 1 && series.keys().copied().eq(0..series.len()))
        .filter(|(_, series)| series.values().all(|set| *set == series[&0]))
        .map(|(prefix, series)| (prefix, series.len()))
        .collect()
}

fn templates(members: &[(usize, &str, &TensorInfo)]) -> Vec<Template> {
    let suffixes: BTreeSet<&str> = members.iter().map(|member| member.1).collect();
    let experts = expert_series(&suffixes);
    let mut groups: BTreeMap<(String, usize), Vec<(usize, &TensorInfo)>> = BTreeMap::new();
    for &(layer, suffix, tensor) in members {
        let key = readings(suffix)
            .find_map(|reading| {
                let count = *experts.get(reading.prefix)?;
                let dot = if reading.prefix.is_empty() { "" } else { "." };
                Some((format!("{}{dot}{{}}.{}", reading.prefix, reading.suffix), count))
            })
            .unwrap_or_else(|| (suffix.to_owned(), 1));
        groups.entry(key).or_default().push((layer, tensor));
    }
    groups
        .into_iter()
        .map(|((suffix, experts), tensors)| {
            let first = tensors[0].1;
            let layers: BTreeSet<usize> = tensors.iter().map(|entry| entry.0).collect();
            Template {
                suffix,
                experts,
                layers: layers.len(),
                shape: tensors.iter().all(|entry| entry.1.shape == first.shape).then(|| first.shape.clone()),
                dtype: tensors.iter().all(|entry| entry.1.dtype == first.dtype).then_some(first.dtype),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
