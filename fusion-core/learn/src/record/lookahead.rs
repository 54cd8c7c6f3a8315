//! `lookahead`: slow weights that follow the fast ones, and pull them back (Zhang et al., "Lookahead Optimizer", 2019).
//!
//! Every k steps φ ← φ + α(θ−φ), θ ← φ, in f32 as the weights. It moves the training, so what comes out of the stage is φ too where the
//! last step is a multiple of k.

use fusion_network::Flat;
use fusion_sdk::optim::Optimizer;
use fusion_sdk::{MethodError, simd};

use super::params::{CollectParams, Momentum};
use super::{Recorder, Saved, Seen, When, fit, nothing, number};

pub(crate) struct Lookahead {
    when: When,
    alpha: f32,
    momentum: Momentum,
    count: u64,
    slow: Vec<f32>,
    /// Of the optimiser's first moment, for the pullback.
    slow_momentum: Vec<f32>,
    statistics: Vec<f32>,
}

impl Lookahead {
    pub(crate) fn new(when: When, params: &CollectParams) -> Self {
        Lookahead {
            when,
            alpha: params.alpha.unwrap_or(0.5) as f32,
            momentum: params.momentum.unwrap_or(Momentum::Keep),
            count: 0,
            slow: Vec::new(),
            slow_momentum: Vec::new(),
            statistics: Vec::new(),
        }
    }
}

/// slow ← slow + α(fast−slow), fast ← slow.
fn pull(alpha: f32, slow: &mut [f32], fast: &mut [f32]) {
    simd(
        #[inline(always)]
        || {
            for (slow, fast) in slow.iter_mut().zip(fast) {
                *slow += alpha * (*fast - *slow);
                *fast = *slow;
            }
        },
    );
}

impl Recorder for Lookahead {
    fn begin(&mut self, start: &[f32]) {
        self.slow = start.to_vec();
    }

    fn due(&self, done: u64) -> bool {
        self.when.due(done)
    }

    fn record(&mut self, seen: Seen<'_>) {
        self.statistics.clear();
        self.statistics.extend_from_slice(seen.statistics);
    }

    fn acts(&self) -> bool {
        true
    }

    fn act(&mut self, weights: &mut [f32], optimizer: &mut Optimizer) {
        pull(self.alpha, &mut self.slow, weights);
        let (first, _) = optimizer.moments_mut();
        match self.momentum {
            Momentum::Keep => {}
            Momentum::Reset => first.fill(0.0),
            Momentum::Pullback => {
                // The slow momentum starts at zero, as the fast one does.
                self.slow_momentum.resize(first.len(), 0.0);
                pull(self.alpha, &mut self.slow_momentum, first);
            }
        }
        self.count += 1;
    }

    fn finish(&mut self) -> Result<Vec<Flat>, MethodError> {
        match self.count {
            0 => Err(nothing("lookahead")),
            _ => Ok(vec![Flat {
                weights: std::mem::take(&mut self.slow),
                statistics: std::mem::take(&mut self.statistics),
            }]),
        }
    }

    fn save(&self) -> Saved<'_> {
        let vectors = [&self.slow, &self.slow_momentum, &self.statistics];
        Saved {
            numbers: serde_json::json!({ "count": self.count }),
            singles: vectors.map(|vector| (&vector[..]).into()).into(),
            doubles: Vec::new(),
        }
    }

    fn load(&mut self, saved: Saved<'static>) -> Result<(), String> {
        self.count = number(&saved, "count")?;
        fit::none(&saved.doubles)?;
        let [slow, momentum, statistics] = fit::exactly(saved.singles)?;
        self.slow = slow.into_owned();
        self.slow_momentum = momentum.into_owned();
        self.statistics = statistics.into_owned();
        Ok(())
    }
}
