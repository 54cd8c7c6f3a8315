//! In which way the units of two models differ, in words: names of layers alone do not tell someone whose vocabularies differ what to do.

use std::collections::BTreeMap;

use fusion_sdk::symmetry::{Origin, Symmetries};

use crate::checkpoint::{is_input_embedding, is_output_head};

/// A model's name and its symmetries.
pub(super) type Of<'a> = (&'a str, &'a Symmetries);

/// What is said of a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// One sentence.
    pub(super) message: String,
    /// More of them.
    pub(super) notes: Vec<String>,
    /// What to do.
    pub(super) help: Option<String>,
}

/// How `other` differs from `first` beyond the sizes of its nodes; `None` where it does not.
pub(super) fn difference(first: Of<'_>, other: Of<'_>) -> Option<Difference> {
    let sizes: Vec<usize> = first.1.nodes.iter().map(|node| node.size).collect();
    let names = |of: Of<'_>| -> Vec<String> { of.1.nodes.iter().map(|node| node.name.clone()).collect() };
    let (ours, theirs) = (names(first), names(other));
    let resized = other.1.resized(&sizes);
    let lie = |of: &Symmetries| -> Vec<_> { of.nodes.iter().map(|node| node.parents.clone()).collect() };
    if ours == theirs && resized.tensors == first.1.tensors && lie(other.1) == lie(first.1) {
        return None;
    }
    let mut found = if ours == theirs {
        tensors(first, (other.0, &resized))
    } else {
        layers(first, other, &ours, &theirs)
    };
    if first.1.origin != other.1.origin {
        let from = |of: Of<'_>| format!("those of `{}` {}", of.0, origin(&of.1.origin));
        found.notes.push(format!("which units may change places: {}, {}", from(first), from(other)));
    }
    Some(found)
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Inferred => "are inferred from its network".to_owned(),
        Origin::Template(name) => format!("are known by the names of its tensors ({name})"),
        Origin::Declared => "are declared in a text".to_owned(),
    }
}

/// Other nodes: another depth or kind, or tensors that make units where the other model has none.
fn layers(first: Of<'_>, other: Of<'_>, ours: &[String], theirs: &[String]) -> Difference {
    let message = format!(
        "`{}` has other layers than `{}`: units of networks of different depth or kind cannot be matched",
        other.0, first.0
    );
    let missing = ours.iter().find(|name| !theirs.contains(name));
    let extra = theirs.iter().find(|name| !ours.contains(name));
    let mut notes = Vec::new();
    for (name, word, lacking) in [(missing, "it lacks", other), (extra, "it has besides", first)] {
        let Some(name) = name else { continue };
        notes.push(format!("{word} the units `{name}`"));
        // A template that keeps units where they are says why.
        let kept = lacking.1.notes.iter().filter(|note| note.contains(&format!("`{name}`")));
        notes.extend(kept.map(|note| format!("`{}`: {note}", lacking.0)));
    }
    if missing.is_none() && extra.is_none() {
        notes.push(format!("the units are the same and stand in another order: {}", in_short(theirs)));
    }
    Difference { message, notes, help: None }
}

fn in_short(names: &[String]) -> String {
    fusion_dsl::suggest::list(names.iter().map(String::as_str), 6)
}

/// The same nodes on other tensors.
fn tensors(first: Of<'_>, other: Of<'_>) -> Difference {
    let shapes = |of: &Symmetries| -> BTreeMap<String, Vec<usize>> {
        of.tensors.iter().enumerate().map(|(index, tensor)| (tensor.name.clone(), of.shape(index))).collect()
    };
    let (ours, theirs) = (shapes(first.1), shapes(other.1));
    for (has, lacks, own, not) in [(first.0, other.0, &ours, &theirs), (other.0, first.0, &theirs, &ours)] {
        let only: Vec<&String> = own.keys().filter(|name| !not.contains_key(*name)).collect();
        if let Some(name) = only.first() {
            return one_sided(has, lacks, name, only.len());
        }
    }
    let differs =
        ours.iter().find_map(|(name, own)| Some((name, own, theirs.get(name).filter(|one| *one != own)?)));
    if let Some((name, own, found)) = differs {
        let message = format!("`{name}` is {found:?} in `{}` and {own:?} in `{}`", other.0, first.0);
        return match is_input_embedding(name) || is_output_head(name) {
            true => Difference {
                message: format!("{message}: their vocabularies differ"),
                notes: Vec::new(),
                help: Some(
                    "bring the models to one vocabulary first: cut added tokens off, or pad the embeddings"
                        .to_owned(),
                ),
            },
            false => Difference { message, ..Difference::default() },
        };
    }
    let described = |of: &Symmetries, name: &str| {
        let text = |index: usize| of.dimension_texts(&of.tensors[index]).join(", ");
        of.tensor(name).map(text).unwrap_or_default()
    };
    let other_axes = ours.keys().find(|name| described(first.1, name) != described(other.1, name));
    let message = match other_axes {
        Some(name) => format!(
            "units move otherwise in `{}` than in `{}`: `{name}` is `{}` there and `{}` here",
            other.0,
            first.0,
            described(other.1, name),
            described(first.1, name)
        ),
        None => format!("units lie in each other otherwise in `{}` than in `{}`", other.0, first.0),
    };
    Difference { message, ..Difference::default() }
}

/// Tensors that only one of the models has.
fn one_sided(has: &str, lacks: &str, name: &str, count: usize) -> Difference {
    let more = match count {
        1 => String::new(),
        count => format!(" and {} more tensors of its units", count - 1),
    };
    let message = format!("`{has}` has `{name}`{more}, and `{lacks}` has not");
    let (why, help) = if is_output_head(name) {
        let help =
            format!("give `{lacks}` a head of its own, a copy of its embeddings, or tie that of `{has}`");
        (Some(format!("the head of `{lacks}` is tied to its embeddings, that of `{has}` is not")), Some(help))
    } else if name.ends_with("bias") {
        let help = format!("biases of zero in `{lacks}` would not change it");
        (Some(format!("there are biases in `{has}` where `{lacks}` has none")), Some(help))
    } else {
        (None, None)
    };
    Difference { message, notes: why.into_iter().collect(), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Symmetries {
        Symmetries::parse(text).unwrap()
    }

    const LM: &str = "node s[8] \nnode h[6]\nembed_tokens.weight = pin[32], s\nup.weight = h, reads s\ndown.weight = s, reads h";

    fn said(first: &str, other: &str) -> Option<Difference> {
        difference(("a", &of(first)), ("b", &of(other)))
    }

    #[test]
    fn sizes_alone_are_no_difference() {
        assert_eq!(said(LM, LM), None);
        assert_eq!(said(LM, &LM.replace("h[6]", "h[9]")), None);
    }

    #[test]
    fn vocabularies_heads_and_biases_are_told_apart() {
        let found = said(LM, &LM.replace("pin[32]", "pin[34]")).unwrap();
        assert_eq!(
            found.message,
            "`embed_tokens.weight` is [34, 8] in `b` and [32, 8] in `a`: their vocabularies differ"
        );
        let found = said(&format!("{LM}\nlm_head.weight = pin[32], reads s"), LM).unwrap();
        assert_eq!(found.message, "`a` has `lm_head.weight`, and `b` has not");
        assert!(found.notes[0].contains("`b` is tied"), "{found:?}");
        let found = said(LM, &format!("{LM}\nup.bias = h\ndown.bias = s")).unwrap();
        assert_eq!(found.message, "`b` has `down.bias` and 1 more tensors of its units, and `a` has not");
        assert!(found.notes[0].contains("biases in `b`"), "{found:?}");
    }

    #[test]
    fn other_axes_and_other_layers_are_named() {
        let found = said(LM, &LM.replace("down.weight = s, reads h", "down.weight = s, pin[6]")).unwrap();
        assert!(found.message.contains("`down.weight` is") && found.message.contains("pin[6]"), "{found:?}");
        let deeper = format!("{LM}\nnode k[5]\nmore.weight = k, reads s");
        let found = said(LM, &deeper).unwrap();
        assert_eq!(found.notes, ["it has besides the units `k`"]);
        assert_eq!(said(&deeper, LM).unwrap().notes, ["it lacks the units `k`"]);
    }

    #[test]
    fn where_descriptions_come_from_is_said_if_it_differs() {
        let mut known = of(&LM.replace("pin[32]", "pin[34]"));
        known.origin = Origin::Template("llama".to_owned());
        let found = difference(("a", &of(LM)), ("b", &known)).unwrap();
        assert!(found.notes[0].contains("those of `a` are declared in a text"), "{found:?}");
        assert!(found.notes[0].contains("names of its tensors (llama)"), "{found:?}");
    }
}
