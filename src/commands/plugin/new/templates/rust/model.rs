//! `{{name}}`: a mean of models in which odd ones count less. A start for a method of your own: change what `run` computes, then what
//! `about` says of it.
//!
//! dᵢ = ‖θᵢ − mean θ‖ over the whole model, D = mean dᵢ, wᵢ = (D / (D + dᵢ))^power, θ = Σ wᵢθᵢ / Σ wᵢ; equal models count alike. In f64,
//! each element rounded once.

use fusion_sdk::{
    About, Category, Claim, Context, MethodError, Models, NoParams, Params, Port, Tasks, WholeModel,
};

fusion_sdk::export_plugin! {
    id = "{{id}}",
    methods = [Kernel: WholeModel],
}

/// Settings of the stage.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Settings {
    /// how much less an odd model counts: 0 is the plain mean
    #[param(range = 0.0..=16.0, default = 1.0)]
    pub power: f64,
}

/// The prepared method.
#[derive(Debug)]
pub struct Kernel {
    power: f64,
    /// Bytes of its largest member in all models and in the result.
    held: usize,
}

/// A member of every model.
fn read(models: &dyn Models, member: usize) -> Result<Vec<Vec<f32>>, MethodError> {
    (0..models.models()).map(|model| models.read(model, member)).collect()
}

/// Element `i` of the weighted mean.
fn mean(inputs: &[Vec<f32>], weights: &[f64], i: usize) -> f64 {
    let sum: f64 = inputs.iter().zip(weights).map(|(input, w)| w * f64::from(input[i])).sum();
    sum / weights.iter().sum::<f64>()
}

impl WholeModel for Kernel {
    type Params = Settings;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "{{name}}",
            version: 1,
            category: Category::Average,
            summary: "mean of models in which odd ones count less",
            formula: "dᵢ = ‖θᵢ − mean θ‖, D = mean dᵢ, wᵢ = (D / (D + dᵢ))^power\nθ = Σ wᵢθᵢ / Σ wᵢ",
            citation: "name your source here: authors, title or venue, year",
            ports: vec![Port { settings: false, ..Port::from(1, None, "the models") }],
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

    /// Checks the settings, also when a recipe is only planned.
    fn prepare(tasks: Tasks<Settings, NoParams>) -> Result<Self, MethodError> {
        let Some(first) = tasks.tensors.first().filter(|tensor| !tensor.inputs.is_empty()) else {
            return Err(MethodError::invalid("there are no models"));
        };
        let largest = tasks.tensors.iter().map(|tensor| tensor.len()).max().unwrap_or(0);
        let held = largest as usize * (first.inputs.len() + 1) * size_of::<f32>();
        Ok(Kernel { power: first.params.power, held })
    }

    /// Twice through all members: distances to the mean, then the weighted mean.
    fn run(&self, models: &dyn Models, context: &Context<'_>) -> Result<(), MethodError> {
        let members = models.members();
        let mut weights = vec![1.0; models.models()];
        let mut squares = vec![0.0; models.models()];
        for member in 0..members {
            context.check()?;
            context.progress(member as u64, 2 * members as u64, "distances");
            let inputs = read(models, member)?;
            for i in 0..inputs.first().map_or(0, Vec::len) {
                let middle = mean(&inputs, &weights, i);
                for (squares, input) in squares.iter_mut().zip(&inputs) {
                    *squares += (f64::from(input[i]) - middle).powi(2);
                }
            }
        }
        let middle = squares.iter().map(|one: &f64| one.sqrt()).sum::<f64>() / squares.len() as f64;
        if middle > 0.0 {
            for (weight, squares) in weights.iter_mut().zip(&squares) {
                *weight = (middle / (middle + squares.sqrt())).powf(self.power);
            }
        }
        for member in 0..members {
            context.check()?;
            context.progress((members + member) as u64, 2 * members as u64, "mean");
            let inputs = read(models, member)?;
            let n = inputs.first().map_or(0, Vec::len);
            let out: Vec<f32> = (0..n).map(|i| mean(&inputs, &weights, i) as f32).collect();
            models.write(member, &out)?;
        }
        Ok(())
    }

    fn scratch_bytes(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::testing::{run, tensor};
    use fusion_sdk::{RawGroup, method};
    use serde_json::json;

    use super::*;

    /// The models are 0, 0 and 3, their distances to the mean 1, 1 and 2, so the weights are 4/7, 4/7 and 2/5, and the result is 7/9. `run`
    /// computes on more threads as well, and stops the calls.
    #[test]
    fn odd_models_count_less() {
        let inputs = vec![("from", json!({})); 3];
        let group = |params| RawGroup { tensors: vec![tensor("w", &[1], &params, &inputs)], seed: 0 };
        let data = [vec![vec![0.0], vec![0.0], vec![3.0]]];
        let method = method::whole_model::<Kernel>();
        let out = run(&*method, &group(json!({})), &data).unwrap();
        assert!((out[0][0] - 7.0 / 9.0).abs() < 1e-6, "{out:?}");
        assert_eq!(run(&*method, &group(json!({"power": 0.0})), &data).unwrap(), [[1.0]]);
    }
}
