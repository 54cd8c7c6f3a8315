//! `data` items: what names, headers and settings tell of a data set.

use fusion_data::{DataError, Facts};
use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Graph, Node, NodeId, NodeKind, Ref, Setting};

use super::super::Options;
use super::super::build::Builder;
use super::settings;
use crate::experiment::{DataPlan, data_key, union_key};

/// Where data sets are looked for.
pub(crate) fn places(options: &Options) -> fusion_data::Places {
    fusion_data::Places { folders: options.data.clone(), root: options.root.clone() }
}

/// What is known of a data set of the graph; `None` if it is broken, which its own item reports.
pub(super) fn facts(graph: &Graph, id: NodeId, options: &Options) -> Option<Facts> {
    let node = graph.node(id);
    let NodeKind::Data { source, sets, settings: block } = &node.kind else { return None };
    if sets.is_empty() {
        return fusion_data::describe(source, &settings(block), &places(options)).ok();
    }
    let parts: Vec<(&str, Facts)> = sets
        .iter()
        .map(|set| Some((graph.node(set.node).name.as_str(), facts(graph, set.node, options)?)))
        .collect::<Option<_>>()?;
    let parts: Vec<(&str, &Facts)> = parts.iter().map(|(name, facts)| (*name, facts)).collect();
    fusion_data::describe_union(&node.name, &parts, &settings(block)).ok()
}

impl Builder<'_> {
    pub(in crate::plan) fn data(
        &mut self,
        id: NodeId,
        node: &Node,
        source: &str,
        sets: &[Ref],
        block: &[Setting],
    ) {
        let settings = settings(block);
        let parts: Option<Vec<&DataPlan>> =
            sets.iter().map(|set| self.experiment.data.get(&set.node)).collect();
        let Some(parts) = parts else { return }; // reported where it is declared
        let found = if sets.is_empty() {
            fusion_data::describe(source, &settings, &places(self.options))
                .map(|facts| (data_key(source, &settings, &facts), facts))
        } else {
            let told: Vec<(&str, &Facts)> =
                parts.iter().map(|plan| (plan.name.as_str(), &plan.facts)).collect();
            let keys: Vec<&str> = parts.iter().map(|plan| plan.key.as_str()).collect();
            fusion_data::describe_union(&node.name, &told, &settings)
                .map(|facts| (union_key(&keys, &settings), facts))
        };
        match found {
            Ok((key, facts)) => {
                let plan = DataPlan {
                    name: node.name.clone(),
                    source: source.to_owned(),
                    sets: sets.iter().map(|set| set.node).collect(),
                    settings,
                    facts,
                    key,
                    span: node.span,
                };
                self.experiment.data.insert(id, plan);
            }
            Err(error) => {
                let blamed = match &error {
                    DataError::Setting { name, .. } => block.iter().find(|setting| setting.name == *name),
                    _ => None,
                };
                let span = blamed.map_or(node.span, |setting| setting.span);
                let code = match &error {
                    DataError::Setting { .. } | DataError::Parts { .. } | DataError::Empty { .. } => {
                        Code::BadDataSetting
                    }
                    _ => Code::CannotReadData,
                };
                self.error(Diagnostic::new(code, span, error.to_string()));
            }
        }
    }
}
