//! Turns a panic, which is always a defect of ours, into a message that its reader can do something with.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use fusion_dsl::codes::Code;

use crate::failure::Failure;

/// What to do about a defect.
pub(crate) const REPORT: &str =
    "this is a defect of fusion: please report it with the recipe, the command line and this text";

/// What a panic said.
#[derive(Clone, Debug)]
pub(crate) struct Caught {
    message: String,
    place: String,
    trace: Option<String>,
}

static LAST: Mutex<Option<Caught>> = Mutex::new(None);

/// Runs `work`; a panic of any of its threads that reaches this one is given back rather than printed.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    panic::set_hook(Box::new(|info| {
        let message = info
            .payload()
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| info.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Caught { message, place, trace });
    }));
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        LAST.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| Caught {
            message: "no message".to_owned(),
            place: String::new(),
            trace: None,
        })
    })
}

impl From<Caught> for Failure {
    fn from(caught: Caught) -> Self {
        let mut failure = Failure::new(Code::Internal, format!("fusion has a defect: {}", caught.message))
            .note(format!("fusion {} at {}", env!("CARGO_PKG_VERSION"), caught.place));
        if let Some(trace) = caught.trace {
            failure = failure.note(trace);
        }
        failure.help(REPORT).help("`RUST_BACKTRACE=1` adds where it came from")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_with_its_words() {
        let caught = caught(|| panic!("seven is not a count")).unwrap_err();
        assert_eq!(caught.message, "seven is not a count");
        assert!(caught.place.contains("panics.rs"), "{}", caught.place);
        let Failure::Diagnostic(diagnostic) = Failure::from(caught) else { panic!("a diagnostic") };
        assert_eq!(diagnostic.code, Code::Internal);
    }
}
