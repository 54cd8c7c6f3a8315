//! How alike models see the same examples, layer by layer.

use serde::Serialize;

use crate::measure::MeasureError;
use crate::measure::batches::Batches;
use crate::measure::cka::{Features, linear_cka};
use crate::measure::evaluate::on_batches;
use crate::measure::forward::{LayerFeatures, Model};
use crate::measure::norm::NormSource;
use crate::measure::workers::Run;

/// Linear CKA between the layers of two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similarity {
    /// Index of the first model.
    pub first: usize,
    /// Index of the second.
    pub second: usize,
    /// Layers of the first model: rows.
    pub rows: Vec<String>,
    /// Layers of the second: columns.
    pub columns: Vec<String>,
    /// CKA, row-major; `None` for pairs that were not asked for.
    pub values: Vec<Option<f64>>,
}

impl Similarity {
    /// Layers of the same name and their CKA.
    pub fn matched(&self) -> impl Iterator<Item = (&str, f64)> {
        self.rows.iter().enumerate().filter_map(|(row, name)| {
            let column = self.columns.iter().position(|column| column == name)?;
            self.values[row * self.columns.len() + column].map(|value| (name.as_str(), value))
        })
    }
}

/// CKA of every pair of models on `data`: of layers with the same name, or of `all` layers with each other.
///
/// # Errors
/// Fewer than two models or examples, what [`predictions`](super::evaluate::predictions) fails for, or no layer of the same name.
pub fn similarity(
    models: &[Model<'_>],
    all: bool,
    norm: &NormSource<'_>,
    data: &Batches<'_>,
    run: &Run<'_>,
) -> Result<Vec<Similarity>, MeasureError> {
    if models.len() < 2 {
        return Err(MeasureError::unsuitable("CKA compares two models", "connect another model to `from`"));
    }
    let parts = on_batches(models, norm, data, run, |network, point, batch| {
        network.features(point.weights, point.statistics, batch)
    })?;
    let features: Vec<Vec<LayerFeatures>> = parts.into_iter().map(joined).collect::<Result<_, _>>()?;
    let mut out = Vec::new();
    for first in 0..models.len() {
        for second in first + 1..models.len() {
            run.context.check()?;
            let (a, b) = (&features[first], &features[second]);
            let mut values = Vec::with_capacity(a.len() * b.len());
            for x in a {
                for y in b {
                    let of = |layer: &'_ LayerFeatures| layer.width;
                    let pair =
                        (Features { width: of(x), rows: &x.rows }, Features { width: of(y), rows: &y.rows });
                    values.push(match all || x.name == y.name {
                        true => Some(linear_cka(pair.0, pair.1)?),
                        false => None,
                    });
                }
            }
            if values.iter().all(Option::is_none) {
                return Err(MeasureError::unsuitable(
                    format!(
                        "`{}` and `{}` have no layer of the same name",
                        models[first].name, models[second].name
                    ),
                    "set `layers` to `all` to compare each layer with each",
                ));
            }
            let names = |layers: &[LayerFeatures]| layers.iter().map(|layer| layer.name.clone()).collect();
            out.push(Similarity { first, second, rows: names(a), columns: names(b), values });
        }
    }
    Ok(out)
}

/// The features of all batches, layer by layer.
fn joined(batches: Vec<Vec<LayerFeatures>>) -> Result<Vec<LayerFeatures>, MeasureError> {
    let mut batches = batches.into_iter();
    let mut whole = batches.next().unwrap_or_default();
    for layers in batches {
        MeasureError::length("layers with features", whole.len(), layers.len())?;
        for (whole, layer) in whole.iter_mut().zip(layers) {
            MeasureError::length(&format!("features of `{}`", whole.name), whole.width, layer.width)?;
            whole.rows.extend(layer.rows);
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::toy::{Examples, batches, run, threshold};

    /// Layer `square` is w₀x², whatever w₀: CKA 1. Layer `sum` adds w₁x; on symmetric inputs x and x² do not correlate, so CKA is
    /// the squared correlation of x² with x² + x: with x = −1, 0, 1 the parts have 2/3 and 2, so ¼.
    #[test]
    fn layers_are_compared_by_name_or_each_with_each() {
        let source = Examples::classes(&[-1.0, 0.0, 1.0], &[0, 0, 0]);
        let (a, b): (&[f32], &[f32]) = (&[1.0, 0.0], &[2.0, 2.0]);
        let model = |name, weights| Model { name, network: &threshold, weights, statistics: &[] };
        let models = [model("a", a), model("b", b)];
        for size in [1, 3] {
            let data = batches(&source, size);
            let of = |all| similarity(&models, all, &NormSource::KEEP, &data, &run(2)).expect("fits");
            let [found] = of(false).try_into().expect("one pair");
            let matched: Vec<(&str, f64)> = found.matched().collect();
            assert_eq!(matched.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["square", "sum"]);
            assert!((matched[0].1 - 1.0).abs() < 1e-12 && (matched[1].1 - 0.25).abs() < 1e-12, "{matched:?}");
            assert_eq!((found.values[1], found.values[2]), (None, None));
            let [all] = of(true).try_into().expect("one pair");
            assert!((all.values[1].expect("asked") - 0.25).abs() < 1e-12);
            assert!((all.values[2].expect("asked") - 1.0).abs() < 1e-12);
        }
        let data = batches(&source, 3);
        assert!(similarity(&models[..1], false, &NormSource::KEEP, &data, &run(1)).is_err());
    }
}
