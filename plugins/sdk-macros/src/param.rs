//! `#[param(…)]`: what an author says of one setting, read and checked against the field's type.

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::ParseStream;
use syn::{Attribute, Error, Ident, Result, Token};

use crate::kind::{Core, Kind};
use crate::literal::Value;

/// How recipes can write a setting; the language reads it from `x-unit`.
const UNITS: [&str; 8] = ["fraction", "seed", "bytes", "span", "samples", "tokens", "range", "model"];

/// What is said of one setting.
#[derive(Default)]
pub(crate) struct Param {
    pub unit: Option<Ident>,
    pub min: Option<Value>,
    pub above: Option<Value>,
    pub max: Option<Value>,
    pub default: Option<TokenStream>,
    pub varies: bool,
    /// The keys that were given.
    keys: Vec<Ident>,
}

impl Param {
    /// Reads the attributes of a field.
    pub(crate) fn of(attributes: &[Attribute], kind: &Kind<'_>) -> Result<Self> {
        let mut param = Param::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("param")) {
            attribute.parse_args_with(|input: ParseStream<'_>| {
                while !input.is_empty() {
                    param.entry(input)?;
                    if !input.is_empty() {
                        input.parse::<Token![,]>()?;
                    }
                }
                Ok(())
            })?;
        }
        param.fits(kind)?;
        Ok(param)
    }

    /// The default where it is a literal.
    pub(crate) fn literal_default(&self) -> Option<Value> {
        self.default.clone().and_then(|default| syn::parse2(default).ok())
    }

    /// Whether there is a bound.
    pub(crate) fn bounded(&self) -> bool {
        self.min.is_some() || self.above.is_some() || self.max.is_some()
    }

    fn entry(&mut self, input: ParseStream<'_>) -> Result<()> {
        let key: Ident = input.parse()?;
        if self.keys.contains(&key) {
            return Err(Error::new(key.span(), format!("`{key}` is given twice")));
        }
        let name = key.to_string();
        if !["unit", "range", "above", "default", "varies"].contains(&name.as_str()) {
            return Err(Error::new(
                key.span(),
                format!(
                    "unknown key `{key}`: `param` takes `default`, `range`, `above`, `unit` and `varies`"
                ),
            ));
        }
        self.keys.push(key);
        if name == "varies" {
            self.varies = true;
            return Ok(());
        }
        input.parse::<Token![=]>()?;
        match name.as_str() {
            "unit" => self.unit = Some(input.parse()?),
            "above" => self.above = Some(input.parse()?),
            "range" => (self.min, self.max) = range(input)?,
            _ => self.default = Some(expression(input)?),
        }
        Ok(())
    }

    fn key(&self, name: &str) -> Option<&Ident> {
        self.keys.iter().find(|key| *key == name)
    }

    /// Whether the parts fit together and the type.
    fn fits(&self, kind: &Kind<'_>) -> Result<()> {
        if let (Some(bound), false) = (self.key("range").or(self.key("above")), kind.is_number()) {
            return Err(Error::new(
                bound.span(),
                format!("`{bound}` needs a number, or an `Option` or `Vec` of numbers"),
            ));
        }
        if let (Some(_), Some(above)) = (&self.min, self.key("above")) {
            return Err(Error::new(above.span(), "two lower bounds: `above` replaces the start of `range`"));
        }
        if let (Some(key), true) = (self.key("default"), kind.optional) {
            return Err(Error::new(
                key.span(),
                "an `Option` has no default: where it is absent the method decides; take the bare type for a default",
            ));
        }
        if let Some(unit) = &self.unit {
            unit_fits(unit, kind.core)?;
        }
        let number = |value: &Option<Value>| value.as_ref().and_then(Value::number);
        let (min, above, max) = (number(&self.min), number(&self.above), number(&self.max));
        if let (Some(low), Some(high), Some(max)) = (min.or(above), max, &self.max)
            && (low > high || (above.is_some() && low == high))
        {
            return Err(Error::new_spanned(max, "no value lies in this range"));
        }
        if let (Some(value), 0) = (self.literal_default(), kind.layers)
            && let Some(default) = value.number()
            && (min.is_some_and(|min| default < min)
                || above.is_some_and(|above| default <= above)
                || max.is_some_and(|max| default > max))
        {
            return Err(Error::new_spanned(value, "the default lies outside the range"));
        }
        Ok(())
    }
}

/// `a..=b`, `a..` or `..=b`.
fn range(input: ParseStream<'_>) -> Result<(Option<Value>, Option<Value>)> {
    let min = if input.peek(Token![..]) { None } else { Some(input.parse()?) };
    if !input.peek(Token![..=]) {
        let dots: Token![..] = input.parse()?;
        return if min.is_some() && (input.is_empty() || input.peek(Token![,])) {
            Ok((min, None))
        } else {
            Err(Error::new_spanned(
                dots,
                "ranges are `a..=b`, `a..` or `..=b`: the upper bound is part of them",
            ))
        };
    }
    input.parse::<Token![..=]>()?;
    Ok((min, Some(input.parse()?)))
}

/// Everything up to the next comma; the compiler checks it where it is used.
fn expression(input: ParseStream<'_>) -> Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    if tokens.is_empty() { Err(input.error("expected an expression")) } else { Ok(tokens) }
}

fn unit_fits(unit: &Ident, core: Core) -> Result<()> {
    let name = unit.to_string();
    let needed = match name.as_str() {
        "fraction" if core != Core::Float => "`f64` or `f32`",
        "seed" | "bytes" if core != Core::Integer => "an integer type",
        name if UNITS.contains(&name) => return Ok(()),
        _ => {
            let known = UNITS.map(|unit| format!("`{unit}`")).join(", ");
            return Err(Error::new(unit.span(), format!("unknown unit `{name}`: the units are {known}")));
        }
    };
    Err(Error::new(unit.span(), format!("`unit = {name}` needs {needed}")))
}
