//! `instability`: how long a training must run before its noise no longer decides where it ends.
//!
//! The network trains for `after`, is copied, and both copies finish the training with batches in another order each (everything
//! else is the same: the rule's state is copied, the rate goes on). The result is the line between the two children; a training is
//! *stable* from step k on if the error along this line rises by less than 2 percentage points above the mean of its ends.
//!
//! Batches: the trunk sees the order of the stage's data, child j the order of the seed (stage seed, j).
//!
//! Differences from open_lth: both children continue one schedule with the momentum of the trunk.
//!
//! Frankle, Dziugaite, Roy, Carbin, "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020; code
//! facebookresearch/open_lth.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::optim::Optimizer;
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::rng::Key;
use fusion_sdk::schedule::{Schedule, Span, Unit};
use fusion_sdk::{About, Category, Claim, MethodError, Params};

use crate::descent::{Anneal, Descent, Method, Slope, Terms};
use crate::ports;

/// Stage parameters of `instability`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct InstabilityParams {
    /// time that both children have in common
    #[param(default = Span::of_steps(0))]
    pub after: Span,
    /// passes over the data, those in common included
    #[param(above = 0, default = 20.0)]
    pub epochs: f64,
    /// steps, instead of `epochs`
    #[param(range = 1..)]
    pub steps: Option<u64>,
    /// update rule
    #[param(default = Method::Sgd)]
    pub optimizer: Method,
    /// learning rate over the whole training
    #[param(default = Schedule::Constant(0.1))]
    pub rate: Schedule,
    /// what becomes of the rate towards the end
    #[param(default = Anneal::None)]
    pub anneal: Anneal,
    /// momentum of `sgd` (default: 0.9)
    #[param(range = 0..=1)]
    pub momentum: Option<f64>,
    /// penalty λ of the weights
    #[param(range = 0.., default = 1e-4)]
    pub weight_decay: f64,
    /// largest norm of a gradient (default: no limit)
    #[param(above = 0)]
    pub clip: Option<f64>,
}

/// The kernel of `instability`.
#[derive(Clone, Debug)]
pub struct Instability {
    after: Span,
    descent: Descent,
}

impl Connect for Instability {
    type Params = InstabilityParams;

    fn about() -> About {
        About {
            id: "instability",
            version: 1,
            category: Category::Connect,
            summary: "the line between two children of one training, spawned after k steps",
            formula: "θ_k from the start; θ_a, θ_b from θ_k with batches in another order each; θ(t) = (1−t)θ_a + tθ_b",
            citation: "Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML 2020",
            ports: vec![ports::start("the network that is trained"), ports::data()],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: InstabilityParams, models: usize) -> Result<Self, MethodError> {
        ports::count("instability", models, 1, 1)?;
        if params.after.unit == Unit::Sample {
            return Err(MethodError::invalid("the time in common is counted in epochs or steps").at("after"));
        }
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
        Ok(Instability { after: params.after, descent })
    }

    fn fits(&self, steps_per_epoch: u64) -> Result<(), MethodError> {
        self.times(steps_per_epoch).map(|_| ())
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        let start = ports::starting("instability", &search)?;
        let mut slope = Slope::new(search.objective, search.context, &[&start])?;
        let per_epoch = slope.steps_per_epoch();
        let (spawn, total) = self.times(per_epoch)?;
        slope.expect(2 * total - spawn);
        let mut trunk = start;
        let mut optimizer = self.descent.optimizer(trunk.len());
        let mut gradient = vec![0.0; trunk.len()];
        self.train(&mut slope, 0..spawn, total, (&mut trunk, &mut optimizer), &mut gradient)?;
        let mut children = Vec::with_capacity(2);
        for child in 0..2 {
            slope.objective().reorder(Key::new(search.seed, "instability.child", child).value());
            let (mut weights, mut optimizer) = (trunk.clone(), optimizer.clone());
            self.train(&mut slope, spawn..total, total, (&mut weights, &mut optimizer), &mut gradient)?;
            children.push(weights);
        }
        Ok(Path::new(Geometry::Chain, children, Vec::new())?)
    }
}

impl Instability {
    /// Steps in common, and steps in all.
    fn times(&self, per_epoch: u64) -> Result<(u64, u64), MethodError> {
        let (spawn, total) = (self.after.steps(per_epoch, 1), self.descent.total(per_epoch));
        if spawn > total {
            return Err(MethodError::invalid(format!(
                "the children would be spawned after {spawn} steps of a training of {total}"
            ))
            .at("after")
            .help("spawn them earlier, or train for longer"));
        }
        Ok((spawn, total))
    }

    fn train(
        &self,
        slope: &mut Slope<'_>,
        steps: std::ops::Range<u64>,
        total: u64,
        (weights, optimizer): (&mut [f32], &mut Optimizer),
        gradient: &mut [f32],
    ) -> Result<(), MethodError> {
        let per_epoch = slope.steps_per_epoch();
        for step in steps {
            slope.gradient(step, weights, gradient)?;
            self.descent.clip(gradient);
            optimizer.step(self.descent.rate(step, total, per_epoch), weights, gradient);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::{Noisy, search};

    fn params(after: u64) -> InstabilityParams {
        InstabilityParams {
            after: Span::of_steps(after),
            epochs: 1.0,
            steps: Some(40),
            optimizer: Method::Sgd,
            rate: Schedule::Ramp { from: 0.1, to: 0.0 },
            anneal: Anneal::None,
            momentum: None,
            weight_decay: 0.0,
            clip: None,
        }
    }

    /// The whole training written out: the objective's noise is a function of (its order, step), so both children are known.
    #[test]
    fn children_share_what_comes_before_the_copy() {
        let mut toy = Noisy::new(3);
        let path = Instability::prepare(params(15), 1).unwrap().connect(search(
            &[&[1.0, 1.0, 1.0]],
            Some(&mut toy),
            7,
        ));
        let path = path.unwrap();
        for child in 0..2 {
            let (mut theta, mut v) = ([1.0_f64; 3], [0.0_f64; 3]);
            for step in 0..40 {
                let order = if step < 15 { 0 } else { Key::new(7, "instability.child", child).value() };
                let rate = 0.1 * (1.0 - step as f64 / 40.0);
                for (i, (theta, v)) in theta.iter_mut().zip(&mut v).enumerate() {
                    *v = 0.9 * *v + (*theta - Noisy::noise(order, step, i));
                    *theta -= rate * *v;
                }
            }
            for (found, theta) in path.points[child as usize].iter().zip(theta) {
                // Forty steps in f32 on values of about 1.
                assert!((f64::from(*found) - theta).abs() < 1e-5);
            }
        }
        assert_ne!(path.points[0], path.points[1]);
    }

    #[test]
    fn children_that_share_all_are_one() {
        let mut toy = Noisy::new(2);
        let whole = Instability::prepare(params(40), 1).unwrap();
        let path = whole.connect(search(&[&[1.0, 1.0]], Some(&mut toy), 7)).unwrap();
        assert_eq!(path.points[0], path.points[1]);
        let late = Instability::prepare(params(41), 1).unwrap();
        let error = late.connect(search(&[&[1.0, 1.0]], Some(&mut toy), 7)).unwrap_err();
        assert_eq!(error.parameter, Some("after"));
        assert_eq!(late.fits(1).unwrap_err(), error);
        assert!(whole.fits(1).is_ok());
    }
}
