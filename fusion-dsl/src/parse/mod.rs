//! Text to syntax tree: cut into items, check the brackets, let pest parse each item, lower the pairs. It never fails: it
//! gives the items that could be read and everything that is wrong with the others.

mod errors;
mod expr;
mod lexical;
mod lower;
pub(crate) mod scan;
pub(crate) mod split;

use std::num::NonZeroUsize;
use std::sync::Once;

use pest::Parser as _;

use crate::ast::{Broken, Expr, File, Item, Name};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::keywords;
use crate::span::{FileId, Span};
use crate::suggest;
pub(crate) use expr::RANGE_LEVEL;
pub(crate) use lower::quote;
use scan::{Kind, Token};
use split::Piece;

/// The generated parser; private, so that the grammar's rules are nobody's interface.
mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "grammar.pest"]
    pub(super) struct Grammar;
}
use grammar::{Grammar, Rule};

/// The edition that this version reads.
pub const EDITION: u32 = 1;

/// Deepest nesting of brackets, and of operators within one value.
pub const MAX_DEPTH: usize = 64;

/// Longest recipe in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// After so many syntax errors the rest of a file is not looked at: it is no recipe.
const MAX_ERRORS: usize = 1000;

/// pest's guard against a grammar that takes too long; about twenty times what the longest recipe needs in one item.
/// It is one switch for the whole process, so it is set once.
fn limit_calls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| pest::set_call_limit(NonZeroUsize::new(2_000_000_000)));
}

/// The syntax tree of a recipe and everything wrong with its syntax, as file [`FileId::MAIN`].
pub fn parse(text: &str) -> (File, Vec<Diagnostic>) {
    parse_file(FileId::MAIN, text)
}

/// The syntax tree of a file and everything wrong with its syntax. Items that have an error that loses part of their
/// meaning are in [`File::broken`] rather than in [`File::items`]; a slip whose meaning is clear (`:` for `=`) is an error,
/// but the item is kept.
pub fn parse_file(file: FileId, text: &str) -> (File, Vec<Diagnostic>) {
    let mut tree = File { edition: EDITION, items: Vec::new(), broken: Vec::new(), header: Span::NONE };
    if text.len() > MAX_BYTES {
        let message = format!("the file is {} bytes long; a recipe has at most {MAX_BYTES}", text.len());
        return (tree, vec![Diagnostic::new(Code::TooLarge, Span::new(file, 0, 0), message)]);
    }
    limit_calls();
    let tokens = scan::scan(text);
    let pieces = split::split(text, &tokens);
    let mut parser = FileParser { file, text, tokens: &tokens, diagnostics: Vec::new() };
    let mut pending_header = true;
    for (number, piece) in pieces.iter().enumerate() {
        if parser.diagnostics.len() > MAX_ERRORS {
            let message = format!("more than {MAX_ERRORS} errors; the rest of the file was not looked at");
            parser.diagnostics.push(Diagnostic::new(Code::TooLarge, parser.span(piece).before(), message));
            break;
        }
        if parser.header_word(piece, number) {
            parser.header(piece, number, &mut pending_header, &mut tree);
            continue;
        }
        match parser.item(piece) {
            Some(item) => tree.items.push(item),
            None => tree.broken.extend(parser.broken(piece)),
        }
    }
    if pending_header {
        let place = Span::new(file, 0, 0);
        parser.diagnostics.push(
            Diagnostic::new(Code::MissingHeader, place, "the recipe does not start with `fusion 1`")
                .label("the edition of the language belongs here")
                .fix("state the edition", place, "fusion 1\n\n"),
        );
    }
    let mut diagnostics = parser.diagnostics;
    crate::diag::sort(&mut diagnostics);
    (tree, diagnostics)
}

/// Parses one value, such as the right side of `--set keep=40%`.
pub fn parse_expr(file: FileId, text: &str) -> Result<Expr, Vec<Diagnostic>> {
    limit_calls();
    let tokens = scan::scan(text);
    let mut diagnostics = lexical::check(file, text, &tokens, "");
    if text.len() > MAX_BYTES {
        diagnostics.push(Diagnostic::new(Code::TooLarge, Span::new(file, 0, 0), "the value is too long"));
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let blanked = blank(text, &tokens, 0, text.len());
    // A value on several lines is only found in brackets; `blank` has joined those.
    let mut lower = lower::Lower::new(file, 0, &blanked);
    let expr = match Grammar::parse(Rule::one_expr, &blanked) {
        Ok(pairs) => {
            pairs.flatten().find(|pair| pair.as_rule() == Rule::expr).map(|pair| lower.expr(pair, 0))
        }
        Err(error) => {
            lower.syntax_error(&error, 0, blanked.len(), Rule::one_expr);
            None
        }
    };
    match expr {
        Some(expr) if lower.diagnostics.is_empty() => Ok(expr),
        _ => Err(lower.diagnostics),
    }
}

/// The text of an item with comments, and line breaks inside `[ ]` and `( )`, replaced by blanks: offsets stay.
fn blank(source: &str, tokens: &[Token], start: usize, end: usize) -> String {
    let mut out = String::with_capacity(end - start);
    let mut done = start;
    let mut stack: Vec<&str> = Vec::new();
    for token in tokens {
        match token.kind {
            Kind::Symbol => match token.text(source) {
                open @ ("{" | "[" | "(") => stack.push(open),
                "}" | "]" | ")" => {
                    stack.pop();
                }
                _ => {}
            },
            Kind::Newline if matches!(stack.last(), Some(&("[" | "("))) => {}
            Kind::Comment => {}
            _ => continue,
        }
        if matches!(token.kind, Kind::Newline | Kind::Comment) {
            out.push_str(&source[done..token.start]);
            out.extend(std::iter::repeat_n(' ', token.end - token.start));
            done = token.end;
        }
    }
    out.push_str(&source[done..end]);
    out
}

struct FileParser<'a> {
    file: FileId,
    text: &'a str,
    tokens: &'a [Token],
    diagnostics: Vec<Diagnostic>,
}

impl FileParser<'_> {
    fn at(&self, token: &Token) -> Span {
        Span::new(self.file, token.start as u32, token.end as u32)
    }

    fn of(&self, piece: &Piece) -> &[Token] {
        &self.tokens[piece.tokens.clone()]
    }

    fn span(&self, piece: &Piece) -> Span {
        match self.of(piece) {
            [first, .., last] => self.at(first).to(self.at(last)),
            [one] => self.at(one),
            [] => Span::NONE,
        }
    }

    /// Whether the piece is the header, or was meant to be.
    fn header_word(&self, piece: &Piece, number: usize) -> bool {
        match self.of(piece) {
            [first, rest @ ..] if first.kind == Kind::Word => {
                let word = first.text(self.text);
                let alone = rest.first().is_none_or(|next| next.kind == Kind::Number) && rest.len() <= 1;
                word == "fusion"
                    || number == 0
                        && alone
                        && !keywords::is_item(word)
                        && suggest::closest(word, ["fusion"]).is_some()
            }
            _ => false,
        }
    }

    fn header(&mut self, piece: &Piece, number: usize, pending: &mut bool, tree: &mut File) {
        let span = self.span(piece);
        if number > 0 {
            let message =
                if *pending { "`fusion 1` belongs on the first line" } else { "the edition is stated twice" };
            let mut diagnostic = Diagnostic::new(Code::MisplacedHeader, span, message);
            if *pending {
                let edits = vec![
                    crate::diag::Edit {
                        span: Span::new(self.file, 0, 0),
                        replacement: "fusion 1\n\n".into(),
                    },
                    crate::diag::Edit { span, replacement: String::new() },
                ];
                diagnostic = diagnostic.edits("move it to the start", edits);
            } else {
                diagnostic = diagnostic.secondary(tree.header, "stated first here").fix(
                    "remove it",
                    span,
                    String::new(),
                );
            }
            self.diagnostics.push(diagnostic);
            *pending = false;
            return;
        }
        *pending = false;
        tree.header = span;
        let tokens = self.of(piece).to_vec();
        let word = tokens[0].text(self.text);
        let mut found = Vec::new();
        if piece.indented {
            found.push(indented(self.file, self.text, &tokens[0]));
        }
        if word != "fusion" {
            found.push(
                Diagnostic::new(
                    Code::UnknownKeyword,
                    self.at(&tokens[0]),
                    format!("the first line is `fusion 1`, not `{word}`"),
                )
                .fix("write `fusion`", self.at(&tokens[0]), "fusion"),
            );
        }
        let significant: Vec<&Token> = tokens.iter().filter(|token| token.kind != Kind::Comment).collect();
        match significant.as_slice() {
            [_] => found.push(
                Diagnostic::new(
                    Code::MissingHeader,
                    span.after(),
                    "`fusion` without the number of an edition",
                )
                .fix("state the edition", span.after(), " 1"),
            ),
            [_, edition] if edition.kind == Kind::Number => {
                let text = edition.text(self.text);
                if text != "1" {
                    found.push(
                        Diagnostic::new(
                            Code::UnsupportedEdition,
                            self.at(edition),
                            format!("edition `{text}` of the language is not known"),
                        )
                        .label(format!("this version reads edition {EDITION}"))
                        .help("a newer version of fusion may read it"),
                    );
                }
            }
            [_, second, ..] => found.push(
                Diagnostic::new(
                    Code::UnexpectedText,
                    self.at(second).to(span.after()),
                    "the first line is `fusion 1` and nothing else",
                )
                .label("not part of the header"),
            ),
            [] => {}
        }
        self.diagnostics.extend(found);
    }

    /// Parses one item; `None` if part of its meaning is lost (which has been reported).
    fn item(&mut self, piece: &Piece) -> Option<Item> {
        let tokens = &self.tokens[piece.tokens.clone()];
        let first = *tokens.first()?;
        let word = if first.kind == Kind::Word { first.text(self.text) } else { "" };
        let lexical = lexical::check(self.file, self.text, tokens, word);
        if !lexical.is_empty() {
            self.diagnostics.extend(lexical);
            return None;
        }
        if !keywords::is_item(word) {
            self.diagnostics.push(errors::no_item(self.file, self.text, tokens));
            return None;
        }
        if piece.indented {
            self.diagnostics.push(indented(self.file, self.text, &first));
        }
        let end = tokens.last()?.end;
        let blanked = blank(self.text, tokens, first.start, end);
        let mut lower = lower::Lower::new(self.file, first.start as u32, &blanked);
        let item = match Grammar::parse(Rule::one, &blanked) {
            Ok(mut pairs) => {
                pairs.next().and_then(|one| one.into_inner().next()).and_then(|pair| lower.item(pair, true))
            }
            Err(error) => {
                lower.syntax_error(&error, 0, blanked.len(), Rule::one);
                None
            }
        };
        let lost = lower.lost;
        self.diagnostics.append(&mut lower.diagnostics);
        item.filter(|_| !lost)
    }

    /// What an unreadable item seems to bind: every word that follows the word of an item.
    fn broken(&self, piece: &Piece) -> Vec<Broken> {
        let tokens = self.of(piece);
        let span = self.span(piece);
        let mut names: Vec<Broken> = Vec::new();
        for pair in tokens.windows(2) {
            let [word, name] = pair else { continue };
            let binds = word.kind == Kind::Word
                && (keywords::is_item(word.text(self.text)) || word.text(self.text) == "as")
                && name.kind == Kind::Word;
            if binds && !name.text(self.text).contains('.') {
                names.push(Broken { name: Some(Name::new(name.text(self.text), self.at(name))), span });
            }
        }
        // A misspelt item word binds a name as well.
        if let ([first, second, ..], true) = (tokens, names.is_empty())
            && first.kind == Kind::Word
            && second.kind == Kind::Word
        {
            names.push(Broken { name: Some(Name::new(second.text(self.text), self.at(second))), span });
        }
        if names.is_empty() {
            names.push(Broken { name: None, span });
        }
        names
    }
}

fn indented(file: FileId, text: &str, first: &Token) -> Diagnostic {
    let line = text[..first.start].rfind('\n').map_or(0, |newline| newline + 1);
    let blanks = Span::new(file, line as u32, first.start as u32);
    let word = first.text(text);
    Diagnostic::new(
        Code::IndentedItem,
        Span::new(file, first.start as u32, first.end as u32),
        format!("`{word}` starts an item, but not at the beginning of its line"),
    )
    .label("items start in column 1")
    .note("lines inside a block are indented, items are not; so one broken item hides no other")
    .fix("remove the blanks before it", blanks, "")
}
