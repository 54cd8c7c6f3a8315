//! Networks that a recipe builds: `model a of mlp(…)`. The architecture alone tells all tensors, so nothing is drawn to plan.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Node, NodeId, Setting, Value};
use fusion_dsl::span::Span;
use fusion_network::{Architecture, Init, Role, StateError};
use serde_json::{Map, Value as Json};

use super::super::build::Builder;
use super::super::ir::{NetworkOf, Source, View};
use super::super::models::{checkpoint_diagnostic, resolve};
use super::{settings, values};
use crate::checkpoint::Checkpoint;
use crate::experiment::stages::network as weights;
use crate::experiment::{Step, Task, file_key, step_key};
use crate::tensor::Dtype;

impl Builder<'_> {
    pub(in crate::plan) fn network(
        &mut self,
        id: NodeId,
        node: &Node,
        name: &str,
        arguments: &BTreeMap<String, Value>,
        from: Option<&str>,
        block: &[Setting],
    ) {
        let given: Map<String, Json> = arguments
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), values::value(value)?)))
            .collect();
        let architecture = match Architecture::parse(name, &given) {
            Ok(architecture) => architecture,
            Err(error) => {
                return self.error(Diagnostic::new(Code::BadArgument, node.span, error.to_string()));
            }
        };
        let index = self.architecture(architecture);
        let settings = settings(block);
        let seed = settings.get("seed").and_then(Json::as_u64);
        let from = from.map(|path| resolve(&self.options.root, path));
        let mut key = self.graph.keys()[id.0 as usize].to_vec();
        if let Some(path) = &from {
            match file_key(path) {
                Ok(of_file) => key.extend_from_slice(of_file.as_bytes()),
                Err(error) => {
                    let diagnostic = Diagnostic::new(
                        Code::CannotOpenModel,
                        node.span,
                        format!("`{}` cannot be opened: {error}", path.display()),
                    );
                    return self.error(diagnostic);
                }
            }
        }
        let map: Vec<(String, String)> = settings
            .get("map")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(|pair| pair.as_str()?.split_once('='))
            .map(|(theirs, ours)| (theirs.trim().to_owned(), ours.trim().to_owned()))
            .collect();
        if let Some(path) = &from
            && !self.weights_fit(node, path, index, &map)
        {
            return;
        }
        let key = step_key(&key, &[], self.options);
        let view = self.declared(&node.name, node.span, &key, index);
        let word = settings.get("init").and_then(Json::as_str).unwrap_or(Init::Usual.word());
        let known = Init::parse(word).ok_or_else(|| format!("there is no `init = {word}`"));
        let network = &self.experiment.architectures[index];
        let fits = |init| network.takes(init).map(|()| init).map_err(|error| error.to_string());
        let init = match known.and_then(fits) {
            Ok(init) => init,
            Err(message) => {
                let place = block.iter().find(|setting| setting.name == "init");
                let span = place.map_or(node.span, |setting| setting.value_span);
                return self.error(Diagnostic::new(Code::BadArgument, span, message));
            }
        };
        let network = Some(NetworkOf { architecture: index, stale: false, init });
        self.views.insert(id, Arc::new(View { network, ..view }));
        let cached = self.stored(&key);
        self.experiment.steps.push(Step {
            node: id,
            name: node.name.clone(),
            verb: None,
            method: name.to_owned(),
            task: Task::Network { seed: seed.unwrap_or(0), init, from, map },
            settings,
            seed: seed.unwrap_or(0),
            seeded: given_seed(block),
            architecture: Some(index),
            inputs: Vec::new(),
            data: Vec::new(),
            needs: Vec::new(),
            key,
            cached,
            places: None,
            span: node.span,
        });
    }

    /// Whether a file's tensors are those of a network, as far as names and shapes tell.
    fn weights_fit(&mut self, node: &Node, path: &Path, index: usize, map: &[(String, String)]) -> bool {
        let checkpoint = match Checkpoint::open(path) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                self.error(checkpoint_diagnostic(&error, node.span));
                return false;
            }
        };
        let architecture = &self.experiment.architectures[index];
        let Err(error) = weights::fit(&checkpoint, architecture, map) else { return true };
        let code = match error {
            StateError::Shape { .. } => Code::ShapesDiffer,
            StateError::Missing { .. } => Code::MissingTensors,
            StateError::Unexpected { .. } => Code::ExtraTensors,
            _ => Code::ArchitecturesDiffer,
        };
        let message = format!("`{}` does not fit {architecture}: {error}", path.display());
        self.error(Diagnostic::new(code, node.span, message).help(weights::HELP));
        false
    }

    /// The index of an architecture.
    pub(super) fn architecture(&mut self, architecture: Architecture) -> usize {
        let known = &mut self.experiment.architectures;
        known.iter().position(|one| *one == architecture).unwrap_or_else(|| {
            known.push(architecture);
            known.len() - 1
        })
    }

    /// The view of a network that a stage will make: a source of which only the headers are known.
    pub(super) fn declared(&mut self, name: &str, span: Span, key: &str, architecture: usize) -> View {
        let tensors = self.experiment.architectures[architecture].tensors().into_iter().map(|tensor| {
            let dtype = if tensor.role == Role::Counter { Dtype::I64 } else { Dtype::F32 };
            (tensor.name, dtype, tensor.shape)
        });
        let checkpoint = Arc::new(Checkpoint::declared(name, tensors));
        self.program.sources.push(Source {
            name: name.to_owned(),
            path: name.to_owned(),
            span,
            layout: checkpoint.layout(),
            checkpoint: checkpoint.clone(),
            made_by: Some(key.to_owned()),
        });
        let view = self.stored_view(self.program.sources.len() - 1, &checkpoint);
        View { network: Some(NetworkOf::made(architecture, false)), ..view }
    }

    /// Whether the store has a result.
    pub(super) fn stored(&self, key: &str) -> bool {
        crate::experiment::Store::new(&self.experiment.store).has(key)
    }
}

/// Whether a block says its seed; one that the language has drawn has no place.
pub(super) fn given_seed(block: &[Setting]) -> bool {
    block.iter().any(|setting| setting.name == "seed" && !setting.span.is_none())
}
