//! Recipes of the reference compile, and their graphs are canonical.

mod common;
mod support;

use fusion_dsl::graph::{Graph, NodeKind, Value};
use fusion_dsl::{Compiled, compile};

fn said(compiled: &Compiled) -> Vec<String> {
    compiled
        .diagnostics
        .iter()
        .map(|d| format!("{} {d} {:?} {:?}", compiled.sources.place(d.primary.span), d.helps, d.notes))
        .collect()
}

fn clean(text: &str) -> Compiled {
    let compiled = compile(&common::full(), "r.fusion", text, &[]);
    assert!(compiled.diagnostics.is_empty(), "{text}\n{:#?}", said(&compiled));
    compiled
}

#[test]
fn the_seven_recipes_compile_without_a_message() {
    for (name, text) in support::RECIPES {
        let compiled = compile(&common::full(), name, text, &[]);
        // The reference's own A4 declares a data set that it does not use.
        let unused: &[&str] =
            if *name == "a4_swa_fge" { &["the data set `val_set` is never used"] } else { &[] };
        let messages: Vec<&str> = compiled.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, unused, "{name}");
    }
}

#[test]
fn the_design_recipe_becomes_a_graph() {
    let compiled = clean(common::TIES);
    let [variant] = compiled.variants.as_slice() else { panic!("one variant") };
    assert_eq!(variant.graph.nodes.len(), 6);
    let stage = variant
        .graph
        .nodes
        .iter()
        .find_map(|node| if let NodeKind::Stage(stage) = &node.kind { Some(stage) } else { None })
        .expect("there is a stage");
    assert_eq!(stage.edges.len(), 3);
    assert_eq!(stage.edges[0].role, "base");
    assert_eq!(stage.settings[0].value, Value::Number(0.6));
    assert_eq!(stage.rules.len(), 2);
    let json = serde_json::to_string(&variant.graph).unwrap();
    let back: Graph = serde_json::from_str(&json).unwrap();
    assert_eq!(back.hash(), variant.graph.hash());
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
}
