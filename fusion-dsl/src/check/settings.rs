//! `name = value` against a parameter schema.

use crate::ast::{Expr, ExprKind, Field};
use crate::codes::Code;
use crate::descriptor::{ParamKind, ParamSpec, Port};
use crate::diag::Diagnostic;
use crate::eval::value::{Val, unit_named};
use crate::graph::Setting;
use crate::resolve::build::{Build, Place};
use crate::span::Span;

use super::kinds::Kind;

/// Where a setting stands, which decides what may be set there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Level {
    /// In the block of a stage or item.
    Block,
    /// In the block of an input.
    Edge,
    /// In an `on` rule of the stage.
    Rule,
    /// In an `on` rule of an input.
    EdgeRule,
}

/// Whose settings they are.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'o> {
    /// `ties`, `save`
    pub(crate) name: &'o str,
    pub(crate) ports: &'o [Port],
    /// `None` where anything goes because the schema is not known.
    pub(crate) specs: Option<&'o [ParamSpec]>,
}

impl Build<'_> {
    /// The settings of a block; those with mistakes are left out.
    pub(crate) fn settings(
        &mut self,
        place: &Place,
        fields: &[Field],
        owner: Owner<'_>,
        level: Level,
    ) -> Vec<Setting> {
        let mut settings = Vec::with_capacity(fields.len());
        for (index, field) in fields.iter().enumerate() {
            if let Some(first) = fields[..index].iter().find(|first| first.name.text == field.name.text) {
                self.twice(&field.name.text, field.name.span, first.name.span);
            } else if let Some(setting) = self.setting(place, field, owner, level) {
                settings.push(setting);
            }
        }
        settings
    }

    pub(crate) fn twice(&mut self, name: &str, span: Span, first: Span) {
        self.say(
            Diagnostic::new(Code::DuplicateSetting, span, format!("`{name}` is set twice"))
                .label("set again here")
                .secondary(first, "first set here"),
        );
    }

    pub(crate) fn setting(
        &mut self,
        place: &Place,
        field: &Field,
        owner: Owner<'_>,
        level: Level,
    ) -> Option<Setting> {
        let name = field.name.text.as_str();
        let lowered = |value: Val| {
            Some(Setting {
                name: field.name.text.clone(),
                value: value.lower()?,
                span: field.span,
                value_span: field.value.span,
            })
        };
        let Some(specs) = owner.specs else {
            return lowered(self.eval(place, &field.value));
        };
        let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
            let value = self.eval_quietly(place, &field.value);
            self.unknown_parameter(field, owner, specs, level, &value);
            return None;
        };
        let kind = Kind::Of(spec.kind.clone());
        let value = self.worded(place, &kind, &field.value);
        if !self.allowed_at(field, spec, owner, level) {
            return None;
        }
        let value = match value {
            Val::Schedule(schedule) if kind.is_numeric() || matches!(spec.kind, ParamKind::Schedule(_)) => {
                self.scheduled(place, field, spec, owner, schedule)?
            }
            value => {
                let subject = format!("`{name}`");
                let value = self.fit(place, &kind, unified(spec, value), field.value.span, &subject);
                if !self.in_bounds(spec, &value, field.value.span) {
                    return None;
                }
                value
            }
        };
        lowered(value)
    }

    /// Evaluates without complaints: for values whose setting is the mistake.
    fn eval_quietly(&mut self, place: &Place, expr: &Expr) -> Val {
        let before = self.diagnostics.len();
        let value = self.eval(place, expr);
        self.diagnostics.truncate(before);
        value
    }

    /// The value of an expression where words of a list are due: the list's words come before the recipe's names, also in both branches
    /// of a condition and in the elements of a list.
    pub(crate) fn worded(&mut self, place: &Place, kind: &Kind, expr: &Expr) -> Val {
        if !kind.takes_words() {
            return self.eval(place, expr);
        }
        if let (Kind::Of(ParamKind::Word(words)), Some(name)) = (kind, expr.bare())
            && words.iter().any(|(word, _)| *word == name.text)
        {
            return Val::Word(name.text.clone());
        }
        match (&expr.kind, kind.element()) {
            (ExprKind::Conditional { then, condition, otherwise }, _) => {
                self.deeper(expr.span, |build| match build.branch(place, then, condition, otherwise) {
                    Some(chosen) => build.worded(place, kind, chosen),
                    None => Val::Poison,
                })
            }
            (ExprKind::List(items), Some(element)) => self.deeper(expr.span, |build| {
                let values: Vec<Val> = items.iter().map(|item| build.worded(place, &element, item)).collect();
                Val::List(values.into())
            }),
            _ => self.eval(place, expr),
        }
    }

    fn in_bounds(&mut self, spec: &ParamSpec, value: &Val, span: Span) -> bool {
        match value {
            Val::Number { value, .. } | Val::Bytes(value) | Val::Quantity { value, .. } => {
                self.within(spec, *value, span)
            }
            Val::List(items) => items.iter().all(|item| self.in_bounds(spec, item, span)),
            Val::Poison => false,
            _ => true,
        }
    }

    pub(crate) fn within(&mut self, spec: &ParamSpec, value: f64, span: Span) -> bool {
        let low = spec.min.filter(|min| value < *min || (spec.min_exclusive && value == *min));
        let high = spec.max.filter(|max| value > *max);
        let limit = match (low, high) {
            (Some(min), _) if spec.min_exclusive => format!("above {}", shown(spec, min)),
            (Some(min), _) => format!("at least {}", shown(spec, min)),
            (None, Some(max)) => format!("at most {}", shown(spec, max)),
            (None, None) => return true,
        };
        let message = format!("`{}` must be {limit}, this is {}", spec.name, shown(spec, value));
        let mut diagnostic = Diagnostic::new(Code::OutOfRange, span, message);
        if !spec.doc.is_empty() {
            diagnostic = diagnostic.note(format!("`{}`: {}", spec.name, spec.doc));
        }
        self.say(diagnostic);
        false
    }
}

/// One form for what can be written in two: spans with their unit, numbers of samples and tokens without.
fn unified(spec: &ParamSpec, value: Val) -> Val {
    match (&spec.kind, value) {
        (ParamKind::Span, Val::Number { value, percent: false }) => {
            match spec.bare.as_deref().and_then(unit_named) {
                Some(unit) => Val::Quantity { value, unit },
                None => Val::number(value),
            }
        }
        (ParamKind::Samples, Val::Quantity { value, unit: "sample" })
        | (ParamKind::Tokens, Val::Quantity { value, unit: "token" }) => Val::number(value),
        (_, value) => value,
    }
}

/// A number as a recipe writes it.
pub(crate) fn shown(spec: &ParamSpec, value: f64) -> String {
    match spec.kind {
        ParamKind::Fraction => Val::Number { value, percent: true }.text().unwrap_or_default(),
        ParamKind::Bytes => format!("{value} B"),
        _ => value.to_string(),
    }
}
