//! `simplex`: volumes of low loss, grown vertex by vertex (SPRO, ESPRO).
//!
//! From one model: vertices v₁ … v_k (`connectors`) are added, and the result is the simplex of the model and them (ESPRO, the
//! ensemble's form). From several models wᵢ: the connectors join them all, and the result is the complex of the simplexes
//! (wᵢ, v₁, …, v_k). One vertex learns at a time; it starts at the mean of all points that there are, with a little noise, and minimises
//! (1/H) Σₕ 𝓛(φₕ) − λ ln V, where φₕ are H points drawn uniformly (a simplex by its volume, then barycentric coordinates from normalised
//! exponentials) and V is the volume of what has been built with it. Older points stay.
//!
//! The volume's gradient has a closed form: a simplex over the fixed base B has V = vol(B)·‖h‖/m, where h is the part of v − B that is
//! perpendicular to B and m its dimension, so ∇ ln V = h/‖h‖²; for several simplexes Σ Vᵢhᵢ/‖hᵢ‖² / Σ Vᵢ. Where v lies in every
//! base the volume has no gradient, and none is added.
//!
//! Differences from loss-surface-simplexes: V is the volume (what that code calls volume is its square); λ is used as it is given rather
//! than max(λ/ln V, 1e-8); the loss is the mean over the H points rather than their sum; simplexes are drawn by volume, as in the
//! paper; vertices start a little beside the mean, since at the mean itself the volume has no slope; all H points see one batch.
//!
//! Benton, Maddox, Lotfi, Wilson, "Loss surface simplexes for mode connecting volumes and fast ensembling", ICML 2021; code
//! g-benton/loss-surface-simplexes.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Geometry, Path, blend, blend_into};
use fusion_sdk::rng::Key;
use fusion_sdk::schedule::Schedule;
use fusion_sdk::stats::sum_of_squares;
use fusion_sdk::{About, Category, Claim, MethodError, Params};

use crate::descent::{Anneal, Descent, Method, Slope, Terms, add_scaled};
use crate::ports;

mod hull;

use hull::Hulls;

/// Stage parameters of `simplex`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct SimplexParams {
    /// vertices that are added
    #[param(range = 1..=64, default = 2)]
    pub connectors: u32,
    /// points H that are drawn in each step
    #[param(range = 1..=1000, default = 5)]
    pub samples: u32,
    /// weight λ of the logarithm of the volume
    #[param(range = 0.., default = 1e-6)]
    pub volume_weight: f64,
    /// distance of a new vertex from the mean at the start, as a share of the mean's norm
    #[param(above = 0, default = 1e-3)]
    pub noise: f64,
    /// passes over the data for each vertex
    #[param(above = 0, default = 10.0)]
    pub epochs: f64,
    /// steps for each vertex, instead of `epochs`
    #[param(range = 1..)]
    pub steps: Option<u64>,
    /// update rule
    #[param(default = Method::Sgd)]
    pub optimizer: Method,
    /// learning rate over the time of one vertex
    #[param(default = Schedule::Constant(0.01))]
    pub rate: Schedule,
    /// what becomes of the rate towards the end
    #[param(default = Anneal::None)]
    pub anneal: Anneal,
    /// momentum of `sgd` (default: 0.9)
    #[param(range = 0..=1)]
    pub momentum: Option<f64>,
    /// penalty λ of the vertex that learns
    #[param(range = 0.., default = 5e-4)]
    pub weight_decay: f64,
    /// largest norm of the vertex' gradient (default: no limit)
    #[param(above = 0)]
    pub clip: Option<f64>,
}

/// The kernel of `simplex`.
#[derive(Clone, Debug)]
pub struct Simplex {
    connectors: usize,
    samples: u32,
    volume_weight: f64,
    noise: f64,
    descent: Descent,
}

impl Connect for Simplex {
    type Params = SimplexParams;

    fn about() -> About {
        About {
            id: "simplex",
            version: 1,
            category: Category::Connect,
            summary: "a volume of low loss around one model, or joining several (SPRO, ESPRO)",
            formula: "min over the newest vertex of (1/H) Σₕ 𝓛(φₕ) − λ ln V, φₕ uniform in the complex\n\
                      V of m points: √|det CM| / ((m−1)! 2^((m−1)/2)) (Cayley, Menger)",
            citation: "Benton et al., Loss surface simplexes for mode connecting volumes and fast ensembling, ICML 2021",
            ports: vec![
                ports::from(1, None, "one model to grow a simplex from, or several that connectors join"),
                ports::data(),
            ],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: SimplexParams, models: usize) -> Result<Self, MethodError> {
        ports::count("simplex", models, 1, usize::MAX)?;
        let descent = Descent::new(Terms {
            optimizer: params.optimizer,
            rate: params.rate,
            anneal: Some(params.anneal),
            momentum: params.momentum,
            weight_decay: params.weight_decay,
            clip: params.clip,
            epochs: params.epochs,
            steps: params.steps,
        })?;
        Ok(Simplex {
            connectors: params.connectors as usize,
            samples: params.samples,
            volume_weight: params.volume_weight,
            noise: params.noise,
            descent,
        })
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        ports::count("simplex", search.models.len(), 1, usize::MAX)?;
        ports::sound(search.models)?;
        let modes = search.models.len();
        let mut slope = Slope::new(search.objective, search.context, search.models)?;
        let steps = self.descent.total(slope.steps_per_epoch());
        slope.expect(self.connectors as u64 * steps * u64::from(self.samples));
        let mut points: Vec<Vec<f32>> = search.models.iter().map(|model| model.to_vec()).collect();
        for connector in 0..self.connectors {
            let key = Key::new(search.seed, "simplex.vertex", connector as u64);
            let vertex = self.beside_the_mean(&points, key);
            points.push(vertex);
            self.learn(&mut points, modes, &mut slope, key)?;
        }
        let geometry = if modes == 1 { Geometry::Simplex } else { Geometry::Complex { modes } };
        Ok(Path::new(geometry, points, Vec::new())?)
    }
}

impl Simplex {
    /// The mean of the points with normal noise; at 0 the noise has the norm `noise` itself.
    fn beside_the_mean(&self, points: &[Vec<f32>], key: Key) -> Vec<f32> {
        let mut mean = blend(&vec![1.0 / points.len() as f64; points.len()], points);
        let norm = sum_of_squares(&mean).sqrt();
        let size = self.noise * if norm > 0.0 { norm } else { 1.0 };
        let each = (size / (mean.len() as f64).sqrt()) as f32;
        let draws = Key::derived(1, key.value());
        for (index, value) in mean.iter_mut().enumerate() {
            *value += each * draws.normal(index as u64);
        }
        mean
    }

    /// Trains the last of the points.
    fn learn(
        &self,
        points: &mut [Vec<f32>],
        modes: usize,
        slope: &mut Slope<'_>,
        key: Key,
    ) -> Result<(), MethodError> {
        let (len, per_epoch, newest) = (slope.len(), slope.steps_per_epoch(), points.len() - 1);
        let hulls = Hulls::over(points, modes);
        let mut optimizer = self.descent.optimizer(len);
        let (mut theta, mut gradient, mut sum) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
        let steps = self.descent.total(per_epoch);
        for step in 0..steps {
            let heights = hulls.heights(points);
            sum.fill(0.0);
            for sample in 0..u64::from(self.samples) {
                let draw = Key::derived(step * u64::from(self.samples) + sample, key.value());
                let c = hulls.draw(&heights, draw, points.len());
                blend_into(&c, points, &mut theta);
                slope.gradient(step, &theta, &mut gradient)?;
                add_scaled(&gradient, c[newest] / f64::from(self.samples), &mut sum);
            }
            if self.volume_weight > 0.0
                && let Some(c) = hulls.log_volume_gradient(&heights, points.len())
            {
                blend_into(&c, points, &mut theta);
                add_scaled(&theta, -self.volume_weight, &mut sum);
            }
            self.descent.clip(&mut sum);
            optimizer.step(self.descent.rate(step, steps, per_epoch), &mut points[newest], &sum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
