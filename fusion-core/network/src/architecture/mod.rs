//! Which networks there are and what recipes say of them: names, arguments, checks.

mod cnn;
mod design;
mod kinds;
mod lstm;
mod mlp;
mod parse;
mod resnet;
mod sizes;
mod transformer;
mod vgg;
mod vit;
mod widths;
mod words;

use std::fmt;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub(crate) use design::Design;
pub(crate) use kinds::Model;
use kinds::Settings;
pub(crate) use words::{Activation, NormKind};

use crate::error::ArchitectureError;
use crate::graph::off;
use crate::initial::{self, Init};
use crate::layout::{Layout, Part, Role, TensorSpec};
use crate::state::{Data, State, StateTensor};

/// What examples are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reads {
    /// Numbers.
    Numbers,
    /// Token ids below this.
    Tokens(usize),
}

/// A network's validated description.
///
/// It prints as in a recipe, and is read and written by serde as `{"name": "mlp", "arguments": {"inputs": 784, …}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Architecture {
    settings: Settings,
    input: Vec<usize>,
}

/// An architecture for documentation and for the language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// In recipes.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Where it comes from.
    pub citation: &'static str,
    /// What its tensors are called and how it would be written in PyTorch.
    pub tensors: &'static str,
    /// Names of arguments given without a name, in order.
    pub positional: &'static [&'static str],
    /// JSON schema of the arguments.
    pub schema: Json,
}

/// Weights of the largest network, 16 GiB: more is a slip of the pen.
const MOST_WEIGHTS: usize = 1 << 32;

impl Architecture {
    /// Reads a description. Arguments without a name are called `0`, `1`, ….
    ///
    /// # Errors
    /// For unknown names, with the nearest one, and for values that do not fit, alone or together.
    pub fn parse(name: &str, arguments: &Map<String, Json>) -> Result<Architecture, ArchitectureError> {
        let settings = Settings::read(name, arguments)?;
        let input = settings.input();
        let (_, layout) = settings.build(&off());
        if layout.weights > MOST_WEIGHTS {
            return Err(ArchitectureError::Argument {
                architecture: settings.name(),
                argument: None,
                message: format!("the network would have {} weights", layout.weights),
                help: Some(format!("networks that are trained here have up to {MOST_WEIGHTS}")),
            });
        }
        Ok(Architecture { settings, input })
    }

    /// All architectures.
    #[must_use]
    pub fn catalogue() -> Vec<Entry> {
        Settings::catalogue()
    }

    /// The architecture's name: `mlp`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.settings.name()
    }

    /// Shape of one example: `[784]`, `[3, 32, 32]`, or the longest number of tokens.
    #[must_use]
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// What examples are made of.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.settings.reads()
    }

    /// Numbers (logits) for each prediction. Language models make one prediction for each token, all others one for each example.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.settings.outputs()
    }

    /// The tensors as they stand in a file: PyTorch names and layout, counters behind the statistics that they belong to.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.layout().specs()
    }

    /// Initial values: a pure function of the seed and each tensor's name. Parameters as the table in `initial.rs` and the
    /// architecture's description say, statistics those of a fresh BatchNorm (0 and 1), counters 0.
    #[must_use]
    pub fn initial(&self, seed: u64) -> State {
        self.initial_by(seed, Init::Usual)
    }

    /// Initial values, linear layers and convolutions drawn in another way. The LSTM's own matrices are none: see
    /// [`Architecture::takes`].
    #[must_use]
    pub fn initial_by(&self, seed: u64, init: Init) -> State {
        let layout = self.layout();
        let mut drawn = layout.slots.iter().map(|slot| initial::draw(slot, seed, init));
        let tensors = layout.specs().into_iter().map(|spec| {
            let data = match spec.role {
                Role::Counter => Data::I64(vec![0]),
                _ => Data::F32(drawn.next().unwrap_or_default()),
            };
            StateTensor { spec, data }
        });
        State::of(tensors.collect())
    }

    /// Whether a way to draw first weights is for this network: an `lstm` is drawn as PyTorch does, its gates are no linear layers.
    ///
    /// # Errors
    /// It is not, with what is.
    pub fn takes(&self, init: Init) -> Result<(), ArchitectureError> {
        match (&self.settings, init) {
            (Settings::Lstm(_), Init::He | Init::Xavier) => Err(ArchitectureError::Argument {
                architecture: self.name(),
                argument: None,
                message: format!(
                    "`init = {}` is for linear layers and convolutions, not for gates",
                    init.word()
                ),
                help: Some("leave `init` out: an `lstm` starts as PyTorch's".to_owned()),
            }),
            _ => Ok(()),
        }
    }

    /// Whether running statistics have to be looked after.
    #[must_use]
    pub fn has_batch_norm(&self) -> bool {
        self.layout().slots.iter().any(|slot| slot.part == Part::Statistics)
    }

    /// The module without values, and where its tensors lie.
    pub(crate) fn build(&self, device: &Device) -> (Model, Layout) {
        self.settings.build(device)
    }

    fn layout(&self) -> Layout {
        self.build(&off()).1
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name())?;
        for (index, (name, value)) in self.settings.arguments().iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{name}: {}", parse::Shown(value))?;
        }
        f.write_str(")")
    }
}

/// An architecture on paper.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    arguments: Map<String, Json>,
}

impl TryFrom<Written> for Architecture {
    type Error = ArchitectureError;

    fn try_from(written: Written) -> Result<Self, ArchitectureError> {
        Architecture::parse(&written.name, &written.arguments)
    }
}

impl From<Architecture> for Written {
    fn from(architecture: Architecture) -> Self {
        Written { name: architecture.name().to_owned(), arguments: architecture.settings.arguments() }
    }
}
