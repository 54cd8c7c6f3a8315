//! Whether a value is of the type that is due, and what to say if it is not.

use crate::codes::Code;
use crate::descriptor::{ParamKind, Space};
use crate::diag::Diagnostic;
use crate::eval::schedule::SPANS;
use crate::eval::value::{Val, whole};
use crate::resolve::build::{Build, Place};
use crate::span::Span;
use crate::suggest;

use super::kinds::Kind;
use super::tables;

impl Build<'_> {
    /// The value if it is of the kind; otherwise complains and gives [`Val::Poison`]. `subject` is what is set, in back-ticks.
    pub(crate) fn fit(&mut self, place: &Place, kind: &Kind, value: Val, span: Span, subject: &str) -> Val {
        match self.misfit(place, kind, &value, span, subject) {
            None => match (kind, value) {
                // A lone number of a list of whole numbers written as a range.
                (Kind::Of(ParamKind::List(_)) | Kind::List(_), value @ Val::Range { .. }) => {
                    let count = value.count().unwrap_or(0);
                    Val::List((0..count).filter_map(|index| value.item(index)).collect::<Vec<_>>().into())
                }
                (_, value) => value,
            },
            Some(diagnostic) => {
                if let Some(mut diagnostic) = *diagnostic {
                    // An edit is certain only where the value itself stands, not a name or call that leads to it.
                    if !is_literal(self.source(span)) {
                        diagnostic.fixes.clear();
                    }
                    self.say(diagnostic);
                }
                Val::Poison
            }
        }
    }

    /// Why it does not fit; `Some(None)` if that has been said.
    fn misfit(
        &mut self,
        place: &Place,
        kind: &Kind,
        value: &Val,
        span: Span,
        subject: &str,
    ) -> Option<Box<Option<Diagnostic>>> {
        let wrong = |code: Code| {
            Diagnostic::new(
                code,
                span,
                format!("{subject} takes {}, this is {}", kind.describe(), value.kind()),
            )
        };
        let fail = |diagnostic: Diagnostic| Some(Box::new(Some(diagnostic)));
        if let Val::Poison = value {
            return Some(Box::new(None));
        }
        if let (Val::Word(word), false) = (value, kind.takes_words()) {
            return match kind {
                Kind::Of(ParamKind::Text) if self.similar(place, word).is_none() => {
                    fail(wrong(Code::WrongType).help(format!("texts stand in quotes: `\"{word}\"`")).fix(
                        "put it in quotes",
                        span,
                        format!("\"{word}\""),
                    ))
                }
                _ => {
                    self.unknown(place, word, span);
                    Some(Box::new(None))
                }
            };
        }
        let of = match kind {
            Kind::Of(of) => of,
            Kind::AnyWord => {
                return (!matches!(value, Val::Word(_))).then(|| Box::new(Some(wrong(Code::WrongType))));
            }
            Kind::Range => {
                return (!matches!(value, Val::Range { .. })).then(|| Box::new(Some(wrong(Code::WrongType))));
            }
            Kind::Dataset => {
                return match value {
                    Val::Node(node) if self.space(node) == Space::Dataset => None,
                    Val::Node(node) => fail(self.not_a(kind, node, span, subject)),
                    _ => fail(wrong(Code::WrongType)),
                };
            }
            Kind::Unit(unit) => {
                return match value {
                    Val::Quantity { unit: given, .. } if given == unit => None,
                    Val::Number { percent: false, value } if self.source(span).parse() != Ok(*value) => {
                        fail(wrong(Code::MissingUnit).help(format!("give it the unit: `{value} {unit}s`")))
                    }
                    Val::Number { percent: false, value } => {
                        fail(wrong(Code::MissingUnit).help(format!("write the unit: `{value} {unit}s`")).fix(
                            "add the unit",
                            span.after(),
                            format!(" {unit}s"),
                        ))
                    }
                    Val::Quantity { .. } | Val::Bytes(_) => fail(wrong(Code::WrongUnit)),
                    _ => fail(wrong(Code::WrongType)),
                };
            }
            Kind::List(inner) => return self.list_misfit(place, inner, value, span, subject, wrong),
        };
        let of = match (of, value) {
            (ParamKind::Schedule(_), Val::Schedule(_)) => return None,
            (ParamKind::Schedule(inner), _) => inner,
            _ => of,
        };
        match (of, value) {
            (ParamKind::Bool, Val::Bool(_)) | (ParamKind::Text, Val::Text(_)) => None,
            (ParamKind::Number, Val::Number { .. }) => None,
            (ParamKind::Fraction, Val::Number { value, percent }) => {
                if (0.0..=1.0).contains(value) {
                    return None;
                }
                let diagnostic = Diagnostic::new(
                    Code::OutOfRange,
                    span,
                    format!("{subject} is a fraction: it lies between 0 and 1 (100%)"),
                );
                if !percent && (1.0..=100.0).contains(value) && self.source(span).parse() == Ok(*value) {
                    return fail(diagnostic.help(format!("did you mean `{value}%`?")).fix(
                        "add the percent sign",
                        span.after(),
                        "%",
                    ));
                }
                fail(diagnostic)
            }
            (
                ParamKind::Count | ParamKind::Seed | ParamKind::Samples | ParamKind::Tokens,
                Val::Number { value, percent },
            ) => {
                if *percent {
                    return fail(wrong(Code::WrongUnit).help("write the number without `%`"));
                }
                if *value < 0.0 {
                    return fail(Diagnostic::new(
                        Code::OutOfRange,
                        span,
                        format!("{subject} takes {}, not a negative one", kind.describe()),
                    ));
                }
                if !whole(*value) {
                    return fail(Diagnostic::new(
                        Code::WrongType,
                        span,
                        format!("{subject} takes {}, `{value}` is not whole", kind.describe()),
                    ));
                }
                None
            }
            (
                ParamKind::Count | ParamKind::Seed | ParamKind::Number | ParamKind::Fraction,
                Val::Quantity { .. } | Val::Bytes(_),
            ) => fail(wrong(Code::WrongUnit).help("write the number without a unit")),
            (ParamKind::Bytes, Val::Bytes(bytes)) => {
                if *bytes >= 0.0 && *bytes <= 9_007_199_254_740_992.0 {
                    return None;
                }
                fail(Diagnostic::new(Code::OutOfRange, span, format!("{subject} cannot be this size")))
            }
            (ParamKind::Bytes, Val::Number { value, percent: false }) => {
                fail(wrong(Code::MissingUnit).help(format!("write the unit: `{value} GB`, `{value} MiB`")))
            }
            (ParamKind::Span, Val::Quantity { value, unit }) if SPANS.contains(unit) => {
                (*value < 0.0).then(|| {
                    let message = format!("{subject} takes {}, not a negative one", kind.describe());
                    Box::new(Some(Diagnostic::new(Code::OutOfRange, span, message)))
                })
            }
            (ParamKind::Span, Val::Number { value, percent: false }) => fail(
                wrong(Code::MissingUnit).help(format!("write the unit: `{value} epochs`, `{value} steps`")),
            ),
            (
                ParamKind::Bytes | ParamKind::Span | ParamKind::Samples | ParamKind::Tokens,
                Val::Bytes(_) | Val::Quantity { .. } | Val::Number { .. },
            ) => fail(wrong(Code::WrongUnit)),
            (ParamKind::Range, Val::Range { start, end, .. }) => {
                if !(0.0..=1.0).contains(start) || !(0.0..=1.0).contains(end) {
                    let message = format!("{subject} is a range of fractions: `90%..100%`");
                    return fail(Diagnostic::new(Code::OutOfRange, span, message));
                }
                if start >= end {
                    return fail(Diagnostic::new(Code::EmptyRange, span, "the range holds nothing"));
                }
                None
            }
            (ParamKind::Word(words), Val::Word(word)) => {
                if words.iter().any(|(known, _)| known == word) {
                    return None;
                }
                let mut diagnostic = unknown_word(words, word, span, subject);
                if self.source(span) != word {
                    diagnostic.fixes.clear();
                }
                fail(diagnostic)
            }
            (ParamKind::Word(words), Val::Text(text)) if words.iter().any(|(known, _)| known == text) => {
                fail(wrong(Code::WrongType).help("words stand without quotes").fix(
                    "take the quotes off",
                    span,
                    text.clone(),
                ))
            }
            (ParamKind::Model, Val::Node(node)) => {
                if self.space(node) == Space::Model && !self.is_several(node) {
                    return None;
                }
                fail(self.not_a(kind, node, span, subject))
            }
            (ParamKind::Model, Val::Text(_)) => {
                fail(wrong(Code::WrongType).help("give the checkpoint a name first: `model NAME from \"…\"`"))
            }
            (ParamKind::List(inner), _) => {
                let inner = Kind::Of((**inner).clone());
                self.list_misfit(place, &inner, value, span, subject, wrong)
            }
            (_, Val::Schedule(_)) => fail(
                Diagnostic::new(Code::CannotVary, span, format!("{subject} takes one value, not a schedule"))
                    .help(format!("write {}", kind.describe())),
            ),
            _ => fail(wrong(Code::WrongType)),
        }
    }

    fn list_misfit(
        &mut self,
        place: &Place,
        inner: &Kind,
        value: &Val,
        span: Span,
        subject: &str,
        wrong: impl Fn(Code) -> Diagnostic,
    ) -> Option<Box<Option<Diagnostic>>> {
        match value {
            Val::List(items) => items.iter().find_map(|item| self.misfit(place, inner, item, span, subject)),
            Val::Range { .. }
                if value.count().is_some_and(|count| count <= 1_000_000) && inner.is_numeric() =>
            {
                None
            }
            _ => {
                let text = self.source(span);
                Some(Box::new(Some(
                    wrong(Code::WrongType).help(format!("write it as a list: `[{text}]`")).fix(
                        "put it in brackets",
                        span,
                        format!("[{text}]"),
                    ),
                )))
            }
        }
    }

    fn not_a(&self, kind: &Kind, node: &crate::graph::Ref, span: Span, subject: &str) -> Diagnostic {
        let what = self.describe(node);
        Diagnostic::new(
            Code::WrongSpace,
            span,
            format!("{subject} takes {}, this is {what}", kind.describe()),
        )
        .secondary(self.raw(node.node).name_span, "declared here")
    }
}

fn unknown_word(words: &[(String, String)], word: &str, span: Span, subject: &str) -> Diagnostic {
    let is_dtype =
        words.iter().map(|(known, _)| known.as_str()).eq(tables::DTYPES.iter().map(|(known, _)| *known));
    let known = || words.iter().map(|(known, _)| known.as_str());
    let (code, message) = if is_dtype {
        (Code::UnknownDtype, format!("there is no number format `{word}`"))
    } else {
        (Code::UnknownWord, format!("{subject} has no choice `{word}`"))
    };
    let alias = if is_dtype { dtype_alias(word) } else { None };
    let diagnostic = Diagnostic::new(code, span, message);
    match alias.or_else(|| suggest::closest(word, known())) {
        Some(near) => diagnostic
            .help(format!("did you mean `{near}`?"))
            .note(format!("it takes {}", suggest::list(known(), 12)))
            .fix(format!("change it to `{near}`"), span, near),
        None => diagnostic.help(format!("it takes {}", suggest::list(known(), 12))),
    }
}

/// A number, a text or a word, as opposed to a calculation, a list or a dotted name.
fn is_literal(text: &str) -> bool {
    let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    quoted
        || text.parse::<f64>().is_ok()
        || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What other tools call the formats.
fn dtype_alias(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "float64" | "double" | "fp64" => "f64",
        "float32" | "float" | "fp32" => "f32",
        "float16" | "half" | "fp16" => "f16",
        "bfloat16" | "bfloat" => "bf16",
        "float8_e4m3fn" | "fp8_e4m3" | "e4m3" | "float8" | "fp8" | "f8" => "f8_e4m3",
        "float8_e5m2" | "fp8_e5m2" | "e5m2" => "f8_e5m2",
        _ => return None,
    })
}
