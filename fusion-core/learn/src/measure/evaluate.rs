//! Models on data: predictions and scores, batch by batch on several threads, added up in the order of the batches.

use std::borrow::Cow;

use fusion_sdk::batch::{Batch, Targets};

use crate::measure::batches::Batches;
use crate::measure::ensemble::vote;
use crate::measure::forward::{Forward, Model, unique};
use crate::measure::metrics::{Score, Totals, width};
use crate::measure::norm::NormSource;
use crate::measure::workers::Run;
use crate::measure::{MeasureError, Predictions};

/// Weights with the statistics that they are measured with (`None`: those of each batch).
#[derive(Clone, Copy)]
pub(crate) struct Point<'a> {
    pub weights: &'a [f32],
    pub statistics: Option<&'a [f32]>,
}

/// The model's statistics under a policy: with `keep` its own. Counted once, on the calling thread's turn.
fn settle(
    model: &Model<'_>,
    norm: &NormSource<'_>,
    network: &mut dyn Forward,
) -> Result<Option<Vec<f32>>, MeasureError> {
    norm.statistics(network, model.weights, || model.own_statistics().map(<[f32]>::to_vec))
}

/// The models' statistics, side by side.
fn settled(
    models: &[Model<'_>],
    norm: &NormSource<'_>,
    run: &Run<'_>,
) -> Result<Vec<Option<Vec<f32>>>, MeasureError> {
    run.each(
        "statistics",
        models.len(),
        || Ok(()),
        |(), index| settle(&models[index], norm, &mut *models[index].build()?),
    )
}

/// A thread's networks, each built when it is first needed.
struct Networks<'a> {
    models: &'a [Model<'a>],
    built: Vec<Option<Box<dyn Forward>>>,
}

impl<'a> Networks<'a> {
    fn new(models: &'a [Model<'a>]) -> Self {
        Networks { models, built: models.iter().map(|_| None).collect() }
    }

    fn get(&mut self, index: usize) -> Result<&mut dyn Forward, MeasureError> {
        match &mut self.built[index] {
            Some(network) => Ok(&mut **network),
            empty => Ok(&mut **empty.insert(self.models[index].build()?)),
        }
    }
}

/// One job for each model and batch; results by model, then batch.
pub(crate) fn on_batches<T: Send>(
    models: &[Model<'_>],
    norm: &NormSource<'_>,
    data: &Batches<'_>,
    run: &Run<'_>,
    body: impl Fn(&mut dyn Forward, Point<'_>, &Batch) -> Result<T, MeasureError> + Sync,
) -> Result<Vec<Vec<T>>, MeasureError> {
    let statistics = settled(models, norm, run)?;
    let batches = data.count();
    let make = || Ok(Networks::new(models));
    let all = run.each(data.name(), models.len() * batches, make, |networks, job| {
        let (index, batch) = (job / batches, data.get(job % batches)?);
        let point = Point { weights: models[index].weights, statistics: statistics[index].as_deref() };
        body(networks.get(index)?, point, &batch)
    })?;
    let mut all = all.into_iter();
    Ok(models.iter().map(|_| all.by_ref().take(batches).collect()).collect())
}

/// What each model says of `data`, in the order of the batches. Every network is built once on each thread that needs it.
///
/// # Errors
/// The data has no classes, a model does not fit its network or the data, a network fails, or the user asked to stop.
pub fn predictions(
    models: &[Model<'_>],
    norm: &NormSource<'_>,
    data: &Batches<'_>,
    run: &Run<'_>,
) -> Result<Vec<Predictions>, MeasureError> {
    let parts = on_batches(models, norm, data, run, |network, point, batch| {
        let labels = classes(&batch.targets)?;
        let outputs = network.outputs(point.weights, point.statistics, batch)?;
        Ok((width(outputs.len(), labels.len())?, outputs, labels.to_vec()))
    })?;
    let whole = |parts: Vec<(usize, Vec<f32>, Vec<u32>)>| {
        let classes = parts.first().map_or(0, |(classes, ..)| *classes);
        let examples = parts.iter().map(|(.., labels)| labels.len()).sum();
        let mut scores = Vec::with_capacity(examples * classes);
        let mut labels = Vec::with_capacity(examples);
        for (_, outputs, targets) in parts {
            scores.extend(outputs);
            labels.extend(targets);
        }
        Predictions::from_logits(classes, scores, labels)
    };
    parts.into_iter().map(whole).collect()
}

/// Loss and accuracy of each subject on `data`: a model, or several whose probabilities (outputs, for a regression) are averaged.
/// Regressions have a loss only. Outputs are not kept, so any vocabulary will do; a model of several subjects is asked once.
///
/// # Errors
/// As [`predictions`]; the data may have numbers for targets.
pub fn scores(
    subjects: &[&[Model<'_>]],
    norm: &NormSource<'_>,
    data: &Batches<'_>,
    run: &Run<'_>,
) -> Result<Vec<Score>, MeasureError> {
    if subjects.iter().any(|members| members.is_empty()) {
        return Err(MeasureError::empty("the ensemble"));
    }
    let (models, places) = unique(subjects);
    let statistics = settled(&models, norm, run)?;
    let make = || Ok(Networks::new(&models));
    let parts = run.each(data.name(), data.count(), make, |networks, index| {
        let batch = data.get(index)?;
        let mut outputs = Vec::with_capacity(models.len());
        for (index, (model, statistics)) in models.iter().zip(&statistics).enumerate() {
            run.context.check()?;
            outputs.push(networks.get(index)?.outputs(model.weights, statistics.as_deref(), &batch)?);
        }
        let of = |places: &Vec<usize>| {
            let members: Vec<&[f32]> = places.iter().map(|&place| outputs[place].as_slice()).collect();
            Totals::of(&mixed(&members, &batch.targets)?, &batch.targets)
        };
        places.iter().map(of).collect::<Result<Vec<Totals>, _>>()
    })?;
    let of = |subject: usize| parts.iter().map(|part| part[subject]).fold(Totals::default(), Totals::plus);
    Ok((0..subjects.len()).map(|subject| of(subject).score()).collect())
}

/// The output of an ensemble: logarithms of the mean probabilities, or the mean of numbers. One member speaks for itself.
fn mixed<'a>(members: &[&'a [f32]], targets: &Targets) -> Result<Cow<'a, [f32]>, MeasureError> {
    if let [alone] = members {
        return Ok(Cow::Borrowed(alone));
    }
    for member in members {
        MeasureError::length("outputs of an ensemble's member", members[0].len(), member.len())?;
    }
    let mut out = Vec::with_capacity(members[0].len());
    match targets {
        Targets::Classes(labels) => vote(width(members[0].len(), labels.len())?, members, &mut out),
        _ => mean(members, &mut out),
    }
    Ok(Cow::Owned(out))
}

/// Scores of several points of one network and of the ensemble of their outputs, in one pass over the data on the calling thread.
/// The last score is the ensemble's.
pub(crate) fn ensemble_score(
    network: &mut dyn Forward,
    points: &[Point<'_>],
    data: &Batches<'_>,
    run: &Run<'_>,
) -> Result<Vec<Score>, MeasureError> {
    let mut totals = vec![Totals::default(); points.len() + 1];
    for index in 0..data.count() {
        run.context.check()?;
        let batch = data.get(index)?;
        let mut outputs = Vec::with_capacity(points.len());
        for (total, point) in totals.iter_mut().zip(points) {
            let own = network.outputs(point.weights, point.statistics, &batch)?;
            *total = total.plus(Totals::of(&own, &batch.targets)?);
            outputs.push(own);
        }
        let members: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        let voted = Totals::of(&mixed(&members, &batch.targets)?, &batch.targets)?;
        totals[points.len()] = totals[points.len()].plus(voted);
    }
    Ok(totals.into_iter().map(Totals::score).collect())
}

/// Score of one point in one pass over the data on the calling thread.
pub(crate) fn score(
    network: &mut dyn Forward,
    point: Point<'_>,
    data: &Batches<'_>,
    run: &Run<'_>,
) -> Result<Score, MeasureError> {
    let mut totals = Totals::default();
    for index in 0..data.count() {
        run.context.check()?;
        let batch = data.get(index)?;
        let outputs = network.outputs(point.weights, point.statistics, &batch)?;
        totals = totals.plus(Totals::of(&outputs, &batch.targets)?);
    }
    Ok(totals.score())
}

fn mean(members: &[&[f32]], out: &mut Vec<f32>) {
    let at = |index: usize| members.iter().map(|member| f64::from(member[index])).sum::<f64>();
    out.extend((0..members[0].len()).map(|index| (at(index) / members.len() as f64) as f32));
}

/// The labels of a classification.
pub(crate) fn classes(targets: &Targets) -> Result<&[u32], MeasureError> {
    match targets {
        Targets::Classes(labels) => Ok(labels),
        Targets::Soft { .. } | Targets::Numbers { .. } => Err(MeasureError::unsuitable(
            "the data has no classes to predict",
            "measure `loss` on numbers, and anything on data whose examples have one class each",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::ensemble::soft_vote;
    use crate::measure::metrics::{accuracy, cross_entropy};
    use crate::measure::norm::NormPolicy;
    use crate::measure::toy::{Examples, batches, normed, run, threshold};

    fn model<'a>(name: &'a str, weights: &'a [f32]) -> Model<'a> {
        Model { name, network: &threshold, weights, statistics: &[] }
    }

    /// Threshold x ≥ 1 on x = 0, 1, 2, 3 with labels 1, 0, 0, 1: three right. The same whatever the batches and the threads.
    #[test]
    fn predictions_do_not_depend_on_batches_and_threads() {
        let source = Examples::classes(&[0.0, 1.0, 2.0, 3.0], &[1, 0, 0, 1]);
        let models = [model("a", &[1.0, -1.0]), model("b", &[0.0, 0.0])];
        let mut first = None;
        for (size, threads) in [(1, 1), (3, 2), (4, 8)] {
            let data = batches(&source, size);
            let found = predictions(&models, &NormSource::KEEP, &data, &run(threads)).expect("fits");
            assert_eq!(found.iter().map(accuracy).collect::<Vec<_>>(), [0.75, 0.5]);
            assert_eq!(found[0].scores(), [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0]);
            let subjects: [&[Model<'_>]; 3] = [&models[..1], &models[1..], &models];
            let sums = scores(&subjects, &NormSource::KEEP, &data, &run(threads)).expect("fits");
            assert_eq!(sums[1].accuracy, Some(0.5));
            let vote = soft_vote(&[&found[0], &found[1]]).expect("fits");
            assert!((sums[2].loss - cross_entropy(&vote)).abs() < 1e-15);
            assert!((sums[0].loss - cross_entropy(&found[0])).abs() < 1e-15);
            assert_eq!(*first.get_or_insert(found.clone()), found);
        }
    }

    /// The vote of p = σ(±1) on both sides is ½ everywhere: ln 2.
    #[test]
    fn the_ensemble_is_scored_beside_its_members() {
        let source = Examples::classes(&[1.0, 1.0, 1.0], &[0, 0, 1]);
        let (up, down): (&[f32], &[f32]) = (&[0.0, 1.0], &[0.0, -1.0]);
        let points = [up, down].map(|weights| Point { weights, statistics: Some(&[]) });
        let mut network = threshold().expect("a toy");
        let found = ensemble_score(&mut *network, &points, &batches(&source, 2), &run(1)).expect("fits");
        let softplus = |x: f64| x.exp().ln_1p();
        assert!((found[0].loss - (2.0 * softplus(-1.0) + softplus(1.0)) / 3.0).abs() < 1e-12);
        // ln ½ as f32.
        assert!((found[2].loss - 2_f64.ln()).abs() < 1e-7);
        assert_eq!((found[0].accuracy, found[1].accuracy), (Some(2.0 / 3.0), Some(1.0 / 3.0)));
    }

    #[test]
    fn what_does_not_fit_names_the_model() {
        let source = Examples::classes(&[0.0, 1.0], &[0, 1]);
        let data = batches(&source, 2);
        let of = |model: Model<'_>| {
            scores(&[&[model]], &NormSource::KEEP, &data, &run(2)).unwrap_err().to_string()
        };
        assert_eq!(of(model("chat", &[1.0])), "weights of `chat`: 2 values are needed, 1 are there");
        let bare = Model { network: &normed, statistics: &[], ..model("bare", &[1.0]) };
        assert!(of(bare).starts_with("`bare` has BatchNorm and no running statistics"), "{}", of(bare));
        let short = Model { network: &normed, statistics: &[1.0], ..model("short", &[1.0]) };
        assert_eq!(of(short), "running statistics of `short`: 2 values are needed, 1 are there");
        // Those of the batch need none.
        let batch = NormSource { policy: Some(NormPolicy::Batch), ..NormSource::KEEP };
        let numbers = Examples::numbers(&[1.0, 3.0], 0.0);
        let found = scores(&[&[bare]], &batch, &batches(&numbers, 2), &run(1)).expect("no statistics needed");
        assert!((found[0].loss - 0.5).abs() < 1e-6);
        // Class 2 has no output.
        let source = Examples::classes(&[0.0], &[2]);
        let data = batches(&source, 2);
        let found = predictions(&[model("a", &[1.0, 0.0])], &NormSource::KEEP, &data, &run(1));
        assert!(matches!(found, Err(MeasureError::Label { label: 2, classes: 2, .. })));
        // Numbers have a loss and no predictions.
        let source = Examples::numbers(&[1.0], 0.0);
        let data = batches(&source, 2);
        let normed = [Model { network: &normed, statistics: &[1.0, 4.0], ..model("n", &[3.0]) }];
        assert!(predictions(&normed, &NormSource::KEEP, &data, &run(1)).is_err());
        let half = [Model { weights: &[2.0], ..normed[0] }, normed[0]];
        let found = scores(&[&normed, &half], &NormSource::KEEP, &data, &run(1)).expect("a loss");
        assert_eq!((found[0].loss, found[0].accuracy), (1.0, None));
        // (½ + 1)/2 squared.
        assert_eq!(found[1].loss, 0.5625);
        assert!(scores(&[&[]], &NormSource::KEEP, &data, &run(1)).is_err());
    }
}
