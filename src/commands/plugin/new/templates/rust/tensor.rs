//! `{{name}}`: the mean of models, whose rows keep the models' norms. A start for a method of your own: change what `apply` computes,
//! then what `about` says of it.
//!
//! Mean row m, r = mean ‖rowᵢ‖ / ‖m‖, row of the result = m · (1 + strength · (r − 1)); r is 1 where m is 0. A row runs over the last
//! dimension. In f64, each element rounded once.

use fusion_sdk::{
    About, Category, Claim, Context, Member, MethodError, NoParams, Params, Port, Tasks, WholeTensor,
};

fusion_sdk::export_plugin! {
    id = "{{id}}",
    methods = [Kernel: WholeTensor],
}

/// Settings of the stage.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Settings {
    /// how much of the norm is given back: 0% is the plain mean
    #[param(unit = fraction, range = 0.0..=1.0, default = 1.0, varies)]
    pub strength: f64,
}

/// The prepared method of one tensor.
#[derive(Debug)]
pub struct Kernel {
    strength: f64,
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

impl WholeTensor for Kernel {
    type Params = Settings;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "{{name}}",
            version: 1,
            category: Category::Average,
            summary: "mean of models whose rows keep the models' norms",
            formula: "m = mean row, r = mean ‖rowᵢ‖ / ‖m‖\nrow = m · (1 + strength · (r − 1))",
            citation: "name your source here: authors, title or venue, year",
            ports: vec![Port { settings: false, ..Port::from(1, None, "the models") }],
            random: false,
            claims: &[Claim::Deterministic, Claim::Commutative, Claim::Idempotent, Claim::ScaleEquivariant],
        }
    }

    /// Checks the settings, also when a recipe is only planned. Per-layer values and rules are resolved: these are the tensor's own.
    fn prepare(tasks: Tasks<Settings, NoParams>) -> Result<Self, MethodError> {
        let [tensor] = tasks.tensors.as_slice() else {
            return Err(MethodError::invalid("it works on one tensor at a time"));
        };
        if tensor.inputs.is_empty() {
            return Err(MethodError::invalid("there are no models"));
        }
        Ok(Kernel { strength: tensor.params.strength })
    }

    /// The whole tensor, row-major.
    fn apply(&self, tensor: &mut Member<'_>, context: &Context<'_>) -> Result<(), MethodError> {
        let inputs = tensor.inputs;
        let models = inputs.len() as f64;
        let mean = |i: usize| inputs.iter().map(|input| f64::from(input[i])).sum::<f64>() / models;
        let width = tensor.shape.last().copied().unwrap_or(1).max(1);
        for (row, out) in tensor.out.chunks_mut(width).enumerate() {
            context.check()?;
            let at = row * width..row * width + out.len();
            let norms = inputs.iter().map(|input| norm(input[at.clone()].iter().map(|&x| f64::from(x))));
            let norms = norms.sum::<f64>() / models;
            let own = norm(at.clone().map(mean));
            let ratio = if own == 0.0 { 1.0 } else { norms / own };
            let factor = 1.0 + self.strength * (ratio - 1.0);
            for (out, i) in out.iter_mut().zip(at) {
                *out = (factor * mean(i)) as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::testing::{run, tensor};
    use fusion_sdk::{RawGroup, method};
    use serde_json::{Value, json};

    use super::*;

    fn result(params: &Value) -> Vec<f32> {
        let inputs = vec![("from", json!({})); 2];
        let group = RawGroup { tensors: vec![tensor("w", &[2, 2], params, &inputs)], seed: 0 };
        let data = vec![vec![3.0, 4.0, 0.0, 0.0], vec![3.0, -4.0, 0.0, 2.0]];
        run(&*method::whole_tensor::<Kernel>(), &group, &[data]).unwrap().remove(0)
    }

    /// The mean rows are (3, 0) and (0, 1), the models' rows have norms 5 and 5, 0 and 2. `run` computes on more threads as well, and
    /// stops the calls.
    #[test]
    fn rows_keep_their_norms() {
        assert_eq!(result(&json!({})), [5.0, 0.0, 0.0, 1.0]);
        assert_eq!(result(&json!({"strength": 0.5})), [4.0, 0.0, 0.0, 1.0]);
        assert_eq!(result(&json!({"strength": 0.0})), [3.0, 0.0, 0.0, 1.0]);
    }
}
