//! `"out/merged-{keep}"`: names in braces inside texts become their values, `{{` and `}}` stand for the braces.

use crate::ast::{Name, Path, Reference};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::resolve::build::{Build, Place};
use crate::span::Span;

use super::value::Val;

impl Build<'_> {
    /// The text with its braces filled in, or `None` if that failed (and was reported).
    pub(crate) fn interpolate(&mut self, place: &Place, text: &str, span: Span) -> Option<String> {
        if !text.contains(['{', '}']) {
            return Some(text.to_owned());
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                out.push_str(brace);
                rest = after;
                continue;
            }
            let Some((inner, after)) = rest.split_once('}').filter(|_| brace == "{") else {
                self.say(
                    Diagnostic::new(
                        Code::BadPattern,
                        span,
                        format!("a `{brace}` in this text has no partner"),
                    )
                    .help(format!("write `{brace}{brace}` for the character itself")),
                );
                return None;
            };
            rest = after;
            out.push_str(&self.filled(place, inner.trim(), span)?);
        }
        out.push_str(rest);
        Some(out)
    }

    fn filled(&mut self, place: &Place, name: &str, span: Span) -> Option<String> {
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !name.split('.').all(is_name) {
            self.say(
                Diagnostic::new(Code::BadPattern, span, format!("`{{{name}}}` is not a name in braces"))
                    .help(
                        "only names stand in braces: bind the value with `let` first; `{{` is a brace itself",
                    ),
            );
            return None;
        }
        let segments: Vec<Name> = name.split('.').map(|part| Name::new(part, span)).collect();
        let reference = Reference { path: Path { segments, span }, index: None, tail: Vec::new(), span };
        let value = self.eval_reference(place, &reference);
        match (&value, value.text()) {
            (Val::Word(word), _) if word == name => {
                // The span is the whole text, so there is no edit to offer.
                let mut diagnostic =
                    Diagnostic::new(Code::UnknownName, span, format!("nothing is called `{name}`"));
                if let Some(near) = self.similar(place, name) {
                    diagnostic = diagnostic.help(format!("did you mean `{{{near}}}`?"));
                }
                self.say(diagnostic);
                None
            }
            (Val::Node(node), _) => Some(self.raw(node.node).name.clone()),
            (_, Some(text)) => Some(text),
            (Val::Poison, None) => None,
            (other, None) => {
                let message = format!("`{{{name}}}` is {} and cannot stand in a text", other.kind());
                self.say(Diagnostic::new(Code::WrongType, span, message));
                None
            }
        }
    }
}
