//! `autoneb`: the minimum energy path between two minima, by a nudged elastic band that grows where it must.
//!
//! The band is a chain of pivots p₀ … p_N, ends fixed. With E(p) = 𝓛(p) + ½λ‖p‖² every inner pivot follows the part of −∇E that is
//! perpendicular to the band: g ← g − (g·τ)τ. τ is the unit tangent towards the neighbour of higher energy; at a highest or lowest pivot
//! the sum of both one-sided unit tangents, weighted by max(|ΔE|) on the side of the higher neighbour and min(|ΔE|) on the other
//! (Henkelman and Jónsson, 2000). Spacing is kept in one of two ways: without `spring` the pivots are put back to
//! their target spacing along the band before every step; with a spring constant k the force k((dᵢ−d*ᵢ) − (dᵢ₊₁−d*ᵢ₊₁))τ is added to g,
//! where d are distances to the left and right neighbour and d* their targets.
//!
//! AutoNEB (Kolsbjerg et al., 2016) runs cycles of such steps. Between two cycles the loss is measured at `checks` places inside every
//! piece; where it exceeds the straight line between the pivots' losses by more than `threshold` of the band's range (highest minus
//! lowest loss), a pivot is inserted at the worst place, at most `insert` per cycle, worst pieces first. Rules start afresh in every
//! cycle.
//!
//! The result is the chain of the pivots; their knots are shares of its length, so t is proportional to arc length.
//!
//! Differences from PyTorch-AutoNEB: all pivots of a step see the same batch, so energies are compared on one function; 8 cycles of
//! 200 steps by default rather than 14 of 1000 to 2000, with its rates (0.1 for half of the time, then 0.01, then 0.001) spread over all of
//! them; losses between pivots are taken on 20 batches by default; spacing targets are shares of the band, an inserted pivot divides that of its piece.
//!
//! Draxler, Veschgini, Salmhofer, Hamprecht, "Essentially no barriers in neural network energy landscape", ICML 2018; code
//! fdraxler/PyTorch-AutoNEB.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Path, blend_into};
use fusion_sdk::schedule::Schedule;
use fusion_sdk::stats::{dot, sum_of_squares};
use fusion_sdk::{About, Category, Claim, MethodError, Params};

use crate::descent::{Anneal, Descent, Method, Slope, Terms, add_scaled};
use crate::ports;

mod band;

use band::Band;

/// Stage parameters of `autoneb`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct AutoNebParams {
    /// inner pivots of the first cycle
    #[param(range = 1..=256, default = 3)]
    pub pivots: u32,
    /// runs of the band; between them pivots are inserted. One is plain NEB
    #[param(range = 1..=1000, default = 8)]
    pub cycles: u32,
    /// steps of a cycle
    #[param(range = 1.., default = 200)]
    pub steps: u64,
    /// most pivots that are inserted between two cycles
    #[param(range = 0..=64, default = 2)]
    pub insert: u32,
    /// a pivot is inserted where the loss is above the line between two pivots by more than this share of the band's range
    #[param(unit = fraction, range = 0..=1, default = 0.1)]
    pub threshold: f64,
    /// places inside every piece where the loss is measured for that
    #[param(range = 1..=1000, default = 9)]
    pub checks: u32,
    /// batches for that; no more than an epoch has
    #[param(range = 1.., default = 20)]
    pub batches: u64,
    /// spring constant; a stiff spring needs a low rate (default: none, pivots are put back to their spacing before every step)
    #[param(above = 0)]
    pub spring: Option<f64>,
    /// update rule
    #[param(default = Method::Sgd)]
    pub optimizer: Method,
    /// learning rate over all cycles
    #[param(default = Schedule::Steps(vec![0.1, 0.1, 0.01, 0.001]))]
    pub rate: Schedule,
    /// what becomes of the rate towards the end (default: `late` where `rate` is a number, `none` where it is a schedule)
    pub anneal: Option<Anneal>,
    /// momentum of `sgd` (default: 0.9)
    #[param(range = 0..=1)]
    pub momentum: Option<f64>,
    /// penalty λ: ½λ‖p‖² is part of the energy
    #[param(range = 0.., default = 1e-4)]
    pub weight_decay: f64,
    /// largest norm of a pivot's gradient (default: no limit)
    #[param(above = 0)]
    pub clip: Option<f64>,
}

/// The kernel of `autoneb`.
#[derive(Clone, Debug)]
pub struct AutoNeb {
    params: AutoNebParams,
    descent: Descent,
}

impl Connect for AutoNeb {
    type Params = AutoNebParams;

    fn about() -> About {
        About {
            id: "autoneb",
            version: 1,
            category: Category::Connect,
            summary: "the minimum energy path between two minima (nudged elastic band)",
            formula: "pᵢ ← pᵢ − η(g − (g·τ)τ), g = ∇𝓛(pᵢ) + λpᵢ, pivots evenly spaced\n\
                      new pivots where 𝓛 exceeds the line between two pivots by more than `threshold` of its range",
            citation: "Draxler et al., Essentially no barriers in neural network energy landscape, ICML 2018",
            ports: vec![ports::between(), ports::data()],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: AutoNebParams, models: usize) -> Result<Self, MethodError> {
        ports::count("autoneb", models, 2, 2)?;
        let descent = Descent::new(Terms {
            optimizer: params.optimizer,
            rate: params.rate.clone(),
            anneal: params.anneal,
            momentum: params.momentum,
            weight_decay: 0.0,
            clip: params.clip,
            epochs: 1.0,
            steps: Some(params.steps.saturating_mul(params.cycles.into())),
        })?;
        Ok(AutoNeb { params, descent })
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        let ends = ports::exactly::<2>("autoneb", &search)?;
        let mut slope = Slope::new(search.objective, search.context, search.models)?;
        let settings = &self.params;
        slope.expect(self.looks());
        let mut band = Band::between(ends, settings.pivots as usize);
        for cycle in 0..settings.cycles {
            if cycle > 0 {
                self.grow(&mut band, &mut slope)?;
            }
            self.relax(&mut band, &mut slope, u64::from(cycle) * settings.steps)?;
        }
        band.into_path()
    }
}

impl AutoNeb {
    /// Losses and gradients that will be asked for, if every cycle inserts all that it may.
    fn looks(&self) -> u64 {
        let settings = &self.params;
        (0..u64::from(settings.cycles))
            .map(|cycle| {
                let pivots = u64::from(settings.pivots) + cycle * u64::from(settings.insert) + 2;
                let inner = u64::from(settings.checks) * (pivots - 1) + pivots;
                pivots * settings.steps + if cycle > 0 { inner } else { 0 }
            })
            .sum()
    }

    /// One cycle: `steps` steps of every inner pivot.
    fn relax(&self, band: &mut Band, slope: &mut Slope<'_>, first: u64) -> Result<(), MethodError> {
        let settings = &self.params;
        let (len, per_epoch, count) = (slope.len(), slope.steps_per_epoch(), band.pivots.len());
        let total = self.descent.total(per_epoch);
        let mut optimizers: Vec<_> = (2..count).map(|_| self.descent.optimizer(len)).collect();
        // Those of the ends are not used and share the first.
        let mut gradients = vec![vec![0.0; len]; count - 1];
        let mut energies = vec![0.0; count];
        let mut spare = vec![vec![0.0; len]; if settings.spring.is_none() { count } else { 0 }];
        let mut tangent = vec![0.0; len];
        for step in first..first + settings.steps {
            if settings.spring.is_none() {
                band.space(&mut spare);
            }
            for (i, pivot) in band.pivots.iter().enumerate() {
                let gradient = &mut gradients[i % (count - 1)];
                let loss = slope.gradient(step, pivot, gradient)?;
                energies[i] = loss + 0.5 * settings.weight_decay * sum_of_squares(pivot);
                add_scaled(pivot, settings.weight_decay, gradient);
            }
            let distances = band.distances();
            // The tangents need all pivots where they are, so no pivot moves before every gradient is projected.
            for (i, gradient) in gradients.iter_mut().enumerate().skip(1) {
                band.tangent(i, &energies, &distances, &mut tangent);
                let along = dot(gradient, &tangent);
                let spring = settings.spring.map_or(0.0, |k| k * band.stretch(i, &distances));
                add_scaled(&tangent, spring - along, gradient);
                self.descent.clip(gradient);
            }
            let rate = self.descent.rate(step, total, per_epoch);
            for (i, optimizer) in optimizers.iter_mut().enumerate() {
                optimizer.step(rate, &mut band.pivots[i + 1], &gradients[i + 1]);
            }
        }
        Ok(())
    }

    /// Inserts pivots where the loss between two of them is worse than the line between theirs.
    fn grow(&self, band: &mut Band, slope: &mut Slope<'_>) -> Result<(), MethodError> {
        let settings = &self.params;
        if settings.insert == 0 {
            return Ok(());
        }
        let batches = Some(settings.batches.min(slope.steps_per_epoch()));
        let losses =
            band.pivots.iter().map(|pivot| slope.loss(pivot, batches)).collect::<Result<Vec<_>, _>>()?;
        let (mut low, mut high) = losses
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &loss| (l.min(loss), h.max(loss)));
        // (excess, piece, share) of the worst place of every piece.
        let mut worst = Vec::new();
        let mut theta = vec![0.0; slope.len()];
        for piece in 0..losses.len() - 1 {
            let mut found = (f64::NEG_INFINITY, piece, 0.5);
            for check in 1..=settings.checks {
                let share = f64::from(check) / f64::from(settings.checks + 1);
                let between = [&band.pivots[piece], &band.pivots[piece + 1]];
                blend_into(&[1.0 - share, share], &between, &mut theta);
                let loss = slope.loss(&theta, batches)?;
                (low, high) = (low.min(loss), high.max(loss));
                let excess = loss - ((1.0 - share) * losses[piece] + share * losses[piece + 1]);
                if excess > found.0 {
                    found = (excess, piece, share);
                }
            }
            worst.push(found);
        }
        worst.retain(|(excess, ..)| *excess > settings.threshold * (high - low));
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        worst.truncate(settings.insert as usize);
        // From the last piece on, so that indices stay true.
        worst.sort_by_key(|(_, piece, _)| std::cmp::Reverse(*piece));
        for (_, piece, share) in worst {
            band.insert(piece, share);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
