//! An update rule at work: its state and its step.

use crate::error::{ErrorKind, MethodError};
use crate::simd;

use super::rule::Rule;

/// A rule with its state. The state is as long as the weights for every moment that the rule keeps, and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    rule: Rule,
    len: usize,
    steps: u64,
    first: Vec<f32>,
    second: Vec<f32>,
}

/// An optimiser's state as a checkpoint keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// Steps taken.
    pub steps: u64,
    /// The momentum (SGD, Lion) or the mean of gradients (Adam); empty where the rule keeps none.
    pub first: Vec<f32>,
    /// The second moment (Adam); empty for other rules.
    pub second: Vec<f32>,
}

impl Optimizer {
    /// An optimiser of `len` weights that has taken no step.
    #[must_use]
    pub fn new(rule: Rule, len: usize) -> Self {
        let moment = |index: usize| vec![0.0; if rule.moments() > index { len } else { 0 }];
        Optimizer { rule, len, steps: 0, first: moment(0), second: moment(1) }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The moments without a copy: see [`OptimizerState`].
    #[must_use]
    pub fn moments(&self) -> (&[f32], &[f32]) {
        (&self.first, &self.second)
    }

    /// The moments, to be changed by who moves the weights on the side (Lookahead's pullback, averaging of replicas).
    pub fn moments_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        (&mut self.first, &mut self.second)
    }

    /// A copy of the state, for a checkpoint.
    #[must_use]
    pub fn state(&self) -> OptimizerState {
        OptimizerState { steps: self.steps, first: self.first.clone(), second: self.second.clone() }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if it is the state of another rule or another number of weights.
    pub fn restore(&mut self, state: OptimizerState) -> Result<(), MethodError> {
        if (state.first.len(), state.second.len()) != (self.first.len(), self.second.len()) {
            return Err(MethodError::new(
                ErrorKind::Shape,
                format!(
                    "the state has moments of {} and {} numbers, this optimiser of {} weights has {} and {}",
                    state.first.len(),
                    state.second.len(),
                    self.len,
                    self.first.len(),
                    self.second.len()
                ),
            ));
        }
        (self.steps, self.first, self.second) = (state.steps, state.first, state.second);
        Ok(())
    }

    /// Forgets all steps.
    pub fn reset(&mut self) {
        self.steps = 0;
        self.first.fill(0.0);
        self.second.fill(0.0);
    }

    /// One step at learning rate `rate`, in place, in f32 (bias corrections in f64). NaN in the gradient becomes NaN in weight
    /// and state; the caller watches the loss.
    ///
    /// - SGD: g ← g + λθ; v ← μv + g; θ ← θ − ηv, or θ − η(g + μv) for Nesterov.
    /// - Adam: m ← m + (1−β₁)(g−m); v ← β₂v + (1−β₂)g²; θ ← θ − η m/(1−β₁ᵗ) / (√v/√(1−β₂ᵗ) + ε). Decay: g ← g + λθ, or first
    ///   θ ← (1−ηλ)θ where it is decoupled.
    /// - Lion: θ ← (1−ηλ)θ − η sign(β₁m + (1−β₁)g); m ← β₂m + (1−β₂)g.
    ///
    /// # Panics
    /// If the slices are not as long as the optimiser was made for.
    pub fn step(&mut self, rate: f64, weights: &mut [f32], gradient: &[f32]) {
        assert_eq!(weights.len(), self.len, "an optimiser steps the weights that it was made for");
        assert_eq!(gradient.len(), self.len, "a gradient has a number for every weight");
        self.steps += 1;
        let eta = rate as f32;
        match self.rule {
            Rule::Sgd { momentum: 0.0, weight_decay, .. } => simd(
                #[inline(always)]
                || {
                    for (w, &g) in weights.iter_mut().zip(gradient) {
                        *w -= eta * (g + weight_decay * *w);
                    }
                },
            ),
            Rule::Sgd { momentum, nesterov, weight_decay } => {
                // v is scaled by one constant and g + μv by another, so that both forms share a loop.
                let (ahead, along) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
                let first = &mut self.first;
                simd(
                    #[inline(always)]
                    || {
                        for ((w, v), &g) in weights.iter_mut().zip(first).zip(gradient) {
                            let g = g + weight_decay * *w;
                            *v = momentum * *v + g;
                            *w -= eta * (ahead * g + along * *v);
                        }
                    },
                );
            }
            Rule::Adam { beta1, beta2, epsilon, weight_decay, decoupled } => {
                let left = |beta: f32| {
                    let time = i32::try_from(self.steps).unwrap_or(i32::MAX);
                    1.0 - f64::from(beta).powi(time)
                };
                let eta = (rate / left(beta1)) as f32;
                let root = left(beta2).sqrt() as f32;
                let (shrink, penalty) = match decoupled {
                    true => ((1.0 - rate * f64::from(weight_decay)) as f32, 0.0),
                    false => (1.0, weight_decay),
                };
                let (new1, new2) = (1.0 - beta1, 1.0 - beta2);
                let (first, second) = (&mut self.first, &mut self.second);
                simd(
                    #[inline(always)]
                    || {
                        for (((w, m), v), &g) in weights.iter_mut().zip(first).zip(second).zip(gradient) {
                            let g = g + penalty * *w;
                            *m += new1 * (g - *m);
                            *v = beta2 * *v + new2 * (g * g);
                            *w = shrink * *w - eta * (*m / (v.sqrt() / root + epsilon));
                        }
                    },
                );
            }
            Rule::Lion { beta1, beta2, weight_decay } => {
                let shrink = (1.0 - rate * f64::from(weight_decay)) as f32;
                let (new1, new2) = (1.0 - beta1, 1.0 - beta2);
                let first = &mut self.first;
                simd(
                    #[inline(always)]
                    || {
                        for ((w, m), &g) in weights.iter_mut().zip(first).zip(gradient) {
                            let direction = beta1 * *m + new1 * g;
                            *w = shrink * *w - eta * sign(direction);
                            *m = beta2 * *m + new2 * g;
                        }
                    },
                );
            }
        }
    }
}

/// −1, 0 or 1; NaN stays NaN.
#[inline(always)]
fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
