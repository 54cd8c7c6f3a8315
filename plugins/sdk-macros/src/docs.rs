//! Doc comments as texts for people: the lines of a paragraph become one line, since descriptions stand in tables.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The doc comment, empty where there is none.
pub(crate) fn text(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(doc) = &attribute.meta else { continue };
        let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &doc.value else { continue };
        for line in line.value().split('\n').map(str::trim) {
            if line.is_empty() {
                // A blank line ends a paragraph.
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push_str("\n\n");
                }
                continue;
            }
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(line);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_paragraphs_kept() {
        let input: syn::DeriveInput = syn::parse_quote! {
            /// One sentence
            /// in two lines.
            ///
            /// Another.
            ///
            struct S;
        };
        assert_eq!(text(&input.attrs), "One sentence in two lines.\n\nAnother.");
        assert_eq!(text(&[]), "");
    }
}
