//! Bounds and defaults as they are written: literals are looked into, so that mistakes show when the method is compiled.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Lit, LitFloat, Path, Token};

use crate::kind::Core;

/// A literal with an optional minus, or the path of a constant.
pub(crate) struct Value {
    minus: Option<Token![-]>,
    term: Term,
}

enum Term {
    Literal(Lit),
    Path(Path),
}

impl Parse for Value {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let minus = input.parse()?;
        let term = if input.peek(Lit) {
            Term::Literal(input.parse()?)
        } else {
            Term::Path(input.call(Path::parse_mod_style)?)
        };
        Ok(Value { minus, term })
    }
}

impl Value {
    /// The number, if it is a literal one. Rounding is monotone, so a comparison that fails here fails exactly too.
    pub(crate) fn number(&self) -> Option<f64> {
        let size: f64 = match &self.term {
            Term::Literal(Lit::Int(int)) => int.base10_digits().parse().ok()?,
            Term::Literal(Lit::Float(float)) => float.base10_digits().parse().ok()?,
            _ => return None,
        };
        Some(if self.minus.is_some() { -size } else { size })
    }

    /// The expression for a field with this core: `1` is a float where one is meant, and a literal text an owned one.
    pub(crate) fn expression(&self, core: Core) -> TokenStream {
        let minus = &self.minus;
        match (&self.term, core) {
            (Term::Literal(Lit::Int(int)), Core::Float) if int.suffix().is_empty() => {
                let float = LitFloat::new(&format!("{}.0", int.base10_digits()), int.span());
                quote!(#minus #float)
            }
            (Term::Literal(literal @ Lit::Str(_)), Core::Text) => {
                quote!(::std::string::String::from(#literal))
            }
            _ => quote!(#self),
        }
    }
}

impl ToTokens for Value {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.minus.to_tokens(tokens);
        match &self.term {
            Term::Literal(literal) => literal.to_tokens(tokens),
            Term::Path(path) => path.to_tokens(tokens),
        }
    }
}
