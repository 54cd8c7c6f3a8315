//! `#[derive(Params)]`: one table of settings becomes a reader, a writer, a schema, defaults and checks.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, Result, Type};

use crate::docs;
use crate::kind::{Core, Kind};
use crate::literal::Value;
use crate::param::Param;

/// One field.
struct Setting<'a> {
    ident: &'a Ident,
    name: String,
    ty: &'a Type,
    kind: Kind<'a>,
    doc: String,
    param: Param,
}

impl<'a> Setting<'a> {
    fn of(field: &'a Field) -> Result<Self> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "settings need names"));
        };
        let kind = Kind::of(&field.ty);
        let param = Param::of(&field.attrs, &kind)?;
        let doc = docs::text(&field.attrs);
        Ok(Setting { ident, name: ident.unraw().to_string(), ty: &field.ty, kind, doc, param })
    }

    fn required(&self) -> bool {
        self.param.default.is_none() && !self.kind.optional
    }

    /// Name of the generated function that makes the default.
    fn default(&self) -> Ident {
        format_ident!("__default_{}", self.name)
    }

    /// Name of the generated constant of its bounds.
    fn bounds(&self) -> Ident {
        format_ident!("__BOUNDS_{}", self.name)
    }

    /// Floats are checked without bounds too: NaN and infinities are never settings.
    fn is_checked(&self) -> bool {
        self.param.bounded() || self.kind.core == Core::Float
    }

    /// What the rest of the code refers to, once each, so that a mistake in it is reported once.
    fn items(&self) -> TokenStream {
        let ty = self.ty;
        let mut items = TokenStream::new();
        if let Some(default) = &self.param.default {
            let name = self.default();
            let value = match self.param.literal_default() {
                Some(literal) if self.kind.layers == 0 => literal.expression(self.kind.core),
                _ => default.clone(),
            };
            items.extend(quote!(fn #name() -> #ty { #value }));
        }
        if self.is_checked() {
            let (name, core) = (self.bounds(), self.kind.core_type);
            let bound =
                |value: &Option<Value>| match value.as_ref().map(|value| value.expression(self.kind.core)) {
                    Some(value) => quote!(::core::option::Option::Some(#value)),
                    None => quote!(::core::option::Option::None),
                };
            let (min, above, max) =
                (bound(&self.param.min), bound(&self.param.above), bound(&self.param.max));
            let percent = self.param.unit.as_ref().is_some_and(|unit| unit == "fraction");
            items.extend(quote! {
                #[allow(non_upper_case_globals)]
                const #name: __sdk::Bounds<#core> =
                    __sdk::Bounds { min: #min, above: #above, max: #max, percent: #percent };
            });
        }
        items
    }

    fn check(&self) -> TokenStream {
        if !self.is_checked() {
            return TokenStream::new();
        }
        let (bounds, name, ident) = (self.bounds(), &self.name, self.ident);
        let layers = (0..self.kind.layers).map(|_| quote!(.flatten()));
        quote!(#bounds.check(#name, ::core::iter::once(&self.#ident) #(#layers)* .copied())?;)
    }

    fn reader(&self) -> TokenStream {
        let (ident, name) = (self.ident, &self.name);
        if self.param.default.is_some() {
            let default = self.default();
            quote!(#ident: fields.or_else(#name, #default)?)
        } else if self.kind.optional {
            quote!(#ident: fields.or_else(#name, || ::core::option::Option::None)?)
        } else {
            quote!(#ident: fields.required(#name)?)
        }
    }

    fn default_field(&self) -> TokenStream {
        let ident = self.ident;
        if self.kind.optional {
            return quote!(#ident: ::core::option::Option::None);
        }
        let default = self.default();
        quote!(#ident: #default())
    }

    fn property(&self) -> TokenStream {
        let Setting { name, ty, doc, .. } = self;
        let default = if self.kind.optional {
            quote!(.default(&::core::option::Option::<()>::None))
        } else if self.param.default.is_some() {
            let default = self.default();
            if self.kind.is_number() && self.kind.layers == 0 {
                quote!(.number(#default()))
            } else {
                quote!(.default(&#default()))
            }
        } else {
            TokenStream::new()
        };
        let bounds = self.param.bounded().then(|| {
            let bounds = self.bounds();
            quote!(.bounds(&#bounds))
        });
        let unit = self.param.unit.as_ref().map(|unit| {
            let unit = unit.to_string();
            quote!(.unit(#unit))
        });
        let varies = self.param.varies.then(|| quote!(.varies()));
        let required = self.required();
        quote! {
            object.add(
                #name,
                #required,
                __sdk::Property::new(generator.subschema_for::<#ty>(), #doc) #bounds #default #unit #varies,
            );
        }
    }
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let settings = settings(input)?;
    let ident = &input.ident;
    let name = ident.unraw().to_string();
    let doc = docs::text(&input.attrs);
    let count = settings.len();
    let names = settings.iter().map(|setting| &setting.name);
    let writers = settings.iter().map(|setting| {
        let (name, ident) = (&setting.name, setting.ident);
        quote!(__sdk::SerializeStruct::serialize_field(&mut state, #name, &self.#ident)?;)
    });
    let items = settings.iter().map(Setting::items);
    let checks = settings.iter().map(Setting::check);
    let readers = settings.iter().map(Setting::reader);
    let properties = settings.iter().map(Setting::property);
    let default = settings.iter().all(|setting| !setting.required()).then(|| {
        let fields = settings.iter().map(Setting::default_field);
        quote! {
            #[automatically_derived]
            impl ::core::default::Default for #ident {
                fn default() -> Self {
                    Self { #(#fields),* }
                }
            }
        }
    });
    Ok(quote! {
        const _: () = {
            use ::fusion_sdk::__private as __sdk;

            #(#items)*

            #[automatically_derived]
            impl ::fusion_sdk::Params for #ident {
                fn from_settings(
                    settings: &__sdk::serde_json::Map<::std::string::String, __sdk::serde_json::Value>,
                ) -> ::core::result::Result<Self, ::fusion_sdk::MethodError> {
                    #[allow(unused_variables)]
                    let fields = __sdk::Settings::new(settings, &[#(#names),*])?;
                    ::core::result::Result::Ok(Self { #(#readers),* })
                }

                fn check(&self) -> ::core::result::Result<(), ::fusion_sdk::MethodError> {
                    #(#checks)*
                    ::core::result::Result::Ok(())
                }
            }

            #default

            #[automatically_derived]
            impl __sdk::serde::Serialize for #ident {
                fn serialize<S: __sdk::serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> ::core::result::Result<S::Ok, S::Error> {
                    #[allow(unused_mut)]
                    let mut state = serializer.serialize_struct(#name, #count)?;
                    #(#writers)*
                    __sdk::SerializeStruct::end(state)
                }
            }

            #[automatically_derived]
            impl<'de> __sdk::serde::Deserialize<'de> for #ident {
                fn deserialize<D: __sdk::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<Self, D::Error> {
                    __sdk::deserialize(deserializer)
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

                #[allow(unused_variables)]
                fn json_schema(
                    generator: &mut __sdk::schemars::SchemaGenerator,
                ) -> __sdk::schemars::Schema {
                    #[allow(unused_mut)]
                    let mut object = __sdk::Object::default();
                    #(#properties)*
                    object.schema(#doc)
                }
            }
        };
    })
}

/// The fields, or all that is wrong with them.
fn settings(input: &DeriveInput) -> Result<Vec<Setting<'_>>> {
    let refused = match &input.data {
        Data::Struct(data) if !matches!(data.fields, Fields::Unnamed(_)) => None,
        Data::Struct(_) => Some("settings need names: `Params` takes a struct with named fields"),
        Data::Enum(_) => {
            Some("`Params` takes a struct; `#[derive(Words)]` makes an enum the type of a setting")
        }
        Data::Union(_) => Some("`Params` takes a struct with named fields"),
    };
    if let Some(reason) = refused {
        return Err(Error::new(input.ident.span(), reason));
    }
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "settings have no generics: every method has its own struct",
        ));
    }
    let Data::Struct(data) = &input.data else { return Ok(Vec::new()) };
    let mut settings = Vec::new();
    let mut errors: Option<Error> = None;
    for field in &data.fields {
        match Setting::of(field) {
            Ok(setting) => settings.push(setting),
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    errors.map_or(Ok(settings), Err)
}
