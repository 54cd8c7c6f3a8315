//! `save` items: which tensors go where in which dtype, and whether what is there already is the result.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Node, NodeId, Ref, Setting, Value};
use fusion_dsl::span::Span;
use serde::{Deserialize, Serialize};

use super::build::Builder;
use super::ir::{Origin, Program, TensorId, View};
use super::lineage::Used;
use super::models::resolve;
use crate::checkpoint::write::{Target, donor_paths};
use crate::checkpoint::{Checkpoint, Role, SourceFile};
use crate::method::PluginInfo;
use crate::tensor::Dtype;

/// Bytes of a shard where the recipe says nothing.
const SHARD: u64 = 5_000_000_000;

/// The file in an output folder that says how it was made.
pub const RECORD: &str = "fusion.json";

/// One tensor of an output.
#[derive(Clone, Debug)]
pub struct OutputTensor {
    /// Name in the file.
    pub name: String,
    /// In the arena.
    pub tensor: TensorId,
    /// As written.
    pub dtype: Dtype,
}

/// A `save`.
#[derive(Clone, Debug)]
pub struct Output {
    /// The saved model's name.
    pub name: String,
    /// The `save` node.
    pub node: NodeId,
    /// As written in the recipe.
    pub path: String,
    /// Where it goes.
    pub target: Target,
    /// In file order: by position in the stack, then by name.
    pub tensors: Vec<OutputTensor>,
    /// Bytes of a shard at the most.
    pub shard_bytes: u64,
    /// Source whose `config.json` is taken and patched.
    pub config: Option<usize>,
    /// Source whose tokenizer files are taken.
    pub tokenizer: Option<usize>,
    /// The dtype asked for.
    pub dtype: Option<Dtype>,
    /// The model.
    pub view: Arc<View>,
    /// What is read for it.
    pub used: Used,
    /// Replace what is there.
    pub overwrite: bool,
    /// Hex BLAKE3 of all that determines the bytes.
    pub key: String,
    /// What will happen.
    pub state: State,
    /// The path's text.
    pub span: Span,
}

/// What a run does with an output, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum State {
    /// It is there and was made from the same inputs with the same settings.
    Cached,
    /// It is computed.
    Run {
        /// Why: `new`, or what changed since it was made.
        why: Vec<String>,
    },
}

/// What the record of an output says of an input; time stamps are compared to skip work, contents by `hash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// Name in the recipe.
    pub name: String,
    /// As written.
    pub path: String,
    /// Files with size, modification time (ns) and inode.
    pub files: Vec<(String, u64, u64, u64)>,
    /// BLAKE3 of the tensors that were read; empty before the run.
    pub hash: String,
}

/// The writer's file around a [`Record`].
#[derive(Deserialize)]
struct Written {
    record: Record,
}

/// What stands in [`RECORD`], apart from the writer's own entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Tool version.
    pub tool: String,
    /// See [`Output::key`].
    pub key: String,
    /// Hash of the recipe's part of the key.
    pub recipe: String,
    /// Inputs.
    pub inputs: Vec<InputRecord>,
    /// Settings per stage as text, to tell what changed.
    pub settings: Vec<(String, String)>,
    /// Device of the run.
    pub device: String,
}

impl Output {
    /// Number of files that the tensors take: greedy, a tensor is never split.
    pub(super) fn shards(&self, program: &Program) -> usize {
        let (mut shards, mut filled) = (1, 0);
        for tensor in &self.tensors {
            let bytes = program.tensor(tensor.tensor).len() * tensor.dtype.size() as u64;
            if filled > 0 && filled + bytes > self.shard_bytes {
                shards += 1;
                filled = 0;
            }
            filled += bytes;
        }
        shards
    }
}

impl Builder<'_> {
    pub(super) fn save(
        &mut self,
        id: NodeId,
        _node: &Node,
        input: &Ref,
        path: &str,
        settings: &[Setting],
        span: Span,
    ) {
        #[cfg(feature = "learn")]
        if self.save_path(input, path, settings, span) {
            return;
        }
        let Some(view) = self.view(input, span) else { return };
        let find = |name: &str| settings.iter().find(|setting| setting.name == name);
        let dtype = find("dtype").and_then(|setting| match &setting.value {
            Value::Word(word) | Value::Text(word) => Dtype::from_name(word),
            _ => None,
        });
        let shard_bytes = match find("shard").map(|setting| &setting.value) {
            Some(Value::Bytes(bytes)) => *bytes,
            _ => SHARD,
        };
        let own = matches!(find("overwrite").map(|setting| &setting.value), Some(Value::Bool(true)));
        let mut donor = |name: &str| match find(name).map(|setting| (&setting.value, setting.value_span)) {
            Some((Value::Node(reference), at)) => self.view(reference, at),
            _ => Some(view.clone()),
        };
        let config = donor("config").and_then(|view| view.config.or(view.donor));
        let tokenizer = donor("tokenizer").and_then(|view| view.donor);
        let mut tensors: Vec<_> = view
            .tensors
            .iter()
            .map(|(name, entry)| {
                let natural = self.program.tensor(entry.tensor).dtype;
                let dtype = dtype.filter(|_| natural.is_float()).unwrap_or(natural);
                (entry.position, OutputTensor { name: name.clone(), tensor: entry.tensor, dtype })
            })
            .collect();
        tensors.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
        let full = resolve(&self.options.root, path);
        let target = if path.ends_with(".safetensors") {
            Target::File(full.clone())
        } else {
            Target::Folder(full.clone())
        };
        let roots: Vec<TensorId> = view.tensors.values().map(|entry| entry.tensor).collect();
        let used = Used::by(&self.program, &roots);
        #[cfg(feature = "learn")]
        let used = used.with_stages(&self.program, &self.experiment);
        let mut output = Output {
            name: self.graph.node(input.node).name.clone(),
            node: id,
            path: path.to_owned(),
            target,
            tensors: tensors.into_iter().map(|(_, tensor)| tensor).collect(),
            shard_bytes,
            config,
            tokenizer,
            dtype,
            view,
            used,
            overwrite: own || self.options.overwrite,
            key: String::new(),
            state: State::Run { why: vec!["new".to_owned()] },
            span,
        };
        output.key = self.key(&output);
        output.state = self.state(&output, &full);
        self.outputs.push(output);
    }

    /// A model that stages on networks need and stages on tensors compute, as an output in the store. Networks compute in f32; one that is
    /// only aligned keeps the dtype in which it would be saved, which is that of the aligned one.
    #[cfg(feature = "learn")]
    pub(super) fn internal_output(&self, node: NodeId, view: &Arc<View>, span: Span) -> Output {
        let mut tensors: Vec<_> = view
            .tensors
            .iter()
            .map(|(name, entry)| {
                let natural = self.program.tensor(entry.tensor).dtype;
                let dtype = if natural.is_float() && view.network.is_some() { Dtype::F32 } else { natural };
                (entry.position, OutputTensor { name: name.clone(), tensor: entry.tensor, dtype })
            })
            .collect();
        tensors.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
        let roots: Vec<TensorId> = view.tensors.values().map(|entry| entry.tensor).collect();
        let mut output = Output {
            name: self.graph.node(node).name.clone(),
            node,
            path: self.graph.node(node).name.clone(),
            target: Target::Folder(PathBuf::new()),
            tensors: tensors.into_iter().map(|(_, tensor)| tensor).collect(),
            shard_bytes: SHARD,
            config: None,
            tokenizer: None,
            dtype: None,
            view: view.clone(),
            used: Used::by(&self.program, &roots),
            overwrite: true,
            key: String::new(),
            state: State::Run { why: vec!["new".to_owned()] },
            span,
        };
        output.key = self.key(&output);
        let folder = self.experiment.store.join(format!("model-{}", &output.key[..32]));
        output.state = self.state(&output, &folder);
        output.target = Target::Folder(folder);
        output
    }

    /// What a model's tensors are functions of: files, stages and the recipe's part.
    #[cfg(feature = "learn")]
    pub(super) fn view_key(&self, view: &View) -> String {
        let roots: Vec<TensorId> = view.tensors.values().map(|entry| entry.tensor).collect();
        let mut hash = blake3::Hasher::new();
        for record in input_records(&self.program, &Used::by(&self.program, &roots)) {
            for (name, size, modified, _) in &record.files {
                hash.update(format!("{name}\0{size}\0{modified}\0").as_bytes());
            }
        }
        for plugin in self.plugins(&roots) {
            hash.update(format!("{}\0{}\0{}\0", plugin.id, plugin.version, plugin.blake3).as_bytes());
        }
        hash.finalize().to_hex().to_string()
    }

    fn key(&self, output: &Output) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(env!("CARGO_PKG_VERSION").as_bytes());
        hash.update(self.recipe_key(output).as_bytes());
        hash.update(self.options.device.to_string().as_bytes());
        for record in input_records(&self.program, &output.used) {
            // Inode and path may differ between machines; size and time say whether a resume may go on.
            for (name, size, modified, _) in &record.files {
                hash.update(format!("{name}\0{size}\0{modified}\0").as_bytes());
            }
        }
        for (name, size, modified, _) in file_records(&self.donated(output)) {
            hash.update(format!("{name}\0{size}\0{modified}\0").as_bytes());
        }
        for tensor in &output.tensors {
            hash.update(format!("{}\0{}\0", tensor.name, tensor.dtype).as_bytes());
        }
        let roots: Vec<TensorId> = output.tensors.iter().map(|tensor| tensor.tensor).collect();
        for plugin in self.plugins(&roots) {
            hash.update(format!("{}\0{}\0{}\0", plugin.id, plugin.version, plugin.blake3).as_bytes());
        }
        hash.finalize().to_hex().to_string()
    }

    /// The files that models give to an output beside weights: configuration, tokenizer and its kin.
    fn donated(&self, output: &Output) -> Vec<SourceFile> {
        let donor = |index: Option<usize>| index.map(|index| &self.program.sources[index].checkpoint);
        let configs = donor(output.config).into_iter().flat_map(|checkpoint| checkpoint.files());
        let mut found: Vec<SourceFile> = configs.filter(|file| file.role == Role::Config).cloned().collect();
        if let Some(folder) = donor(output.tokenizer).map(|checkpoint| checkpoint.path()) {
            // A folder that cannot be read gives nothing, which the run says.
            let paths = donor_paths(folder).unwrap_or_default();
            found.extend(paths.iter().filter_map(|(_, path)| SourceFile::of(path, Role::Config).ok()));
        }
        found
    }

    /// The plugins whose methods compute any of these tensors, by id.
    fn plugins(&self, roots: &[TensorId]) -> Vec<&PluginInfo> {
        let stages: BTreeSet<usize> = self
            .program
            .closure(roots)
            .into_iter()
            .filter_map(|id| match self.program.tensor(id).origin {
                Origin::Computed { stage, .. } => Some(stage),
                _ => None,
            })
            .collect();
        let mut plugins: Vec<&PluginInfo> = stages
            .into_iter()
            .filter_map(|stage| self.registry.get(&self.program.stages[stage].method)?.plugin.as_ref())
            .collect();
        plugins.sort_by(|a, b| a.id.cmp(&b.id));
        plugins.dedup();
        plugins
    }

    fn recipe_key(&self, output: &Output) -> String {
        self.graph
            .keys()
            .get(output.node.0 as usize)
            .map(|key| blake3::Hash::from_bytes(*key).to_hex().to_string())
            .unwrap_or_default()
    }

    /// The record of what is there, compared with what would be made.
    fn state(&self, output: &Output, full: &Path) -> State {
        if !full.exists() {
            return State::Run { why: vec!["new".to_owned()] };
        }
        if let Target::File(_) = output.target {
            // A single file has no record beside it, but its key inside.
            let key =
                Checkpoint::open(full).ok().and_then(|found| found.metadata().get("fusion.key").cloned());
            return match key {
                Some(key) if key == output.key => State::Cached,
                Some(_) => State::Run { why: vec!["the recipe or its inputs changed".to_owned()] },
                None => State::Run { why: vec!["fusion did not make it".to_owned()] },
            };
        }
        let Ok(text) = std::fs::read_to_string(full.join(RECORD)) else {
            return State::Run { why: vec![format!("it has no `{RECORD}`, so fusion did not make it")] };
        };
        let Ok(Written { record: old }) = serde_json::from_str::<Written>(&text) else {
            return State::Run { why: vec![format!("its `{RECORD}` cannot be read")] };
        };
        if old.key == output.key {
            return State::Cached;
        }
        let mut why = Vec::new();
        let new = self.record(output);
        if old.tool != new.tool {
            why.push(format!("fusion {} → {}", old.tool, new.tool));
        }
        if old.device != new.device {
            why.push(format!("device {} → {}", old.device, new.device));
        }
        for input in &new.inputs {
            match old.inputs.iter().find(|other| other.name == input.name) {
                None => why.push(format!("input `{}` is new", input.name)),
                Some(other)
                    if other.files.iter().map(|f| (f.1, f.2)).ne(input.files.iter().map(|f| (f.1, f.2))) =>
                {
                    why.push(format!("files of `{}` changed", input.name));
                }
                Some(_) => {}
            }
        }
        for (name, settings) in &new.settings {
            match old.settings.iter().find(|(other, _)| other == name) {
                Some((_, before)) if before == settings => {}
                Some((_, before)) => why.push(format!("`{name}`: {before} → {settings}")),
                None => why.push(format!("stage `{name}` is new")),
            }
        }
        if why.is_empty() {
            let roots: Vec<TensorId> = output.tensors.iter().map(|tensor| tensor.tensor).collect();
            let plugins = self.plugins(&roots);
            let names = fusion_dsl::suggest::list(plugins.iter().map(|plugin| plugin.id.as_str()), 4);
            why.push(match (old.recipe == new.recipe, names.is_empty()) {
                (true, false) => format!("the plugin {names} changed"),
                _ => "the recipe changed".to_owned(),
            });
        }
        State::Run { why }
    }

    fn record(&self, output: &Output) -> Record {
        Record {
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            key: output.key.clone(),
            recipe: self.recipe_key(output),
            inputs: input_records(&self.program, &output.used),
            settings: self.settings_before(output.node),
            device: self.options.device.to_string(),
        }
    }

    /// Outputs must fit on their disks.
    pub(super) fn check_space(&mut self) {
        let mut needs: Vec<(u64, u64, Span, u64, PathBuf)> = Vec::new(); // device id, free, span, bytes
        for output in self.outputs.iter().filter(|output| output.state != State::Cached) {
            let full = resolve(&self.options.root, &output.path);
            let bytes: u64 = output
                .tensors
                .iter()
                .map(|t| self.program.tensor(t.tensor).len() * t.dtype.size() as u64)
                .sum();
            let Some(folder) = full.ancestors().skip(1).find(|folder| folder.is_dir()) else { continue };
            let Ok(stat) = rustix::fs::statvfs(folder) else { continue };
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            match needs.iter_mut().find(|need| need.0 == stat.f_fsid) {
                Some(need) => need.3 += bytes,
                None => needs.push((stat.f_fsid, free, output.span, bytes, folder.to_owned())),
            }
        }
        for (_, free, span, bytes, folder) in needs {
            if bytes > free {
                let diagnostic = Diagnostic::new(
                    Code::NotEnoughDisk,
                    span,
                    format!(
                        "the output needs {} but `{}` has {} free",
                        size(bytes),
                        folder.display(),
                        size(free)
                    ),
                )
                .help("save to another disk, or in a smaller dtype");
                self.error(diagnostic);
            }
        }
    }
}

/// The inputs that were used, for the record: checkpoints, then adapters.
pub(crate) fn input_records(program: &Program, used: &Used) -> Vec<InputRecord> {
    let sources =
        used.sources().into_iter().map(|source| &program.sources[source]).map(|source| InputRecord {
            name: source.name.clone(),
            path: source.path.clone(),
            files: match &source.made_by {
                // It is a function of the stage, whatever file it lies in.
                Some(key) => vec![(format!("stage {key}"), 0, 0, 0)],
                None => file_records(source.checkpoint.files()),
            },
            hash: String::new(),
        });
    let adapters =
        used.adapters.iter().map(|adapter| &program.adapters[*adapter]).map(|adapter| InputRecord {
            name: format!("{}+adapter", adapter.name),
            path: adapter.path.clone(),
            files: file_records(&adapter.adapter.files()),
            hash: String::new(),
        });
    sources.chain(adapters).collect()
}

/// Files by name, size, modification time (ns) and inode.
fn file_records(files: &[SourceFile]) -> Vec<(String, u64, u64, u64)> {
    files
        .iter()
        .map(|file| {
            let name =
                file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let modified = file
                .modified
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .map_or(0, |since| since.as_nanos() as u64);
            (name, file.size, modified, file.inode)
        })
        .collect()
}

/// Bytes for people: decimal units, as disks and Hugging Face count.
pub fn size(bytes: u64) -> String {
    let value = bytes as f64;
    for (unit, scale) in [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if value >= scale {
            return format!("{:.*} {unit}", if value < 10.0 * scale { 2 } else { 1 }, value / scale);
        }
    }
    format!("{bytes} B")
}
