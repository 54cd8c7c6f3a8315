//! `fusion ast`: recipes for machines, in both directions.

use std::path::Path;

use fusion_dsl::graph::Graph;
use fusion_dsl::{codes::Code, print, render};
use serde_json::{Value as Json, json};

use crate::cli::{AstArgs, PluginArgs, RecipeArgs, SchemaOf};
use crate::docs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::recipe::{Recipe, label_json, read_text};
use crate::session::Session;

pub(super) fn ast(session: &Session, args: &AstArgs) -> Result<Exit, Failure> {
    let show = |value: &Json| if args.json { session.ui.json_line(value) } else { session.ui.json(value) };
    if let Some(what) = args.schema {
        show(&schema(what))?;
        return Ok(Exit::Ok);
    }
    if let Some(path) = &args.from_json {
        let text = print::text_from_json(&read_text(path)?).map_err(|error| {
            Failure::new(Code::UnexpectedText, format!("`{}` is no recipe: {error}", path.display())).help(
                "`fusion ast RECIPE` shows what a tree looks like, `fusion ast --schema ast` says it exactly",
            )
        })?;
        session.ui.print(&text)?;
        return Ok(Exit::Ok);
    }
    let Some(path) = &args.recipe else { return Err(Failure::usage("name a recipe")) };
    if !args.graph {
        return tree(session, path, &show);
    }
    let plugins = PluginArgs { plugin_path: args.plugin_path.clone(), no_plugins: args.no_plugins };
    let recipe = Recipe::load(&RecipeArgs { recipe: path.clone(), set: args.set.clone(), plugins })?;
    let compiled = &recipe.compiled;
    session.say(path, &compiled.diagnostics, &compiled.sources, false)?;
    let graph = |graph: &Graph| json!({ "hash": fusion_dsl::hash::hex(&graph.hash()), "graph": graph });
    match compiled.variants.as_slice() {
        [one] if one.label.is_empty() => show(&graph(&one.graph))?,
        many => {
            let all: Vec<Json> = many
                .iter()
                .map(|variant| {
                    let mut value = graph(&variant.graph);
                    value["label"] = label_json(variant);
                    value
                })
                .collect();
            show(&all.into())?;
        }
    }
    Ok(Exit::Ok)
}

/// The tree of what can be read; errors are told and decide the exit code.
fn tree(
    session: &Session,
    path: &Path,
    show: &dyn Fn(&Json) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let text = read_text(path)?;
    let (file, found) = fusion_dsl::parse::parse(&text);
    show(&serde_json::to_value(&file).unwrap_or(Json::Null))?;
    let sources = fusion_dsl::span::SourceMap::single(path.to_string_lossy(), text);
    session.say(path, &found, &sources, false)?;
    Ok(Exit::Ok)
}

fn schema(what: SchemaOf) -> Json {
    match what {
        SchemaOf::Ast => print::schema().to_value(),
        SchemaOf::Graph => Graph::schema(),
        SchemaOf::Diagnostic => render::json_schema().to_value(),
        SchemaOf::Method => docs::method_schema(),
        SchemaOf::Plugin => fusion_core::host::Manifest::schema(),
    }
}
