//! Networks made wider or narrower: what matching with growing layers asks for.

use super::Architecture;
use super::kinds::Settings;

impl Architecture {
    /// The same network with other widths of its hidden layers, read from the shapes that its tensors are to have; `None` for architectures
    /// whose widths hang together (only an `mlp` is free), and if a tensor has no shape.
    #[must_use]
    pub fn with_widths(&self, shape: impl Fn(&str) -> Option<Vec<usize>>) -> Option<Architecture> {
        let Settings::Mlp(settings) = &self.settings else { return None };
        let mut settings = settings.clone();
        for (layer, width) in settings.hidden.iter_mut().enumerate() {
            *width = *shape(&format!("layers.{layer}.weight"))?.first()?;
        }
        Some(Architecture { settings: Settings::Mlp(settings), input: self.input.clone() })
    }
}
