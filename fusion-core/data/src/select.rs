//! Which examples of a source make the data set: classes, shuffle, split, limit, a client's part. It needs no inputs, so the planner
//! can count examples without reading them.

use fusion_sdk::rng::Key;

use crate::draw::{Stream, permutation};
use crate::error::DataError;
use crate::settings::{DataSettings, Partition};

/// What is known of the examples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) name: &'a str,
    pub(crate) len: usize,
    /// `None` where targets are no classes.
    pub(crate) labels: Option<&'a [u32]>,
    pub(crate) classes: usize,
    /// Whether `split` was done before: text is split by characters.
    pub(crate) is_split: bool,
}

/// Whether the selection depends on classes.
pub(crate) fn needs_labels(settings: &DataSettings) -> bool {
    settings.only.is_some() || (settings.clients.is_some() && settings.partition == Partition::Dirichlet)
}

/// The examples that are kept, in order; at least one.
pub(crate) fn select(known: Known<'_>, settings: &DataSettings) -> Result<Vec<usize>, DataError> {
    let empty = |offence: String| DataError::Empty { name: known.name.to_owned(), offence };
    let mut kept: Vec<usize> = (0..known.len).collect();
    if kept.is_empty() {
        return Err(empty("the source has none".into()));
    }
    if let Some(only) = &settings.only {
        let labels = classes_of(known, "only")?;
        if let Some(class) = only.iter().find(|&&class| class as usize >= known.classes) {
            return Err(DataError::setting(
                "only",
                format!("there is no class {class}: `{}` has classes 0 to {}", known.name, known.classes - 1),
            ));
        }
        kept.retain(|&index| only.contains(&labels[index]));
        if kept.is_empty() {
            return Err(empty("`only` names classes without examples".into()));
        }
    }
    if settings.shuffle {
        let order = permutation(Key::new(settings.seed, "shuffle", 0), kept.len());
        kept = order.into_iter().map(|at| kept[at]).collect();
    }
    if let (Some(split), false) = (settings.split, known.is_split) {
        let range = split.of(kept.len());
        if range.is_empty() {
            return Err(empty(format!(
                "`split = {}..{}` of {} holds none",
                split.start,
                split.end,
                kept.len()
            )));
        }
        kept.truncate(range.end);
        kept.drain(..range.start);
    }
    if let Some(limit) = settings.limit {
        kept.truncate(limit);
    }
    let (Some(clients), Some(client)) = (settings.clients, settings.client) else { return Ok(kept) };
    let part = match settings.partition {
        Partition::Iid => random_parts(kept.len(), clients, settings.seed).swap_remove(client),
        Partition::Dirichlet => {
            let labels = classes_of(known, "partition")?;
            let labels: Vec<u32> = kept.iter().map(|&index| labels[index]).collect();
            let alpha = settings.alpha.unwrap_or(0.5);
            dirichlet_parts(&labels, known.classes, clients, alpha, settings.seed).swap_remove(client)
        }
    };
    if part.is_empty() {
        return Err(empty(format!(
            "client {client} of {clients} gets none of {} examples; take fewer clients or a larger `alpha`",
            kept.len()
        )));
    }
    Ok(part.into_iter().map(|at| kept[at]).collect())
}

/// How many examples [`select`] keeps, where that does not depend on classes. It asks for no memory, whatever a header declares.
pub(crate) fn count(known: Known<'_>, settings: &DataSettings) -> Result<usize, DataError> {
    let mut len = known.len;
    if let (Some(split), false) = (settings.split, known.is_split) {
        len = split.of(len).len();
    }
    len = len.min(settings.limit.unwrap_or(usize::MAX));
    if let (Some(clients), Some(client)) = (settings.clients, settings.client) {
        len = part_start(len, clients, client + 1) - part_start(len, clients, client);
    }
    match len {
        0 => Err(DataError::Empty { name: known.name.to_owned(), offence: "the settings leave none".into() }),
        len => Ok(len),
    }
}

/// Where the part of a client begins, of clients that share `n` examples evenly.
fn part_start(n: usize, clients: usize, client: usize) -> usize {
    (client as u128 * n as u128 / clients as u128) as usize
}

fn classes_of<'a>(known: Known<'a>, setting: &str) -> Result<&'a [u32], DataError> {
    known.labels.ok_or_else(|| DataError::setting(setting, format!("`{}` has no classes", known.name)))
}

/// Parts of one size (or two that differ by one), at random.
pub(crate) fn random_parts(n: usize, clients: usize, seed: u64) -> Vec<Vec<usize>> {
    let order = permutation(Key::new(seed, "partition", 0), n);
    let at = |client| part_start(n, clients, client);
    (0..clients)
        .map(|client| {
            let mut part = order[at(client)..at(client + 1)].to_vec();
            part.sort_unstable();
            part
        })
        .collect()
}

/// For each class a mixture p ~ Dir(α) over the clients; its examples, shuffled, are cut at the cumulative sums of p (Yurochkin et al.,
/// 2019; Hsu, Qi and Brown, 2019). Every example is in exactly one part; a part may be empty.
pub(crate) fn dirichlet_parts(
    labels: &[u32],
    classes: usize,
    clients: usize,
    alpha: f64,
    seed: u64,
) -> Vec<Vec<usize>> {
    let mut parts = vec![Vec::new(); clients];
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        if let Some(members) = members.get_mut(label as usize) {
            members.push(index);
        }
    }
    for (class, members) in members.iter().enumerate() {
        let shares = Stream::new(Key::new(seed, "partition shares", class as u64)).dirichlet(alpha, clients);
        let order = permutation(Key::new(seed, "partition order", class as u64), members.len());
        let (mut sum, mut start) = (0.0, 0);
        for (client, (share, part)) in shares.iter().zip(&mut parts).enumerate() {
            sum += share;
            let end = if client + 1 == clients {
                members.len()
            } else {
                ((sum * members.len() as f64 + 0.5) as usize).clamp(start, members.len())
            };
            part.extend(order[start..end].iter().map(|&at| members[at]));
            start = end;
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::settings::Kind;

    fn chosen(labels: &[u32], settings: serde_json::Value) -> Result<Vec<usize>, String> {
        let settings = DataSettings::read(settings.as_object().unwrap(), Kind::Digits).unwrap();
        let known = Known { name: "x", len: labels.len(), labels: Some(labels), classes: 3, is_split: false };
        select(known, &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_apply_in_their_order() {
        let labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0];
        assert_eq!(chosen(&labels, json!({})).unwrap(), (0..10).collect::<Vec<_>>());
        assert_eq!(chosen(&labels, json!({ "only": [2, 0] })).unwrap(), [0, 2, 3, 5, 6, 8, 9]);
        let split = json!({ "start": 0.5, "end": 1.0 });
        assert_eq!(chosen(&labels, json!({ "split": split })).unwrap(), [5, 6, 7, 8, 9]);
        assert_eq!(chosen(&labels, json!({ "only": [0], "split": split })).unwrap(), [6, 9]);
        assert_eq!(chosen(&labels, json!({ "split": split, "limit": 2 })).unwrap(), [5, 6]);
        assert_eq!(chosen(&labels, json!({ "limit": 99 })).unwrap().len(), 10);
        let shuffled = chosen(&labels, json!({ "shuffle": true, "seed": 3 })).unwrap();
        assert_ne!(shuffled, (0..10).collect::<Vec<_>>());
        let halves = ["0 0.5", "0.5 1"].map(|cut| {
            let (start, end) = cut.split_once(' ').unwrap();
            let split = json!({ "start": start.parse::<f64>().unwrap(), "end": end.parse::<f64>().unwrap() });
            chosen(&labels, json!({ "shuffle": true, "seed": 3, "split": split })).unwrap()
        });
        assert_eq!(halves.concat(), shuffled);
    }

    #[test]
    fn nothing_left_is_an_error() {
        assert!(chosen(&[], json!({})).unwrap_err().contains("the source has none"));
        assert!(chosen(&[0, 1], json!({ "only": [2] })).unwrap_err().contains("without examples"));
        assert!(chosen(&[0, 1], json!({ "only": [3] })).unwrap_err().contains("classes 0 to 2"));
        let split = json!({ "start": 0.0, "end": 0.1 });
        assert!(chosen(&[0, 1], json!({ "split": split })).unwrap_err().contains("holds none"));
        assert!(chosen(&[0], json!({ "clients": 2, "client": 0 })).unwrap_err().contains("gets none"));
    }

    proptest! {
        #[test]
        fn counting_agrees_with_selecting(
            n in 1_usize..100, start in 0.0_f64..0.9, limit in 1_usize..50, clients in 1_usize..5, which in 0_usize..5, shuffle in any::<bool>(),
        ) {
            let settings = json!({
                "split": { "start": start, "end": 1.0 }, "limit": limit, "clients": clients, "client": which % clients, "shuffle": shuffle,
            });
            let settings = DataSettings::read(settings.as_object().unwrap(), Kind::Digits).unwrap();
            let known = Known { name: "x", len: n, labels: None, classes: 0, is_split: false };
            prop_assert_eq!(count(known, &settings).ok(), select(known, &settings).ok().map(|kept| kept.len()));
        }

        #[test]
        fn every_example_is_in_exactly_one_part(
            labels in proptest::collection::vec(0_u32..3, 0..200),
            clients in 1_usize..9,
            alpha in 0.01_f64..10.0,
            seed in any::<u64>(),
        ) {
            for parts in [random_parts(labels.len(), clients, seed), dirichlet_parts(&labels, 3, clients, alpha, seed)] {
                prop_assert_eq!(parts.len(), clients);
                let mut all = parts.concat();
                all.sort_unstable();
                prop_assert!(all.into_iter().eq(0..labels.len()));
            }
            let sizes: Vec<usize> = random_parts(labels.len(), clients, seed).iter().map(Vec::len).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }

    /// With a huge α all clients get the mixture of the whole; with a tiny one nearly all of a class goes to one client.
    #[test]
    fn alpha_shapes_the_mixtures() {
        let labels: Vec<u32> = (0..3000).map(|index| index % 3).collect();
        for part in dirichlet_parts(&labels, 3, 10, 1e6, 1) {
            for class in 0..3 {
                let count = part.iter().filter(|&&index| labels[index] == class).count();
                assert!((97..=103).contains(&count), "{count}"); // deviation of 1000·p is 0.3, and rounding
            }
        }
        let parts = dirichlet_parts(&labels, 3, 10, 0.001, 1);
        for class in 0..3 {
            let most = parts.iter().map(|part| part.iter().filter(|&&i| labels[i] == class).count()).max();
            assert!(most.unwrap() > 990, "{most:?}");
        }
    }
}
