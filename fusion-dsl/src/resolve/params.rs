//! Values of `param` and `let`: evaluated when first used, kept, and checked for going round in circles.

use crate::ast::{Item, Name, Param};
use crate::check::kinds::Kind;
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::import::UnitId;
use crate::suggest;

use super::build::{Build, Memo};
use super::scope::Binding;

impl<'a> Build<'a> {
    /// The value of a `param` or `let`.
    pub(crate) fn value(&mut self, unit: UnitId, name: &Name, binding: &Binding) -> Val {
        let key = (unit, name.text.clone());
        match self.values.get(&key) {
            Some(Memo::Done(value)) => return value.clone(),
            Some(Memo::Open) => {
                self.circle(&key, name);
                return Val::Poison;
            }
            None => {}
        }
        self.values.insert(key.clone(), Memo::Open);
        self.trail.push((unit, name.text.clone(), name.span));
        let value = match binding {
            Binding::Param(item) => match self.item(unit, *item) {
                Item::Param(param) => self.deeper(name.span, |build| build.param(unit, param)),
                _ => Val::Poison,
            },
            Binding::Let(item) => match self.item(unit, *item) {
                Item::Let(binding) => {
                    let place = self.top(unit);
                    self.deeper(name.span, |build| build.eval(&place, &binding.value))
                }
                _ => Val::Poison,
            },
            _ => Val::Poison,
        };
        self.trail.pop();
        self.values.insert(key, Memo::Done(value.clone()));
        value
    }

    fn circle(&mut self, key: &(UnitId, String), name: &Name) {
        let start =
            self.trail.iter().position(|(unit, text, _)| *unit == key.0 && *text == key.1).unwrap_or(0);
        let mut names: Vec<String> =
            self.trail[start..].iter().map(|(_, text, _)| format!("`{text}`")).collect();
        names.push(format!("`{}`", key.1));
        self.say(
            Diagnostic::new(Code::Cycle, name.span, format!("`{}` depends on itself", key.1))
                .label("closes the circle")
                .note(names.join(" needs ")),
        );
    }

    fn param(&mut self, unit: UnitId, param: &'a Param) -> Val {
        let name = param.name.text.as_str();
        let Some(kind) = self.param_kind(param) else { return Val::Poison };
        if unit == 0
            && let Some(value) = self.sets.get(name)
        {
            return value.clone();
        }
        if let Some((parent, fields)) = self.given(unit)
            && let Some(field) = fields.iter().find(|field| field.name.text == name)
        {
            let place = self.top(parent);
            let value = self.worded(&place, &kind, &field.value);
            return self.fit(&place, &kind, value, field.value.span, &format!("`{name}`"));
        }
        let Some(default) = &param.default else {
            let mut diagnostic =
                Diagnostic::new(Code::MissingParameter, param.name.span, format!("`{name}` has no value"));
            diagnostic = if unit == 0 {
                diagnostic.help(format!("give one with `--set {name}=…`, or write a default: `= …`"))
            } else {
                diagnostic.help(format!("give one where the recipe is imported: `with {{ {name} = … }}`"))
            };
            self.say(diagnostic);
            return Val::Poison;
        };
        let place = self.top(unit);
        let value = self.worded(&place, &kind, default);
        self.fit(&place, &kind, value, default.span, &format!("`{name}`"))
    }

    /// The type that a `param` declares.
    pub(crate) fn param_kind(&mut self, param: &Param) -> Option<Kind> {
        let word = param.kind.text.as_str();
        let kind = Kind::parse(word);
        if kind.is_none() {
            let mut diagnostic =
                Diagnostic::new(Code::UnknownType, param.kind.span, format!("there is no type `{word}`"));
            diagnostic = match suggest::closest(word, Kind::WORDS.iter().copied()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                    format!("change it to `{near}`"),
                    param.kind.span,
                    near,
                ),
                None => {
                    diagnostic.help(format!("types are {}", suggest::list(Kind::WORDS.iter().copied(), 30)))
                }
            };
            if !self.diagnostics.contains(&diagnostic) {
                self.say(diagnostic);
            }
        }
        kind
    }

    /// Checks `with { … }` of every import against the imported recipe's parameters.
    pub(crate) fn check_imports(&mut self) {
        for unit in 1..self.program.units.len() {
            let Some((_, fields)) = self.given(unit) else { continue };
            let it = self.unit(unit);
            let params: Vec<&str> = it
                .file
                .items
                .iter()
                .filter_map(
                    |item| if let Item::Param(param) = item { Some(param.name.text.as_str()) } else { None },
                )
                .collect();
            for (index, field) in fields.iter().enumerate() {
                let name = field.name.text.as_str();
                if let Some(first) = fields[..index].iter().find(|first| first.name.text == name) {
                    self.twice(name, field.name.span, first.name.span);
                }
                if params.contains(&name)
                    || it.scope.names.get(name).is_some_and(|b| b.binding == Binding::Broken)
                {
                    continue;
                }
                let import = it.prefix.trim_end_matches('.');
                let mut diagnostic = Diagnostic::new(
                    Code::UnknownImportParameter,
                    field.name.span,
                    format!("`{import}` has no parameter `{name}`"),
                );
                diagnostic = match suggest::closest(name, params.iter().copied()) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                        format!("change it to `{near}`"),
                        field.name.span,
                        near,
                    ),
                    None if params.is_empty() => diagnostic.note("it declares no parameters"),
                    None => diagnostic.help(format!("it has {}", suggest::list(params.iter().copied(), 8))),
                };
                self.say(diagnostic);
            }
        }
    }

    /// Evaluates every `param` and `let` of the recipe, used or not, so that all mistakes are found.
    pub(crate) fn evaluate_all(&mut self) {
        for unit in 0..self.program.units.len() {
            let it = self.unit(unit);
            for (index, item) in it.file.items.iter().enumerate() {
                if it.scope.rejected.contains(&index) {
                    continue;
                }
                match item {
                    Item::Param(param) => {
                        self.value(unit, &param.name, &Binding::Param(index));
                    }
                    Item::Let(binding) => {
                        self.value(unit, &binding.name, &Binding::Let(index));
                    }
                    _ => {}
                }
            }
        }
    }
}
