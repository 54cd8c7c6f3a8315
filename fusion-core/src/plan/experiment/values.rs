//! Resolved values of a recipe as the JSON that settings structs read.

use fusion_dsl::graph::{Setting, Value};
use serde_json::{Map, Value as Json, json};

/// The settings of a block by name. Inputs given as settings are left out.
pub(crate) fn settings(settings: &[Setting]) -> Map<String, Json> {
    settings.iter().filter_map(|setting| Some((setting.name.clone(), value(&setting.value)?))).collect()
}

/// One value; `None` for a reference to another node.
pub(crate) fn value(of: &Value) -> Option<Json> {
    Some(match of {
        Value::Bool(value) => (*value).into(),
        Value::Number(value) => number(*value),
        Value::Text(text) | Value::Word(text) => text.as_str().into(),
        Value::Bytes(bytes) => (*bytes).into(),
        Value::Quantity { value, unit } => json!({ "value": number(*value), "unit": unit }),
        Value::Range { start, end } => json!({ "start": number(*start), "end": number(*end) }),
        Value::List(items) => Json::Array(items.iter().filter_map(value).collect()),
        Value::Schedule(schedule) => serde_json::to_value(schedule).ok()?,
        Value::Node(_) => return None,
    })
}

/// Whole numbers without a fraction: settings that count read integers.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
        Json::from(value as u64)
    } else if value.fract() == 0.0 && value.abs() < 9e15 {
        Json::from(value as i64)
    } else {
        Json::from(value)
    }
}
