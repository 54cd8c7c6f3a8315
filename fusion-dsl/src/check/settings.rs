//! `name = value` against a parameter schema.

use serde_json::Value as Json;

use crate::ast::{Expr, Field};
use crate::codes::Code;
use crate::descriptor::{ParamKind, ParamSpec, Port};
use crate::diag::Diagnostic;
use crate::eval::value::{Val, bounds, unit_named};
use crate::graph::{Schedule, Setting};
use crate::resolve::build::{Build, Place};
use crate::span::Span;
use crate::suggest;

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

    /// A schedule where the parameter may vary, all of its values allowed ones.
    fn scheduled(
        &mut self,
        place: &Place,
        field: &Field,
        spec: &ParamSpec,
        owner: Owner<'_>,
        schedule: Schedule,
    ) -> Option<Val> {
        let span = field.value.span;
        let inner = match &spec.kind {
            ParamKind::Schedule(inner) => (**inner).clone(),
            _ if !spec.varies => {
                self.cannot_vary(field, owner);
                return None;
            }
            other => other.clone(),
        };
        if let (Some(what), false) = (schedule.over_time(), matches!(spec.kind, ParamKind::Schedule(_))) {
            let name = &spec.name;
            self.say(
                Diagnostic::new(
                    Code::OverTime,
                    span,
                    format!("`{name}` of `{}` varies over layers, {what} over time", owner.name),
                )
                .help("over layers there are `ramp`, `curve`, `steps` and `cosine` without a `cycle`"),
            );
            return None;
        }
        let (low, high) = bounds(&schedule);
        for end in [low, high] {
            // Between whole numbers a schedule of counts is rounded by who uses it.
            let kind = Kind::Of(if inner == ParamKind::Count { ParamKind::Number } else { inner.clone() });
            let fit = self.fit(place, &kind, Val::number(end), span, &format!("`{}`", spec.name));
            if matches!(fit, Val::Poison) || !self.within(spec, end, span) {
                return None;
            }
        }
        if inner == ParamKind::Count && low < 0.0 {
            let message = format!("`{}` takes whole numbers, not negative ones", spec.name);
            self.say(Diagnostic::new(Code::OutOfRange, span, message));
            return None;
        }
        Some(Val::Schedule(schedule))
    }

    /// Evaluates without complaints: for values whose setting is the mistake.
    fn eval_quietly(&mut self, place: &Place, expr: &Expr) -> Val {
        let before = self.diagnostics.len();
        let value = self.eval(place, expr);
        self.diagnostics.truncate(before);
        value
    }

    /// The value of an expression where words of a list are due: the list's words come before the recipe's names.
    pub(crate) fn worded(&mut self, place: &Place, kind: &Kind, expr: &Expr) -> Val {
        if let (Kind::Of(ParamKind::Word(words)), Some(name)) = (kind, expr.bare())
            && words.iter().any(|(word, _)| *word == name.text)
        {
            return Val::Word(name.text.clone());
        }
        self.eval(place, expr)
    }

    fn allowed_at(&mut self, field: &Field, spec: &ParamSpec, owner: Owner<'_>, level: Level) -> bool {
        let name = &field.name.text;
        if matches!(level, Level::Edge | Level::EdgeRule) && !spec.per_input {
            self.say(
                Diagnostic::new(
                    Code::NotPerInput,
                    field.name.span,
                    format!("`{name}` of `{}` cannot differ between inputs", owner.name),
                )
                .help(format!(
                    "set it on the stage: move `{}` out of the input's block",
                    self.source(field.span)
                )),
            );
            return false;
        }
        if matches!(level, Level::Rule | Level::EdgeRule) && !spec.varies {
            self.cannot_vary(field, owner);
            return false;
        }
        true
    }

    fn cannot_vary(&mut self, field: &Field, owner: Owner<'_>) {
        let name = &field.name.text;
        let mut diagnostic = Diagnostic::new(
            Code::CannotVary,
            field.name.span,
            format!("`{name}` of `{}` is one value for the whole stage", owner.name),
        )
        .help("set it once, in the stage's block, to a plain value");
        if let Some(specs) = owner.specs {
            let varying: Vec<&str> = specs
                .iter()
                .filter(|spec| spec.varies || matches!(spec.kind, ParamKind::Schedule(_)))
                .map(|spec| spec.name.as_str())
                .collect();
            if !varying.is_empty() {
                diagnostic = diagnostic.note(format!("{} may vary", suggest::list(varying, 8)));
            }
        }
        self.say(diagnostic);
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

    fn within(&mut self, spec: &ParamSpec, value: f64, span: Span) -> bool {
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

    /// Complains about required parameters that are not among `fields`; whether there are none. It looks at the text: a mistaken
    /// value is not a missing one, nor is a misspelt name. `sign` stands between a name and its value.
    pub(crate) fn missing(&mut self, owner: Owner<'_>, fields: &[Field], span: Span, sign: &str) -> bool {
        let specs = owner.specs.unwrap_or_default();
        let absent: Vec<&ParamSpec> = specs
            .iter()
            .filter(|spec| spec.required && !fields.iter().any(|field| field.name.text == spec.name))
            .collect();
        let unknown = fields.iter().filter(|field| !specs.iter().any(|spec| spec.name == field.name.text));
        let meant: Vec<&str> = unknown
            .filter_map(|field| suggest::closest(&field.name.text, specs.iter().map(|s| s.name.as_str())))
            .collect();
        for spec in &absent {
            if !meant.contains(&spec.name.as_str()) {
                self.missing_parameter(owner, spec, span, "", sign);
            }
        }
        absent.is_empty()
    }

    pub(crate) fn missing_parameter(
        &mut self,
        owner: Owner<'_>,
        spec: &ParamSpec,
        span: Span,
        place: &str,
        sign: &str,
    ) {
        let mut diagnostic = Diagnostic::new(
            Code::MissingParameter,
            span,
            format!("`{}` needs `{}`{place}", owner.name, spec.name),
        )
        .help(format!("set it: `{}{sign}…` ({})", spec.name, spec.kind));
        if !spec.doc.is_empty() {
            diagnostic = diagnostic.note(format!("`{}`: {}", spec.name, spec.doc));
        }
        self.say(diagnostic);
    }

    fn unknown_parameter(
        &mut self,
        field: &Field,
        owner: Owner<'_>,
        specs: &[ParamSpec],
        level: Level,
        value: &Val,
    ) {
        let name = field.name.text.as_str();
        let span = field.name.span;
        let what = if level == Level::Block { "" } else { " here" };
        let mut diagnostic = Diagnostic::new(
            Code::UnknownParameter,
            span,
            format!("`{}` has no parameter `{name}`{what}", owner.name),
        )
        .label(format!("not a parameter of `{}`", owner.name));
        let port = owner.ports.iter().find(|port| port.role == name);
        let between = Span { start: span.end, end: field.value.span.start.max(span.end), ..span };
        let between = self.source(between);
        if port.is_some() && !between.is_empty() && !between.contains('=') {
            // The parser took an input with a slip in it for a setting, and has said so.
            return;
        }
        if let Some(port) = port.filter(|_| level == Level::Block || matches!(value, Val::Node(_))) {
            let input = self.source(field.value.span);
            let fixed = format!("{} {input}", port.role);
            self.say(diagnostic.help(format!("inputs are written without `=`: `{fixed}`")).fix(
                "make it an input",
                field.span,
                fixed,
            ));
            return;
        }
        let fitting: Vec<&ParamSpec> = specs
            .iter()
            .filter(|spec| match level {
                Level::Block => true,
                Level::Edge => spec.per_input,
                Level::Rule => spec.varies,
                Level::EdgeRule => spec.varies && spec.per_input,
            })
            .collect();
        let near = suggest::closest(name, fitting.iter().map(|spec| spec.name.as_str()))
            .or_else(|| suggest::closest(name, specs.iter().map(|spec| spec.name.as_str())));
        diagnostic = match near.and_then(|near| specs.iter().find(|spec| spec.name == near)) {
            Some(spec) => diagnostic.help(format!("did you mean `{}`? ({})", spec.name, summary(spec))).fix(
                format!("change it to `{}`", spec.name),
                span,
                spec.name.clone(),
            ),
            None if fitting.is_empty() && specs.is_empty() => diagnostic.note("it has no parameters"),
            None if fitting.is_empty() => diagnostic.note("none of its parameters can be set here"),
            None => diagnostic
                .help(format!("it has {}", suggest::list(fitting.iter().map(|spec| spec.name.as_str()), 12))),
        };
        self.say(diagnostic);
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

/// "fraction, default 50%"
fn summary(spec: &ParamSpec) -> String {
    let default = match &spec.default {
        Some(default) => format!(", default {}", default_text(spec, default)),
        None if spec.required => ", required".to_owned(),
        None => String::new(),
    };
    format!("{}{default}", spec.kind)
}

fn default_text(spec: &ParamSpec, default: &Json) -> String {
    match default {
        Json::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |value| shown(spec, value))
        }
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number as a recipe writes it.
fn shown(spec: &ParamSpec, value: f64) -> String {
    match spec.kind {
        ParamKind::Fraction => Val::Number { value, percent: true }.text().unwrap_or_default(),
        ParamKind::Bytes => format!("{value} B"),
        _ => value.to_string(),
    }
}
