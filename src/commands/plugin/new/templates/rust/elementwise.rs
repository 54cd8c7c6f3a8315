//! `{{name}}`: the weighted mean of models, element by element. A start for a method of your own: change what `apply` computes, then
//! what `about` says of it.
//!
//! θ = Σ wᵢθᵢ / Σ wᵢ, in f64, each element rounded once.

use fusion_sdk::{About, Category, Claim, Elementwise, MethodError, NoParams, Params, Port, Tasks, Tile};

fusion_sdk::export_plugin! {
    id = "{{id}}",
    methods = [Kernel: Elementwise],
}

/// Settings of an edge, `from chat { weight = 0.5 }`. Settings of the stage would be another such struct, `Kernel::Params`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Edge {
    /// how much this model counts
    #[param(range = 0.0..=1000.0, default = 1.0, varies)]
    pub weight: f64,
}

/// The prepared method of a group of tensors (here: of one).
#[derive(Debug)]
pub struct Kernel {
    /// Per tensor, then per input: weights that sum to 1.
    weights: Vec<Vec<f64>>,
}

impl Elementwise for Kernel {
    type Params = NoParams;
    type Input = Edge;

    fn about() -> About {
        About {
            id: "{{name}}",
            version: 1,
            category: Category::Average,
            summary: "weighted mean of models",
            formula: "θ = Σ wᵢθᵢ / Σ wᵢ",
            citation: "name your source here: authors, title or venue, year",
            ports: vec![Port::from(1, None, "the models")],
            random: false,
            claims: &[
                Claim::Deterministic,
                Claim::Commutative,
                Claim::Idempotent,
                Claim::Affine,
                Claim::ScaleEquivariant,
            ],
        }
    }

    /// Checks the settings, also when a recipe is only planned. Per-layer values and rules are resolved: each tensor has its own.
    fn prepare(tasks: Tasks<NoParams, Edge>) -> Result<Self, MethodError> {
        let mut weights = Vec::with_capacity(tasks.tensors.len());
        for tensor in &tasks.tensors {
            let given: Vec<f64> = tensor.inputs.iter().map(|input| input.settings.weight).collect();
            let sum: f64 = given.iter().sum();
            if sum == 0.0 {
                return Err(MethodError::invalid("the weights are all 0").at("weight").of_input(0));
            }
            weights.push(given.iter().map(|weight| weight / sum).collect());
        }
        Ok(Kernel { weights })
    }

    /// A stretch of at most 2048 elements, on any thread.
    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        let weights = &self.weights[tile.tensor];
        for (i, out) in out.iter_mut().enumerate() {
            let terms = weights.iter().zip(tile.inputs).map(|(w, input)| w * f64::from(input[i]));
            *out = terms.sum::<f64>() as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::testing::{run, tensor};
    use fusion_sdk::{ErrorKind, RawGroup, method};
    use serde_json::json;

    use super::*;

    /// `run` computes in another order and on more threads as well, and compares the bits.
    #[test]
    fn the_mean_is_weighted() {
        let inputs = [("from", json!({"weight": 3.0})), ("from", json!({}))];
        let group = RawGroup { tensors: vec![tensor("w", &[3], &json!({}), &inputs)], seed: 0 };
        let data = vec![vec![1.0, 2.0, 3.0], vec![3.0, 6.0, 9.0]];
        let out = run(&*method::elementwise::<Kernel>(), &group, &[data]).unwrap();
        assert_eq!(out, [[1.5, 3.0, 4.5]]);
    }

    #[test]
    fn weights_that_sum_to_nothing_are_refused() {
        let inputs = [("from", json!({"weight": 0.0}))];
        let group = RawGroup { tensors: vec![tensor("w", &[1], &json!({}), &inputs)], seed: 0 };
        let error = method::elementwise::<Kernel>().prepare(&group).err().unwrap();
        assert_eq!((error.kind, error.parameter), (ErrorKind::Invalid, Some("weight")));
    }
}
