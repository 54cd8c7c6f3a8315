//! A small network with its gradient in f64, and hosts, for the tests of methods that look at a loss.

use fusion_sdk::MethodError;
use fusion_sdk::align::{Candidate, FlatSource, Matching, Vectors};
use fusion_sdk::context::{Context, Host};
use fusion_sdk::objective::{Objective, Segment, SegmentKind};
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::Symmetries;

use crate::state::State;

/// A host that runs loops backwards, as another number of threads might, and says stop after some questions.
#[derive(Debug)]
pub(crate) struct Backwards(std::sync::atomic::AtomicUsize);

impl Backwards {
    pub(crate) fn new(patience: usize) -> Self {
        Backwards(patience.into())
    }
}

impl Host for Backwards {
    fn cancelled(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.fetch_update(Relaxed, Relaxed, |left: usize| left.checked_sub(1)).is_err()
    }

    fn progress(&self, done: u64, total: u64, _: &str) {
        assert!(done <= total, "{done} of {total}");
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).rev().for_each(body);
    }
}

/// A chain of linear layers as the engine's networks have it: weights are [in, out]. Nodes are `h0`, `h1`, …
pub(crate) fn chain(dims: &[usize]) -> Symmetries {
    let (mut text, last) = (String::new(), dims.len() - 2);
    for (layer, size) in dims[1..=last].iter().enumerate() {
        text += &format!("node h{layer}[{size}]\n");
    }
    for layer in 0..=last {
        let out = if layer == last { format!("pin[{}]", dims[layer + 1]) } else { format!("h{layer}") };
        let into = if layer == 0 { format!("pin[{}]", dims[0]) } else { format!("h{}", layer - 1) };
        text += &format!("w{layer} = reads {into}, {out}\nb{layer} = {out}\n");
    }
    Symmetries::parse(&text).unwrap()
}

/// An MLP with leaky ReLU and a squared error, ½ mean ‖y − f(x)‖². Flat weights are `w0 [in, out], b0, w1, …`.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    dims: Vec<usize>,
    /// Slope below 0.
    slope: f64,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    /// Examples in a batch.
    batch: usize,
    segments: Vec<Segment>,
    /// From this look on the loss is NaN.
    pub(crate) broken_at: Option<u64>,
    /// Looks so far.
    pub(crate) looks: u64,
}

impl Mlp {
    pub(crate) fn new(dims: &[usize], slope: f64, inputs: Vec<Vec<f64>>, targets: Vec<Vec<f64>>) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for (layer, pair) in dims.windows(2).enumerate() {
            for (name, len, kind) in
                [("w", pair[0] * pair[1], SegmentKind::Weight), ("b", pair[1], SegmentKind::Bias)]
            {
                let start = segments.last().map_or(0, |last| last.start + last.len);
                let name = format!("{name}{layer}");
                segments.push(Segment { name, start, len, kind, layer: layer as u32 });
            }
        }
        Mlp {
            dims: dims.to_vec(),
            slope,
            batch: inputs.len(),
            inputs,
            targets,
            segments,
            broken_at: None,
            looks: 0,
        }
    }

    /// A network taught by another one: standard normal inputs, targets are the teacher's outputs.
    pub(crate) fn taught(dims: &[usize], teacher: &[f32], examples: usize) -> Self {
        let key = Key::new(5, "inputs", 0);
        let input = |example: usize| {
            (0..dims[0]).map(|at| f64::from(key.normal((example * dims[0] + at) as u64))).collect()
        };
        let inputs: Vec<Vec<f64>> = (0..examples).map(input).collect();
        let mut toy = Mlp::new(dims, 0.0, inputs, Vec::new());
        toy.targets = toy.inputs.iter().map(|input| toy.forward(teacher, input).pop().unwrap()).collect();
        toy
    }

    pub(crate) fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Inputs of all layers, and the output.
    pub(crate) fn forward(&self, weights: &[f32], input: &[f64]) -> Vec<Vec<f64>> {
        let mut values = vec![input.to_vec()];
        let layers = self.dims.len() - 1;
        let mut rest = weights;
        for layer in 0..layers {
            let (width, out) = (self.dims[layer], self.dims[layer + 1]);
            let (matrix, tail) = rest.split_at(width * out);
            let (bias, tail) = tail.split_at(out);
            rest = tail;
            let mut next: Vec<f64> = bias.iter().map(|value| f64::from(*value)).collect();
            for (row, value) in matrix.chunks_exact(out).zip(&values[layer]) {
                next.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * f64::from(*weight));
            }
            if layer + 1 < layers {
                next.iter_mut().for_each(|value| *value *= if *value > 0.0 { 1.0 } else { self.slope });
            }
            values.push(next);
        }
        values
    }

    /// Adds the gradient of an example and returns its loss.
    fn backward(&self, weights: &[f32], example: usize, gradient: &mut [f64]) -> f64 {
        let values = self.forward(weights, &self.inputs[example]);
        let mut error: Vec<f64> =
            values[values.len() - 1].iter().zip(&self.targets[example]).map(|(y, t)| y - t).collect();
        let loss = 0.5 * error.iter().map(|e| e * e).sum::<f64>();
        for layer in (0..self.dims.len() - 1).rev() {
            let (width, out) = (self.dims[layer], self.dims[layer + 1]);
            let start = self.segments[2 * layer].start;
            let mut below = vec![0.0; width];
            for unit in 0..width {
                let at = start + unit * out;
                for (to, error) in error.iter().enumerate() {
                    gradient[at + to] += values[layer][unit] * error;
                    below[unit] += f64::from(weights[at + to]) * error;
                }
                if layer > 0 && values[layer][unit] <= 0.0 {
                    below[unit] *= self.slope;
                }
            }
            let bias = start + width * out;
            error.iter().enumerate().for_each(|(to, error)| gradient[bias + to] += error);
            error = below;
        }
        loss
    }

    fn mean(&mut self, weights: &[f32], examples: std::ops::Range<usize>, out: Option<&mut [f32]>) -> f64 {
        self.looks += 1;
        let mut gradient = vec![0.0; weights.len()];
        let count = examples.len() as f64;
        let loss =
            examples.map(|example| self.backward(weights, example, &mut gradient)).sum::<f64>() / count;
        if let Some(out) = out {
            out.iter_mut().zip(gradient).for_each(|(out, value)| *out = (value / count) as f32);
        }
        match self.broken_at {
            Some(at) if self.looks >= at => f64::NAN,
            _ => loss,
        }
    }
}

impl Objective for Mlp {
    fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn steps_per_epoch(&self) -> u64 {
        self.inputs.len().div_ceil(self.batch) as u64
    }

    fn reorder(&mut self, _: u64) {}

    fn gradient(&mut self, step: u64, weights: &[f32], gradient: &mut [f32]) -> Result<f64, MethodError> {
        let start = (step % self.steps_per_epoch()) as usize * self.batch;
        let end = (start + self.batch).min(self.inputs.len());
        Ok(self.mean(weights, start..end, Some(gradient)))
    }

    fn loss(&mut self, weights: &[f32], batches: Option<u64>) -> Result<f64, MethodError> {
        let all = self.inputs.len();
        let end = batches.map_or(all, |batches| (batches as usize * self.batch).min(all));
        Ok(self.mean(weights, 0..end, None))
    }
}

/// Flat weights of an MLP, He-initialised, with small biases.
pub(crate) fn random_mlp(dims: &[usize], seed: u64) -> Vec<f32> {
    let mut weights = Vec::new();
    for (layer, pair) in dims.windows(2).enumerate() {
        let (matrix, bias) = (Key::new(seed, "w", layer as u64), Key::new(seed, "b", layer as u64));
        let scale = (2.0 / pair[0] as f32).sqrt();
        weights.extend((0..pair[0] * pair[1]).map(|at| scale * matrix.normal(at as u64)));
        weights.extend((0..pair[1]).map(|at| 0.1 * bias.normal(at as u64)));
    }
    weights
}

/// A network with its units where a state has them.
pub(crate) fn brought(symmetries: &Symmetries, weights: &[f32], state: &State) -> Vec<f32> {
    let alignment = state.alignment(symmetries, symmetries);
    alignment.apply_flat(symmetries, symmetries, weights, &[]).unwrap().0
}

/// A network as a source.
pub(crate) fn source<'a>(symmetries: &Symmetries, weights: &'a [f32]) -> FlatSource<'a> {
    FlatSource::new(symmetries, Vectors { weights, statistics: &[] })
}

/// A network as a candidate.
pub(crate) fn network<'a>(
    name: &'a str,
    symmetries: &'a Symmetries,
    source: &'a FlatSource<'a>,
    weights: &'a [f32],
) -> Candidate<'a> {
    Candidate { name, symmetries, source, vectors: Some(Vectors { weights, statistics: &[] }) }
}

/// A matching of models without data.
pub(crate) fn matching<'a>(
    models: &'a [Candidate<'a>],
    reference: bool,
    seed: u64,
    host: &'a dyn Host,
) -> Matching<'a> {
    Matching {
        models,
        reference,
        target: models[0].symmetries,
        features: None,
        objective: None,
        alignments: &[],
        seed,
        context: Context::new(host),
    }
}

#[test]
fn the_gradient_of_the_mlp_is_that_of_its_loss() {
    let dims = [3, 5, 4, 2];
    let mut toy = Mlp::taught(&dims, &random_mlp(&dims, 1), 7);
    let weights = random_mlp(&dims, 2);
    let mut gradient = vec![0.0; weights.len()];
    toy.gradient(0, &weights, &mut gradient).unwrap();
    for at in (0..weights.len()).step_by(5) {
        let mut shifted = |by: f32| {
            let mut weights = weights.clone();
            weights[at] += by;
            (toy.loss(&weights, None).unwrap(), f64::from(weights[at]))
        };
        let ((high, above), (low, below)) = (shifted(1e-3), shifted(-1e-3));
        let slope = (high - low) / (above - below);
        // Central differences of f64 losses: error O(h²) where no unit crosses 0.
        assert!((slope - f64::from(gradient[at])).abs() < 1e-4, "{at}: {slope} {}", gradient[at]);
    }
}
