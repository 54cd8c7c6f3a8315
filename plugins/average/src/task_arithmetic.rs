//! `task_arithmetic`: add and subtract what fine-tuning changed.
//!
//! θ = θ₀ + λ Σ wᵢ (θᵢ − θ₀). A negative weight unlearns a task. With `normalize` the weights are divided by their sum.
//! Differences are rounded to f32 (exact for nearby values) and summed in input order. NaN and infinities propagate.
//!
//! Defaults: `weight` 1, `lambda` 1, no normalising. Differences to mergekit: `weight` has a default; normalising weights
//! that sum to zero or nearly cancel is an error, where mergekit takes a sum below 1e-8 as 1 and amplifies the others.
//!
//! Ilharco et al., "Editing models with task arithmetic", 2022 (arXiv 2212.04089).

use fusion_sdk::{About, Category, Claim, Elementwise, MethodError, Params, Port, Tasks, Tile};

use crate::combine::delta_sum;
use crate::weights::{Weight, normalised, to_f32};

/// Stage parameters of `task_arithmetic`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct TaskArithmeticParams {
    /// scale of the summed changes; papers use 0.3 to 0.5 for many tasks
    #[param(default = 1, varies)]
    pub lambda: f64,
    /// divide by the sum of the weights, so that only their ratios matter
    #[param(default = false, varies)]
    pub normalize: bool,
}

/// The kernel of `task_arithmetic`.
#[derive(Debug)]
pub struct TaskArithmetic {
    /// λ wᵢ, per tensor of the group.
    pub(crate) factors: Vec<Vec<f32>>,
}

impl Elementwise for TaskArithmetic {
    type Params = TaskArithmeticParams;
    type Input = Weight;

    fn about() -> About {
        About {
            id: "task_arithmetic",
            version: 1,
            category: Category::Average,
            summary: "base plus a weighted sum of what each model changed",
            formula: "θ = θ₀ + λ Σ wᵢ (θᵢ − θ₀)\nwᵢ is divided by Σ wᵢ with normalize = true",
            citation: "Ilharco et al., Editing models with task arithmetic, ICLR 2023 (arXiv 2212.04089)",
            ports: vec![
                Port::base("the model that the others were fine-tuned from"),
                Port::from(1, None, "the fine-tuned models"),
            ],
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

    fn prepare(tasks: Tasks<TaskArithmeticParams, Weight>) -> Result<Self, MethodError> {
        let mut factors = Vec::with_capacity(tasks.tensors.len());
        for tensor in &tasks.tensors {
            let given: Vec<f64> = tensor.inputs.iter().skip(1).map(|input| input.settings.weight).collect();
            let weights = if tensor.params.normalize { normalised(&given)? } else { given };
            factors.push(to_f32(&weights.iter().map(|w| tensor.params.lambda * w).collect::<Vec<_>>()));
        }
        Ok(TaskArithmetic { factors })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        if let [base, models @ ..] = tile.inputs {
            delta_sum(base, &self.factors[tile.tensor], models, out);
        }
    }
}
