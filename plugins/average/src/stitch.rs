//! `stitch`: one model from layer ranges of several. The planner routes whole tensors, so there is no kernel: output is a
//! byte-for-byte copy of the chosen inputs (mergekit calls it `passthrough` with slices).

use fusion_sdk::{About, Category, Claim, Class, Described};

/// The description of `stitch`; its layers are part of the language, so it has neither ports nor parameters.
pub fn stitch() -> Described {
    Described {
        about: About {
            id: "stitch",
            version: 1,
            category: Category::Stitch,
            summary: "stack layer ranges of models into one model",
            formula: "layer k of the result = the k-th layer of the listed ranges, copied",
            citation: "Kim et al., SOLAR 10.7B: scaling large language models with simple yet effective depth up-scaling, \
                       NAACL 2024 industry track",
            ports: Vec::new(),
            random: false,
            claims: &[Claim::Deterministic],
        },
        class: Class::Route,
        passes: 0,
        params: serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false }),
    }
}
