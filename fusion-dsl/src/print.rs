//! The syntax tree as text, for generators and graphical tools that write the JSON twin (`fusion ast --from-json`).

use std::fmt::Write as _;

use crate::ast::*;
use crate::parse::{self, quote};

/// Why a JSON tree is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Not JSON, or not of the tree's shape.
    #[error("the JSON is no syntax tree: {source}")]
    Json {
        /// What serde says, with line and column.
        #[from]
        source: serde_json::Error,
    },
    /// Nested deeper than any recipe.
    #[error("the JSON is nested more than {limit} deep; no recipe is")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Of the tree's shape, but no text gives this tree.
    #[error("no recipe has this tree: {reason}")]
    NoText {
        /// What goes wrong.
        reason: String,
    },
}

/// Deepest nesting of a JSON tree: four levels for each of a recipe's, and those of loops and blocks around them.
const JSON_DEPTH: usize = 512;

/// Reads the JSON twin of a tree (the output of `fusion ast --json`). Whether its names are names is checked by
/// [`text_from_json`], not here.
pub fn file_from_json(json: &str) -> Result<File, TreeError> {
    let mut depth = 0usize;
    let mut quoted = false;
    let mut escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                if depth > JSON_DEPTH {
                    return Err(TreeError::TooDeep { limit: JSON_DEPTH });
                }
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    // Bounded above: serde's own limit of 128 is less than a legal recipe may need.
    reader.disable_recursion_limit();
    let file = serde::Deserialize::deserialize(&mut reader)?;
    reader.end()?;
    Ok(file)
}

/// The recipe of a JSON tree, formatted. An error if the text would not read back as the same tree: a name that is none, a
/// number as an input, a setting nested too deeply.
pub fn text_from_json(json: &str) -> Result<String, TreeError> {
    let file = file_from_json(json)?;
    let text = print(&file);
    let (again, diagnostics) = parse::parse(&text);
    if let Some(first) = diagnostics.first() {
        let place = crate::span::Source::new("", text.as_str()).position(first.primary.span.start);
        return Err(TreeError::NoText { reason: format!("{} (line {place} of its text)", first.message) });
    }
    if serde_json::to_value(&again)? != serde_json::to_value(&file)? {
        return Err(TreeError::NoText { reason: "its text reads back as another tree".to_owned() });
    }
    Ok(text)
}

/// The tree as text in the formatter's style. Without comments: the tree has none.
pub fn print(file: &File) -> String {
    let mut out = format!("fusion {}\n\n", file.edition);
    items(&file.items, &mut out);
    crate::fmt::format(&out).0
}

/// The JSON Schema of the tree.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(File)
}

fn items(items: &[Item], out: &mut String) {
    let mut before: Option<&Item> = None;
    for item in items {
        let same = before.is_some_and(|old| std::mem::discriminant(old) == std::mem::discriminant(item));
        let short = !matches!(item, Item::Stage(_) | Item::For(_));
        if before.is_some() && !(same && short) {
            out.push('\n');
        }
        print_item(item, out);
        out.push('\n');
        before = Some(item);
    }
}

fn print_item(item: &Item, out: &mut String) {
    match item {
        Item::Use(it) => {
            push(out, &["use plugin ", &quote(&it.plugin.value)]);
            if let Some(version) = &it.version {
                push(out, &[" version ", &quote(&version.value)]);
            }
            if let Some(alias) = &it.alias {
                push(out, &[" as ", &alias.text]);
            }
        }
        Item::Import(it) => {
            push(out, &["import ", &quote(&it.path.value)]);
            if let Some(alias) = &it.alias {
                push(out, &[" as ", &alias.text]);
            }
            if !it.with.is_empty() {
                out.push_str(" with");
            }
            settings(&it.with, out);
        }
        Item::Param(it) => {
            push(out, &["param ", &it.name.text, ": ", &it.kind.text]);
            if let Some(default) = &it.default {
                push(out, &[" = ", &expr(default, 0)]);
            }
            if let Some(doc) = &it.doc {
                push(out, &[" ", &quote(&doc.value)]);
            }
        }
        Item::Let(it) => push(out, &["let ", &it.name.text, " = ", &expr(&it.value, 0)]),
        Item::Model(it) => {
            push(out, &["model ", &it.name.text, &index(it.index.as_ref())]);
            match &it.source {
                ModelSource::From(text) => push(out, &[" from ", &quote(&text.value)]),
                ModelSource::Of(it) => push(out, &[" of ", &call(it)]),
                ModelSource::OfFrom { of, from } => {
                    push(out, &[" of ", &call(of), " from ", &quote(&from.value)]);
                }
            }
            settings(&it.settings, out);
        }
        Item::Data(it) => {
            push(out, &["data ", &it.name.text, " from "]);
            match &it.from {
                DataSource::Source(text) => push(out, &[&quote(&text.value)]),
                DataSource::Sets(sets) => push(out, &["[", &list(sets), "]"]),
            }
            settings(&it.settings, out);
        }
        Item::Stage(it) => {
            push(out, &[it.verb.word(), " ", &it.name.text, &index(it.index.as_ref())]);
            if let Some(method) = &it.using {
                push(out, &[" using ", &method.dotted()]);
            }
            out.push_str(" {\n");
            for it in &it.clauses {
                clause(it, out);
                out.push('\n');
            }
            out.push('}');
        }
        Item::Save(it) => {
            push(out, &["save ", &reference(&it.what), " to ", &quote(&it.to.value)]);
            settings(&it.settings, out);
        }
        Item::Report(it) => {
            push(out, &["report [", &list(&it.what), "] to ", &quote(&it.to.value)]);
            settings(&it.settings, out);
        }
        Item::Expect(it) => push(out, &["expect ", &expr(&it.condition, 0)]),
        Item::For(it) => {
            push(out, &["for ", &it.variable.text, " in ", &expr(&it.over, 0), " {\n"]);
            // Items are recognised in column 0 even inside of brackets: indent them.
            let mut body = String::new();
            items(&it.items, &mut body);
            for line in body.lines() {
                push(out, &["  ", line, "\n"]);
            }
            out.push('}');
        }
        Item::Sweep(it) => {
            out.push_str("sweep {");
            fields(&it.axes, out);
            out.push('}');
        }
    }
}

fn clause(clause: &Clause, out: &mut String) {
    out.push_str("  ");
    match clause {
        Clause::Field(it) => push(out, &[&it.name.text, " = ", &expr(&it.value, 0)]),
        Clause::Edge(it) => {
            push(out, &[&it.role.text, " ", &expr(&it.operand, 0)]);
            if it.rules.is_empty() {
                settings(&it.settings, out);
            } else {
                out.push_str(" {\n");
                for it in &it.settings {
                    push(out, &["    ", &it.name.text, " = ", &expr(&it.value, 0), "\n"]);
                }
                for it in &it.rules {
                    out.push_str("    ");
                    on(it, out);
                    out.push('\n');
                }
                out.push_str("  }");
            }
        }
        Clause::On(it) => on(it, out),
        Clause::Take(it) => {
            push(out, &["take layers ", &expr(&it.layers, 0), " of ", &reference(&it.of)]);
            settings(&it.settings, out);
        }
        Clause::Rest(it) => push(out, &["rest of ", &reference(&it.of)]),
        Clause::Between(it) => push(out, &["between ", &expr(&it.from, 0), " and ", &expr(&it.to, 0)]),
        Clause::Collect(it) => {
            push(out, &["collect ", &it.name.text, " {"]);
            fields(&it.settings, out);
            out.push('}');
        }
    }
}

fn on(on: &On, out: &mut String) {
    out.push_str(if on.optional { "on? " } else { "on " });
    match &on.selector {
        Selector::Glob(text) => out.push_str(&quote(&text.value)),
        Selector::Tensors(text) => push(out, &["tensors ", &quote(&text.value)]),
        Selector::Layers(layers) => push(out, &["layers ", &expr(layers, 0)]),
    }
    out.push_str(" {");
    fields(&on.settings, out);
    out.push('}');
}

/// ` { a = 1; b = 2 }`, or nothing.
fn settings(list: &[Field], out: &mut String) {
    if !list.is_empty() {
        out.push_str(" {");
        fields(list, out);
        out.push('}');
    }
}

fn fields(list: &[Field], out: &mut String) {
    for (index, field) in list.iter().enumerate() {
        let separator = if index == 0 { " " } else { "; " };
        push(out, &[separator, &field.name.text, " = ", &expr(&field.value, 0)]);
    }
    out.push(' ');
}

fn push(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

fn index(index: Option<&Expr>) -> String {
    index.map(|value| format!("[{}]", expr(value, 0))).unwrap_or_default()
}

fn list(values: &[Expr]) -> String {
    let values: Vec<String> = values.iter().map(|value| expr(value, 0)).collect();
    values.join(", ")
}

fn call(call: &Call) -> String {
    let args: Vec<String> = call
        .args
        .iter()
        .map(|arg| match &arg.name {
            Some(name) => format!("{name}: {}", expr(&arg.value, 0)),
            None => expr(&arg.value, 0),
        })
        .collect();
    format!("{}({})", call.function.dotted(), args.join(", "))
}

fn reference(reference: &Reference) -> String {
    let mut out = reference.path.dotted();
    match &reference.index {
        Some(Index::All) => out.push_str("[*]"),
        Some(Index::At(at)) => push(&mut out, &["[", &expr(at, 0), "]"]),
        None => {}
    }
    for name in &reference.tail {
        push(&mut out, &[".", &name.text]);
    }
    out
}

/// The shortest text that reads back as the same number.
fn number(value: f64) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(out, "{value:?}");
    match out.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None => out,
    }
}

const UNARY: u8 = 7;

/// A value as text; in parentheses if it binds less than `level` (see [`BinaryOp::level`]).
pub fn expr(value: &Expr, level: u8) -> String {
    let (text, own) = match &value.kind {
        ExprKind::Number(it) => (number(*it), if it.is_sign_negative() { UNARY } else { 8 }),
        ExprKind::Quantity { value, unit } => {
            let blank = if *unit == Unit::Percent { "" } else { " " };
            let own = if value.is_sign_negative() { UNARY } else { 8 };
            (format!("{}{blank}{}", number(*value), unit.word_for(*value)), own)
        }
        ExprKind::Text(it) => (quote(it), 8),
        ExprKind::Bool(it) => (it.to_string(), 8),
        ExprKind::List(it) => (format!("[{}]", list(it)), 8),
        ExprKind::Comprehension { body, variable, source } => {
            (format!("[{} for {variable} in {}]", expr(body, 0), expr(source, 0)), 8)
        }
        ExprKind::Call(it) => (call(it), 8),
        ExprKind::Ref(it) => (reference(it), 8),
        ExprKind::Range { start, end, inclusive } => {
            let dots = if *inclusive { "..=" } else { ".." };
            let above = parse::RANGE_LEVEL + 1;
            (format!("{}{dots}{}", expr(start, above), expr(end, above)), parse::RANGE_LEVEL)
        }
        ExprKind::Unary { op, operand } => {
            let blank = if *op == UnaryOp::Not { " " } else { "" };
            (format!("{}{blank}{}", op.word(), expr(operand, UNARY)), UNARY)
        }
        ExprKind::Binary { op, left, right } => {
            let own = op.level();
            (format!("{} {} {}", expr(left, own), op.word(), expr(right, own + 1)), own)
        }
        ExprKind::Conditional { then, condition, otherwise } => {
            (format!("{} if {} else {}", expr(then, 1), expr(condition, 1), expr(otherwise, 0)), 0)
        }
    };
    if own < level { format!("({text})") } else { text }
}
