//! Words that several architectures take.

use fusion_sdk::Words;

/// Activation of hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub(crate) enum Activation {
    /// max(x, 0)
    Relu,
    /// x·Φ(x), with the error function (on other devices than flex, burn's derivative is that of the tanh form: 4e-4 off)
    Gelu,
    /// hyperbolic tangent
    Tanh,
    /// 1/(1 + exp(−x))
    Sigmoid,
    /// max(x, 0.01 x)
    LeakyRelu,
    /// none: a linear network
    Identity,
}

/// Normalisation behind linear layers and convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub(crate) enum NormKind {
    /// none
    None,
    /// BatchNorm (Ioffe and Szegedy, 2015): with running statistics, which averaging must recompute
    Batch,
    /// LayerNorm (Ba et al., 2016) over the channels, for images at each position
    Layer,
}
