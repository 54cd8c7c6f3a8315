//! Which networks there are and what recipes say of them: names, arguments, checks.

mod cnn;
mod lstm;
mod mlp;
mod parse;
mod resnet;
mod sizes;
mod transformer;
mod vgg;
mod vit;
mod words;

pub(crate) use lstm::rows;
pub(crate) use words::{Activation, NormKind};

use std::fmt;

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;
use fusion_sdk::{MethodError, Params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::ArchitectureError;
use crate::graph::off;
use crate::initial::{self, Place, Start};
use crate::layers::{Forward, Input, Outputs, Pass};
use crate::layout::{Layout, Naming, Part, Role, TensorSpec};
use crate::state::{Data, State, StateTensor};

/// What examples are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reads {
    /// Numbers.
    Numbers,
    /// Token ids below this.
    Tokens(usize),
}

/// An architecture: its settings and what follows from them.
pub(crate) trait Design: Params + PartialEq {
    /// The burn module.
    type Model: Module + Forward;
    /// In recipes.
    const NAME: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// Where it comes from.
    const CITATION: &'static str;
    /// Names of arguments given without a name, in order.
    const POSITIONAL: &'static [&'static str];

    /// What ranges cannot say.
    fn check_together(&self) -> Result<(), MethodError>;
    /// The module, without values.
    fn build(&self, device: &Device) -> Self::Model;
    /// Shape of one example.
    fn input(&self) -> Vec<usize>;
    /// Numbers (logits) for each prediction.
    fn outputs(&self) -> usize;

    /// What examples are made of.
    fn reads(&self) -> Reads {
        Reads::Numbers
    }
    /// The PyTorch name of a module path.
    fn name(&self, path: &str) -> String {
        path.to_owned()
    }
    /// What names a tensor's layer.
    fn layer(&self, name: &str) -> String {
        name.rsplit_once('.').map_or(name, |(module, _)| module).to_owned()
    }
    /// How initial values are drawn.
    fn start(&self, place: &Place<'_>) -> Start {
        place.usual()
    }
}

/// A [`Design`]'s naming as an object.
struct Names<'a, D>(&'a D);

impl<D: Design> Naming for Names<'_, D> {
    fn name(&self, path: &str) -> String {
        self.0.name(path)
    }
    fn layer(&self, name: &str) -> String {
        self.0.layer(name)
    }
    fn start(&self, place: &Place<'_>) -> Start {
        self.0.start(place)
    }
}

/// Lists the architectures once: an enum of settings, an enum of models, and what depends on which one it is.
macro_rules! architectures {
    ($($variant:ident($settings:ty)),+ $(,)?) => {
        #[derive(Clone, Debug, PartialEq)]
        enum Settings {
            $($variant($settings)),+
        }

        /// A burn module of any architecture.
        #[derive(Clone, Debug)]
        pub(crate) enum Model {
            $($variant(Box<<$settings as Design>::Model>)),+
        }

        const NAMES: &[&str] = &[$(<$settings>::NAME),+];

        impl Settings {
            fn read(name: &str, arguments: &Map<String, Json>) -> Result<Self, ArchitectureError> {
                $(if name == <$settings>::NAME {
                    return parse::settings::<$settings>(arguments).map(Settings::$variant);
                })+
                Err(ArchitectureError::Unknown {
                    name: name.to_owned(),
                    suggestion: parse::nearest(name, NAMES.iter().copied()),
                    known: NAMES.to_vec(),
                })
            }

            fn name(&self) -> &'static str {
                match self { $(Settings::$variant(_) => <$settings>::NAME),+ }
            }

            fn arguments(&self) -> Map<String, Json> {
                match self { $(Settings::$variant(settings) => parse::given(settings)),+ }
            }

            fn input(&self) -> Vec<usize> {
                match self { $(Settings::$variant(settings) => settings.input()),+ }
            }

            fn outputs(&self) -> usize {
                match self { $(Settings::$variant(settings) => settings.outputs()),+ }
            }

            fn reads(&self) -> Reads {
                match self { $(Settings::$variant(settings) => settings.reads()),+ }
            }

            fn build(&self, device: &Device) -> (Model, Layout) {
                match self {
                    $(Settings::$variant(settings) => {
                        let model = settings.build(device);
                        let layout = Layout::of(&model, &Names(settings));
                        (Model::$variant(Box::new(model)), layout)
                    })+
                }
            }

            fn catalogue() -> Vec<Entry> {
                vec![$(parse::entry::<$settings>()),+]
            }
        }

        impl Model {
            /// Calls the visitor with every parameter, in flat order.
            pub(crate) fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
                match self { $(Model::$variant(model) => model.visit(visitor)),+ }
            }

            /// Replaces every parameter, in flat order.
            pub(crate) fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                match self { $(Model::$variant(model) => Model::$variant(Box::new(model.map(mapper)))),+ }
            }

            /// The network's outputs for a batch, one row for each prediction.
            pub(crate) fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
                match self { $(Model::$variant(model) => model.forward(input, pass)),+ }
            }
        }
    };
}

architectures!(
    Mlp(mlp::Mlp),
    Cnn(cnn::Cnn),
    Vgg(vgg::Vgg),
    Resnet(resnet::Resnet),
    Transformer(transformer::Transformer),
    Vit(vit::Vit),
    Lstm(lstm::Lstm),
);

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
    /// Names of arguments given without a name, in order.
    pub positional: &'static [&'static str],
    /// JSON schema of the arguments.
    pub schema: Json,
}

impl Architecture {
    /// Reads a description. Arguments without a name are called `0`, `1`, ….
    ///
    /// # Errors
    /// For unknown names, with the nearest one, and for values that do not fit, alone or together.
    pub fn parse(name: &str, arguments: &Map<String, Json>) -> Result<Architecture, ArchitectureError> {
        let settings = Settings::read(name, arguments)?;
        let input = settings.input();
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
        let layout = self.layout();
        let mut drawn = layout.slots.iter().map(|slot| initial::draw(slot, seed));
        let tensors = layout.specs().into_iter().map(|spec| {
            let data = match spec.role {
                Role::Counter => Data::I64(vec![0]),
                _ => Data::F32(drawn.next().unwrap_or_default()),
            };
            StateTensor { spec, data }
        });
        State::of(tensors.collect())
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
