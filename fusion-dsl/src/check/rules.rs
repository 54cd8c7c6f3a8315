//! `on` rules: selectors that can match, settings that may vary, and rules that another one hides.

use crate::ast::{self, Expr, On};
use crate::codes::Code;
use crate::descriptor::{ParamKind, ParamSpec};
use crate::diag::Diagnostic;
use crate::eval::value::{Val, whole};
use crate::glob::Glob;
use crate::graph::{Rule, Selector};
use crate::resolve::build::{Build, Place};

use super::settings::{Level, Owner};
use super::tables;

/// The setting of rules that copies a tensor from a model.
const COPY: &str = "copy";

impl Build<'_> {
    /// The rules of a stage or an input.
    pub(crate) fn rules(
        &mut self,
        place: &Place,
        rules: &[&On],
        owner: Owner<'_>,
        level: Level,
    ) -> Vec<Rule> {
        let mut specs: Option<Vec<ParamSpec>> = owner.specs.map(<[ParamSpec]>::to_vec);
        if let (Some(specs), Level::Rule) = (&mut specs, level) {
            let mut copy = tables::seed();
            COPY.clone_into(&mut copy.name);
            copy.kind = ParamKind::Model;
            copy.varies = true;
            copy.doc = "takes the tensor from this model as it is".to_owned();
            specs.push(copy);
        }
        let owner = Owner { specs: specs.as_deref(), ..owner };
        let mut made = Vec::with_capacity(rules.len());
        for rule in rules {
            let selector = self.selector(place, &rule.selector);
            let settings = self.settings(place, &rule.settings, owner, level);
            if let Some(selector) = selector {
                made.push(Rule { selector, optional: rule.optional, settings, span: rule.selector.span() });
            }
        }
        self.hidden(&made);
        made
    }

    fn selector(&mut self, place: &Place, selector: &ast::Selector) -> Option<Selector> {
        match selector {
            ast::Selector::Glob(text) | ast::Selector::Tensors(text) => match Glob::new(&text.value) {
                Ok(_) => Some(Selector::Glob(text.value.clone())),
                Err(error) => {
                    self.say(
                        Diagnostic::new(Code::BadPattern, text.span, error.to_string())
                            .label(format!("at character {} of the pattern", error.at() + 1))
                            .help("write `\\\\` before a bracket that is meant as a character"),
                    );
                    None
                }
            },
            ast::Selector::Layers(expr) => {
                self.layers(place, expr).map(|(start, end)| Selector::Layers { start, end })
            }
        }
    }

    /// A half-open range of layers that is not empty; one number is one layer.
    pub(crate) fn layers(&mut self, place: &Place, expr: &Expr) -> Option<(u32, u32)> {
        let (start, end) = match self.operand(place, expr) {
            Val::Poison => return None,
            Val::Range { start, end, percent: false } => (start, end),
            Val::Number { value, percent: false } => (value, value + 1.0),
            other => {
                let message = format!("layers are a range of whole numbers, this is {}", other.kind());
                self.say(
                    Diagnostic::new(Code::WrongType, expr.span, message).help("for instance `layers 0..16`"),
                );
                return None;
            }
        };
        let good = |value: f64| whole(value) && (0.0..=f64::from(u32::MAX)).contains(&value);
        if !good(start) || !good(end) {
            let message = "layers are whole numbers from 0 on";
            self.say(
                Diagnostic::new(Code::WrongType, expr.span, message).help("for instance `layers 0..16`"),
            );
            return None;
        }
        if start >= end {
            let mut diagnostic = Diagnostic::new(Code::EmptyRange, expr.span, "the range holds no layer")
                .note("ranges are half-open: `0..16` is layers 0 to 15");
            if start == end {
                diagnostic = diagnostic.help(format!("`{start}..={end}` is the one layer {start}"));
            }
            self.say(diagnostic);
            return None;
        }
        Some((start as u32, end as u32))
    }

    /// Warns of rules all of whose settings are overridden by a later rule for the same tensors.
    fn hidden(&mut self, rules: &[Rule]) {
        for (index, rule) in rules.iter().enumerate() {
            let hides = |later: &&Rule| {
                later.selector == rule.selector
                    && rule
                        .settings
                        .iter()
                        .all(|setting| later.settings.iter().any(|s| s.name == setting.name))
            };
            if rule.settings.is_empty() {
                continue;
            }
            if let Some(later) = rules[index + 1..].iter().find(hides) {
                let diagnostic =
                    Diagnostic::new(Code::HiddenRule, rule.span, "a later rule hides this one completely")
                        .secondary(later.span, "the last rule that matches wins")
                        .help("remove it, or put the more general rule first");
                self.say(diagnostic);
            }
        }
    }
}
