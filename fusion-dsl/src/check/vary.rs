//! Where a parameter may be set, and whether it may vary there: per input, per tensor, over layers, over time.

use crate::ast::Field;
use crate::codes::Code;
use crate::descriptor::{ParamKind, ParamSpec};
use crate::diag::Diagnostic;
use crate::eval::value::{Val, bounds};
use crate::graph::Schedule;
use crate::resolve::build::{Build, Place};
use crate::suggest;

use super::kinds::Kind;
use super::settings::{Level, Owner};

impl Build<'_> {
    /// A schedule where the parameter may vary, all of its values allowed ones.
    pub(crate) fn scheduled(
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
                let varies = |spec: &ParamSpec| spec.varies || matches!(spec.kind, ParamKind::Schedule(_));
                if owner.specs.is_some_and(|specs| specs.iter().any(varies)) {
                    self.cannot_vary(field, owner);
                } else {
                    let kind = Kind::Of(spec.kind.clone());
                    self.fit(place, &kind, Val::Schedule(schedule), span, &format!("`{}`", spec.name));
                }
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

    pub(crate) fn allowed_at(
        &mut self,
        field: &Field,
        spec: &ParamSpec,
        owner: Owner<'_>,
        level: Level,
    ) -> bool {
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
}
