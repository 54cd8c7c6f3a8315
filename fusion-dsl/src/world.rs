//! The only window of the front end on the outside, so that tests and editors can give it a fake one.

use crate::descriptor::{MethodDescriptor, Verb};

/// What the front end may ask of the outside. It never writes and never sees a weight.
pub trait World {
    /// The text of a file named in an `import`, relative to the importing file's folder (`base`, with `/`).
    /// Gives the resolved path (for messages, cycle detection) and the text, or why there is none.
    fn read(&self, base: &str, path: &str) -> Result<(String, String), String>;

    /// All methods that are there, sorted by id. Third-party methods are named `alias.method` only after `use plugin … as alias`,
    /// here they carry `plugin-id.method`.
    fn methods(&self) -> &[MethodDescriptor];

    /// The method with this id.
    fn method(&self, id: &str) -> Option<&MethodDescriptor> {
        self.methods().iter().find(|method| method.id == id)
    }

    /// Whether any method of this verb is there.
    fn has_verb(&self, verb: Verb) -> bool {
        self.methods().iter().any(|method| method.verb == verb)
    }
}
