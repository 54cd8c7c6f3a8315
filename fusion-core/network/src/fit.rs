//! Finds out how the tensors of a foreign checkpoint fit a network's: by name where names agree, by shape and order where they
//! do not.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::Architecture;
use crate::error::{Candidates, StateError};
use crate::layout::{Role, TensorSpec};
use crate::state::State;

/// A tensor of a foreign checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its name there.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Where a network's tensor comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The network's tensor.
    pub tensor: TensorSpec,
    /// Its index among the foreign ones; `None` for a counter that the checkpoint does not have: take 0.
    pub foreign: Option<usize>,
}

/// Prefixes that wrappers put before all names: `DataParallel`, `torch.compile`, Lightning.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

impl State {
    /// How a checkpoint fits, one entry for each tensor of [`Architecture::tensors`], in order.
    ///
    /// 1. A `map` of pairs (the network's name, the checkpoint's name) wins for the names it has.
    /// 2. If all other names are there, perhaps behind a wrapper's prefix (`module.`, `_orig_mod.`, `model.`), they are taken.
    /// 3. If none of them is there, tensors are matched by shape and kind (`weight`, `bias`, `running_mean`, …). Several of the same
    ///    shape and kind are matched in order, but only if the order of the file and the order of the names (numbers counted as
    ///    numbers) say the same, and there are as many on both sides.
    ///
    /// Tensors of the checkpoint that are left over are an error.
    ///
    /// # Errors
    /// If tensors are missing, left over, of another shape, or fit in more than one way; the last lists what could be what.
    pub fn fit(
        architecture: &Architecture,
        foreign: &[Foreign],
        map: Option<&[(String, String)]>,
    ) -> Result<Vec<Fit>, StateError> {
        let tensors = architecture.tensors();
        let mut search = Search::new(&tensors, foreign)?;
        search.take_map(map.unwrap_or_default())?;
        let prefix = search.prefix();
        if search.any_name(&prefix) {
            search.take_names(&prefix)?;
        } else {
            search.take_shapes()?;
        }
        search.finish()
    }
}

struct Search<'a> {
    tensors: &'a [TensorSpec],
    foreign: &'a [Foreign],
    by_name: BTreeMap<&'a str, usize>,
    /// Of each tensor.
    taken: Vec<Option<usize>>,
    /// Foreign tensors that are given away.
    used: BTreeSet<usize>,
}

impl<'a> Search<'a> {
    fn new(tensors: &'a [TensorSpec], foreign: &'a [Foreign]) -> Result<Self, StateError> {
        let mut by_name = BTreeMap::new();
        for (index, one) in foreign.iter().enumerate() {
            if by_name.insert(one.name.as_str(), index).is_some() {
                return Err(StateError::Twice { name: one.name.clone() });
            }
        }
        Ok(Search { tensors, foreign, by_name, taken: vec![None; tensors.len()], used: BTreeSet::new() })
    }

    fn take(&mut self, tensor: usize, foreign: usize) -> Result<(), StateError> {
        let (spec, found) = (&self.tensors[tensor], &self.foreign[foreign]);
        // PyTorch's counters are scalars; some tools write them as one element.
        let counter = spec.role == Role::Counter && found.shape.iter().product::<usize>() == 1;
        if found.shape != spec.shape && !counter {
            let (found, wanted) = (found.shape.clone(), spec.shape.clone());
            return Err(StateError::Shape { name: self.foreign[foreign].name.clone(), found, wanted });
        }
        if self.taken[tensor].is_some() || !self.used.insert(foreign) {
            return Err(StateError::Twice { name: found.name.clone() });
        }
        self.taken[tensor] = Some(foreign);
        Ok(())
    }

    fn take_map(&mut self, map: &[(String, String)]) -> Result<(), StateError> {
        for (ours, theirs) in map {
            let Some(tensor) = self.tensors.iter().position(|tensor| tensor.name == *ours) else {
                return Err(StateError::Unexpected { name: ours.clone() });
            };
            let Some(&foreign) = self.by_name.get(theirs.as_str()) else {
                return Err(StateError::Missing { name: theirs.clone() });
            };
            self.take(tensor, foreign)?;
        }
        Ok(())
    }

    /// The wrapper's prefix, if all foreign names have one.
    fn prefix(&self) -> String {
        let all = |prefix: &&&str| self.foreign.iter().all(|one| one.name.starts_with(**prefix));
        let ours = |prefix: &&&str| self.tensors.iter().any(|one| one.name.starts_with(**prefix));
        WRAPPERS
            .iter()
            .filter(|prefix| all(prefix) && !ours(prefix))
            .copied()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    fn any_name(&self, prefix: &str) -> bool {
        self.open().iter().any(|&index| self.named(index, prefix).is_some())
    }

    fn named(&self, tensor: usize, prefix: &str) -> Option<usize> {
        let name = format!("{prefix}{}", self.tensors[tensor].name);
        self.by_name.get(name.as_str()).copied()
    }

    /// Tensors that have nothing yet.
    fn open(&self) -> Vec<usize> {
        (0..self.tensors.len()).filter(|&index| self.taken[index].is_none()).collect()
    }

    fn take_names(&mut self, prefix: &str) -> Result<(), StateError> {
        for tensor in self.open() {
            match self.named(tensor, prefix) {
                Some(foreign) => self.take(tensor, foreign)?,
                None if self.tensors[tensor].role == Role::Counter => {}
                None => return Err(StateError::Missing { name: self.tensors[tensor].name.clone() }),
            }
        }
        Ok(())
    }

    fn take_shapes(&mut self) -> Result<(), StateError> {
        let mut classes: BTreeMap<Class, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for tensor in self.open() {
            let spec = &self.tensors[tensor];
            classes.entry((spec.shape.clone(), kind(&spec.name))).or_default().0.push(tensor);
        }
        for (index, one) in self.foreign.iter().enumerate().filter(|(index, _)| !self.used.contains(index)) {
            classes.entry((one.shape.clone(), kind(&one.name))).or_default().1.push(index);
        }
        let mut undecided = Vec::new();
        for (ours, theirs) in classes.into_values() {
            let counters = ours.iter().all(|&index| self.tensors[index].role == Role::Counter);
            if theirs.is_empty() && counters {
                continue;
            }
            let mut by_name = theirs.clone();
            by_name.sort_by(|&a, &b| natural(&self.foreign[a].name, &self.foreign[b].name));
            if ours.len() == theirs.len() && by_name == theirs {
                for (tensor, foreign) in ours.into_iter().zip(theirs) {
                    self.take(tensor, foreign)?;
                }
            } else {
                let foreign: Vec<String> =
                    theirs.iter().map(|&index| self.foreign[index].name.clone()).collect();
                undecided.extend(ours.into_iter().map(|index| Candidates {
                    tensor: self.tensors[index].name.clone(),
                    shape: self.tensors[index].shape.clone(),
                    foreign: foreign.clone(),
                }));
            }
        }
        if undecided.is_empty() { Ok(()) } else { Err(StateError::Ambiguous { undecided }) }
    }

    fn finish(self) -> Result<Vec<Fit>, StateError> {
        if let Some(index) = (0..self.foreign.len()).find(|index| !self.used.contains(index)) {
            return Err(StateError::Unexpected { name: self.foreign[index].name.clone() });
        }
        let fits = self.tensors.iter().zip(self.taken);
        Ok(fits.map(|(tensor, foreign)| Fit { tensor: tensor.clone(), foreign }).collect())
    }
}

/// Shape and kind.
type Class = (Vec<usize>, &'static str);

/// What a name says of a tensor's part in its layer.
fn kind(name: &str) -> &'static str {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "running_mean" | "mean" => "running_mean",
        "running_var" | "var" => "running_var",
        "num_batches_tracked" => "counter",
        _ if last.starts_with("bias") || last == "beta" => "bias",
        _ => "weight",
    }
}

/// Compares names with numbers as numbers: `layers.9` before `layers.10`.
fn natural(a: &str, b: &str) -> Ordering {
    parts(a).cmp(&parts(b))
}

/// Runs of digits as (number, ""), the rest as (0, text).
fn parts(name: &str) -> Vec<(bool, u64, &str)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        match part.parse() {
            Ok(number) if digits => parts.push((false, number, "")),
            _ => parts.push((true, 0, part)),
        }
        rest = behind;
    }
    parts
}
