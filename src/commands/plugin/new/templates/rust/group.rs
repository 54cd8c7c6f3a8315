//! `{{name}}`: the mean of models, whose layers keep the models' norms. A start for a method of your own: change what `apply` computes,
//! then what `about` says of it.
//!
//! m = mean of the models, r = mean ‖layerᵢ‖ / ‖layer of m‖ over all tensors of the layer, θ = m · (1 + strength · (r − 1)); r is 1 where m
//! is 0. In f64, each element rounded once.

use fusion_sdk::{
    About, Category, Claim, Context, Group, Member, MethodError, NoParams, Params, Port, Tasks,
};

fusion_sdk::export_plugin! {
    id = "{{id}}",
    methods = [Kernel: Group],
}

/// Settings of the stage.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Settings {
    /// how much of the norm is given back: 0% is the plain mean
    #[param(unit = fraction, range = 0.0..=1.0, default = 1.0, varies)]
    pub strength: f64,
}

/// The prepared method of the tensors of one layer.
#[derive(Debug)]
pub struct Kernel {
    strength: f64,
}

/// Element `i` of the mean.
fn mean(inputs: &[&[f32]], i: usize) -> f64 {
    inputs.iter().map(|input| f64::from(input[i])).sum::<f64>() / inputs.len() as f64
}

impl Group for Kernel {
    type Params = Settings;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "{{name}}",
            version: 1,
            category: Category::Average,
            summary: "mean of models whose layers keep the models' norms",
            formula: "m = mean θᵢ, r = mean ‖layerᵢ‖ / ‖layer of m‖\nθ = m · (1 + strength · (r − 1))",
            citation: "name your source here: authors, title or venue, year",
            ports: vec![Port { settings: false, ..Port::from(1, None, "the models") }],
            random: false,
            claims: &[Claim::Deterministic, Claim::Commutative, Claim::Idempotent, Claim::ScaleEquivariant],
        }
    }

    /// Checks the settings, also when a recipe is only planned. Rules are resolved: each tensor has its own.
    fn prepare(tasks: Tasks<Settings, NoParams>) -> Result<Self, MethodError> {
        let Some(first) = tasks.tensors.first().filter(|tensor| !tensor.inputs.is_empty()) else {
            return Err(MethodError::invalid("there are no models"));
        };
        let strength = first.params.strength;
        if tasks.tensors.iter().any(|tensor| tensor.params.strength != strength) {
            let text = "`strength` must be the same for all tensors of a layer";
            return Err(MethodError::invalid(text).at("strength"));
        }
        Ok(Kernel { strength })
    }

    /// All tensors of the layer.
    fn apply(&self, tensors: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError> {
        let models = tensors.first().map_or(0, |tensor| tensor.inputs.len());
        let (mut squares, mut own) = (vec![0.0; models], 0.0);
        for tensor in tensors.iter() {
            context.check()?;
            for (squares, input) in squares.iter_mut().zip(tensor.inputs) {
                *squares += input.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
            }
            own += (0..tensor.out.len()).map(|i| mean(tensor.inputs, i).powi(2)).sum::<f64>();
        }
        let norms = squares.iter().map(|squares| squares.sqrt()).sum::<f64>() / models as f64;
        let ratio = if own == 0.0 { 1.0 } else { norms / own.sqrt() };
        let factor = 1.0 + self.strength * (ratio - 1.0);
        for tensor in tensors {
            context.check()?;
            for (i, out) in tensor.out.iter_mut().enumerate() {
                *out = (factor * mean(tensor.inputs, i)) as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::testing::{run, tensor};
    use fusion_sdk::{RawGroup, method};
    use serde_json::json;

    use super::*;

    /// Two tensors of a layer: the models' layers are (3, 4) and (3, −4), their mean is (3, 0). `run` computes on more threads as well,
    /// and stops the calls.
    #[test]
    fn layers_keep_their_norms() {
        let inputs = vec![("from", json!({})); 2];
        let tensors = ["u", "v"].map(|name| tensor(name, &[1], &json!({}), &inputs)).to_vec();
        let group = RawGroup { tensors, seed: 0 };
        let data = [vec![vec![3.0], vec![3.0]], vec![vec![4.0], vec![-4.0]]];
        let out = run(&*method::group::<Kernel>(), &group, &data).unwrap();
        assert_eq!(out, [[5.0], [0.0]]);
    }
}
