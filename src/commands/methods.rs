//! `fusion methods`: what is built in, and everything there is to know of one method.

use fusion_dsl::codes::Code;
use fusion_dsl::descriptor::{KernelClass, MethodDescriptor, ParamKind, ParamSpec, Space, Verb};
use serde_json::Value as Json;

use crate::cli::MethodsArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::ui::table::{Side, Table, wrap};
use crate::ui::units::plural;

pub(super) fn methods(session: &Session, args: &MethodsArgs) -> Result<Exit, Failure> {
    let all = session.registry.descriptors();
    let Some(name) = &args.name else {
        match args.json {
            true => session.ui.json(&all)?,
            false => {
                let known = verbs(&all);
                let missing: Vec<&str> =
                    Verb::ALL.iter().map(|verb| verb.word()).filter(|verb| !known.contains(verb)).collect();
                let mut text = list(session, &all);
                if !missing.is_empty() {
                    text.push_str(&format!("no method yet for: {}\n", missing.join(", ")));
                }
                session.ui.print(&text)?;
            }
        }
        return Ok(Exit::Ok);
    };
    let named: Vec<&MethodDescriptor> = all.iter().filter(|method| method.id == *name).collect();
    let of_verb: Vec<MethodDescriptor> =
        all.iter().filter(|method| method.verb.word() == name).cloned().collect();
    if named.is_empty() && !of_verb.is_empty() {
        match args.json {
            true => session.ui.json(&of_verb)?,
            false => session.ui.print(&list(session, &of_verb))?,
        }
        return Ok(Exit::Ok);
    }
    if named.is_empty() {
        let names = all.iter().map(|method| method.id.as_str()).chain(verbs(&all));
        if let Some(verb) = Verb::parse(name) {
            let failure = Failure::new(Code::UnknownMethod, format!("there is no method for `{verb}` yet"));
            return Err(
                failure.help("plugins may bring one: `fusion plugin list` shows those that are found")
            );
        }
        let failure = Failure::new(Code::UnknownMethod, format!("there is no method `{name}`"));
        if let Some(recipe) = fusion_dsl::recipes::recipe(name) {
            return Err(failure.help(recipe));
        }
        return Err(match fusion_dsl::suggest::closest(name, names.clone()) {
            Some(near) => failure.help(format!("did you mean `{near}`?")),
            None => failure.help(format!("there are {}", fusion_dsl::suggest::list(names, 40))),
        });
    }
    // Two verbs may have a method of one name: `linear` averages and connects.
    match (args.json, named.as_slice()) {
        (true, [method]) => session.ui.json(method)?,
        (true, several) => session.ui.json(&several)?,
        (false, several) => {
            // `repair` is a verb and a method.
            if !of_verb.is_empty() {
                session.ui.print(&list(session, &of_verb))?;
            }
            let pages: Vec<String> = several.iter().map(|method| page(session, method)).collect();
            session.ui.print(&pages.join("\n"))?;
        }
    }
    Ok(Exit::Ok)
}

/// The verbs that have a method.
fn verbs(all: &[MethodDescriptor]) -> Vec<&'static str> {
    let has = |verb: &Verb| all.iter().any(|method| method.verb == *verb);
    Verb::ALL.into_iter().filter(has).map(Verb::word).collect()
}

/// A table of methods for each verb that has one.
fn list(session: &Session, all: &[MethodDescriptor]) -> String {
    let mut out = String::new();
    let width = all.iter().map(|method| method.id.len()).max().unwrap_or(0);
    for verb in Verb::ALL {
        let of: Vec<&MethodDescriptor> = all.iter().filter(|method| method.verb == verb).collect();
        if of.is_empty() {
            continue;
        }
        out.push_str(&format!("{}\n", session.ui.style.bold(verb.word())));
        let mut table = Table::new(&[Side::Left, Side::Left]).indent(2);
        for method in of {
            table.row([format!("{:width$}", method.id), method.summary.clone()]);
        }
        out.push_str(&table.render(session.ui.width));
    }
    out.push_str("`fusion methods NAME` shows parameters, defaults and formula, `fusion methods VERB` the methods of a verb\n");
    out
}

fn page(session: &Session, method: &MethodDescriptor) -> String {
    let style = session.ui.style;
    let width = session.ui.width.unwrap_or(100).clamp(40, 120);
    let heading = |text: &str| format!("\n{}\n", style.bold(text));
    let mut out = format!("{}  {}, version {}\n", style.bold(&method.id), method.verb, method.version);
    out.push_str(&wrap(&method.summary, 2, width));
    if !method.formula.is_empty() {
        out.push_str(&heading("formula"));
        for line in method.formula.lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out.push_str(&heading("inputs"));
    let mut table = Table::new(&[Side::Left, Side::Left]).indent(2);
    for port in &method.ports {
        let settings = if port.settings { ", each with settings of its own" } else { "" };
        table.row([port.role.clone(), format!("{}{}: {}", arity(port.min, port.max), settings, port.doc)]);
    }
    if method.ports.is_empty() {
        table.row(["clauses of the verb name them"]);
    }
    out.push_str(&table.render(None));
    let specs = method.parameters();
    if !specs.is_empty() || method.random {
        out.push_str(&heading("parameters"));
        for spec in &specs {
            let (kind, facts) = (kind(spec), facts(spec));
            out.push_str(&format!(
                "  {}: {kind}  {}\n",
                style.bold(&spec.name),
                style.dim(&facts.join(", "))
            ));
            out.push_str(&wrap(&spec.doc, 6, width));
            if let ParamKind::Word(words) = &spec.kind {
                for (word, doc) in words.iter().filter(|(_, doc)| !doc.is_empty()) {
                    out.push_str(&wrap(&format!("`{word}`: {doc}"), 6, width));
                }
            }
        }
        if method.random && !specs.iter().any(|spec| spec.name == "seed") {
            out.push_str(&format!(
                "  {}: seed  {}\n",
                style.bold("seed"),
                style.dim("default: from the recipe's hash")
            ));
        }
    }
    out.push_str(&heading("in a recipe"));
    for line in example(method).lines() {
        out.push_str(&format!("  {line}\n"));
    }
    out.push_str(&heading("how it runs"));
    out.push_str(&wrap(&running(method), 2, width));
    if !method.citation.is_empty() {
        out.push_str(&heading("source"));
        out.push_str(&wrap(&method.citation, 2, width));
    }
    out
}

/// `exactly 1 model`, `2 or more models`
pub(crate) fn arity(min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (min, Some(max)) if min == max => format!("exactly {min}"),
        (min, Some(max)) => format!("{min} to {max}"),
        (min, None) => format!("{min} or more"),
    }
}

/// The type as the reference names it.
pub(crate) fn kind(spec: &ParamSpec) -> String {
    spec.kind.to_string()
}

/// Default, bounds, and whether the value may vary.
pub(crate) fn facts(spec: &ParamSpec) -> Vec<String> {
    let mut facts = Vec::new();
    match (&spec.default, spec.required) {
        (Some(value), _) => facts.push(format!("default {}", value_text(spec, value))),
        (None, true) => facts.push("required".to_owned()),
        (None, false) => facts.push("optional".to_owned()),
    }
    // A fraction's bounds are part of its type.
    if spec.kind != ParamKind::Fraction || spec.min_exclusive {
        let low = if spec.min_exclusive { "above" } else { "at least" };
        facts.extend(spec.min.filter(|min| *min > f64::MIN).map(|min| format!("{low} {min}")));
        facts.extend(spec.max.filter(|max| *max < 1e15).map(|max| format!("at most {max}")));
    }
    if spec.per_input {
        facts.push("per input".to_owned());
    }
    if spec.varies {
        facts.push("may vary over tensors and layers".to_owned());
    }
    facts
}

/// A value as a recipe writes it.
pub(crate) fn value_text(spec: &ParamSpec, value: &Json) -> String {
    match (&spec.kind, value) {
        (ParamKind::Fraction, Json::Number(number)) => {
            let percent = number.as_f64().unwrap_or(f64::NAN) * 100.0;
            format!("{}%", (percent * 1e6).round() / 1e6)
        }
        (ParamKind::Text, Json::String(text)) => format!("{text:?}"),
        (_, Json::String(word)) => word.clone(),
        (_, Json::Number(number)) => match number.as_f64() {
            Some(number) => number.to_string(),
            None => number.to_string(),
        },
        (_, other) => other.to_string(),
    }
}

/// A stage that uses the method, with its parameters at their defaults.
pub(crate) fn example(method: &MethodDescriptor) -> String {
    if method.verb == Verb::Stitch && method.ports.is_empty() {
        return "stitch tall {\n  take layers 0..12 of chat\n  take layers 8..16 of code\n  rest of chat\n}\n".to_owned();
    }
    let mut out = format!("{} result using {} {{\n", method.verb, method.id);
    let specs = method.parameters();
    let learned = matches!(method.kernel, KernelClass::Path | KernelClass::Align | KernelClass::Learn);
    let mut names = if learned { ["a", "b", "c"] } else { ["chat", "code", "math"] }.into_iter();
    for port in &method.ports {
        match (port.role.as_str(), port.space) {
            ("base", _) => out.push_str("  base llama\n"),
            ("between", _) => out.push_str("  between a and b\n"),
            (role, Space::Dataset) => out.push_str(&format!(
                "  {role} {}\n",
                if method.verb == Verb::Evaluate && role == "data" { "test_set" } else { "train_set" }
            )),
            (role, Space::Path) => out.push_str(&format!("  {role} curve\n")),
            (role, Space::Alignment) => out.push_str(&format!("  {role} matched.alignment\n")),
            (role, _) => {
                let many = port.max.is_none_or(|max| max > 1);
                for index in 0..if many { 2.max(port.min as usize) } else { 1 } {
                    let name = names.next().unwrap_or("other");
                    let own: Vec<String> = specs
                        .iter()
                        .filter(|spec| spec.per_input && port.settings && index == 0)
                        .filter_map(|spec| {
                            Some(format!("{} = {}", spec.name, value_text(spec, spec.default.as_ref()?)))
                        })
                        .collect();
                    match own.is_empty() {
                        true => out.push_str(&format!("  {role} {name}\n")),
                        false => out.push_str(&format!("  {role} {name} {{ {} }}\n", own.join("; "))),
                    }
                }
            }
        }
    }
    let settings: Vec<(&str, String)> = specs
        .iter()
        .filter(|spec| !spec.per_input)
        .filter_map(|spec| Some((spec.name.as_str(), value_text(spec, spec.default.as_ref()?))))
        .collect();
    let width = settings.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in settings {
        out.push_str(&format!("  {name:width$} = {value}\n"));
    }
    out.push_str("}\n");
    out
}

/// One sentence on passes and randomness.
pub(crate) fn running(method: &MethodDescriptor) -> String {
    let class = match method.kernel {
        KernelClass::Elementwise => "streams element by element",
        KernelClass::WholeTensor => "needs whole tensors in memory",
        KernelClass::Group => "needs groups of tensors in memory",
        KernelClass::WholeModel => "needs whole models in memory",
        KernelClass::Route => "routes tensors; nothing is computed",
        KernelClass::Path => "runs the network on its device; the path is kept as flat weights",
        KernelClass::Align => {
            "finds a transform for each set of units that may change places, then moves them"
        }
        KernelClass::Learn => "runs networks and data on their device",
    };
    let passes = match method.passes {
        0 => String::new(),
        passes => format!(", after up to {} over its inputs", plural(passes as usize, "observe pass")),
    };
    let random =
        if method.random { "; draws random numbers from its seed, the same on every machine" } else { "" };
    format!("{class}{passes}{random}")
}
