//! `model_stock`: how far to go from the base towards the mean of fine-tuned models, from the angle between them.
//!
//! Per tensor, with δᵢ = θᵢ − θ₀ and N models: cos = mean over pairs of δᵢ·δⱼ/(‖δᵢ‖‖δⱼ‖),
//! t = N cos / (1 + (N−1) cos), θ = t · mean(θᵢ) + (1−t) θ₀. Equal models give t = 1, orthogonal changes t = 0.
//! Dots are sums in f64. A model equal to the base has no direction: its pairs count as cos = 0. t is not clamped: changes
//! that point away from each other give t < 0, as in the reference. Where 1 + (N−1) cos < 1e-6, t is 0.
//! NaN or infinity in a tensor makes all of it NaN.
//!
//! Difference to mergekit: the cosine is scale-free. mergekit divides by max(‖δᵢ‖‖δⱼ‖, 1e-6), which shrinks t wherever
//! changes are small (0.584 instead of 0.958 for a norm weight of 4096 elements with changes of 1e-5); `dialect = mergekit`
//! keeps that floor. `filter_wise` is not offered.
//!
//! Jang et al., "Model Stock: all we need is just a few fine-tuned models", 2024 (arXiv 2403.19522).

use fusion_sdk::{
    About, Category, Claim, Elementwise, MethodError, NoParams, Observe, Params, Port, Tasks, Tile, stats,
};

use crate::combine::delta_sum;
use crate::settings::Dialect;

/// Stage parameters of `model_stock`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct ModelStockParams {
    /// `mergekit` divides dots by at least 1e-6, so that small changes count as unrelated
    #[param(default = Dialect::Fusion)]
    pub dialect: Dialect,
}

/// The kernel of `model_stock`.
#[derive(Debug)]
pub struct ModelStock {
    dialect: Dialect,
    models: usize,
    /// Upper triangle of the Gram matrix of the changes, row by row.
    gram: Vec<f64>,
    due: bool,
    /// t/N for each model.
    pub(crate) factors: Vec<f32>,
}

/// t from the upper triangle of the Gram matrix.
fn ratio(gram: &[f64], models: usize, dialect: Dialect) -> f64 {
    let at = |i: usize, j: usize| gram[i * models - i * (i + 1) / 2 + j];
    let mut sum = 0.0;
    for i in 0..models {
        for j in i + 1..models {
            let size = at(i, i).sqrt() * at(j, j).sqrt();
            let cos = match dialect {
                Dialect::Fusion if size == 0.0 => 0.0,
                Dialect::Fusion => at(i, j) / size,
                Dialect::Mergekit if size < 1e-6 => at(i, j) / 1e-6,
                Dialect::Mergekit => at(i, j) / size,
            };
            sum += cos.clamp(-1.0, 1.0);
        }
    }
    let n = models as f64;
    let cos = sum / (n * (n - 1.0) / 2.0);
    let divisor = 1.0 + (n - 1.0) * cos;
    if divisor.abs() < 1e-6 { 0.0 } else { n * cos / divisor }
}

impl Elementwise for ModelStock {
    type Params = ModelStockParams;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "model_stock",
            version: 1,
            category: Category::Average,
            summary: "between base and mean, as far as the models agree",
            formula: "cos = mean over pairs of δᵢ·δⱼ/(‖δᵢ‖‖δⱼ‖), δᵢ = θᵢ − θ₀\nt = N cos / (1 + (N−1) cos)\n\
                      θ = t · mean(θᵢ) + (1−t) θ₀",
            citation: "Jang et al., Model Stock: all we need is just a few fine-tuned models, ECCV 2024 \
                       (arXiv 2403.19522)",
            ports: vec![
                Port::base("the model that the others were fine-tuned from"),
                Port { settings: false, ..Port::from(2, None, "the fine-tuned models") },
            ],
            random: false,
            claims: &[Claim::Deterministic, Claim::Commutative],
        }
    }

    fn prepare(tasks: Tasks<ModelStockParams, NoParams>) -> Result<Self, MethodError> {
        let [tensor] = tasks.tensors.as_slice() else {
            return Err(MethodError::invalid("`model_stock` works on one tensor at a time"));
        };
        let models = tensor.inputs.len().saturating_sub(1);
        if models < 2 {
            return Err(MethodError::invalid(format!(
                "`model_stock` needs at least two fine-tuned models beside the base, not {models}"
            )));
        }
        Ok(ModelStock {
            dialect: tensor.params.dialect,
            models,
            gram: vec![0.0; models * (models + 1) / 2],
            due: true,
            factors: vec![0.0; models],
        })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        if let [base, models @ ..] = tile.inputs {
            delta_sum(base, &self.factors, models, out);
        }
    }
}

impl Observe for ModelStock {
    type Partial = Vec<f64>;

    fn observing(&self) -> bool {
        self.due
    }

    fn partial(&self) -> Vec<f64> {
        vec![0.0; self.gram.len()]
    }

    fn observe(&self, partial: &mut Vec<f64>, tile: &Tile<'_>) {
        let [base, models @ ..] = tile.inputs else { return };
        let pairs = models.iter().enumerate().flat_map(|(i, a)| models[i..].iter().map(move |b| (a, b)));
        for (sum, (a, b)) in partial.iter_mut().zip(pairs) {
            *sum += stats::delta_dot(a, b, base);
        }
    }

    fn absorb(&mut self, partial: &mut Vec<f64>) {
        for (sum, part) in self.gram.iter_mut().zip(partial) {
            *sum += std::mem::take(part);
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        let t = ratio(&self.gram, self.models, self.dialect);
        self.factors.fill((t / self.models as f64) as f32);
        self.due = false;
        Ok(())
    }

    fn state_bytes(&self) -> (usize, usize) {
        (self.gram.len() * 8, self.gram.len() * 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_follows_the_closed_form() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(ratio(&[1.0, 0.0, 1.0], 2, Dialect::Fusion), 0.0);
        close(ratio(&[4.0, 4.0, 4.0], 2, Dialect::Fusion), 1.0);
        close(ratio(&[1.0, 0.5, 1.0], 2, Dialect::Fusion), 2.0 * 0.5 / 1.5);
        close(ratio(&[1.0, 0.5, 0.5, 1.0, 0.5, 1.0], 3, Dialect::Fusion), 3.0 * 0.5 / 2.0);
        close(ratio(&[1.0, -1.0, 1.0], 2, Dialect::Fusion), 0.0);
        close(ratio(&[0.0, 0.0, 1.0], 2, Dialect::Fusion), 0.0);
    }

    /// The case of the notes: 4096 elements, changes of 1e-5, where mergekit gives 0.584 instead of 0.958.
    #[test]
    fn only_the_dialect_has_a_floor() {
        let norm = 4096.0 * 1e-10;
        let cos = 0.958 / (2.0 - 0.958);
        let gram = [norm, norm * cos, norm];
        let t = ratio(&gram, 2, Dialect::Fusion);
        assert!((t - 0.958).abs() < 1e-6, "{t}");
        let floored = ratio(&gram, 2, Dialect::Mergekit);
        let expected = norm * cos / 1e-6;
        assert!((floored - 2.0 * expected / (1.0 + expected)).abs() < 1e-9);
        assert!(floored < 0.6);
    }
}
