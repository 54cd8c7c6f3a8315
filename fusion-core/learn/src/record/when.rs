//! When a recorder looks: after which steps, and how often in a whole training.

use fusion_sdk::MethodError;
use fusion_sdk::schedule::Span;

use crate::train::Timeline;

use super::params::{CollectParams, CyclePoint, RecorderKind};

/// The steps at which a recorder is due: those after `after` whose distance from `origin` leaves `phase` modulo `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    after: u64,
    origin: u64,
    period: u64,
    phase: u64,
}

impl When {
    /// Cycles count from the end of the warm-up, where the schedule starts; `every` counts from `after`.
    pub(crate) fn new(params: &CollectParams, timeline: &Timeline) -> Result<Self, MethodError> {
        let after = timeline.steps(params.after);
        let at = match params.recorder {
            RecorderKind::Fge => Some(params.at.unwrap_or(CyclePoint::CycleMiddle)),
            _ => params.at,
        };
        let (origin, period, phase) = match at {
            Some(point) => {
                let period = timeline.cycle().ok_or_else(|| {
                    MethodError::invalid("the learning rate has no cycles to record in").at("at")
                })?;
                // A cycle of one step is lowest at its only step.
                let phase = match point {
                    CyclePoint::CycleEnd => 0,
                    CyclePoint::CycleMiddle => (period / 2) % period,
                };
                (timeline.warmup(), period, phase)
            }
            None => {
                let every = params.every.unwrap_or(match params.recorder {
                    RecorderKind::Ema => Span::of_steps(1),
                    RecorderKind::Lookahead => Span::of_steps(5),
                    _ => Span::epochs(1.0),
                });
                (after, timeline.steps(every).max(1), 0)
            }
        };
        Ok(When { after, origin, period, phase })
    }

    /// Whether the weights after `done` steps are wanted.
    pub(crate) fn due(&self, done: u64) -> bool {
        done > self.after.max(self.origin) && (done - self.origin) % self.period == self.phase
    }

    /// How often that is within `total` steps.
    pub(crate) fn count(&self, total: u64) -> u64 {
        // Due steps up to some step, counted from the origin; the origin itself is none.
        let within = |steps: u64| {
            let length = steps.saturating_sub(self.origin);
            match self.phase {
                0 => length / self.period,
                phase => (length + self.period - phase) / self.period,
            }
        };
        within(total) - within(self.after.min(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counting by the formula and by looking at each step, over many combinations.
    #[test]
    fn the_count_is_the_number_of_due_steps() {
        for after in [0, 1, 5, 7, 40] {
            for origin in [0, 3, after] {
                for period in 1..7 {
                    for phase in 0..period {
                        for total in [0, 1, 4, 12, 30] {
                            let when = When { after, origin, period, phase };
                            let counted = (1..=total).filter(|&done| when.due(done)).count() as u64;
                            assert_eq!(when.count(total), counted, "{when:?} of {total}");
                        }
                    }
                }
            }
        }
    }
}
