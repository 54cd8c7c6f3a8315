//! `random_permutation`: a random element of a network's symmetry group, for tests of what permutations do, and as the group S' that permuted
//! solutions are drawn from.
//!
//! Every node's tables are uniform and independent for each index of its parents; the identity is never drawn where there are two units or
//! more. The result computes the same function; the plain mean with its origin does not.
//!
//! Entezari, Sedghi, Saukh, Neyshabur, "The role of permutation invariance in linear mode connectivity of neural networks", ICLR 2022.

use fusion_sdk::align::{Align, Aligned, Incoming, Matching};
use fusion_sdk::alignment::Alignment;
use fusion_sdk::rng::Key;
use fusion_sdk::{About, Category, Claim, MethodError, NoParams};

use crate::ports;

/// The kernel of `random_permutation`.
#[derive(Clone, Copy, Debug)]
pub struct RandomPermutation;

impl Align for RandomPermutation {
    type Params = NoParams;

    fn about() -> About {
        About {
            id: "random_permutation",
            version: 1,
            category: Category::Align,
            summary: "units in random order: the same function with other weights",
            formula: "π uniform over the permutations of every node",
            citation: "Entezari et al., The role of permutation invariance in linear mode connectivity, ICLR 2022",
            ports: vec![ports::from(1, None, "the models whose units are permuted, each in its own way")],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(_: NoParams, _: Incoming) -> Result<Self, MethodError> {
        Ok(RandomPermutation)
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let mut all = Aligned::default();
        let (mut moved, mut units) = (0, 0);
        for (index, model) in matching.moving().iter().enumerate() {
            let seed = Key::new(matching.seed, "random_permutation", index as u64).value();
            let alignment = Alignment::random(model.symmetries, seed);
            let (own, of) = alignment.moved(model.symmetries);
            (moved, units) = (moved + own, units + of);
            all.alignments.push(alignment);
        }
        all.facts = vec![("moved".to_owned(), moved as f64), ("units".to_owned(), units as f64)];
        Ok(all)
    }
}
