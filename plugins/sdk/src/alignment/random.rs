//! Random elements of a symmetry group: what proofs by running a network move units with, and planted permutations are.

use super::{Alignment, Transform};
use crate::rng::Key;
use crate::symmetry::{NodeId, Symmetries};

impl Alignment {
    /// A random permutation of every node, one for each index of its parents: a function of the seed and the nodes' names. None is the identity
    /// where there are two units or more.
    #[must_use]
    pub fn random(symmetries: &Symmetries, seed: u64) -> Alignment {
        let transforms = symmetries.ids().map(|id| permutation(symmetries, id, seed)).collect();
        Alignment::new(symmetries, symmetries, transforms)
    }

    /// The same for one node; the others stay.
    #[must_use]
    pub fn random_of(symmetries: &Symmetries, id: NodeId, seed: u64) -> Alignment {
        let transforms = symmetries.ids().map(|other| match other == id {
            true => permutation(symmetries, id, seed),
            false => Transform::Identity,
        });
        Alignment::new(symmetries, symmetries, transforms.collect())
    }
}

fn permutation(symmetries: &Symmetries, id: NodeId, seed: u64) -> Transform {
    let node = symmetries.node(id);
    let tables = (0..symmetries.copies(id)).map(|copy| {
        let key = Key::new(seed, &node.name, copy as u64);
        let mut order: Vec<u32> = (0..node.size as u32).collect();
        order.sort_by_key(|unit| (key.bits(u64::from(*unit)), *unit));
        if order.iter().enumerate().all(|(slot, unit)| slot == *unit as usize) {
            order.rotate_left(usize::from(node.size > 1));
        }
        order
    });
    Transform::Permutation(tables.collect())
}
