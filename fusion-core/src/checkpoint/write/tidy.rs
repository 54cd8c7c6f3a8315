//! Removes what a run left that was killed between moving its result into place and cleaning up.

use std::fs;

use super::error::Place as _;
use super::journal::{self, JOURNAL};
use super::lock::Lock;
use super::target::Goal;
use super::{Target, WriteError};

/// Removes the hidden folder beside a complete result, if it is that of the run with this `key`: its journal, and the result
/// that was replaced. Tells whether there was one. The hidden folder of another unfinished run stays for its resume.
///
/// # Errors
/// The folder cannot be read, locked or removed. One that another run has locked is left to it.
pub fn tidy(target: &Target, key: &str) -> Result<bool, WriteError> {
    let goal = Goal::resolve(target)?;
    if !goal.part.is_dir() {
        return Ok(false);
    }
    let ours = || -> Result<bool, WriteError> {
        let found = journal::read(&goal.part.join(JOURNAL))?;
        Ok(found.and_then(|found| found.head).is_some_and(|head| head.key == key))
    };
    if !ours()? {
        return Ok(false);
    }
    let _lock = match Lock::acquire(&goal.part, &goal.path) {
        // Whoever is at work there cleans up.
        Err(WriteError::Locked { .. }) => return Ok(false),
        other => other?,
    };
    // Another run may have come and gone in between.
    if !ours()? {
        return Ok(false);
    }
    fs::remove_dir_all(&goal.part).place("remove", &goal.part)?;
    Ok(true)
}
