//! How a test ended, in words and as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The plugin keeps this promise.
    Passed,
    /// It does not, though nothing breaks.
    Warning {
        /// What was found.
        reason: String,
    },
    /// It does not.
    Failed {
        /// What was found.
        reason: String,
    },
    /// It makes no such promise, or nothing could be found out.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The process of the test ended by a signal.
    Crashed {
        /// The signal, such as 11 for a segmentation fault.
        signal: i32,
    },
    /// The test did not end within its limit and was ended.
    TimedOut {
        /// The limit.
        seconds: u64,
    },
}

impl Verdict {
    /// Whether the plugin breaks the contract.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Verdict::Failed { .. } | Verdict::Crashed { .. } | Verdict::TimedOut { .. })
    }

    /// One word, as tables show it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Warning { .. } => "warning",
            Verdict::Failed { .. } => "failed",
            Verdict::Skipped { .. } => "skipped",
            Verdict::Crashed { .. } => "crashed",
            Verdict::TimedOut { .. } => "timed out",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed => Ok(()),
            Verdict::Warning { reason } | Verdict::Failed { reason } | Verdict::Skipped { reason } => {
                f.write_str(reason)
            }
            Verdict::Crashed { signal } => write!(f, "the process ended by signal {signal}{}", name(*signal)),
            Verdict::TimedOut { seconds } => write!(f, "it did not end within {seconds} s"),
        }
    }
}

/// The name of a signal that a mistake raises.
fn name(signal: i32) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        9 => " (killed)",
        11 => " (segmentation fault)",
        _ => "",
    }
}

/// One test's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The test's id.
    pub test: String,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took.
    pub milliseconds: u64,
    /// The seed that it ran with.
    pub seed: u64,
}

/// Results of several tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Passed.
    pub passed: usize,
    /// Passed with a warning.
    pub warnings: usize,
    /// Skipped.
    pub skipped: usize,
    /// Failed.
    pub failed: usize,
    /// Ended by a signal.
    pub crashed: usize,
    /// Ended by the limit.
    pub timed_out: usize,
}

impl Summary {
    /// Counts a result.
    pub fn add(&mut self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Passed => &mut self.passed,
            Verdict::Warning { .. } => &mut self.warnings,
            Verdict::Skipped { .. } => &mut self.skipped,
            Verdict::Failed { .. } => &mut self.failed,
            Verdict::Crashed { .. } => &mut self.crashed,
            Verdict::TimedOut { .. } => &mut self.timed_out,
        };
        *counter += 1;
    }

    /// Whether the plugin breaks the contract.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        self.failed + self.crashed + self.timed_out > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed", self.passed)?;
        let warnings = if self.warnings == 1 { "warning" } else { "warnings" };
        for (count, word) in [
            (self.warnings, warnings),
            (self.skipped, "skipped"),
            (self.failed, "failed"),
            (self.crashed, "crashed"),
            (self.timed_out, "timed out"),
        ] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        Ok(())
    }
}

/// Why a check stops before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The plugin breaks a promise.
    Fail(String),
    /// It makes no such promise.
    Skip(String),
}

/// What a check gives.
pub(crate) type Check = Result<(), Stop>;

/// A failure.
pub(crate) fn fail<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail(reason.into()))
}

/// A test that does not apply.
pub(crate) fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_a_line_of_json() {
        for verdict in [
            Verdict::Passed,
            Verdict::Failed { reason: "a \"b\"\n".to_owned() },
            Verdict::Crashed { signal: 11 },
            Verdict::TimedOut { seconds: 30 },
        ] {
            let report = Report { test: "x".to_owned(), verdict, milliseconds: 3, seed: u64::MAX };
            let line = serde_json::to_string(&report).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
        }
    }

    #[test]
    fn summaries_name_what_there_is() {
        let mut summary = Summary::default();
        summary.add(&Verdict::Passed);
        assert_eq!(summary.to_string(), "1 passed");
        assert!(!summary.is_failure());
        summary.add(&Verdict::Skipped { reason: String::new() });
        summary.add(&Verdict::Crashed { signal: 11 });
        assert_eq!(summary.to_string(), "1 passed, 1 skipped, 1 crashed");
        assert!(summary.is_failure());
    }
}
