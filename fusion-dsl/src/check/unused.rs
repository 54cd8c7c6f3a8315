//! Warnings about what a recipe declares and never uses.

use std::collections::BTreeSet;

use crate::ast::Item;
use crate::codes::Code;
use crate::descriptor::Verb;
use crate::diag::Diagnostic;
use crate::import::{Program, UnitId};
use crate::resolve::scope::Binding;

/// One warning for each unused name of the recipe itself; what imported files do not use is their affair.
pub(crate) fn unused(program: &Program, used: &BTreeSet<(UnitId, String)>) -> Vec<Diagnostic> {
    let Some(unit) = program.units.first() else { return Vec::new() };
    let mut found = Vec::new();
    for (name, bound) in &unit.scope.names {
        if used.contains(&(0, name.clone())) || name.starts_with('_') {
            continue;
        }
        let item = |index: usize| unit.file.items.get(index);
        let (code, message, help) = match &bound.binding {
            Binding::Param(_) => {
                (Code::UnusedParam, format!("the parameter `{name}` is never used"), "use it or remove it")
            }
            Binding::Let(_) => (Code::UnusedName, format!("`{name}` is never used"), "use it or remove it"),
            Binding::Import(_, Some(_)) => {
                (Code::UnusedName, format!("nothing of the import `{name}` is used"), "use it or remove it")
            }
            Binding::Plugin { there: true, .. } => {
                (Code::UnusedName, format!("no method of the plugin `{name}` is used"), "use it or remove it")
            }
            Binding::Node(index) => match item(*index) {
                Some(Item::Model(_)) => {
                    (Code::UnusedName, format!("the model `{name}` is never used"), "use it or remove it")
                }
                Some(Item::Data(_)) => {
                    (Code::UnusedName, format!("the data set `{name}` is never used"), "use it or remove it")
                }
                // Measuring is a purpose of its own.
                Some(Item::Stage(stage)) if stage.verb != Verb::Evaluate => (
                    Code::UnusedName,
                    format!("the result of `{name}` is never used"),
                    "save it, measure it or remove it",
                ),
                _ => continue,
            },
            _ => continue,
        };
        found.push(Diagnostic::new(code, bound.span, message).label("never used").help(help));
    }
    found
}
