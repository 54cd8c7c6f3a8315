//! Watching units: the rows that a network shows at its taps, and where the taps lie among its symmetries.

use fusion_sdk::align::Tap;
use fusion_sdk::batch::Batch;
use fusion_sdk::symmetry::{Factor, Symmetries};

use crate::error::NetworkError;
use crate::graph::CapturedTap;
use crate::layers::{Action, Probe, Seen};
use crate::network::{Network, Norm};
use crate::symmetry::Inferred;

/// Values of units: one row for each example and position (pixels of a channel, tokens, steps), in that order.
#[derive(Clone, Debug, PartialEq)]
pub struct Units {
    /// Units.
    pub width: usize,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Network {
    /// Where units can be watched, in the order of the forward pass; their numbers are places in this list.
    ///
    /// # Errors
    /// If burn cannot record the network.
    pub fn taps(&self) -> Result<Vec<CapturedTap>, NetworkError> {
        Ok(self.graph()?.taps)
    }

    /// The units at some taps, by number, without dropout; with [`Norm::Running`] in evaluation mode. Other taps cost no memory.
    ///
    /// # Errors
    /// As for [`Network::outputs`], and for numbers without a tap.
    pub fn watch(
        &mut self,
        weights: &[f32],
        statistics: &[f32],
        batch: &Batch,
        norm: Norm,
        taps: &[usize],
    ) -> Result<Vec<Units>, NetworkError> {
        let probe = Probe::new(taps.iter().map(|&tap| (tap, Action::Rows)));
        let mut probe = self.probed(weights, statistics, batch, norm, probe)?;
        let mut found = Vec::with_capacity(taps.len());
        for &tap in taps {
            if let Seen::Rows(width, values) = probe.take(tap)? {
                found.push(Units { width, values });
            }
        }
        Ok(found)
    }
}

impl Inferred {
    /// The taps with their units as axes of these symmetries, in the same order. Units whose axis is not known are pinned.
    #[must_use]
    pub fn taps(&self, taps: &[CapturedTap]) -> Vec<Tap> {
        let placed = |tap: &CapturedTap| {
            let axis = self.axes_of(tap.id).and_then(|axes| axes.get(tap.axis));
            let units = axis.cloned().unwrap_or_else(|| vec![vec![Factor::Pinned(tap.width)]]);
            Tap { layer: tap.layer.clone(), when: tap.when, units }
        };
        taps.iter().map(placed).collect()
    }

    /// As [`Inferred::taps`], with units as axes of other symmetries of the same network, whose nodes may have other names and numbers:
    /// declared ones, say. Units that are no axis of a tensor there are pinned.
    #[must_use]
    pub fn taps_in(&self, taps: &[CapturedTap], own: &Symmetries) -> Vec<Tap> {
        self.over(own).taps(taps)
    }
}
