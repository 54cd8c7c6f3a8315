//! Finds the state dict in whatever a training script saved, and its tensors, by their dotted names.

use std::collections::HashSet;
use std::path::Path;

use super::super::CheckpointError;
use super::super::source::Skipped;
use super::globals;
use super::value::{Arena, Id, Tensor, Value, limit};

/// Keys under which training scripts keep the model.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];
/// Dictionaries within dictionaries, wrappers included.
const MAX_NESTING: usize = 32;
/// Entries of one state dict.
const MAX_ENTRIES: usize = 1_000_000;
/// Bytes of one name, and of all.
const MAX_NAME: usize = 4096;
const MAX_NAMES: usize = 256 << 20;

/// The tensors of a state dict, and what was left out.
pub(super) struct Selected<'a> {
    pub(super) tensors: Vec<(String, &'a Tensor)>,
    pub(super) skipped: Vec<Skipped>,
}

/// Chooses the state dict below `root`: the usual wrapper keys are followed first, then the only key that leads to
/// tensors; the first dictionary with tensors of its own and no wrapper is it.
pub(super) fn select<'a>(
    path: &'a Path,
    arena: &'a Arena,
    root: Id,
) -> Result<Selected<'a>, CheckpointError> {
    let carries = carriers(arena);
    let resave = "load the file in PyTorch and save `model.state_dict()`, best as safetensors";
    let mut dict = root;
    let mut beside = Vec::new();
    for _ in 0..MAX_NESTING {
        let Value::Dict(pairs) = arena.get(dict) else {
            let what = arena.describe(dict);
            return Err(if carries[dict as usize] {
                CheckpointError::unsupported(
                    path,
                    format!("it holds a `{what}` object, not a state dict"),
                    resave,
                )
            } else {
                CheckpointError::unsupported(path, format!("it holds no tensors, only a `{what}`"), resave)
            });
        };
        let leading: Vec<(&str, Id)> = pairs
            .iter()
            .filter(|&&(_, value)| carries[value as usize])
            .map(|&(key, value)| (arena.str(key).unwrap_or("?"), value))
            .collect();
        let wrapped: Vec<(&str, Id)> =
            leading.iter().copied().filter(|(key, _)| WRAPPERS.contains(key)).collect();
        let own = |&(_, value): &(&str, Id)| matches!(arena.get(value), Value::Tensor(_));
        // Scripts keep a tensor such as the last loss beside the model: a wrapper comes before tensors of its own level.
        let plain = wrapped.iter().all(|(_, value)| !matches!(arena.get(*value), Value::Dict(_)));
        if plain && leading.iter().any(own) {
            let mut walk = Walk {
                path,
                arena,
                carries: &carries,
                open: HashSet::new(),
                name_bytes: 0,
                out: Selected { tensors: Vec::new(), skipped: beside },
            };
            walk.dict(dict, "", 0)?;
            return walk.finish();
        }
        beside.extend(leading.iter().filter(|entry| own(entry)).map(|(key, _)| Skipped {
            name: shorten(key).to_owned(),
            what: "tensor beside the model".to_owned(),
        }));
        dict = match (wrapped.as_slice(), leading.as_slice()) {
            ([(_, inner)], _) => *inner,
            ([], [(key, inner)]) if !is_training(key) => *inner,
            ([], []) => return Err(CheckpointError::unsupported(path, "it holds no tensors", resave)),
            (several, all) => {
                let keys = if several.is_empty() { all } else { several };
                let shown: Vec<String> =
                    keys.iter().take(6).map(|(key, _)| format!("`{}`", shorten(key))).collect();
                return Err(CheckpointError::Ambiguous {
                    path: path.to_owned(),
                    offence: format!("tensors are under {}, and none is plainly the model", shown.join(", ")),
                    fix: resave.to_owned(),
                });
            }
        };
    }
    Err(limit(path, "dictionaries are nested too deeply", MAX_NESTING))
}

/// For every value whether it is, or leads to, a tensor or storage, or is built by a function that makes one.
fn carriers(arena: &Arena) -> Vec<bool> {
    let count = arena.len();
    // Links backwards, in one flat list per target: no recursion, and linear however values are shared.
    let mut starts = vec![0u32; count + 1];
    for id in 0..count as Id {
        arena.links(id, |to| starts[to as usize + 1] += 1);
    }
    for i in 0..count {
        starts[i + 1] += starts[i];
    }
    let mut fill = starts.clone();
    let mut sources = vec![0 as Id; starts[count] as usize];
    for id in 0..count as Id {
        arena.links(id, |to| {
            sources[fill[to as usize] as usize] = id;
            fill[to as usize] += 1;
        });
    }
    let mut carries = vec![false; count];
    let mut queue = Vec::new();
    for id in 0..count as Id {
        let start = match arena.get(id) {
            Value::Tensor(_) | Value::Storage(_) => true,
            Value::Opaque { maker, .. } => {
                arena.global(*maker).is_some_and(|(module, name)| globals::builds_tensors(module, name))
            }
            _ => false,
        };
        if start {
            carries[id as usize] = true;
            queue.push(id);
        }
    }
    while let Some(id) = queue.pop() {
        for &source in &sources[starts[id as usize] as usize..starts[id as usize + 1] as usize] {
            if !carries[source as usize] {
                carries[source as usize] = true;
                queue.push(source);
            }
        }
    }
    carries
}

struct Walk<'a, 'c> {
    path: &'a Path,
    arena: &'a Arena,
    carries: &'c [bool],
    /// Dictionaries on the way to here: one inside of itself has no end.
    open: HashSet<Id>,
    name_bytes: usize,
    out: Selected<'a>,
}

impl<'a> Walk<'a, '_> {
    fn dict(&mut self, id: Id, prefix: &str, depth: usize) -> Result<(), CheckpointError> {
        if depth >= MAX_NESTING || !self.open.insert(id) {
            return Err(limit(
                self.path,
                "dictionaries are nested too deeply, or within themselves",
                MAX_NESTING,
            ));
        }
        let arena = self.arena;
        let Value::Dict(pairs) = arena.get(id) else { return Ok(()) };
        for &(key, value) in pairs {
            let name = match arena.get(key) {
                Value::Str(text) => format!("{prefix}{}", shorten_to(text, MAX_NAME + 1)),
                Value::Int(number) => format!("{prefix}{number}"),
                _ => format!("{prefix}?"),
            };
            self.count(&name)?;
            let named = !matches!(arena.get(key), Value::Str(_) | Value::Int(_));
            match arena.get(value) {
                Value::Tensor(_) if named => {
                    return Err(CheckpointError::of_tensor(
                        self.path,
                        name,
                        format!("its key is a {}, not text", arena.describe(key)),
                        "save a plain state dict",
                    ));
                }
                Value::Tensor(tensor) => self.out.tensors.push((name, tensor)),
                Value::Dict(_) if self.carries[value as usize] && is_training(&name) => {
                    self.out.skipped.push(Skipped { name, what: "training state".to_owned() });
                }
                Value::Dict(_) if self.carries[value as usize] => {
                    self.dict(value, &format!("{name}."), depth + 1)?
                }
                Value::Opaque { .. } if self.carries[value as usize] => {
                    return Err(CheckpointError::UnknownGlobal {
                        path: self.path.to_owned(),
                        tensor: name,
                        global: arena.describe(value),
                    });
                }
                _ if self.carries[value as usize] => {
                    return Err(CheckpointError::of_tensor(
                        self.path,
                        name,
                        format!("it is a {} that holds tensors", arena.describe(value)),
                        "save a plain state dict, one tensor per name",
                    ));
                }
                _ => self.out.skipped.push(Skipped { name, what: arena.describe(value) }),
            }
        }
        self.open.remove(&id);
        Ok(())
    }

    fn count(&mut self, name: &str) -> Result<(), CheckpointError> {
        self.name_bytes += name.len();
        if name.len() > MAX_NAME {
            return Err(limit(self.path, "a tensor's name has too many bytes", MAX_NAME));
        }
        if self.out.tensors.len() + self.out.skipped.len() >= MAX_ENTRIES {
            return Err(limit(self.path, "the state dict has too many entries", MAX_ENTRIES));
        }
        if self.name_bytes > MAX_NAMES {
            return Err(limit(self.path, "the names of the tensors take too many bytes", MAX_NAMES));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Selected<'a>, CheckpointError> {
        self.out.tensors.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = self.out.tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(CheckpointError::of_tensor(
                self.path,
                pair[0].0.as_str(),
                "the state dict names it twice",
                "save the state dict again",
            ));
        }
        Ok(self.out)
    }
}

/// Whether a dictionary beside the weights is an optimizer's or scheduler's by its name.
fn is_training(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.contains("optim") || last.contains("scheduler")
}

fn shorten(text: &str) -> &str {
    shorten_to(text, 60)
}

fn shorten_to(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
