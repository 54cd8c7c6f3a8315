//! What can be told of a node before it is built: the type of its result and the parts that it has.

use crate::ast::{Clause, Item, ModelSource};
use crate::descriptor::{Space, Verb};
use crate::graph::{NodeId, Ref};

use super::build::Build;

/// What headers tell of a model.
pub(crate) const MODEL_FACTS: [&str; 4] = ["parameters", "layers", "tensors", "bytes"];

/// Parts that every stage of a verb has.
fn parts_of_verb(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Select => &["best_single"],
        _ => &[],
    }
}

impl<'a> Build<'a> {
    /// The type of a node's result; models for the parts that there are.
    pub(crate) fn space(&self, reference: &Ref) -> Space {
        if reference.part.is_some() {
            return Space::Model;
        }
        match self.raw(reference.node).item {
            Item::Data(_) => Space::Dataset,
            Item::Stage(stage) => stage.verb.result(),
            _ => Space::Model,
        }
    }

    /// Names of a node's parts.
    pub(crate) fn parts(&self, id: NodeId) -> Vec<&'a str> {
        match self.raw(id).item {
            Item::Stage(stage) => {
                let collected = stage.clauses.iter().filter_map(|clause| match clause {
                    Clause::Collect(collect) => Some(collect.name.text.as_str()),
                    _ => None,
                });
                collected.chain(parts_of_verb(stage.verb).iter().copied()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a part holds any number of models (`collect`), not one.
    pub(crate) fn is_several(&self, reference: &Ref) -> bool {
        let Some(part) = &reference.part else { return false };
        match self.raw(reference.node).item {
            Item::Stage(stage) => stage
                .clauses
                .iter()
                .any(|clause| matches!(clause, Clause::Collect(c) if c.name.text == *part)),
            _ => false,
        }
    }

    /// "the model `chat`", "the scores `naive_loss`"
    pub(crate) fn describe(&self, reference: &Ref) -> String {
        let raw = self.raw(reference.node);
        let part = reference.part.as_ref().map(|part| format!(".{part}")).unwrap_or_default();
        let what = match raw.item {
            Item::Model(model) if matches!(model.source, ModelSource::Of(_)) => "network",
            _ => self.space(reference).word(),
        };
        format!("the {what} `{}{part}`", raw.name)
    }
}
