//! Low-rank adapters as PEFT saves them, read as deltas so that base plus adapter never exists as a file or in memory.
//!
//! LoRA (Hu et al., 2021): W' = W + s·B·A with s = alpha / r, or alpha / √r for rank-stabilised adapters (Kalajdzievski,
//! 2023). File format and rules: `peft/tuners/lora` and `peft/utils/save_and_load.py` of PEFT 0.17.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::source::Role;
use super::{Checkpoint, CheckpointError, SourceFile, index};
use crate::tensor;

/// An adapter folder: `adapter_config.json` and `adapter_model.safetensors` or `.bin`.
#[derive(Debug)]
pub struct Adapter {
    path: PathBuf,
    weights: Checkpoint,
    config: SourceFile,
    settings: Value,
    base: Option<String>,
    targets: BTreeMap<String, LoraPair>,
    replacements: BTreeMap<String, usize>,
}

/// The two factors for one tensor of the base model.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// Position of A among the adapter's tensors: `rank × inputs`.
    pub a: usize,
    /// Position of B among the adapter's tensors: `outputs × rank`.
    pub b: usize,
    /// The rank r.
    pub rank: usize,
    /// What B·A is multiplied by.
    pub scale: f32,
    /// Whether the base stores the transpose of B·A (embeddings, and Conv1D layers, `fan_in_fan_out`).
    pub transposed: bool,
}

/// What an adapter does to a base model, by the base's tensor names, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an adapter changes the tensors named here"]
pub struct Bound {
    /// Tensors that get a low-rank delta: see [`Adapter::delta`].
    pub deltas: Vec<String>,
    /// Tensors that are replaced as a whole (`modules_to_save`, trained biases), and where in [`Adapter::weights`] the
    /// new one is. Disjoint from `deltas`.
    pub replacements: Vec<(String, usize)>,
}

/// A delta scale·B·A in f32, oriented as the base stores its tensor: B is `rows × rank`, A is `rank × columns`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// Rows of the tensor.
    pub rows: usize,
    /// Columns of the tensor.
    pub columns: usize,
    /// The rank.
    pub rank: usize,
    /// `rank × columns`, row-major.
    pub a: Vec<f32>,
    /// `rows × rank`, row-major.
    pub b: Vec<f32>,
    /// Multiplies the product.
    pub scale: f32,
}

/// What a tensor name in an adapter means.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    A { module: String, embedding: bool },
    B { module: String, embedding: bool },
    Whole { name: String },
    Refused(&'static str),
}

impl Adapter {
    /// Opens an adapter folder; reads its settings and headers, and pairs the factors.
    ///
    /// # Errors
    /// `Missing` if the folder holds no adapter; `Unsupported` for adapters that are more than W + s·B·A (other PEFT types,
    /// DoRA, replicated layers, initialisations that change the base); `Tensor` for factors without partner, of wrong rank
    /// or shape, convolutions, and names that mean nothing; else as [`Checkpoint::open`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let config_path = path.join("adapter_config.json");
        let file = ["adapter_model.safetensors", "adapter_model.bin"]
            .map(|name| path.join(name))
            .into_iter()
            .find(|f| f.is_file());
        let (true, Some(file)) = (config_path.is_file(), file) else {
            return Err(CheckpointError::Missing {
                path: path.to_owned(),
                fix: "an adapter is a folder with `adapter_config.json` and `adapter_model.safetensors` (or `.bin`)".to_owned(),
            });
        };
        let config = SourceFile::of(&config_path, Role::Config)?;
        let settings = index::read_object(&config_path)?;
        check_settings(&config_path, &settings)?;
        let weights = Checkpoint::open_file(&file)?;
        let base = settings.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
        let mut adapter = Self {
            path: path.to_owned(),
            weights,
            config,
            settings,
            base,
            targets: BTreeMap::new(),
            replacements: BTreeMap::new(),
        };
        adapter.pair(&config_path, &file)?;
        Ok(adapter)
    }

    fn pair(&mut self, config: &Path, file: &Path) -> Result<(), CheckpointError> {
        let mut halves: BTreeMap<(String, bool), (Option<usize>, Option<usize>)> = BTreeMap::new();
        for (position, info) in self.weights.tensors().iter().enumerate() {
            let wrong =
                |offence: &str, fix: &str| CheckpointError::of_tensor(file, info.name.as_str(), offence, fix);
            let twice = || {
                wrong("the adapter holds it under two names", "save the adapter again with `save_pretrained`")
            };
            match part_of(&info.name) {
                Part::A { module, embedding } => {
                    if halves.entry((module, embedding)).or_default().0.replace(position).is_some() {
                        return Err(twice());
                    }
                }
                Part::B { module, embedding } => {
                    if halves.entry((module, embedding)).or_default().1.replace(position).is_some() {
                        return Err(twice());
                    }
                }
                Part::Whole { name } => {
                    if self.replacements.insert(name, position).is_some() {
                        return Err(twice());
                    }
                }
                Part::Refused(why) => {
                    return Err(wrong(
                        why,
                        "merge the adapter into its base with PEFT's `merge_and_unload` first",
                    ));
                }
            }
        }
        let scaling = Scaling::read(config, &self.settings)?;
        for ((module, embedding), halves) in halves {
            let name = format!("{module}.weight");
            let tensors = self.weights.tensors();
            let wrong =
                |offence: String, fix: &str| CheckpointError::of_tensor(file, module.as_str(), offence, fix);
            let (a, b) = match halves {
                (Some(a), Some(b)) => (a, b),
                (Some(_), None) => {
                    return Err(wrong("it has a factor A and no B".to_owned(), "save the adapter again"));
                }
                _ => return Err(wrong("it has a factor B and no A".to_owned(), "save the adapter again")),
            };
            let (shape_a, shape_b) = (&tensors[a].shape, &tensors[b].shape);
            let rank = match (shape_a.as_slice(), shape_b.as_slice()) {
                (&[rank, _], &[_, other]) if rank == other => rank,
                ([_, _], [_, _]) => {
                    return Err(wrong(
                        format!("A is {shape_a:?}, B is {shape_b:?}: their ranks differ"),
                        "save the adapter again",
                    ));
                }
                _ => {
                    return Err(wrong(
                        format!(
                            "A is {shape_a:?}, B is {shape_b:?}: only linear layers and embeddings are read, no convolutions"
                        ),
                        "merge the adapter into its base with PEFT's `merge_and_unload` first",
                    ));
                }
            };
            let (declared, scale) = scaling.of(&module);
            if declared != rank as u64 {
                return Err(wrong(
                    format!("its factors have rank {rank}, `adapter_config.json` says {declared}"),
                    "correct `r` or `rank_pattern`, which also decide the scale",
                ));
            }
            if ![a, b].iter().all(|&index| tensors[index].dtype.is_float()) {
                return Err(wrong(
                    "its factors are not floating point".to_owned(),
                    "save the adapter in f32 or bf16",
                ));
            }
            if self.replacements.contains_key(&name) {
                return Err(wrong(
                    "the adapter holds both a delta and a replacement for it".to_owned(),
                    "merge the adapter into its base with PEFT's `merge_and_unload` first",
                ));
            }
            let transposed = embedding || scaling.fan_in_fan_out;
            let pair = LoraPair { a, b, rank, scale, transposed };
            if self.targets.insert(name, pair).is_some() {
                return Err(wrong("it has two pairs of factors".to_owned(), "save the adapter again"));
            }
        }
        if self.targets.is_empty() && self.replacements.is_empty() {
            return Err(CheckpointError::malformed(file, "it holds no tensor", super::error::AGAIN));
        }
        Ok(())
    }

    /// Checks that everything the adapter changes is in `base` with a fitting shape.
    ///
    /// # Errors
    /// `Tensor`, naming the adapter's file and the base's tensor, for the first that is missing or does not fit.
    pub fn bind(&self, base: &Checkpoint) -> Result<Bound, CheckpointError> {
        let file = &self.weights.files()[0].path;
        let find = |name: &str| {
            base.find(name).map(|index| &base.tensors()[index]).ok_or_else(|| {
                CheckpointError::of_tensor(
                    file,
                    name,
                    format!("the base `{}` has no such tensor", base.path().display()),
                    self.hint(name, base),
                )
            })
        };
        for (name, pair) in &self.targets {
            let info = find(name)?;
            let (rows, columns) = self.shape_of(pair);
            if info.shape != [rows, columns] {
                let fix = if info.shape == [columns, rows] {
                    "correct `fan_in_fan_out` in `adapter_config.json`".to_owned()
                } else {
                    self.other_base()
                };
                let offence =
                    format!("the delta has shape [{rows}, {columns}], the base's tensor {:?}", info.shape);
                return Err(CheckpointError::of_tensor(file, name.as_str(), offence, fix));
            }
            if !info.dtype.is_float() {
                let offence = format!("the base's tensor is {}, which no delta can be added to", info.dtype);
                return Err(CheckpointError::of_tensor(
                    file,
                    name.as_str(),
                    offence,
                    "use the base in bf16, f16 or f32",
                ));
            }
        }
        for (name, &index) in &self.replacements {
            let info = find(name)?;
            let new = &self.weights.tensors()[index];
            if info.shape != new.shape {
                let offence = format!(
                    "the adapter replaces it with shape {:?}, the base has {:?}",
                    new.shape, info.shape
                );
                return Err(CheckpointError::of_tensor(file, name.as_str(), offence, self.other_base()));
            }
        }
        Ok(Bound {
            deltas: self.targets.keys().cloned().collect(),
            replacements: self.replacements.iter().map(|(name, &index)| (name.clone(), index)).collect(),
        })
    }

    fn other_base(&self) -> String {
        self.base.as_ref().map_or_else(
            || "use the base that the adapter was trained on".to_owned(),
            |base| format!("use the base that the adapter was trained on: `{base}`"),
        )
    }

    fn hint(&self, name: &str, base: &Checkpoint) -> String {
        let ending = name.split_once('.').map_or(name, |(_, rest)| rest);
        let similar = base.tensors().iter().find(|tensor| {
            tensor.name.ends_with(&format!(".{name}"))
                || tensor.name == ending
                || tensor.name.ends_with(&format!(".{ending}"))
        });
        match similar {
            Some(tensor) => {
                format!("it has `{}`: rename the adapter's tensors, or {}", tensor.name, self.other_base())
            }
            None => self.other_base(),
        }
    }

    fn shape_of(&self, pair: &LoraPair) -> (usize, usize) {
        let tensors = self.weights.tensors();
        let (outputs, inputs) = (tensors[pair.b].shape[0], tensors[pair.a].shape[1]);
        if pair.transposed { (inputs, outputs) } else { (outputs, inputs) }
    }

    /// Reads the delta of one base tensor, or `None` if it has none.
    ///
    /// # Errors
    /// `Tensor` if a factor holds NaN or infinity; else as [`Checkpoint::bytes`].
    pub fn delta(&self, name: &str) -> Result<Option<LowRank>, CheckpointError> {
        let Some(pair) = self.targets.get(name) else { return Ok(None) };
        let (rows, columns) = self.shape_of(pair);
        let (a, b) = (self.factor(pair.a)?, self.factor(pair.b)?);
        // (B·A)ᵀ = Aᵀ·Bᵀ
        let (a, b) = if pair.transposed {
            (transpose(&b, columns, pair.rank), transpose(&a, pair.rank, rows))
        } else {
            (a, b)
        };
        Ok(Some(LowRank { rows, columns, rank: pair.rank, a, b, scale: pair.scale }))
    }

    fn factor(&self, index: usize) -> Result<Vec<f32>, CheckpointError> {
        let info = &self.weights.tensors()[index];
        let mut values = vec![0.0; info.len()];
        if tensor::to_f32(info.dtype, self.weights.bytes(index)?, &mut values) {
            return Ok(values);
        }
        let file = &self.weights.files()[info.file].path;
        Err(CheckpointError::of_tensor(
            file,
            info.name.as_str(),
            "it holds NaN or infinity",
            "use an adapter that trained without diverging",
        ))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its weight file, opened; where the factors and replacements are.
    #[must_use]
    pub fn weights(&self) -> &Checkpoint {
        &self.weights
    }

    /// Its files with fingerprints: the weights, then `adapter_config.json`.
    #[must_use]
    pub fn files(&self) -> Vec<SourceFile> {
        self.weights.files().iter().chain([&self.config]).cloned().collect()
    }

    /// `base_model_name_or_path`, where it says.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// `adapter_config.json`.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.settings
    }

    /// The factors by the name of the base's tensor.
    #[must_use]
    pub fn targets(&self) -> &BTreeMap<String, LoraPair> {
        &self.targets
    }

    /// Whole tensors by the name of the base's tensor, as positions in [`Self::weights`].
    #[must_use]
    pub fn replacements(&self) -> &BTreeMap<String, usize> {
        &self.replacements
    }

    /// The largest rank; 0 if it only replaces tensors.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.targets.values().map(|pair| pair.rank).max().unwrap_or(0)
    }

    /// Number of base tensors it changes.
    #[must_use]
    pub fn target_count(&self) -> usize {
        self.targets.len() + self.replacements.len()
    }

    /// Number of its elements.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.weights.parameters()
    }

    /// Number of bytes of its tensors.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.weights.tensors().iter().map(|tensor| tensor.bytes() as u64).sum()
    }

    /// BLAKE3 over what it computes: each target with its scale and orientation, and name, dtype, shape and bytes of
    /// every tensor.
    ///
    /// # Errors
    /// As [`Checkpoint::bytes`].
    pub fn content_hash(&self) -> Result<[u8; 32], CheckpointError> {
        let mut hash = blake3::Hasher::new();
        for (name, pair) in &self.targets {
            hash.update(format!("{name}\0{}\0{}\0", pair.scale.to_bits(), pair.transposed).as_bytes());
        }
        for (index, info) in self.weights.tensors().iter().enumerate() {
            hash.update(format!("{}\0{}\0{:?}\0", info.name, info.dtype, info.shape).as_bytes());
            hash.update(self.weights.bytes(index)?);
        }
        Ok(*hash.finalize().as_bytes())
    }
}

/// Rows × columns to columns × rows.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// Refuses settings that make an adapter more than W + s·B·A.
fn check_settings(path: &Path, settings: &Value) -> Result<(), CheckpointError> {
    let refuse = |offence: String| {
        Err(CheckpointError::unsupported(
            path,
            offence,
            "merge the adapter into its base with PEFT's `merge_and_unload` first",
        ))
    };
    match settings.get("peft_type").and_then(Value::as_str) {
        Some("LORA") => {}
        Some(other) => return refuse(format!("its `peft_type` is {other}, only LORA is read")),
        None => return refuse("it names no `peft_type`".to_owned()),
    }
    let on = |key: &str| match settings.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(items)) => !items.is_empty(),
        Some(_) => true,
    };
    for (key, what) in [
        ("use_dora", "DoRA also changes magnitudes"),
        ("lora_bias", "the factors have biases"),
        ("layer_replication", "layers of the base are replicated"),
        ("target_parameters", "whole parameters rather than layers are adapted"),
        ("alora_invocation_tokens", "it depends on the input"),
        ("arrow_config", "it routes between adapters"),
        ("use_qalora", "it is bound to a quantised base"),
        ("trainable_token_indices", "single token rows are trained"),
    ] {
        if on(key) {
            return refuse(format!("`{key}` is set: {what}"));
        }
    }
    if let Some(kind) = settings.get("init_lora_weights").and_then(Value::as_str) {
        let kind = kind.to_ascii_lowercase();
        if ["pissa", "olora", "corda", "loftq"].iter().any(|start| kind.starts_with(start)) {
            return refuse(format!("`init_lora_weights` is `{kind}`, which also changed the base's weights"));
        }
    }
    Ok(())
}

/// Decides rank and scale per module.
struct Scaling {
    rank: u64,
    alpha: f64,
    ranks: Vec<(String, f64)>,
    alphas: Vec<(String, f64)>,
    stabilised: bool,
    fan_in_fan_out: bool,
}

impl Scaling {
    fn read(path: &Path, settings: &Value) -> Result<Self, CheckpointError> {
        let wrong = |key: &str, what: &str| {
            CheckpointError::malformed(
                path,
                format!("`{key}` {what}"),
                "copy `adapter_config.json` from the adapter's source again",
            )
        };
        let flag = |key: &str| settings.get(key).and_then(Value::as_bool).unwrap_or(false);
        let rank = settings
            .get("r")
            .and_then(Value::as_u64)
            .filter(|&r| r > 0)
            .ok_or_else(|| wrong("r", "is no positive whole number"))?;
        let alpha = settings
            .get("lora_alpha")
            .and_then(Value::as_f64)
            .filter(|alpha| alpha.is_finite())
            .ok_or_else(|| wrong("lora_alpha", "is no number"))?;
        let patterns = |key: &str| -> Result<Vec<(String, f64)>, CheckpointError> {
            let Some(Value::Object(entries)) = settings.get(key) else { return Ok(Vec::new()) };
            entries
                .iter()
                .map(|(pattern, value)| {
                    let literal = pattern.strip_prefix('^').unwrap_or(pattern);
                    if literal.chars().any(|c| "*+?[](){}|\\^$".contains(c)) {
                        let what = format!(
                            "has the regular expression `{pattern}`, only names (with `^` in front) are read"
                        );
                        return Err(wrong(key, &what));
                    }
                    let value = value
                        .as_f64()
                        .filter(|n| n.is_finite() && *n > 0.0)
                        .ok_or_else(|| wrong(key, "has a value that is no positive number"))?;
                    Ok((pattern.clone(), value))
                })
                .collect()
        };
        Ok(Self {
            rank,
            alpha,
            ranks: patterns("rank_pattern")?,
            alphas: patterns("alpha_pattern")?,
            stabilised: flag("use_rslora"),
            fan_in_fan_out: flag("fan_in_fan_out"),
        })
    }

    fn of(&self, module: &str) -> (u64, f32) {
        let lookup = |patterns: &[(String, f64)]| {
            patterns.iter().find(|(pattern, _)| matches(pattern, module)).map(|(_, value)| *value)
        };
        let rank = lookup(&self.ranks).map_or(self.rank, |rank| rank as u64);
        let alpha = lookup(&self.alphas).unwrap_or(self.alpha);
        let divisor = if self.stabilised { (rank as f64).sqrt() } else { rank as f64 };
        (rank, (alpha / divisor) as f32)
    }
}

/// PEFT's `get_pattern_key`: the pattern is the whole name, or its end after a dot; `^` allows only the whole name.
fn matches(pattern: &str, module: &str) -> bool {
    match pattern.strip_prefix('^') {
        Some(whole) => module == whole,
        None => module.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

/// Reads a name such as `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`; an adapter's own name between
/// `lora_A` and `weight` (which `save_pretrained` leaves out) is ignored.
fn part_of(name: &str) -> Part {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let parts: Vec<&str> = name.split('.').collect();
    let find = |word: &str| parts.iter().position(|part| *part == word).filter(|&at| at > 0);
    let module = |at: usize| parts[..at].join(".");
    for (word, is_a) in [("lora_A", true), ("lora_B", false)] {
        if let Some(at) = find(word) {
            return match parts.last() {
                Some(&"weight") if parts.len() <= at + 3 && parts.len() > at + 1 => {
                    let module = module(at);
                    if is_a {
                        Part::A { module, embedding: false }
                    } else {
                        Part::B { module, embedding: false }
                    }
                }
                Some(&"bias") => Part::Refused("a factor has a bias (`lora_bias`)"),
                _ => Part::Refused("its name means nothing in a LoRA adapter"),
            };
        }
    }
    for (word, is_a) in [("lora_embedding_A", true), ("lora_embedding_B", false)] {
        if let Some(at) = find(word) {
            let module = module(at);
            return match parts.len() - at {
                1 | 2 if is_a => Part::A { module, embedding: true },
                1 | 2 => Part::B { module, embedding: true },
                _ => Part::Refused("its name means nothing in a LoRA adapter"),
            };
        }
    }
    if find("lora_magnitude_vector").is_some() {
        return Part::Refused("it is a DoRA magnitude");
    }
    if parts.iter().any(|part| part.starts_with("lora_") || part.starts_with("trainable_tokens")) {
        return Part::Refused("its name means nothing in a LoRA adapter");
    }
    if !matches!(parts.last(), Some(&"weight" | &"bias")) {
        return Part::Refused("it is neither a factor nor a whole weight or bias");
    }
    // `head.modules_to_save.default.weight` and `embed_tokens.base_layer.weight` stand for the plain name.
    let mut plain = Vec::with_capacity(parts.len());
    let mut rest = parts.iter();
    while let Some(part) = rest.next() {
        match *part {
            "modules_to_save" => {
                if rest.len() > 1 {
                    rest.next();
                }
            }
            "base_layer" => {}
            part => plain.push(part),
        }
    }
    Part::Whole { name: plain.join(".") }
}
