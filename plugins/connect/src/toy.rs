//! Objectives with closed forms, for the tests of the family.

use fusion_sdk::MethodError;
use fusion_sdk::connect::Search;
use fusion_sdk::context::{Alone, Context};
use fusion_sdk::objective::{Objective, Segment, SegmentKind};
use fusion_sdk::rng::Key;

/// A search over models, without fresh weights.
pub(crate) fn search<'a>(
    models: &'a [&'a [f32]],
    objective: Option<&'a mut dyn Objective>,
    seed: u64,
) -> Search<'a> {
    Search { models, counts: &[], objective, fresh: None, seed, context: Context::new(&Alone) }
}

/// The reference notes' U(seed, n): integers only, so that numpy and Rust have the same inputs.
pub(crate) fn splitmix_uniform(seed: u64, n: u64) -> Vec<f64> {
    let draw = |i: u64| {
        let x = ((seed << 32) + i).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        2.0 * (((z ^ (z >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0) - 1.0
    };
    (0..n).map(draw).collect()
}

/// Segments of these (layer, length), all weights.
fn segments(layers: &[(u32, usize)]) -> Vec<Segment> {
    let mut start = 0;
    let segment = |(index, &(layer, len)): (usize, &(u32, usize))| {
        start += len;
        Segment { name: format!("w{index}"), start: start - len, len, kind: SegmentKind::Weight, layer }
    };
    layers.iter().enumerate().map(segment).collect()
}

/// Any smooth function, computed in f64, without data.
pub(crate) struct Smooth<F> {
    function: F,
    segments: Vec<Segment>,
    steps: u64,
    looks: u64,
}

/// A function whose value is returned and whose gradient is written.
impl<F: Fn(&[f64], &mut [f64]) -> f64> Smooth<F> {
    pub(crate) fn new(len: usize, function: F) -> Self {
        Smooth { function, segments: segments(&[(0, len)]), steps: 1, looks: 0 }
    }

    pub(crate) fn with_layers(mut self, layers: &[(u32, usize)]) -> Self {
        self.segments = segments(layers);
        self
    }

    pub(crate) fn with_steps(mut self, steps_per_epoch: u64) -> Self {
        self.steps = steps_per_epoch;
        self
    }

    /// Gradients that were taken.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send> Objective for Smooth<F> {
    fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn steps_per_epoch(&self) -> u64 {
        self.steps
    }

    fn reorder(&mut self, _: u64) {}

    fn gradient(&mut self, _: u64, weights: &[f32], gradient: &mut [f32]) -> Result<f64, MethodError> {
        self.looks += 1;
        let at: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        let mut exact = vec![0.0; at.len()];
        let loss = (self.function)(&at, &mut exact);
        for (out, exact) in gradient.iter_mut().zip(exact) {
            *out = exact as f32;
        }
        Ok(loss)
    }

    fn loss(&mut self, weights: &[f32], _: Option<u64>) -> Result<f64, MethodError> {
        let at: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        Ok((self.function)(&at, &mut vec![0.0; at.len()]))
    }
}

/// ½ Σ aᵢ(θᵢ−mᵢ)².
pub(crate) struct Quadratic;

impl Quadratic {
    #[allow(clippy::new_ret_no_self)]
    pub(crate) fn new(
        centre: &[f64],
        curvature: &[f64],
    ) -> Smooth<impl Fn(&[f64], &mut [f64]) -> f64 + Send> {
        let (centre, curvature) = (centre.to_vec(), curvature.to_vec());
        Smooth::new(centre.len(), move |at, gradient| {
            let mut loss = 0.0;
            for i in 0..at.len() {
                gradient[i] = curvature[i] * (at[i] - centre[i]);
                loss += 0.5 * gradient[i] * (at[i] - centre[i]);
            }
            loss
        })
    }
}

/// ½ Σ (θᵢ−ξᵢ)², where ξ is noise that depends on the order of the data and the step.
pub(crate) struct Noisy {
    segments: Vec<Segment>,
    order: u64,
}

impl Noisy {
    pub(crate) fn new(len: usize) -> Self {
        Noisy { segments: segments(&[(0, len)]), order: 0 }
    }

    pub(crate) fn noise(order: u64, step: u64, index: usize) -> f64 {
        f64::from(Key::new(order, "noise", step).uniform(index as u64))
    }
}

impl Objective for Noisy {
    fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn steps_per_epoch(&self) -> u64 {
        1
    }

    fn reorder(&mut self, seed: u64) {
        self.order = seed;
    }

    fn gradient(&mut self, step: u64, weights: &[f32], gradient: &mut [f32]) -> Result<f64, MethodError> {
        let mut loss = 0.0;
        for (i, (weight, gradient)) in weights.iter().zip(gradient).enumerate() {
            let rest = f64::from(*weight) - Noisy::noise(self.order, step, i);
            loss += 0.5 * rest * rest;
            *gradient = rest as f32;
        }
        Ok(loss)
    }

    fn loss(&mut self, weights: &[f32], _: Option<u64>) -> Result<f64, MethodError> {
        Ok(weights.iter().map(|&w| 0.5 * f64::from(w).powi(2)).sum())
    }
}
