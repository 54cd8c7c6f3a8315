//! The words of the language in one place, for the splitter, "did you mean" and syntax highlighting.

/// Words that start an item (without the header's `fusion`).
pub const ITEMS: &[&str] = &[
    "use", "import", "param", "let", "model", "data", "align", "repair", "connect", "average", "select",
    "stitch", "train", "ensemble", "distill", "evaluate", "save", "report", "expect", "sweep", "for",
];

/// Words that start a clause of a stage's block beside the method's own edges and parameters.
pub const CLAUSES: &[&str] = &["on", "take", "rest", "between", "collect"];

/// Words that can never be a name.
pub const RESERVED: &[&str] = &[
    "use", "import", "param", "let", "expect", "sweep", "on", "using", "and", "or", "not", "in", "if",
    "else", "for", "true", "false",
];

/// Words that join the parts of items and clauses; they may also be names.
pub const JOINERS: &[&str] = &["plugin", "version", "as", "with", "from", "of", "to", "layers", "tensors"];

/// Whether a word starts an item.
pub fn is_item(word: &str) -> bool {
    ITEMS.contains(&word)
}

/// Whether a word can never be a name.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}
