//! `apply`: an alignment that another stage has found, or that was saved, applied to other models with the same symmetries.
//!
//! `NAME.alignment` of a stage that aligned several models, and the file that it is saved to, is one for each of them: they are applied to as
//! many models, in order. One alignment is applied to all. One between widths (`ot_fusion`, `pfnm`) is applied to models of the width that it
//! is for, which get the other width; it cannot be undone.
//!
//! Useful for checkpoints along one training, for optimiser states, and to go back: with `inverse` the units return to where they came from.
//! Two stages behind each other compose.

use fusion_sdk::align::{Align, Aligned, Incoming, Matching};
use fusion_sdk::{About, Category, Claim, MethodError, Params, Port};

use crate::ports;

/// Stage parameters of `apply`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct ApplyParams {
    /// whether to undo the alignment instead
    #[param(default = false)]
    pub inverse: bool,
}

/// The kernel of `apply`.
#[derive(Clone, Debug)]
pub struct Apply {
    inverse: bool,
}

impl Align for Apply {
    type Params = ApplyParams;

    fn about() -> About {
        About {
            id: "apply",
            version: 2,
            category: Category::Align,
            summary: "an alignment that is known, applied to models",
            formula: "π(θ), or π⁻¹(θ)",
            citation: "",
            ports: vec![
                ports::from(1, None, "the models that are brought over"),
                Port {
                    max: None,
                    doc: "the alignment: one for all models, or one for each in their order, as a stage has that aligned several; those in a file are named by `stored` instead",
                    ..ports::by()
                },
            ],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: ApplyParams, _: Incoming) -> Result<Self, MethodError> {
        Ok(Apply { inverse: params.inverse })
    }

    fn unequal(&self) -> bool {
        true // each model is held against its own alignment
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let (models, given) = (matching.moving(), matching.alignments);
        if given.len() != 1 && given.len() != models.len() {
            return Err(MethodError::invalid(format!(
                "there are {} alignments for {} models",
                given.len(),
                models.len()
            ))
            .help("give one alignment for all, or one for each model"));
        }
        let mut all = Aligned::default();
        let (mut moved, mut units) = (0, 0);
        for (index, model) in models.iter().enumerate() {
            let alignment = given[index % given.len()];
            let refused = |error: fusion_sdk::alignment::AlignmentError| {
                MethodError::invalid(format!("the alignment cannot be applied to `{}`: {error}", model.name))
                    .of_input(index)
            };
            let alignment = match self.inverse {
                true => {
                    alignment.check(model.symmetries, model.symmetries).map_err(refused)?;
                    alignment.inverse(model.symmetries).map_err(|error| refused(error).at("inverse"))?
                }
                false => alignment.clone(),
            };
            alignment.check(model.symmetries, matching.target).map_err(refused)?;
            let (own, of) = alignment.moved(model.symmetries);
            (moved, units) = (moved + own, units + of);
            all.alignments.push(alignment);
        }
        all.facts = vec![("moved".to_owned(), moved as f64), ("units".to_owned(), units as f64)];
        Ok(all)
    }
}
