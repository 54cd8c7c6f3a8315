//! The front end's window on this machine: imports are read from disk, methods come from the registry,
//! and plugins are those that were chosen for the recipe.

use std::path::Path;

use fusion_core::experiment::tables;
use fusion_core::method::Registry;
use fusion_dsl::descriptor::{BlockDescriptor, MethodDescriptor};
use fusion_dsl::world::{PluginFault, World};

use crate::plugins::Plugins;

/// Longest import that is read; the parser refuses larger texts anyway.
const MAX_IMPORT: u64 = 16 << 20;

/// This machine, as one recipe sees it.
pub(crate) struct Machine<'a> {
    methods: Vec<MethodDescriptor>,
    plugins: Option<&'a Plugins>,
}

impl<'a> Machine<'a> {
    /// The methods of a registry, the file system and, if they have been looked for, the recipe's plugins.
    pub(crate) fn new(registry: &Registry, plugins: Option<&'a Plugins>) -> Self {
        Machine { methods: registry.descriptors(), plugins }
    }
}

impl World for Machine<'_> {
    fn read(&self, base: &str, path: &str) -> Result<(String, String), String> {
        let full = Path::new(base).join(path);
        let meta = std::fs::metadata(&full).map_err(|error| error.to_string())?;
        if !meta.is_file() {
            return Err("it is not a file".to_owned());
        }
        if meta.len() > MAX_IMPORT {
            return Err(format!("it has {} bytes, recipes are smaller", meta.len()));
        }
        let bytes = std::fs::read(&full).map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        Ok((full.to_string_lossy().into_owned(), text))
    }

    fn methods(&self) -> &[MethodDescriptor] {
        &self.methods
    }

    fn networks(&self) -> &[BlockDescriptor] {
        &tables().networks
    }

    fn data_settings(&self) -> Option<&BlockDescriptor> {
        Some(&tables().data)
    }

    fn collect_settings(&self) -> Option<&BlockDescriptor> {
        Some(&tables().collect)
    }

    fn report_settings(&self) -> Option<&BlockDescriptor> {
        Some(&tables().report)
    }

    /// Before plugins have been looked for, none is missing: the recipe is only asked what it wants.
    fn plugin(&self, id: &str, version: Option<&str>) -> Result<(), PluginFault> {
        self.plugins.map_or(Ok(()), |plugins| plugins.usable(id, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_relative_to_the_importing_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.fusion"), "fusion 1\n").unwrap();
        let machine = Machine::new(&Registry::new(), None);
        let base = folder.path().to_string_lossy();
        let (path, text) = machine.read(&base, "a.fusion").unwrap();
        assert!(path.ends_with("a.fusion"));
        assert_eq!(text, "fusion 1\n");
        assert!(machine.read(&base, "b.fusion").is_err());
        assert!(machine.read(&base, ".").unwrap_err().contains("not a file"));
    }
}
