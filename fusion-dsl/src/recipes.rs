//! Names of the literature that are no methods but recipes of several: who asks for one is shown the recipe.

/// Names, and what makes them up.
const RECIPES: [(&str, &str); 2] = [
    (
        "fedma",
        "`fedma` is a recipe: `pfnm` layer by layer, with trainings in between; see examples/survey/align/x-al7-fedma.fusion",
    ),
    (
        "neuron_alignment",
        "`neuron_alignment` is a recipe: `align c using activation_matching { reference a; from b; … }`, then `connect … using bezier { between a and c; … }`",
    ),
];

/// What to say of a name that is no method but a recipe: `fedma`. Case, `-` and `_` make no difference.
pub fn recipe(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    RECIPES.iter().find(|(known, _)| plain(known) == plain(name)).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_written() {
        assert!(recipe("FedMA").is_some_and(|text| text.contains("`pfnm`")));
        assert!(recipe("neuron-alignment").is_some());
        assert_eq!(recipe("pfnm"), None);
    }
}
