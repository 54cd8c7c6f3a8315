//! Numbers in JSON, which has no NaN and no infinity: those become the strings `"nan"`, `"inf"` and `"-inf"`, and come back.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number as JSON holds it.
#[derive(Clone, Copy)]
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => to.serialize_f64(value),
            value if value.is_nan() => to.serialize_str("nan"),
            value if value > 0.0 => to.serialize_str("inf"),
            _ => to.serialize_str("-inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"nan\", \"inf\" or \"-inf\"")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Number, E> {
                match value {
                    "nan" => Ok(Number(f64::NAN)),
                    "inf" => Ok(Number(f64::INFINITY)),
                    "-inf" => Ok(Number(f64::NEG_INFINITY)),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }

        from.deserialize_any(Read)
    }
}

/// The two sides of `#[serde(with = …)]` for a type that is mapped to numbers and back.
macro_rules! with {
    ($(#[$doc:meta])* $name:ident, $own:ty, $held:ty, $to:expr, $back:expr) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(value: &$own, to: S) -> Result<S::Ok, S::Error> {
                let to_held: fn(&$own) -> $held = $to;
                to_held(value).serialize(to)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$own, D::Error> {
                let to_own: fn($held) -> $own = $back;
                <$held>::deserialize(from).map(to_own)
            }
        }
    };
}

with!(
    /// A number.
    one, f64, Number, |value| Number(*value), |held| held.0
);
with!(
    /// Two numbers.
    pair, (f64, f64), (Number, Number), |(a, b)| (Number(*a), Number(*b)), |(a, b)| (a.0, b.0)
);
with!(
    /// Two numbers or nothing.
    maybe_pair, Option<(f64, f64)>, Option<(Number, Number)>,
    |pair| pair.map(|(a, b)| (Number(a), Number(b))),
    |pair| pair.map(|(a, b)| (a.0, b.0))
);
with!(
    /// A list of numbers.
    many, Vec<f64>, Vec<Number>,
    |values| values.iter().map(|value| Number(*value)).collect(),
    |values| values.into_iter().map(|value| value.0).collect()
);
with!(
    /// A list of pairs.
    pairs, Vec<(f64, f64)>, Vec<(Number, Number)>,
    |pairs| pairs.iter().map(|(a, b)| (Number(*a), Number(*b))).collect(),
    |pairs| pairs.into_iter().map(|(a, b)| (a.0, b.0)).collect()
);
with!(
    /// Numbers with names, in order.
    named, Vec<(String, f64)>, Vec<(String, Number)>,
    |named| named.iter().map(|(name, value)| (name.clone(), Number(*value))).collect(),
    |named| named.into_iter().map(|(name, value)| (name, value.0)).collect()
);
with!(
    /// Numbers by name.
    map, std::collections::BTreeMap<String, f64>, std::collections::BTreeMap<String, Number>,
    |map| map.iter().map(|(name, value)| (name.clone(), Number(*value))).collect(),
    |map| map.into_iter().map(|(name, value)| (name, value.0)).collect()
);
