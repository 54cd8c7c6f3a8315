//! The update rules.

/// An update rule with its constants.
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

/// A rule with its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    rule: Rule,
    steps: u64,
    first: Vec<f32>,
    second: Vec<f32>,
}
