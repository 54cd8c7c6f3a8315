//! `ensemble using soft_vote`: which models' outputs are combined. What is computed from them is computed where they are measured.

use fusion_sdk::{
    About, Category, Claim, Class, Described, MethodError, NoParams, Params, Port, Space, method,
};
use serde_json::{Map, Value as Json};

use super::super::results::{Facts, Result as StepResult};
use super::super::run::Runtime;
use super::super::{Feed, Step};
use super::Made;
use crate::engine::RunError;

/// Stage parameters of `soft_vote`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct SoftVoteParams {
    /// members that a path among the inputs gives: evenly spaced points, of a Gaussian or a simplex random ones
    #[param(range = 1.., default = 10)]
    pub points: usize,
    /// factor on the covariance of a Gaussian (SWAG takes ½)
    #[param(range = 0.., default = 0.5)]
    pub scale: f64,
}

/// What the language sees.
pub(super) fn described() -> Described {
    method::described::<SoftVoteParams, NoParams>(
        About {
            id: "soft_vote",
            version: 1,
            category: Category::Ensemble,
            summary: "the mean of the members' probabilities",
            formula: "p(y|x) = 1/n Σ softmax fᵢ(x)",
            citation: "Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation using deep ensembles, NeurIPS 2017",
            ports: vec![
                Port {
                    role: "from",
                    space: Space::Model,
                    min: 0,
                    max: None,
                    settings: false,
                    doc: "the members",
                },
                Port {
                    role: "path",
                    space: Space::Path,
                    min: 0,
                    max: None,
                    settings: false,
                    doc: "paths whose points are members",
                },
            ],
            random: true,
            claims: &[Claim::Deterministic, Claim::Commutative],
        },
        Class::Learn,
        0,
    )
}

pub(super) fn read(settings: &Map<String, Json>) -> Result<SoftVoteParams, MethodError> {
    let params = SoftVoteParams::from_settings(settings)?;
    params.check()?;
    Ok(params)
}

pub(super) fn run(runtime: &Runtime<'_>, step: &Step) -> Result<Made, RunError> {
    let mut settings = step.settings.clone();
    settings.remove("seed");
    let params = read(&settings).map_err(|error| runtime.refused(step, error))?;
    let paths = step.inputs.iter().filter(|input| matches!(input.feed, Feed::Result(_))).count();
    let members = step.inputs.len() - paths + paths * params.points;
    if members == 0 {
        return Err(runtime.failed(
            step,
            "an ensemble without members",
            Some("name models: `from [a, b]`".to_owned()),
        ));
    }
    let facts: Facts = [("members".to_owned(), members as f64)].into();
    let result = StepResult {
        facts,
        shown: vec!["members".to_owned()],
        cost: format!("{members} members"),
        ..StepResult::default()
    };
    Ok(Made { result, files: Vec::new() })
}
