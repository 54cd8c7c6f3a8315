//! Why the symmetries of a checkpoint are not known, and what to do.

use fusion_sdk::alignment::StructureError;
use fusion_sdk::symmetry::TextError;

/// No symmetries for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// No template knows the names.
    #[error("no template knows tensors such as {}; there are templates for {}", quoted(.found), .known.join("; "))]
    Unrecognised {
        /// A tensor that tells each template.
        known: Vec<&'static str>,
        /// The first tensors that are there.
        found: Vec<String>,
    },
    /// A number that shapes do not tell.
    #[error("{template}: `{field}` is needed, and {missing}")]
    Config {
        /// The template.
        template: &'static str,
        /// In `config.json`.
        field: String,
        /// What is missing, or what is wrong with it.
        missing: String,
    },
    /// A tensor of the family is not there.
    #[error("{template}: `{tensor}` is missing")]
    Missing {
        /// The template.
        template: &'static str,
        /// The tensor.
        tensor: String,
    },
    /// A layer of the family is not there, and one behind it is.
    #[error("{template}: there is no tensor of `{layer}`, and there are some of `{later}`")]
    Layer {
        /// The template.
        template: &'static str,
        /// The layer.
        layer: String,
        /// The one behind it.
        later: String,
    },
    /// A tensor has another shape.
    #[error("{template}: `{tensor}` is {found:?}, and {wanted}")]
    Shape {
        /// The template.
        template: &'static str,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// What should hold.
        wanted: String,
    },
    /// A tensor that may be a part of what moves.
    #[error(
        "{template}: `{tensor}` {shape:?} is not known to this template, and it is in a layer whose units move, or as long as units that move"
    )]
    Unknown {
        /// The template.
        template: &'static str,
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Units that are made and never read.
    #[error(
        "the units `{node}` may change places where `{made}` makes them, and nothing is declared to read them{}",
        .left.as_ref().map_or_else(String::new, |left| format!("; `{left}` is as long, and left out"))
    )]
    Unread {
        /// The node.
        node: String,
        /// A tensor that makes them.
        made: String,
        /// A tensor that may read them.
        left: Option<String>,
    },
    /// Units that are read and never made.
    #[error(
        "the units `{node}` may change places where `{tensor}` reads them, and nothing is declared to make them"
    )]
    Unmade {
        /// The node.
        node: String,
        /// A tensor that reads them.
        tensor: String,
    },
    /// A module of which only one tensor is declared.
    #[error(
        "`{tensor}` {shape:?} is left out, and `{declared}` of the same module makes as many units that may change places"
    )]
    Half {
        /// What is left out.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What is declared.
        declared: String,
    },
    /// The file of a declaration cannot be read.
    #[error("`{path}` cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        error: String,
    },
    /// The file of a declaration is none.
    #[error("`{path}`: {error}")]
    Text {
        /// The file.
        path: String,
        /// Where, and what is wrong.
        error: TextError,
    },
    /// An architecture has none.
    #[error("{message}")]
    Network {
        /// What is wrong.
        message: String,
    },
    /// A description contradicts itself or the shapes.
    #[error(transparent)]
    Structure(#[from] StructureError),
}

impl NamesError {
    /// What to do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let declare = "declare them: a text `NAME.symmetries` beside the checkpoint `NAME`, or the setting `symmetries` of the stage; \
            `fusion symmetries MODEL --text` prints one to begin with for a model that is known";
        match self {
            NamesError::Unrecognised { .. }
            | NamesError::Missing { .. }
            | NamesError::Layer { .. }
            | NamesError::Unknown { .. } => Some(declare.to_owned()),
            NamesError::Config { field, .. } => {
                Some(format!("put the model's `config.json` with `{field}` beside its weights, or {declare}"))
            }
            NamesError::Shape { .. } => {
                Some(format!("if `config.json` is right, the model is of another kind: {declare}"))
            }
            NamesError::Unread { .. } | NamesError::Unmade { .. } | NamesError::Half { .. } => Some(
                "declare all tensors that make or read these units: rows of a layer, its bias and norm, columns of the layers behind it; and by `pin[n]` what \
                 only looks like it"
                    .to_owned(),
            ),
            NamesError::Structure(_) | NamesError::Text { .. } => {
                Some("`fusion symmetries MODEL --text` shows what such a text looks like for a model that is known".to_owned())
            }
            NamesError::Unreadable { .. } | NamesError::Network { .. } => None,
        }
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() { "none at all".to_owned() } else { quoted.join(", ") }
}
