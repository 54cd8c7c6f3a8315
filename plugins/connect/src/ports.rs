//! The ports of the family, and the checks of what comes in through them.

use fusion_sdk::connect::Search;
use fusion_sdk::{ErrorKind, MethodError, Port, Space};

/// Models without settings of their own.
const fn models(role: &'static str, min: u32, max: Option<u32>, doc: &'static str) -> Port {
    Port { role, space: Space::Model, min, max, settings: false, doc }
}

/// The two ends of a path.
pub(crate) const fn between() -> Port {
    models("between", 2, Some(2), "the two ends; the first is t = 0, the second t = 1")
}

/// Several models.
pub(crate) const fn from(min: u32, max: Option<u32>, doc: &'static str) -> Port {
    models("from", min, max, doc)
}

/// The model that a method sets out from.
pub(crate) const fn start(doc: &'static str) -> Port {
    models("start", 1, Some(1), doc)
}

/// Examples that the loss is taken on.
pub(crate) const fn data() -> Port {
    Port {
        role: "data",
        space: Space::Dataset,
        min: 1,
        max: Some(1),
        settings: false,
        doc: "training data: the loss along the path is taken on it",
    }
}

/// Refuses another number of models than `least..=most`.
pub(crate) fn count(id: &str, models: usize, least: usize, most: usize) -> Result<(), MethodError> {
    if (least..=most).contains(&models) {
        return Ok(());
    }
    let wanted = match (least, most) {
        _ if least == most => format!("{least}"),
        (_, usize::MAX) => format!("at least {least}"),
        _ => format!("{least} to {most}"),
    };
    Err(MethodError::invalid(format!("`{id}` takes {wanted} models, not {models}")))
}

/// Refuses models of different lengths or with values that are not finite, before anything is computed from them.
pub(crate) fn sound(models: &[&[f32]]) -> Result<(), MethodError> {
    let wanted = models.first().map_or(0, |model| model.len());
    for (index, model) in models.iter().enumerate() {
        if model.len() != wanted {
            return Err(MethodError::new(
                ErrorKind::Shape,
                format!(
                    "the model has {} weights, the first one {wanted}: a path needs one network",
                    model.len()
                ),
            )
            .of_input(index));
        }
        if let Some(at) = model.iter().position(|value| !value.is_finite()) {
            return Err(MethodError::new(
                ErrorKind::Failed,
                format!("weight {at} of the model is {}", model[at]),
            )
            .of_input(index)
            .help("its training has diverged, or the file is damaged"));
        }
    }
    Ok(())
}

/// The models, after [`sound`]; exactly `N` of them.
pub(crate) fn exactly<'a, const N: usize>(
    id: &str,
    search: &Search<'a>,
) -> Result<[&'a [f32]; N], MethodError> {
    count(id, search.models.len(), N, N)?;
    sound(search.models)?;
    search.models.try_into().map_err(|_| MethodError::invalid(format!("`{id}` takes {N} models")))
}

/// The weights that a method with a `start` sets out from: those of the model, or fresh ones of the stage's seed where the host
/// hands over a network without weights.
pub(crate) fn starting(id: &str, search: &Search<'_>) -> Result<Vec<f32>, MethodError> {
    count(id, search.models.len(), 0, 1)?;
    sound(search.models)?;
    match (search.models, search.fresh) {
        ([model], _) => Ok(model.to_vec()),
        (_, Some(fresh)) => Ok(fresh(search.seed)),
        (_, None) => Err(MethodError::invalid(format!("`{id}` has nothing to start from"))
            .help("give it a model: `start NAME`")),
    }
}
