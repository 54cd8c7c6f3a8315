//! The loop.

mod begin;
mod note;

use std::sync::Arc;
use std::time::Instant;

use fusion_network::Flat;
use fusion_sdk::optim::{clip_norm, clip_value};
use fusion_sdk::{MethodError, stats};

use crate::record::{Collect, Recorder, Seen};

use super::checkpoint::{self, Resume};
use super::error::TrainError;
use super::frozen::{Frozen, Held};
use super::gradients::{Gradients, StepLoss};
use super::history::{History, Meter};
use super::params::TrainParams;
use super::replicas::{Linked, Replica, mean, share_gradients};
use super::timeline::Timeline;
use super::watch::Watch;
use super::workers::Workers;

pub use begin::check;

/// What the loop is told beside what it trains.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The settings.
    pub params: &'a TrainParams,
    /// What is recorded.
    pub collects: &'a [Collect],
    /// What does not learn: [`TrainParams`]' `frozen` as places, which only who knows the network can tell.
    pub frozen: &'a Frozen,
    /// Whether [`Gradients::validate`] gives a score.
    pub validated: bool,
    /// Names the run in checkpoints, beside its settings: everything else that its result depends on, such as the seed.
    pub identity: &'a str,
    /// Where checkpoints go, if the run may be interrupted.
    pub resume: Option<&'a Resume>,
    /// Who watches.
    pub watch: &'a dyn Watch,
}

/// What a training gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The result: the weights after the last step, or with `early_stopping` those of the best validation; of several replicas what their
    /// link makes of them.
    pub last: Flat,
    /// Each replica's own weights at the end, where there are several.
    pub members: Vec<Flat>,
    /// Models by the name of their `collect` clause, in the order of the clauses.
    pub collected: Vec<(String, Vec<Flat>)>,
    /// The course of the training.
    pub history: History,
    /// Steps done: what BatchNorm's counters have counted.
    pub steps: u64,
    /// Whether it ended before its time.
    pub stopped_early: bool,
}

/// The lowest validation loss so far.
pub(crate) struct Best {
    pub loss: f64,
    pub done: u64,
    pub flat: Flat,
}

/// All that changes from step to step: what a checkpoint holds.
pub(crate) struct State {
    pub done: u64,
    pub replicas: Vec<Replica>,
    pub linked: Linked,
    pub recorders: Vec<Box<dyn Recorder>>,
    pub history: History,
    /// Since the last point and the last epoch.
    pub point: Meter,
    pub epoch: Meter,
    pub best: Option<Best>,
    pub stopped_early: bool,
}

/// Trains: takes the steps of the whole time, or those that are left where [`Setup::resume`] has a checkpoint of the same training.
///
/// One learner makes one replica; there must be [`TrainParams::replicas`]. All start from `start`.
///
/// # Errors
/// Settings that do not fit together, a loss that is not finite, the user's wish to stop, the learners' own errors, files.
pub fn run<G: Gradients + Send>(
    learners: &mut [G],
    start: &Flat,
    setup: &Setup<'_>,
) -> Result<Trained, TrainError> {
    let mut session = Session::new(learners, start, setup)?;
    while session.state.done < session.timeline.total() && !session.state.stopped_early {
        if setup.watch.cancelled() {
            return Err(session.cancelled());
        }
        session.step(learners)?;
    }
    session.finish()
}

struct Session<'a> {
    setup: &'a Setup<'a>,
    timeline: Timeline,
    state: State,
    identity: String,
    validate_every: Option<u64>,
    patience: Option<u64>,
    stride: u64,
    workers: Workers,
    held: Arc<Held>,
    /// The replicas' mean, for those who look at it; not used for one.
    mean: Flat,
    /// Since the last report.
    report: Meter,
    reported: Instant,
    saved: Instant,
}

impl<'a> Session<'a> {
    fn step<G: Gradients + Send>(&mut self, learners: &mut [G]) -> Result<(), TrainError> {
        let begun = Instant::now();
        let step = self.state.done;
        let rate = self.timeline.rate(step);
        self.update(learners, step, rate)?;
        self.state.done += 1;
        self.state.linked.exchange(self.state.done, &mut self.state.replicas);
        self.state.replicas.iter_mut().for_each(|replica| self.held.restore(replica));
        self.record();
        let seconds = begun.elapsed().as_secs_f64();
        for meter in [&mut self.state.point, &mut self.state.epoch, &mut self.report] {
            meter.seconds += seconds;
        }
        self.state.history.seconds += seconds;
        self.validate(learners)?;
        self.note(rate);
        self.checkpoint()
    }

    /// Gradients and updates of all replicas.
    fn update<G: Gradients + Send>(
        &mut self,
        learners: &mut [G],
        step: u64,
        rate: f64,
    ) -> Result<(), TrainError> {
        let (common, held) = (&self.setup.params.common, Arc::clone(&self.held));
        let advance = |replica: &mut Replica| {
            held.still(&mut replica.gradient);
            if let Some(max) = common.clip_value {
                clip_value(&mut replica.gradient, max as f32);
            }
            if let Some(max) = common.clip {
                clip_norm(&mut replica.gradient, max);
            }
            replica.optimizer.step(rate, &mut replica.weights, &replica.gradient);
            held.restore(replica);
        };
        if let ([learner], [replica]) = (&mut *learners, &mut self.state.replicas[..]) {
            let Replica { weights, statistics, gradient, .. } = &mut *replica;
            let found = learner.gradient(step, weights, statistics, gradient)?;
            advance(replica);
            return self.count(step, rate, &found);
        }
        let shared = self.state.linked.shares_gradient(step);
        let found = self.workers.each(learners, &mut self.state.replicas, |learner, replica| {
            let Replica { weights, statistics, gradient, .. } = &mut *replica;
            let found = learner.gradient(step, weights, statistics, gradient)?;
            if !shared {
                advance(replica);
            }
            Ok::<_, MethodError>(found)
        });
        for found in found {
            self.count(step, rate, &found?)?;
        }
        if shared {
            share_gradients(&mut self.state.replicas);
            self.workers.each(learners, &mut self.state.replicas, |_, replica| advance(replica));
        }
        Ok(())
    }

    fn count(&mut self, step: u64, rate: f64, found: &StepLoss) -> Result<(), TrainError> {
        if !found.loss.is_finite() {
            let epoch = step as f64 / self.timeline.steps_per_epoch() as f64;
            return Err(TrainError::NotFinite { step, epoch, loss: found.loss, rate });
        }
        for meter in [&mut self.state.point, &mut self.state.epoch, &mut self.report] {
            meter.add(found);
        }
        Ok(())
    }

    fn record(&mut self) {
        let State { done, replicas, recorders, .. } = &mut self.state;
        if !recorders.iter().any(|recorder| recorder.due(*done)) {
            return;
        }
        for recorder in recorders.iter_mut().filter(|recorder| recorder.acts() && recorder.due(*done)) {
            if let [replica] = &mut replicas[..] {
                recorder.act(&mut replica.weights, &mut replica.optimizer);
                self.held.restore(replica);
            }
        }
        let seen = seen(replicas, &mut self.mean);
        for recorder in recorders.iter_mut().filter(|recorder| recorder.due(*done)) {
            recorder.record(seen);
        }
    }

    fn checkpoint(&mut self) -> Result<(), TrainError> {
        let Some(resume) = self.setup.resume else { return Ok(()) };
        if self.saved.elapsed() >= resume.every && self.state.done < self.timeline.total() {
            checkpoint::save(resume, &self.identity, &self.state)?;
            self.saved = Instant::now();
        }
        Ok(())
    }

    fn cancelled(&self) -> TrainError {
        let kept = match self.setup.resume {
            Some(resume) => match checkpoint::save(resume, &self.identity, &self.state) {
                Ok(()) => true,
                Err(error) => return error,
            },
            None => false,
        };
        TrainError::Cancelled { done: self.state.done, total: self.timeline.total(), kept }
    }

    fn finish(mut self) -> Result<Trained, TrainError> {
        let state = &mut self.state;
        let mut last = match state.best.take() {
            Some(best) => best.flat,
            None => state.linked.result(&state.replicas),
        };
        self.held.model(&mut last);
        if !stats::l1_norm(&last.weights).is_finite() {
            return Err(TrainError::Weights { rate: self.timeline.rate(state.done - 1) });
        }
        let mut collected = Vec::new();
        for (collect, recorder) in self.setup.collects.iter().zip(&mut state.recorders) {
            let mut flats = recorder.finish()?;
            self.held.recorded(collect.params.recorder, &mut flats);
            collected.push((collect.name.clone(), flats));
        }
        let replicas = std::mem::take(&mut state.replicas);
        let flat = |replica: Replica| Flat { weights: replica.weights, statistics: replica.statistics };
        let members = if replicas.len() > 1 { replicas.into_iter().map(flat).collect() } else { Vec::new() };
        Ok(Trained {
            last,
            members,
            collected,
            history: std::mem::take(&mut state.history),
            steps: state.done,
            stopped_early: state.stopped_early,
        })
    }
}

/// The weights that recorders and validation see: those of the only replica, or the mean.
fn seen<'a>(replicas: &'a [Replica], buffer: &'a mut Flat) -> Seen<'a> {
    if let [replica] = replicas {
        return replica.seen();
    }
    mean(replicas, |replica| &replica.weights, &mut buffer.weights);
    mean(replicas, |replica| &replica.statistics, &mut buffer.statistics);
    Seen { weights: &buffer.weights, statistics: &buffer.statistics }
}
