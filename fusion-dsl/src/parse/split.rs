//! Cuts a file into items before anything is parsed, so that a broken item hides no other.
//!
//! Outside of brackets every line is an item, and `;` ends one too. Inside brackets a line that starts in column 0 with the
//! word of an item also starts a new one: the bracket above was left open.

use std::ops::Range;

use super::scan::{Kind, Token};
use crate::keywords;

/// The tokens of one item.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Indices into the file's tokens: from the first token that is no trivia to the last.
    pub(crate) tokens: Range<usize>,
    /// Whether it is the first thing on its line but not in column 0.
    pub(crate) indented: bool,
}

/// The items of a file. Comments and line breaks between items belong to none.
pub(crate) fn split(source: &str, tokens: &[Token]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut current: Option<Piece> = None;
    let mut open = 0usize;
    let mut line_start = true;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Newline => {
                if open == 0 {
                    pieces.extend(current.take());
                }
                line_start = true;
                continue;
            }
            Kind::Comment => continue,
            _ => {}
        }
        let column_zero = token.start == 0
            || matches!(source.as_bytes()[token.start - 1], b'\n')
            || token.start == 3 && source.starts_with('\u{feff}');
        if line_start && open > 0 && column_zero && starts_item(source, tokens, index) {
            pieces.extend(current.take());
            open = 0;
        }
        if open == 0 && token.is(source, ";") {
            pieces.extend(current.take());
            line_start = false;
            continue;
        }
        let piece =
            current.get_or_insert(Piece { tokens: index..index, indented: line_start && !column_zero });
        piece.tokens.end = index + 1;
        line_start = false;
        match token.text(source) {
            "{" | "[" | "(" if token.kind == Kind::Symbol => open += 1,
            "}" | "]" | ")" if token.kind == Kind::Symbol => open = open.saturating_sub(1),
            _ => {}
        }
    }
    pieces.extend(current);
    pieces
}

/// Whether the token is the word of an item and not a parameter of that name (`data = …`).
fn starts_item(source: &str, tokens: &[Token], index: usize) -> bool {
    let word = tokens[index].text(source);
    (keywords::is_item(word) || word == "fusion")
        && !tokens.get(index + 1).is_some_and(|next| next.is(source, "=") || next.is(source, ","))
}
