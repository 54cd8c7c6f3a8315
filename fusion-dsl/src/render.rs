//! Diagnostics for people (rustc's look, by annotate-snippets) and for machines (JSON). The only module that knows how they
//! are shown.

use std::collections::BTreeMap;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codes::Code;
use crate::diag::{Diagnostic, Fix, Label, Severity};
use crate::span::{FileId, Source, SourceMap, Span};

/// Lines further apart than this are cut out of a snippet before it is rendered.
const CONTEXT: u32 = 2;

/// Diagnostics as text for a terminal, an empty line between them. Colours are ANSI escapes.
pub fn terminal(diagnostics: &[Diagnostic], sources: &SourceMap, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let parts: Vec<String> = diagnostics.iter().map(|one| render(one, sources, &renderer)).collect();
    let mut out = parts.join("\n\n");
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn render(diagnostic: &Diagnostic, sources: &SourceMap, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let mut main = Group::with_title(title);
    for snippet in snippets(diagnostic, sources) {
        main = main.element(snippet);
    }
    for note in &diagnostic.notes {
        main = main.element(Level::NOTE.message(note.as_str()));
    }
    for help in &diagnostic.helps {
        main = main.element(Level::HELP.message(help.as_str()));
    }
    let mut groups = vec![main];
    groups.extend(diagnostic.fixes.iter().filter_map(|fix| suggestion(fix, sources)));
    renderer.render(&groups)
}

/// The part of a file that the labels are in, whole lines, and the number of its first line.
fn window(source: &Source, spans: &[Span]) -> (Range<usize>, usize) {
    let first = spans.iter().map(|span| source.position(span.start).line).min().unwrap_or(1);
    let last = spans.iter().map(|span| source.position(span.end).line).max().unwrap_or(1);
    let first = first.saturating_sub(CONTEXT).max(1);
    let last = (last + CONTEXT).min(source.line_count());
    let start = source.line_start(first);
    let end = source.line_start(last + 1);
    (start..end, first as usize)
}

/// A span inside a window, relative to it. An empty one is widened by the annotation code itself.
fn within(span: Span, window: &Range<usize>) -> Range<usize> {
    let clamp = |at: u32| (at as usize).clamp(window.start, window.end) - window.start;
    clamp(span.start)..clamp(span.end)
}

fn snippets<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a SourceMap,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut files: BTreeMap<(bool, FileId), Vec<(&Label, AnnotationKind)>> = BTreeMap::new();
    let main = diagnostic.primary.span.file;
    files.entry((false, main)).or_default().push((&diagnostic.primary, AnnotationKind::Primary));
    for label in &diagnostic.secondary {
        let key = (label.span.file != main, label.span.file);
        files.entry(key).or_default().push((label, AnnotationKind::Context));
    }
    let mut out = Vec::new();
    for ((_, file), labels) in files {
        let Some(source) = sources.get(file) else { continue };
        let spans: Vec<Span> = labels.iter().map(|(label, _)| label.span).collect();
        let (range, line) = window(source, &spans);
        let mut snippet =
            Snippet::source(source.slice(range.clone())).line_start(line).path(source.name()).fold(true);
        for (label, kind) in labels {
            let mut annotation = kind.span(within(label.span, &range));
            if !label.text.is_empty() {
                annotation = annotation.label(label.text.as_str());
            }
            snippet = snippet.annotation(annotation);
        }
        out.push(snippet);
    }
    out
}

fn suggestion<'a>(fix: &'a Fix, sources: &'a SourceMap) -> Option<Group<'a>> {
    let spans: Vec<Span> = fix.edits.iter().map(|edit| edit.span).collect();
    let source = sources.get(spans.first()?.file)?;
    let (range, line) = window(source, &spans);
    let mut snippet =
        Snippet::source(source.slice(range.clone())).line_start(line).path(source.name()).fold(true);
    for edit in &fix.edits {
        snippet = snippet.patch(Patch::new(within(edit.span, &range), edit.replacement.as_str()));
    }
    Some(Level::HELP.secondary_title(fix.title.as_str()).element(snippet))
}

/// A place in JSON. Bytes and lines count as in [`Span`] and [`crate::span::LineColumn`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JsonSpan {
    /// The file's name as given to the command or written in the import.
    pub file: String,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// Line of the first byte, from 1.
    pub line: u32,
    /// Column of the first byte in characters, from 1.
    pub column: u32,
    /// Line of the end, from 1.
    pub end_line: u32,
    /// Column of the end in characters, from 1.
    pub end_column: u32,
}

/// A labelled place in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JsonLabel {
    /// The place; absent if the message has none in a text.
    pub span: Option<JsonSpan>,
    /// What to say there; may be empty.
    pub text: String,
}

/// An edit in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JsonEdit {
    /// What to replace; empty to insert.
    pub span: JsonSpan,
    /// The new text; empty to delete.
    pub replacement: String,
}

/// A fix in JSON: apply all of its edits or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JsonFix {
    /// What it does.
    pub title: String,
    /// They do not overlap.
    pub edits: Vec<JsonEdit>,
}

/// A diagnostic in JSON: what `--json` prints, one object per message. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JsonDiagnostic {
    /// `F0203`
    pub code: Code,
    /// `error` or `warning`
    pub severity: String,
    /// What this message says.
    pub message: String,
    /// What the code is about in general.
    pub title: String,
    /// Where it is wrong.
    pub primary: JsonLabel,
    /// Other places that matter.
    pub secondary: Vec<JsonLabel>,
    /// Facts that explain the message.
    pub notes: Vec<String>,
    /// What to do.
    pub helps: Vec<String>,
    /// Edits that do it.
    pub fixes: Vec<JsonFix>,
}

/// Diagnostics for machines.
pub fn json(diagnostics: &[Diagnostic], sources: &SourceMap) -> Vec<JsonDiagnostic> {
    let span = |span: Span| {
        sources.get(span.file).map(|source| {
            let (start, end) = (source.position(span.start), source.position(span.end));
            JsonSpan {
                file: source.name().to_owned(),
                start: span.start,
                end: span.end,
                line: start.line,
                column: start.column,
                end_line: end.line,
                end_column: end.column,
            }
        })
    };
    let label = |label: &Label| JsonLabel { span: span(label.span), text: label.text.clone() };
    let fix = |fix: &Fix| {
        let edits: Option<Vec<JsonEdit>> = fix
            .edits
            .iter()
            .map(|edit| Some(JsonEdit { span: span(edit.span)?, replacement: edit.replacement.clone() }))
            .collect();
        edits.map(|edits| JsonFix { title: fix.title.clone(), edits })
    };
    diagnostics
        .iter()
        .map(|diagnostic| JsonDiagnostic {
            code: diagnostic.code,
            severity: diagnostic.severity.word().to_owned(),
            message: diagnostic.message.clone(),
            title: diagnostic.code.title().to_owned(),
            primary: label(&diagnostic.primary),
            secondary: diagnostic.secondary.iter().map(label).collect(),
            notes: diagnostic.notes.clone(),
            helps: diagnostic.helps.clone(),
            fixes: diagnostic.fixes.iter().filter_map(fix).collect(),
        })
        .collect()
}

/// The JSON Schema of what [`json`] gives.
pub fn json_schema() -> schemars::Schema {
    schemars::schema_for!(Vec<JsonDiagnostic>)
}
