//! Attention, as all transformers have it: heads that move as wholes, and dimensions inside of them.
//!
//! | units | where they are | may they move? |
//! |---|---|---|
//! | heads of keys and values | rows of queries, keys, values, columns of the output | yes, unless heads differ by place ([`Heads::placed`]) |
//! | query heads of one head of keys | rows of queries, columns of the output | as those |
//! | dimensions that are compared | rows of queries and keys, alike in all query heads of a head of keys | those that no rotation turns |
//! | dimensions that are mixed | rows of values, columns of the output | yes |
//!
//! Rotary embedding turns pairs of dimensions by angles of their own, so none of those can go to another place.

use super::NamesError;
use super::builder::{Builder, Units, beside, pin, times};
use super::config::Config;

/// The four maps of an attention layer by their full names, without `.weight`.
pub(super) struct Maps {
    pub query: String,
    pub key: String,
    pub value: String,
    pub output: String,
    /// What the units are named after.
    pub module: String,
}

impl Maps {
    /// Those of a module by their names in it: query, key, value, output.
    pub(super) fn of(module: impl Into<String>, names: [&str; 4]) -> Maps {
        let module = module.into();
        let [query, key, value, output] = names.map(|name| format!("{module}.{name}"));
        Maps { query, key, value, output, module }
    }
}

/// Heads.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    /// Of queries.
    pub queries: usize,
    /// Of keys and values.
    pub keys: usize,
    /// Numbers of a head.
    pub width: usize,
    /// How many of them, the first ones, are rotated by position: these stay.
    pub rotated: usize,
    /// Whether a head is told by its place, because it has tensors of its own: then heads stay, and dimensions move in each on its own.
    pub placed: bool,
}

/// Units of an attention layer.
pub(super) struct Inner {
    /// The index in front of what a head's queries are made of: `head · r`; none where `query` is all.
    pub query_front: Units,
    /// Rows of queries, behind `query_front`: `dqk`, or `pin[rotated] ++ dqk`.
    pub query: Units,
    /// As `query_front`: `head`.
    pub key_front: Units,
    /// Rows of keys, behind `key_front`.
    pub key: Units,
    /// Rows of values: `head · dv`.
    pub value: Units,
    /// Columns of the output: `head · r · dv`.
    pub output: Units,
    /// The dimensions of values in a head: `dv`; none where heads stay.
    pub mixed: Units,
    /// Query heads: `head · r`.
    pub heads: Units,
    /// Heads of keys: `head`.
    pub key_heads: Units,
}

impl Inner {
    /// Rows of queries, keys and values behind each other, for heads that move as wholes: all of a head is rotated, or nothing.
    pub(super) fn fused(&self) -> Units {
        let query = times(&[&self.query_front, &self.query]);
        let key = times(&[&self.key_front, &self.key]);
        beside(&[&query, &key, &self.value])
    }
}

/// New units for a layer; `module`, `query` and `value` name them.
pub(super) fn inner(
    builder: &mut Builder<'_>,
    heads: Heads,
    module: &str,
    query: &str,
    value: &str,
) -> Inner {
    if heads.placed {
        return placed(builder, heads, query, value);
    }
    let Heads { queries, keys, .. } = heads;
    let head = builder.units(format!("{module}.head"), keys, &[]);
    let repeated = builder.units(format!("{query}.head"), queries / keys.max(1), &[&head]);
    inside(builder, heads, head, repeated, query, value)
}

/// The dimensions in heads that are given.
pub(super) fn inside(
    builder: &mut Builder<'_>,
    heads: Heads,
    head: Units,
    repeated: Units,
    query: &str,
    value: &str,
) -> Inner {
    let compared = compared(builder, heads, query, &[&head]);
    let mixed = builder.units(value, heads.width, &[&head]);
    let mixed = builder.scalable(mixed);
    let all = times(&[&head, &repeated]);
    Inner {
        query_front: all.clone(),
        query: compared.clone(),
        key_front: head.clone(),
        key: compared,
        value: times(&[&head, &mixed]),
        output: times(&[&all, &mixed]),
        mixed,
        heads: all,
        key_heads: head,
    }
}

/// Dimensions of queries and keys in a head.
fn compared(builder: &mut Builder<'_>, heads: Heads, name: &str, inside: &[&Units]) -> Units {
    let Heads { width, rotated, .. } = heads;
    match rotated.min(width) {
        0 => builder.units(name, width, inside),
        // A single dimension has nowhere to go.
        rotated if width - rotated < 2 => pin(width),
        rotated => {
            let rest = builder.units(name, width - rotated, inside);
            beside(&[&pin(rotated), &rest])
        }
    }
}

/// Heads that stay: what moves in each has a node of its own.
fn placed(builder: &mut Builder<'_>, heads: Heads, query: &str, value: &str) -> Inner {
    let Heads { queries, keys, width, .. } = heads;
    let repeated = pin(queries / keys.max(1));
    let mut found = Inner {
        query_front: Units::new(),
        query: Units::new(),
        key_front: Units::new(),
        key: Units::new(),
        value: Units::new(),
        output: Units::new(),
        mixed: Units::new(),
        heads: pin(queries),
        key_heads: pin(keys),
    };
    for head in 0..keys {
        let compared = compared(builder, heads, &format!("{query}.{head}"), &[]);
        let mixed = builder.units(format!("{value}.{head}"), width, &[]);
        let mixed = builder.scalable(mixed);
        for _ in 0..queries / keys.max(1) {
            found.query.extend(compared.clone());
        }
        found.key.extend(compared);
        found.output.extend(times(&[&repeated, &mixed]));
        found.value.extend(mixed);
    }
    found
}

/// Describes an attention layer on a stream.
pub(super) fn attention(
    builder: &mut Builder<'_>,
    maps: &Maps,
    heads: Heads,
    stream: &Units,
) -> Result<Inner, NamesError> {
    let found = inner(builder, heads, &maps.module, &maps.query, &maps.value);
    attend(builder, maps, &found, stream, stream)?;
    Ok(found)
}

/// Describes the four maps: keys and values are made of `source`.
pub(super) fn attend(
    builder: &mut Builder<'_>,
    maps: &Maps,
    units: &Inner,
    stream: &Units,
    source: &Units,
) -> Result<(), NamesError> {
    builder.linear_in_front(&maps.query, &units.query_front, &units.query, stream)?;
    builder.linear_in_front(&maps.key, &units.key_front, &units.key, source)?;
    builder.linear(&maps.value, &units.value, source)?;
    builder.linear(&maps.output, stream, &units.output)
}

/// As many heads of keys as of queries, whose number `config.json` says; nothing is rotated.
pub(super) fn equal_heads(
    builder: &Builder<'_>,
    query: &str,
    axis: usize,
    heads: usize,
) -> Result<Heads, NamesError> {
    let name = format!("{query}.weight");
    let width = builder.over(&name, builder.length(&name, axis)?, heads, "heads")?;
    Ok(Heads { queries: heads, keys: heads, width, rotated: 0, placed: false })
}

/// How many numbers of a head are rotated: ⌊width · share⌋, which is even in all models; an odd number is taken as the next even one.
/// `share` is what `config.json` says under one of these names, at the top or among the parameters of the rotation; without it all are.
pub(super) fn rotated(config: &Config<'_>, names: &[&str], width: usize) -> Result<usize, NamesError> {
    for part in [Some("rope_parameters"), Some("rope_scaling"), None] {
        for name in names {
            let share = match part {
                Some(part) => config.part(part).fraction(name)?,
                None => config.fraction(name)?,
            };
            if let Some(share) = share {
                return Ok(((width as f64 * share) as usize).next_multiple_of(2).min(width));
            }
        }
    }
    Ok(width)
}
