//! `fusion graph`: a recipe as boxes and arrows, for Graphviz, Markdown and browsers.

mod layered;
mod svg;

use std::path::Path;

use fusion_core::plan::{GraphView, graph_view};

use crate::cli::GraphArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::recipe::{Recipe, label};
use crate::session::Session;

#[derive(Clone, Copy)]
enum Format {
    Dot,
    Mermaid,
    Svg,
}

pub(super) fn graph(session: &Session, args: &GraphArgs) -> Result<Exit, Failure> {
    let recipe = Recipe::load(&args.recipe)?;
    let compiled = &recipe.compiled;
    session.say(&recipe.path, &compiled.diagnostics, &compiled.sources, false)?;
    let Some(variant) = compiled.variants.first() else { return Ok(Exit::Ok) };
    if compiled.variants.len() > 1 {
        let count = compiled.variants.len();
        session.ui.error(&format!("the sweep has {count} variants; this is {}\n", label(variant)));
    }
    let view = graph_view(&variant.graph);
    let text = match format(args) {
        Format::Dot => dot(&view),
        Format::Mermaid => mermaid(&view),
        Format::Svg => svg::svg(&view),
    };
    match &args.output {
        Some(path) => std::fs::write(path, text).map_err(|error| Failure::write(path, &error))?,
        None => session.ui.print(&text)?,
    }
    Ok(Exit::Ok)
}

fn format(args: &GraphArgs) -> Format {
    let ending = |path: &Path| match path.extension()?.to_str()? {
        "dot" | "gv" => Some(Format::Dot),
        "svg" => Some(Format::Svg),
        _ => None,
    };
    match (args.dot, args.mermaid, args.svg) {
        (true, ..) => Format::Dot,
        (_, true, _) => Format::Mermaid,
        (_, _, true) => Format::Svg,
        _ => args.output.as_deref().and_then(ending).unwrap_or(Format::Mermaid),
    }
}

fn dot(view: &GraphView) -> String {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
    let mut out =
        String::from("digraph recipe {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for one in &view.boxes {
        let shape = match one.kind {
            "model" | "data" => "cylinder",
            "save" | "report" => "folder",
            "expect" => "note",
            _ => "box",
        };
        out.push_str(&format!(
            "  n{} [shape={shape}, label=\"{}\\n{}\"];\n",
            one.id,
            quote(&one.title),
            quote(&one.detail)
        ));
    }
    for edge in &view.edges {
        out.push_str(&format!("  n{} -> n{} [label=\"{}\"];\n", edge.from, edge.to, quote(&edge.label)));
    }
    out.push_str("}\n");
    out
}

fn mermaid(view: &GraphView) -> String {
    // Inside quotes, Mermaid reads HTML entities; `#` starts them.
    let quote = |text: &str| {
        text.replace('#', "#35;")
            .replace('"', "#quot;")
            .replace('<', "#lt;")
            .replace('>', "#gt;")
            .replace('\n', " ")
    };
    let mut out = String::from("flowchart LR\n");
    for one in &view.boxes {
        let (open, close) = match one.kind {
            "model" | "data" => ("[(", ")]"),
            "save" | "report" => ("[/", "/]"),
            "expect" => ("{{", "}}"),
            _ => ("[", "]"),
        };
        out.push_str(&format!(
            "  n{}{open}\"{}<br/>{}\"{close}\n",
            one.id,
            quote(&one.title),
            quote(&one.detail)
        ));
    }
    for edge in &view.edges {
        match edge.label.is_empty() {
            true => out.push_str(&format!("  n{} --> n{}\n", edge.from, edge.to)),
            false => {
                out.push_str(&format!("  n{} -->|\"{}\"| n{}\n", edge.from, quote(&edge.label), edge.to))
            }
        }
    }
    out
}
