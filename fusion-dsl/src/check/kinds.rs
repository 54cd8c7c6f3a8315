//! Types: those of parameters, and those that only recipes have.

use crate::descriptor::ParamKind;
use crate::suggest;

use super::tables;

/// A type: that of a method's parameter, or one that only recipes have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Of(ParamKind),
    /// A word of an open list (`metric`).
    AnyWord,
    Range,
    Dataset,
    /// A number with this unit.
    Unit(&'static str),
    List(Box<Kind>),
}

impl Kind {
    /// The types that `param` takes; each also as `list of …`.
    pub(crate) const WORDS: [&'static str; 16] = [
        "count", "number", "fraction", "bool", "text", "seed", "bytes", "span", "samples", "tokens", "dtype",
        "metric", "range", "model", "dataset", "schedule",
    ];

    pub(crate) fn parse(word: &str) -> Option<Kind> {
        if let Some(inner) = word.strip_prefix("list of ") {
            return Kind::parse(inner.trim()).map(|inner| Kind::List(Box::new(inner)));
        }
        Some(match word {
            "count" => Kind::Of(ParamKind::Count),
            "number" => Kind::Of(ParamKind::Number),
            "fraction" => Kind::Of(ParamKind::Fraction),
            "bool" => Kind::Of(ParamKind::Bool),
            "text" => Kind::Of(ParamKind::Text),
            "seed" => Kind::Of(ParamKind::Seed),
            "bytes" => Kind::Of(ParamKind::Bytes),
            "span" => Kind::Of(ParamKind::Span),
            "samples" => Kind::Unit("sample"),
            "tokens" => Kind::Unit("token"),
            "dtype" => Kind::Of(tables::dtype()),
            "metric" => Kind::AnyWord,
            "range" => Kind::Range,
            "model" => Kind::Of(ParamKind::Model),
            "dataset" | "data" => Kind::Dataset,
            "schedule" => Kind::Of(ParamKind::Schedule(Box::new(ParamKind::Number))),
            _ => return None,
        })
    }

    /// With its article, for "takes …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Kind::Of(ParamKind::Bool) => "`true` or `false`".into(),
            Kind::Of(ParamKind::Count) => "a whole number".into(),
            Kind::Of(ParamKind::Number) => "a number".into(),
            Kind::Of(ParamKind::Fraction) => "a fraction (`60%` or `0.6`)".into(),
            Kind::Of(ParamKind::Seed) => "a seed (a whole number)".into(),
            Kind::Of(ParamKind::Text) => "a text in quotes".into(),
            Kind::Of(ParamKind::Bytes) => "a size (`5 GB`)".into(),
            Kind::Of(ParamKind::Span) => "a span of training (`40 epochs`, `200 steps`)".into(),
            Kind::Of(ParamKind::Samples) => "a number of samples (`512 samples`)".into(),
            Kind::Of(ParamKind::Tokens) => "a number of tokens (`2048 tokens`)".into(),
            Kind::Of(ParamKind::Range) => "a range of fractions (`90%..100%`)".into(),
            Kind::Of(ParamKind::Schedule(inner)) => {
                format!("{} or a schedule over time", Kind::Of((**inner).clone()).describe())
            }
            Kind::Of(ParamKind::Word(words)) => {
                format!("one of {}", suggest::list(words.iter().map(|(word, _)| word.as_str()), 12))
            }
            Kind::Of(ParamKind::Model) => "a model".into(),
            Kind::Of(ParamKind::List(inner)) => {
                format!("a list, each {}", Kind::Of((**inner).clone()).describe())
            }
            Kind::AnyWord => "a word".into(),
            Kind::Range => "a range (`0..16`)".into(),
            Kind::Dataset => "a data set".into(),
            Kind::Unit(unit) => format!("a number of {unit}s (`512 {unit}s`)"),
            Kind::List(inner) => format!("a list, each {}", inner.describe()),
        }
    }

    /// Whether a schedule of it makes sense.
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Kind::Of(ParamKind::Number | ParamKind::Fraction | ParamKind::Count))
    }

    /// The type of a list's elements.
    pub(crate) fn element(&self) -> Option<Kind> {
        match self {
            Kind::Of(ParamKind::List(inner)) => Some(Kind::Of((**inner).clone())),
            Kind::List(inner) => Some((**inner).clone()),
            _ => None,
        }
    }

    /// Whether words are values of it.
    pub(crate) fn takes_words(&self) -> bool {
        match self {
            Kind::Of(ParamKind::Word(_)) | Kind::AnyWord => true,
            Kind::Of(ParamKind::List(inner)) => matches!(**inner, ParamKind::Word(_)),
            Kind::List(inner) => inner.takes_words(),
            _ => false,
        }
    }
}
