//! Initial values: pure functions of (seed, tensor name, element).
//!
//! | tensors | drawn as |
//! |---|---|
//! | linear layers | U(±1/√fan_in), weights and biases, as PyTorch does |
//! | convolutions | N(0, 2/fan_in) (He et al., "Delving deep into rectifiers", 2015), biases zero |
//! | normalisation | scale 1, shift 0, running mean 0, running variance 1 |
//! | embeddings, and all matrices of transformers | N(0, 0.02²), biases zero; matrices that write to the residual stream N(0, 0.02²/2L) for L blocks (Radford et al., GPT-2, 2019) |
//! | LSTM | U(±1/√hidden), as PyTorch does; its embedding N(0, 1) |
//!
//! These are the *usual* values. [`Init`] has other ways for the matrices and kernels of linear layers and convolutions and their biases;
//! everything else stays as in the table.

use fusion_sdk::Words;
use fusion_sdk::rng::Key;

use crate::layout::Slot;

/// How linear layers and convolutions are drawn at first. fan_in and fan_out are the numbers that a unit reads, and that read an input:
/// for a kernel, channels times its area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Words)]
pub enum Init {
    /// as the architecture says
    #[default]
    Usual,
    /// U(±1/√fan_in), weights and biases: what PyTorch's `nn.Linear` and `nn.Conv2d` do
    Pytorch,
    /// N(0, 2/fan_in), biases 0 (He et al., "Delving deep into rectifiers", 2015)
    He,
    /// U(±√(6/(fan_in + fan_out))), biases 0 (Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks", 2010)
    Xavier,
}

impl Init {
    /// All of them.
    pub const ALL: [Init; 4] = [Init::Usual, Init::Pytorch, Init::He, Init::Xavier];

    /// In recipes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Init::Usual => "usual",
            Init::Pytorch => "pytorch",
            Init::He => "he",
            Init::Xavier => "xavier",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Init> {
        Init::ALL.into_iter().find(|init| init.word() == word)
    }

    fn start(self, fans: Fans) -> Option<Start> {
        let (fan_in, fan_out) = (fans.fan_in.max(1) as f64, fans.fan_out.max(1) as f64);
        match (self, fans.bias) {
            (Init::Usual, _) => None,
            (Init::Pytorch, _) => Some(Start::Uniform(1.0 / fan_in.sqrt())),
            (Init::He | Init::Xavier, true) => Some(Start::Constant(0.0)),
            (Init::He, false) => Some(Start::Normal((2.0 / fan_in).sqrt())),
            (Init::Xavier, false) => Some(Start::Uniform((6.0 / (fan_in + fan_out)).sqrt())),
        }
    }
}

/// The fans of a matrix or kernel, also for the bias behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fans {
    pub fan_in: usize,
    pub fan_out: usize,
    pub bias: bool,
}

/// How a tensor's values are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// The same everywhere.
    Constant(f32),
    /// Uniform in ±bound.
    Uniform(f64),
    /// Normal with mean zero.
    Normal(f64),
}

/// A tensor that needs initial values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Name on disk.
    pub name: &'a str,
    /// The module's type, as burn writes it: `Struct:Linear`.
    pub container: &'a str,
    /// Its field.
    pub field: &'a str,
    /// Inputs of a unit; for a bias, those of the weight before it.
    pub fan_in: usize,
}

impl Place<'_> {
    /// What is not said otherwise by an architecture; see the table above.
    pub(crate) fn usual(&self) -> Start {
        let fan_in = self.fan_in.max(1) as f64;
        match (self.container, self.field) {
            ("Struct:Normalization", "weight" | "running_var") => Start::Constant(1.0),
            ("Struct:Normalization", _) | ("Struct:Conv2d", "bias") => Start::Constant(0.0),
            ("Struct:Conv2d", _) => Start::Normal((2.0 / fan_in).sqrt()),
            ("Struct:Embedding", _) => Start::Normal(0.02),
            _ => Start::Uniform(1.0 / fan_in.sqrt()),
        }
    }
}

/// The values of a tensor, in the file's layout.
pub(crate) fn draw(slot: &Slot, seed: u64, init: Init) -> Vec<f32> {
    let key = Key::new(seed, &slot.name, 0);
    let indices = 0..slot.len as u64;
    match slot.fans.and_then(|fans| init.start(fans)).unwrap_or(slot.initial) {
        Start::Constant(value) => vec![value; slot.len],
        Start::Uniform(bound) => {
            indices.map(|index| ((2.0 * f64::from(key.uniform(index)) - 1.0) * bound) as f32).collect()
        }
        Start::Normal(deviation) => {
            indices.map(|index| (f64::from(key.normal(index)) * deviation) as f32).collect()
        }
    }
}
