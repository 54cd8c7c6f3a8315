//! From the contract's self-description to the language's descriptor: the two crates know nothing of each other.

use fusion_dsl::descriptor::{KernelClass, MethodDescriptor, Port, Space, Verb};
use fusion_sdk::{Category, Class, Described};

/// The descriptor of a described method.
pub(crate) fn descriptor(described: &Described) -> MethodDescriptor {
    let about = &described.about;
    MethodDescriptor {
        id: about.id.to_owned(),
        version: about.version,
        verb: verb(about.category),
        summary: about.summary.to_owned(),
        formula: about.formula.to_owned(),
        citation: about.citation.to_owned(),
        ports: about
            .ports
            .iter()
            .map(|port| Port {
                role: port.role.to_owned(),
                space: match port.space {
                    fusion_sdk::Space::Model => Space::Model,
                    fusion_sdk::Space::Delta => Space::Delta,
                    fusion_sdk::Space::Dataset => Space::Dataset,
                    fusion_sdk::Space::Path => Space::Path,
                    fusion_sdk::Space::Ensemble => Space::Ensemble,
                    fusion_sdk::Space::Alignment => Space::Alignment,
                },
                min: port.min,
                max: port.max,
                settings: port.settings,
                doc: port.doc.to_owned(),
            })
            .collect(),
        params: described.params.clone(),
        kernel: match described.class {
            Class::Elementwise => KernelClass::Elementwise,
            Class::WholeTensor => KernelClass::WholeTensor,
            Class::Group => KernelClass::Group,
            Class::WholeModel => KernelClass::WholeModel,
            Class::Route => KernelClass::Route,
            Class::Path => KernelClass::Path,
            Class::Align => KernelClass::Align,
            Class::Learn => KernelClass::Learn,
        },
        passes: described.passes,
        random: about.random,
        traits: about.claims.iter().map(|claim| claim.word().to_owned()).collect(),
    }
}

/// Adds `batch` and `shards`: the engine makes the batches for methods that see only a loss.
pub(crate) fn add_batch(descriptor: &mut MethodDescriptor) {
    if let Some(properties) =
        descriptor.params.get_mut("properties").and_then(serde_json::Value::as_object_mut)
    {
        properties.entry("batch").or_insert_with(|| {
            serde_json::json!({
                "type": "integer", "minimum": 1, "default": super::DEFAULT_BATCH,
                "description": "examples of a step"
            })
        });
        properties.entry("shards").or_insert_with(|| {
            serde_json::json!({
                "type": "integer", "minimum": 1, "maximum": 64, "default": super::DEFAULT_SHARDS,
                "description": "parts of a batch that are computed side by side, a thread each; the result depends on it, but never on \
                                how many threads there are"
            })
        });
    }
}

/// Adds `symmetries`, and for what takes alignments `stored`: the engine reads files for methods.
pub(crate) fn add_symmetries(descriptor: &mut MethodDescriptor) {
    let stored = descriptor.ports.iter().any(|port| port.space == Space::Alignment);
    let Some(properties) = descriptor.params.get_mut("properties").and_then(serde_json::Value::as_object_mut)
    else {
        return;
    };
    properties.entry("symmetries").or_insert_with(|| {
        serde_json::json!({
            "type": "string",
            "description": "which units may change places: a file as `fusion symmetries --text` writes it, or its lines with `;` between them; \
                            as a rule they are known from the network or from the names of the tensors"
        })
    });
    if stored {
        properties.entry("stored").or_insert_with(|| {
            serde_json::json!({ "type": "string", "description": "an alignment in a file, as `save NAME.alignment` writes it" })
        });
    }
}

fn verb(category: Category) -> Verb {
    match category {
        Category::Align => Verb::Align,
        Category::Repair => Verb::Repair,
        Category::Connect => Verb::Connect,
        Category::Average => Verb::Average,
        Category::Select => Verb::Select,
        Category::Stitch => Verb::Stitch,
        Category::Train => Verb::Train,
        Category::Ensemble => Verb::Ensemble,
        Category::Distill => Verb::Distill,
        Category::Evaluate => Verb::Evaluate,
    }
}
