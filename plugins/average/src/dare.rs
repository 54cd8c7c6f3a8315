//! `dare`: drop changes at random, rescale the rest, then add them (DARE-linear) or elect signs first (DARE-TIES).
//!
//! δᵢ = θᵢ − θ₀; every element of δᵢ is kept with probability `density` and, with `rescale = expected`, divided by it, so that
//! the expectation stays. Then Dᵢ = wᵢδᵢ and θ = θ₀ + λ Σ Dᵢ, or with an election only the Dᵢ of the elected sign (see
//! `ties`). `combine = mean` divides by Σ wᵢ, or with an election by Σ |wᵢ| of the models that take part.
//!
//! Masks are a pure function of (seed, tensor name, index of the model among the inputs, element): the same for any thread count,
//! chunk size and order. The seed is a setting of the stage, shown in the plan and written with the result.
//!
//! Defaults: `density` 50 % (the paper drops 90 % and more of large models; mergekit's 100 % drops nothing), `election` none,
//! `combine` sum, `rescale` expected, `lambda` 1.
//!
//! `dialect = mergekit`: density 100 % unless set, `rescale` l1 unless set (the L1 norm before dropping, not the 1/density of
//! the paper; norms below 1e-7 are left), divisor Σ wᵢ with the weights' signs. mergekit's own masks depend on the order of
//! its tasks and cannot be repeated by anyone; they are drawn here as described. `rescale = expected` and `election = count` do
//! not exist there and are errors. `combine = mean` is its `normalize: true`.
//!
//! NaN in θ₀ propagates, NaN in θᵢ where it is kept.
//!
//! Yu et al., "Language models are Super Mario: absorbing abilities from homologous models as a free lunch", 2023
//! (arXiv 2311.03099).

use fusion_sdk::rng::{Key, threshold};
use fusion_sdk::{
    About, Category, Claim, Elementwise, MethodError, Observe, Params, Port, Tasks, Tile, Words, simd, stats,
};

use crate::settings::{Combine, Dialect, Election, Rescale, contradicts, l1_factor};
use crate::votes::{Votes, with_planes};
use crate::weights::normalised;

/// Share of a task vector that is kept where the recipe does not say.
const DENSITY: f64 = 0.5;

/// Whether signs are elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum DareElection {
    /// add all changes (DARE-linear)
    None,
    /// the sign of the sum of the weighted changes (DARE-TIES)
    Weighted,
    /// one vote per model; a draw goes to the sign of the weighted sum
    Count,
}

/// Stage parameters of `dare`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct DareParams {
    /// `mergekit` computes what mergekit 0.1.5 does, up to the masks
    #[param(default = Dialect::Fusion)]
    pub dialect: Dialect,
    /// whether and how signs are elected after dropping: `none` is DARE-linear, `weighted` DARE-TIES
    #[param(default = DareElection::None)]
    pub election: DareElection,
    /// how the remaining changes become one (default: sum)
    pub combine: Option<Combine>,
    /// how dropped changes are made up for (default: expected; l1 with dialect = mergekit)
    pub rescale: Option<Rescale>,
    /// scale of the merged change
    #[param(default = 1, varies)]
    pub lambda: f64,
}

/// Parameters of each model in `dare`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct DareInput {
    /// how much this model's changes count; negative weights subtract
    #[param(default = 1, varies)]
    pub weight: f64,
    /// probability that a change is kept (default: 50%; 100% with dialect = mergekit)
    #[param(unit = fraction, range = 0..=1, varies)]
    pub density: Option<f64>,
}

/// The kernel of `dare`.
#[derive(Debug)]
pub struct Dare {
    dialect: Dialect,
    pub(crate) votes: Votes,
    /// Per model: stream and threshold.
    pub(crate) masks: Vec<(Key, u64)>,
    /// wᵢ times the rescale.
    pub(crate) factors: Vec<f32>,
    /// Per model Σ|δ| and Σ|kept δ|, while they are due.
    norms: Option<Vec<[f64; 2]>>,
}

/// The kept changes of a model, times `factor`.
#[inline(always)]
fn kept(
    (key, threshold): (Key, u64),
    offset: u64,
    factor: f32,
    base: &[f32],
    model: &[f32],
    out: &mut [f32],
) {
    let n = out.len();
    let (base, model) = (&base[..n], &model[..n]);
    for i in 0..n {
        let change = factor * (model[i] - base[i]);
        out[i] = if key.below(offset + i as u64, threshold) { change } else { 0.0 };
    }
}

impl Elementwise for Dare {
    type Params = DareParams;
    type Input = DareInput;

    fn about() -> About {
        About {
            id: "dare",
            version: 1,
            category: Category::Average,
            summary: "drop changes at random and rescale, then add or elect signs",
            formula: "mᵢ ~ Bernoulli(density), δᵢ = mᵢ (θᵢ − θ₀) / density, Dᵢ = wᵢδᵢ\nθ = θ₀ + λ Σ Dᵢ\n\
                      with an election: only the Dᵢ of the elected sign, as in ties",
            citation: "Yu et al., Language models are Super Mario: absorbing abilities from homologous models as a \
                       free lunch, ICML 2024 (arXiv 2311.03099)",
            ports: vec![
                Port::base("the model that the others were fine-tuned from"),
                Port::from(1, None, "the fine-tuned models"),
            ],
            random: true,
            claims: &[Claim::Deterministic, Claim::Idempotent],
        }
    }

    fn prepare(tasks: Tasks<DareParams, DareInput>) -> Result<Self, MethodError> {
        let [tensor] = tasks.tensors.as_slice() else {
            return Err(MethodError::invalid("`dare` works on one tensor at a time"));
        };
        if tensor.inputs.len() < 2 {
            return Err(MethodError::invalid("`dare` needs a base and at least one fine-tuned model"));
        }
        let params = &tensor.params;
        let mergekit = params.dialect == Dialect::Mergekit;
        let election = match params.election {
            DareElection::None => None,
            DareElection::Weighted => Some(Election::Weighted),
            DareElection::Count if mergekit => return Err(contradicts("election", "count")),
            DareElection::Count => Some(Election::Count),
        };
        let rescale = match params.rescale {
            Some(Rescale::Expected) if mergekit => return Err(contradicts("rescale", "expected")),
            Some(rescale) => rescale,
            None if mergekit => Rescale::L1,
            None => Rescale::Expected,
        };
        let combine = params.combine.unwrap_or(Combine::Sum);
        let weights: Vec<f64> = tensor.inputs.iter().skip(1).map(|input| input.settings.weight).collect();
        let mut lambda = params.lambda;
        if election.is_none() && combine == Combine::Mean {
            let sum: f64 = weights.iter().sum();
            if !mergekit {
                normalised(&weights)
                    .map_err(|error| error.help("use `combine = sum`, or weights that do not cancel"))?;
                lambda /= sum;
            } else if sum.abs() >= 1e-8 {
                lambda /= sum;
            }
        }
        let mut masks = Vec::with_capacity(weights.len());
        let mut factors = Vec::with_capacity(weights.len());
        let mut dropping = false;
        for (index, input) in tensor.inputs.iter().enumerate().skip(1) {
            let share = input.settings.density.unwrap_or(if mergekit { 1.0 } else { DENSITY });
            let scale = if rescale == Rescale::Expected && share > 0.0 { 1.0 / share } else { 1.0 };
            masks.push((Key::new(tasks.seed, &tensor.name, index as u64 - 1), threshold(share)));
            factors.push((input.settings.weight * scale) as f32);
            dropping |= share < 1.0;
        }
        let norms = (rescale == Rescale::L1 && dropping).then(|| vec![[0.0; 2]; masks.len()]);
        let votes = Votes::new(&weights, params.dialect, election, combine, lambda);
        Ok(Dare { dialect: params.dialect, votes, masks, factors, norms })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        let [base, models @ ..] = tile.inputs else { return };
        let n = out.len();
        if n == 0 {
            return;
        }
        with_planes(n * models.len(), |planes| {
            simd(
                #[inline(always)]
                || {
                    for (j, plane) in planes.chunks_exact_mut(n).enumerate() {
                        kept(self.masks[j], tile.offset, self.factors[j], base, models[j], plane);
                    }
                },
            );
            self.votes.merge(base, planes, out);
        });
    }
}

impl Observe for Dare {
    type Partial = Vec<[f64; 2]>;

    fn observing(&self) -> bool {
        self.norms.is_some()
    }

    fn partial(&self) -> Vec<[f64; 2]> {
        vec![[0.0; 2]; self.masks.len()]
    }

    fn observe(&self, partial: &mut Vec<[f64; 2]>, tile: &Tile<'_>) {
        let [base, models @ ..] = tile.inputs else { return };
        with_planes(base.len(), |plane| {
            for ((sums, &mask), model) in partial.iter_mut().zip(&self.masks).zip(models) {
                simd(
                    #[inline(always)]
                    || kept(mask, tile.offset, 1.0, base, model, plane),
                );
                sums[0] += stats::l1_distance(model, base);
                sums[1] += stats::l1_norm(plane);
            }
        });
    }

    fn absorb(&mut self, partial: &mut Vec<[f64; 2]>) {
        for (sum, part) in self.norms.iter_mut().flatten().zip(partial) {
            let [all, kept] = std::mem::take(part);
            sum[0] += all;
            sum[1] += kept;
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        for (factor, sums) in self.factors.iter_mut().zip(self.norms.take().into_iter().flatten()) {
            *factor = (f64::from(*factor) * l1_factor(sums, self.dialect)) as f32;
        }
        Ok(())
    }

    fn state_bytes(&self) -> (usize, usize) {
        (0, self.masks.len() * 16)
    }
}
