//! What a training says of itself on its way: validations, history, progress.

use std::time::{Duration, Instant};

use fusion_network::Flat;

use super::super::error::TrainError;
use super::super::gradients::Gradients;
use super::super::history::{Epoch, Point, Validation};
use super::super::watch::Progress;
use super::{Best, Session, State, seen};

/// Time between two reports of progress.
const REPORT: Duration = Duration::from_millis(100);

impl Session<'_> {
    pub(super) fn validate<G: Gradients>(&mut self, learners: &mut [G]) -> Result<(), TrainError> {
        let done = self.state.done;
        let due = self.validate_every.is_some_and(|every| done.is_multiple_of(every));
        let (true, Some(learner)) = (due, learners.first_mut()) else { return Ok(()) };
        let begun = Instant::now();
        let seen = seen(&self.state.replicas, &mut self.mean);
        let Some(score) = learner.validate(seen.weights, seen.statistics)? else { return Ok(()) };
        self.state.history.validations.push(Validation { step: done, score });
        for recorder in &mut self.state.recorders {
            recorder.validated(score.loss);
        }
        if let Some(patience) = self.patience {
            // NaN is worse than anything.
            let loss = if score.loss.is_nan() { f64::INFINITY } else { score.loss };
            match &mut self.state.best {
                Some(best) if loss >= best.loss => {
                    self.state.stopped_early = done - best.done >= patience;
                }
                best => {
                    let flat = Flat { weights: seen.weights.to_vec(), statistics: seen.statistics.to_vec() };
                    *best = Some(Best { loss, done, flat });
                }
            }
        }
        self.state.history.seconds += begun.elapsed().as_secs_f64();
        Ok(())
    }

    /// History and progress.
    pub(super) fn note(&mut self, rate: f64) {
        let State { done, history, point, epoch, stopped_early, .. } = &mut self.state;
        let (done, total, steps) = (*done, self.timeline.total(), self.timeline.steps_per_epoch());
        let ends = done == total || *stopped_early;
        if ends || done.is_multiple_of(self.stride) {
            let meter = point.take();
            history.points.push(Point { step: done, rate, loss: meter.loss(), accuracy: meter.accuracy() });
        }
        let validation = history.validations.last().map(|validation| validation.score);
        if ends || done.is_multiple_of(steps) {
            let meter = epoch.take();
            history.epochs.push(Epoch {
                epoch: done as f64 / steps as f64,
                step: done,
                rate,
                loss: meter.loss(),
                accuracy: meter.accuracy(),
                validation,
                seconds: meter.seconds,
                samples_per_second: meter.samples_per_second(),
            });
        }
        let validated = history.validations.last().is_some_and(|validation| validation.step == done);
        if ends || validated || self.reported.elapsed() >= REPORT {
            let meter = self.report.take();
            self.reported = Instant::now();
            self.setup.watch.progress(&Progress {
                done,
                total,
                epoch: done as f64 / steps as f64,
                loss: meter.loss(),
                accuracy: meter.accuracy(),
                rate,
                samples_per_second: meter.samples_per_second(),
                seconds_left: history.seconds / done as f64 * (total - done) as f64,
                validation,
            });
        }
    }
}
