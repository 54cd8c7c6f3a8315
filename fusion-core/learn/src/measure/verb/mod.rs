//! The verb `evaluate`: its methods as the language sees them, and how each turns models, paths and data into [`Scores`].

mod methods;
mod models;
mod pairs;
mod params;
mod paths;
mod scores;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use fusion_data::Dataset;
use fusion_sdk::objective::Segment;
use fusion_sdk::path::Path;
use serde_json::{Map as Settings, Value as Json};

use crate::measure::MeasureError;
use crate::measure::batches::Batches;
use crate::measure::forward::{Factory, Model};
use crate::measure::norm::{NormPolicy, NormSource};
use crate::measure::workers::Run;
use methods::Kind;
use params::{RunParams, split};

pub use methods::{check, methods};
pub use params::{
    BarrierParams, CkaParams, EceParams, LandscapeParams, Layers, MergeableParams, RunParams as NetworkParams,
};
pub use scores::{Detail, Lines, Map, Matrix, Scores, Table};

/// What is measured: a model, or an ensemble whose members' probabilities are averaged.
#[derive(Clone)]
pub struct Subject<'a> {
    /// What values are called by: its name in the recipe.
    pub name: &'a str,
    /// One model, or several.
    pub members: Vec<Model<'a>>,
}

/// A path among the inputs.
#[derive(Clone)]
pub struct NamedPath<'a> {
    /// Its name in the recipe.
    pub name: &'a str,
    /// The path.
    pub path: &'a Path,
    /// The network of its points.
    pub network: &'a Factory<'a>,
    /// Running statistics of every point, of the two ends, or none.
    pub statistics: Vec<&'a [f32]>,
}

/// A data set among the inputs.
#[derive(Clone, Copy)]
pub struct NamedData<'a> {
    /// Its name in the recipe.
    pub name: &'a str,
    /// The examples.
    pub set: &'a Arc<Dataset>,
}

/// Inputs of an `evaluate` stage, by port.
pub struct Inputs<'a> {
    /// `from`.
    pub from: &'a [Subject<'a>],
    /// `base`.
    pub base: Option<Model<'a>>,
    /// `path`.
    pub paths: &'a [NamedPath<'a>],
    /// `data`.
    pub data: &'a [NamedData<'a>],
    /// `train`.
    pub train: Option<NamedData<'a>>,
    /// Tensors of the first model, for methods that tell layers apart.
    pub segments: &'a [Segment],
    /// The stage's seed.
    pub seed: u64,
    /// Threads, stop, progress.
    pub run: Run<'a>,
}

/// Runs a method. The same inputs give the same values for any number of threads.
///
/// # Errors
/// Settings that do not fit, inputs that the method cannot measure, a failing network or data set, or a stop.
pub fn evaluate(
    id: &str,
    settings: &Settings<String, Json>,
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let kind = Kind::of(id)?;
    match kind {
        Kind::Distance => pairs::distance(&params::read(settings)?, inputs),
        Kind::Diversity => pairs::diversity(&split(settings)?, inputs),
        Kind::Cka => pairs::cka(&split(settings)?, inputs),
        Kind::Mergeable => pairs::mergeable(&split(settings)?, inputs),
        Kind::Barrier => paths::barrier(&split(settings)?, inputs),
        Kind::Landscape => paths::landscape(&split(settings)?, inputs),
        Kind::Ece => models::ece(&split(settings)?, inputs),
        Kind::PerClass => models::per_class(&split(settings)?, inputs),
        Kind::Brier => models::brier(&split(settings)?, inputs),
        Kind::Loss | Kind::Accuracy | Kind::CrossEntropy | Kind::Perplexity => {
            models::mean(kind, &split(settings)?, inputs)
        }
    }
}

impl Inputs<'_> {
    /// The only data set of a method that takes one.
    fn only_set(&self) -> Result<&NamedData<'_>, MeasureError> {
        match self.data {
            [data] => Ok(data),
            _ => Err(MeasureError::unsuitable(
                format!("this method measures on one data set, {} are connected", self.data.len()),
                "connect one to `data`",
            )),
        }
    }

    /// Its batches.
    fn one_set(&self, batch: usize) -> Result<Batches<'static>, MeasureError> {
        self.only_set().and_then(|data| Batches::of(data.name, data.set, batch))
    }

    /// All data sets.
    fn sets(&self, batch: usize) -> Result<Vec<Batches<'static>>, MeasureError> {
        self.data.iter().map(|data| Batches::of(data.name, data.set, batch)).collect()
    }

    /// Batches that BatchNorm's statistics are counted on, where the policy counts.
    fn counting(&self, params: &RunParams) -> Result<Option<Batches<'static>>, MeasureError> {
        let count = match params.norm {
            Some(NormPolicy::Reset) => params.norm_batches,
            Some(NormPolicy::Ema) => Some(params.norm_batches.unwrap_or(100)),
            _ => return Ok(None),
        };
        let of =
            |data: NamedData<'_>| Batches::training(data.name, data.set, params.norm_batch, self.seed, count);
        self.train.map(of).transpose()
    }
}

/// The policy with its batches; `usual` where the recipe says nothing.
fn norm<'a>(params: &RunParams, train: Option<&'a Batches<'a>>, usual: Option<NormPolicy>) -> NormSource<'a> {
    NormSource { policy: params.norm.or(usual), train, momentum: params.norm_momentum }
}
