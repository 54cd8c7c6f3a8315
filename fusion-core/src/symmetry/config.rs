//! The numbers of `config.json` that templates ask for.

use serde_json::Value as Json;

use super::NamesError;

/// A model's `config.json`, or a part of it.
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

    fn error(&self, field: &str, missing: &str) -> NamesError {
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

    /// A number that must be there.
    pub(super) fn number(&self, field: &str) -> Result<usize, NamesError> {
        let missing = match self.values {
            None if self.path.is_empty() => "there is no `config.json`",
            _ => "`config.json` does not say it",
        };
        self.find(field)?.ok_or_else(|| self.error(field, missing))
    }
}
