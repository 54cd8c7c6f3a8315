//! What the few functions that build tensors and containers mean; every other call only leaves a note that it was there.

use super::globals;
use super::machine::Machine;
use super::value::{Id, Storage, Tensor, Value};
use crate::checkpoint::CheckpointError;

/// `_rebuild_from_type_v2` can wrap itself.
const MAX_WRAPPING: usize = 8;

impl Machine<'_> {
    /// The value of `function(*arguments)`.
    pub(super) fn call(&mut self, function: Id, arguments: Id) -> Result<Id, CheckpointError> {
        self.call_wrapped(function, arguments, 0)
    }

    fn call_wrapped(&mut self, function: Id, arguments: Id, depth: usize) -> Result<Id, CheckpointError> {
        if depth > MAX_WRAPPING {
            return Err(self.wrong("a tensor wrapped too often"));
        }
        let Some(items) = self.arena.sequence(arguments) else {
            return Err(self.wrong("a call whose arguments are no tuple"));
        };
        let (module, name) = self.arena.global(function).unwrap_or(("", ""));
        match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => {
                let typed = name.ends_with("v3");
                let tensor = self.tensor(items, typed)?;
                // A tensor takes the memory of about 16 links.
                let links = 16 + tensor.shape.len() * 2;
                self.arena.add(self.path, Value::Tensor(Box::new(tensor)), links)
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter" | "Buffer") => match items.first() {
                Some(&data) if matches!(self.arena.get(data), Value::Tensor(_)) => Ok(data),
                _ => self.note(function, arguments),
            },
            ("torch._tensor", "_rebuild_from_type_v2") => {
                let plain = |class: Id| {
                    matches!(
                        self.arena.global(class),
                        Some(
                            ("torch.nn.parameter", "Parameter" | "Buffer")
                                | ("torch", "Tensor")
                                | ("torch._tensor", "Tensor")
                        )
                    )
                };
                match *items {
                    [inner, class, inner_arguments, ..] if plain(class) => {
                        self.call_wrapped(inner, inner_arguments, depth + 1)
                    }
                    _ => self.note(function, arguments),
                }
            }
            ("torch", "Size") => match items.first() {
                Some(&size) => Ok(size),
                None => self.note(function, arguments),
            },
            ("collections", "OrderedDict" | "defaultdict" | "Counter")
            | ("builtins" | "__builtin__", "dict") => {
                // A default factory carries nothing; a list of pairs or a dictionary is the content.
                let content = if name == "defaultdict" { items.get(1) } else { items.first() };
                let pairs = match content.map(|&content| self.arena.get(content)) {
                    None => Vec::new(),
                    Some(Value::Dict(pairs)) => pairs.clone(),
                    Some(Value::List(items) | Value::Tuple(items)) => {
                        let pair = |&item: &Id| match self.arena.sequence(item) {
                            Some(&[key, value]) => Some((key, value)),
                            _ => None,
                        };
                        match items.iter().map(pair).collect::<Option<Vec<_>>>() {
                            Some(pairs) => pairs,
                            None => return self.note(function, arguments),
                        }
                    }
                    Some(_) => return self.note(function, arguments),
                };
                let links = pairs.len() * 2;
                self.arena.add(self.path, Value::Dict(pairs), links)
            }
            ("builtins" | "__builtin__", "list" | "tuple" | "set" | "frozenset") => {
                let content = match items.first() {
                    None => Vec::new(),
                    Some(&content) => match self.arena.sequence(content) {
                        Some(items) => items.to_vec(),
                        None => return self.note(function, arguments),
                    },
                };
                let links = content.len();
                let value = match name {
                    "list" => Value::List(content),
                    "tuple" => Value::Tuple(content),
                    _ => Value::Set(content),
                };
                self.arena.add(self.path, value, links)
            }
            _ => self.note(function, arguments),
        }
    }

    fn note(&mut self, maker: Id, arguments: Id) -> Result<Id, CheckpointError> {
        self.arena.add(self.path, Value::Opaque { maker, parts: vec![arguments] }, 2)
    }

    /// `(storage, offset, size, stride, requires_grad, hooks[, dtype])`.
    fn tensor(&self, items: &[Id], typed: bool) -> Result<Tensor, CheckpointError> {
        let [storage, offset, size, stride, rest @ ..] = items else {
            return Err(self.wrong("a tensor with too few arguments"));
        };
        let Value::Storage(storage) = self.arena.get(*storage) else {
            return Err(self.wrong("a tensor whose storage is none"));
        };
        let number = |id: Id| self.arena.int(id).and_then(|n| u64::try_from(n).ok());
        let numbers =
            |id: Id| self.arena.sequence(id)?.iter().map(|&n| number(n)).collect::<Option<Vec<u64>>>();
        let (Some(offset), Some(shape), Some(strides)) = (number(*offset), numbers(*size), numbers(*stride))
        else {
            return Err(self.wrong("a tensor whose offset, size or stride is no whole number from 0 on"));
        };
        if shape.len() != strides.len() || shape.len() > 64 {
            return Err(self.wrong(format_args!(
                "a tensor of {} axes with {} strides",
                shape.len(),
                strides.len()
            )));
        }
        let dtype = if typed {
            let Some(&dtype) = rest.get(2) else { return Err(self.wrong("a tensor without a dtype")) };
            let known =
                self.arena.global(dtype).and_then(|(module, name)| globals::torch_dtype(module, name));
            known.ok_or(dtype)
        } else {
            storage.dtype
        };
        Ok(Tensor { storage: **storage, dtype, offset, shape, strides })
    }

    /// The persistent id `("storage", class, key, location, elements)`.
    pub(super) fn storage(&mut self, id: Id) -> Result<Id, CheckpointError> {
        let Some(&[kind, class, key, _location, elements, ..]) = self.arena.sequence(id) else {
            return Err(self.wrong("a persistent id that is no storage"));
        };
        if self.arena.str(kind) != Some("storage") {
            return Err(self.wrong("a persistent id that is no storage"));
        }
        let dtype = self.arena.global(class).and_then(|(module, name)| globals::storage_dtype(module, name));
        let Some(dtype) = dtype else { return Err(self.wrong("a storage of an unknown class")) };
        let elements = self.arena.int(elements).and_then(|n| u64::try_from(n).ok());
        let (Some(_), Some(elements)) = (self.arena.str(key), elements) else {
            return Err(self.wrong("a storage without a key or size"));
        };
        let storage = Storage { key, dtype: dtype.ok_or(class), elements };
        self.arena.add(self.path, Value::Storage(Box::new(storage)), 1)
    }
}
