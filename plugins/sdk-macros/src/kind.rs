//! What a field's type means to the derive: the value at its core, and the `Option`s and `Vec`s around it.

use syn::{GenericArgument, PathArguments, Type, TypePath};

/// The value at the core of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// `f32` or `f64`
    Float,
    /// Any other number.
    Integer,
    /// `String`
    Text,
    /// Anything else; its own traits decide.
    Other,
}

/// A field's type, taken apart.
pub(crate) struct Kind<'a> {
    /// Whether it is an `Option`: then the setting may be absent.
    pub optional: bool,
    /// `Option`s and `Vec`s around the core.
    pub layers: usize,
    /// What is inside.
    pub core: Core,
    /// Its type.
    pub core_type: &'a Type,
}

impl<'a> Kind<'a> {
    /// Takes a type apart, by its spelling: a macro sees no more.
    pub(crate) fn of(field: &'a Type) -> Self {
        let mut kind = Kind { optional: false, layers: 0, core: Core::Other, core_type: field };
        loop {
            kind.core_type = plain(kind.core_type);
            let Type::Path(TypePath { qself: None, path }) = kind.core_type else { return kind };
            let Some(last) = path.segments.last() else { return kind };
            let name = last.ident.to_string();
            if let ("Option" | "Vec", PathArguments::AngleBracketed(arguments)) =
                (name.as_str(), &last.arguments)
                && let Some(GenericArgument::Type(inner)) = arguments.args.first()
            {
                kind.optional |= kind.layers == 0 && name == "Option";
                kind.layers += 1;
                kind.core_type = inner;
                continue;
            }
            kind.core = match name.as_str() {
                "f32" | "f64" => Core::Float,
                "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
                    Core::Integer
                }
                "String" => Core::Text,
                _ => Core::Other,
            };
            return kind;
        }
    }

    /// Whether ranges make sense.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.core, Core::Float | Core::Integer)
    }
}

/// Without the invisible groups that `macro_rules!` puts around types, and without parentheses.
fn plain(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_taken_apart() {
        for (text, optional, layers, core) in [
            ("f64", false, 0, Core::Float),
            ("core::option::Option<u32>", true, 1, Core::Integer),
            ("Vec<Option<f32>>", false, 2, Core::Float),
            ("Option<Vec<String>>", true, 2, Core::Text),
            ("Dialect", false, 0, Core::Other),
            ("(f64, f64)", false, 0, Core::Other),
        ] {
            let ty: Type = syn::parse_str(text).unwrap();
            let kind = Kind::of(&ty);
            assert_eq!((kind.optional, kind.layers, kind.core), (optional, layers, core), "{text}");
        }
    }
}
