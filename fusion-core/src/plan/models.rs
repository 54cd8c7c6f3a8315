//! `model` items: headers are opened, adapters bound, layers found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{ModelSource, Node, NodeId, Setting, Value};
use fusion_dsl::span::Span;

use super::build::Builder;
use super::ir::{AdapterSource, Origin, Position, Source, TensorNode, View, ViewEntry};
use crate::checkpoint::{Adapter, Checkpoint, CheckpointError, is_input_embedding};
use crate::tensor::Dtype;

/// A path of the recipe: relative ones start at the recipe's folder, `~` is not expanded.
pub(super) fn resolve(root: &Path, path: &str) -> PathBuf {
    root.join(path)
}

impl Builder<'_> {
    pub(super) fn model(&mut self, id: NodeId, node: &Node, source: &ModelSource, settings: &[Setting]) {
        let path = match source {
            ModelSource::Checkpoint(path) => path,
            ModelSource::Network { name, arguments, from } => {
                return self.network(id, node, name, arguments, from.as_deref(), settings);
            }
        };
        if path.starts_with("hf:") || path.contains("://") {
            return self.error(
                Diagnostic::new(
                    Code::UnsupportedSource,
                    node.span,
                    format!("`{path}` is not a local checkpoint"),
                )
                .note("this version of fusion downloads nothing")
                .help("download it (`huggingface-cli download …`) and name the folder"),
            );
        }
        let Some(index) = self.source(&node.name, path, node.span) else { return };
        let checkpoint = self.program.sources[index].checkpoint.clone();
        let mut view = self.stored_view(index, &checkpoint);
        let text = |name: &str| {
            settings.iter().find(|s| s.name == name).map(|s| match &s.value {
                Value::Text(text) => (text.clone(), s.value_span),
                other => (format!("{other:?}"), s.value_span),
            })
        };
        if let Some((adapter, span)) = text("adapter") {
            let scale = settings
                .iter()
                .find(|s| s.name == "scale")
                .and_then(|s| if let Value::Number(n) = s.value { Some(n as f32) } else { None })
                .unwrap_or(1.0);
            self.adapt(&mut view, node, &adapter, span, scale, &checkpoint);
        }
        self.views.insert(id, Arc::new(view));
    }

    /// Opens a checkpoint, once per path.
    fn source(&mut self, name: &str, path: &str, span: Span) -> Option<usize> {
        if let Some(found) = self.program.sources.iter().position(|source| source.path == path) {
            return Some(found);
        }
        match Checkpoint::open(&resolve(&self.options.root, path)) {
            Ok(checkpoint) => {
                self.program.sources.push(Source {
                    name: name.to_owned(),
                    path: path.to_owned(),
                    span,
                    layout: checkpoint.layout(),
                    checkpoint: Arc::new(checkpoint),
                    made_by: None,
                });
                Some(self.program.sources.len() - 1)
            }
            Err(error) => {
                self.error(checkpoint_diagnostic(&error, span));
                None
            }
        }
    }

    pub(super) fn stored_view(&mut self, source: usize, checkpoint: &Checkpoint) -> View {
        let layout = &self.program.sources[source].layout;
        let main = layout.main().cloned();
        let mut view = View {
            layers: main.as_ref().map_or(0, |stack| stack.count as u32),
            donor: Some(source),
            tied: layout.tied_head(),
            stack: main,
            ..View::default()
        };
        for (tensor, info) in checkpoint.tensors().iter().enumerate() {
            let id = self.program.push(TensorNode {
                shape: info.shape.clone(),
                dtype: info.dtype,
                origin: Origin::Stored { source, tensor },
            });
            let position = match view.stack.as_ref().and_then(|stack| stack.layer_of(&info.name)) {
                Some(layer) => Position::Layer(layer as u32),
                None if is_input_embedding(&info.name) => Position::Before,
                None => Position::After,
            };
            view.tensors.insert(info.name.clone(), ViewEntry { tensor: id, position });
        }
        view
    }

    fn adapt(&mut self, view: &mut View, node: &Node, path: &str, span: Span, scale: f32, base: &Checkpoint) {
        let opened = Adapter::open(&resolve(&self.options.root, path))
            .and_then(|adapter| adapter.bind(base).map(|bound| (adapter, bound)));
        let (adapter, bound) = match opened {
            Ok(pair) => pair,
            Err(error) => return self.error(checkpoint_diagnostic(&error, span)),
        };
        let index = self.program.adapters.len();
        let weights = adapter.weights().path().to_string_lossy().into_owned();
        let mut replaced = BTreeMap::new();
        for (target, tensor) in &bound.replacements {
            let Some(entry) = view.tensors.get(target) else { continue };
            let Some(source) = self.source(&format!("{} (adapter)", node.name), &weights, span) else {
                return;
            };
            let info = &self.program.sources[source].checkpoint.tensors()[*tensor];
            let (shape, dtype) = (info.shape.clone(), info.dtype);
            let id = self.program.push(TensorNode {
                shape,
                dtype,
                origin: Origin::Stored { source, tensor: *tensor },
            });
            replaced.insert(target.clone(), ViewEntry { tensor: id, position: entry.position });
        }
        for target in bound.deltas {
            let Some(entry) = view.tensors.get(&target) else { continue };
            let base = self.program.tensor(entry.tensor).clone();
            let dtype = if base.dtype.is_float() { base.dtype } else { Dtype::F32 };
            let id = self.program.push(TensorNode {
                shape: base.shape,
                dtype,
                origin: Origin::Adapted { base: entry.tensor, adapter: index, target: target.clone(), scale },
            });
            replaced.insert(target, ViewEntry { tensor: id, position: entry.position });
        }
        view.tensors.extend(replaced);
        self.program.adapters.push(AdapterSource {
            name: node.name.clone(),
            path: path.to_owned(),
            adapter: Arc::new(adapter),
        });
    }
}

/// The code of a checkpoint that cannot be read.
pub fn checkpoint_code(error: &CheckpointError) -> Code {
    match error {
        CheckpointError::Io { .. } | CheckpointError::Missing { .. } | CheckpointError::Ambiguous { .. } => {
            Code::CannotOpenModel
        }
        CheckpointError::Unsupported { .. } => Code::UnknownFormat,
        CheckpointError::Dangerous { .. }
        | CheckpointError::UnknownGlobal { .. }
        | CheckpointError::Limit { .. } => Code::HostileCheckpoint,
        CheckpointError::Changed { .. } => Code::InputChanged,
        _ => Code::CorruptCheckpoint,
    }
}

/// A checkpoint's error at the place of the recipe that names it.
pub(super) fn checkpoint_diagnostic(error: &CheckpointError, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::new(checkpoint_code(error), span, error.message())
        .note("read from the headers; no weights were loaded");
    match error.fix() {
        Some(fix) => diagnostic.help(fix),
        None => diagnostic,
    }
}
