//! The values a pickle builds, in one flat arena: sharing and cycles cost nothing, and no depth can overflow the stack.

use std::path::Path;

use super::super::CheckpointError;
use crate::tensor::Dtype;

/// Position of a value in its [`Arena`].
pub(super) type Id = u32;

/// Values in one pickle. A state dict takes about 20 per tensor.
const MAX_VALUES: usize = 4_000_000;
/// References between values in one pickle.
const MAX_LINKS: usize = 16_000_000;

/// A Python value, as far as it matters.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool,
    /// Integers that fit; larger ones are [`Value::Plain`].
    Int(i64),
    Str(Box<str>),
    /// A number or byte string that no state dict needs: only its type's name is kept.
    Plain(&'static str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A function or class, by module and name; never called.
    Global(Box<(Box<str>, Box<str>)>),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
    /// What `maker` would have built from `parts`.
    Opaque {
        maker: Id,
        parts: Vec<Id>,
    },
}

/// A stretch of bytes in the archive. Refers to its texts rather than copying them, so that a value has a bounded size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage {
    /// Name of its entry under `data/`.
    pub(super) key: Id,
    /// Element type, or the global that names one that is not supported.
    pub(super) dtype: Result<Dtype, Id>,
    /// Number of elements (for unsupported types unused).
    pub(super) elements: u64,
}

/// A view of a storage; `offset` and `strides` count elements.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    pub(super) dtype: Result<Dtype, Id>,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub(super) struct Arena {
    values: Vec<Value>,
    links: usize,
}

impl Arena {
    /// Adds a value that holds `links` references.
    pub(super) fn add(&mut self, path: &Path, value: Value, links: usize) -> Result<Id, CheckpointError> {
        self.charge(path, links)?;
        if self.values.len() >= MAX_VALUES {
            return Err(limit(path, "the pickle builds too many values", MAX_VALUES));
        }
        self.values.push(value);
        Ok((self.values.len() - 1) as Id)
    }

    /// Counts references that are about to be stored.
    pub(super) fn charge(&mut self, path: &Path, links: usize) -> Result<(), CheckpointError> {
        self.links = self.links.saturating_add(links);
        if self.links > MAX_LINKS {
            return Err(limit(path, "the pickle's containers hold too many elements", MAX_LINKS));
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id as usize]
    }

    pub(super) fn str(&self, id: Id) -> Option<&str> {
        if let Value::Str(text) = self.get(id) { Some(text) } else { None }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        if let Value::Int(n) = self.get(id) { Some(*n) } else { None }
    }

    pub(super) fn global(&self, id: Id) -> Option<(&str, &str)> {
        if let Value::Global(pair) = self.get(id) { Some((&pair.0, &pair.1)) } else { None }
    }

    /// Elements of a tuple or list.
    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// What a value is, in Python's words.
    pub(super) fn describe(&self, id: Id) -> String {
        match self.get(id) {
            Value::None => "None".to_owned(),
            Value::Bool => "bool".to_owned(),
            Value::Int(_) => "int".to_owned(),
            Value::Str(_) => "str".to_owned(),
            Value::Plain(what) => (*what).to_owned(),
            Value::Tuple(_) => "tuple".to_owned(),
            Value::List(_) => "list".to_owned(),
            Value::Set(_) => "set".to_owned(),
            Value::Dict(_) => "dict".to_owned(),
            Value::Global(pair) => format!("{}.{}", pair.0, pair.1),
            Value::Storage(_) => "storage".to_owned(),
            Value::Tensor(_) => "tensor".to_owned(),
            // A maker can itself be opaque (a bound method); its own maker says enough.
            Value::Opaque { maker, .. } => self
                .global(*maker)
                .map_or_else(|| "object".to_owned(), |(module, name)| format!("{module}.{name}")),
        }
    }

    /// Calls `visit` with every value that `id` refers to.
    pub(super) fn links(&self, id: Id, mut visit: impl FnMut(Id)) {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) | Value::Set(items) => {
                items.iter().copied().for_each(visit)
            }
            Value::Dict(pairs) => pairs.iter().for_each(|&(key, value)| {
                visit(key);
                visit(value);
            }),
            Value::Opaque { maker, parts } => {
                visit(*maker);
                parts.iter().copied().for_each(visit);
            }
            _ => {}
        }
    }
}

pub(super) fn limit(path: &Path, what: &str, limit: usize) -> CheckpointError {
    CheckpointError::Limit {
        path: path.to_owned(),
        what: what.to_owned(),
        limit: limit.to_string(),
        fix:
            "no model needs as much; the file was made to exhaust its reader, or save only its `state_dict()`"
                .to_owned(),
    }
}
