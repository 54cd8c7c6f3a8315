//! Items other than stages: models, data, saves and reports become nodes.

use crate::ast::{self, Item};
use crate::codes::Code;
use crate::descriptor::Space;
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::graph::{ModelSource, Node, NodeKind, Ref, Setting, Value};
use crate::import::join;
use crate::resolve::build::{Build, Place, Raw};

use super::settings::{Level, Owner};
use super::tables;

impl Build<'_> {
    /// The node of an item, or `None` if too much of it is broken, which has been reported.
    pub(crate) fn node(&mut self, raw: &Raw<'_>) -> Option<Node> {
        let place = Place { unit: raw.unit, locals: raw.locals.clone() };
        let kind = match raw.item {
            Item::Model(it) => self.model(&place, it),
            Item::Data(it) => self.data(&place, it),
            Item::Stage(it) => self.stage(&place, it).map(NodeKind::Stage),
            Item::Save(it) => self.save(&place, it),
            Item::Report(it) => self.report(&place, it),
            Item::Expect(it) => self.expect(&place, it),
            _ => None,
        }?;
        Some(Node { name: raw.name.clone(), kind, span: raw.item.span(), name_span: raw.name_span })
    }

    fn model(&mut self, place: &Place, it: &ast::Model) -> Option<NodeKind> {
        let specs = tables::model();
        let folder = self.unit(place.unit).folder.clone();
        match &it.source {
            ast::ModelSource::From(text) => {
                let owner = Owner { name: "model", ports: &[], specs: Some(&specs) };
                let mut settings = self.settings(place, &it.settings, owner, Level::Block);
                for setting in &mut settings {
                    if let (Value::Text(path), "adapter") = (&mut setting.value, setting.name.as_str()) {
                        *path = join(&folder, path);
                    }
                }
                if let Some(scale) = settings.iter().find(|setting| setting.name == "scale")
                    && !it.settings.iter().any(|field| field.name.text == "adapter")
                {
                    let diagnostic = Diagnostic::new(
                        Code::MissingParameter,
                        scale.span,
                        "`scale` is the factor of an adapter, and there is no `adapter`",
                    )
                    .help("add `adapter = \"PATH\"`");
                    self.say(diagnostic);
                }
                let path = self.interpolate(place, &text.value, text.span)?;
                if path.trim().is_empty() {
                    let diagnostic =
                        Diagnostic::new(Code::WrongType, text.span, "the path of a model is empty");
                    self.say(diagnostic);
                    return None;
                }
                Some(NodeKind::Model { source: ModelSource::Checkpoint(join(&folder, &path)), settings })
            }
            ast::ModelSource::Of(call) => {
                let owner = Owner { name: "network", ports: &[], specs: None };
                let settings = self.settings(place, &it.settings, owner, Level::Block);
                let mut arguments = std::collections::BTreeMap::new();
                let mut good = true;
                for (index, arg) in call.args.iter().enumerate() {
                    let value = self.eval(place, &arg.value);
                    let name = arg.name.as_ref().map_or_else(|| index.to_string(), |name| name.text.clone());
                    if arguments.contains_key(&name) {
                        let span = arg.name.as_ref().map_or(arg.value.span, |name| name.span);
                        let message = format!("`{name}` is given twice");
                        self.say(Diagnostic::new(Code::BadArgument, span, message));
                        continue;
                    }
                    match value.lower() {
                        Some(value) => {
                            arguments.insert(name, value);
                        }
                        None => good = false,
                    }
                }
                good.then(|| NodeKind::Model {
                    source: ModelSource::Network { name: call.function.dotted(), arguments, from: None },
                    settings,
                })
            }
        }
    }

    fn data(&mut self, place: &Place, it: &ast::Data) -> Option<NodeKind> {
        let owner = Owner { name: "data", ports: &[], specs: None };
        let settings = self.settings(place, &it.settings, owner, Level::Block);
        if let Some(split) = settings.iter().find(|setting| setting.name == "split")
            && let Value::Range { start, end } = split.value
        {
            if !(0.0..=1.0).contains(&start) || !(0.0..=1.0).contains(&end) {
                let message = "`split` is a range of fractions: `90%..100%`";
                self.say(Diagnostic::new(Code::OutOfRange, split.value_span, message));
            } else if start >= end {
                let message = "the range holds nothing";
                self.say(Diagnostic::new(Code::EmptyRange, split.value_span, message));
            }
        }
        let source = self.interpolate(place, &it.from.value, it.from.span)?;
        Some(NodeKind::Data { source: join(&self.unit(place.unit).folder, &source), settings })
    }

    fn save(&mut self, place: &Place, it: &ast::Save) -> Option<NodeKind> {
        let specs = tables::save();
        let owner = Owner { name: "save", ports: &[], specs: Some(&specs) };
        let settings = self.settings(place, &it.settings, owner, Level::Block);
        let path = self.target(place, &it.to);
        let input = self.saved(place, &it.what)?;
        Some(NodeKind::Save { input, path: path?, settings, path_span: it.to.span })
    }

    fn saved(&mut self, place: &Place, what: &ast::Reference) -> Option<Ref> {
        let value = self.eval_reference(place, what);
        let refuse = |build: &mut Self, message: String, help: &str| {
            build.say(Diagnostic::new(Code::CannotSave, what.span, message).help(help));
            None
        };
        match value {
            Val::Poison => None,
            Val::Word(word) => {
                self.unknown(place, &word, what.span);
                None
            }
            Val::Node(node) if self.is_several(&node) => {
                let message = format!("{} is several models; `save` writes one", self.describe(&node));
                refuse(self, message, "average or select them first")
            }
            Val::Node(node) => match self.space(&node) {
                Space::Model | Space::Delta => Some(node),
                Space::Scores => {
                    let message = format!("{} cannot be saved as a checkpoint", self.describe(&node));
                    refuse(self, message, "write scores with `report [NAME] to \"…\"`")
                }
                Space::Ensemble => {
                    let message = format!("{} cannot be saved as one checkpoint", self.describe(&node));
                    refuse(self, message, "make one model of it with `distill`, or save its members")
                }
                _ => {
                    let message = format!("{} cannot be saved as a checkpoint", self.describe(&node));
                    refuse(self, message, "save a model")
                }
            },
            Val::List(_) => refuse(
                self,
                "`save` writes one model, this is a list".to_owned(),
                "save each in a loop: `for i in 0..3 { save tuned[i] to \"out/{i}\" }`",
            ),
            other => refuse(
                self,
                format!("`save` writes a model, this is {}", other.kind()),
                "name a model or stage",
            ),
        }
    }

    fn report(&mut self, place: &Place, it: &ast::Report) -> Option<NodeKind> {
        let owner = Owner { name: "report", ports: &[], specs: None };
        let settings = self.settings(place, &it.settings, owner, Level::Block);
        let path = self.target(place, &it.to);
        let mut inputs = Vec::new();
        let mut broken = it.what.is_empty();
        for what in &it.what {
            for (input, _) in self.inputs(place, what) {
                match input {
                    Some(input) => inputs.push(input),
                    None => broken = true,
                }
            }
        }
        if it.what.is_empty() {
            let message = "there is nothing to report";
            self.say(
                Diagnostic::new(Code::MissingEdge, it.to.span, message).help("`report [NAME] to \"…\"`"),
            );
        }
        if broken { None } else { Some(NodeKind::Report { inputs, path: path?, settings }) }
    }

    /// Where something is written.
    fn target(&mut self, place: &Place, text: &ast::Text) -> Option<String> {
        let path = self.interpolate(place, &text.value, text.span)?;
        if path.trim().is_empty() {
            self.say(Diagnostic::new(Code::CannotWrite, text.span, "the path to write to is empty"));
            return None;
        }
        Some(path)
    }
}

/// A setting that the compiler adds.
pub(crate) fn added(name: &str, value: Value) -> Setting {
    use crate::span::Span;
    Setting { name: name.to_owned(), value, span: Span::NONE, value_span: Span::NONE }
}
