//! What can be told of a node before it is built: the type of its result and the parts that it has.

use crate::ast::{Clause, Item};
use crate::check::kinds::Kind;
use crate::descriptor::{Space, Verb};
use crate::eval::value::Val;
use crate::graph::{NodeId, Ref};

use super::build::{Build, Place};

/// What headers tell of a model.
pub(crate) const MODEL_FACTS: [&str; 4] = ["parameters", "layers", "tensors", "bytes"];

/// What is known of a training beside its model: the last epoch's loss and accuracy, epochs done, seconds taken.
pub(crate) const TRAIN_FACTS: [&str; 4] = ["loss", "accuracy", "epochs", "seconds"];

/// What is known of a path: its length, how many points it has, the distance of its ends.
pub(crate) const PATH_FACTS: [&str; 3] = ["length", "points", "distance"];

/// The part of an `align` stage that is what it has found.
pub(crate) const ALIGNMENT: &str = "alignment";

/// The part of an `align` stage that is all of its models.
pub(crate) const MODELS: &str = "models";

/// Parts that every stage of a verb has.
fn parts_of_verb(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Select => &["best_single"],
        Verb::Align => &[ALIGNMENT, MODELS],
        _ => &[],
    }
}

impl<'a> Build<'a> {
    /// The type of a node's result; models for the parts that there are.
    pub(crate) fn space(&self, reference: &Ref) -> Space {
        match self.raw(reference.node).item {
            Item::Stage(stage)
                if stage.verb == Verb::Align && reference.part.as_deref() == Some(ALIGNMENT) =>
            {
                Space::Alignment
            }
            _ if reference.part.is_some() => Space::Model,
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

    /// Facts that `expect` may ask of a result; those of scores depend on what is measured.
    pub(crate) fn facts_of(&self, reference: &Ref) -> Vec<&'static str> {
        let trains = matches!(self.raw(reference.node).item, Item::Stage(stage) if stage.verb == Verb::Train);
        match self.space(reference) {
            Space::Model if trains && reference.part.is_none() => [MODEL_FACTS, TRAIN_FACTS].concat(),
            Space::Model => MODEL_FACTS.to_vec(),
            Space::Path => PATH_FACTS.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Whether a result has numbers that only its method knows: what an alignment or a repair has found.
    pub(crate) fn has_own_facts(&self, reference: &Ref) -> bool {
        reference.part.is_none()
            && matches!(self.raw(reference.node).item, Item::Stage(stage) if matches!(stage.verb, Verb::Align | Verb::Repair))
    }

    /// Whether a part holds any number of models (`collect`), not one. Its recorder decides.
    pub(crate) fn is_several(&mut self, reference: &Ref) -> bool {
        let Some(part) = &reference.part else { return false };
        let raw = self.raw(reference.node).clone();
        let Item::Stage(stage) = raw.item else { return false };
        if stage.verb == Verb::Align {
            return part == MODELS;
        }
        let collected = stage.clauses.iter().find_map(|clause| match clause {
            Clause::Collect(collect) if collect.name.text == *part => Some(collect),
            _ => None,
        });
        let Some(collect) = collected else { return false };
        let Some(block) = self.world.collect_settings() else { return true };
        let specs = block.parameters();
        let Some(spec) = specs.iter().find(|spec| spec.name == "recorder") else { return true };
        let recorder = match collect.settings.iter().find(|field| field.name.text == spec.name) {
            None => spec.default.as_ref().and_then(|word| word.as_str()).map(str::to_owned),
            Some(field) => {
                let place = Place { unit: raw.unit, locals: raw.locals.clone() };
                // Mistakes in it are reported with the clause.
                let before = self.diagnostics.len();
                let value = self.worded(&place, &Kind::Of(spec.kind.clone()), &field.value);
                self.diagnostics.truncate(before);
                match value {
                    Val::Word(word) => Some(word),
                    _ => None,
                }
            }
        };
        !recorder.is_some_and(|word| block.one().contains(&word.as_str()))
    }

    /// "the model `chat`", "the scores `naive_loss`"
    pub(crate) fn describe(&self, reference: &Ref) -> String {
        let raw = self.raw(reference.node);
        let part = reference.part.as_ref().map(|part| format!(".{part}")).unwrap_or_default();
        let what = match raw.item {
            Item::Model(model) if model.source.network().is_some() => "network",
            _ => self.space(reference).word(),
        };
        format!("the {what} `{}{part}`", raw.name)
    }
}
