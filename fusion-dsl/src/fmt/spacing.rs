//! One line of tokens: which of them have a blank between them.

use crate::parse::scan::{Kind, Token};

/// Words after which `[` and `(` open a value rather than index or call the word.
const BEFORE_VALUE: &[&str] = &[
    "in", "and", "or", "not", "if", "else", "of", "layers", "tensors", "for", "report", "expect", "between",
    "with", "from",
];

/// Prints tokens on one line. Line breaks and comments are skipped, and so are separators before a closing bracket.
/// `statement`: whether the first token starts an item or clause (and not a value).
pub(super) fn inline(text: &str, tokens: &[Token], statement: bool) -> String {
    let mut out = String::new();
    let mut previous: Option<Token> = None;
    // Whether `previous` is the first token of an item or clause.
    let mut first = false;
    let mut starts = statement;
    let mut unary = false;
    let real: Vec<Token> =
        tokens.iter().filter(|token| !matches!(token.kind, Kind::Newline | Kind::Comment)).copied().collect();
    for (index, token) in real.iter().enumerate() {
        let word = token.text(text);
        let next = real.get(index + 1).map(|next| next.text(text));
        let separator = token.kind == Kind::Symbol && matches!(word, ";" | ",");
        if separator
            && (previous.is_none_or(|old| matches!(old.text(text), "{" | ";"))
                || matches!(next, None | Some("}" | "]" | ")" | ";")))
        {
            continue;
        }
        let sign =
            word == "-" && token.kind == Kind::Symbol && previous.is_none_or(|old| before_sign(text, &old));
        if let Some(old) = previous
            && !unary
            && blank_between(text, &old, first, token)
        {
            out.push(' ');
        }
        out.push_str(word);
        first = starts;
        starts = token.kind == Kind::Symbol && matches!(word, "{" | ";");
        unary = sign;
        previous = Some(*token);
    }
    out
}

/// Whether a `-` after this token is a sign rather than a difference.
fn before_sign(text: &str, token: &Token) -> bool {
    match token.kind {
        Kind::Symbol => !matches!(token.text(text), ")" | "]" | "}" | "%"),
        Kind::Word => BEFORE_VALUE.contains(&token.text(text)),
        _ => false,
    }
}

fn blank_between(text: &str, left: &Token, left_is_first: bool, right: &Token) -> bool {
    let word =
        |token: &Token| if token.kind == Kind::Symbol { token.text(text).to_owned() } else { String::new() };
    let (a, b) = (word(left), word(right));
    match (a.as_str(), b.as_str()) {
        ("{", "}") => false,
        ("(" | "[" | "." | ".." | "..=", _)
        | (_, ")" | "]" | "," | ";" | ":" | "." | ".." | "..=" | "?" | "%") => false,
        (_, "[" | "(") => match left.kind {
            Kind::Word => left_is_first || BEFORE_VALUE.contains(&left.text(text)),
            Kind::Symbol => a != "]" && a != ")",
            _ => true,
        },
        _ => true,
    }
}
