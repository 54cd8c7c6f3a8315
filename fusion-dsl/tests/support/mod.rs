//! What the tests of the language share: the recipes of the reference, tokens to drop, and checks of trees and messages.
#![allow(dead_code, unreachable_pub, missing_docs)]

use fusion_dsl::{Diagnostic, ast, parse};

/// The seven recipes of `reference/plugins-and-language.md`, and one with the forms that networks and paths brought.
pub const RECIPES: &[(&str, &str)] = &[
    ("a1_ties", include_str!("../recipes/a1_ties.fusion")),
    ("a2_slices", include_str!("../recipes/a2_slices.fusion")),
    ("a3_rebasin", include_str!("../recipes/a3_rebasin.fusion")),
    ("a4_swa_fge", include_str!("../recipes/a4_swa_fge.fusion")),
    ("a5_soup", include_str!("../recipes/a5_soup.fusion")),
    ("a6_distill", include_str!("../recipes/a6_distill.fusion")),
    ("a7_plugin", include_str!("../recipes/a7_plugin.fusion")),
    ("x1_connect", include_str!("../recipes/x1_connect.fusion")),
];

/// A token of a well-formed recipe, found without the crate's own scanner.
pub struct Token<'a> {
    pub start: usize,
    pub end: usize,
    pub text: &'a str,
}

pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b' ' | b'\n' => {
                at += 1;
                continue;
            }
            b'#' => {
                while at < bytes.len() && bytes[at] != b'\n' {
                    at += 1;
                }
                continue;
            }
            b'"' => {
                at += 1;
                while bytes[at] != b'"' {
                    at += 1;
                }
                at += 1;
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                    at += 1;
                }
            }
            _ => at += 1,
        }
        tokens.push(Token { start, end: at, text: &text[start..at] });
    }
    tokens
}

/// The tree without its spans.
pub fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("a tree is plain data")
}

/// Tree to JSON to text to tree gives the same tree.
pub fn assert_round_trip(file: &ast::File, context: &str) {
    let tree = json(file);
    let text = fusion_dsl::print::text_from_json(&tree.to_string())
        .unwrap_or_else(|error| panic!("{context}: {error}\n{tree}"));
    let (again, diagnostics) = parse(&text);
    assert!(diagnostics.is_empty(), "{context}: {diagnostics:#?}\n{text}");
    assert_eq!(json(&again), tree, "{context}:\n{text}");
}

/// Spans fall on characters of the text, and so do the edits of fixes.
pub fn assert_well_formed(diagnostic: &Diagnostic, text: &str) {
    let labels = std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary).map(|label| label.span);
    let edits = diagnostic.fixes.iter().flat_map(|fix| &fix.edits).map(|edit| edit.span);
    for span in labels.chain(edits) {
        assert!(span.is_none() || text.get(span.range()).is_some(), "{diagnostic:#?}");
    }
    assert!(!diagnostic.message.is_empty() && !diagnostic.message.ends_with('.'), "{diagnostic:#?}");
}
