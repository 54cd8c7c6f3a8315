//! The engine's events as a progress bar, as one line per output where nobody watches, as JSON lines, or not at all.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fusion_core::engine::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::steps::Steps;
use super::units::{duration, size};

const BAR: &str = "{spinner} {msg}  [{bar:28}] {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A bar on stderr.
    Bar,
    /// A line per output on stderr.
    Lines,
    /// Events as JSON lines on stdout.
    Json,
    /// Nothing.
    Quiet,
}

/// Receives events and shows them.
pub(crate) struct Progress {
    mode: Mode,
    bar: ProgressBar,
    steps: Steps,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    started: BTreeMap<String, Instant>,
    /// Seconds that each output took.
    taken: BTreeMap<String, f64>,
    warnings: Vec<String>,
}

impl Progress {
    pub(crate) fn new(mode: Mode) -> Self {
        let bar = match mode {
            Mode::Bar => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()),
            _ => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
        }
        Progress { mode, bar, steps: Steps::new(mode == Mode::Bar), times: Mutex::default() }
    }

    /// Seconds that the output took, if it was written in this run.
    pub(crate) fn taken(&self, path: &str) -> Option<f64> {
        self.times().taken.get(path).copied()
    }

    /// Takes an event; called from any thread.
    pub(crate) fn event(&self, event: &Event) {
        self.keep(event);
        match self.mode {
            Mode::Json => {
                // A reader that has gone does not stop a run that writes gigabytes elsewhere.
                if let Ok(line) = serde_json::to_string(event) {
                    let _ = writeln!(io::stdout().lock(), "{line}");
                }
            }
            Mode::Bar => self.draw(event),
            Mode::Lines => self.tell(event),
            Mode::Quiet => {}
        }
    }

    /// Removes the bar from the terminal.
    pub(crate) fn close(&self) {
        self.bar.finish_and_clear();
        self.steps.close();
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, event: &Event) {
        match event {
            Event::Output { path, .. } => {
                self.times().started.insert(path.clone(), Instant::now());
            }
            Event::Saved { path, .. } => {
                let mut times = self.times();
                let taken = times.started.get(path).map(|since| since.elapsed().as_secs_f64());
                if let Some(taken) = taken {
                    times.taken.insert(path.clone(), taken);
                }
            }
            _ => {}
        }
    }

    fn draw(&self, event: &Event) {
        match event {
            Event::Started { read, written, .. } => {
                self.bar.set_length(read + written);
                self.bar.enable_steady_tick(Duration::from_millis(120));
            }
            Event::Output { path, resumed, .. } => {
                self.bar.set_message(path.clone());
                if *resumed > 0 {
                    self.line(&format!("{path}: going on after {resumed} finished tensors"));
                }
            }
            Event::Phase { stage, what } => self.bar.set_message(format!("{stage}: {what}")),
            Event::StepBegins { .. } | Event::Training { .. } | Event::StepDone { .. } => {
                self.steps.event(event);
            }
            Event::Working { stage, done, total, note } => {
                self.steps.event(event);
                let share = if *total == 0 { String::new() } else { format!(" {}%", 100 * done / total) };
                let note = if note.is_empty() { String::new() } else { format!(", {note}") };
                self.bar.set_message(format!("{stage}: compute{share}{note}"));
            }
            Event::Progress { read, written } => self.bar.set_position(read + written),
            Event::Syncing { path } => self.bar.set_message(format!("{path}: to disk")),
            Event::Warning { message } => self.warn(message),
            Event::Finished { .. } => self.close(),
            Event::Cached { .. } | Event::Saved { .. } | Event::Reported { .. } => {}
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Cached { path } => self.line(&format!("{path}: unchanged")),
            Event::Output { path, resumed, .. } if *resumed > 0 => {
                self.line(&format!("{path}: going on after {resumed} finished tensors"));
            }
            Event::Saved { path, bytes, .. } => {
                let taken = self.taken(path).unwrap_or_default();
                self.line(&format!("{path}: {} in {}", size(*bytes), duration(taken)));
            }
            Event::Warning { message } => self.warn(message),
            Event::StepDone { .. } => self.steps.event(event),
            _ => {}
        }
    }

    /// The same warning of several variants is shown once.
    fn warn(&self, message: &str) {
        let mut times = self.times();
        if !times.warnings.iter().any(|old| old == message) {
            times.warnings.push(message.to_owned());
            drop(times);
            self.line(&format!("warning: {message}"));
        }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }
}
