//! The update rules, by their constants.

use crate::error::MethodError;

/// An update rule with its constants. Formulas and defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent.
    Sgd {
        /// μ of v ← μv + g.
        momentum: f32,
        /// Step along g + μv rather than v.
        nesterov: bool,
        /// L2 penalty: g ← g + λθ.
        weight_decay: f32,
    },
    /// Adam (Kingma and Ba, 2015).
    Adam {
        /// Decay of the mean.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root.
        epsilon: f32,
        /// L2 penalty: g ← g + λθ.
        weight_decay: f32,
        /// Decay weights apart from the gradient: AdamW (Loshchilov and Hutter, 2019).
        decoupled: bool,
    },
    /// Lion (Chen et al., 2023); decay is decoupled.
    Lion {
        /// Weight of the momentum in the step.
        beta1: f32,
        /// Decay of the momentum.
        beta2: f32,
        /// Decoupled decay.
        weight_decay: f32,
    },
}

impl Rule {
    /// Plain gradient descent: θ ← θ − ηg.
    pub const PLAIN: Rule = Rule::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };

    /// Adam with PyTorch's defaults: β = (0.9, 0.999), ε = 10⁻⁸, no decay.
    pub const ADAM: Rule =
        Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decoupled: false };

    /// Vectors of state beside the weights: 0, 1 or 2.
    #[must_use]
    pub fn moments(&self) -> usize {
        match self {
            Rule::Sgd { momentum: 0.0, .. } => 0,
            Rule::Sgd { .. } | Rule::Lion { .. } => 1,
            Rule::Adam { .. } => 2,
        }
    }

    /// Whether the constants make sense.
    ///
    /// # Errors
    /// Names the first that does not: momentum and betas lie in 0..1 (1 excluded), decay and ε are at least 0, Nesterov's
    /// step needs a momentum, and everything is finite.
    pub fn check(&self) -> Result<(), MethodError> {
        let decays = |name: &'static str, value: f32| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => {
                Err(MethodError::invalid(format!("`{name} = {value}` must lie in 0..1, 1 excluded")).at(name))
            }
        };
        let positive = |name: &'static str, value: f32| match value >= 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(MethodError::invalid(format!("`{name} = {value}` must be at least 0")).at(name)),
        };
        match *self {
            Rule::Sgd { momentum, nesterov, weight_decay } => {
                decays("momentum", momentum)?;
                positive("weight_decay", weight_decay)?;
                match nesterov && momentum == 0.0 {
                    true => Err(MethodError::invalid("Nesterov's step needs a momentum")
                        .at("nesterov")
                        .help("set `momentum`, 0.9 for instance")),
                    false => Ok(()),
                }
            }
            Rule::Adam { beta1, beta2, epsilon, weight_decay, .. } => {
                decays("beta1", beta1)?;
                decays("beta2", beta2)?;
                positive("epsilon", epsilon)?;
                positive("weight_decay", weight_decay)
            }
            Rule::Lion { beta1, beta2, weight_decay } => {
                decays("beta1", beta1)?;
                decays("beta2", beta2)?;
                positive("weight_decay", weight_decay)
            }
        }
    }
}
