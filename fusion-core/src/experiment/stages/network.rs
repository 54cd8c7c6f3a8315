//! The first weights of a network: drawn, or taken over from a file of any origin.

use std::path::Path;

use fusion_network::{Data, Foreign, Role, State};

use super::super::results::Result as StepResult;
use super::super::run::Runtime;
use super::super::{Step, load};
use super::{File, Made};
use crate::checkpoint::Checkpoint;
use crate::engine::RunError;

pub(super) fn run(
    runtime: &Runtime<'_>,
    step: &Step,
    seed: u64,
    from: Option<&Path>,
    map: &[(String, String)],
) -> Result<Made, RunError> {
    let architecture = &runtime.plan.experiment.architectures[step.architecture.unwrap_or(0)];
    let state = match from {
        None => architecture.initial(seed),
        Some(path) => {
            let checkpoint = Checkpoint::open(path)?;
            let foreign: Vec<Foreign> = checkpoint
                .tensors()
                .iter()
                .map(|tensor| Foreign { name: tensor.name.clone(), shape: tensor.shape.clone() })
                .collect();
            // A recipe writes `theirs = ours`.
            let map: Vec<(String, String)> =
                map.iter().map(|(theirs, ours)| (ours.clone(), theirs.clone())).collect();
            let fits = State::fit(architecture, &foreign, Some(&map)).map_err(|error| {
                let message = format!("`{}` does not fit {architecture}: {error}", path.display());
                runtime.failed(
                    step,
                    message,
                    Some("name pairs with `map = [\"theirs = ours\", …]`".to_owned()),
                )
            })?;
            let mut tensors = Vec::new();
            for fit in fits {
                let mut data = match fit.tensor.role {
                    Role::Counter => Data::I64(vec![0]),
                    _ => Data::F32(vec![0.0; fit.tensor.shape.iter().product()]),
                };
                if let Some(index) = fit.foreign {
                    load::fill(&checkpoint, index, &mut data)?;
                }
                if let Data::F32(values) = &data
                    && values.iter().any(|value| !value.is_finite())
                {
                    let message =
                        format!("`{}` of `{}` holds NaN or infinity", fit.tensor.name, path.display());
                    return Err(runtime.failed(step, message, Some("mend the checkpoint first".to_owned())));
                }
                tensors.push((fit.tensor.name.clone(), fit.tensor.shape.clone(), data));
            }
            State::new(architecture, tensors)
                .map_err(|error| runtime.failed(step, error.to_string(), None))?
        }
    };
    let result = StepResult { cost: format!("{} tensors", state.tensors().len()), ..StepResult::default() };
    Ok(Made { result, files: vec![File::Model("model".to_owned(), state)] })
}
