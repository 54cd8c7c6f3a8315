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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Apply, ApplyParams};
    use crate::oracle::{candidate, chain, params};
    use fusion_sdk::Context;
    use fusion_sdk::align::Candidate;
    use fusion_sdk::context::Alone;

    fn matching<'a>(models: &'a [Candidate<'a>], alignments: &'a [&'a Alignment], seed: u64) -> Matching<'a> {
        Matching {
            models,
            reference: false,
            target: models[0].symmetries,
            features: None,
            objective: None,
            alignments,
            seed,
            context: Context::new(&Alone),
        }
    }

    const ONE: Incoming = Incoming { reference: 0, from: 1, data: false };

    #[test]
    fn draws_go_by_seed_and_model() {
        let dims = [3, 9, 8, 2];
        let (symmetries, held) = (chain(&dims), params(1, &dims));
        let models = [candidate("a", &symmetries, &held), candidate("b", &symmetries, &held)];
        let draw = |seed| RandomPermutation.align(matching(&models, &[], seed)).unwrap();
        let first = draw(1);
        assert_eq!(first, draw(1));
        assert_ne!(first.alignments[0], first.alignments[1]);
        assert_ne!(first.alignments[0], draw(2).alignments[0]);
        first.alignments[0].check(&symmetries, &symmetries).unwrap();
        assert_eq!(first.facts[1], ("units".to_owned(), 34.0));
    }

    #[test]
    fn an_alignment_is_applied_and_undone() {
        let dims = [3, 9, 8, 2];
        let (symmetries, held) = (chain(&dims), params(1, &dims));
        let models = [candidate("a", &symmetries, &held)];
        let one = Alignment::random(&symmetries, 5);
        let apply = |inverse, alignments: &[&Alignment]| {
            Apply::prepare(ApplyParams { inverse }, ONE).unwrap().align(matching(&models, alignments, 0))
        };
        assert_eq!(apply(false, &[&one]).unwrap().alignments, std::slice::from_ref(&one));
        let back = apply(true, &[&one]).unwrap().alignments.remove(0);
        assert_eq!(one.then(&back, &symmetries).unwrap().moved(&symmetries).0, 0);
        assert!(apply(false, &[&one, &one]).is_err());
        // An alignment of another network.
        let other = Alignment::identity(&chain(&[3, 9, 7, 2]));
        let error = apply(false, &[&other]).unwrap_err();
        assert!(error.message.contains("cannot be applied to `a`") && error.input == Some(0), "{error}");
    }
}
