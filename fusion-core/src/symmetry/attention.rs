//! Attention, as all transformers have it: heads that move as wholes, and dimensions inside of them.

use super::NamesError;
use super::builder::{Builder, Units, pin, times};

/// The four maps of an attention layer by their full names, without `.weight`.
pub(super) struct Maps {
    pub query: String,
    pub key: String,
    pub value: String,
    pub output: String,
    /// What the units are named after.
    pub module: String,
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
    /// Whether queries and keys are rotated by position: their dimensions stay then.
    pub rotary: bool,
}

/// Units of an attention layer.
pub(super) struct Inner {
    /// Rows of queries: `head · r · dqk`.
    pub query: Units,
    /// Rows of keys: `head · dqk`.
    pub key: Units,
    /// Rows of values: `head · dv`.
    pub value: Units,
    /// Columns of the output: `head · r · dv`.
    pub output: Units,
}

/// New units for a layer; `module`, `query` and `value` name them.
pub(super) fn inner(
    builder: &mut Builder<'_>,
    heads: Heads,
    module: &str,
    query: &str,
    value: &str,
) -> Inner {
    let Heads { queries, keys, width, rotary } = heads;
    let head = builder.units(format!("{module}.head"), keys, &[]);
    let repeated = builder.units(format!("{query}.head"), queries / keys.max(1), &[&head]);
    let compared = match rotary {
        true => pin(width),
        false => builder.units(query, width, &[&head]),
    };
    let mixed = builder.units(value, width, &[&head]);
    let mixed = builder.scalable(mixed);
    Inner {
        query: times(&[&head, &repeated, &compared]),
        key: times(&[&head, &compared]),
        value: times(&[&head, &mixed]),
        output: times(&[&head, &repeated, &mixed]),
    }
}

/// Describes an attention layer on a stream.
pub(super) fn attention(
    builder: &mut Builder<'_>,
    maps: &Maps,
    heads: Heads,
    stream: &Units,
) -> Result<(), NamesError> {
    let Inner { query, key, value, output } = inner(builder, heads, &maps.module, &maps.query, &maps.value);
    builder.linear(&maps.query, &query, stream)?;
    builder.linear(&maps.key, &key, stream)?;
    builder.linear(&maps.value, &value, stream)?;
    builder.linear(&maps.output, stream, &output)
}

/// As many heads of keys as of queries, whose number `config.json` says.
pub(super) fn equal_heads(
    builder: &Builder<'_>,
    query: &str,
    axis: usize,
    heads: usize,
) -> Result<Heads, NamesError> {
    let name = format!("{query}.weight");
    let width = builder.over(&name, builder.length(&name, axis)?, heads, "heads")?;
    Ok(Heads { queries: heads, keys: heads, width, rotary: false })
}
