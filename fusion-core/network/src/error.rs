//! What can go wrong, with the place and the fix where it is known.

use std::fmt;

/// A network's description does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchitectureError {
    /// No architecture has this name.
    #[error("there is no architecture `{name}`{}; the architectures are {}", Meant(.suggestion), .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name, if one is near.
        suggestion: Option<String>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// An argument's name is not known, or it is given twice or too much.
    #[error("`{architecture}` has no argument `{argument}`{}; its arguments are {}", Meant(.suggestion), .known.join(", "))]
    UnknownArgument {
        /// The architecture.
        architecture: &'static str,
        /// What was given: a name, or a place such as `3` for arguments without names.
        argument: String,
        /// The nearest name, if one is near.
        suggestion: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// An argument's value does not fit, alone or together with others.
    #[error("`{architecture}`: {message}{}", Fix(.help))]
    Argument {
        /// The architecture.
        architecture: &'static str,
        /// Which argument, where one is to blame.
        argument: Option<String>,
        /// What is wrong.
        message: String,
        /// How to fix it.
        help: Option<String>,
    },
}

/// A state does not fit a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A tensor of the network is not there.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// The network has no such tensor.
    #[error("there is no tensor `{name}` in this network")]
    Unexpected {
        /// Its name.
        name: String,
    },
    /// A tensor is there twice.
    #[error("tensor `{name}` is there twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape.
    #[error("tensor `{name}` has shape {found:?}, the network wants {wanted:?}")]
    Shape {
        /// Its name.
        name: String,
        /// What it has.
        found: Vec<usize>,
        /// What the network wants.
        wanted: Vec<usize>,
    },
    /// A tensor's values are of another type or number.
    #[error("tensor `{name}` holds {found}, the network wants {wanted}")]
    Values {
        /// Its name.
        name: String,
        /// Type and number that are there.
        found: String,
        /// What the network wants.
        wanted: String,
    },
    /// Flat vectors are of another length.
    #[error("the flat {part} hold {found} numbers, the network has {wanted}")]
    Length {
        /// `weights` or `statistics`.
        part: &'static str,
        /// Length that was given.
        found: usize,
        /// Length of the network.
        wanted: usize,
    },
    /// A foreign checkpoint's tensors cannot be told apart or are not there.
    #[error(
        "the checkpoint's names differ from the network's and do not fit in only one way: {}",
        Undecided(.undecided)
    )]
    Ambiguous {
        /// What is not decided: each tensor with what could be it.
        undecided: Vec<Candidates>,
    },
}

/// A tensor of the network and what could be it in a foreign checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The network's tensor.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Foreign tensors of that shape that are not given away; none: nothing fits.
    pub foreign: Vec<String>,
}

/// A computation on a network is not possible or failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// Weights, statistics or gradient have a wrong length.
    #[error("the {part} have {found} elements, this network has {wanted}")]
    Length {
        /// Which vector.
        part: &'static str,
        /// Length that was given.
        found: usize,
        /// Length of the network.
        wanted: usize,
    },
    /// The inputs of a batch do not suit the network.
    #[error("inputs: {message}")]
    Inputs {
        /// What is wrong.
        message: String,
    },
    /// The targets of a batch do not suit the network.
    #[error("targets: {message}")]
    Targets {
        /// What is wrong.
        message: String,
    },
    /// A batch is too small for BatchNorm's statistics.
    #[error(
        "BatchNorm cannot take the variance of one value for each channel: use batches of at least 2 examples \
         (drop the last batch of an epoch, or choose another batch size)"
    )]
    BatchTooSmall,
    /// An option's value does not hold.
    #[error("`{option}` must {wanted}, it is {found}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What holds.
        wanted: &'static str,
        /// What was given.
        found: String,
    },
    /// A layer cannot do what is asked of it.
    #[error("layer `{layer}`: {message}")]
    Layer {
        /// Its name.
        layer: String,
        /// What does not work.
        message: String,
    },
    /// Symmetries do not hold.
    #[error(transparent)]
    Symmetries(#[from] crate::symmetry::SymmetriesError),
    /// The device failed.
    #[error("the device failed: {message}")]
    Device {
        /// What it said.
        message: String,
    },
}

/// `: did you mean …?`
struct Meant<'a>(&'a Option<String>);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, " (did you mean `{name}`?)"),
            None => Ok(()),
        }
    }
}

/// `; help`
struct Fix<'a>(&'a Option<String>);

impl fmt::Display for Fix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// The first few undecided tensors.
struct Undecided<'a>(&'a [Candidates]);

impl fmt::Display for Undecided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        for (index, one) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            let shape = &one.shape;
            write!(f, "{separator}`{}` {shape:?} ", one.tensor)?;
            match one.foreign.as_slice() {
                [] => write!(f, "fits nothing")?,
                names => write!(f, "could be {}", names.join(" or "))?,
            }
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
