//! Units of several networks side by side on the same examples, for methods that match them.

use std::borrow::Cow;

use fusion_network::{Architecture, Device, Network, Norm, Units};
use fusion_sdk::align::{Features, Rows, Tap, Watched};
use fusion_sdk::batch::Batch;
use fusion_sdk::context::Host;
use fusion_sdk::{Context, MethodError};

use crate::measure::MeasureError;
use crate::measure::batches::Batches;
use crate::measure::network::failed;
use crate::measure::workers::Run;

/// A model's name and architecture.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// For messages.
    pub name: &'a str,
    /// What it computes.
    pub architecture: &'a Architecture,
}

/// Networks on a device and the examples that they see, in evaluation mode.
///
/// Batches are computed side by side, each on one thread, and are shown in their order; so what a method sees does not depend on threads. As
/// many batches as there are threads are held at a time, of the wanted taps only.
pub struct NetworkFeatures<'a> {
    candidates: Vec<Candidate<'a>>,
    device: &'a Device,
    taps: Vec<Tap>,
    batches: &'a Batches<'a>,
    run: Run<'a>,
}

impl<'a> NetworkFeatures<'a> {
    /// `taps` are those of all candidates, with units as axes of the symmetries that the method sees; `batches` are the examples, in the
    /// order in which they are shown.
    #[must_use]
    pub fn new(
        candidates: Vec<Candidate<'a>>,
        device: &'a Device,
        taps: Vec<Tap>,
        batches: &'a Batches<'a>,
        run: Run<'a>,
    ) -> Self {
        NetworkFeatures { candidates, device, taps, batches, run }
    }

    /// What one batch shows of all models.
    fn batch(
        &self,
        networks: &mut [Network],
        models: &[Watched<'_>],
        taps: &[usize],
        batch: &Batch,
    ) -> Result<Vec<Vec<Units>>, MeasureError> {
        let mut shown = Vec::with_capacity(models.len());
        for model in models {
            let unknown = || MethodError::invalid(format!("there is no model {}", model.candidate));
            let candidate = self.candidates.get(model.candidate).ok_or_else(unknown)?;
            let network = &mut networks[model.candidate];
            let (weights, statistics) = (model.vectors.weights, model.vectors.statistics);
            let units = network.watch(weights, statistics, batch, Norm::Running, taps).map_err(failed)?;
            for (units, &tap) in units.iter().zip(taps) {
                finite(&units.values, candidate.name, &self.taps[tap].layer)?;
            }
            shown.push(units);
        }
        Ok(shown)
    }
}

/// Activations that are not finite have no place in any statistics.
pub(crate) fn finite(values: &[f32], model: &str, layer: &str) -> Result<(), MeasureError> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(broken(model, layer)),
    }
}

/// The error for them.
pub(crate) fn broken(model: &str, layer: &str) -> MeasureError {
    MeasureError::unsuitable(
        format!("layer `{layer}` of `{model}` gives NaN or infinity on the data"),
        "the model is broken, or the data are not scaled as in its training: measure it with `evaluate` first",
    )
}

impl Features for NetworkFeatures<'_> {
    fn taps(&self) -> &[Tap] {
        &self.taps
    }

    fn pass(
        &mut self,
        models: &[Watched<'_>],
        taps: &[usize],
        visit: &mut fusion_sdk::align::Visit<'_>,
    ) -> Result<(), MethodError> {
        if let Some(tap) = taps.iter().find(|tap| **tap >= self.taps.len()) {
            return Err(MethodError::invalid(format!("there is no tap {tap}")));
        }
        let quiet = Quiet(self.run.context);
        let group = Run { context: Context::new(&quiet), ..self.run };
        let make = || {
            let build = |one: &Candidate<'_>| Network::new(one.architecture, self.device).map_err(failed);
            self.candidates.iter().map(build).collect::<Result<Vec<Network>, MeasureError>>()
        };
        let (count, side_by_side) = (self.batches.count(), self.run.threads.max(1));
        for first in (0..count).step_by(side_by_side) {
            let own = side_by_side.min(count - first);
            let shown = group.each("activations", own, make, |networks, index| {
                let batch: Cow<'_, Batch> = self.batches.get(first + index)?;
                self.batch(networks, models, taps, &batch)
            })?;
            for models in &shown {
                visit(&models.iter().map(|units| rows(units)).collect::<Vec<Vec<Rows<'_>>>>())?;
            }
            self.run.context.progress((first + own) as u64, count as u64, "activations");
        }
        Ok(())
    }
}

/// Units as a method sees them.
fn rows(units: &[Units]) -> Vec<Rows<'_>> {
    units.iter().map(|units| Rows { width: units.width, values: &units.values }).collect()
}

/// A host that hears nothing of the parts of a whole.
struct Quiet<'a>(Context<'a>);

impl Host for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.check().is_err()
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).for_each(body);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fusion_data::Dataset;
    use fusion_network::Flat;
    use fusion_sdk::align::Vectors;
    use fusion_sdk::batch::Targets;
    use fusion_sdk::rng::Key;
    use serde_json::json;

    use super::*;
    use crate::measure::toy::run;

    fn mlp(hidden: usize) -> Architecture {
        let arguments = json!({ "inputs": 4, "hidden": [hidden, 3], "outputs": 2 });
        Architecture::parse("mlp", arguments.as_object().expect("an object")).expect("an architecture")
    }

    fn flat(architecture: &Architecture, seed: u64) -> Flat {
        let network = Network::new(architecture, &Device::flex()).expect("a device");
        network.flatten(&architecture.initial(seed)).expect("its own state")
    }

    fn data(n: usize) -> Arc<Dataset> {
        let key = Key::new(1, "features", 0);
        let values = (0..4 * n as u64).map(|index| key.normal(index)).collect();
        Arc::new(Dataset::of_rows(values, 4, Targets::Classes(vec![0; n]), 2).expect("rows"))
    }

    /// All rows of all models at all taps, as a method collects them.
    fn collected(threads: usize, weights: [&[f32]; 2], taps: &[usize]) -> Result<Vec<Vec<f32>>, MethodError> {
        let (device, small, large) = (Device::flex(), mlp(5), mlp(6));
        let set = data(23);
        let batches = Batches::of("data", &set, 5).expect("data");
        let network = Network::new(&small, &device).expect("a device");
        let placed = small.symmetries().expect("symmetries").taps(&network.taps().expect("taps"));
        let candidates = vec![
            Candidate { name: "a", architecture: &small },
            Candidate { name: "b", architecture: &large },
        ];
        let mut features = NetworkFeatures::new(candidates, &device, placed, &batches, run(threads));
        let names: Vec<&str> = features.taps().iter().map(|tap| tap.layer.as_str()).collect();
        assert_eq!(names, ["layers.0", "layers.0", "layers.1", "layers.1"]);
        let watched = [0, 1].map(|candidate| Watched {
            candidate,
            vectors: Vectors { weights: weights[candidate], statistics: &[] },
        });
        let mut found = vec![Vec::new(); 2 * taps.len()];
        features.pass(&watched, taps, &mut |rows| {
            for (model, taps) in rows.iter().enumerate() {
                for (place, rows) in taps.iter().enumerate() {
                    assert_eq!(rows.width, [[5, 6], [3, 3]][place][model]);
                    found[model * taps.len() + place].extend_from_slice(rows.values);
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// In batches on any number of threads the rows are those of one batch of all.
    #[test]
    fn rows_come_in_order() {
        let (a, b) = (flat(&mlp(5), 1), flat(&mlp(6), 2));
        let weights: [&[f32]; 2] = [&a.weights, &b.weights];
        let found = collected(1, weights, &[1, 3]).expect("fits");
        assert_eq!(collected(2, weights, &[1, 3]), Ok(found.clone()));
        assert_eq!(collected(7, weights, &[1, 3]), Ok(found.clone()));
        let mut network = Network::new(&mlp(6), &Device::flex()).expect("a device");
        let set = data(23);
        let all = Batches::of("data", &set, 23).expect("data");
        let whole = network
            .watch(&b.weights, &[], &all.get(0).expect("there"), Norm::Running, &[1, 3])
            .expect("fits");
        for (found, whole) in found[2..].iter().zip(&whole) {
            assert_eq!(found.len(), whole.values.len());
            // Sums of at most six products of numbers near 1, perhaps in another order.
            assert!(found.iter().zip(&whole.values).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn what_is_broken_is_named() {
        let (a, b) = (flat(&mlp(5), 1), flat(&mlp(6), 2));
        let mut nan = b.weights.clone();
        nan[3] = f32::NAN;
        let error = collected(2, [&a.weights, &nan], &[0, 2]).unwrap_err();
        assert!(error.to_string().contains("layer `layers.0` of `b` gives NaN"), "{error}");
        assert!(collected(1, [&a.weights, &b.weights], &[0, 4]).is_err());
        assert!(collected(1, [&a.weights, &b.weights[1..]], &[0, 2]).is_err());
    }
}
