//! A point of a path as a model, or the mean of several: `average mid using point { path curve; at = 50% }`.

use fusion_network::Flat;
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::rng::Key;
use fusion_sdk::{
    About, Category, Claim, Class, Described, MethodError, NoParams, Params, Port, Space, method,
};
use serde_json::{Map, Value as Json};

use super::super::results::Result as StepResult;
use super::super::run::Runtime;
use super::super::{Feed, Step};
use super::{File, Made};
use crate::engine::RunError;

/// Stage parameters of `point`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct PointParams {
    /// position on the path: 0% is its start, 100% its end
    #[param(unit = fraction, range = 0..=1, default = 0.5)]
    pub at: f64,
    /// the mean of this many points, evenly spaced from start to end, instead of one; of a Gaussian or a simplex, of random ones
    #[param(range = 2..)]
    pub mean_of: Option<usize>,
    /// a random point instead: of a Gaussian a sample with this factor on its covariance (SWAG takes ½), of a simplex a uniform one
    #[param(range = 0..)]
    pub sample: Option<f64>,
}

/// What the language sees.
pub(super) fn described() -> Described {
    method::described::<PointParams, NoParams>(
        About {
            id: "point",
            version: 1,
            category: Category::Average,
            summary: "a point of a path, or the mean of several, as a model",
            formula: "θ = φ(t), or 1/n Σ φ(tᵢ)",
            citation: "Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of DNNs, NeurIPS 2018",
            ports: vec![Port {
                role: "path",
                space: Space::Path,
                min: 1,
                max: Some(1),
                settings: false,
                doc: "the path",
            }],
            random: true,
            claims: &[Claim::Deterministic],
        },
        Class::Learn,
        0,
    )
}

pub(super) fn read(settings: &Map<String, Json>) -> Result<PointParams, MethodError> {
    let params = PointParams::from_settings(settings)?;
    params.check()?;
    if params.mean_of.is_some() && params.sample.is_some() {
        return Err(MethodError::invalid("`mean_of` and `sample` exclude each other").at("sample"));
    }
    Ok(params)
}

pub(super) fn run(runtime: &Runtime<'_>, step: &Step) -> Result<Made, RunError> {
    let mut settings = step.settings.clone();
    settings.remove("seed");
    let params = read(&settings).map_err(|error| runtime.refused(step, error))?;
    let Some(Feed::Result(node)) = step.inputs.first().map(|input| &input.feed) else {
        return Err(runtime.failed(step, "the input is no path", None));
    };
    let walked = runtime.path(step, *node)?;
    let network = runtime.build(step, runtime.architecture(step))?;
    let weights = weights(&walked.path, &params, step.seed).map_err(|error| runtime.refused(step, error))?;
    // Statistics belong to no point of a path; whoever uses the model is asked for a policy.
    let statistics = match walked.statistics.is_empty() {
        true => runtime.architecture(step).initial(0),
        false => network
            .unflatten(&Flat { weights: weights.clone(), statistics: walked.statistics[0].clone() }, 0)
            .map_err(|error| runtime.failed(step, error.to_string(), None))?,
    };
    let statistics = network
        .flatten(&statistics)
        .map_err(|error| runtime.failed(step, error.to_string(), None))?
        .statistics;
    let state = network
        .unflatten(&Flat { weights, statistics }, 0)
        .map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let result = StepResult { cost: "one point".to_owned(), ..StepResult::default() };
    Ok(Made { result, files: vec![File::Model("model".to_owned(), state)] })
}

/// The point's weights.
fn weights(path: &Path, params: &PointParams, seed: u64) -> Result<Vec<f32>, MethodError> {
    let key = Key::new(seed, "point", 0);
    let mut out = vec![0.0; path.len()];
    let invalid = |error: fusion_sdk::path::PathError| MethodError::invalid(error.to_string());
    if let Some(scale) = params.sample {
        random(path, key, scale, &mut out).map_err(invalid)?;
        return Ok(out);
    }
    let Some(count) = params.mean_of else {
        path.at(params.at, &mut out);
        return Ok(out);
    };
    let mut sum = vec![0.0_f64; path.len()];
    for index in 0..count {
        match path.geometry {
            Geometry::Gaussian | Geometry::Simplex | Geometry::Complex { .. } => {
                random(path, Key::new(seed, "point", index as u64), 0.5, &mut out).map_err(invalid)?;
            }
            _ => path.at(index as f64 / (count - 1) as f64, &mut out),
        }
        for (sum, value) in sum.iter_mut().zip(&out) {
            *sum += f64::from(*value);
        }
    }
    Ok(sum.into_iter().map(|sum| (sum / count as f64) as f32).collect())
}

/// A random point: a sample of a Gaussian, a uniform one of anything else.
pub(super) fn random(
    path: &Path,
    key: Key,
    scale: f64,
    out: &mut [f32],
) -> Result<(), fusion_sdk::path::PathError> {
    if path.geometry == Geometry::Gaussian {
        return path.gaussian(key, scale, out);
    }
    let coefficients = path.random(key)?;
    fusion_sdk::path::blend_into(&coefficients, &path.points, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(settings: Json) -> Result<PointParams, MethodError> {
        read(settings.as_object().unwrap())
    }

    #[test]
    fn a_point_and_a_mean_of_points() {
        let path = Path::new(Geometry::Chain, vec![vec![0.0, 1.0], vec![4.0, 3.0]], Vec::new()).unwrap();
        let at = |settings: Json| weights(&path, &params(settings).unwrap(), 1).unwrap();
        assert_eq!(at(serde_json::json!({ "at": 0.25 })), [1.0, 1.5]);
        assert_eq!(at(serde_json::json!({})), [2.0, 2.0]);
        // Evenly spaced points of a straight line have their middle as mean.
        assert_eq!(at(serde_json::json!({ "mean_of": 5 })), [2.0, 2.0]);
        assert!(params(serde_json::json!({ "mean_of": 5, "sample": 1.0 })).is_err());
        assert!(params(serde_json::json!({ "at": 1.5 })).is_err());
    }
}
