//! Finds the symmetries of a network from its captured graph, and proves by running it that they are some.
//!
//! Every axis of every tensor gets an expression over nodes (see [`fusion_sdk::symmetry`]). One walk over the operations ties axes that
//! must move together, splits nodes where reshapes cut them, and pins what cannot move: inputs, outputs, positions, data constants, and all
//! that an operation without a rule touches. So what is found is a symmetry by construction; it may be smaller than the true group, for
//! instance where two blocks of zero padding could change places.

mod chain;
mod declared;
mod error;
mod expression;
mod groups;
mod names;
mod result;
mod rule;
mod scale;
mod sides;
mod verify;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use burn_ir::GraphIr;
use fusion_sdk::symmetry::{Product, Symmetries, TensorRole};

pub use error::SymmetriesError;
pub use verify::{Checked, Verified, verify};

use crate::architecture::Architecture;
use crate::error::NetworkError;
use crate::graph::{self, CapturedNetwork};
use crate::network::contained;
use result::{Found, Parameter, Values};
use walk::{Graph, walk};

/// The symmetries of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// In the order and layout of the flat vectors: weights of linear layers are [in, out].
    pub flat: Symmetries,
    /// The same nodes, in the layout of the file.
    pub disk: Symmetries,
    values: Values,
}

impl Inferred {
    /// The axes of a tensor of the captured graph, each as products over the same nodes. What is repeated or constant counts as pinned.
    /// `None` for a number that the graph does not have, and where units of different kinds alternate along an axis.
    #[must_use]
    pub fn axes_of(&self, id: u64) -> Option<&[Vec<Product>]> {
        self.values.get(&id).map(Vec::as_slice)
    }
}

impl Architecture {
    /// The symmetries of all networks of this architecture, inferred from its graph of operations.
    ///
    /// # Errors
    /// If burn cannot record the graph.
    pub fn symmetries(&self) -> Result<Inferred, NetworkError> {
        let (graph, captured) = contained(|| graph::record(self))?;
        let parameters = parameters(&captured);
        let Found { flat, disk, values } = infer(&graph, &parameters, captured.input, captured.output);
        Ok(Inferred { flat, disk, values })
    }
}

/// The network's tensors in the graph.
fn parameters(captured: &CapturedNetwork) -> Vec<Parameter> {
    let parameters = captured.tensors.iter().map(|tensor| Parameter {
        id: tensor.id,
        name: tensor.name.clone(),
        role: role(&tensor.name),
        transposed: tensor.transposed,
    });
    parameters.collect()
}

/// What a tensor is, by its name.
fn role(name: &str) -> TensorRole {
    match name.rsplit('.').next() {
        Some("running_mean") => TensorRole::Mean,
        Some("running_var") => TensorRole::Variance,
        _ => TensorRole::Parameter,
    }
}

/// Infers the symmetries of any captured graph.
fn infer(graph: &GraphIr, parameters: &[Parameter], input: u64, output: u64) -> Found {
    let named: BTreeMap<u64, String> = parameters.iter().map(|own| (own.id, own.name.clone())).collect();
    let graph = Graph { operations: &graph.operations, parameters: named, input, output };
    let mut walk = walk(&graph);
    let sides = sides::sides(&graph);
    let variances: BTreeSet<u64> = parameters
        .iter()
        .filter(|parameter| parameter.role == TensorRole::Variance)
        .map(|parameter| parameter.id)
        .collect();
    let fixed = scale::fixed(&graph, &walk, &sides, &variances);
    let notes = chain::notes(&graph, &walk.pins);
    result::result(&mut walk, parameters, &sides, &fixed, notes)
}

#[cfg(test)]
mod tests;
