//! A part of a network from the input on, for methods that leave what lies behind it to each model (heads), or what lies before it as it is
//! (layers that have been matched already).
//!
//! Layers are taken in the order of the symmetries' tensors, which is that of the forward pass. A layer is a matrix or kernel with the vectors
//! behind it; a name stands for all tensors that begin with it.

use fusion_sdk::MethodError;
use fusion_sdk::symmetry::{Factor, Side, Symmetries};

use crate::branches::{branches, stem};
use crate::family::families;

/// Which part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Span {
    /// Last layer before it.
    pub(crate) after: Option<String>,
    /// Its last layer.
    pub(crate) until: Option<String>,
    /// Instead of `until`, its share of the layers from the input on.
    pub(crate) share: Option<f64>,
}

/// A part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// For each node, whether it is made inside.
    pub(crate) inside: Vec<bool>,
    /// Tensors up to its end, which all models have in common afterwards; none if it ends with the network.
    pub(crate) shared: Vec<String>,
}

impl Part {
    /// Whether it ends before the network does.
    pub(crate) fn is_partial(&self) -> bool {
        !self.shared.is_empty()
    }
}

/// The sizes of all nodes in the result of a method that makes those of a part wider or narrower; `None` if they are those of the first model.
///
/// # Errors
/// Those of [`part`] and of `sizes`.
pub(crate) fn widths(
    models: &[&Symmetries],
    span: &Span,
    sizes: impl FnOnce(&Part) -> Result<Vec<usize>, MethodError>,
) -> Result<Option<Vec<usize>>, MethodError> {
    let Some(first) = models.first() else { return Ok(None) };
    let sizes = sizes(&part(first, span)?)?;
    let same = first.nodes.iter().zip(&sizes).all(|(node, size)| node.size == *size);
    Ok((!same).then_some(sizes))
}

/// Finds the part of a network.
///
/// # Errors
/// There is no such layer, the part is empty, or units are made on both sides of an end.
pub(crate) fn part(symmetries: &Symmetries, span: &Span) -> Result<Part, MethodError> {
    let tensors = symmetries.tensors.len();
    let begin = match &span.after {
        Some(layer) => end_of(symmetries, layer, "after")?,
        None => 0,
    };
    let end = match (&span.until, span.share) {
        (Some(layer), _) => end_of(symmetries, layer, "until")?,
        (None, Some(share)) => end_of_share(symmetries, share)?,
        (None, None) => tensors,
    };
    if begin >= end {
        return Err(MethodError::invalid("no layer lies between `after` and `until`").at("until"));
    }
    let families = families(symmetries);
    let mut inside = vec![false; symmetries.nodes.len()];
    // Where each node is made: 0 before, 1 inside, 2 behind.
    let mut zone = vec![1; symmetries.nodes.len()];
    for family in &families {
        for &node in &family.nodes {
            let places = branches(symmetries, family, node).into_iter().flat_map(|branch| branch.places);
            let zones = |tensor: usize| usize::from(tensor >= begin) + usize::from(tensor >= end);
            let mut made: Vec<(usize, usize)> =
                places.map(|place| (zones(place.tensor), place.tensor)).collect();
            made.sort_unstable();
            let (Some(first), Some(last)) = (made.first(), made.last()) else { continue };
            if first.0 != last.0 {
                let name = |at: usize| &symmetries.tensors[at].name;
                let parameter = if first.0 == 0 {
                    "after"
                } else if span.until.is_some() {
                    "until"
                } else {
                    "share"
                };
                let message = format!(
                    "the units of `{}` are made on both sides of the cut: by `{}` and by `{}`",
                    symmetries.node(node).name,
                    name(first.1),
                    name(last.1),
                );
                return Err(MethodError::invalid(message)
                    .at(parameter)
                    .help("cut where a residual stream ends, between two stages"));
            }
            zone[node.index()] = first.0;
        }
        // A node whose units are made through those that lie in it goes with them.
        let made = |id: &&fusion_sdk::symmetry::NodeId| !branches(symmetries, family, **id).is_empty();
        if let Some(known) = family.nodes.iter().find(made).map(|id| zone[id.index()]) {
            let unknown = family.nodes.iter().filter(|id| !made(id));
            unknown.for_each(|id| zone[id.index()] = known);
        }
    }
    inside.iter_mut().zip(&zone).for_each(|(inside, zone)| *inside = *zone == 1);
    let mut shared = Vec::new();
    for (at, tensor) in symmetries.tensors.iter().enumerate().filter(|_| end < tensors) {
        let made = tensor.axes.iter().filter(|axis| axis.side != Side::Reads);
        let zones: Vec<usize> = made
            .flat_map(|axis| axis.segments.iter().flatten())
            .filter_map(|factor| match factor {
                Factor::Node(id) => Some(zone[id.index()]),
                Factor::Pinned(_) => None,
            })
            .collect();
        let front = zones.iter().filter(|zone| **zone < 2).count();
        if front > 0 && front < zones.len() {
            let message = format!("`{}` makes units on both sides of the cut", tensor.name);
            return Err(MethodError::invalid(message).help("cut at another layer"));
        }
        if front > 0 || (zones.is_empty() && at < end) {
            shared.push(tensor.name.clone());
        }
    }
    Ok(Part { inside, shared })
}

/// Whether a tensor is a matrix, kernel or table.
fn matrix(symmetries: &Symmetries, tensor: usize) -> bool {
    symmetries.shape(tensor).iter().filter(|length| **length > 1).count() > 1
}

/// The first matrix behind a tensor.
fn next(symmetries: &Symmetries, tensor: usize) -> usize {
    let tensors = symmetries.tensors.len();
    (tensor + 1..tensors).find(|at| matrix(symmetries, *at)).unwrap_or(tensors)
}

fn end_of(symmetries: &Symmetries, layer: &str, parameter: &'static str) -> Result<usize, MethodError> {
    let belongs =
        |name: &str| name.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    match symmetries.tensors.iter().rposition(|tensor| belongs(&tensor.name)) {
        Some(last) => Ok(next(symmetries, last)),
        None => {
            let layers: Vec<String> =
                layers(symmetries).iter().map(|(name, _)| format!("`{name}`")).take(12).collect();
            Err(MethodError::invalid(format!("there is no layer `{layer}`"))
                .at(parameter)
                .help(format!("layers are {}, …", layers.join(", "))))
        }
    }
}

/// Layers with a matrix, and where each begins.
fn layers(symmetries: &Symmetries) -> Vec<(&str, usize)> {
    let mut found: Vec<(&str, usize)> = Vec::new();
    for at in (0..symmetries.tensors.len()).filter(|at| matrix(symmetries, *at)) {
        let name = stem(&symmetries.tensors[at].name);
        if found.last().is_none_or(|(last, _)| *last != name) {
            found.push((name, at));
        }
    }
    found
}

fn end_of_share(symmetries: &Symmetries, share: f64) -> Result<usize, MethodError> {
    let layers = layers(symmetries);
    let count = (share * layers.len() as f64).round() as usize;
    match layers.get(count) {
        _ if count == 0 => {
            Err(MethodError::invalid(format!("{share} of {} layers is none", layers.len())).at("share"))
        }
        Some((_, begin)) => Ok(*begin),
        None => Ok(symmetries.tensors.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "node a[4]\nnode s[4]\nnode b[3]\nstem.conv.weight = a, reads pin[3], pin[9]\n\
        stem.norm.weight = a\nstem.norm.var (variance) = a\nstage.0.weight = s, reads a\nstage.1.weight = b, reads s\n\
        stage.2.weight = s, reads b\nhead.weight = pin[10], reads s\nhead.bias = pin[10]\n";

    fn cut(after: Option<&str>, until: Option<&str>, share: Option<f64>) -> Result<Part, MethodError> {
        let symmetries = Symmetries::parse(TEXT).unwrap();
        let [after, until] = [after, until].map(|name| name.map(str::to_owned));
        part(&symmetries, &Span { after, until, share })
    }

    #[test]
    fn a_part_ends_where_its_layer_and_its_norm_end() {
        assert_eq!(cut(None, None, None).unwrap(), Part { inside: vec![true; 3], shared: Vec::new() });
        let stem = cut(None, Some("stem.conv"), None).unwrap();
        assert_eq!(stem.inside, [true, false, false]);
        assert_eq!(stem.shared, ["stem.conv.weight", "stem.norm.weight", "stem.norm.var"]);
        assert_eq!(cut(None, None, Some(0.2)).unwrap(), stem);
        let stage = cut(Some("stem"), Some("stage"), None).unwrap();
        assert_eq!((stage.inside, stage.shared.len()), (vec![false, true, true], 6));
        assert_eq!(cut(Some("stem"), None, None).unwrap().inside, [false, true, true]);
        assert!(!cut(None, Some("head"), None).unwrap().is_partial());
    }

    #[test]
    fn bad_cuts_say_why() {
        let error = cut(None, Some("stage.1"), None).unwrap_err();
        assert!(error.message.contains("`s`") && error.message.contains("stage.0.weight"), "{error}");
        assert_eq!(error.parameter, Some("until"));
        let error = cut(None, Some("stag"), None).unwrap_err();
        assert!(error.help.unwrap().contains("`stem.conv`"));
        assert_eq!(cut(Some("stage"), Some("stem"), None).unwrap_err().parameter, Some("until"));
        assert_eq!(cut(None, None, Some(0.01)).unwrap_err().parameter, Some("share"));
    }
}
