//! Errors of methods: a kind, a text, and which setting is to blame, so that the command can point into the recipe.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong; decides the diagnostic's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// Settings that do not fit together.
    Invalid,
    /// Normalised weights whose sum is zero.
    ZeroSum,
    /// Normalised weights that nearly cancel: the result would be amplified noise.
    Cancelling,
    /// The tensor's shape does not suit the method.
    Shape,
    /// The computation failed on these values.
    Failed,
    /// The user asked to stop, and the method did.
    Cancelled,
}

/// An error of a method.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct MethodError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Lower case, no full stop.
    pub message: String,
    /// The parameter to blame, if one is.
    pub parameter: Option<&'static str>,
    /// Index of the input to blame, in port order.
    pub input: Option<usize>,
    /// How to fix it, where known.
    pub help: Option<String>,
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl MethodError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        MethodError { kind, message: message.into(), parameter: None, input: None, help: None }
    }

    /// Settings that do not fit together.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Blames a parameter.
    #[must_use]
    pub fn at(mut self, parameter: &'static str) -> Self {
        self.parameter = Some(parameter);
        self
    }

    /// Blames an input.
    #[must_use]
    pub fn of_input(mut self, input: usize) -> Self {
        self.input = Some(input);
        self
    }

    /// Says how to fix it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
