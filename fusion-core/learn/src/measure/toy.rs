//! Networks whose values are known by hand, for the tests of this folder.

use fusion_sdk::Context;
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::context::Alone;

use crate::measure::MeasureError;
use crate::measure::batches::{Batches, Source};
use crate::measure::forward::{Forward, LayerFeatures};
use crate::measure::workers::Run;

/// Rows of one number with their targets.
pub(crate) struct Examples {
    pub(crate) inputs: Vec<f32>,
    pub(crate) targets: Targets,
}

impl Examples {
    /// Inputs with the number `target` for each.
    pub(crate) fn numbers(inputs: &[f32], target: f32) -> Examples {
        let targets = Targets::Numbers { width: 1, rows: vec![target; inputs.len()] };
        Examples { inputs: inputs.to_vec(), targets }
    }

    /// Inputs with their classes.
    pub(crate) fn classes(inputs: &[f32], labels: &[u32]) -> Examples {
        Examples { inputs: inputs.to_vec(), targets: Targets::Classes(labels.to_vec()) }
    }
}

/// Examples in batches of a size.
struct Cut<'a>(&'a Examples, usize);

impl Source for Cut<'_> {
    fn count(&self) -> usize {
        self.0.inputs.len().div_ceil(self.1)
    }

    fn gather(&self, index: usize) -> Result<Batch, MeasureError> {
        let Examples { inputs, targets } = self.0;
        let range = index * self.1..(index * self.1 + self.1).min(inputs.len());
        let targets = match targets {
            Targets::Classes(labels) => Targets::Classes(labels[range.clone()].to_vec()),
            Targets::Numbers { width, rows } => {
                Targets::Numbers { width: *width, rows: rows[range.clone()].to_vec() }
            }
            soft @ Targets::Soft { .. } => soft.clone(),
        };
        let inputs = inputs[range].to_vec();
        Ok(Batch { shape: vec![inputs.len(), 1], inputs: Values::Floats(inputs), targets })
    }
}

pub(crate) fn batches(source: &Examples, size: usize) -> Batches<'_> {
    Batches::new("toy", Box::new(Cut(source, size)), None, usize::MAX).expect("examples")
}

pub(crate) fn run(threads: usize) -> Run<'static> {
    Run { threads, context: Context::new(&Alone) }
}

fn inputs(batch: &Batch) -> &[f32] {
    match &batch.inputs {
        Values::Floats(values) => values,
        Values::Tokens(_) => panic!("toys take numbers"),
    }
}

/// Output Σ w² − 1 for every example: as a loss against 0, a valley around the unit circle.
struct DoubleWell;

impl Forward for DoubleWell {
    fn weights(&self) -> usize {
        2
    }

    fn statistics(&self) -> usize {
        0
    }

    fn outputs(&mut self, w: &[f32], _: Option<&[f32]>, batch: &Batch) -> Result<Vec<f32>, MeasureError> {
        Ok(vec![w[0] * w[0] + w[1] * w[1] - 1.0; batch.len()])
    }

    fn batch_statistics(&mut self, _: &[f32], _: &Batch) -> Result<Vec<f32>, MeasureError> {
        Ok(Vec::new())
    }

    fn features(
        &mut self,
        _: &[f32],
        _: Option<&[f32]>,
        _: &Batch,
    ) -> Result<Vec<LayerFeatures>, MeasureError> {
        Ok(Vec::new())
    }
}

/// One channel: (w·x − mean)/√variance.
struct Normed;

impl Normed {
    fn own(w: &[f32], batch: &Batch) -> [f32; 2] {
        let values: Vec<f64> = inputs(batch).iter().map(|&x| f64::from(w[0] * x)).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        [mean as f32, (squares / (n - 1.0)) as f32]
    }
}

impl Forward for Normed {
    fn weights(&self) -> usize {
        1
    }

    fn statistics(&self) -> usize {
        2
    }

    fn outputs(
        &mut self,
        w: &[f32],
        statistics: Option<&[f32]>,
        batch: &Batch,
    ) -> Result<Vec<f32>, MeasureError> {
        let own = Normed::own(w, batch);
        let statistics = statistics.unwrap_or(&own);
        let (mean, variance) = (statistics[0], statistics[1]);
        Ok(inputs(batch).iter().map(|x| (w[0] * x - mean) / variance.sqrt()).collect())
    }

    fn batch_statistics(&mut self, w: &[f32], batch: &Batch) -> Result<Vec<f32>, MeasureError> {
        Ok(Normed::own(w, batch).to_vec())
    }

    fn features(
        &mut self,
        w: &[f32],
        s: Option<&[f32]>,
        batch: &Batch,
    ) -> Result<Vec<LayerFeatures>, MeasureError> {
        Ok(vec![LayerFeatures { name: "only".into(), width: 1, rows: self.outputs(w, s, batch)? }])
    }
}

/// Two classes with logits (w₀·x + w₁, 0): class 0 where w₀·x + w₁ ≥ 0. Its layers pass on w₀·x² and w₀·x² + w₁·x.
struct Threshold;

impl Forward for Threshold {
    fn weights(&self) -> usize {
        2
    }

    fn statistics(&self) -> usize {
        0
    }

    fn outputs(&mut self, w: &[f32], _: Option<&[f32]>, batch: &Batch) -> Result<Vec<f32>, MeasureError> {
        Ok(inputs(batch).iter().flat_map(|x| [w[0] * x + w[1], 0.0]).collect())
    }

    fn batch_statistics(&mut self, _: &[f32], _: &Batch) -> Result<Vec<f32>, MeasureError> {
        Ok(Vec::new())
    }

    fn features(
        &mut self,
        w: &[f32],
        _: Option<&[f32]>,
        batch: &Batch,
    ) -> Result<Vec<LayerFeatures>, MeasureError> {
        let rows = |add: f32| inputs(batch).iter().map(|x| w[0] * x * x + add * x).collect();
        Ok(vec![
            LayerFeatures { name: "square".into(), width: 1, rows: rows(0.0) },
            LayerFeatures { name: "sum".into(), width: 1, rows: rows(w[1]) },
        ])
    }
}

pub(crate) fn double_well() -> Result<Box<dyn Forward>, MeasureError> {
    Ok(Box::new(DoubleWell))
}

pub(crate) fn normed() -> Result<Box<dyn Forward>, MeasureError> {
    Ok(Box::new(Normed))
}

pub(crate) fn threshold() -> Result<Box<dyn Forward>, MeasureError> {
    Ok(Box::new(Threshold))
}
