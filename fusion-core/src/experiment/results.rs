//! What a step leaves behind: numbers with names, what a report shows, and the models or the path in the folder beside it.

use std::collections::BTreeMap;

use fusion_report::model::Section;
use serde::{Deserialize, Serialize};

/// Numbers by dotted name, without the stage's own: `height`, `loss.height`.
pub type Facts = BTreeMap<String, f64>;

/// The written result of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Result {
    /// For `expect` and the summary.
    #[serde(with = "numbers")]
    pub facts: Facts,
    /// The facts worth a line on the screen, in order.
    pub shown: Vec<String>,
    /// For reports.
    pub sections: Vec<Section>,
    /// What the step cost, in words (`12 epochs, 21 000 images/s`).
    pub cost: String,
    /// Seconds that it took when it ran.
    pub seconds: f64,
}

/// JSON knows neither NaN nor infinity, and a barrier may be both.
mod numbers {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer, ser::SerializeMap as _};
    use serde_json::Value as Json;

    pub(super) fn serialize<S: Serializer>(facts: &BTreeMap<String, f64>, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(facts.len()))?;
        for (name, value) in facts {
            match value.is_finite() {
                true => map.serialize_entry(name, value)?,
                false => map.serialize_entry(name, &value.to_string())?,
            }
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
        let read: BTreeMap<String, Json> = BTreeMap::deserialize(from)?;
        Ok(read
            .into_iter()
            .map(|(name, value)| {
                let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
                (name, number.unwrap_or(f64::NAN))
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_way_through_json() {
        let facts: Facts = [("a", 0.1), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let result = Result { facts, ..Result::default() };
        let text = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<Result>(&text).unwrap(), result);
        let nan = Result { facts: [("x".to_owned(), f64::NAN)].into(), ..Result::default() };
        let again: Result = serde_json::from_str(&serde_json::to_string(&nan).unwrap()).unwrap();
        assert!(again.facts["x"].is_nan());
    }
}
