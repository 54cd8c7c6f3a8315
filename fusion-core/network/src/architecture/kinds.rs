//! The list of architectures, and what depends on which one it is.

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;
use serde_json::{Map, Value as Json};

use super::design::{Design, Names};
use super::{Entry, Reads, cnn, lstm, mlp, parse, resnet, transformer, vgg, vit};
use crate::error::ArchitectureError;
use crate::layers::{Forward, Input, Outputs, Pass};
use crate::layout::Layout;

/// Lists the architectures once: an enum of settings, an enum of models, and what depends on which one it is.
macro_rules! architectures {
    ($($variant:ident($settings:ty)),+ $(,)?) => {
        /// Settings of any architecture.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Settings {
            $($variant($settings)),+
        }

        /// A burn module of any architecture.
        #[derive(Clone, Debug)]
        pub(crate) enum Model {
            $($variant(Box<<$settings as Design>::Model>)),+
        }

        const NAMES: &[&str] = &[$(<$settings>::NAME),+];

        impl Settings {
            pub(crate) fn read(name: &str, arguments: &Map<String, Json>) -> Result<Self, ArchitectureError> {
                $(if name == <$settings>::NAME {
                    return parse::settings::<$settings>(arguments).map(Settings::$variant);
                })+
                Err(ArchitectureError::Unknown {
                    name: name.to_owned(),
                    suggestion: parse::nearest(name, NAMES.iter().copied()),
                    known: NAMES.to_vec(),
                })
            }

            pub(crate) fn name(&self) -> &'static str {
                match self { $(Settings::$variant(_) => <$settings>::NAME),+ }
            }

            pub(crate) fn arguments(&self) -> Map<String, Json> {
                match self { $(Settings::$variant(settings) => parse::given(settings)),+ }
            }

            pub(crate) fn input(&self) -> Vec<usize> {
                match self { $(Settings::$variant(settings) => settings.input()),+ }
            }

            pub(crate) fn outputs(&self) -> usize {
                match self { $(Settings::$variant(settings) => settings.outputs()),+ }
            }

            pub(crate) fn reads(&self) -> Reads {
                match self { $(Settings::$variant(settings) => settings.reads()),+ }
            }

            pub(crate) fn build(&self, device: &Device) -> (Model, Layout) {
                match self {
                    $(Settings::$variant(settings) => {
                        let model = settings.build(device);
                        let layout = Layout::of(&model, &Names(settings));
                        (Model::$variant(Box::new(model)), layout)
                    })+
                }
            }

            pub(crate) fn catalogue() -> Vec<Entry> {
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
