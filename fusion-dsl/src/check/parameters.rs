//! Which parameters there are: complaints about those that are unknown and those that miss.

use serde_json::Value as Json;

use crate::ast::Field;
use crate::codes::Code;
use crate::descriptor::ParamSpec;
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::resolve::build::Build;
use crate::span::Span;
use crate::suggest;

use super::settings::{Level, Owner, shown};

impl Build<'_> {
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

    pub(crate) fn unknown_parameter(
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
