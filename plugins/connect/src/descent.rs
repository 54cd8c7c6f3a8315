//! How the methods of this family that learn go downhill: rule, rate, time and clipping, and one guarded gradient.

use fusion_sdk::context::Context;
use fusion_sdk::objective::Objective;
use fusion_sdk::optim::{Optimizer, Rule, clip_norm};
use fusion_sdk::schedule::Schedule;
use fusion_sdk::{ErrorKind, MethodError, Words};

/// The update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Method {
    /// stochastic gradient descent with momentum
    Sgd,
    /// Adam with the usual β = 0.9, 0.999
    Adam,
}

/// What becomes of the rate towards the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Anneal {
    /// the rate holds for half of the time, falls linearly to 1% of itself at 90% and stays there (Garipov et al.)
    Late,
    /// the rate is what `rate` says
    None,
}

/// The settings that every learning method has, from its own parameters.
pub(crate) struct Terms {
    pub optimizer: Method,
    pub rate: Schedule,
    /// `None`: late for a plain number, none for a schedule.
    pub anneal: Option<Anneal>,
    /// Only for SGD; 0.9 where absent.
    pub momentum: Option<f64>,
    /// L2 penalty of the weights that the rule moves.
    pub weight_decay: f64,
    /// Largest norm of a gradient.
    pub clip: Option<f64>,
    pub epochs: f64,
    /// Instead of epochs.
    pub steps: Option<u64>,
}

/// A checked descent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Descent {
    rule: Rule,
    rate: Schedule,
    late: bool,
    clip: Option<f64>,
    epochs: f64,
    steps: Option<u64>,
}

impl Descent {
    /// Checks what one setting alone cannot tell.
    pub(crate) fn new(terms: Terms) -> Result<Self, MethodError> {
        let weight_decay = terms.weight_decay as f32;
        let rule = match (terms.optimizer, terms.momentum) {
            (Method::Sgd, momentum) => {
                Rule::Sgd { momentum: momentum.unwrap_or(0.9) as f32, nesterov: false, weight_decay }
            }
            (Method::Adam, None) => {
                Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay, decoupled: false }
            }
            (Method::Adam, Some(_)) => {
                return Err(MethodError::invalid(
                    "`momentum` belongs to `optimizer = sgd`; Adam has its own",
                )
                .at("momentum")
                .help("remove it"));
            }
        };
        rule.check()?;
        let (low, high) = terms.rate.bounds();
        if !(low >= 0.0 && high.is_finite()) {
            return Err(MethodError::invalid(format!(
                "`rate` runs from {low} to {high}; it must be at least 0"
            ))
            .at("rate"));
        }
        let constant = matches!(terms.rate, Schedule::Constant(_));
        let late = terms.anneal.map_or(constant, |anneal| anneal == Anneal::Late);
        Ok(Descent {
            rule,
            rate: terms.rate,
            late,
            clip: terms.clip,
            epochs: terms.epochs,
            steps: terms.steps,
        })
    }

    /// Steps of the whole, at least 1.
    pub(crate) fn total(&self, steps_per_epoch: u64) -> u64 {
        self.steps.unwrap_or_else(|| (self.epochs * steps_per_epoch as f64).round() as u64).max(1)
    }

    /// Rate of step `step` of `total`.
    pub(crate) fn rate(&self, step: u64, total: u64, steps_per_epoch: u64) -> f64 {
        let rate = self.rate.at(step, total, steps_per_epoch);
        if self.late { rate * late(step as f64 / total.max(1) as f64) } else { rate }
    }

    /// An optimiser for `len` weights.
    pub(crate) fn optimizer(&self, len: usize) -> Optimizer {
        Optimizer::new(self.rule, len)
    }

    /// Whether gradients are cut.
    pub(crate) fn clips(&self) -> bool {
        self.clip.is_some()
    }

    /// Cuts a gradient to the norm that the settings allow.
    pub(crate) fn clip(&self, gradient: &mut [f32]) {
        if let Some(max) = self.clip {
            clip_norm(gradient, max);
        }
    }
}

/// Garipov's factor at the share `p` of the time: 1 up to ½, then linear to 0.01 at 0.9, then 0.01.
fn late(p: f64) -> f64 {
    match p {
        _ if p <= 0.5 => 1.0,
        _ if p >= 0.9 => 0.01,
        _ => 1.0 - (p - 0.5) / 0.4 * 0.99,
    }
}

/// The loss of a stage with what surrounds every look at it: stop, finite values, progress.
pub(crate) struct Slope<'a> {
    objective: &'a mut dyn Objective,
    context: Context<'a>,
    /// Looks taken and expected.
    done: u64,
    of: u64,
}

impl<'a> Slope<'a> {
    /// The objective of a search.
    ///
    /// # Errors
    /// There is none, it has nothing to learn, or its weights are not as many as those of the models.
    pub(crate) fn new(
        objective: Option<&'a mut dyn Objective>,
        context: Context<'a>,
        models: &[&[f32]],
    ) -> Result<Self, MethodError> {
        let objective = objective.ok_or_else(|| {
            MethodError::invalid("there is no loss to follow").help("connect training data: `data NAME`")
        })?;
        let len = objective.len();
        if len == 0 {
            return Err(MethodError::invalid("the network has no trainable weights"));
        }
        if let Some(index) = models.iter().position(|model| model.len() != len) {
            let found = models[index].len();
            return Err(MethodError::new(
                ErrorKind::Shape,
                format!("the model has {found} weights, the network on the data {len}"),
            )
            .of_input(index));
        }
        Ok(Slope { objective, context, done: 0, of: 0 })
    }

    /// Number of weights.
    pub(crate) fn len(&self) -> usize {
        self.objective.len()
    }

    /// Steps of an epoch, at least 1.
    pub(crate) fn steps_per_epoch(&self) -> u64 {
        self.objective.steps_per_epoch().max(1)
    }

    /// The loss itself.
    pub(crate) fn objective(&mut self) -> &mut dyn Objective {
        self.objective
    }

    /// How many looks are to be expected in all, for progress.
    pub(crate) fn expect(&mut self, looks: u64) {
        self.of = looks;
    }

    /// Loss and gradient on batch `step`.
    ///
    /// # Errors
    /// The loss is not finite, the user wants to stop, or the objective fails.
    pub(crate) fn gradient(
        &mut self,
        step: u64,
        weights: &[f32],
        gradient: &mut [f32],
    ) -> Result<f64, MethodError> {
        self.context.check()?;
        let loss = self.objective.gradient(step, weights, gradient)?;
        self.seen(loss, || format!("in step {}", step + 1))?;
        Ok(loss)
    }

    /// Loss over the data in its fixed order.
    ///
    /// # Errors
    /// As for [`Slope::gradient`].
    pub(crate) fn loss(&mut self, weights: &[f32], batches: Option<u64>) -> Result<f64, MethodError> {
        self.context.check()?;
        let loss = self.objective.loss(weights, batches)?;
        self.seen(loss, || "between steps".to_owned())?;
        Ok(loss)
    }

    fn seen(&mut self, loss: f64, place: impl FnOnce() -> String) -> Result<(), MethodError> {
        if !loss.is_finite() {
            return Err(MethodError::new(ErrorKind::Failed, format!("the loss is {loss} {}", place()))
                .at("rate")
                .help("lower `rate`, or limit gradients with `clip = 1`; and look whether the inputs have a finite loss"));
        }
        self.done += 1;
        self.context.progress(self.done, self.of.max(self.done), &format!("loss {loss:.4}"));
        Ok(())
    }
}

/// out ← factor · values: gradients of control points from that of the point between them.
pub(crate) fn scale_into(values: &[f32], factor: f64, out: &mut [f32]) {
    let factor = factor as f32;
    fusion_sdk::simd(
        #[inline(always)]
        || out.iter_mut().zip(values).for_each(|(out, value)| *out = factor * value),
    );
}

/// out ← factor · (gradient + decay · weights): the same with weight decay on the point, in one pass.
pub(crate) fn decayed_into(gradient: &[f32], weights: &[f32], decay: f64, factor: f64, out: &mut [f32]) {
    let (decay, factor) = (decay as f32, factor as f32);
    fusion_sdk::simd(
        #[inline(always)]
        || {
            for ((out, g), w) in out.iter_mut().zip(gradient).zip(weights) {
                *out = factor * (g + decay * w);
            }
        },
    );
}

/// gradient ← factor · (gradient + decay · weights).
pub(crate) fn decay_in_place(gradient: &mut [f32], weights: &[f32], decay: f64, factor: f64) {
    let (decay, factor) = (decay as f32, factor as f32);
    fusion_sdk::simd(
        #[inline(always)]
        || gradient.iter_mut().zip(weights).for_each(|(g, w)| *g = factor * (*g + decay * w)),
    );
}

/// values ← factor · values.
pub(crate) fn scale(values: &mut [f32], factor: f64) {
    let factor = factor as f32;
    fusion_sdk::simd(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value *= factor),
    );
}

/// out ← out + factor · values.
pub(crate) fn add_scaled(values: &[f32], factor: f64, out: &mut [f32]) {
    if factor == 0.0 {
        return;
    }
    let factor = factor as f32;
    fusion_sdk::simd(
        #[inline(always)]
        || out.iter_mut().zip(values).for_each(|(out, value)| *out += factor * value),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            optimizer: Method::Sgd,
            rate: Schedule::Constant(2.0),
            anneal: None,
            momentum: None,
            weight_decay: 0.0,
            clip: None,
            epochs: 200.0,
            steps: None,
        }
    }

    /// Oracle O5 of the reference notes: 200 epochs, after 1, 100, 101, 140 and 180 of them.
    #[test]
    fn the_late_factor_is_that_of_the_reference_code() {
        let descent = Descent::new(terms()).unwrap();
        for (epoch, factor) in
            [(1, 1.0), (100, 1.0), (101, 0.987_625), (140, 0.505), (180, 0.01), (200, 0.01)]
        {
            assert!((descent.rate(epoch, 200, 1) - 2.0 * factor).abs() < 1e-12, "{epoch}");
        }
        let plain = Descent::new(Terms { anneal: Some(Anneal::None), ..terms() }).unwrap();
        assert_eq!(plain.rate(180, 200, 1), 2.0);
        let ramp = Terms { rate: Schedule::Ramp { from: 1.0, to: 0.0 }, ..terms() };
        assert_eq!(Descent::new(ramp).unwrap().rate(180, 200, 1), 1.0 - 0.9);
    }

    #[test]
    fn time_is_in_epochs_or_steps() {
        assert_eq!(Descent::new(terms()).unwrap().total(7), 1400);
        assert_eq!(Descent::new(Terms { epochs: 0.5, ..terms() }).unwrap().total(7), 4);
        assert_eq!(Descent::new(Terms { steps: Some(9), ..terms() }).unwrap().total(7), 9);
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        let adam = Terms { optimizer: Method::Adam, momentum: Some(0.9), ..terms() };
        assert_eq!(Descent::new(adam).unwrap_err().parameter, Some("momentum"));
        let negative = Terms { rate: Schedule::Ramp { from: 0.1, to: -0.1 }, ..terms() };
        assert_eq!(Descent::new(negative).unwrap_err().parameter, Some("rate"));
        let heavy = Terms { momentum: Some(1.0), ..terms() };
        assert_eq!(Descent::new(heavy).unwrap_err().parameter, Some("momentum"));
    }
}
