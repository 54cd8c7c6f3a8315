//! What can be wrong with symmetries that are declared or proved for a network.

use fusion_sdk::symmetry::SymmetryError;

/// Symmetries that a network does not have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SymmetriesError {
    /// They contradict themselves, or tensors have other shapes.
    #[error("the symmetries do not hold together: {0}")]
    Description(#[from] SymmetryError),
    /// A tensor is described that the network does not have.
    #[error("the symmetries describe `{tensor}`, and this network has no such tensor")]
    Unknown {
        /// The tensor.
        tensor: String,
    },
    /// Moving the units of a node changes what the network computes.
    #[error(
        "`{node}` is no symmetry of this network: {problem} (its units are those of {}; operations: {chain})",
        .tensors.iter().map(|tensor| format!("`{tensor}`")).collect::<Vec<_>>().join(", ")
    )]
    Broken {
        /// The node.
        node: String,
        /// The tensors that use it.
        tensors: Vec<String>,
        /// What happened.
        problem: String,
        /// The operations from the first of these tensors on.
        chain: String,
    },
    /// Nodes that hold one by one do not hold together.
    #[error(
        "the nodes hold one by one, and moved together they change the outputs by {change:.1e} of the largest"
    )]
    Together {
        /// Largest change, relative to the largest output.
        change: f64,
    },
    /// The network's outputs are not finite, so that nothing can be compared.
    #[error(
        "the network's outputs are not finite, so its symmetries cannot be verified: take other weights or data"
    )]
    Outputs,
}
