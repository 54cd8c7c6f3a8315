//! Where a search for permutations stands: a table for every index of every node's parents, cheap to change and to look up.
//!
//! Convention of `fusion_sdk::alignment`: slot `i` of the result takes unit `table[i]` of the model that is brought over; the copies of a
//! node with parents go by the parents' indices in the result.

use fusion_sdk::MethodError;
use fusion_sdk::alignment::{Alignment, Transform};
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{NodeId, Symmetries};

/// Tables of one node, one for each index of its parents.
pub(crate) type Tables = Vec<Vec<u32>>;

/// A permutation of every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    tables: Vec<Tables>,
}

impl State {
    /// Every unit where it is.
    pub(crate) fn identity(symmetries: &Symmetries) -> State {
        let tables = symmetries.ids().map(|id| {
            let stays: Vec<u32> = (0..symmetries.node(id).size as u32).collect();
            vec![stays; symmetries.copies(id)]
        });
        State { tables: tables.collect() }
    }

    /// A random element: every table uniform and independent (Fisher and Yates), a function of the seed and the node's name.
    pub(crate) fn random(symmetries: &Symmetries, seed: u64) -> State {
        let mut state = State::identity(symmetries);
        for id in symmetries.ids() {
            let key = Key::new(seed, &symmetries.node(id).name, 0);
            for (copy, table) in state.tables[id.index()].iter_mut().enumerate() {
                shuffle(table, key, (copy as u64) << 32);
            }
        }
        state
    }

    /// From an alignment that permutes.
    ///
    /// # Errors
    /// It belongs to other symmetries, or has transforms of other kinds.
    pub(crate) fn of(symmetries: &Symmetries, alignment: &Alignment) -> Result<State, MethodError> {
        let refused = |message: String| MethodError::invalid(message);
        alignment.check(symmetries, symmetries).map_err(|error| refused(error.to_string()))?;
        let mut state = State::identity(symmetries);
        for (id, (name, transform)) in symmetries.ids().zip(&alignment.nodes) {
            match transform {
                Transform::Identity => {}
                Transform::Permutation(tables) => state.tables[id.index()].clone_from(tables),
                Transform::Scale(_) | Transform::Map(_) => {
                    return Err(refused(format!("the transform of `{name}` is no permutation")));
                }
            }
        }
        Ok(state)
    }

    /// The table of a node for an index of its parents.
    pub(crate) fn table(&self, id: NodeId, copy: usize) -> &[u32] {
        &self.tables[id.index()][copy]
    }

    /// All tables of a node.
    pub(crate) fn tables(&self, id: NodeId) -> &Tables {
        &self.tables[id.index()]
    }

    /// Replaces the tables of a node.
    pub(crate) fn set(&mut self, id: NodeId, tables: Tables) {
        self.tables[id.index()] = tables;
    }

    /// One transform for every node; nodes whose units all stay have the identity.
    pub(crate) fn transforms(&self) -> Vec<Transform> {
        let each = self.tables.iter().map(|tables| match tables.iter().all(|table| stays(table)) {
            true => Transform::Identity,
            false => Transform::Permutation(tables.clone()),
        });
        each.collect()
    }

    /// As a value that can be applied and kept.
    pub(crate) fn alignment(&self, from: &Symmetries, to: &Symmetries) -> Alignment {
        Alignment::new(from, to, self.transforms())
    }

    /// How many units have another place than in `other`.
    pub(crate) fn moved_from(&self, other: &State) -> usize {
        let tables = self.tables.iter().flatten().zip(other.tables.iter().flatten());
        tables.map(|(own, other)| own.iter().zip(other).filter(|(own, other)| own != other).count()).sum()
    }
}

/// Whether a table is the identity.
fn stays(table: &[u32]) -> bool {
    table.iter().enumerate().all(|(slot, unit)| slot == *unit as usize)
}

/// Puts items in a random order. Draws are those of `key` from `offset` on.
pub(crate) fn shuffle<T>(items: &mut [T], key: Key, offset: u64) {
    for last in (1..items.len()).rev() {
        // The upper half of a 64-bit product: uniform but for 2⁻³².
        let draw = u64::from(key.bits(offset + last as u64));
        items.swap(last, ((draw * (last as u64 + 1)) >> 32) as usize);
    }
}
