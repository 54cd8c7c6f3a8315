//! What the front end and the planner have to say about a recipe: one type for all messages, so that the terminal, JSON and
//! editors show the same thing.

use std::fmt;

use crate::codes::Code;
use crate::span::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The recipe runs; something in it is probably not meant.
    Warning,
    /// The recipe does not run.
    Error,
}

impl Severity {
    /// `error`, `warning`
    pub fn word(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A place and what to say under it (may be empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What to say there.
    pub text: String,
}

/// Replace the text of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What to replace; empty to insert.
    pub span: Span,
    /// The new text; empty to delete.
    pub replacement: String,
}

/// A change that makes the message go away, certain enough for a machine to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, in the imperative: "use `=`".
    pub title: String,
    /// All edits belong together; their spans do not overlap.
    pub edits: Vec<Edit>,
}

/// One message: a code, where, what is wrong and, where known, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which of the closed list.
    pub code: Code,
    /// The code's own severity unless changed.
    pub severity: Severity,
    /// One line: lower case, no full stop, names in back-ticks.
    pub message: String,
    /// Where it is wrong ([`Span::NONE`] if it has no place in a text).
    pub primary: Label,
    /// Other places that matter.
    pub secondary: Vec<Label>,
    /// Facts that explain the message.
    pub notes: Vec<String>,
    /// What to do.
    pub helps: Vec<String>,
    /// Edits that do it.
    pub fixes: Vec<Fix>,
}

impl Diagnostic {
    /// A message at a place, with the severity of its code.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: code.severity(),
            message: message.into(),
            primary: Label { span, text: String::new() },
            secondary: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            fixes: Vec::new(),
        }
    }

    /// A message that has no place in a text.
    pub fn global(code: Code, message: impl Into<String>) -> Self {
        Diagnostic::new(code, Span::NONE, message)
    }

    /// What to say under the primary place.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// Another place that matters.
    pub fn secondary(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// A fact that explains the message.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// What to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.helps.push(text.into());
        self
    }

    /// An edit of one place that removes the cause.
    pub fn fix(self, title: impl Into<String>, span: Span, replacement: impl Into<String>) -> Self {
        self.edits(title, vec![Edit { span, replacement: replacement.into() }])
    }

    /// Several edits that together remove the cause.
    pub fn edits(mut self, title: impl Into<String>, edits: Vec<Edit>) -> Self {
        self.fixes.push(Fix { title: title.into(), edits });
        self
    }

    /// Overrides the code's severity.
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Whether it stops the recipe from running.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// `error[F0203]: message`, one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)
    }
}

/// Whether any of them stops the recipe from running.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// Puts messages in reading order: by file and place, errors before warnings at the same place. Exact repeats are dropped.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.primary.span, std::cmp::Reverse(d.severity), d.code);
        key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
    });
    diagnostics.dedup();
}

/// Applies the first fix of each diagnostic to the text of one file. Fixes that overlap an applied one are left out.
/// Gives the new text and how many fixes were applied.
pub fn apply_fixes(text: &str, diagnostics: &[Diagnostic]) -> (String, usize) {
    let mut edits: Vec<&Edit> = Vec::new();
    let mut applied = 0;
    for fix in diagnostics.iter().filter_map(|diagnostic| diagnostic.fixes.first()) {
        let fits = |edit: &Edit| {
            text.get(edit.span.range()).is_some()
                && edits.iter().all(|old| {
                    edit.span.end < old.span.start
                        || old.span.end < edit.span.start
                        || (edit.span.end == old.span.start || old.span.end == edit.span.start)
                            && !(edit.span.is_empty() && old.span.is_empty())
                })
        };
        if fix.edits.iter().all(fits) {
            applied += 1;
            edits.extend(&fix.edits);
        }
    }
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for edit in edits {
        out.push_str(&text[done..edit.span.start as usize]);
        out.push_str(&edit.replacement);
        done = edit.span.end as usize;
    }
    out.push_str(&text[done..]);
    (out, applied)
}
