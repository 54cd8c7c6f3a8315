//! The first weights of a network: drawn, or taken over from a file of any origin.

use std::path::Path;

use fusion_network::{Architecture, Data, Fit, Foreign, Init, Role, State, StateError};

use super::super::results::Result as StepResult;
use super::super::run::Runtime;
use super::super::{Step, load};
use super::{File, Made};
use crate::checkpoint::Checkpoint;
use crate::engine::{NonFinite, RunError};

/// What to do where a file's tensors have other names.
pub(crate) const HELP: &str = "give the network the shapes of the file; where only names differ, name pairs with `map = [\"theirs = ours\", …]`";

/// How the tensors of a file are those of a network, by names and shapes. Pairs of `map` are (theirs, ours), as in recipes.
///
/// # Errors
/// Those of [`State::fit`].
pub(crate) fn fit(
    checkpoint: &Checkpoint,
    architecture: &Architecture,
    map: &[(String, String)],
) -> Result<Vec<Fit>, StateError> {
    let tensors = checkpoint.tensors().iter();
    let foreign: Vec<Foreign> =
        tensors.map(|tensor| Foreign { name: tensor.name.clone(), shape: tensor.shape.clone() }).collect();
    let map: Vec<(String, String)> =
        map.iter().map(|(theirs, ours)| (ours.clone(), theirs.clone())).collect();
    State::fit(architecture, &foreign, Some(&map))
}

pub(super) fn run(
    runtime: &Runtime<'_>,
    step: &Step,
    (seed, init): (u64, Init),
    from: Option<&Path>,
    map: &[(String, String)],
) -> Result<Made, RunError> {
    let architecture = &runtime.plan.experiment.architectures[step.architecture.unwrap_or(0)];
    let state = match from {
        None => architecture.initial_by(seed, init),
        Some(path) => {
            let checkpoint = Checkpoint::open(path)?;
            // The planner has tried it; the file may have changed since.
            let fits = fit(&checkpoint, architecture, map).map_err(|error| {
                let message = format!("`{}` does not fit {architecture}: {error}", path.display());
                runtime.failed(step, message, Some(HELP.to_owned()))
            })?;
            let (mut tensors, mut bad) = (Vec::new(), Vec::new());
            for fit in fits {
                let mut data = match fit.tensor.role {
                    Role::Counter => Data::I64(vec![0]),
                    _ => Data::F32(vec![0.0; fit.tensor.shape.iter().product()]),
                };
                if let Some(index) = fit.foreign {
                    load::fill(&checkpoint, index, &mut data)?;
                }
                if let Data::F32(values) = &data {
                    let from = path.display().to_string();
                    bad.extend(NonFinite::of_values(&from, &fit.tensor.name, values));
                }
                tensors.push((fit.tensor.name.clone(), fit.tensor.shape.clone(), data));
            }
            if !bad.is_empty() {
                return Err(RunError::needs_finite(&step.name, &step.method, bad));
            }
            State::new(architecture, tensors)
                .map_err(|error| runtime.failed(step, error.to_string(), None))?
        }
    };
    let result = StepResult { cost: format!("{} tensors", state.tensors().len()), ..StepResult::default() };
    Ok(Made { result, files: vec![File::Model("model".to_owned(), state)] })
}
