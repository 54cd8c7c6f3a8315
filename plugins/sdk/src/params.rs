//! What `#[derive(Params)]` and `#[derive(Words)]` generate calls of, so that the generated code stays short. Nothing here is for
//! authors; it changes together with the macros.

use std::fmt::Display;

pub use schemars;
pub use serde;
pub use serde::ser::SerializeStruct;
pub use serde_json;

use schemars::Schema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::MethodError;
use crate::task::{Params, read};

/// Settings as they arrive, read one by one so that every error knows its parameter.
#[derive(Debug)]
pub struct Settings<'a>(&'a Map<String, Json>);

impl<'a> Settings<'a> {
    /// Refuses names other than `known`.
    pub fn new(settings: &'a Map<String, Json>, known: &[&str]) -> Result<Self, MethodError> {
        let Some(unknown) = settings.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(Settings(settings));
        };
        Err(MethodError::invalid(format!("there is no parameter `{unknown}`")).help(match known {
            [] => "there are none at this level: remove it".to_owned(),
            _ => format!("the parameters are {}", listed(known)),
        }))
    }

    /// A parameter without default.
    pub fn required<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, MethodError> {
        self.get(name)?.ok_or_else(|| {
            MethodError::invalid(format!("`{name}` is missing and has no default"))
                .at(name)
                .help(format!("set `{name}`"))
        })
    }

    /// A parameter with one.
    pub fn or_else<T: DeserializeOwned>(
        &self,
        name: &'static str,
        default: impl FnOnce() -> T,
    ) -> Result<T, MethodError> {
        Ok(self.get(name)?.unwrap_or_else(default))
    }

    fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, MethodError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        T::deserialize(value).map(Some).map_err(|error| {
            MethodError::invalid(format!("`{name} = {value}` does not fit: {error}")).at(name)
        })
    }
}

/// A number of a setting.
pub trait Number: Copy + PartialOrd + Display {
    /// As a float, for percentages.
    fn float(self) -> f64;
    /// As it stands in a schema.
    fn json(self) -> Json;
}

macro_rules! integers {
    ($($integer:ty)+) => {$(
        impl Number for $integer {
            fn float(self) -> f64 {
                self as f64
            }
            fn json(self) -> Json {
                self.into()
            }
        }
    )+};
}
integers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

impl Number for f64 {
    fn float(self) -> f64 {
        self
    }
    fn json(self) -> Json {
        self.into()
    }
}

impl Number for f32 {
    fn float(self) -> f64 {
        self.into()
    }
    /// The shortest decimal that means it: 0.1, not 0.10000000149.
    fn json(self) -> Json {
        self.to_string().parse().map_or(Json::Null, |float: f64| float.into())
    }
}

/// What a number must lie between.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<T> {
    /// Lowest value.
    pub min: Option<T>,
    /// Highest value that is too low.
    pub above: Option<T>,
    /// Highest value.
    pub max: Option<T>,
    /// Whether bounds read better as percentages.
    pub percent: bool,
}

impl<T: Number> Bounds<T> {
    /// Checks the values of a parameter: several for a list, none where it is absent.
    pub fn check(&self, name: &'static str, values: impl Iterator<Item = T>) -> Result<(), MethodError> {
        for value in values {
            if !value.float().is_finite() {
                return Err(
                    MethodError::invalid(format!("`{name} = {value}` is not a finite number")).at(name)
                );
            }
            let fits = self.min.is_none_or(|min| value >= min)
                && self.above.is_none_or(|above| value > above)
                && self.max.is_none_or(|max| value <= max);
            if !fits {
                return Err(
                    MethodError::invalid(format!("`{name} = {value}` must {}", self.wanted())).at(name)
                );
            }
        }
        Ok(())
    }

    fn wanted(&self) -> String {
        let show = |bound: T| match self.percent {
            // Rounded, since 0.07 × 100 is not 7.
            true => format!("{}%", (bound.float() * 1e11).round() / 1e9),
            false => bound.to_string(),
        };
        match (self.min.map(show), self.above.map(show), self.max.map(show)) {
            (Some(min), _, Some(max)) => format!("lie between {min} and {max}"),
            (_, Some(above), Some(max)) => format!("be above {above} and at most {max}"),
            (Some(min), _, None) => format!("be at least {min}"),
            (_, Some(above), None) => format!("be above {above}"),
            (_, _, max) => format!("be at most {}", max.unwrap_or_default()),
        }
    }
}

/// One property of a schema under construction.
#[derive(Debug)]
pub struct Property(Schema);

impl Property {
    /// From the type's own schema.
    pub fn new(mut schema: Schema, doc: &str) -> Self {
        describe(&mut schema, doc);
        Property(schema)
    }

    /// Bounds; those of a list hold for its elements.
    #[must_use]
    pub fn bounds<T: Number>(mut self, bounds: &Bounds<T>) -> Self {
        element(self.0.ensure_object(), |object| {
            for (key, bound) in
                [("minimum", bounds.min), ("exclusiveMinimum", bounds.above), ("maximum", bounds.max)]
            {
                if let Some(bound) = bound {
                    object.insert(key.to_owned(), bound.json());
                }
            }
            if bounds.above.is_some() {
                // Unsigned types bring one of their own.
                object.shift_remove("minimum");
            }
        });
        self
    }

    /// A default that is a number.
    #[must_use]
    pub fn number(self, default: impl Number) -> Self {
        self.default(&default.json())
    }

    /// A default.
    #[must_use]
    pub fn default(mut self, default: &impl Serialize) -> Self {
        if let Ok(default) = serde_json::to_value(default) {
            self.0.insert("default".into(), default);
        }
        self
    }

    /// How recipes write it, or the elements of a list.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        element(self.0.ensure_object(), |object| {
            object.insert("x-unit".into(), unit.into());
        });
        self
    }

    /// May be set per tensor and layer.
    #[must_use]
    pub fn varies(mut self) -> Self {
        self.0.insert("x-varies".into(), true.into());
        self
    }
}

/// The schema of a struct under construction.
#[derive(Debug, Default)]
pub struct Object {
    properties: Map<String, Json>,
    required: Vec<Json>,
}

impl Object {
    /// Adds a property.
    pub fn add(&mut self, name: &str, required: bool, property: Property) {
        self.properties.insert(name.to_owned(), property.0.to_value());
        if required {
            self.required.push(name.into());
        }
    }

    /// The whole.
    pub fn schema(self, doc: &str) -> Schema {
        let mut schema = Schema::default();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), self.properties.into());
        if !self.required.is_empty() {
            schema.insert("required".into(), self.required.into());
        }
        schema.insert("additionalProperties".into(), false.into());
        describe(&mut schema, doc);
        schema
    }
}

/// The schema of a list of words with their docs.
pub fn words(words: &[(&str, &str)], doc: &str) -> Schema {
    let branch = |&(word, doc): &(&str, &str)| {
        let mut branch = Schema::default();
        branch.insert("type".into(), "string".into());
        branch.insert("const".into(), word.into());
        describe(&mut branch, doc);
        branch.to_value()
    };
    let mut schema = Schema::default();
    schema.insert("oneOf".into(), words.iter().map(branch).collect());
    describe(&mut schema, doc);
    schema
}

/// The error for a word that is not in the list.
pub fn unknown_word<E: serde::de::Error>(word: &str, words: &[&str]) -> E {
    E::custom(format!("`{word}` is none of {}", listed(words)))
}

/// serde's way into settings: the same reader and the same checks.
pub fn deserialize<'de, T: Params, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read(&Map::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Changes the schema of a list's elements, or the schema itself where it is no list.
fn element(object: &mut Map<String, Json>, change: impl FnOnce(&mut Map<String, Json>)) {
    match object.get_mut("items").and_then(Json::as_object_mut) {
        Some(items) => element(items, change),
        None => change(object),
    }
}

fn describe(schema: &mut Schema, doc: &str) {
    if !doc.is_empty() {
        schema.insert("description".into(), doc.into());
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
