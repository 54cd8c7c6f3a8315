//! `model … of mlp(…)`: the arguments against the architecture's schema, and where the weights come from.

use std::collections::BTreeMap;

use crate::ast::{self, Expr, ExprKind, Field, Name};
use crate::codes::Code;
use crate::descriptor::{BlockDescriptor, ParamSpec};
use crate::diag::Diagnostic;
use crate::graph::{ModelSource, NodeKind, Setting, Value};
use crate::resolve::build::{Build, Place};
use crate::span::Span;
use crate::suggest;

use super::settings::{Level, Owner};
use super::tables;

impl<'a> Build<'a> {
    /// The node of a network; `from` is the checkpoint that holds its weights.
    pub(crate) fn network(
        &mut self,
        place: &Place,
        it: &ast::Model,
        call: &ast::Call,
        from: Option<&ast::Text>,
    ) -> Option<NodeKind> {
        let specs = if from.is_some() { tables::foreign() } else { tables::fresh() };
        let owner = Owner { name: "model", ports: &[], specs: Some(&specs) };
        let mut settings = self.settings(place, &it.settings, owner, Level::Block);
        for (setting, field) in settings.iter_mut().filter_map(|setting| {
            let field = it.settings.iter().find(|field| field.name.text == setting.name)?;
            (setting.name == "map").then_some((setting, field))
        }) {
            self.name_map(setting, &field.value);
        }
        let name = call.function.dotted();
        let arguments = if self.world.networks().is_empty() {
            self.unchecked_arguments(place, call)
        } else {
            match self.architecture(call, &name) {
                Some(block) => self.checked_arguments(place, call, block),
                None => {
                    // Names in the arguments count as used.
                    self.unchecked_arguments(place, call);
                    None
                }
            }
        };
        let from = match from {
            Some(text) => Some(self.checkpoint(place, text)?),
            None => None,
        };
        Some(NodeKind::Model { source: ModelSource::Network { name, arguments: arguments?, from }, settings })
    }

    fn architecture(&mut self, call: &ast::Call, name: &str) -> Option<&'a BlockDescriptor> {
        let world = self.world;
        let found = world.networks().iter().find(|block| block.id == name);
        if found.is_none() {
            let span = call.function.span;
            let known = || world.networks().iter().map(|block| block.id.as_str());
            let mut diagnostic =
                Diagnostic::new(Code::UnknownNetwork, span, format!("there is no architecture `{name}`"));
            diagnostic = match suggest::closest(name, known()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                    format!("change it to `{near}`"),
                    span,
                    near,
                ),
                None => diagnostic.help(format!("architectures are {}", suggest::list(known(), 20))),
            };
            self.say(diagnostic);
        }
        found
    }

    /// Arguments by name, each checked; `None` if any is missing or broken, which has been reported.
    fn checked_arguments(
        &mut self,
        place: &Place,
        call: &ast::Call,
        block: &BlockDescriptor,
    ) -> Option<BTreeMap<String, Value>> {
        let specs = block.parameters();
        let positional = block.positional();
        let mut good = true;
        let mut unnamed = 0;
        let mut twice = false;
        let mut fields: Vec<Field> = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            let name = match &arg.name {
                Some(name) => name.clone(),
                None => {
                    let known = positional.get(unnamed).copied();
                    unnamed += 1;
                    match known {
                        Some(known) => Name::new(known, arg.value.span),
                        None => {
                            self.unnamed(place, &arg.value, block, &specs, positional.len());
                            continue;
                        }
                    }
                }
            };
            if fields.iter().any(|field| field.name.text == name.text) {
                self.given_twice(&name);
                twice = true;
                continue;
            }
            let span = name.span.to(arg.value.span);
            fields.push(Field { name, value: arg.value.clone(), span });
        }
        let owner = Owner { name: &block.id, ports: &[], specs: Some(&specs) };
        let mut arguments = BTreeMap::new();
        for field in &fields {
            match self.setting(place, field, owner, Level::Block) {
                Some(setting) => {
                    arguments.insert(setting.name, setting.value);
                }
                None => good = false,
            }
        }
        // One that is given twice, or without a name, may be the one that misses.
        if twice || unnamed > positional.len() {
            return None;
        }
        good &= self.missing(owner, &fields, call.span, ": ");
        good.then_some(arguments)
    }

    fn unnamed(
        &mut self,
        place: &Place,
        value: &Expr,
        block: &BlockDescriptor,
        specs: &[ParamSpec],
        count: usize,
    ) {
        self.eval(place, value);
        let name = &block.id;
        let message = match count {
            0 => format!("arguments of `{name}` are given by name"),
            _ => format!("only the first {count} arguments of `{name}` may be given without a name"),
        };
        let text = self.source(value.span);
        let example = specs.first().map_or("NAME", |spec| spec.name.as_str());
        let names = specs.iter().map(|spec| spec.name.as_str());
        let diagnostic = Diagnostic::new(Code::BadArgument, value.span, message)
            .help(format!("write the name before it: `{example}: {text}`"))
            .note(format!("its arguments are {}", suggest::list(names, 20)));
        self.say(diagnostic);
    }

    fn given_twice(&mut self, name: &Name) {
        let message = format!("`{}` is given twice", name.text);
        self.say(Diagnostic::new(Code::BadArgument, name.span, message));
    }

    /// Arguments of an architecture that is not known: by name or position, with whatever values they have.
    fn unchecked_arguments(&mut self, place: &Place, call: &ast::Call) -> Option<BTreeMap<String, Value>> {
        let mut arguments = BTreeMap::new();
        let mut good = true;
        for (index, arg) in call.args.iter().enumerate() {
            let value = self.eval(place, &arg.value);
            let name = match &arg.name {
                Some(name) => name.clone(),
                None => Name::new(index.to_string(), arg.value.span),
            };
            if arguments.contains_key(&name.text) {
                self.given_twice(&name);
                good = false;
                continue;
            }
            match value.lower() {
                Some(value) => {
                    arguments.insert(name.text, value);
                }
                None => good = false,
            }
        }
        good.then_some(arguments)
    }

    /// `map = ["theirs = ours", …]`: every entry names two tensors, and no tensor twice. Blanks are made uniform, so that they take
    /// no part in keys.
    fn name_map(&mut self, setting: &mut Setting, written: &Expr) {
        let Value::List(entries) = &mut setting.value else { return };
        let spans: Vec<Span> = match &written.kind {
            ExprKind::List(items) if items.len() == entries.len() => {
                items.iter().map(|item| item.span).collect()
            }
            _ => vec![written.span; entries.len()],
        };
        let mut seen: [BTreeMap<String, Span>; 2] = Default::default();
        for (entry, span) in entries.iter_mut().zip(spans) {
            let Value::Text(text) = entry else { continue };
            let sides: Vec<&str> = text.split('=').map(str::trim).collect();
            let [theirs, ours] = sides.as_slice() else {
                self.bad_entry(span, "names two tensors with one `=` between them");
                continue;
            };
            if theirs.is_empty() || ours.is_empty() {
                self.bad_entry(span, "names a tensor on both sides of its `=`");
                continue;
            }
            for (side, name) in seen.iter_mut().zip([theirs, ours]) {
                if let Some(first) = side.insert((*name).to_owned(), span) {
                    let diagnostic =
                        Diagnostic::new(Code::BadNameMap, span, format!("`{name}` is mapped twice"))
                            .secondary(first, "first mapped here");
                    self.say(diagnostic);
                }
            }
            *text = format!("{theirs} = {ours}");
        }
    }

    fn bad_entry(&mut self, span: Span, what: &str) {
        let diagnostic = Diagnostic::new(Code::BadNameMap, span, format!("an entry of `map` {what}")).help(
            "for instance `\"features.0.weight = layers.0.weight\"`: the file's name, then the network's",
        );
        self.say(diagnostic);
    }
}
