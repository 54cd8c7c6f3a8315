//! What the language must know of networks, data sets, recorders and reports to check a recipe's blocks.

use std::sync::OnceLock;

use fusion_dsl::descriptor::BlockDescriptor;
use fusion_network::Architecture;
use serde_json::{Value as Json, json};

/// The tables of the blocks that belong to no method.
#[derive(Debug)]
pub struct Tables {
    /// Architectures, by name.
    pub networks: Vec<BlockDescriptor>,
    /// `data`
    pub data: BlockDescriptor,
    /// `collect`
    pub collect: BlockDescriptor,
    /// `report`
    pub report: BlockDescriptor,
}

/// The tables of this build; made once.
pub fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| Tables {
        networks: Architecture::catalogue()
            .into_iter()
            .map(|entry| {
                let mut params = entry.schema;
                if let Json::Object(object) = &mut params {
                    object.insert("x-positional".into(), json!(entry.positional));
                }
                BlockDescriptor {
                    id: entry.name.to_owned(),
                    summary: entry.summary.to_owned(),
                    formula: String::new(),
                    citation: entry.citation.to_owned(),
                    params,
                }
            })
            .collect(),
        data: block("data", "examples to learn from and to measure on", {
            let mut params = fusion_data::schema();
            if let Json::Object(object) = &mut params {
                object.insert("x-sources".into(), json!(fusion_data::names()));
            }
            params
        }),
        collect: block("collect", "what a training puts aside on its way", fusion_learn::record::CollectParams::schema()),
        report: block(
            "report",
            "what is written for people and machines after a run",
            json!({
                "type": "object",
                "properties": {
                    "title": { "type": "string", "description": "heading of the report (default: the recipe's name)" }
                },
                "additionalProperties": false
            }),
        ),
    })
}

fn block(id: &str, summary: &str, params: Json) -> BlockDescriptor {
    BlockDescriptor {
        id: id.to_owned(),
        summary: summary.to_owned(),
        formula: String::new(),
        citation: String::new(),
        params,
    }
}
