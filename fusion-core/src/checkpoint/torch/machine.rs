//! The pickle machine: all opcodes up to protocol 5, none of which calls anything.
//!
//! Opcodes are those of Python's `pickletools`. Every read is bounded by the input, every count by a limit.

use std::collections::HashMap;
use std::path::Path;

use super::super::CheckpointError;
use super::super::error::AGAIN;
use super::globals;
use super::value::{Arena, Id, Value, limit};

const MAX_OPCODES: usize = 32_000_000;
const MAX_STACK: usize = 1 << 20;
const MAX_MEMO: usize = 8_000_000;
/// Python names are short; longer ones only cost memory.
const MAX_NAME: usize = 1024;

/// The state of one run.
pub(super) struct Machine<'a> {
    pub(super) path: &'a Path,
    input: &'a [u8],
    at: usize,
    pub(super) arena: Arena,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    none: Id,
}

type Step<T = ()> = Result<T, CheckpointError>;

impl<'a> Machine<'a> {
    /// Interprets a pickle and gives all its values and the one that it stands for.
    pub(super) fn run(path: &'a Path, input: &'a [u8]) -> Step<(Arena, Id)> {
        let mut arena = Arena::default();
        let none = arena.add(path, Value::None, 0)?;
        let mut machine = Machine {
            path,
            input,
            at: 0,
            arena,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            none,
        };
        for _ in 0..MAX_OPCODES {
            if let Some(root) = machine.step()? {
                return Ok((machine.arena, root));
            }
        }
        Err(limit(path, "the pickle has too many opcodes", MAX_OPCODES))
    }

    pub(super) fn wrong(&self, offence: impl std::fmt::Display) -> CheckpointError {
        CheckpointError::malformed(self.path, format!("its pickle at byte {}: {offence}", self.at), AGAIN)
    }

    /// Executes one opcode; `STOP` gives the result.
    fn step(&mut self) -> Step<Option<Id>> {
        let opcode = self.take(1)?[0];
        match opcode {
            // Framing and protocol.
            0x80 => match self.take(1)?[0] {
                0..=5 => {}
                version => return Err(self.wrong(format_args!("pickle protocol {version} is unknown"))),
            },
            0x95 => {
                let length = self.u64()?;
                if length > (self.input.len() - self.at) as u64 {
                    return Err(self.wrong(format_args!("a frame of {length} bytes ends after the pickle")));
                }
            }
            b'.' => return self.pop().map(Some),
            // Stack and memo.
            b'(' => {
                self.marks.push(self.stack.len());
                if self.marks.len() > MAX_STACK {
                    return Err(limit(self.path, "the pickle opens too many marks", MAX_STACK));
                }
            }
            b'0' => {
                // Python's POP also takes back a mark.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'p' => {
                let index = self.number_line()?;
                self.remember(index)?;
            }
            b'q' => {
                let index = u32::from(self.take(1)?[0]);
                self.remember(index)?;
            }
            b'r' => {
                let index = self.u32()?;
                self.remember(index)?;
            }
            0x94 => {
                let index = self.memo.len() as u32;
                self.remember(index)?;
            }
            b'g' => {
                let index = self.number_line()?;
                self.recall(index)?;
            }
            b'h' => {
                let index = u32::from(self.take(1)?[0]);
                self.recall(index)?;
            }
            b'j' => {
                let index = self.u32()?;
                self.recall(index)?;
            }
            // Constants and numbers.
            b'N' => self.push(self.none)?,
            0x88 | 0x89 => self.make(Value::Bool)?,
            b'I' => {
                let value = match self.line()? {
                    b"00" | b"01" => Value::Bool,
                    text => parse_int(text).ok_or_else(|| self.wrong("an integer that is none"))?,
                };
                self.make(value)?;
            }
            b'J' => {
                let value = self.u32()? as i32;
                self.make(Value::Int(i64::from(value)))?;
            }
            b'K' => {
                let value = self.take(1)?[0];
                self.make(Value::Int(i64::from(value)))?;
            }
            b'M' => {
                let bytes = self.take(2)?;
                let value = u16::from_le_bytes([bytes[0], bytes[1]]);
                self.make(Value::Int(i64::from(value)))?;
            }
            b'L' => {
                let text = self.line()?;
                let text = text.strip_suffix(b"L").unwrap_or(text);
                let value = parse_int(text).ok_or_else(|| self.wrong("an integer that is none"))?;
                self.make(value)?;
            }
            0x8a => {
                let length = u64::from(self.take(1)?[0]);
                self.long(length)?;
            }
            0x8b => {
                let length = u64::from(self.u32()?);
                self.long(length)?;
            }
            b'F' => {
                self.line()?;
                self.make(Value::Plain("float"))?;
            }
            b'G' => {
                self.take(8)?;
                self.make(Value::Plain("float"))?;
            }
            // Text and bytes.
            b'S' => {
                let text = self.line()?;
                let quoted = match text {
                    [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
                    _ => return Err(self.wrong("a string without quotes")),
                };
                self.text(quoted)?;
            }
            b'V' => {
                let text = self.line()?;
                self.text(text)?;
            }
            b'T' => {
                let length = u64::from(self.u32()?);
                let text = self.take_long(length)?;
                self.text(text)?;
            }
            b'U' | 0x8c => {
                let length = usize::from(self.take(1)?[0]);
                let text = self.take(length)?;
                self.text(text)?;
            }
            b'X' => {
                let length = u64::from(self.u32()?);
                let text = self.take_long(length)?;
                self.text(text)?;
            }
            0x8d => {
                let length = self.u64()?;
                let text = self.take_long(length)?;
                self.text(text)?;
            }
            b'B' => {
                let length = u64::from(self.u32()?);
                self.take_long(length)?;
                self.make(Value::Plain("bytes"))?;
            }
            b'C' => {
                let length = usize::from(self.take(1)?[0]);
                self.take(length)?;
                self.make(Value::Plain("bytes"))?;
            }
            0x8e | 0x96 => {
                let length = self.u64()?;
                self.take_long(length)?;
                self.make(Value::Plain(if opcode == 0x8e { "bytes" } else { "bytearray" }))?;
            }
            // Containers.
            b')' => self.make(Value::Tuple(Vec::new()))?,
            b't' => {
                let items = self.pop_mark()?;
                self.collect(items, Value::Tuple)?;
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.collect(items, Value::Tuple)?;
            }
            b']' => self.make(Value::List(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.collect(items, Value::List)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(items)?;
            }
            0x8f => self.make(Value::Set(Vec::new()))?,
            0x91 => {
                let items = self.pop_mark()?;
                self.collect(items, Value::Set)?;
            }
            b'}' => self.make(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = self.pairs(&items)?;
                let id = self.arena.add(self.path, Value::Dict(pairs), items.len())?;
                self.push(id)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }
            // Objects.
            b'c' => {
                let module = self.name_line()?;
                let name = self.name_line()?;
                self.push_global(module, name)?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let (Some(module), Some(name)) = (self.arena.str(module), self.arena.str(name)) else {
                    return Err(self.wrong("a global whose name is not text"));
                };
                if module.len() > MAX_NAME || name.len() > MAX_NAME {
                    return Err(limit(self.path, "a global's name is too long", MAX_NAME));
                }
                let (module, name) = (module.to_owned(), name.to_owned());
                self.push_global(module, name)?;
            }
            b'i' => {
                let module = self.name_line()?;
                let name = self.name_line()?;
                let items = self.pop_mark()?;
                let maker = self.global(module, name)?;
                self.opaque(maker, items)?;
            }
            b'o' => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(self.wrong("an object without a class"));
                }
                let maker = items.remove(0);
                self.opaque(maker, items)?;
            }
            b'R' => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let result = self.call(function, arguments)?;
                self.push(result)?;
            }
            0x81 => {
                let arguments = self.pop()?;
                let class = self.pop()?;
                let result = self.call(class, arguments)?;
                self.push(result)?;
            }
            0x92 => {
                let keywords = self.pop()?;
                let arguments = self.pop()?;
                let class = self.pop()?;
                self.opaque(class, vec![arguments, keywords])?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                if let Value::Opaque { parts, .. } = self.arena.get_mut(object) {
                    parts.push(state);
                    self.arena.charge(self.path, 1)?;
                }
                // Attributes of dictionaries and tensors (`_metadata`) do not change what they hold.
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(storage)?;
            }
            b'P' => return Err(self.wrong("a persistent id as text, which no zip archive has")),
            0x82..=0x84 => {
                return Err(
                    self.wrong("an extension code, which means nothing outside of the program that wrote it")
                );
            }
            0x97 | 0x98 => return Err(self.wrong("an out-of-band buffer, which is not in the file")),
            other => return Err(self.wrong(format_args!("unknown opcode {other:#04x}"))),
        }
        Ok(None)
    }

    // ---- input ----

    fn take(&mut self, length: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.input.len());
        let Some(end) = end else { return Err(self.wrong("it ends in the middle of an instruction")) };
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn take_long(&mut self, length: u64) -> Step<&'a [u8]> {
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn u32(&mut self) -> Step<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self) -> Step<u64> {
        let low = u64::from(self.u32()?);
        Ok(low | u64::from(self.u32()?) << 32)
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = &self.input[self.at..];
        let Some(length) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.wrong("it ends in the middle of a line"));
        };
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn number_line(&mut self) -> Step<u32> {
        let text = self.line()?;
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.wrong("a memo index that is no number"))
    }

    fn name_line(&mut self) -> Step<String> {
        let text = self.line()?;
        if text.len() > MAX_NAME {
            return Err(limit(self.path, "a global's name is too long", MAX_NAME));
        }
        String::from_utf8(text.to_vec()).map_err(|_| self.wrong("a name that is not UTF-8"))
    }

    fn long(&mut self, length: u64) -> Step {
        let bytes = self.take_long(length)?;
        let value = if bytes.len() > 8 {
            Value::Plain("int")
        } else {
            let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
            let mut whole = if negative { [0xff; 8] } else { [0; 8] };
            whole[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(whole))
        };
        self.make(value)
    }

    fn text(&mut self, bytes: &[u8]) -> Step {
        // Python 2 strings and lone surrogates are not UTF-8; no name of a tensor needs them.
        let value = match std::str::from_utf8(bytes) {
            Ok(text) => Value::Str(text.into()),
            Err(_) => Value::Plain("str"),
        };
        self.make(value)
    }

    // ---- stack ----

    fn push(&mut self, id: Id) -> Step {
        if self.stack.len() >= MAX_STACK {
            return Err(limit(self.path, "the pickle's stack is too deep", MAX_STACK));
        }
        self.stack.push(id);
        Ok(())
    }

    fn make(&mut self, value: Value) -> Step {
        let id = self.arena.add(self.path, value, 0)?;
        self.push(id)
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Id> {
        if self.stack.len() > self.floor() {
            return Ok(self.stack[self.stack.len() - 1]);
        }
        Err(self.wrong("it takes from an empty stack"))
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        if self.stack.len() < self.floor() + count {
            return Err(self.wrong("it takes from an empty stack"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let Some(mark) = self.marks.pop() else {
            return Err(self.wrong("it closes a mark that it never opened"));
        };
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, index: u32) -> Step {
        let top = self.top()?;
        if self.memo.len() >= MAX_MEMO && !self.memo.contains_key(&index) {
            return Err(limit(self.path, "the pickle remembers too many values", MAX_MEMO));
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Step {
        match self.memo.get(&index) {
            Some(&id) => self.push(id),
            None => Err(self.wrong(format_args!("it recalls value {index}, which it never remembered"))),
        }
    }

    // ---- containers and objects ----

    fn collect(&mut self, items: Vec<Id>, kind: impl FnOnce(Vec<Id>) -> Value) -> Step {
        let links = items.len();
        let id = self.arena.add(self.path, kind(items), links)?;
        self.push(id)
    }

    fn extend(&mut self, items: Vec<Id>) -> Step {
        let target = self.top()?;
        self.arena.charge(self.path, items.len())?;
        match self.arena.get_mut(target) {
            Value::List(list) | Value::Set(list) | Value::Opaque { parts: list, .. } => list.extend(items),
            _ => return Err(self.wrong("it appends to something that is no list")),
        }
        Ok(())
    }

    fn pairs(&self, items: &[Id]) -> Step<Vec<(Id, Id)>> {
        let (pairs, rest) = items.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
        } else {
            Err(self.wrong("a dictionary with a key and no value"))
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Step {
        let pairs = self.pairs(items)?;
        let target = self.top()?;
        self.arena.charge(self.path, items.len())?;
        match self.arena.get_mut(target) {
            Value::Dict(dict) => dict.extend(pairs),
            Value::Opaque { parts, .. } => parts.extend_from_slice(items),
            _ => return Err(self.wrong("it sets an item of something that is no dictionary")),
        }
        Ok(())
    }

    fn global(&mut self, module: String, name: String) -> Step<Id> {
        if globals::is_dangerous(&module, &name) {
            return Err(CheckpointError::Dangerous {
                path: self.path.to_owned(),
                global: format!("{module}.{name}"),
            });
        }
        self.arena.add(self.path, Value::Global(Box::new((module.into(), name.into()))), 0)
    }

    fn push_global(&mut self, module: String, name: String) -> Step {
        let id = self.global(module, name)?;
        self.push(id)
    }

    fn opaque(&mut self, maker: Id, parts: Vec<Id>) -> Step {
        let links = parts.len() + 1;
        let id = self.arena.add(self.path, Value::Opaque { maker, parts }, links)?;
        self.push(id)
    }
}

fn parse_int(text: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?.trim();
    match text.parse() {
        Ok(value) => Some(Value::Int(value)),
        Err(_) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(Value::Plain("int"))
        }
    }
}
