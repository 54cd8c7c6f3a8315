//! Text attributes. They repeat what the words say and never replace it.

/// Whether attributes are written at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    pub(crate) fn new(on: bool) -> Self {
        Style { on }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Headings and names.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Places and defaults.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What is not.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What will happen.
    pub(crate) fn act(self, text: &str) -> String {
        self.paint("36", text)
    }
}
