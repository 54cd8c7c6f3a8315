//! What is measured between every two models.

use super::models::{counted, predicted};
use super::params::{CkaParams, Layers, MergeableParams, Plain, RunParams};
use super::scores::{Detail, Matrix, Scores, Table};
use super::{Inputs, norm};
use crate::measure::barrier::grid;
use crate::measure::batches::Batches;
use crate::measure::distance::distances;
use crate::measure::forward::Model;
use crate::measure::metric::Metric;
use crate::measure::norm::NormPolicy;
use crate::measure::similarity::similarity;
use crate::measure::{MeasureError, diversity as outputs, mergeable as lines};

/// Distances and cosines, by layer too.
pub(super) fn distance(_: &Plain, inputs: &Inputs<'_>) -> Result<Scores, MeasureError> {
    let models = single(inputs)?;
    let base = inputs.base.map(|base| base.weights);
    let mut scores = Scores::default();
    let (mut apart, mut angles) = (Square::new(&models, 0.0), Square::new(&models, 1.0));
    for (i, a) in models.iter().enumerate() {
        for (j, b) in models.iter().enumerate().skip(i + 1) {
            inputs.run.context.check()?;
            let found = distances(a.weights, b.weights, base, inputs.segments)?;
            let whole = found.whole;
            pair(&mut scores, &models, (i, j), "distance", whole.distance, true);
            pair(&mut scores, &models, (i, j), "cosine", whole.cosine, true);
            apart.set(i, j, whole.distance);
            angles.set(i, j, whole.cosine);
            let row = |name: &str, d: &crate::measure::distance::Distance| {
                (name.to_owned(), vec![d.distance, d.cosine, d.first, d.second])
            };
            let layers = found.layers.iter().map(|layer| row(&layer.layer, &layer.distance));
            let of = if base.is_some() { "change of " } else { "norm of " };
            scores.details.push(Detail::Table(Table {
                title: format!("{} and {}, by layer", a.name, b.name),
                columns: vec![
                    "distance".to_owned(),
                    "cosine".to_owned(),
                    format!("{of}{}", a.name),
                    format!("{of}{}", b.name),
                ],
                rows: std::iter::once(row("all", &whole)).chain(layers).collect(),
            }));
        }
    }
    if models.len() > 2 {
        scores.details.push(apart.detail("distance"));
        scores.details.push(angles.detail("cosine"));
    }
    scores.cost = counted(models.len(), "model");
    Ok(scores)
}

/// Disagreement, divergence and correlation of errors, and the angle of weight changes where there is a base.
pub(super) fn diversity(
    (params, _): &(RunParams, Plain),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let mut scores = Scores::default();
    let found = predicted(params, inputs, &mut scores)?;
    let names: Vec<&str> = inputs.from.iter().map(|subject| subject.name).collect();
    let base = inputs.base.map(|base| base.weights);
    let models = base.map(|_| single(inputs)).transpose()?;
    let mut disagreement = Square::named(&names, 0.0);
    let mut rows = Vec::new();
    let mut sums = [0.0; 4];
    for i in 0..found.len() {
        for j in i + 1..found.len() {
            inputs.run.context.check()?;
            let pair = outputs::diversity(&found[i], &found[j])?;
            disagreement.set(i, j, pair.disagreement);
            let symmetric = 0.5 * (pair.divergence + pair.reverse);
            let own = [pair.disagreement, symmetric, pair.error_correlation, pair.both_wrong];
            sums.iter_mut().zip(own).for_each(|(sum, value)| *sum += value);
            for (a, b, divergence) in [(i, j, pair.divergence), (j, i, pair.reverse)] {
                let mut add =
                    |what: &str, value| scores.add(format!("{}.{}.{what}", names[a], names[b]), value);
                add("disagreement", pair.disagreement);
                add("divergence", divergence);
                add("error_correlation", pair.error_correlation);
                add("both_wrong", pair.both_wrong);
            }
            let mut row = vec![
                pair.disagreement,
                pair.divergence,
                pair.reverse,
                pair.error_correlation,
                pair.both_wrong,
            ];
            if let (Some(base), Some(models)) = (base, &models) {
                let turned = distances(models[i].weights, models[j].weights, Some(base), inputs.segments)?;
                let turned = 1.0 - turned.whole.cosine;
                row.push(turned);
                for (a, b) in [(i, j), (j, i)] {
                    scores.add(format!("{}.{}.weight_diversity", names[a], names[b]), turned);
                }
                if found.len() == 2 {
                    scores.show("weight_diversity", turned);
                }
            }
            rows.push((format!("{}, {}", names[i], names[j]), row));
        }
    }
    // Over all pairs; of two models these are the pair's own.
    for (name, sum) in ["disagreement", "divergence", "error_correlation", "both_wrong"].iter().zip(sums) {
        scores.show(*name, sum / rows.len() as f64);
    }
    let mut columns =
        ["disagreement", "KL(first‖second)", "KL(second‖first)", "correlation of errors", "both wrong"]
            .map(str::to_owned)
            .to_vec();
    if base.is_some() {
        columns.push("1 − cosine of changes".to_owned());
    }
    scores.details.push(Detail::Table(Table { title: "pairs".to_owned(), columns, rows }));
    if names.len() > 2 {
        scores.details.push(disagreement.detail("disagreement"));
    }
    Ok(scores)
}

/// Linear CKA by layer.
pub(super) fn cka(
    (params, own): &(RunParams, CkaParams),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let models = single(inputs)?;
    let data = inputs.only_set()?;
    let data = Batches::first(data.name, data.set, params.batch, own.examples)?;
    let train = inputs.counting(params)?;
    let norm = norm(params, train.as_ref(), Some(NormPolicy::Keep));
    let mut scores = Scores::default();
    for found in similarity(&models, own.layers == Layers::All, &norm, &data, &inputs.run)? {
        let matched: Vec<(&str, f64)> = found.matched().collect();
        let (a, b) = (models[found.first].name, models[found.second].name);
        let mean = matched.iter().map(|(_, value)| value).sum::<f64>() / matched.len() as f64;
        if !matched.is_empty() {
            pair(&mut scores, &models, (found.first, found.second), "cka", mean, true);
        }
        let rows = match own.layers {
            Layers::Matched => {
                matched.iter().map(|(name, value)| ((*name).to_owned(), vec![*value])).collect()
            }
            Layers::All => {
                let row =
                    |values: &[Option<f64>]| values.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
                found.rows.iter().cloned().zip(found.values.chunks(found.columns.len()).map(row)).collect()
            }
        };
        let columns = match own.layers {
            Layers::Matched => vec!["CKA".to_owned()],
            Layers::All => found.columns.clone(),
        };
        let title = format!("CKA of {a} (rows) and {b}");
        scores.details.push(Detail::Table(Table { title, columns, rows }));
    }
    scores.cost = format!("features of {}", counted(models.len(), "model"));
    Ok(scores)
}

/// Barriers on the lines between all pairs.
pub(super) fn mergeable(
    (params, own): &(RunParams, MergeableParams),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let models = single(inputs)?;
    let sets = inputs.sets(params.batch)?;
    let sets: Vec<&Batches<'_>> = sets.iter().collect();
    let train = inputs.counting(params)?;
    let t = grid(own.points)?;
    let found = lines::mergeable(&models, &t, &norm(params, train.as_ref(), None), &sets, &inputs.run)?;

    let mut scores = Scores::default();
    for (set, data) in sets.iter().enumerate() {
        for metric in [Metric::Loss, Metric::Accuracy] {
            let of = |value| found.matrix(set, metric, value);
            let all = [("height", of(|b| b.height)), ("chord", of(|b| b.chord)), ("gap", of(|b| b.gap))];
            for (what, matrix) in all {
                let Some(rows) = matrix else { continue };
                let several = sets.len() > 1;
                let prefix = if several { format!("{}.", data.name()) } else { String::new() };
                let chosen = set == 0 && own.metric.like(metric);
                let mut heights = Vec::new();
                for (i, row) in rows.iter().enumerate() {
                    for (j, value) in row.iter().enumerate().filter(|(j, _)| *j != i) {
                        let names = format!("{}.{}", models[i].name, models[j].name);
                        scores.add(format!("{prefix}{}.{names}.{what}", metric.word()), *value);
                        if chosen {
                            scores.add(format!("{names}.{what}"), *value);
                            heights.push(*value);
                        }
                    }
                }
                if chosen {
                    let mean = heights.iter().sum::<f64>() / heights.len() as f64;
                    scores.show(format!("mean_{what}"), mean);
                    // The worst pair: NaN is worse than any number.
                    let worst = heights.iter().fold(f64::NEG_INFINITY, |worst, &value| {
                        if worst.is_nan() || value.is_nan() { f64::NAN } else { worst.max(value) }
                    });
                    scores.show(format!("worst_{what}"), worst);
                    if models.len() == 2 {
                        scores.add(what, worst);
                    }
                }
                if what != "chord" {
                    let at = if what == "gap" { "at the midpoint" } else { "at the maximum" };
                    scores.details.push(Detail::Matrix(Matrix {
                        title: format!("{} barrier {at}, {}", metric.word(), data.name()),
                        names: found.names.clone(),
                        rows,
                    }));
                }
            }
        }
    }
    if scores.shown.is_empty() {
        return Err(own.metric.missing());
    }
    let points = models.len() + found.pairs.len() * (t.len() - 2);
    scores.cost = format!("{} on {}", counted(points, "point"), counted(sets.len(), "data set"));
    Ok(scores)
}

/// Models that are no ensembles.
fn single<'a>(inputs: &Inputs<'a>) -> Result<Vec<Model<'a>>, MeasureError> {
    let one = |subject: &super::Subject<'a>| match subject.members.as_slice() {
        [model] => Ok(Model { name: subject.name, ..*model }),
        _ => Err(MeasureError::unsuitable(
            format!("`{}` is an ensemble, which has no weights of its own", subject.name),
            "connect its members",
        )),
    };
    inputs.from.iter().map(one).collect()
}

/// A value of a pair under both orders, and under its bare name where there is one pair only.
fn pair(
    scores: &mut Scores,
    models: &[Model<'_>],
    (i, j): (usize, usize),
    what: &str,
    value: f64,
    shown: bool,
) {
    if models.len() == 2 {
        if shown {
            scores.show(what, value);
        } else {
            scores.add(what, value);
        }
    }
    for (a, b) in [(i, j), (j, i)] {
        scores.add(format!("{}.{}.{what}", models[a].name, models[b].name), value);
    }
}

/// A symmetric matrix under construction.
struct Square(Matrix);

impl Square {
    fn new(models: &[Model<'_>], diagonal: f64) -> Self {
        let names: Vec<&str> = models.iter().map(|model| model.name).collect();
        Square::named(&names, diagonal)
    }

    fn named(names: &[&str], diagonal: f64) -> Self {
        let n = names.len();
        let row = |i: usize| (0..n).map(|j| if i == j { diagonal } else { f64::NAN }).collect();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Square(Matrix { title: String::new(), names, rows: (0..n).map(row).collect() })
    }

    fn set(&mut self, i: usize, j: usize, value: f64) {
        self.0.rows[i][j] = value;
        self.0.rows[j][i] = value;
    }

    fn detail(mut self, title: &str) -> Detail {
        self.0.title = title.to_owned();
        Detail::Matrix(self.0)
    }
}
