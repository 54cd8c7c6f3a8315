//! Networks of `fusion-network` as what measuring asks for.

use fusion_network::{Architecture, Device, Network, NetworkError, Norm};
use fusion_sdk::batch::Batch;
use fusion_sdk::{ErrorKind, MethodError};

use crate::measure::MeasureError;
use crate::measure::forward::{Forward, LayerFeatures};

/// Makes networks of an architecture on a device: a [`Factory`](super::forward::Factory).
pub fn factory(
    architecture: &Architecture,
    device: &Device,
) -> impl Fn() -> Result<Box<dyn Forward>, MeasureError> + Sync + use<> {
    let (architecture, device) = (architecture.clone(), device.clone());
    move || Ok(Box::new(Evaluated::new(Network::new(&architecture, &device).map_err(failed)?)))
}

/// A network with what it needs where statistics play no part.
struct Evaluated {
    network: Network,
    /// Placeholders, since the network checks their number.
    unused: Vec<f32>,
}

impl Evaluated {
    fn new(network: Network) -> Self {
        Evaluated { unused: vec![0.0; network.statistics_len()], network }
    }
}

impl Forward for Evaluated {
    fn weights(&self) -> usize {
        self.network.len()
    }

    fn statistics(&self) -> usize {
        self.network.statistics_len()
    }

    fn outputs(
        &mut self,
        weights: &[f32],
        statistics: Option<&[f32]>,
        batch: &Batch,
    ) -> Result<Vec<f32>, MeasureError> {
        let norm = if statistics.is_some() { Norm::Running } else { Norm::Batch };
        self.network.outputs(weights, statistics.unwrap_or(&self.unused), batch, norm).map_err(failed)
    }

    fn batch_statistics(&mut self, weights: &[f32], batch: &Batch) -> Result<Vec<f32>, MeasureError> {
        self.network.batch_statistics(weights, batch).map_err(failed)
    }

    fn features(
        &mut self,
        weights: &[f32],
        statistics: Option<&[f32]>,
        batch: &Batch,
    ) -> Result<Vec<LayerFeatures>, MeasureError> {
        let Some(statistics) = statistics else {
            return Err(MeasureError::unsuitable(
                "features are those behind running statistics",
                "set `norm` to `keep` or `reset`",
            ));
        };
        let found = self.network.features(weights, statistics, batch).map_err(failed)?;
        let layer = |feature: fusion_network::Feature| LayerFeatures {
            name: feature.layer,
            width: feature.width,
            rows: feature.values,
        };
        Ok(found.into_iter().map(layer).collect())
    }
}

fn failed(error: NetworkError) -> MeasureError {
    let kind = match error {
        NetworkError::Device { .. } => ErrorKind::Failed,
        _ => ErrorKind::Invalid,
    };
    MethodError::new(kind, error.to_string()).into()
}
