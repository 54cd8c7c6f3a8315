//! Lines of a formatted recipe: where they break, what lines up.

use super::WIDTH;
use super::spacing::inline;
use crate::parse::scan::{Kind, Token};

/// What lines up with the neighbouring lines, and at which byte of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Anchor {
    kind: String,
    at: usize,
}

#[derive(Clone, Debug, Default)]
struct Line {
    indent: usize,
    text: String,
    blank_before: bool,
    comment: Option<String>,
    anchor: Option<Anchor>,
    /// Comment lines and broken items: no code to add a comment to.
    closed: bool,
}

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Page {
    lines: Vec<Line>,
    blank: bool,
}

impl Page {
    fn push(&mut self, mut line: Line) {
        line.blank_before = std::mem::take(&mut self.blank) && !self.lines.is_empty();
        self.lines.push(line);
    }

    fn line(&mut self, indent: usize, text: String) {
        self.push(Line { indent, text, ..Line::default() });
    }

    /// An empty line before what comes next.
    pub(super) fn blank(&mut self) {
        self.blank = true;
    }

    /// A broken item.
    pub(super) fn verbatim(&mut self, text: String) {
        self.push(Line { text, ..Line::default() });
    }

    /// A comment: behind the last line's code, or on a line of its own.
    pub(super) fn comment(&mut self, text: &str, indent: usize, behind: bool) {
        let text = text.trim_end().to_owned();
        match self.lines.last_mut() {
            Some(last) if behind && !last.closed && last.comment.is_none() => last.comment = Some(text),
            _ => self.push(Line { indent, text, closed: true, ..Line::default() }),
        }
    }

    /// The text, with one line break at its end.
    pub(super) fn print(mut self) -> String {
        self.align();
        let mut out = String::new();
        for line in &self.lines {
            if line.blank_before {
                out.push('\n');
            }
            out.extend(std::iter::repeat_n(' ', line.indent));
            out.push_str(&line.text);
            if let Some(comment) = &line.comment {
                out.push_str("  ");
                out.push_str(comment);
            }
            out.push('\n');
        }
        out
    }

    fn align(&mut self) {
        let mut start = 0;
        while start < self.lines.len() {
            let mut end = start + 1;
            let same = |a: &Line, b: &Line| match (&a.anchor, &b.anchor) {
                (Some(x), Some(y)) => x.kind == y.kind && a.indent == b.indent && !b.blank_before,
                _ => false,
            };
            while end < self.lines.len() && same(&self.lines[start], &self.lines[end]) {
                end += 1;
            }
            let run = &mut self.lines[start..end];
            let column =
                |line: &Line| line.anchor.as_ref().map_or(0, |anchor| line.text[..anchor.at].chars().count());
            let widest = run.iter().map(column).max().unwrap_or(0);
            for line in run {
                let missing = widest - column(line);
                if let Some(anchor) = &line.anchor {
                    line.text.insert_str(anchor.at, &" ".repeat(missing));
                }
            }
            start = end;
        }
    }
}

/// Prints an item or clause: `tokens` without separators or comments before and behind it.
pub(super) fn statement(text: &str, tokens: &[Token], indent: usize, page: &mut Page) {
    let Some(open) = block_start(text, tokens) else {
        let line = head(text, tokens, indent, true, page);
        // A list with an element per line has no line of its own to align.
        let single = !(0..tokens.len()).any(|index| is_broken(text, tokens, index));
        let anchor = anchor(text, tokens, &line).filter(|_| single);
        page.push(Line { indent, text: line, anchor, ..Line::default() });
        return;
    };
    // A statement ends with its block; should anything follow, it is kept on the closing line.
    let close = matching(text, tokens, open);
    let body = &tokens[open + 1..close.min(tokens.len())];
    let tail = tokens.get(close + 1..).unwrap_or(&[]);
    let broken = tokens.iter().any(|token| matches!(token.kind, Kind::Newline | Kind::Comment));
    if !broken {
        let line = inline(text, tokens, true);
        if indent + line.chars().count() <= WIDTH || body.is_empty() {
            let anchor = anchor(text, tokens, &line);
            page.push(Line { indent, text: line, anchor, ..Line::default() });
            return;
        }
    }
    let mut line = head(text, &tokens[..open], indent, true, page);
    if body.iter().all(|token| token.kind == Kind::Newline) {
        line.push_str(" {}");
    } else {
        line.push_str(" {");
        page.line(indent, line);
        statements(text, body, indent + 2, page);
        page.blank = false;
        line = "}".to_owned();
    }
    if !tail.is_empty() {
        line.push(' ');
        line.push_str(&inline(text, tail, false));
    }
    page.line(indent, line);
}

/// The content of a block on several lines.
fn statements(text: &str, tokens: &[Token], indent: usize, page: &mut Page) {
    let mut depth = 0usize;
    let mut start: Option<usize> = None;
    let mut newlines = 0;
    // The brace itself is on a line that may take a comment.
    let mut any = false;
    for (index, token) in tokens.iter().enumerate() {
        let word = if token.kind == Kind::Symbol { token.text(text) } else { "" };
        match word {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ends = depth == 0 && (matches!(token.kind, Kind::Newline | Kind::Comment) || word == ";");
        if !ends {
            if start.is_none() {
                if newlines > 1 && any {
                    page.blank();
                }
                any = true;
                newlines = 0;
                start = Some(index);
            }
            continue;
        }
        if let Some(start) = start.take() {
            statement(text, &tokens[start..index], indent, page);
        }
        match token.kind {
            Kind::Newline => newlines += 1,
            Kind::Comment => {
                if newlines > 1 && any {
                    page.blank();
                }
                page.comment(token.text(text), indent, newlines == 0);
                any = true;
                newlines = 0;
            }
            _ => {}
        }
    }
    if let Some(start) = start {
        statement(text, &tokens[start..], indent, page);
    }
}

/// Prints tokens without a block: all lines but the last go to the page, the last is given back.
fn head(text: &str, tokens: &[Token], indent: usize, statement: bool, page: &mut Page) -> String {
    let Some(open) = (0..tokens.len()).find(|index| is_broken(text, tokens, *index)) else {
        return inline(text, tokens, statement);
    };
    let close = matching(text, tokens, open);
    page.line(indent, inline(text, &tokens[..=open], statement));
    elements(text, &tokens[open + 1..close], indent + 2, trailing_comma(text, tokens, open, close), page);
    head(text, &tokens[close..], indent, false, page)
}

/// Whether a bracket has one element per line: its `[` ends the line, or there is a comment in it. Parentheses that only
/// group, indices and comprehensions are joined to one line unless there is a comment.
fn is_broken(text: &str, tokens: &[Token], open: usize) -> bool {
    if tokens[open].kind != Kind::Symbol || !matches!(tokens[open].text(text), "[" | "(") {
        return false;
    }
    let close = matching(text, tokens, open);
    let inner = &tokens[open + 1..close.min(tokens.len())];
    let real = inner.iter().any(|token| !matches!(token.kind, Kind::Newline | Kind::Comment));
    let comment = inner.iter().any(|token| token.kind == Kind::Comment);
    comment
        || real
            && inner.first().is_some_and(|token| token.kind == Kind::Newline)
            && trailing_comma(text, tokens, open, close)
}

/// Whether the bracket is a list or a call, which may end with a comma.
fn trailing_comma(text: &str, tokens: &[Token], open: usize, close: usize) -> bool {
    let before =
        tokens[..open].iter().rev().find(|token| !matches!(token.kind, Kind::Newline | Kind::Comment));
    let word = before.filter(|token| token.kind == Kind::Word);
    let attached = word.is_some_and(|token| {
        let first = tokens.first().is_some_and(|first| first.start == token.start);
        !first
            && !crate::keywords::is_reserved(token.text(text))
            && !matches!(token.text(text), "of" | "layers" | "report" | "between")
    });
    let mut depth = 0usize;
    let comprehension = tokens[open + 1..close.min(tokens.len())].iter().any(|token| {
        match token.text(text) {
            "[" | "(" if token.kind == Kind::Symbol => depth += 1,
            "]" | ")" if token.kind == Kind::Symbol => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.kind == Kind::Word && token.text(text) == "for"
    });
    let list = tokens[open].text(text) == "[";
    list != attached && !comprehension
}

/// One element per line.
fn elements(text: &str, tokens: &[Token], indent: usize, trailing: bool, page: &mut Page) {
    let mut depth = 0usize;
    let mut start: Option<usize> = None;
    let mut newlines = 0;
    // Comments inside of an element go behind it.
    let mut inside: Vec<&Token> = Vec::new();
    let flush = |range: &[Token], comma: bool, inside: &mut Vec<&Token>, page: &mut Page| {
        let mut line = head(text, range, indent, false, page);
        if comma {
            line.push(',');
        }
        page.line(indent, line);
        for comment in inside.drain(..) {
            page.comment(comment.text(text), indent, true);
        }
    };
    for (index, token) in tokens.iter().enumerate() {
        let word = if token.kind == Kind::Symbol { token.text(text) } else { "" };
        match word {
            "[" | "(" => depth += 1,
            "]" | ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (token.kind, start) {
            (Kind::Newline, None) => newlines += 1,
            (Kind::Newline, Some(_)) => {}
            (Kind::Comment, None) => {
                page.comment(token.text(text), indent, newlines == 0);
                newlines = 0;
            }
            (Kind::Comment, Some(_)) if depth == 0 => inside.push(token),
            (Kind::Comment, Some(_)) => {}
            (_, Some(begin)) if word == "," && depth == 0 => {
                flush(&tokens[begin..index], true, &mut inside, page);
                start = None;
                newlines = 0;
            }
            (_, None) => {
                start = Some(index);
                newlines = 0;
            }
            _ => {}
        }
    }
    if let Some(begin) = start {
        flush(&tokens[begin..], trailing, &mut inside, page);
    }
}

/// The `{` of a statement.
fn block_start(text: &str, tokens: &[Token]) -> Option<usize> {
    tokens.iter().position(|token| token.is(text, "{"))
}

/// The bracket that closes the one at `open`; the number of tokens if there is none.
fn matching(text: &str, tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Symbol {
            continue;
        }
        match token.text(text) {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => {
                depth -= 1;
                if depth == 0 {
                    return index;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Where a one-line statement lines up with its neighbours.
fn anchor(text: &str, tokens: &[Token], line: &str) -> Option<Anchor> {
    let first = tokens.first()?.text(text);
    let field = tokens.get(1).is_some_and(|token| token.is(text, "="));
    let marks: &[&str] = match first {
        _ if field => &["="],
        "param" | "let" => &["="],
        "model" | "data" => &["from", "of"],
        "take" => &["of"],
        "on" | "collect" => &["{"],
        word if crate::descriptor::Verb::parse(word).is_some() => &["using"],
        _ => return None,
    };
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(1) {
        let word = token.text(text);
        if depth == 0 && marks.contains(&word) && matches!(token.kind, Kind::Word | Kind::Symbol) {
            // `model from from "x"`: the name is no mark.
            if index == 1 && token.kind == Kind::Word {
                continue;
            }
            let before = inline(text, &tokens[..index], true);
            let kind = if field { "=" } else { first };
            let at = before.len() + 1;
            return line.is_char_boundary(at).then(|| Anchor { kind: kind.to_owned(), at });
        }
        match word {
            "{" | "[" | "(" if token.kind == Kind::Symbol => depth += 1,
            "}" | "]" | ")" if token.kind == Kind::Symbol => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}
