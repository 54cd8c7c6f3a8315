//! "Did you mean": the nearest of a list of known words.

/// The candidate most like `word`, if one is near enough to be a slip of the keyboard or of memory.
///
/// Near: equal but for case, `-` and `_`; or Damerau-Levenshtein distance at most a third of the longer word (at least 1);
/// or Jaro-Winkler similarity of 0.9 or more. Ties go to the earlier candidate.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let wanted = plain(word);
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let other = plain(candidate);
        let longer = wanted.chars().count().max(other.chars().count());
        // Distances cost the product of the lengths: very long names are compared exactly only.
        let score = if wanted == other {
            2.0
        } else if longer > 200 {
            continue;
        } else {
            let distance = strsim::damerau_levenshtein(&wanted, &other);
            let similar = strsim::jaro_winkler(&wanted, &other);
            if distance > (longer / 3).max(1) && similar < 0.9 || distance >= longer {
                continue;
            }
            similar - distance as f64 * 0.01
        };
        if best.is_none_or(|(old, _)| score > old) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `a`, `b` and `c`: names in back-ticks for a message; at most `most`, then "and N more".
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().take(most).map(|name| format!("`{name}`")).collect();
    let hidden = names.len() - shown.len();
    match (shown.as_slice(), hidden) {
        ([], _) => String::new(),
        (_, 1..) => format!("{} and {hidden} more", shown.join(", ")),
        ([one], 0) => one.clone(),
        ([head @ .., last], 0) => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let words = ["density", "normalize", "weight", "dare_ties"];
        assert_eq!(closest("densty", words), Some("density"));
        assert_eq!(closest("dare-ties", words), Some("dare_ties"));
        assert_eq!(closest("wieght", words), Some("weight"));
        assert_eq!(closest("banana", words), None);
        assert_eq!(closest("", words), None);
        assert_eq!(list(["a", "b", "c"], 5), "`a`, `b` and `c`");
        assert_eq!(list(["a", "b", "c"], 2), "`a`, `b` and 1 more");
    }
}
