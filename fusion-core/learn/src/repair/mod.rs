//! Repair: what averaging has done to the units of a network is measured on data and put right in its weights.
//!
//! REPAIR (Jordan et al., ICLR 2023) gives the units of every linear layer and convolution but the last the mean and standard deviation
//! that the averaged models have on average. Layers in front of BatchNorm need none: BatchNorm makes up for any scale and shift, once its
//! running statistics are measured again, which is done here too.

mod bias;
mod closed;
mod forward;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use fusion_network::{Architecture, Correct, Device, Flat, Goal, Moments, Network, Norm};
use fusion_sdk::Words;
use fusion_sdk::align::When;
use fusion_sdk::batch::Batch;

pub use bias::{Biased, correct_biases};

use crate::measure::MeasureError;
use crate::measure::batches::Batches;
use crate::measure::features::broken;
use crate::measure::network::{factory, failed};
use crate::measure::norm::{NormPolicy, NormSource};
use crate::measure::workers::Run;

/// How the statistics of the averaged network are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Form {
    /// the averaged network runs, each layer behind corrected ones
    Forward,
    /// from the statistics of the models alone, as if each layer averaged their units: exact for the first layer
    Closed,
}

/// What spread the units should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Spread {
    /// the mean of the models' standard deviations
    Std,
    /// the root of the mean of their variances
    Variance,
}

/// A model with its name.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// For messages.
    pub name: &'a str,
    /// Its values.
    pub flat: &'a Flat,
    /// Its share of the average, αᵢ; all together are 1.
    pub share: f64,
}

/// A repair before it runs.
#[derive(Clone, Copy)]
pub struct Repair<'a> {
    /// Of all models.
    pub architecture: &'a Architecture,
    /// Where networks run.
    pub device: &'a Device,
    /// The averaged model.
    pub merged: Endpoint<'a>,
    /// The models whose units it should be like.
    pub endpoints: &'a [Endpoint<'a>],
    /// What is corrected.
    pub kind: Correct,
    /// How its statistics are found.
    pub form: Form,
    /// What its units should have.
    pub spread: Spread,
    /// Training data, with the training's augmentation.
    pub batches: &'a Batches<'a>,
    /// Threads and progress.
    pub run: Run<'a>,
}

/// A repaired model.
#[derive(Clone, Debug, PartialEq)]
pub struct Repaired {
    /// Its values.
    pub flat: Flat,
    /// What was done, layer by layer.
    pub layers: Vec<Layer>,
}

/// What was done to a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Units.
    pub units: usize,
    /// Units whose spread could not be corrected, since they have none.
    pub dead: usize,
    /// The averaged model.
    pub before: Likeness,
    /// The repaired one.
    pub after: Likeness,
}

/// How like its goal a layer is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// Σ σ² / Σ σ*² over units: 1 for the goal, near 0 where variance has collapsed, NaN for a goal without any.
    pub variance: f64,
    /// √(Σ (μ − μ*)² / Σ σ*²): 0 for the goal.
    pub offset: f64,
}

impl Repaired {
    /// Mean variance ratio over the layers, before and after; layers without a goal are left out.
    #[must_use]
    pub fn variances(&self) -> [f64; 2] {
        let mean = |of: &dyn Fn(&Layer) -> f64| {
            let finite: Vec<f64> = self.layers.iter().map(of).filter(|value| value.is_finite()).collect();
            finite.iter().sum::<f64>() / finite.len() as f64
        };
        [mean(&|layer| layer.before.variance), mean(&|layer| layer.after.variance)]
    }
}

/// Runs a repair. In f64 but for the networks' own arithmetic; the same bits for any number of threads.
///
/// Moments are those of all rows of all batches together (the paper's code takes means over batches). Networks without BatchNorm run as in
/// evaluation, those with it normalise with each batch; dropout is off.
///
/// # Errors
/// The network has no layer that could be corrected, a layer has no bias that a mean could go into, activations are not finite, or the
/// network or the data fail.
pub fn repair(repair: &Repair<'_>) -> Result<Repaired, MeasureError> {
    let network = Network::new(repair.architecture, repair.device).map_err(failed)?;
    let sites = sites(repair.architecture, &network, repair.kind)?;
    let work = Work { repair, sites: &sites, norm: norm(&network) };
    let (goals, moments) = match repair.form {
        Form::Forward => {
            let goals = work.goals(&work.of_endpoints()?);
            let moments = work.corrected(&goals)?;
            (goals, moments)
        }
        Form::Closed => work.closed()?,
    };
    let before = work.of(repair.merged.name, repair.merged.flat)?;
    let mut flat = repair.merged.flat.clone();
    let mut dead = Vec::with_capacity(sites.len());
    for ((site, goal), moments) in sites.iter().zip(&goals).zip(&moments) {
        let change = goal.change(repair.kind, moments);
        network.fold(&mut flat.weights, &site.layer, &change).map_err(failed)?;
        dead.push(change.dead);
    }
    if network.statistics_len() > 0 {
        flat.statistics = reset(repair, &flat)?;
    }
    let after = work.of("the repaired model", &flat)?;
    let mut layers = Vec::with_capacity(sites.len());
    for (index, site) in sites.into_iter().enumerate() {
        let like = |moments: &[Moments]| likeness(&moments[index], &goals[index]);
        layers.push(Layer {
            units: goals[index].mean.len(),
            dead: dead[index],
            before: like(&before),
            after: like(&after),
            name: site.layer,
        });
    }
    Ok(Repaired { flat, layers })
}

/// A layer that is corrected.
struct Site {
    layer: String,
    /// The number of its tap.
    tap: usize,
}

/// The layers that can be corrected, or why there are none.
fn sites(architecture: &Architecture, network: &Network, kind: Correct) -> Result<Vec<Site>, MeasureError> {
    let taps = network.taps().map_err(failed)?;
    let layers: Vec<_> = taps.into_iter().enumerate().filter(|(_, tap)| tap.when == When::Before).collect();
    if layers.is_empty() {
        return Err(MeasureError::unsuitable(
            format!("`{}` has no layer that could be corrected", architecture.name()),
            "a repair works on hidden linear layers and convolutions; gates of recurrent layers see their own outputs",
        ));
    }
    let sites: Vec<Site> = layers
        .into_iter()
        .filter(|(_, tap)| !tap.batch_norm)
        .map(|(number, tap)| Site { layer: tap.layer, tap: number })
        .collect();
    if sites.is_empty() {
        return Err(MeasureError::unsuitable(
            "BatchNorm follows every hidden layer, and makes up for any scale and shift",
            "measure its running statistics again: `repair NAME using batch_norm { from …; data … }`",
        ));
    }
    if kind != Correct::Scale
        && let Some(site) = sites.iter().find(|site| !network.has_bias(&site.layer))
    {
        return Err(MeasureError::unsuitable(
            format!("layer `{}` has no bias that its mean could be corrected by", site.layer),
            "correct the spread alone, which needs none: `using rescale`; or train with biases",
        ));
    }
    Ok(sites)
}

/// Statistics are taken as in training, where that makes a difference.
fn norm(network: &Network) -> Norm {
    if network.statistics_len() > 0 { Norm::Batch } else { Norm::Running }
}

/// BatchNorm's statistics behind corrected layers.
fn reset(repair: &Repair<'_>, flat: &Flat) -> Result<Vec<f32>, MeasureError> {
    let source = NormSource { policy: Some(NormPolicy::Reset), train: Some(repair.batches), momentum: 0.1 };
    let make = factory(repair.architecture, repair.device);
    let found = repair.run.each("statistics", 1, &make, |network, _| {
        source.statistics(&mut **network, &flat.weights, || Ok(flat.statistics.clone()))
    })?;
    Ok(found.into_iter().next().flatten().unwrap_or_default())
}

/// How like its goal a layer is.
fn likeness(moments: &Moments, goal: &Goal) -> Likeness {
    let wanted: f64 = goal.std.iter().map(|std| std * std).sum();
    let found: f64 = moments.variances().iter().sum();
    let squares = moments.mean.iter().zip(&goal.mean).map(|(mean, goal)| (mean - goal) * (mean - goal));
    Likeness { variance: found / wanted, offset: (squares.sum::<f64>() / wanted).sqrt() }
}

/// A repair at work.
struct Work<'a> {
    repair: &'a Repair<'a>,
    sites: &'a [Site],
    norm: Norm,
}

impl Work<'_> {
    fn taps(&self) -> Vec<usize> {
        self.sites.iter().map(|site| site.tap).collect()
    }

    /// Calls `body` for every batch, each on one thread with a network of its own; results in order.
    fn each<T: Send>(
        &self,
        note: &str,
        body: impl Fn(&mut Network, &Batch) -> Result<T, MeasureError> + Sync,
    ) -> Result<Vec<T>, MeasureError> {
        let Repair { architecture, device, batches, run, .. } = self.repair;
        let make = || Network::new(architecture, device).map_err(failed);
        run.each(note, batches.count(), make, |network, index| {
            let batch: Cow<'_, Batch> = batches.get(index)?;
            body(network, &batch)
        })
    }

    /// The units of a layer, if all are finite.
    fn finite(&self, model: &str, moments: &[Moments]) -> Result<(), MeasureError> {
        let mut layers = self.sites.iter().zip(moments);
        match layers.find(|(_, moments)| moments.broken().is_some()) {
            Some((site, _)) => Err(broken(model, &site.layer)),
            None => Ok(()),
        }
    }
}
