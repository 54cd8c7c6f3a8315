use super::*;
use crate::oracle::uniform;
use fusion_sdk::rng::Key;

/// Pearson correlations of columns, two passes.
fn correlations(values: &[f64], width: usize) -> Vec<f64> {
    let rows = values.len() / width;
    let column = |unit: usize| (0..rows).map(move |row| values[row * width + unit]);
    let centred: Vec<Vec<f64>> = (0..width)
        .map(|unit| {
            let mean = column(unit).sum::<f64>() / rows as f64;
            column(unit).map(|value| value - mean).collect()
        })
        .collect();
    let dot = |a: usize, b: usize| centred[a].iter().zip(&centred[b]).map(|(x, y)| x * y).sum::<f64>();
    let all = (0..width * width).map(|at| (at / width, at % width));
    all.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).collect()
}

/// Oracle O10 of the reference notes: correlations of T(64, [20, 12]), two models of 6 units, half of all units left.
#[test]
fn clusters_and_first_merges_are_those_of_the_reference() {
    let similarity = correlations(&uniform(64, 240), 12);
    let models = [0..6, 6..12];
    let rules = |alpha, budgets| Rules { models: &models, target: 6, alpha, budgets };
    let pairs = vec![vec![0, 10], vec![1, 8], vec![2, 9], vec![3, 11], vec![4, 7], vec![5, 6]];
    // b = .5: int(3 · .5) = 1 pair of one model; b = .075: none.
    for (alpha, budgets) in [(0.3, &[1, 1]), (1e-4, &[0, 0])] {
        let found = merge(similarity.clone(), &rules(alpha, budgets)).unwrap();
        assert_eq!(found.clusters, pairs);
    }
    let first = merge(similarity.clone(), &rules(0.3, &[1, 1])).unwrap();
    let wanted = [
        (2, 9, 0.384_389_022),
        (1, 8, 0.353_427_459),
        (5, 6, 0.314_475_367),
        (0, 7, 0.230_023_424),
        (4, 6, 0.143_836_230),
    ];
    for ((i, j, value), (wanted_i, wanted_j, wanted)) in first.merges.iter().zip(wanted) {
        assert_eq!((*i, *j), (wanted_i, wanted_j));
        assert!((value - wanted).abs() < 1e-9, "{value}");
    }
    let loose = merge(similarity, &rules(1.0, &[3, 3])).unwrap();
    let wanted = vec![vec![0, 10], vec![1, 3, 8], vec![2, 9], vec![4, 7], vec![5, 6], vec![11]];
    assert_eq!(loose.clusters, wanted);
}

/// The reference's loop, which looks at every pair each time.
fn slowly(similarity: &[f64], rules: &Rules<'_>) -> Option<Merged> {
    let n = rules.models.last().map_or(0, |last| last.end);
    let mut columns: Vec<Vec<usize>> = (0..n).map(|unit| vec![unit]).collect();
    let mut origin: Vec<usize> =
        (0..n).map(|unit| rules.models.iter().position(|units| units.contains(&unit)).unwrap()).collect();
    let mut s: Vec<Vec<f64>> = similarity.chunks(n).map(<[f64]>::to_vec).collect();
    let forbid = |s: &mut Vec<Vec<f64>>, origin: &[usize], model: usize| {
        for i in 0..s.len() {
            for j in 0..s.len() {
                if origin[i] == model && origin[j] == model {
                    s[i][j] = f64::NEG_INFINITY;
                }
            }
        }
    };
    let mut budgets = rules.budgets.to_vec();
    for (model, budget) in budgets.iter().enumerate() {
        if *budget == 0 {
            forbid(&mut s, &origin, model);
        }
    }
    let mut merged = Merged::default();
    while columns.len() > rules.target {
        let mut most = (0, 0, f64::NEG_INFINITY);
        for (i, row) in s.iter().enumerate() {
            for (j, value) in row.iter().enumerate().skip(i + 1) {
                if *value > most.2 {
                    most = (i, j, *value);
                }
            }
        }
        let (i, j, value) = most;
        if value == f64::NEG_INFINITY {
            return None;
        }
        merged.merges.push(most);
        for other in (0..s.len()).filter(|other| *other != i && *other != j) {
            let value = s[other][i].min(s[other][j]) * rules.alpha;
            (s[other][i], s[i][other]) = (value, value);
        }
        s.remove(j);
        for row in &mut s {
            row.remove(j);
        }
        let units = columns.remove(j);
        columns[i].extend(units);
        let other = origin.remove(j);
        if other == origin[i] {
            budgets[other] -= 1;
            if budgets[other] == 0 {
                forbid(&mut s, &origin, other);
            }
        }
    }
    columns.iter_mut().for_each(|column| column.sort_unstable());
    merged.clusters = columns;
    Some(merged)
}

/// Similarities in tenths: ties everywhere.
#[test]
fn kept_maxima_give_the_same_as_looking_at_all_pairs() {
    let mut stuck = 0;
    for case in 0..60 {
        let key = Key::new(case, "zip", 0);
        let sizes: Vec<usize> =
            (0..1 + case as usize % 3).map(|at| 3 + key.bits(at as u64) as usize % 9).collect();
        let mut models = Vec::new();
        let mut n = 0;
        for size in sizes {
            models.push(n..n + size);
            n += size;
        }
        let mut similarity = vec![0.0; n * n];
        for i in 0..n {
            for j in i..n {
                let value = f64::from(key.bits((100 + i * n + j) as u64) % 21) / 10.0 - 1.0;
                (similarity[i * n + j], similarity[j * n + i]) = (value, value);
            }
        }
        let budgets: Vec<usize> = (0..models.len()).map(|at| key.bits(52 + at as u64) as usize % 4).collect();
        let rules = Rules {
            models: &models,
            target: 1 + key.bits(50) as usize % n,
            alpha: [1.0, 0.5, 1e-4][key.bits(51) as usize % 3],
            budgets: &budgets,
        };
        let found = merge(similarity.clone(), &rules);
        stuck += usize::from(found.is_none());
        assert_eq!(found, slowly(&similarity, &rules), "case {case}");
    }
    assert!((1..60).contains(&stuck));
}

#[test]
fn a_factor_of_zero_merges_a_unit_once() {
    let one = |target| {
        let models = std::slice::from_ref(&(0..4));
        let rules = Rules { models, target, alpha: 0.0, budgets: &[9] };
        merge(vec![0.5; 16], &rules)
    };
    assert_eq!(one(2).unwrap().clusters, [vec![0, 1], vec![2, 3]]);
    assert_eq!(one(1), None);
    assert_eq!(
        merge(Vec::new(), &Rules { models: &[], target: 0, alpha: 1.0, budgets: &[] })
            .unwrap()
            .clusters
            .len(),
        0
    );
}
