//! `ema`: the exponential moving average.
//!
//! The first record is taken as it is; record t = 1, 2, … gives θ̄ ← dₜθ̄ + (1−dₜ)θ, with dₜ = min(d, (1+t)/(10+t)) in warm-up
//! (TensorFlow's rule) and dₜ = d without (PyTorch's `get_ema_multi_avg_fn`). The mean is kept in f64: in f32 it would stand still once
//! (1−d)|θ−θ̄| falls below the last place of θ̄.

use fusion_network::Flat;
use fusion_sdk::{MethodError, simd};

use super::params::CollectParams;
use super::{Recorder, Saved, Seen, When, fit, nothing, number};

pub(crate) struct Ema {
    when: When,
    decay: f64,
    warm_up: bool,
    count: u64,
    mean: Vec<f64>,
    statistics: Vec<f32>,
}

impl Ema {
    pub(crate) fn new(when: When, params: &CollectParams) -> Self {
        Ema {
            when,
            decay: params.decay.unwrap_or(0.999),
            warm_up: params.warm_up.unwrap_or(true),
            count: 0,
            mean: Vec::new(),
            statistics: Vec::new(),
        }
    }
}

impl Recorder for Ema {
    fn due(&self, done: u64) -> bool {
        self.when.due(done)
    }

    fn record(&mut self, seen: Seen<'_>) {
        if self.count == 0 {
            fit::add(&mut self.mean, seen.weights);
        } else {
            let t = self.count as f64;
            let decay = if self.warm_up { self.decay.min((1.0 + t) / (10.0 + t)) } else { self.decay };
            let mean = &mut self.mean;
            simd(
                #[inline(always)]
                || {
                    for (mean, &w) in mean.iter_mut().zip(seen.weights) {
                        *mean = decay * *mean + (1.0 - decay) * f64::from(w);
                    }
                },
            );
        }
        self.count += 1;
        self.statistics.clear();
        self.statistics.extend_from_slice(seen.statistics);
    }

    fn finish(&mut self) -> Result<Vec<Flat>, MethodError> {
        match self.count {
            0 => Err(nothing("ema")),
            _ => Ok(vec![Flat {
                weights: fit::mean(&self.mean, 1),
                statistics: std::mem::take(&mut self.statistics),
            }]),
        }
    }

    fn save(&self) -> Saved<'_> {
        Saved {
            numbers: serde_json::json!({ "count": self.count }),
            singles: vec![(&self.statistics[..]).into()],
            doubles: vec![(&self.mean[..]).into()],
        }
    }

    fn load(&mut self, saved: Saved<'static>) -> Result<(), String> {
        self.count = number(&saved, "count")?;
        let [statistics] = fit::exactly(saved.singles)?;
        let [mean] = fit::exactly(saved.doubles)?;
        (self.statistics, self.mean) = (statistics.into_owned(), mean.into_owned());
        Ok(())
    }
}
