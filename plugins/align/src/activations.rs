//! Activations of chains of linear layers with ReLU, for tests of methods that look at them; and hosts that run things in another order.

use fusion_sdk::MethodError;
use fusion_sdk::align::{Candidate, Features, Rows, Tap, Vectors, Watched, When};
use fusion_sdk::context::Host;
use fusion_sdk::symmetry::{Factor, NodeId, Symmetries};

use crate::held::Held;
use crate::oracle::uniform;

/// Chains of `oracle::chain`: hidden layer l is node l, with tensors `w` and `b` at 2l and 2l + 1.
pub(crate) struct Chains<'a> {
    models: Vec<(&'a Symmetries, &'a Held)>,
    /// Batches of inputs, row-major.
    batches: Vec<Vec<f64>>,
    taps: Vec<Tap>,
}

impl<'a> Chains<'a> {
    /// Batches of uniform inputs of these sizes.
    pub(crate) fn new(models: &[(&'a Symmetries, &'a Held)], batches: &[usize]) -> Chains<'a> {
        let inputs = models[0].0.shape(0)[1];
        let hidden = models[0].0.nodes.len();
        let tap = |layer: usize, when| Tap {
            layer: format!("w{layer}"),
            when,
            units: vec![vec![Factor::Node(NodeId(layer as u32))]],
        };
        let taps = (0..hidden).flat_map(|layer| [tap(layer, When::Before), tap(layer, When::After)]);
        let batches = batches.iter().enumerate();
        Chains {
            models: models.to_vec(),
            batches: batches.map(|(at, size)| uniform(9000 + at as u64, size * inputs)).collect(),
            taps: taps.collect(),
        }
    }

    /// One example's hidden values, before and after.
    fn run(&self, model: usize, input: &[f64]) -> Vec<Vec<f32>> {
        let (symmetries, held) = self.models[model];
        let mut seen = Vec::new();
        let mut value = input.to_vec();
        for layer in 0..symmetries.nodes.len() {
            let (weights, bias) = (&held.tensors[2 * layer], &held.tensors[2 * layer + 1]);
            let rows = weights.chunks_exact(value.len()).zip(bias);
            let before: Vec<f64> = rows
                .map(|(row, bias)| bias + row.iter().zip(&value).map(|(w, x)| w * x).sum::<f64>())
                .collect();
            value = before.iter().map(|value| if *value < 0.0 { 0.0 } else { *value }).collect();
            seen.push(before.iter().map(|value| *value as f32).collect());
            seen.push(value.iter().map(|value| *value as f32).collect());
        }
        seen
    }
}

impl Features for Chains<'_> {
    fn taps(&self) -> &[Tap] {
        &self.taps
    }

    fn pass(
        &mut self,
        models: &[Watched<'_>],
        taps: &[usize],
        visit: &mut fusion_sdk::align::Visit<'_>,
    ) -> Result<(), MethodError> {
        for batch in &self.batches {
            let inputs = self.models[0].0.shape(0)[1];
            let values: Vec<Vec<Vec<f32>>> = models
                .iter()
                .map(|model| {
                    let examples: Vec<Vec<Vec<f32>>> =
                        batch.chunks_exact(inputs).map(|input| self.run(model.candidate, input)).collect();
                    taps.iter()
                        .map(|tap| examples.iter().flat_map(|seen| seen[*tap].clone()).collect())
                        .collect()
                })
                .collect();
            let rows: Vec<Vec<Rows<'_>>> = models
                .iter()
                .zip(&values)
                .map(|(model, values)| {
                    let symmetries = self.models[model.candidate].0;
                    let each = taps.iter().zip(values);
                    each.map(|(tap, values)| Rows { width: symmetries.nodes[tap / 2].size, values }).collect()
                })
                .collect();
            visit(&rows)?;
        }
        Ok(())
    }
}

/// A candidate that can be run.
pub(crate) fn runnable<'a>(name: &'a str, symmetries: &'a Symmetries, held: &'a Held) -> Candidate<'a> {
    let vectors = Some(Vectors { weights: &[], statistics: &[] });
    Candidate { name, symmetries, source: held, vectors }
}

/// Runs loops backwards, two indices at a time.
pub(crate) struct Backwards;

impl Host for Backwards {
    fn cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        let mut left: Vec<usize> = (0..n).collect();
        while let Some(last) = left.pop() {
            std::thread::scope(|scope| {
                scope.spawn(|| body(last));
                if let Some(other) = left.pop() {
                    body(other);
                }
            });
        }
    }
}
