//! `consensus`: keeps what most models agree on.
//!
//! δᵢ = θᵢ − θ₀, δ = mean of the δᵢ where at least `agreement` of the models change the element in the same direction, else 0;
//! θ = θ₀ + δ. The mean is over all models, those that disagree included, summed in f32 in input order. The engine subtracts and adds
//! the base, since the port asks for task vectors.
//!
//! A change of 0 and a NaN have no direction. NaN and infinities propagate where the change is kept, and are dropped where it is not.
//! With `agreement` = 50% and an even number of models, a draw keeps the mean.

use fusion_sdk::{About, Category, Claim, Elementwise, MethodError, NoParams, Params, Port, Tasks, Tile};

/// Settings of `consensus`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct ConsensusParams {
    /// share of the models that must change an element in the same direction for it to change
    #[param(unit = fraction, range = 0.5..=1.0, default = 0.6, varies)]
    pub agreement: f64,
}

/// The prepared `consensus` of a group of tensors.
#[derive(Debug)]
pub struct Consensus {
    /// Per tensor of the group: how many models must agree.
    needed: Vec<usize>,
}

/// The fewest of `models` that are at least a share of `agreement` of them.
fn needed(agreement: f64, models: usize) -> usize {
    // Comparing quotients, so that 3 of 5 are 60%: the product 0.6 · 5 might round to more than 3.
    (0..=models).find(|&k| k as f64 / models as f64 >= agreement).unwrap_or(models)
}

impl Elementwise for Consensus {
    type Params = ConsensusParams;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "consensus",
            version: 1,
            category: Category::Average,
            summary: "mean of the changes on whose direction most models agree",
            formula: "δᵢ = θᵢ − θ₀\nθ = θ₀ + mean δᵢ where max(#{δᵢ > 0}, #{δᵢ < 0}) ≥ agreement · n, else θ₀",
            citation: "a sample; the vote is that of Yadav et al., TIES-Merging, NeurIPS 2023, without weights and trimming",
            ports: vec![
                Port::base("the model that the others were fine-tuned from"),
                Port { settings: false, ..Port::deltas(2, None, "the fine-tuned models") },
            ],
            random: false,
            claims: &[Claim::Deterministic, Claim::Commutative, Claim::Idempotent, Claim::ScaleEquivariant],
        }
    }

    fn prepare(tasks: Tasks<ConsensusParams, NoParams>) -> Result<Self, MethodError> {
        let mut all = Vec::with_capacity(tasks.tensors.len());
        for tensor in &tasks.tensors {
            let models = tensor.inputs.len().saturating_sub(1);
            if models == 0 {
                return Err(MethodError::invalid(
                    "`consensus` needs a base and models that were tuned from it",
                )
                .help("add `from` edges"));
            }
            all.push(needed(tensor.params.agreement, models));
        }
        Ok(Consensus { needed: all })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        // The base comes first, as in `ports`; what follows are task vectors already.
        let [_, changes @ ..] = tile.inputs else { return };
        let (needed, models) = (self.needed[tile.tensor], changes.len() as f32);
        for (i, out) in out.iter_mut().enumerate() {
            let (mut up, mut down, mut sum) = (0, 0, 0.0);
            for change in changes {
                up += usize::from(change[i] > 0.0);
                down += usize::from(change[i] < 0.0);
                sum += change[i];
            }
            *out = if up.max(down) >= needed { sum / models } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::method::elementwise;
    use fusion_sdk::testing::{run, tensor};
    use fusion_sdk::{ErrorKind, RawGroup, TILE, rng};
    use serde_json::{Value as Json, json};

    use super::*;

    fn group(n: usize, models: usize, params: &Json) -> RawGroup {
        let mut inputs = vec![("from", json!({})); models];
        inputs.insert(0, ("base", json!({})));
        RawGroup { tensors: vec![tensor("w", &[n], params, &inputs)], seed: 0 }
    }

    /// By hand: five models, base 1, one element for each case.
    #[test]
    fn three_of_five_are_sixty_percent() {
        let changes: [[f32; 5]; 6] = [
            [1.0, 2.0, 3.0, 4.0, 5.0],    // all up
            [1.0, 1.0, 1.0, -1.0, -1.0],  // three up
            [1.0, 1.0, 0.0, -1.0, -1.0],  // two each: not enough
            [-1.0, -1.0, -3.0, 0.0, 5.0], // three down, and their mean is 0
            [f32::NAN, 1.0, 1.0, 0.0, -1.0],
            [f32::NAN, 1.0, 1.0, 1.0, -1.0],
        ];
        let mut data = vec![vec![1.0_f32; 6]];
        data.extend((0..5).map(|model| changes.iter().map(|change| 1.0 + change[model]).collect()));
        let out = run(&*elementwise::<Consensus>(), &group(6, 5, &json!({})), &[data]).unwrap().remove(0);
        assert_eq!(out[..5], [4.0, 1.2, 1.0, 1.0, 1.0]);
        assert!(out[5].is_nan());
    }

    /// Against the formula in f64 over more than a tile. Tolerance: each change, the sum of n changes and the result are rounded to f32
    /// once, so the error is below (n + 2) half units of the largest number around.
    #[test]
    fn random_models_agree_with_the_formula() {
        let n = TILE + 301;
        for (models, agreement) in [(2, 1.0), (3, 0.7), (4, 0.5), (5, 0.8), (9, 0.7)] {
            let data: Vec<Vec<f32>> = (0..=models as u64)
                .map(|model| {
                    let key = rng::Key::new(7, "consensus", model);
                    (0..n as u64).map(|i| key.uniform(i) - 0.5).collect()
                })
                .collect();
            let group = group(n, models, &json!({ "agreement": agreement }));
            let out =
                run(&*elementwise::<Consensus>(), &group, std::slice::from_ref(&data)).unwrap().remove(0);
            let mut kept = 0;
            for (i, found) in out.iter().enumerate() {
                let base = f64::from(data[0][i]);
                let changes: Vec<f64> = data[1..].iter().map(|model| f64::from(model[i]) - base).collect();
                let up = changes.iter().filter(|change| **change > 0.0).count();
                let share = up.max(models - up) as f64 / models as f64;
                let mean = changes.iter().sum::<f64>() / models as f64;
                let expected = if share >= agreement { base + mean } else { base };
                kept += usize::from(share >= agreement);
                let tolerance = (models as f64 + 2.0) * f64::from(f32::EPSILON) / 2.0;
                assert!(
                    (f64::from(*found) - expected).abs() <= tolerance,
                    "{models}: {i}: {found}, {expected}"
                );
            }
            assert!(kept > 0 && (kept < n || agreement == 0.5), "{models} models at {agreement} keep {kept}");
        }
    }

    #[test]
    fn shares_are_counted_exactly() {
        for models in 1..=200_usize {
            for k in models.div_ceil(2)..=models {
                assert_eq!(needed(k as f64 / models as f64, models), k);
            }
        }
        assert_eq!(
            [needed(0.6, 5), needed(0.7, 10), needed(0.5, 3), needed(0.51, 4), needed(1.0, 7)],
            [3, 7, 2, 3, 7]
        );
    }

    #[test]
    fn settings_out_of_range_name_their_parameter() {
        let method = elementwise::<Consensus>();
        let error = method.prepare(&group(4, 3, &json!({"agreement": 0.4}))).err().unwrap();
        assert_eq!((error.kind, error.parameter), (ErrorKind::Invalid, Some("agreement")));
        assert_eq!(error.message, "`agreement = 0.4` must lie between 50% and 100%");
    }
}
