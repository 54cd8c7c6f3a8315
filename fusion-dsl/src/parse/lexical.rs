//! Slips that make an item unreadable as a whole: brackets that do not balance, texts that do not end, stray characters.
//! They are found by counting tokens, which says more than a grammar can ("`{` opened on line 11 is never closed").

use super::MAX_DEPTH;
use super::scan::{Kind, Token};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::span::{FileId, Span};

/// More messages on one item help nobody.
const MOST: usize = 16;

struct Open {
    token: Token,
    symbol: &'static str,
    /// Blanks before the line that it is on.
    indent: usize,
}

/// Everything wrong with the tokens of one item. If there is anything, the item is not parsed.
pub(super) fn check(file: FileId, source: &str, tokens: &[Token], top: &str) -> Vec<Diagnostic> {
    let at = |token: &Token| Span::new(file, token.start as u32, token.end as u32);
    let mut found: Vec<Diagnostic> = tokens.iter().filter_map(|t| odd_token(source, t, at(t))).collect();
    let open_text = tokens.iter().any(|token| token.kind == Kind::OpenText);
    // An open text has swallowed the brackets behind it, so counting them would only repeat the message.
    if !open_text {
        brackets(file, source, tokens, top, &mut found);
    }
    found.truncate(MOST);
    found
}

fn odd_token(source: &str, token: &Token, span: Span) -> Option<Diagnostic> {
    let text = token.text(source);
    Some(match token.kind {
        Kind::OpenText => Diagnostic::new(Code::UnclosedString, span, "the text is never closed")
            .label("opened here, and the line ends without `\"`")
            .help("a text stands on one line; write `\\n` for a line break in it"),
        Kind::WrongQuotes => {
            let inner: String = {
                let mut inner = text.chars();
                inner.next();
                inner.next_back();
                inner.as_str().replace('\\', "\\\\").replace('"', "\\\"")
            };
            Diagnostic::new(Code::SingleQuotes, span, "texts stand in double quotes")
                .label("not the quotes of this language")
                .fix("use double quotes", span, format!("\"{inner}\""))
        }
        Kind::Stray => Diagnostic::new(
            Code::UnexpectedText,
            span,
            format!("the character `{}` means nothing here", text.escape_debug()),
        )
        .label("not part of the language"),
        Kind::Symbol => match text {
            "&&" | "||" | "!" => {
                let word = match text {
                    "&&" => "and",
                    "||" => "or",
                    _ => "not",
                };
                Diagnostic::new(Code::UnexpectedText, span, format!("`{text}` is written `{word}`"))
                    .label(format!("use `{word}`"))
                    .fix(format!("use `{word}`"), span, if text == "!" { "not " } else { word })
            }
            "//" => Diagnostic::new(Code::UnexpectedText, span, "comments start with `#`")
                .label("use `#`")
                .fix("use `#`", span, "#"),
            _ => return None,
        },
        _ => return None,
    })
}

fn partner(symbol: &str) -> Option<(&'static str, &'static str)> {
    [("{", "}"), ("[", "]"), ("(", ")")].into_iter().find(|(open, close)| symbol == *open || symbol == *close)
}

/// Whether every bracket has its partner, whatever the indentation.
fn balanced(source: &str, tokens: &[Token]) -> bool {
    let mut stack = Vec::new();
    let mut symbols =
        tokens.iter().filter(|token| token.kind == Kind::Symbol).map(|token| token.text(source));
    let matched = symbols.all(|symbol| match partner(symbol) {
        Some((open, _)) if symbol == open => {
            stack.push(open);
            true
        }
        Some((open, _)) => stack.pop() == Some(open),
        None => true,
    });
    matched && stack.is_empty()
}

fn brackets(file: FileId, source: &str, tokens: &[Token], top: &str, found: &mut Vec<Diagnostic>) {
    let at = |token: &Token| Span::new(file, token.start as u32, token.end as u32);
    let balanced = balanced(source, tokens);
    let mut stack: Vec<Open> = Vec::new();
    let mut too_deep = false;
    let mut indent = 0;
    let mut line_start = true;
    let mut last = Span::NONE;
    for token in tokens {
        if token.kind == Kind::Newline {
            line_start = true;
            continue;
        }
        let first = std::mem::replace(&mut line_start, false);
        if first {
            let line = source[..token.start].rfind('\n').map_or(0, |newline| newline + 1);
            indent = token.start - line;
        }
        last = at(token);
        if token.kind != Kind::Symbol {
            continue;
        }
        let Some((open, close)) = partner(token.text(source)) else { continue };
        if token.text(source) == open {
            stack.push(Open { token: *token, symbol: open, indent });
            if stack.len() > MAX_DEPTH && !too_deep {
                too_deep = true;
                found.push(
                    Diagnostic::new(
                        Code::NestingTooDeep,
                        at(token),
                        format!("brackets are nested more than {MAX_DEPTH} deep"),
                    )
                    .label("too deep here")
                    .help("give parts a name with `let`"),
                );
            }
            continue;
        }
        // Something is missing. A closer at the start of a line belongs to the opener whose line is indented like its
        // own: what is open further inside was forgotten.
        while !balanced && first && stack.len() > 1 && stack.last().is_some_and(|inner| inner.indent > indent)
        {
            found.extend(stack.pop().map(|inner| unclosed(&inner, at(&inner.token), at(token), top)));
        }
        match stack.pop() {
            Some(inner) if inner.symbol == open => {}
            Some(inner) => {
                let right = partner(inner.symbol).map_or("", |pair| pair.1);
                found.push(
                    Diagnostic::new(
                        Code::StrayBracket,
                        at(token),
                        format!("`{close}` does not close `{}`", inner.symbol),
                    )
                    .label(format!("expected `{right}`"))
                    .secondary(at(&inner.token), "opened here"),
                );
            }
            None => found.push(
                Diagnostic::new(Code::StrayBracket, at(token), format!("`{close}` closes nothing"))
                    .label(format!("no `{open}` is open here")),
            ),
        }
    }
    for inner in stack.iter().rev() {
        found.push(unclosed(inner, at(&inner.token), last.after(), top));
    }
}

fn unclosed(inner: &Open, place: Span, end: Span, top: &str) -> Diagnostic {
    let close = partner(inner.symbol).map_or("", |pair| pair.1);
    let message = format!("`{}` is never closed", inner.symbol);
    let diagnostic = Diagnostic::new(Code::UnclosedBracket, place, message)
        .label("opened here")
        .secondary(end, format!("`{close}` is missing here at the latest"));
    match (inner.symbol, top) {
        ("{", "for") => {
            diagnostic.note("lines inside `{ }` are indented: an item in column 0 ends the `for` above")
        }
        ("{", _) => {
            diagnostic.note("lines inside `{ }` are indented: an item in column 0 ends the block above")
        }
        _ => diagnostic,
    }
}
