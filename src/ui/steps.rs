//! Stages on networks and data while they run: a bar for each, with loss, accuracy, rate and time left, and a line when it is done.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fusion_core::engine::Event;
use fusion_core::experiment::StepRun;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units::duration;

const BAR: &str = "{spinner} {prefix:16.bold} [{bar:24}] {percent:>3}%  {msg}  {eta} left";
const SPINNER: &str = "{spinner} {prefix:16.bold} {msg}";

/// The bars of the stages that run.
pub(crate) struct Steps {
    /// Whether bars are drawn.
    live: bool,
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Steps {
    /// Bars on stderr, or none.
    pub(crate) fn new(live: bool) -> Self {
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Steps { live, all: MultiProgress::with_draw_target(target), bars: Mutex::default() }
    }

    /// Takes an event that is about a stage.
    pub(crate) fn event(&self, event: &Event) {
        match event {
            Event::StepBegins { name, verb, method } if self.live => {
                let bar = self.all.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template(SPINNER) {
                    bar.set_style(style.tick_chars("|/-\\ "));
                }
                bar.set_prefix(name.clone());
                bar.set_message(format!("{verb} {method}"));
                bar.enable_steady_tick(Duration::from_millis(120));
                self.bars().insert(name.clone(), bar);
            }
            Event::Training { stage, done, total, loss, accuracy, rate } => {
                let mut message = format!("loss {loss:<7.4}");
                if accuracy.is_finite() {
                    message.push_str(&format!("  accuracy {:>5.1}%", accuracy * 100.0));
                }
                message.push_str(&format!("  {}/s", thousands(*rate)));
                self.advance(stage, *done, *total, message);
            }
            Event::Working { stage, done, total, note } => self.advance(stage, *done, *total, note.clone()),
            Event::StepDone { step } => {
                if let Some(bar) = self.bars().remove(&step.name) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
                self.line(&done(step));
            }
            _ => {}
        }
    }

    /// Removes what is left after an error.
    pub(crate) fn close(&self) {
        for bar in std::mem::take(&mut *self.bars()).into_values() {
            bar.finish_and_clear();
        }
        let _ = self.all.clear();
    }

    fn advance(&self, stage: &str, done: u64, total: u64, message: String) {
        let bars = self.bars();
        let Some(bar) = bars.get(stage) else { return };
        if bar.length() != Some(total) && total > 0 {
            bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
            }
        }
        bar.set_position(done);
        bar.set_message(message);
    }

    fn line(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.all.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    fn bars(&self) -> MutexGuard<'_, BTreeMap<String, ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of what has come out of a stage. First weights of networks are not worth one.
pub(crate) fn done(step: &StepRun) -> String {
    if step.verb.is_empty() {
        return String::new();
    }
    let what = format!("{} {}", step.verb, step.method);
    let when = if step.cached { "unchanged".to_owned() } else { duration(step.seconds) };
    let facts: Vec<String> =
        step.facts.iter().take(4).map(|(name, value)| of_stage(&step.method, name, *value)).collect();
    format!("{:<16} {what:<24} {when:>9}  {}", step.name, facts.join("  ")).trim_end().to_owned()
}

/// A number of a stage: what `accuracy` and `ece` measure is named after models, and a share all the same.
pub(crate) fn of_stage(method: &str, name: &str, value: f64) -> String {
    match (["accuracy", "ece"].contains(&method), value.is_finite()) {
        (true, true) => format!("{name} {:.2}%", value * 100.0),
        _ => fact(name, value),
    }
}

/// A named number: shares as percentages, others with four digits that count.
pub(crate) fn fact(name: &str, value: f64) -> String {
    let share = ["accuracy", "error", "ece", "disagreement"].iter().any(|word| name.ends_with(word));
    match value {
        _ if share && value.is_finite() => format!("{name} {:.2}%", value * 100.0),
        _ if value.fract() == 0.0 && value.abs() < 1e9 => format!("{name} {value}"),
        _ if value.abs() >= 1e-3 && value.abs() < 1e5 => format!("{name} {value:.4}"),
        _ => format!("{name} {value:.3e}"),
    }
}

/// `21.3k`
fn thousands(rate: f64) -> String {
    match rate {
        _ if rate >= 1e6 => format!("{:.1}M", rate / 1e6),
        _ if rate >= 1e3 => format!("{:.1}k", rate / 1e3),
        _ => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(fact("accuracy", 0.97846), "accuracy 97.85%");
        assert_eq!(fact("loss.height", 1.83214), "loss.height 1.8321");
        assert_eq!(fact("epochs", 10.0), "epochs 10");
        assert_eq!(fact("loss", 3.2e-7), "loss 3.200e-7");
        assert_eq!(fact("loss", f64::NAN), "loss NaN");
        assert_eq!((thousands(21_345.0), thousands(812.4)), ("21.3k".to_owned(), "812".to_owned()));
    }

    #[test]
    fn a_finished_stage_is_one_line() {
        let step = StepRun {
            name: "net_a".into(),
            verb: "train".into(),
            method: "adam".into(),
            cached: false,
            seconds: 3.25,
            cost: String::new(),
            facts: vec![("loss".into(), 0.05), ("accuracy".into(), 0.978)],
        };
        let line = done(&step);
        assert!(line.starts_with("net_a") && line.contains("train adam"), "{line}");
        assert!(line.ends_with("loss 0.0500  accuracy 97.80%"), "{line}");
        assert!(done(&StepRun { cached: true, ..step.clone() }).contains("unchanged"));
        assert_eq!(done(&StepRun { verb: String::new(), ..step }), "");
    }
}
