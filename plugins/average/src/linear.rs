//! `linear`: the weighted average.
//!
//! θ = Σ wᵢθᵢ / Σ wᵢ, or θ = Σ wᵢθᵢ with `normalize = false`. Weights are divided in f64 and rounded to f32; the sum runs in
//! f32 in input order. NaN and infinities propagate, also under a weight of 0.
//!
//! Differences to mergekit's `linear`: `weight` has a default (1); weights that sum to zero or nearly cancel are refused
//! before anything is read, where mergekit divides and writes infinities or noise; a base model is not silently averaged in.
//!
//! Utans, "Weight averaging for neural networks and local resampling schemes", 1996; Wortsman et al., "Model soups", 2022.

use fusion_sdk::{About, Category, Claim, Elementwise, MethodError, Params, Port, Tasks, Tile};

use crate::combine::weighted_sum;
use crate::weights::{Weight, normalised, to_f32};

/// Stage parameters of `linear`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct LinearParams {
    /// divide by the sum of the weights, so that only their ratios matter
    #[param(default = true, varies)]
    pub normalize: bool,
}

/// The kernel of `linear`.
#[derive(Debug)]
pub struct Linear {
    /// Per tensor of the group, then per input.
    pub(crate) weights: Vec<Vec<f32>>,
}

impl Elementwise for Linear {
    type Params = LinearParams;
    type Input = Weight;

    fn about() -> About {
        About {
            id: "linear",
            version: 1,
            category: Category::Average,
            summary: "weighted average of models",
            formula: "θ = Σ wᵢθᵢ / Σ wᵢ\nθ = Σ wᵢθᵢ with normalize = false",
            citation: "Utans, Weight averaging for neural networks and local resampling schemes, AAAI 1996 workshop; \
                       Wortsman et al., Model soups, ICML 2022",
            ports: vec![Port::from(1, None, "the models to average")],
            random: false,
            claims: &[Claim::Deterministic, Claim::Commutative, Claim::ScaleEquivariant],
        }
    }

    fn prepare(tasks: Tasks<LinearParams, Weight>) -> Result<Self, MethodError> {
        let mut weights = Vec::with_capacity(tasks.tensors.len());
        for tensor in &tasks.tensors {
            let given: Vec<f64> = tensor.inputs.iter().map(|input| input.settings.weight).collect();
            weights.push(to_f32(&if tensor.params.normalize { normalised(&given)? } else { given }));
        }
        Ok(Linear { weights })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        weighted_sum(&self.weights[tile.tensor], tile.inputs, out);
    }
}
