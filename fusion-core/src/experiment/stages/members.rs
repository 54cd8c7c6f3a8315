//! Inputs of a step as flat weights: models, paths and the members of ensembles.

use std::fs;

use fusion_dsl::graph::NodeId;
use fusion_network::{Architecture, Flat, Network};
use fusion_sdk::path::{Geometry, Path};
use serde::Deserialize;

use super::super::run::Runtime;
use super::super::{Feed, Input, Step, Task, load};
use super::{GEOMETRY, PATH};
use crate::engine::RunError;

/// A path with what is known of its points' running statistics.
pub(in crate::experiment) struct Walked {
    pub(in crate::experiment) path: Path,
    /// One vector for each point, or none.
    pub(in crate::experiment) statistics: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Written {
    geometry: Geometry,
    knots: Vec<f64>,
}

impl Runtime<'_> {
    /// The architecture of a step.
    pub(in crate::experiment) fn architecture(&self, step: &Step) -> &Architecture {
        &self.plan.experiment.architectures[step.architecture.unwrap_or(0)]
    }

    /// The architecture of an input; the step's own for what has none.
    pub(in crate::experiment) fn architecture_of(&self, step: &Step, input: &Input) -> &Architecture {
        &self.plan.experiment.architectures[self.architecture_index(step, input)]
    }

    /// Its index.
    pub(in crate::experiment) fn architecture_index(&self, step: &Step, input: &Input) -> usize {
        let index = match &input.feed {
            Feed::Model { view, .. } => view.network.map(|network| network.architecture),
            Feed::Result(node) => self.plan.experiment.step(*node).and_then(|step| step.architecture),
            Feed::Alignment(_) => None,
        };
        index.or(step.architecture).unwrap_or(0)
    }

    /// A network on the run's device.
    pub(in crate::experiment) fn build(
        &self,
        step: &Step,
        architecture: &Architecture,
    ) -> Result<Network, RunError> {
        Network::new(architecture, &self.device).map_err(|error| self.failed(step, error.to_string(), None))
    }

    /// A model among the inputs as flat weights of this network.
    pub(in crate::experiment) fn flat(
        &self,
        step: &Step,
        input: &Input,
        network: &Network,
    ) -> Result<Flat, RunError> {
        let state = self.state(step, input)?;
        network.flatten(&state).map_err(|error| self.failed(step, error.to_string(), None))
    }

    /// The path that another step has found.
    pub(in crate::experiment) fn path(&self, step: &Step, node: NodeId) -> Result<Walked, RunError> {
        let from = self
            .plan
            .experiment
            .step(node)
            .filter(|from| matches!(from.task, Task::Connect))
            .ok_or_else(|| self.failed(step, "the input is no path", None))?;
        let folder = self.store.folder(&from.key);
        let damaged = |what: String| {
            self.failed(
                step,
                format!("the path of `{}` in `{}` is damaged: {what}", from.name, folder.display()),
                Some("delete that folder; the stage runs again".to_owned()),
            )
        };
        let written = fs::read(folder.join(GEOMETRY)).map_err(|error| damaged(error.to_string()))?;
        let written: Written =
            serde_json::from_slice(&written).map_err(|error| damaged(error.to_string()))?;
        let mut vectors = load::load_flat(&folder.join(PATH))?;
        let mut take = |kind: &str| {
            let mut found = Vec::new();
            while let Some(vector) = vectors.remove(&format!("{kind}.{}", found.len())) {
                found.push(vector);
            }
            found
        };
        let (points, statistics) = (take("point"), take("statistics"));
        let path =
            Path::new(written.geometry, points, written.knots).map_err(|error| damaged(error.to_string()))?;
        Ok(Walked { path, statistics })
    }
}
