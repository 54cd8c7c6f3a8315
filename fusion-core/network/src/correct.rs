//! Gives units of a network the mean and the spread that they should have, while a batch runs through, and folds the change into weights.
//!
//! Averaging networks lets the variance of units collapse, the more the deeper they are; REPAIR (Jordan, Sedghi, Saukh, Entezari,
//! Neyshabur, "REPAIR: REnormalizing Permuted Activations for Interpolation Repair", ICLR 2023) gives every unit in front of its activation
//! the mean and standard deviation that the averaged models have on average. RESCALE and RESHIFT do half of it (Qu, Horváth, "Rethink
//! Model Re-Basin and the Linear Mode Connectivity", 2024).

use fusion_sdk::batch::Batch;

use crate::error::NetworkError;
use crate::layers::{Action, Pass, Probe, Seen, Taps};
use crate::layout::Slot;
use crate::moments::Moments;
use crate::network::{Network, Norm, device_error};

/// What of a unit is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correct {
    /// Mean and standard deviation: y ← σ*·(y − μ)/σ + μ*.
    Both,
    /// The standard deviation: y ← σ*·y/σ. The mean goes with it, so no bias is needed.
    Scale,
    /// The mean: y ← y − μ + μ*.
    Shift,
}

/// Mean and standard deviation that the units of a layer should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// μ*, by unit.
    pub mean: Vec<f64>,
    /// σ*, by unit.
    pub std: Vec<f64>,
}

/// What is done to the units of a layer: y ← scale·y + shift.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// By unit.
    pub scale: Vec<f64>,
    /// By unit.
    pub shift: Vec<f64>,
    /// Units that keep their scale though it was to be corrected: see [`Goal::change`].
    pub dead: usize,
}

/// A standard deviation below this share of the goal says nothing.
const NONE: f64 = 1e-3;

/// Nor does one below this share of the mean: it is the rounding of f32.
const ROUNDING: f64 = 1e-6;

impl Goal {
    /// The change that takes units with these moments to the goal. In f64.
    ///
    /// Nothing is added to variances (the paper's code adds 1e-5): units of any size are treated alike, and a model that has its goal stays
    /// as it is. Instead, a unit keeps its scale where its deviation is below a thousandth of the goal or below 1e-6 of its mean: it is
    /// dead, and what little it varies says nothing. A goal of 0 makes a unit constant. NaN gives NaN.
    #[must_use]
    pub fn change(&self, kind: Correct, of: &Moments) -> Change {
        let mut change = Change { scale: Vec::new(), shift: Vec::new(), dead: 0 };
        let units = of.mean.iter().zip(of.variances()).zip(self.mean.iter().zip(&self.std));
        for ((&mean, variance), (&goal_mean, &goal_std)) in units {
            let std = variance.sqrt();
            let dead = std == 0.0 || std < NONE * goal_std || std < ROUNDING * mean.abs();
            change.dead += usize::from(dead && kind != Correct::Shift);
            let scale = if dead || kind == Correct::Shift { 1.0 } else { goal_std / std };
            change.scale.push(scale);
            change.shift.push(if kind == Correct::Scale { 0.0 } else { goal_mean - scale * mean });
        }
        change
    }
}

impl Network {
    /// Moments of the units at some taps, by number, as [`Network::taps`] lists them. With [`Norm::Batch`] BatchNorm normalises with the
    /// batch, as in training; there is no dropout.
    ///
    /// # Errors
    /// As for [`Network::outputs`], and for numbers without a tap.
    pub fn moments(
        &mut self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
        norm: Norm,
        taps: &[usize],
    ) -> Result<Vec<Moments>, NetworkError> {
        let actions = taps.iter().map(|&tap| (tap, Action::Moments));
        self.probed(weights, statistics, batch, norm, Probe::new(actions))?.moments(taps)
    }

    /// The same with the goal of each tap: gives the units their goal before they go on, each batch by its own moments, so that later layers
    /// see what they will see in a network that is corrected. The moments are those in front of the correction.
    ///
    /// # Errors
    /// As for [`Network::moments`].
    pub fn corrected(
        &mut self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
        norm: Norm,
        kind: Correct,
        goals: &[(usize, Goal)],
    ) -> Result<Vec<Moments>, NetworkError> {
        let actions = goals.iter().map(|(tap, goal)| (*tap, Action::Correct(kind, goal.clone())));
        let taps: Vec<usize> = goals.iter().map(|(tap, _)| *tap).collect();
        self.probed(weights, statistics, batch, norm, Probe::new(actions))?.moments(&taps)
    }

    /// Whether a layer has a bias that a shift can be folded into.
    #[must_use]
    pub fn has_bias(&self, layer: &str) -> bool {
        self.slot(layer, "bias").is_some()
    }

    /// Folds a change of a layer's units into its weights: W ← scale·W, b ← scale·b + shift, in f64, rounded once.
    ///
    /// # Errors
    /// There is no such layer, a number of units differs, or a shift has no bias to go into.
    pub fn fold(&self, weights: &mut [f32], layer: &str, change: &Change) -> Result<(), NetworkError> {
        let failed = |message: String| NetworkError::Layer { layer: layer.to_owned(), message };
        crate::check::length("weights", weights.len(), self.layout().weights)?;
        let slot = self.slot(layer, "weight").ok_or_else(|| failed("there is no such layer".to_owned()))?;
        let axis = if slot.transposed { slot.shape.len() - 1 } else { 0 };
        let (units, inner) = (slot.shape[axis], slot.shape[axis + 1..].iter().product::<usize>());
        if units != change.scale.len() || units != change.shift.len() {
            return Err(failed(format!("{units} units cannot get {} changes", change.scale.len())));
        }
        let bias = self.slot(layer, "bias");
        if bias.is_none() && change.shift.iter().any(|shift| *shift != 0.0) {
            return Err(failed("it has no bias that a mean could be corrected by".to_owned()));
        }
        for (index, value) in weights[slot.range()].iter_mut().enumerate() {
            *value = (f64::from(*value) * change.scale[index / inner % units]) as f32;
        }
        if let Some(bias) = bias {
            let values = weights[bias.range()].iter_mut().zip(change.scale.iter().zip(&change.shift));
            for (value, (scale, shift)) in values {
                *value = (f64::from(*value) * scale + shift) as f32;
            }
        }
        Ok(())
    }

    fn slot(&self, layer: &str, field: &str) -> Option<&Slot> {
        let own = |slot: &&Slot| {
            slot.name.strip_prefix(layer).and_then(|rest| rest.strip_prefix('.')) == Some(field)
        };
        self.layout().slots.iter().find(own)
    }

    /// A run that looks at taps.
    pub(crate) fn probed(
        &mut self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
        norm: Norm,
        probe: Probe,
    ) -> Result<Probe, NetworkError> {
        let mut pass = Pass::new(norm);
        pass.taps = Taps::Probe(probe);
        match self.evaluate(weights, statistics, batch, pass)?.1.taps {
            Taps::Probe(Probe { trouble: Some(trouble), .. }) => Err(device_error(trouble)),
            Taps::Probe(probe) => Ok(probe),
            Taps::Off | Taps::List(_) => Ok(Probe::default()),
        }
    }
}

impl Probe {
    /// What the taps of these numbers have shown, in their order.
    pub(crate) fn take(&mut self, tap: usize) -> Result<Seen, NetworkError> {
        self.seen.remove(&tap).ok_or_else(|| NetworkError::Option {
            option: "taps",
            wanted: "be numbers of the network's taps, each once",
            found: tap.to_string(),
        })
    }

    fn moments(mut self, taps: &[usize]) -> Result<Vec<Moments>, NetworkError> {
        let mut found = Vec::with_capacity(taps.len());
        for &tap in taps {
            match self.take(tap)? {
                Seen::Moments(moments) => found.push(moments),
                Seen::Rows(units, values) => found.push(Moments::of(&values, units, 1)),
            }
        }
        Ok(found)
    }
}
