//! Metrics of models and ensembles on one data set.

use super::methods::Kind;
use super::params::{EceParams, Plain, RunParams};
use super::scores::{Detail, Scores, Table};
use super::{Inputs, norm};
use crate::measure::calibration::calibration;
use crate::measure::ensemble::soft_vote;
use crate::measure::evaluate::{predictions, scores as evaluated};
use crate::measure::forward::{Model, unique};
use crate::measure::metrics::brier as quadratic;
use crate::measure::norm::NormPolicy;
use crate::measure::{MeasureError, Predictions, per_class as classes};

/// The Brier score of each subject's predictions.
pub(super) fn brier((params, _): &(RunParams, Plain), inputs: &Inputs<'_>) -> Result<Scores, MeasureError> {
    let mut scores = Scores::default();
    for (subject, found) in inputs.from.iter().zip(predicted(params, inputs, &mut scores)?) {
        main(&mut scores, inputs, subject.name, Kind::Brier.id(), quadratic(&found));
    }
    Ok(scores)
}

/// What follows from loss and accuracy, without keeping any output.
pub(super) fn mean(
    kind: Kind,
    (params, _): &(RunParams, Plain),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let data = inputs.one_set(params.batch)?;
    let train = inputs.counting(params)?;
    let norm = norm(params, train.as_ref(), Some(NormPolicy::Keep));
    let members: Vec<&[Model<'_>]> = inputs.from.iter().map(|subject| subject.members.as_slice()).collect();
    let mut scores = Scores::default();
    scores.cost = cost(&members, inputs);
    for (subject, score) in inputs.from.iter().zip(evaluated(&members, &norm, &data, &inputs.run)?) {
        // A regression has a loss and no probabilities.
        let of_classes = |value: f64| score.accuracy.map(|_| value);
        let value = match kind {
            Kind::Accuracy => score.accuracy,
            Kind::CrossEntropy => of_classes(score.loss),
            Kind::Perplexity => of_classes(score.loss.exp()),
            _ => Some(score.loss),
        };
        let value = value.ok_or_else(|| {
            MeasureError::unsuitable(
                format!("`{}` has numbers for targets, which have no `{}`", data.name(), kind.id()),
                "measure `loss` on it, the mean squared error",
            )
        })?;
        main(&mut scores, inputs, subject.name, kind.id(), value);
        unusable(&mut scores, subject.name, score.invalid, score.examples);
    }
    Ok(scores)
}

/// Calibration error with its bins.
pub(super) fn ece(
    (params, own): &(RunParams, EceParams),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let mut scores = Scores::default();
    for (subject, found) in inputs.from.iter().zip(predicted(params, inputs, &mut scores)?) {
        let calibration = calibration(&found, own.bins)?;
        main(&mut scores, inputs, subject.name, Kind::Ece.id(), calibration.ece);
        further(&mut scores, inputs, subject.name, "mce", calibration.mce);
        scores.details.push(Detail::Reliability { title: subject.name.to_owned(), calibration });
    }
    Ok(scores)
}

/// Precision, recall, F1, support and confusion.
pub(super) fn per_class(
    (params, _): &(RunParams, Plain),
    inputs: &Inputs<'_>,
) -> Result<Scores, MeasureError> {
    let mut scores = Scores::default();
    let found = predicted(params, inputs, &mut scores)?;
    let named = inputs.data[0].set.class_names();
    for (subject, found) in inputs.from.iter().zip(found) {
        let table = classes::per_class(&found);
        let name = |class: usize| named.get(class).cloned().unwrap_or_else(|| class.to_string());
        main(&mut scores, inputs, subject.name, "balanced_accuracy", table.balanced_accuracy);
        further(&mut scores, inputs, subject.name, "macro_f1", table.macro_f1);
        let recalls = table.classes.iter().map(|class| class.recall).filter(|recall| !recall.is_nan());
        further(&mut scores, inputs, subject.name, "worst_recall", recalls.fold(f64::NAN, f64::min));
        let rows = table.classes.iter().enumerate();
        scores.details.push(Detail::Table(Table {
            title: format!("{}: by class", subject.name),
            columns: ["precision", "recall", "F1", "examples"].map(str::to_owned).to_vec(),
            rows: rows
                .map(|(class, s)| (name(class), vec![s.precision, s.recall, s.f1, s.support as f64]))
                .collect(),
        }));
        // A table of classes by classes is for people; a vocabulary is not.
        if found.classes() <= 100 {
            let rows = table.confusion.iter().enumerate();
            scores.details.push(Detail::Table(Table {
                title: format!("{}: classes (rows) and what they are taken for (columns)", subject.name),
                columns: (0..found.classes()).map(name).collect(),
                rows: rows
                    .map(|(class, row)| (name(class), row.iter().map(|&n| n as f64).collect()))
                    .collect(),
            }));
        }
    }
    Ok(scores)
}

/// The subjects' predictions; a member of several is asked once. Says what is not usable.
pub(super) fn predicted(
    params: &RunParams,
    inputs: &Inputs<'_>,
    scores: &mut Scores,
) -> Result<Vec<Predictions>, MeasureError> {
    let data = inputs.one_set(params.batch)?;
    let train = inputs.counting(params)?;
    let norm = norm(params, train.as_ref(), Some(NormPolicy::Keep));
    let members: Vec<&[Model<'_>]> = inputs.from.iter().map(|subject| subject.members.as_slice()).collect();
    let (models, places) = unique(&members);
    let found = predictions(&models, &norm, &data, &inputs.run)?;
    let mut out = Vec::with_capacity(inputs.from.len());
    for (subject, places) in inputs.from.iter().zip(&places) {
        let members: Vec<&Predictions> = places.iter().map(|&place| &found[place]).collect();
        let one = match members.as_slice() {
            [member] => (*member).clone(),
            _ => soft_vote(&members)?,
        };
        unusable(scores, subject.name, one.invalid() as u64, one.len() as u64);
        out.push(one);
    }
    scores.cost = cost(&members, inputs);
    Ok(out)
}

/// The value of a subject under its own name, and under the metric's where it is the only one.
fn main(scores: &mut Scores, inputs: &Inputs<'_>, subject: &str, metric: &str, value: f64) {
    scores.show(subject, value);
    further(scores, inputs, subject, metric, value);
}

/// A value `subject.metric`, and `metric` where there is only one subject.
fn further(scores: &mut Scores, inputs: &Inputs<'_>, subject: &str, metric: &str, value: f64) {
    scores.add(format!("{subject}.{metric}"), value);
    if inputs.from.len() == 1 {
        scores.add(metric, value);
    }
}

fn unusable(scores: &mut Scores, name: &str, invalid: u64, examples: u64) {
    if invalid > 0 {
        scores.add(format!("{name}.invalid"), invalid as f64);
        scores.notes.push(format!(
            "`{name}` has no usable output (NaN or infinity) for {invalid} of {examples} examples"
        ));
    }
}

fn cost(members: &[&[Model<'_>]], inputs: &Inputs<'_>) -> String {
    let examples = inputs.data.first().map_or(0, |data| data.set.len());
    format!("{} on {examples} examples", counted(unique(members).0.len(), "model"))
}

/// `1 model`, `3 models`.
pub(super) fn counted(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        _ => format!("{n} {what}s"),
    }
}
