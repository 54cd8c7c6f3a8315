//! The derives of `fusion-sdk`, so that a method's author writes a struct of settings and gets its reader, its schema and its
//! range checks. Use them by way of `fusion_sdk`: what they generate speaks of that crate.
#![forbid(unsafe_code)]

mod docs;
mod kind;
mod literal;
mod param;
mod params;
mod words;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct with named fields a set of settings: implements `fusion_sdk::Params`, serde's `Serialize` and `Deserialize`,
/// schemars' `JsonSchema`, and `Default` unless a setting is required.
///
/// A field without default is required, one of type `Option` may be absent; doc comments become descriptions. Fields are
/// `bool`, numbers, `String`, enums with `#[derive(Words)]`, and `Option` and `Vec` of those. `#[param(…)]` takes
/// - `default = expression`
/// - `range = 0.0..=1.0`, `range = 1..`, `range = ..=1`; bounds are literals or paths of constants
/// - `above = 0.0`: a lower bound that is itself excluded
/// - `unit = fraction`: how recipes write it, one of `fraction` (`45%`), `seed`, `bytes` (`5 GB`), `span`, `model`
/// - `varies`: recipes may set it per tensor and layer, and by schedules
#[proc_macro_derive(Params, attributes(param))]
pub fn params(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    params::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum of unit variants a closed list of words, each variant in snake_case with its doc comment: implements serde's
/// `Serialize` and `Deserialize` and schemars' `JsonSchema`.
#[proc_macro_derive(Words)]
pub fn words(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    words::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
