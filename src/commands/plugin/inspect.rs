//! `fusion plugin inspect`: inputs, parameters and needs of a plugin's methods, from its manifest alone.

use std::path::Path;

use fusion_core::host::{Bundle, Inventory, MANIFEST, Wanted, candidates, discover, select};
use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::{KernelClass, MethodDescriptor, ParamSpec};
use fusion_dsl::world::plugin_of;
use serde_json::{Map, Value as Json};

use crate::cli::PluginInspectArgs;
use crate::commands::methods::{arity, kind, value_text};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::places::places;
use crate::session::Session;
use crate::ui::table::{Side, Table, wrap};
use crate::ui::units::plural;

pub(super) fn inspect(session: &Session, args: &PluginInspectArgs) -> Result<Exit, Failure> {
    let (bundle, method) = find(args)?;
    let all = &bundle.manifest.methods;
    let wanted: Vec<&MethodDescriptor> =
        all.iter().filter(|one| method.as_ref().is_none_or(|name| *name == one.id)).collect();
    if let (Some(name), true) = (&method, wanted.is_empty()) {
        let names = all.iter().map(|one| one.id.as_str());
        return Err(Failure::new(
            Code::UnknownMethod,
            format!("the plugin `{}` has no method `{name}`", bundle.manifest.id),
        )
        .help(format!("it has {}", fusion_dsl::suggest::list(names, 20))));
    }
    match (args.schema, args.json, wanted.as_slice()) {
        (true, _, [one]) => session.ui.json(&one.params)?,
        (true, ..) => {
            let schemas: Map<String, Json> =
                wanted.iter().map(|one| (one.id.clone(), one.params.clone())).collect();
            session.ui.json(&schemas)?;
        }
        (_, true, [one]) if method.is_some() => session.ui.json(one)?,
        (_, true, _) => session.ui.json(&bundle.manifest)?,
        _ => session.ui.print(&page(session, &bundle, &wanted))?,
    }
    Ok(Exit::Ok)
}

/// The bundle, and the method if one is meant.
fn find(args: &PluginInspectArgs) -> Result<(Bundle, Option<String>), Failure> {
    let path = Path::new(&args.what);
    let folder = match path.file_name() {
        Some(name) if name == MANIFEST => path.parent(),
        _ => Some(path).filter(|path| path.is_dir()),
    };
    if let Some(folder) = folder {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        return Bundle::open(folder).map(|bundle| (bundle, None)).map_err(|error| Failure::from(&error));
    }
    if path.is_file() {
        return Err(Failure::usage(format!(
            "`{0}` is a file; `fusion plugin pack {0}` makes a bundle of a plugin's library, which can be inspected",
            args.what
        )));
    }
    let inventory = discover(places(&args.plugin_path, None)?);
    if let Some(bundle) = installed(&inventory, &args.what) {
        return Ok((bundle.clone(), None));
    }
    if let Some(id) = plugin_of(&args.what)
        && let Some(bundle) = installed(&inventory, id)
    {
        return Ok((bundle.clone(), Some(args.what[id.len() + 1..].to_owned())));
    }
    let wanted = Wanted { id: args.what.clone(), ..Wanted::default() };
    match select(&inventory, &wanted) {
        Ok(bundle) => Ok((bundle.clone(), None)),
        Err(fault) => Err(fault.into()),
    }
}

/// The one that recipes get, else the first that can be read: looking is allowed where running is not.
fn installed<'a>(inventory: &'a Inventory, id: &str) -> Option<&'a Bundle> {
    let all = candidates(inventory, &Wanted { id: id.to_owned(), ..Wanted::default() });
    let taken = all.iter().find(|candidate| candidate.refusal.is_none());
    taken.into_iter().chain(&all).find_map(|candidate| candidate.found.bundle.as_ref().ok())
}

fn page(session: &Session, bundle: &Bundle, methods: &[&MethodDescriptor]) -> String {
    let style = session.ui.style;
    let width = session.ui.width.unwrap_or(110).clamp(40, 120);
    let mut out = String::new();
    for method in methods {
        out.push_str(&one(session, method, width));
        out.push('\n');
    }
    let manifest = &bundle.manifest;
    let mut facts = vec![
        format!("{} {}", style.bold(&manifest.id), manifest.version),
        format!("ABI {}.{} or newer", manifest.abi.major, manifest.abi.needs_minor),
    ];
    let mut say = |what: &str, text: &str| {
        if !text.is_empty() {
            facts.push(format!("{what}{text}"));
        }
    };
    say("", &manifest.license);
    say("built with ", &manifest.build_info);
    say("needs ", &manifest.services.join(", "));
    facts.push(bundle.folder.display().to_string());
    out.push_str(&format!("{}\n", facts.join(" · ")));
    let targets: Vec<&str> = manifest.libraries.keys().map(String::as_str).collect();
    out.push_str(&format!(
        "for {}\n",
        if targets.is_empty() { "no system".to_owned() } else { targets.join(", ") }
    ));
    out
}

/// One method, as in the reference: what it is, a line for each input and parameter, how it runs.
fn one(session: &Session, method: &MethodDescriptor, width: usize) -> String {
    let style = session.ui.style;
    let citation = if method.citation.is_empty() { String::new() } else { format!(" ({})", method.citation) };
    let mut out = format!("{} · {} — {}{citation}\n", method.verb, style.bold(&method.id), method.summary);
    for line in method.formula.lines() {
        out.push_str(&format!("  {}\n", style.dim(line)));
    }
    let mut table = Table::new(&[Side::Left, Side::Left, Side::Left, Side::Left]).indent(2);
    for port in &method.ports {
        let count = match (port.min, port.max) {
            (0, Some(1)) => "optional".to_owned(),
            (1, Some(1)) => String::new(),
            (min, max) => arity(min, max),
        };
        let what = if count.is_empty() { port.space.to_string() } else { format!("{}, {count}", port.space) };
        table.row([style.bold(&port.role), what, String::new(), port.doc.clone()]);
    }
    for spec in method.parameters() {
        table.row([style.bold(&spec.name), typed(&spec), varies(&spec).to_owned(), spec.doc.clone()]);
    }
    out.push_str(&table.render(session.ui.width));
    let kernel = match method.kernel {
        KernelClass::Elementwise => "element-wise",
        KernelClass::WholeTensor => "whole tensor",
        KernelClass::Group => "group of tensors",
        KernelClass::WholeModel => "whole model",
        KernelClass::Route => "route",
        KernelClass::Path => "path",
        KernelClass::Align => "alignment",
        KernelClass::Learn => "network",
    };
    let mut facts = vec![format!("kernel {kernel}"), format!("version {}", method.version)];
    if method.passes > 0 {
        facts.push(plural(method.passes as usize, "observe pass"));
    }
    if method.random {
        facts.push("random".to_owned());
    }
    facts.extend(method.traits.iter().cloned());
    out.push_str(&wrap(&facts.join(" · "), 0, width));
    out
}

/// `number > 0 = 1e-8`, `fraction = 0%`
fn typed(spec: &ParamSpec) -> String {
    let mut out = kind(spec);
    let fraction = out == "fraction";
    if let Some(min) = spec.min.filter(|_| !fraction || spec.min_exclusive) {
        out.push_str(&format!(" {} {min}", if spec.min_exclusive { ">" } else { "≥" }));
    }
    if let Some(max) = spec.max.filter(|_| !fraction) {
        out.push_str(&format!(" ≤ {max}"));
    }
    match (&spec.default, spec.required) {
        (Some(value), _) => out.push_str(&format!(" = {}", value_text(spec, value))),
        (None, true) => out.push_str(", required"),
        (None, false) => out.push_str(", optional"),
    }
    out
}

fn varies(spec: &ParamSpec) -> &'static str {
    match (spec.per_input, spec.varies) {
        (true, true) => "per input and tensor",
        (true, false) => "per input",
        (false, true) => "per tensor",
        (false, false) => "",
    }
}
