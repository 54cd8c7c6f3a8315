//! The formatter: one style without options, so that recipes of different people look alike and items start in column 0,
//! which the parser's recovery relies on.
//!
//! It prints the tokens rather than the tree, so comments, percent signs and units stay as written. Items with an error are
//! left as they are. The style: two blanks of indentation; line breaks where the author put them; a block on one line stays
//! there if it fits into 100 columns; a list whose `[` ends its line has one element per line; at most one empty line;
//! `=`, `from`, `using`, `of` and the `{` of rules stand under each other in neighbouring lines of one kind.

mod layout;
mod spacing;

use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::parse;
use crate::parse::scan::{self, Kind, Token};
use crate::parse::split::{self, Piece};

/// Longest line that a block may be kept on.
pub const WIDTH: usize = 100;

/// A recipe in the one style, and what is wrong with its syntax (the items concerned are left as they were).
pub fn format(text: &str) -> (String, Vec<Diagnostic>) {
    let (_, diagnostics) = parse::parse(text);
    if diagnostics.iter().any(|diagnostic| diagnostic.code == Code::TooLarge) {
        return (text.to_owned(), diagnostics);
    }
    let tokens = scan::scan(text);
    let pieces = split::split(text, &tokens);
    // Where errors are, ascending, without those that formatting removes.
    let errors: Vec<usize> = diagnostics
        .iter()
        .filter(|diagnostic| !matches!(diagnostic.code, Code::IndentedItem | Code::MissingHeader))
        .map(|diagnostic| diagnostic.primary.span.start as usize)
        .collect();
    let mut page = layout::Page::default();
    let mut next = 0;
    for piece in &pieces {
        gap(text, &tokens[next..piece.tokens.start], &mut page);
        next = piece.tokens.end;
        let own = &tokens[piece.tokens.clone()];
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let broken = errors.partition_point(|at| *at < first.start);
        if errors.get(broken).is_some_and(|at| *at <= last.end) {
            page.verbatim(verbatim(text, piece, first, last));
            continue;
        }
        layout::statement(text, own, 0, &mut page);
        if first.text(text) == "fusion" {
            page.blank();
        }
    }
    gap(text, &tokens[next..], &mut page);
    (page.print(), diagnostics)
}

/// An item as written, with the blanks before it.
fn verbatim(text: &str, piece: &Piece, first: &Token, last: &Token) -> String {
    let start = if piece.indented {
        text[..first.start].rfind('\n').map_or(0, |newline| newline + 1)
    } else {
        first.start
    };
    // A carriage return at its end would be part of the line break the next time.
    text[start..last.end].trim_start_matches('\u{feff}').trim_end_matches('\r').to_owned()
}

/// What stands between items: comments and empty lines.
fn gap(text: &str, tokens: &[Token], page: &mut layout::Page) {
    let mut newlines = 0;
    for token in tokens {
        match token.kind {
            Kind::Newline => newlines += 1,
            Kind::Comment => {
                if newlines > 1 {
                    page.blank();
                }
                page.comment(token.text(text), 0, newlines == 0);
                newlines = 0;
            }
            _ => {}
        }
    }
    if newlines > 1 {
        page.blank();
    }
}
