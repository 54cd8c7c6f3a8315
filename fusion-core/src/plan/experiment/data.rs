//! `data` items: what names, headers and settings tell of a data set.

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Node, NodeId, Setting};

use super::super::Options;
use super::super::build::Builder;
use super::settings;
use crate::experiment::{DataPlan, data_key};

/// Where data sets are looked for.
pub(crate) fn places(options: &Options) -> fusion_data::Places {
    fusion_data::Places { folders: options.data.clone(), root: options.root.clone() }
}

impl Builder<'_> {
    pub(in crate::plan) fn data(&mut self, id: NodeId, node: &Node, source: &str, block: &[Setting]) {
        let settings = settings(block);
        match fusion_data::describe(source, &settings, &places(self.options)) {
            Ok(facts) => {
                let key = data_key(source, &settings, &facts);
                let plan = DataPlan {
                    name: node.name.clone(),
                    source: source.to_owned(),
                    settings,
                    facts,
                    key,
                    span: node.span,
                };
                self.experiment.data.insert(id, plan);
            }
            Err(error) => {
                let blamed = match &error {
                    fusion_data::DataError::Setting { name, .. } => {
                        block.iter().find(|setting| setting.name == *name)
                    }
                    _ => None,
                };
                let span = blamed.map_or(node.span, |setting| setting.span);
                self.error(Diagnostic::new(Code::CannotReadData, span, error.to_string()));
            }
        }
    }
}
