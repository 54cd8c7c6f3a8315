//! Symmetries with those of their notes that are more than notes: the planner shows them before a model is moved.

use std::path::Path;

use fusion_sdk::symmetry::Symmetries;
use serde_json::Value as Json;

use super::builder::{self, Builder};
use super::config::Config;
use super::{Header, NamesError, TEMPLATES, declared};

/// Symmetries of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// With all notes.
    pub symmetries: Symmetries,
    /// The notes that someone should see before a model is moved: tensors that stay, units that nothing reads, and what was guessed.
    pub warnings: Vec<String>,
}

impl Found {
    /// As [`super::of_names`].
    ///
    /// # Errors
    /// As [`super::of_names`].
    pub fn by_names(tensors: &[Header], config: Option<&Json>) -> Result<Found, NamesError> {
        for template in TEMPLATES {
            let mut builder = Builder::new(template.name, tensors);
            if (template.fits)(&builder) {
                (template.build)(&mut builder, &Config::new(template.name, config))?;
                return builder.finish();
            }
        }
        Err(NamesError::Unrecognised {
            known: TEMPLATES.iter().map(|template| template.told_by).collect(),
            found: tensors.iter().take(3).map(|(name, _)| name.clone()).collect(),
        })
    }

    /// As [`super::of_text`].
    ///
    /// # Errors
    /// As [`super::of_text`].
    pub fn by_text(declared: Symmetries, tensors: &[Header]) -> Result<Found, NamesError> {
        let rest = declared.check_structure(tensors)?;
        let warnings = declared::checked(&declared, tensors, &rest)?;
        let mut found = Found { symmetries: declared, warnings: Vec::new() };
        found.warn(warnings.into_iter().chain(builder::untouched(&rest)));
        Ok(found)
    }

    /// As [`super::of_file`].
    ///
    /// # Errors
    /// As [`super::of_file`].
    pub fn by_file(path: &Path, tensors: &[Header]) -> Result<Found, NamesError> {
        let at = || path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| NamesError::Unreadable { path: at(), error: error.to_string() })?;
        let declared = Symmetries::parse(&text).map_err(|error| NamesError::Text { path: at(), error })?;
        Found::by_text(declared, tensors)
    }

    /// Adds notes that are warnings.
    pub(super) fn warn(&mut self, warnings: impl IntoIterator<Item = String>) {
        for warning in warnings {
            self.symmetries.notes.push(warning.clone());
            self.warnings.push(warning);
        }
    }
}
