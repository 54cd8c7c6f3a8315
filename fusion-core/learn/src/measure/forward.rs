//! What measuring asks of a network. Tests answer with functions whose values are known.

use fusion_sdk::batch::Batch;

use crate::measure::MeasureError;

/// A network on a device: pure functions of weights, statistics and a batch.
pub trait Forward {
    /// Length of the flat weights.
    fn weights(&self) -> usize;

    /// Length of the flat running statistics; 0 for networks without BatchNorm.
    fn statistics(&self) -> usize;

    /// Outputs for a batch, row-major, one row for each target. BatchNorm normalises with `statistics`, for `None` with those of the
    /// batch.
    ///
    /// # Errors
    /// Lengths or the batch do not fit, or the device fails.
    fn outputs(
        &mut self,
        weights: &[f32],
        statistics: Option<&[f32]>,
        batch: &Batch,
    ) -> Result<Vec<f32>, MeasureError>;

    /// Mean and unbiased variance of the batch at every BatchNorm, in the order of the running statistics, in train mode.
    ///
    /// # Errors
    /// As [`Forward::outputs`], and a batch with one value for a channel.
    fn batch_statistics(&mut self, weights: &[f32], batch: &Batch) -> Result<Vec<f32>, MeasureError>;

    /// What each layer passes on, in order.
    ///
    /// # Errors
    /// As [`Forward::outputs`].
    fn features(
        &mut self,
        weights: &[f32],
        statistics: Option<&[f32]>,
        batch: &Batch,
    ) -> Result<Vec<LayerFeatures>, MeasureError>;
}

/// What one layer passes on for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerFeatures {
    /// The layer.
    pub name: String,
    /// Row length.
    pub width: usize,
    /// Row-major, one row for each example.
    pub rows: Vec<f32>,
}

/// Makes a network, one for each thread, on the thread that will use it.
pub type Factory<'a> = dyn Fn() -> Result<Box<dyn Forward>, MeasureError> + Sync + 'a;

/// A model to be measured.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// What results call it.
    pub name: &'a str,
    /// Its architecture on a device.
    pub network: &'a Factory<'a>,
    /// Flat weights.
    pub weights: &'a [f32],
    /// Flat running statistics; empty without BatchNorm, or where the weights have none of their own (a point of a path).
    pub statistics: &'a [f32],
}

impl<'a> Model<'a> {
    /// The network, if it fits the model.
    pub(crate) fn build(&self) -> Result<Box<dyn Forward>, MeasureError> {
        let network = (self.network)()?;
        let of = |part: &str| format!("{part} of `{}`", self.name);
        MeasureError::length(&of("weights"), network.weights(), self.weights.len())?;
        if !self.statistics.is_empty() {
            MeasureError::length(&of("running statistics"), network.statistics(), self.statistics.len())?;
        }
        Ok(network)
    }

    /// Its own running statistics; asked of networks that have some.
    pub(crate) fn own_statistics(&self) -> Result<&'a [f32], MeasureError> {
        match self.statistics.is_empty() {
            false => Ok(self.statistics),
            true => Err(MeasureError::unsuitable(
                format!("`{}` has BatchNorm and no running statistics of its own", self.name),
                "set `norm` to `reset`, which counts them on training data, or to `batch`",
            )),
        }
    }

    /// Whether two models are one: the same values in the same network.
    pub(crate) fn same(&self, other: &Model<'_>) -> bool {
        // Two pointers to one network may differ; then it is asked twice, which costs time only.
        let network = std::ptr::eq(self.network, other.network);
        network && self.weights == other.weights && self.statistics == other.statistics
    }
}

/// The models of several subjects, each once, and where each subject's are among them.
pub(crate) fn unique<'a>(subjects: &[&[Model<'a>]]) -> (Vec<Model<'a>>, Vec<Vec<usize>>) {
    let mut models: Vec<Model<'a>> = Vec::new();
    let mut places = Vec::with_capacity(subjects.len());
    for members in subjects {
        let mut own = Vec::with_capacity(members.len());
        for model in *members {
            let known = models.iter().position(|known| known.same(model));
            own.push(known.unwrap_or(models.len()));
            if known.is_none() {
                models.push(*model);
            }
        }
        places.push(own);
    }
    (models, places)
}
