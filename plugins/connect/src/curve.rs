//! Curve finding (Garipov et al., 2018), which `bezier` and `polychain` share: inner control points learn, the ends stay.
//!
//! Each step draws t ∼ U(0,1), takes the gradient g of 𝓛 at θ(t) = Σ cⱼ(t) pⱼ, adds λθ(t) (weight decay on the point, not on its
//! control points), and moves each inner point along cⱼ(t)·(g + λθ(t)), since ∂θ/∂pⱼ = cⱼ. The points start on the segment.
//! t of step s is a pure function of (seed, s).
//!
//! Normalisation: the objective uses the statistics of the batch that it sees, so none are kept along the curve; who evaluates the
//! path re-estimates them at every t.
//!
//! Differences from dnn-mode-connectivity: 30 epochs rather than 200 by default, since the networks here are small; rates change
//! from step to step rather than from epoch to epoch; Adam can be chosen; gradients can be clipped (at the point, decay included).

use fusion_sdk::connect::Search;
use fusion_sdk::path::{Geometry, Path, blend_into};
use fusion_sdk::rng::Key;
use fusion_sdk::schedule::Schedule;
use fusion_sdk::{MethodError, Params};

use crate::descent::{Anneal, Descent, Method, Slope, Terms, decay_in_place, decayed_into};
use crate::ports;

/// Stage parameters of `bezier` and `polychain`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct CurveParams {
    /// control points between the ends
    #[param(range = 1..=64, default = 1)]
    pub bends: u32,
    /// passes over the data
    #[param(above = 0, default = 30.0)]
    pub epochs: f64,
    /// steps, instead of `epochs`
    #[param(range = 1..)]
    pub steps: Option<u64>,
    /// update rule
    #[param(default = Method::Sgd)]
    pub optimizer: Method,
    /// learning rate
    #[param(default = Schedule::Constant(0.03))]
    pub rate: Schedule,
    /// what becomes of the rate towards the end (default: `late` where `rate` is a number, `none` where it is a schedule)
    pub anneal: Option<Anneal>,
    /// momentum of `sgd` (default: 0.9)
    #[param(range = 0..=1)]
    pub momentum: Option<f64>,
    /// penalty λ: ½λ‖θ(t)‖² is added to the loss of the point
    #[param(range = 0.., default = 5e-4)]
    pub weight_decay: f64,
    /// largest norm of a gradient (default: no limit)
    #[param(above = 0)]
    pub clip: Option<f64>,
}

/// A checked search.
#[derive(Clone, Debug)]
pub(crate) struct CurveSearch {
    id: &'static str,
    geometry: Geometry,
    bends: usize,
    weight_decay: f64,
    descent: Descent,
}

impl CurveSearch {
    pub(crate) fn new(
        id: &'static str,
        geometry: Geometry,
        params: CurveParams,
        models: usize,
    ) -> Result<Self, MethodError> {
        ports::count(id, models, 2, 2)?;
        let descent = Descent::new(Terms {
            optimizer: params.optimizer,
            rate: params.rate,
            anneal: params.anneal,
            momentum: params.momentum,
            weight_decay: 0.0,
            clip: params.clip,
            epochs: params.epochs,
            steps: params.steps,
        })?;
        Ok(CurveSearch {
            id,
            geometry,
            bends: params.bends as usize,
            weight_decay: params.weight_decay,
            descent,
        })
    }

    pub(crate) fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        let ends = ports::exactly::<2>(self.id, &search)?;
        let key = Key::new(search.seed, "curve.t", 0);
        let mut slope = Slope::new(search.objective, search.context, search.models)?;
        let (len, per_epoch) = (slope.len(), slope.steps_per_epoch());
        let total = self.descent.total(per_epoch);
        slope.expect(total);

        let mut path = self.segment(ends)?;
        let mut optimizers: Vec<_> = (0..self.bends).map(|_| self.descent.optimizer(len)).collect();
        let (mut theta, mut gradient) = (vec![0.0; len], vec![0.0; len]);
        // One bend is moved by the gradient itself, more need a copy of it with another factor.
        let mut share = vec![0.0; if self.bends > 1 { len } else { 0 }];
        for step in 0..total {
            let c = path.coefficients(key.open_uniform(step));
            blend_into(&c, &path.points, &mut theta);
            slope.gradient(step, &theta, &mut gradient)?;
            // Clipping looks at the whole gradient, decay included; without it decay and coefficient take one pass.
            let mut decay = self.weight_decay;
            if self.descent.clips() {
                decay_in_place(&mut gradient, &theta, decay, 1.0);
                self.descent.clip(&mut gradient);
                decay = 0.0;
            }
            let rate = self.descent.rate(step, total, per_epoch);
            for (inner, optimizer) in optimizers.iter_mut().enumerate() {
                let (point, factor) = (&mut path.points[inner + 1], c[inner + 1]);
                if inner + 1 == self.bends {
                    decay_in_place(&mut gradient, &theta, decay, factor);
                    optimizer.step(rate, point, &gradient);
                } else {
                    decayed_into(&gradient, &theta, decay, factor, &mut share);
                    optimizer.step(rate, point, &share);
                }
            }
        }
        Ok(Path::new(self.geometry, path.points, Vec::new())?)
    }

    /// Control points evenly on the segment between the ends: either geometry is then the straight line.
    fn segment(&self, ends: [&[f32]; 2]) -> Result<Path, MethodError> {
        let mut points = vec![ends[0].to_vec()];
        for inner in 1..=self.bends {
            let t = inner as f64 / (self.bends + 1) as f64;
            points.push(fusion_sdk::path::blend(&[1.0 - t, t], &ends));
        }
        points.push(ends[1].to_vec());
        Ok(Path::new(self.geometry, points, Vec::new())?)
    }
}

#[cfg(test)]
mod tests;
