//! Captured graphs: complete, the same every time, and on the names of the file.

use std::collections::BTreeSet;

use fusion_network::Network;
use serde_json::Value as Json;

use crate::devices::{devices, zoo};

/// All tensor ids in a part of a graph.
fn ids(json: &Json, found: &mut BTreeSet<u64>) {
    match json {
        Json::Object(fields) => {
            if let Some(id) = fields.get("id").and_then(|id| id["value"].as_u64()) {
                found.insert(id);
            }
            fields.values().for_each(|value| ids(value, found));
        }
        Json::Array(values) => values.iter().for_each(|value| ids(value, found)),
        _ => {}
    }
}

#[test]
fn every_tensor_is_used() {
    for (architecture, _) in zoo() {
        let network = Network::new(&architecture, &devices()[0].1).unwrap();
        let captured = network.graph().unwrap();
        assert_eq!(captured, network.graph().unwrap(), "{architecture}: another graph at the second time");
        // Initialisers mention tensors too; only their use counts.
        let operations = captured.graph["operations"].as_array().unwrap();
        let mut used = BTreeSet::new();
        for operation in operations {
            let text = operation.to_string();
            let starts = ["Ones", "Zeros", "Full", "Random", "Init"];
            if !starts.iter().any(|start| text.contains(&format!("\"{start}\""))) {
                ids(operation, &mut used);
            }
        }
        for tensor in &captured.tensors {
            assert!(
                used.contains(&tensor.id),
                "{architecture}: {} is not in {:#}",
                tensor.name,
                captured.graph
            );
        }
        assert!(used.contains(&captured.input) && used.contains(&captured.output), "{architecture}");
        let names: BTreeSet<&str> = captured.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let specs = architecture.tensors();
        let floats = specs.iter().filter(|spec| spec.role != fusion_network::Role::Counter);
        for spec in floats {
            assert!(names.contains(spec.name.as_str()), "{architecture}: {}", spec.name);
        }
    }
}
