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

pub(crate) fn failed(error: NetworkError) -> MeasureError {
    let kind = match error {
        NetworkError::Device { .. } => ErrorKind::Failed,
        _ => ErrorKind::Invalid,
    };
    MethodError::new(kind, error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fusion_data::Dataset;
    use fusion_network::Flat;
    use fusion_sdk::batch::Targets;
    use fusion_sdk::path::{Geometry, Path};
    use fusion_sdk::rng::Key;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::measure::barrier::grid;
    use crate::measure::batches::Batches;
    use crate::measure::evaluate::predictions;
    use crate::measure::forward::Model;
    use crate::measure::metric::Metric;
    use crate::measure::norm::{NormPolicy, NormSource};
    use crate::measure::path::{PathModel, walk};
    use crate::measure::similarity::similarity;
    use crate::measure::toy::run;

    fn mlp(norm: &str) -> (Architecture, Network) {
        let arguments: Json = json!({ "inputs": 4, "hidden": [8, 8], "outputs": 3, "norm": norm });
        let architecture =
            Architecture::parse("mlp", arguments.as_object().expect("an object")).expect("an architecture");
        let network = Network::new(&architecture, &Device::flex()).expect("a device");
        (architecture, network)
    }

    fn flat(architecture: &Architecture, network: &Network, seed: u64) -> Flat {
        network.flatten(&architecture.initial(seed)).expect("its own state")
    }

    fn data(n: usize) -> Arc<Dataset> {
        let key = Key::new(1, "measure", 0);
        let values = (0..4 * n as u64).map(|index| key.normal(index)).collect();
        let labels = (0..n as u32).map(|index| index * 7 % 3).collect();
        Arc::new(Dataset::of_rows(values, 4, Targets::Classes(labels), 3).expect("rows"))
    }

    /// Outputs are those of the network itself, and the same bits for any number of threads.
    #[test]
    fn networks_answer_the_same_on_any_number_of_threads() {
        let (architecture, mut network) = mlp("none");
        let (a, b) = (flat(&architecture, &network, 1), flat(&architecture, &network, 2));
        let make = factory(&architecture, &Device::flex());
        let set = data(50);
        let batches = Batches::of("test", &set, 16).expect("data");
        let models = [("a", &a), ("b", &b)].map(|(name, flat)| Model {
            name,
            network: &make,
            weights: &flat.weights,
            statistics: &flat.statistics,
        });
        let found = predictions(&models, &NormSource::KEEP, &batches, &run(1)).expect("fits");
        assert_eq!(predictions(&models, &NormSource::KEEP, &batches, &run(3)).expect("fits"), found);
        let batch = batches.get(1).expect("there");
        let own = network.outputs(&b.weights, &[], &batch, Norm::Running).expect("fits");
        let pairs = own.iter().zip(&found[1].scores()[16 * 3..]);
        // Sums of 8 products of numbers near 1, perhaps in another order.
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));

        let [pair] = similarity(&models, false, &NormSource::KEEP, &batches, &run(2))
            .expect("features")
            .try_into()
            .expect("one pair");
        let layers: Vec<(&str, f64)> = pair.matched().collect();
        assert_eq!(layers.len(), 2);
        assert!(layers.iter().all(|(_, cka)| (0.0..1.0).contains(cka)), "{layers:?}");
    }

    /// A path between two networks with BatchNorm: the ends of a chain with `keep` are the models themselves, and `reset` with one
    /// batch of all examples normalises like that batch, but for the unbiased variance: n/(n−1) of 64.
    #[test]
    fn batch_norm_goes_along_a_path() {
        let (architecture, network) = mlp("batch");
        let (a, b) = (flat(&architecture, &network, 1), flat(&architecture, &network, 2));
        let make = factory(&architecture, &Device::flex());
        let set = data(64);
        let test = Batches::of("test", &set, 64).expect("data");
        let train = Batches::training("train", &set, 64, 5, None).expect("data");
        let path =
            Path::new(Geometry::Chain, vec![a.weights.clone(), b.weights.clone()], vec![]).expect("a path");
        let statistics: [&[f32]; 2] = [&a.statistics, &b.statistics];
        let t = grid(5).expect("enough");
        let along = |policy, threads| {
            let model = PathModel { path: &path, network: &make, statistics: &statistics };
            let norm = NormSource { policy: Some(policy), train: Some(&train), momentum: 0.1 };
            walk(&model, &t, &norm, &[&test], &run(threads)).expect("fits")
        };
        let kept = along(NormPolicy::Keep, 2);
        let models = [("a", &a), ("b", &b)].map(|(name, flat)| Model {
            name,
            network: &make,
            weights: &flat.weights,
            statistics: &flat.statistics,
        });
        let found = predictions(&models, &NormSource::KEEP, &test, &run(1)).expect("fits");
        for (end, predictions) in [&kept.sets[0].path[0], &kept.sets[0].path[4]].into_iter().zip(&found) {
            assert!((end.loss - crate::measure::metrics::cross_entropy(predictions)).abs() < 1e-12);
        }
        let (reset, batch) = (along(NormPolicy::Reset, 2), along(NormPolicy::Batch, 1));
        assert_eq!(along(NormPolicy::Reset, 1), reset);
        for (reset, batch) in reset.sets[0].path.iter().zip(&batch.sets[0].path) {
            // Activations are smaller by √(63/64) in two layers: logits of about 1 change by less than 2 %.
            assert!((reset.loss - batch.loss).abs() < 0.02, "{reset:?} {batch:?}");
            assert_ne!(reset.loss, batch.loss);
        }
        assert_ne!(reset.sets[0].path[2].loss, kept.sets[0].path[2].loss);
        assert!(reset.barrier(0, Metric::Error).expect("a grid").is_some());
    }

    #[test]
    fn what_the_network_refuses_is_an_error() {
        let (architecture, network) = mlp("batch");
        let flat = flat(&architecture, &network, 1);
        let make = factory(&architecture, &Device::flex());
        let model = Model { name: "a", network: &make, weights: &flat.weights, statistics: &flat.statistics };
        let narrow = Dataset::of_rows(vec![0.0; 6], 3, Targets::Classes(vec![0, 1]), 3).expect("rows");
        let batches = Batches::of("narrow", &Arc::new(narrow), 2).expect("data");
        let error = predictions(&[model], &NormSource::KEEP, &batches, &run(2)).unwrap_err();
        assert!(error.to_string().contains("shape"), "{error}");
        let short = Model { weights: &flat.weights[1..], ..model };
        let batches = Batches::of("test", &data(4), 2).expect("data");
        let error = predictions(&[short], &NormSource::KEEP, &batches, &run(1)).unwrap_err();
        assert!(error.to_string().contains("weights of `a`"), "{error}");
    }
}
