//! Symmetries of architectures as recipes name them.

use std::collections::BTreeMap;

use fusion_dsl::graph::Value;
use fusion_network::Architecture;
use fusion_sdk::symmetry::Symmetries;
use serde_json::{Map, Value as Json};

use super::NamesError;
use crate::plan::experiment::values;

/// The symmetries of networks of an architecture, in the layout of their files. Arguments without a name are called `0`, `1`, ….
///
/// # Errors
/// There is no such architecture, or an argument does not fit.
pub fn of_network(name: &str, arguments: &BTreeMap<String, Value>) -> Result<Symmetries, NamesError> {
    let given: Map<String, Json> =
        arguments.iter().filter_map(|(name, value)| Some((name.clone(), values::value(value)?))).collect();
    let wrong = |message: String| NamesError::Network { message };
    let network = Architecture::parse(name, &given).map_err(|error| wrong(error.to_string()))?;
    network.symmetries().map(|found| found.disk).map_err(|error| wrong(error.to_string()))
}
