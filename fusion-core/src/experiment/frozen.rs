//! `frozen` of `train`: layers and patterns, and which tensors of a network they cover.

use fusion_dsl::glob::{Glob, GlobError, nearest};
use fusion_dsl::suggest::closest;
use fusion_learn::train::Frozen;
use fusion_network::{Network, Role, TensorSpec};

/// What a stage freezes.
pub(crate) struct Patterns {
    globs: Vec<(String, Glob)>,
}

/// Why patterns do not fit a network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum FrozenError {
    /// No pattern.
    #[error("the pattern `{pattern}`: {error}")]
    Pattern { pattern: String, error: GlobError },
    /// Matches nothing.
    #[error("`frozen` names `{pattern}`, and no tensor or layer of the network is called so")]
    Nothing { pattern: String, near: Option<String> },
    /// Matches everything.
    #[error("`frozen` leaves nothing to learn")]
    Everything,
}

impl Patterns {
    /// Compiles patterns.
    pub(crate) fn new(texts: &[String]) -> Result<Patterns, FrozenError> {
        let compile = |pattern: &String| {
            let of = |error| FrozenError::Pattern { pattern: pattern.clone(), error };
            Ok((pattern.clone(), Glob::new(pattern).map_err(of)?))
        };
        Ok(Patterns { globs: texts.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// Whether a tensor is covered: by its name, or by that of a layer that it lies in (`layers.0` for `layers.0.weight`).
    pub(crate) fn cover(&self, tensor: &str) -> bool {
        self.globs.iter().any(|(_, glob)| covers(glob, tensor))
    }

    /// Holds them against a network's tensors.
    pub(crate) fn check(&self, tensors: &[TensorSpec]) -> Result<(), FrozenError> {
        let names: Vec<&str> = tensors
            .iter()
            .filter(|tensor| matches!(tensor.role, Role::Parameter | Role::Statistic))
            .map(|tensor| tensor.name.as_str())
            .collect();
        if let Some((pattern, _)) =
            self.globs.iter().find(|(_, glob)| !names.iter().any(|name| covers(glob, name)))
        {
            let mut known: Vec<&str> = names.clone();
            known.extend(names.iter().flat_map(|name| layers(name)));
            let near = closest(pattern, known.iter().copied()).map(str::to_owned);
            let near = near.or_else(|| nearest(pattern, &known).map(|(near, _)| near));
            let near = near.or_else(|| names.first().map(|name| (*name).to_owned()));
            return Err(FrozenError::Nothing { pattern: pattern.clone(), near });
        }
        let learns = tensors.iter().any(|tensor| tensor.role == Role::Parameter && !self.cover(&tensor.name));
        if learns { Ok(()) } else { Err(FrozenError::Everything) }
    }

    /// Where they lie in the flat vectors of a network.
    pub(crate) fn places(&self, network: &Network) -> Frozen {
        let weights = network.segments().iter().filter(|segment| self.cover(&segment.name));
        let statistics = network.statistics().filter(|(name, _)| self.cover(name));
        Frozen {
            weights: weights.map(|segment| segment.range()).collect(),
            statistics: statistics.map(|(_, range)| range).collect(),
        }
    }
}

fn covers(glob: &Glob, tensor: &str) -> bool {
    glob.matches(tensor) || layers(tensor).any(|layer| glob.matches(layer))
}

/// `layer1.0.conv1.weight` → `layer1`, `layer1.0`, `layer1.0.conv1`.
fn layers(tensor: &str) -> impl Iterator<Item = &str> {
    tensor.match_indices('.').map(|(at, _)| &tensor[..at])
}

#[cfg(test)]
mod tests {
    use fusion_network::Architecture;
    use serde_json::json;

    use super::*;

    fn tensors() -> Vec<TensorSpec> {
        let arguments = json!({ "inputs": 4, "hidden": [3, 3], "outputs": 2, "norm": "batch" });
        Architecture::parse("mlp", arguments.as_object().unwrap()).unwrap().tensors()
    }

    fn covered(patterns: &[&str]) -> Vec<String> {
        let texts: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let patterns = Patterns::new(&texts).unwrap();
        patterns.check(&tensors()).unwrap();
        tensors().into_iter().map(|tensor| tensor.name).filter(|name| patterns.cover(name)).collect()
    }

    fn refused(patterns: &[&str]) -> FrozenError {
        let texts: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        Patterns::new(&texts).and_then(|patterns| patterns.check(&tensors())).unwrap_err()
    }

    #[test]
    fn a_layer_stands_for_its_tensors_and_a_pattern_for_those_that_match() {
        assert_eq!(covered(&["layers.0"]), ["layers.0.weight", "layers.0.bias"]);
        assert_eq!(covered(&["layers.0.*"]), ["layers.0.weight", "layers.0.bias"]);
        assert_eq!(covered(&["layers.[01].bias", "layers.2"]).len(), 4);
        let norm = covered(&["norms.1"]);
        assert!(
            norm.contains(&"norms.1.running_var".to_owned()) && norm.contains(&"norms.1.weight".to_owned())
        );
        assert_eq!(covered(&["norms.*.running_mean"]).len(), 2);
        assert!(covered(&["layers"]).iter().all(|name| name.starts_with("layers.")));
        assert!(covered(&[]).is_empty());
    }

    #[test]
    fn what_does_not_fit_names_what_would() {
        let near = |pattern: &str| match refused(&[pattern]) {
            FrozenError::Nothing { near, .. } => near.unwrap(),
            other => panic!("{other}"),
        };
        assert_eq!(near("layer.0.weight"), "layers.0.weight");
        assert_eq!(near("layer.0"), "layers.0");
        assert_eq!(near("zzz"), "layers.0.weight");
        // Counters are no tensors that learn.
        assert!(matches!(refused(&["*.num_batches_tracked"]), FrozenError::Nothing { .. }));
        assert_eq!(refused(&["layers", "norms.*"]), FrozenError::Everything);
        assert_eq!(refused(&["**"]), FrozenError::Everything);
        assert!(matches!(refused(&["layers.[0"]), FrozenError::Pattern { .. }));
    }
}
