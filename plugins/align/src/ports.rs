//! The ports of the family, and the checks of what comes in through them.

use fusion_sdk::align::Candidate;
use fusion_sdk::symmetry::Symmetries;
use fusion_sdk::{Context, ErrorKind, MethodError, Port, Space};

/// Models without settings of their own.
const fn models(role: &'static str, min: u32, max: Option<u32>, doc: &'static str) -> Port {
    Port { role, space: Space::Model, min, max, settings: false, doc }
}

/// The model that others are brought into the order of.
pub(crate) const fn reference() -> Port {
    models("reference", 1, Some(1), "the model whose order of units counts; it is not changed")
}

/// The same, for methods that can do without.
pub(crate) const fn maybe_reference() -> Port {
    let doc =
        "the model whose order of units counts; without one, each model is matched to the mean of the others";
    models("reference", 0, Some(1), doc)
}

/// The models that are brought over.
pub(crate) const fn from(min: u32, max: Option<u32>, doc: &'static str) -> Port {
    models("from", min, max, doc)
}

/// Examples that networks are run on.
pub(crate) const fn data(min: u32) -> Port {
    let doc = "data that the networks are run on";
    Port { role: "data", space: Space::Dataset, min, max: Some(1), settings: false, doc }
}

/// An alignment that another stage has found, or that was saved.
pub(crate) const fn by() -> Port {
    Port {
        role: "by",
        space: Space::Alignment,
        min: 0,
        max: Some(1),
        settings: false,
        doc: "the alignment to apply; one in a file is named by `stored` instead",
    }
}

/// Refuses models whose symmetries have other nodes, sizes of nodes or tensors than those of the first one.
///
/// # Errors
/// [`ErrorKind::Shape`], with both models, and what one has and the other has not.
pub(crate) fn same(models: &[Candidate<'_>]) -> Result<(), MethodError> {
    same_but_widths(models)?;
    let Some((first, rest)) = models.split_first() else { return Ok(()) };
    for (index, model) in rest.iter().enumerate() {
        for (own, other) in model.symmetries.nodes.iter().zip(&first.symmetries.nodes) {
            if own.size != other.size {
                let message = format!(
                    "`{}` has {} units in `{}`, `{}` has {}: permutations need equal widths",
                    model.name, own.size, own.name, first.name, other.size
                );
                return Err(MethodError::new(ErrorKind::Shape, message)
                    .of_input(index + 1)
                    .help("`ot_fusion` and `pfnm` align networks of different widths"));
            }
        }
        for tensor in 0..first.symmetries.tensors.len() {
            let (own, other) = (model.symmetries.shape(tensor), first.symmetries.shape(tensor));
            if own != other {
                let message = format!(
                    "`{}` is {own:?} in `{}` and {other:?} in `{}`",
                    first.symmetries.tensors[tensor].name, model.name, first.name
                );
                return Err(MethodError::new(ErrorKind::Shape, message).of_input(index + 1));
            }
        }
    }
    Ok(())
}

/// As [`same`], but nodes may have different sizes.
///
/// # Errors
/// [`ErrorKind::Shape`].
pub(crate) fn same_but_widths(models: &[Candidate<'_>]) -> Result<(), MethodError> {
    let Some((first, rest)) = models.split_first() else { return Ok(()) };
    for (index, model) in rest.iter().enumerate() {
        let (own, wanted) = (nodes(model.symmetries), nodes(first.symmetries));
        if let Some(difference) = difference(&own, &wanted) {
            let message = format!(
                "`{}` and `{}` are networks of different structure: `{}` has the nodes {}, `{}` has {} ({difference})",
                model.name,
                first.name,
                model.name,
                listed(&own),
                first.name,
                listed(&wanted)
            );
            return Err(MethodError::new(ErrorKind::Shape, message)
                .of_input(index + 1)
                .help("align networks of one architecture and depth"));
        }
        let (own, wanted) = (tensors(model.symmetries), tensors(first.symmetries));
        if let Some(difference) = difference(&own, &wanted) {
            let message = format!(
                "`{}` and `{}` are networks with different tensors: {difference}",
                model.name, first.name
            );
            return Err(MethodError::new(ErrorKind::Shape, message).of_input(index + 1));
        }
        let parents = |symmetries: &Symmetries| {
            symmetries.nodes.iter().map(|node| node.parents.clone()).collect::<Vec<_>>()
        };
        if parents(model.symmetries) != parents(first.symmetries) {
            let message =
                format!("nodes lie in each other differently in `{}` and `{}`", model.name, first.name);
            return Err(MethodError::new(ErrorKind::Shape, message).of_input(index + 1));
        }
    }
    Ok(())
}

fn nodes(symmetries: &Symmetries) -> Vec<&str> {
    symmetries.nodes.iter().map(|node| node.name.as_str()).collect()
}

fn tensors(symmetries: &Symmetries) -> Vec<&str> {
    symmetries.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

/// The first name that one list has and the other has not at its place.
fn difference(own: &[&str], wanted: &[&str]) -> Option<String> {
    let at = (0..own.len().max(wanted.len())).find(|at| own.get(*at) != wanted.get(*at))?;
    Some(match (own.get(at), wanted.get(at)) {
        (Some(own), Some(wanted)) => format!("`{own}` stands where `{wanted}` should"),
        (Some(own), None) => format!("`{own}` is one too many"),
        (None, Some(wanted)) => format!("`{wanted}` is missing"),
        (None, None) => String::new(),
    })
}

/// Names for a message; of many only the first and the last.
fn listed(names: &[&str]) -> String {
    match names {
        [] => "(none)".to_owned(),
        [first, .., last] if names.len() > 8 => format!("`{first}` … `{last}` ({} of them)", names.len()),
        all => format!("`{}`", all.join("`, `")),
    }
}

/// Elements that are checked at a time.
const CHECKED: usize = 1 << 20;

/// Refuses values that are not finite, before anything is computed from them. Reads every tensor once, a piece at a time.
///
/// # Errors
/// [`ErrorKind::Failed`], with the model and the tensor; or a file cannot be read.
pub(crate) fn finite(models: &[Candidate<'_>], context: Context<'_>) -> Result<(), MethodError> {
    let mut piece = Vec::new();
    for (index, model) in models.iter().enumerate() {
        for (tensor, described) in model.symmetries.tensors.iter().enumerate() {
            let elements: usize = model.symmetries.shape(tensor).iter().product();
            for start in (0..elements).step_by(CHECKED) {
                context.check()?;
                piece.resize(CHECKED.min(elements - start), 0.0);
                model.source.read(tensor, start, &mut piece)?;
                if let Some(at) = piece.iter().position(|value| !value.is_finite()) {
                    return Err(not_finite(model.name, &described.name, start + at, f64::from(piece[at]))
                        .of_input(index));
                }
            }
        }
    }
    Ok(())
}

/// A whole tensor of a model, checked.
///
/// # Errors
/// It cannot be read, or a value is not finite.
pub(crate) fn values(model: &Candidate<'_>, tensor: usize) -> Result<Vec<f64>, MethodError> {
    let mut values = vec![0.0; model.symmetries.shape(tensor).iter().product()];
    model.source.read_f64(tensor, 0, &mut values)?;
    match values.iter().position(|value: &f64| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(not_finite(model.name, &model.symmetries.tensors[tensor].name, at, values[at])),
    }
}

/// The error for a value that is no number.
pub(crate) fn not_finite(model: &str, tensor: &str, at: usize, value: f64) -> MethodError {
    MethodError::new(ErrorKind::Failed, format!("element {at} of `{tensor}` in `{model}` is {value}"))
        .help("its training has diverged, or the file is damaged")
}
