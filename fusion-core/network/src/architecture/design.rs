//! What an architecture has to say of itself.

use burn::module::Module;
use burn::tensor::Device;
use fusion_sdk::{MethodError, Params};

use super::Reads;
use crate::initial::{Place, Start};
use crate::layers::Forward;
use crate::layout::Naming;

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
    /// What its tensors are called, and how it would be written in PyTorch.
    const TENSORS: &'static str;
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
pub(crate) struct Names<'a, D>(pub &'a D);

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
