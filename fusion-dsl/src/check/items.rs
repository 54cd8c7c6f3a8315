//! Items other than stages: models, data, saves and reports become nodes.

use crate::ast::{self, Item};
use crate::codes::Code;
use crate::descriptor::{BlockDescriptor, Space};
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::graph::{ModelSource, Node, NodeKind, Ref, Setting, Value};
use crate::import::join;
use crate::resolve::build::{Build, Place, Raw};
use crate::span::Span;

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
                let path = self.checkpoint(place, text)?;
                Some(NodeKind::Model { source: ModelSource::Checkpoint(path), settings })
            }
            ast::ModelSource::Of(call) => self.network(place, it, call, None),
            ast::ModelSource::OfFrom { of, from } => self.network(place, it, of, Some(from)),
        }
    }

    /// The path of a checkpoint, relative to the recipe's folder.
    pub(crate) fn checkpoint(&mut self, place: &Place, text: &ast::Text) -> Option<String> {
        let path = self.interpolate(place, &text.value, text.span)?;
        if path.trim().is_empty() {
            self.say(Diagnostic::new(Code::WrongType, text.span, "the path of a model is empty"));
            return None;
        }
        Some(join(&self.unit(place.unit).folder, &path))
    }

    fn data(&mut self, place: &Place, it: &ast::Data) -> Option<NodeKind> {
        let block = self.world.data_settings();
        let settings = self.block(place, block, "data", &it.settings, it.name.span);
        let from = match &it.from {
            ast::DataSource::Source(from) => from,
            ast::DataSource::Sets(parts) => {
                let sets = self.sets(place, it, parts)?;
                return Some(NodeKind::Data { source: String::new(), sets, settings });
            }
        };
        let source = self.interpolate(place, &from.value, from.span)?;
        // A built-in set is no file beside the recipe.
        let built_in = block.is_some_and(|block| block.sources().contains(&source.as_str()));
        let source = if built_in { source } else { join(&self.unit(place.unit).folder, &source) };
        Some(NodeKind::Data { source, sets: Vec::new(), settings })
    }

    /// The data sets that another is made of; `None` if any is none, which has been reported.
    fn sets(&mut self, place: &Place, it: &ast::Data, parts: &[ast::Expr]) -> Option<Vec<Ref>> {
        let mut sets = Vec::new();
        let mut broken = false;
        for part in parts {
            if let ast::ExprKind::Text(text) = &part.kind {
                let message = "data sets are joined by their names, not by their sources";
                let diagnostic = Diagnostic::new(Code::WrongSpace, part.span, message)
                    .help(format!("give it a name first: `data NAME from \"{text}\"`"));
                self.say(diagnostic);
                broken = true;
                continue;
            }
            for (input, span) in self.inputs(place, part) {
                match input.filter(|input| self.is_data(input, span)) {
                    Some(input) => sets.push(input),
                    None => broken = true,
                }
            }
        }
        if sets.is_empty() && !broken {
            let message = format!("there is nothing to make `{}` of", it.name.text);
            let span = parts.first().map_or(it.name.span, |part| part.span);
            self.say(
                Diagnostic::new(Code::MissingEdge, span, message)
                    .help(format!("name the data sets: `data {} from [A, B]`", it.name.text)),
            );
            broken = true;
        }
        (!broken).then_some(sets)
    }

    fn is_data(&mut self, input: &Ref, span: Span) -> bool {
        if self.space(input) == Space::Dataset {
            return true;
        }
        let message = format!("data sets are made of data sets, this is {}", self.describe(input));
        let diagnostic = Diagnostic::new(Code::WrongSpace, span, message)
            .secondary(self.raw(input.node).name_span, "declared here");
        self.say(diagnostic);
        false
    }

    /// The settings of a block that has a table in the world, or is not checked without one.
    pub(crate) fn block(
        &mut self,
        place: &Place,
        block: Option<&BlockDescriptor>,
        name: &str,
        fields: &[ast::Field],
        span: Span,
    ) -> Vec<Setting> {
        let specs = block.map(BlockDescriptor::parameters);
        let owner = Owner { name, ports: &[], specs: specs.as_deref() };
        let settings = self.settings(place, fields, owner, Level::Block);
        self.missing(owner, fields, span, " = ");
        settings
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
                // A path is written as its control points, an alignment as its transforms.
                Space::Model | Space::Delta | Space::Path | Space::Alignment => Some(node),
                Space::Scores => {
                    let message = format!("{} cannot be saved as a checkpoint", self.describe(&node));
                    refuse(self, message, "write scores with `report [NAME] to \"…\"`")
                }
                Space::Ensemble => {
                    let message = format!("{} cannot be saved as one checkpoint", self.describe(&node));
                    refuse(self, message, "make one model of it with `distill`, or save its members")
                }
                Space::Dataset => {
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
        let settings = self.block(place, self.world.report_settings(), "report", &it.settings, it.to.span);
        let path = self.target(place, &it.to);
        let mut inputs = Vec::new();
        let mut broken = false;
        for what in &it.what {
            for (input, span) in self.inputs(place, what) {
                match input.filter(|input| self.reports(input, span)) {
                    Some(input) => inputs.push(input),
                    None => broken = true,
                }
            }
        }
        if inputs.is_empty() && !broken {
            let message = "there is nothing to report";
            let span = it.what.first().map_or(it.to.span, |what| what.span);
            self.say(Diagnostic::new(Code::MissingEdge, span, message).help("`report [NAME] to \"…\"`"));
            broken = true;
        }
        if broken { None } else { Some(NodeKind::Report { inputs, path: path?, settings }) }
    }

    /// Whether there is something to say of a result.
    fn reports(&mut self, input: &Ref, span: Span) -> bool {
        let several = self.is_several(input);
        if !several && matches!(self.space(input), Space::Scores | Space::Path | Space::Model | Space::Delta)
        {
            return true;
        }
        let what = self.describe(input);
        let mut diagnostic = Diagnostic::new(
            Code::WrongSpace,
            span,
            format!("`report` takes scores, paths, models and trainings, this is {what}"),
        )
        .secondary(self.raw(input.node).name_span, "declared here");
        if several {
            diagnostic = diagnostic
                .note("it is several models")
                .help(format!("report the training itself: `{}`", self.raw(input.node).name));
        } else if self.space(input) == Space::Ensemble {
            diagnostic = diagnostic.help("measure it with an `evaluate` stage and report the scores");
        }
        self.say(diagnostic);
        false
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
    Setting { name: name.to_owned(), value, span: Span::NONE, value_span: Span::NONE }
}
