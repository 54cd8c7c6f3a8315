//! From a call's arguments to settings and back.

use std::fmt;

use fusion_sdk::MethodError;
use serde_json::{Map, Value as Json};

use super::{Design, Entry};
use crate::error::ArchitectureError;

/// The nearest of some names, if one is near: within a third of its length.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

fn schema<D: Design>() -> Json {
    // Words in place: the language reads a schema without definitions.
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<D>().to_value()
}

/// Names of the arguments, in order of declaration.
fn names(schema: &Json) -> Vec<String> {
    let properties = schema.get("properties").and_then(Json::as_object);
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

/// What documentation says of an architecture.
pub(crate) fn entry<D: Design>() -> Entry {
    Entry {
        name: D::NAME,
        summary: D::SUMMARY,
        citation: D::CITATION,
        tensors: D::TENSORS,
        positional: D::POSITIONAL,
        schema: schema::<D>(),
    }
}

/// Reads and checks arguments.
pub(crate) fn settings<D: Design>(arguments: &Map<String, Json>) -> Result<D, ArchitectureError> {
    let known = names(&schema::<D>());
    let mut named = Map::new();
    for (name, value) in arguments {
        let place = name.parse::<usize>().ok();
        let argument = match place {
            Some(place) => D::POSITIONAL.get(place).copied(),
            None => known.iter().map(String::as_str).find(|known| known == name),
        };
        let Some(argument) = argument else {
            let suggestion =
                place.is_none().then(|| nearest(name, known.iter().map(String::as_str))).flatten();
            return Err(ArchitectureError::UnknownArgument {
                architecture: D::NAME,
                argument: name.clone(),
                suggestion,
                known,
            });
        };
        if largest(value) > LARGEST {
            return Err(ArchitectureError::Argument {
                architecture: D::NAME,
                argument: Some(argument.to_owned()),
                message: format!("`{argument}: {value}` is too large"),
                help: Some(format!("sizes go up to {LARGEST}")),
            });
        }
        if named.insert(argument.to_owned(), whole(value)).is_some() {
            return Err(ArchitectureError::Argument {
                architecture: D::NAME,
                argument: Some(argument.to_owned()),
                message: format!("`{argument}` is given twice"),
                help: Some("give it once, by name or by place".to_owned()),
            });
        }
    }
    let read = || -> Result<D, MethodError> {
        let settings = D::from_settings(&named)?;
        settings.check()?;
        settings.check_together()?;
        Ok(settings)
    };
    read().map_err(|error| ArchitectureError::Argument {
        architecture: D::NAME,
        argument: error.parameter.map(str::to_owned),
        message: error.message,
        help: error.help,
    })
}

/// Largest size of anything: an axis of a tensor, a vocabulary.
const LARGEST: f64 = 1_048_576.0;

/// The largest number in an argument.
fn largest(value: &Json) -> f64 {
    match value {
        Json::Number(number) => number.as_f64().unwrap_or(f64::INFINITY),
        Json::Array(values) => values.iter().map(largest).fold(0.0, f64::max),
        _ => 0.0,
    }
}

/// Whole floats as integers: recipes know only numbers, so `784.0` may arrive for `784`.
fn whole(value: &Json) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2⁵³
    match value {
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < EXACT => Json::from(float as i64),
            _ => value.clone(),
        },
        Json::Array(values) => values.iter().map(whole).collect(),
        _ => value.clone(),
    }
}

/// Settings that differ from their defaults, in order of declaration.
pub(crate) fn given<D: Design>(settings: &D) -> Map<String, Json> {
    let schema = schema::<D>();
    let Ok(Json::Object(all)) = serde_json::to_value(settings) else { return Map::new() };
    let default = |name: &str| schema["properties"][name].get("default").cloned().unwrap_or(Json::Null);
    all.into_iter().filter(|(name, value)| !same(value, &default(name))).collect()
}

/// Equal, where 1 and 1.0 are the same number.
fn same(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A value as it stands in a recipe: words without quotes.
pub(crate) struct Shown<'a>(pub &'a Json);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Json::String(word) => f.write_str(word),
            Json::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(f, "{separator}{}", Shown(value))?;
                }
                f.write_str("]")
            }
            other => write!(f, "{other}"),
        }
    }
}
