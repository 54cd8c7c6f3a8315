//! What all commands share: the methods that are built in, the machine, and the terminal.

use std::path::Path;

use fusion_core::method::Registry;
use fusion_dsl::diag::{Diagnostic, has_errors};
use fusion_dsl::render;
use fusion_dsl::span::SourceMap;

use crate::cli::When;
use crate::exit;
use crate::failure::Failure;
use crate::ui::Ui;
use crate::ui::units::plural;

/// One call of the command.
pub(crate) struct Session {
    /// What is built in.
    pub(crate) registry: Registry,
    /// Where text goes.
    pub(crate) ui: Ui,
}

/// Every method that is linked into the command.
pub(crate) fn built_in() -> Registry {
    let mut registry = Registry::new();
    fusion_average::register(&mut registry);
    for method in fusion_align::methods() {
        registry.add_align(method);
    }
    for method in fusion_connect::methods() {
        registry.add_path(method);
    }
    for described in fusion_core::experiment::methods() {
        registry.add_learned(&described);
    }
    registry
}

impl Session {
    /// Built-in methods and this terminal.
    pub(crate) fn new(color: When) -> Self {
        Session { registry: built_in(), ui: Ui::new(color) }
    }

    /// Shows diagnostics: on stderr for people, as JSON lines on stdout for machines.
    ///
    /// # Errors
    /// [`Failure::Said`] if one of them is an error.
    pub(crate) fn say(
        &self,
        path: &Path,
        diagnostics: &[Diagnostic],
        sources: &SourceMap,
        json: bool,
    ) -> Result<(), Failure> {
        if json {
            for one in render::json(diagnostics, sources) {
                self.ui.json_line(&serde_json::json!({ "event": "diagnostic", "diagnostic": one }))?;
            }
        } else if !diagnostics.is_empty() {
            self.ui.error(&render::terminal(diagnostics, sources, self.ui.err_colour));
        }
        if !has_errors(diagnostics) {
            return Ok(());
        }
        let errors = diagnostics.iter().filter(|one| one.is_error()).count();
        if !json {
            let first = diagnostics.iter().find(|one| one.is_error()).map_or("", |one| one.code.as_str());
            self.ui.error(&format!(
                "\n{} in {}; `fusion explain {}` says more\n",
                plural(errors, "error"),
                path.display(),
                first
            ));
        }
        Err(Failure::Said(exit::of_all(diagnostics)))
    }
}
