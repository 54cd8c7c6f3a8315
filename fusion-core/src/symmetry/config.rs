//! The values of `config.json` that templates ask for.

use serde_json::Value as Json;

use super::NamesError;

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
        let values = self.values.and_then(|values| values.get(field));
        Config { template: self.template, path: format!("{}{field}.", self.path), values }
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

    /// A number, if it is there.
    pub(super) fn find(&self, field: &str) -> Result<Option<usize>, NamesError> {
        match self.values.and_then(|values| values.get(field)) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => {
                match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
                    Some(number) if number > 0 => Ok(Some(number)),
                    _ => Err(self
                        .error(field, &format!("`config.json` says {value}, which is no number of units"))),
                }
            }
        }
    }

    /// A fraction between 0 and 1, if it is there.
    pub(super) fn fraction(&self, field: &str) -> Result<Option<f64>, NamesError> {
        match self.values.and_then(|values| values.get(field)) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(share) if (0.0..=1.0).contains(&share) => Ok(Some(share)),
                _ => Err(self.error(field, &format!("`config.json` says {value}, which is no fraction"))),
            },
        }
    }

    /// One of some words, if it is there.
    pub(super) fn word(
        &self,
        field: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, NamesError> {
        match self.values.and_then(|values| values.get(field)) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => match words.iter().find(|word| value == **word) {
                Some(word) => Ok(Some(*word)),
                None => {
                    let words = words.join("` or `");
                    Err(self.error(field, &format!("`config.json` says {value}, which is neither `{words}`")))
                }
            },
        }
    }

    /// Yes or no, if it is there.
    pub(super) fn yes(&self, field: &str) -> Result<Option<bool>, NamesError> {
        match self.values.and_then(|values| values.get(field)) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(yes)) => Ok(Some(*yes)),
            Some(value) => Err(self
                .error(field, &format!("`config.json` says {value}, which is neither `true` nor `false`"))),
        }
    }

    /// The classes of transformers that the model is of: `architectures`.
    pub(super) fn classes(&self) -> Vec<&'a str> {
        let classes = self.values.and_then(|values| values.get("architectures")).and_then(Json::as_array);
        classes.into_iter().flatten().filter_map(Json::as_str).collect()
    }

    /// Whether one of the classes ends so.
    pub(super) fn class(&self, endings: &[&str]) -> bool {
        self.classes().iter().any(|class| endings.iter().any(|ending| class.ends_with(ending)))
    }

    /// Whether a field is this text.
    pub(super) fn says(&self, field: &str, text: &str) -> bool {
        self.values.and_then(|values| values.get(field)).is_some_and(|value| value == text)
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
