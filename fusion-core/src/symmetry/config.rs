//! The values of `config.json` that templates ask for.

use serde_json::Value as Json;

use super::NamesError;

/// The field for [`Config::norm_is_alike`].
pub(super) const NORM: &str = "norm";

/// A model's `config.json`, or a part of it.
#[derive(Clone)]
pub(super) struct Config<'a> {
    template: &'static str,
    /// In front of the names of fields, for messages: `text_config.`.
    path: String,
    values: Option<&'a Json>,
}

impl<'a> Config<'a> {
    pub(super) fn new(template: &'static str, values: Option<&'a Json>) -> Config<'a> {
        Config { template, path: String::new(), values }
    }

    /// The object under a field.
    pub(super) fn part(&self, field: &str) -> Config<'a> {
        let path = format!("{}{field}.", self.path);
        Config { template: self.template, path, values: self.value(field) }
    }

    /// Whether there is such an object.
    pub(super) fn is_there(&self) -> bool {
        self.values.is_some()
    }

    /// An error about a field: what is missing, or what is wrong with it.
    pub(super) fn error(&self, field: &str, missing: &str) -> NamesError {
        let field = format!("{}{field}", self.path);
        NamesError::Config { template: self.template, field, missing: missing.to_owned() }
    }

    /// What a field says; null says nothing.
    fn value(&self, field: &str) -> Option<&'a Json> {
        self.values?.get(field).filter(|value| !value.is_null())
    }

    /// A field, if it is there; `wrong` is said of a value that `taken` does not take.
    fn read<T>(
        &self,
        field: &str,
        wrong: &str,
        taken: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, NamesError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let error = || self.error(field, &format!("`config.json` says {value}, which is {wrong}"));
        taken(value).map(Some).ok_or_else(error)
    }

    /// A number, if it is there.
    pub(super) fn find(&self, field: &str) -> Result<Option<usize>, NamesError> {
        let units = |value: &Json| usize::try_from(value.as_u64()?).ok().filter(|number| *number > 0);
        self.read(field, "no number of units", units)
    }

    /// A fraction between 0 and 1, if it is there.
    pub(super) fn fraction(&self, field: &str) -> Result<Option<f64>, NamesError> {
        self.read(field, "no fraction", |value| value.as_f64().filter(|share| (0.0..=1.0).contains(share)))
    }

    /// One of some words, if it is there.
    pub(super) fn word(
        &self,
        field: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, NamesError> {
        let wrong = format!("neither `{}`", words.join("` nor `"));
        self.read(field, &wrong, |value| words.iter().copied().find(|word| value == word))
    }

    /// Yes or no, if it is there.
    pub(super) fn yes(&self, field: &str) -> Result<Option<bool>, NamesError> {
        self.read(field, "neither `true` nor `false`", Json::as_bool)
    }

    /// Whether a normalisation treats all channels alike, as `norm` says: `batch`, `layer` (over all channels) or `instance` (over each).
    pub(super) fn norm_is_alike(&self) -> Result<bool, NamesError> {
        Ok(self.word(NORM, &["batch", "layer", "instance", "group"])?.is_some_and(|norm| norm != "group"))
    }

    /// The classes of transformers that the model is of: `architectures`.
    pub(super) fn classes(&self) -> Vec<&'a str> {
        let classes = self.value("architectures").and_then(Json::as_array);
        classes.into_iter().flatten().filter_map(Json::as_str).collect()
    }

    /// Whether one of the classes ends so.
    pub(super) fn class(&self, endings: &[&str]) -> bool {
        self.classes().iter().any(|class| endings.iter().any(|ending| class.ends_with(ending)))
    }

    /// Whether a field is this text.
    pub(super) fn says(&self, field: &str, text: &str) -> bool {
        self.value(field).is_some_and(|value| value == text)
    }

    /// A number that must be there.
    pub(super) fn number(&self, field: &str) -> Result<usize, NamesError> {
        let missing = match self.values {
            None if self.path.is_empty() => "there is no `config.json`",
            _ => "`config.json` does not say it",
        };
        self.find(field)?.ok_or_else(|| self.error(field, missing))
    }
}
