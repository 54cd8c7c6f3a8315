//! `#[derive(Words)]`: an enum as a closed list of words.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result};

use crate::docs;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let variants = variants(input)?;
    let ident = &input.ident;
    let name = ident.unraw().to_string();
    let doc = docs::text(&input.attrs);
    let words: Vec<String> =
        variants.iter().map(|(variant, _)| snake_case(&variant.unraw().to_string())).collect();
    let (idents, docs): (Vec<&Ident>, Vec<String>) = variants.into_iter().unzip();
    let indices = 0_u32..;
    let writers = idents.iter().zip(&words).zip(indices).map(|((variant, word), index)| {
        quote!(Self::#variant => serializer.serialize_unit_variant(#name, #index, #word))
    });
    Ok(quote! {
        const _: () = {
            use ::fusion_sdk::__private as __sdk;

            #[automatically_derived]
            impl __sdk::serde::Serialize for #ident {
                fn serialize<S: __sdk::serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> ::core::result::Result<S::Ok, S::Error> {
                    match self {
                        #(#writers),*
                    }
                }
            }

            #[automatically_derived]
            impl<'de> __sdk::serde::Deserialize<'de> for #ident {
                fn deserialize<D: __sdk::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<Self, D::Error> {
                    let word = <::std::string::String as __sdk::serde::Deserialize>::deserialize(deserializer)?;
                    match word.as_str() {
                        #(#words => ::core::result::Result::Ok(Self::#idents),)*
                        _ => ::core::result::Result::Err(__sdk::unknown_word(&word, &[#(#words),*])),
                    }
                }
            }

            #[automatically_derived]
            impl __sdk::schemars::JsonSchema for #ident {
                fn schema_name() -> ::std::borrow::Cow<'static, str> {
                    ::std::borrow::Cow::Borrowed(#name)
                }

                fn schema_id() -> ::std::borrow::Cow<'static, str> {
                    ::std::borrow::Cow::Borrowed(::core::concat!(::core::module_path!(), "::", #name))
                }

                fn json_schema(_: &mut __sdk::schemars::SchemaGenerator) -> __sdk::schemars::Schema {
                    __sdk::words(&[#((#words, #docs)),*], #doc)
                }
            }
        };
    })
}

/// The variants with their docs.
fn variants(input: &DeriveInput) -> Result<Vec<(&Ident, String)>> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(input.ident.span(), "`Words` takes an enum"));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "words have no generics"));
    }
    if data.variants.is_empty() {
        return Err(Error::new(input.ident.span(), "`Words` needs at least one variant"));
    }
    let mut errors: Option<Error> = None;
    for variant in data.variants.iter().filter(|variant| !matches!(variant.fields, Fields::Unit)) {
        let error = Error::new_spanned(
            &variant.fields,
            format!("a word carries no value: make `{}` a unit variant", variant.ident),
        );
        match &mut errors {
            Some(errors) => errors.combine(error),
            None => errors = Some(error),
        }
    }
    let variants = data.variants.iter().map(|variant| (&variant.ident, docs::text(&variant.attrs)));
    errors.map_or_else(|| Ok(variants.collect()), Err)
}

/// The word of a variant, as serde's `rename_all = "snake_case"` makes it.
fn snake_case(variant: &str) -> String {
    let mut word = String::new();
    for (index, letter) in variant.char_indices() {
        if letter.is_uppercase() && index > 0 {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn variants_become_words() {
        for (variant, word) in [("Fusion", "fusion"), ("L1", "l1"), ("TaskVector", "task_vector")] {
            assert_eq!(snake_case(variant), word);
        }
    }
}
