//! The only window of the front end on the outside, so that tests and editors can give it a fake one.

use crate::codes::Code;
use crate::descriptor::{BlockDescriptor, MethodDescriptor, Verb};
use crate::diag::Diagnostic;
use crate::span::Span;

/// Why a plugin that a recipe asks for cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFault {
    /// One of the plugins' codes.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// What to say under the place in the recipe.
    pub label: Option<String>,
    /// Facts that explain it.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

impl PluginFault {
    /// A fault with a message alone.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        PluginFault { code, message: message.into(), label: None, notes: Vec::new(), help: None }
    }

    /// What to say under the place in the recipe.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = Some(text.into());
        self
    }

    /// A fact that explains it.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// What to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// The message at a place.
    pub fn at(self, span: Span) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(self.code, span, self.message);
        diagnostic.primary.text = self.label.unwrap_or_default();
        diagnostic.notes = self.notes;
        diagnostic.helps = self.help.into_iter().collect();
        diagnostic
    }
}

/// The plugin that a method's id names: all before the last dot. Built-in methods have none.
pub fn plugin_of(id: &str) -> Option<&str> {
    id.rsplit_once('.').map(|(plugin, _)| plugin)
}

/// What the front end may ask of the outside. It never writes and never sees a weight.
pub trait World {
    /// The text of a file named in an `import`, relative to the importing file's folder (`base`, with `/`).
    /// Gives the resolved path (for messages, cycle detection) and the text, or why there is none.
    fn read(&self, base: &str, path: &str) -> Result<(String, String), String>;

    /// All methods that are there, sorted by id (then verb). Third-party methods are named `alias.method` only after `use plugin … as alias`,
    /// here they carry `plugin-id.method`.
    fn methods(&self) -> &[MethodDescriptor];

    /// The method of a verb with this id. Two verbs may have a method of one name: `linear` averages and connects.
    fn method(&self, verb: Verb, id: &str) -> Option<&MethodDescriptor> {
        self.methods().iter().find(|method| method.verb == verb && method.id == id)
    }

    /// Architectures of networks that `model … of` can build. Without any, none is known and `of` is not checked.
    fn networks(&self) -> &[BlockDescriptor] {
        &[]
    }

    /// Settings of `data`; `None`: not known and not checked.
    fn data_settings(&self) -> Option<&BlockDescriptor> {
        None
    }

    /// Settings of `collect`; `None`: not known and not checked.
    fn collect_settings(&self) -> Option<&BlockDescriptor> {
        None
    }

    /// Settings of `report`; `None`: not known and not checked.
    fn report_settings(&self) -> Option<&BlockDescriptor> {
        None
    }

    /// Whether a plugin can be used in a version that the requirement accepts (`^0.3`; none accepts all). If it can, its methods are
    /// among [`World::methods`].
    fn plugin(&self, id: &str, version: Option<&str>) -> Result<(), PluginFault> {
        let _ = version;
        match self.methods().iter().any(|method| plugin_of(&method.id) == Some(id)) {
            true => Ok(()),
            false => {
                Err(PluginFault::new(Code::PluginNotFound, format!("the plugin `{id}` is not installed")))
            }
        }
    }

    /// Whether any method of this verb is there.
    fn has_verb(&self, verb: Verb) -> bool {
        self.methods().iter().any(|method| method.verb == verb)
    }
}

/// A world of methods without files: imports are not there. For recipes in memory, such as those of tests.
#[derive(Clone, Debug, Default)]
pub struct NoFiles(pub Vec<MethodDescriptor>);

impl World for NoFiles {
    fn read(&self, _: &str, path: &str) -> Result<(String, String), String> {
        Err(format!("`{path}` is not there"))
    }

    fn methods(&self) -> &[MethodDescriptor] {
        &self.0
    }
}
