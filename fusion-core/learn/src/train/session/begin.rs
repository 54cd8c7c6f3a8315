//! The start of a training: everything is checked, then a state is made or taken from a checkpoint.

use std::sync::Arc;
use std::time::Instant;

use fusion_network::Flat;
use fusion_sdk::MethodError;
use fusion_sdk::optim::Optimizer;

use super::super::checkpoint;
use super::super::error::TrainError;
use super::super::frozen::Held;
use super::super::gradients::Gradients;
use super::super::history::{History, Meter, stride};
use super::super::params::TrainParams;
use super::super::replicas::{Linked, Replica};
use super::super::timeline::Timeline;
use super::super::workers::Workers;
use super::{Session, Setup, State};
use crate::record::{self, Collect, RecorderKind};

/// Whether settings, recorders and ports of a training fit together: what the planner can know. [`super::run`] checks it again.
///
/// # Errors
/// Validation settings without data to validate on, recorders that do not suit the training.
pub fn check(
    params: &TrainParams,
    collects: &[Collect],
    timeline: &Timeline,
    validated: bool,
) -> Result<(), MethodError> {
    let common = &params.common;
    for (name, set) in [
        ("validate_every", common.validate_every.is_some()),
        ("early_stopping", common.early_stopping.is_some()),
    ] {
        if set && !validated {
            return Err(MethodError::invalid(format!("`{name}` needs data to validate on"))
                .at(name)
                .help("give the stage `validate` data"));
        }
    }
    for collect in collects {
        record::planned(&collect.params, timeline, validated)?;
    }
    let acts = |collect: &&Collect| collect.params.recorder == RecorderKind::Lookahead;
    let acting = collects.iter().filter(acts).count();
    if acting > 1 || (acting == 1 && params.replicas() > 1) {
        return Err(MethodError::invalid("`lookahead` moves one network, and does so once")
            .at("recorder")
            .help("keep one `collect` with `recorder = lookahead`, and `parallel = none`"));
    }
    Ok(())
}

impl<'a> Session<'a> {
    pub(super) fn new<G: Gradients>(
        learners: &[G],
        start: &Flat,
        setup: &'a Setup<'a>,
    ) -> Result<Self, TrainError> {
        let params = setup.params;
        let Some(first) = learners.first() else {
            return Err(MethodError::invalid("there is no network to train").into());
        };
        let length = |what, expected: usize, found: usize| match expected == found {
            true => Ok(()),
            false => Err(TrainError::Length { what, expected, found }),
        };
        length("replicas", params.replicas(), learners.len())?;
        length("weights to start from", first.len(), start.weights.len())?;
        length("statistics to start from", first.statistics_len(), start.statistics.len())?;
        for other in learners {
            length("weights of the replicas", first.len(), other.len())?;
        }
        if params.common.frozen.as_ref().is_none_or(Vec::is_empty) != setup.frozen.is_empty() {
            return Err(MethodError::invalid("`frozen` names tensors, and their places are needed with it")
                .at("frozen")
                .into());
        }
        setup.frozen.check(first.len(), first.statistics_len())?;
        let timeline = Timeline::new(params, first.steps_per_epoch())?;
        let common = &params.common;
        check(params, setup.collects, &timeline, setup.validated)?;
        let validate_every = setup.validated.then(|| {
            common.validate_every.map_or(timeline.steps_per_epoch(), |span| timeline.steps(span).max(1))
        });
        let mut recorders = Vec::new();
        for collect in setup.collects {
            recorders.push(record::recorder(&collect.params, &timeline, setup.validated)?);
        }
        let replica = || Replica {
            weights: start.weights.clone(),
            statistics: start.statistics.clone(),
            optimizer: Optimizer::new(params.rule, start.weights.len()),
            gradient: vec![0.0; start.weights.len()],
        };
        let mut state = State {
            done: 0,
            replicas: learners.iter().map(|_| replica()).collect(),
            linked: Linked::new(params, &timeline),
            recorders,
            history: History::default(),
            point: Meter::default(),
            epoch: Meter::default(),
            best: None,
            stopped_early: false,
        };
        let identity = checkpoint::identity(setup, &timeline, start);
        let resumed = match setup.resume {
            Some(resume) => checkpoint::load(resume, &identity, &mut state)?,
            None => false,
        };
        if !resumed {
            for recorder in &mut state.recorders {
                recorder.begin(&start.weights);
            }
        }
        Ok(Session {
            setup,
            stride: stride(timeline.total()),
            workers: Workers::new(learners.len())?,
            held: Arc::new(Held::new(setup.frozen, start)),
            patience: common.early_stopping.map(|span| timeline.steps(span)),
            timeline,
            state,
            identity,
            validate_every,
            mean: Flat::default(),
            report: Meter::default(),
            reported: Instant::now(),
            saved: Instant::now(),
        })
    }
}
