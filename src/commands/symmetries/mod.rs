//! `fusion symmetries`: which units of a model may change places, from its names, its graph, or a text.

mod fold;

use std::path::Path;

use fusion_core::checkpoint::Checkpoint;
use fusion_core::symmetry::{self, NamesError};
use fusion_dsl::codes::Code;
use fusion_dsl::compile::compile;
use fusion_dsl::graph::{ModelSource, NodeKind};
use fusion_sdk::symmetry::{Factor, NodeId, Origin, Symmetries, TensorRole};
use serde_json::json;

use crate::cli::SymmetriesArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::ui::table::{Side, Table, wrap};
use crate::ui::units::{grouped, plural};
use crate::world::Machine;
use fold::{Line, fold};

pub(super) fn symmetries(session: &Session, args: &SymmetriesArgs) -> Result<Exit, Failure> {
    let found = read(session, args)?;
    if args.text {
        let text = found.to_string();
        match &args.output {
            Some(path) => create(path, &text)?,
            None => session.ui.print(&text)?,
        }
    } else if args.json {
        session.ui.json(&as_json(&args.model, &found))?;
    } else {
        session.ui.print(&shown(session, &args.model, &found, args.all))?;
    }
    Ok(Exit::Ok)
}

/// Writes a file that is not there yet, or is empty: what is in it may be a checkpoint, or a text that someone has edited.
fn create(path: &Path, text: &str) -> Result<(), Failure> {
    if std::fs::metadata(path).is_ok_and(|there| there.is_dir() || there.len() > 0) {
        let failure = Failure::new(Code::TargetExists, format!("`{}` exists already", path.display()));
        return Err(failure.help("remove it first, or name another file"));
    }
    std::fs::write(path, text).map_err(|error| Failure::write(path, &error))
}

fn failure(error: &NamesError) -> Failure {
    let failure = Failure::new(Code::NoSymmetries, error.to_string());
    match error.help() {
        Some(help) => failure.help(help),
        None => failure,
    }
}

fn read(session: &Session, args: &SymmetriesArgs) -> Result<Symmetries, Failure> {
    let path = Path::new(&args.model);
    if !path.exists() && args.model.trim_end().ends_with(')') && args.model.contains('(') {
        return architecture(session, args);
    }
    if path.extension().is_some_and(|extension| extension == "symmetries") {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::read(path, &error))?;
        return Symmetries::parse(&text)
            .map_err(|error| failure(&NamesError::Text { path: args.model.clone(), error }));
    }
    let checkpoint = Checkpoint::open(path).map_err(|error| {
        Failure::from(&error).help("a network of fusion is named by its architecture: `mlp(inputs: 784, hidden: [512], outputs: 10)`")
    })?;
    let tensors: Vec<(String, Vec<usize>)> =
        checkpoint.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    let found = match symmetry::beside(path) {
        Some(text) => symmetry::of_file(&text, &tensors),
        None => symmetry::of_names(&tensors, checkpoint.config()),
    };
    found.map_err(|error| failure(&error))
}

/// An architecture is read as a recipe reads it.
fn architecture(session: &Session, args: &SymmetriesArgs) -> Result<Symmetries, Failure> {
    let text = format!("fusion 1\n\nmodel it of {} {{ seed = 0 }}\n\nsave it to \"it\"\n", args.model);
    let compiled = compile(&Machine::new(&session.registry, None), &args.model, &text, &[]);
    let errors: Vec<_> = compiled.diagnostics.iter().filter(|one| one.is_error()).cloned().collect();
    session.say(Path::new(&args.model), &errors, &compiled.sources, args.json)?;
    let nodes = compiled.variants.iter().flat_map(|variant| &variant.graph.nodes);
    for node in nodes {
        if let NodeKind::Model { source: ModelSource::Network { name, arguments, .. }, .. } = &node.kind {
            return symmetry::of_network(name, arguments)
                .map_err(|error| Failure::new(Code::BadArgument, error.to_string()));
        }
    }
    Err(Failure::usage(format!("`{}` is no architecture", args.model)))
}

fn origin(found: &Symmetries) -> String {
    match &found.origin {
        Origin::Inferred => "inferred from the network's graph".to_owned(),
        Origin::Template(name) => format!("by the names of tensors ({name})"),
        Origin::Declared => "declared".to_owned(),
    }
}

/// How many tensors use a node.
fn users(found: &Symmetries, id: NodeId) -> usize {
    let uses = |factor: &Factor| *factor == Factor::Node(id);
    let tensors = found.tensors.iter();
    tensors.filter(|tensor| tensor.axes.iter().flat_map(|axis| &axis.segments).flatten().any(uses)).count()
}

fn shown(session: &Session, model: &str, found: &Symmetries, all: bool) -> String {
    let style = &session.ui.style;
    let mut head = Table::new(&[Side::Left, Side::Left]);
    let mut row = |name: &str, text: String| head.row([style.bold(name), text]);
    row("model", model.to_owned());
    row("symmetries", origin(found));
    let units = found.ids().map(|id| found.copies(id).saturating_mul(found.node(id).size));
    let units = units.fold(0, usize::saturating_add);
    row("nodes", format!("{}, {} units that may change places", found.nodes.len(), grouped(units as u64)));
    row("tensors", grouped(found.tensors.len() as u64));
    row("fingerprint", found.fingerprint());
    let mut out = head.render(session.ui.width);

    let nodes = found.ids().map(|id| {
        let node = found.node(id);
        let parents: Vec<&str> =
            node.parents.iter().map(|parent| found.node(*parent).name.as_str()).collect();
        let inside = if parents.is_empty() { String::new() } else { format!("in {}", parents.join(", ")) };
        let scales = if node.scalable { "also scaled" } else { "" };
        let used = format!("used by {}", plural(users(found, id), "tensor"));
        Line::new(&node.name, [node.size.to_string(), used, scales.to_owned(), inside])
    });
    let mut table = Table::new(&[Side::Left, Side::Right, Side::Left, Side::Left, Side::Left]).indent(2);
    fold(nodes.collect(), all).into_iter().for_each(|line| table.row(line));
    out.push_str(&format!("\n{}\n", style.bold("nodes")));
    out.push_str(&table.render(session.ui.width));

    let tensors = found.tensors.iter().map(|tensor| {
        let axes: Vec<String> = found.dimension_texts(tensor);
        let role = match tensor.role {
            TensorRole::Parameter => "",
            TensorRole::Mean => " (mean)",
            TensorRole::Variance => " (variance)",
        };
        Line::new(&format!("{}{role}", tensor.name), [axes.join(", ")])
    });
    let mut table = Table::new(&[Side::Left, Side::Left]).indent(2);
    fold(tensors.collect(), all).into_iter().for_each(|line| table.row(line));
    out.push_str(&format!("\n{}\n", style.bold("tensors")));
    out.push_str(&table.render(session.ui.width));
    for note in &found.notes {
        out.push('\n');
        out.push_str(&wrap(&format!("note: {note}"), 0, session.ui.width.unwrap_or(100)));
    }
    out
}

fn as_json(model: &str, found: &Symmetries) -> serde_json::Value {
    let name = |id: &NodeId| found.node(*id).name.clone();
    let nodes: Vec<_> = found
        .ids()
        .map(|id| {
            let node = found.node(id);
            json!({
                "name": node.name,
                "units": node.size,
                "in": node.parents.iter().map(name).collect::<Vec<_>>(),
                "scalable": node.scalable,
                "tensors": users(found, id),
            })
        })
        .collect();
    let tensors: Vec<_> = found
        .tensors
        .iter()
        .enumerate()
        .map(|(index, tensor)| {
            json!({
                "name": tensor.name,
                "role": tensor.role,
                "shape": found.shape(index),
                "axes": found.dimension_texts(tensor),
            })
        })
        .collect();
    json!({
        "model": model,
        "origin": found.origin,
        "fingerprint": found.fingerprint(),
        "nodes": nodes,
        "tensors": tensors,
        "notes": found.notes,
    })
}
