//! The proof of symmetries by running the network: a random element of every node leaves the outputs unchanged.

use std::collections::BTreeSet;

use fusion_sdk::alignment::{Alignment, AlignmentError, Transform};
use fusion_sdk::batch::Batch;
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{Factor, NodeId, Origin, Side, Symmetries};

use super::walk::Graph;
use super::{SymmetriesError, chain};
use crate::error::NetworkError;
use crate::graph;
use crate::network::{Network, Norm, contained};
use crate::state::Flat;

/// Largest change of outputs by permuted units, relative to the largest output: rounding of sums in another order, in f32.
const PERMUTED: f64 = 1e-4;

/// The same for scaled units, where BatchNorm's ε counts too.
const SCALED: f64 = 1e-3;

/// What was found out about a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Its name.
    pub node: String,
    /// Largest change of an output by a random permutation of its units, relative to the largest output; NaN if it could not be applied.
    pub permuted: f64,
    /// The same by random positive factors, if they were tried.
    pub scaled: Option<f64>,
}

/// Symmetries that hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// With the nodes that failed pinned.
    pub symmetries: Symmetries,
    /// Every node that was there.
    pub report: Vec<Checked>,
    /// Nodes that failed, and why.
    pub pinned: Vec<(String, String)>,
}

/// Applies a random element of each node, and at last of all, to the network's weights and compares its outputs on a batch with running
/// statistics. A node that changes them is pinned and named with the operations that its units go through; scales that do are given up.
/// The batch may be small; its targets play no part. It costs one forward pass for each node (two if it is scalable).
///
/// # Errors
/// Outputs are not finite; a *declared* node changes outputs (nothing is pinned then: the declaration is wrong); or see [`Network::outputs`].
pub fn verify(
    network: &mut Network,
    symmetries: &Symmetries,
    flat: &Flat,
    batch: &Batch,
    seed: u64,
) -> Result<Verified, NetworkError> {
    let check = |error| NetworkError::Symmetries(SymmetriesError::Description(error));
    symmetries.check().map_err(check)?;
    let mut probe = Probe::new(network, flat, batch)?;
    let mut fixed = symmetries.clone();
    let mut report = Vec::new();
    let mut failed: Vec<(NodeId, String)> = Vec::new();
    for id in symmetries.ids() {
        let node = symmetries.node(id);
        let (permuted, problem) = match probe.change(&Alignment::random_of(symmetries, id, seed), symmetries)
        {
            Ok(change) if change <= PERMUTED => (change, None),
            Ok(change) => {
                let problem = format!(
                    "a random permutation of its units changes the outputs by {change:.1e} of the largest, more than {PERMUTED:.0e}"
                );
                (change, Some(problem))
            }
            Err(Trouble::Network(error)) => return Err(error),
            Err(Trouble::Alignment(error)) => (f64::NAN, Some(error.to_string())),
        };
        let mut scaled = None;
        if node.scalable && problem.is_none() {
            let change = match probe.change(&scales(symmetries, id, seed), symmetries) {
                Ok(change) => change,
                Err(Trouble::Network(error)) => return Err(error),
                Err(Trouble::Alignment(_)) => f64::NAN,
            };
            scaled = Some(change);
            if change.is_nan() || change > SCALED {
                fixed.nodes[id.index()].scalable = false;
                fixed.notes.push(format!(
                    "units of `{}` are permuted only: factors change the outputs by {change:.1e} of the largest",
                    node.name
                ));
            }
        }
        report.push(Checked { node: node.name.clone(), permuted, scaled });
        failed.extend(problem.map(|problem| (id, problem)));
    }
    let mut pinned = Vec::new();
    for (id, problem) in &failed {
        let error = broken(probe.network, symmetries, *id, problem.clone())?;
        if symmetries.origin == Origin::Declared {
            return Err(error.into());
        }
        pinned.push((symmetries.node(*id).name.clone(), error.to_string()));
    }
    let ids: Vec<NodeId> = failed.into_iter().map(|(id, _)| id).collect();
    let mut found = fixed.pinned(&ids);
    found.notes.extend(pinned.iter().map(|(_, reason)| reason.clone()));
    let together = match probe.change(&Alignment::random(&found, seed), &found) {
        Ok(together) => together,
        Err(Trouble::Network(error)) => return Err(error),
        Err(Trouble::Alignment(_)) => f64::NAN,
    };
    if together.is_nan() || together > 10.0 * PERMUTED {
        return Err(SymmetriesError::Together { change: together }.into());
    }
    Ok(Verified { symmetries: found, report, pinned })
}

/// A network whose outputs are compared.
struct Probe<'a> {
    network: &'a mut Network,
    flat: &'a Flat,
    batch: &'a Batch,
    outputs: Vec<f32>,
    largest: f64,
}

impl<'a> Probe<'a> {
    fn new(network: &'a mut Network, flat: &'a Flat, batch: &'a Batch) -> Result<Probe<'a>, NetworkError> {
        let outputs = network.outputs(&flat.weights, &flat.statistics, batch, Norm::Running)?;
        if outputs.iter().any(|value| !value.is_finite()) {
            return Err(SymmetriesError::Outputs.into());
        }
        let largest = outputs.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
        Ok(Probe { network, flat, batch, outputs, largest })
    }

    /// Largest change of an output, relative to the largest output.
    fn change(&mut self, alignment: &Alignment, symmetries: &Symmetries) -> Result<f64, Trouble> {
        let Flat { weights, statistics } = self.flat;
        let (weights, statistics) = alignment.apply_flat(symmetries, symmetries, weights, statistics)?;
        let moved = self.network.outputs(&weights, &statistics, self.batch, Norm::Running)?;
        let mut most = 0.0_f64;
        for (a, b) in moved.iter().zip(&self.outputs) {
            let change = (f64::from(*a) - f64::from(*b)).abs();
            most = if change.is_nan() { return Ok(f64::NAN) } else { most.max(change) };
        }
        Ok(if self.largest > 0.0 { most / self.largest } else { most })
    }
}

/// Which tensors a node moves, and through which operations its units go.
fn broken(
    network: &Network,
    symmetries: &Symmetries,
    id: NodeId,
    problem: String,
) -> Result<SymmetriesError, NetworkError> {
    let uses = |reads: bool| -> Vec<String> {
        let tensors = symmetries.tensors.iter().filter(|tensor| {
            tensor.axes.iter().any(|axis| {
                (axis.side != Side::Writes) == reads
                    && axis.segments.iter().flatten().any(|factor| *factor == Factor::Node(id))
            })
        });
        tensors.map(|tensor| tensor.name.clone()).collect()
    };
    let (writers, readers) = (uses(false), uses(true));
    let (graph, captured) = contained(|| graph::record(network.architecture()))?;
    let named = captured.tensors.iter().map(|own| (own.id, own.name.clone())).collect();
    let graph = Graph {
        operations: &graph.operations,
        parameters: named,
        input: captured.input,
        output: captured.output,
    };
    let ends: BTreeSet<String> = readers.iter().cloned().collect();
    let first = writers.first().or(readers.first()).cloned().unwrap_or_default();
    let chain = chain::between(&graph, &first, &ends);
    let mut tensors = writers;
    tensors.extend(readers.into_iter().filter(|name| name != &first));
    tensors.dedup();
    Ok(SymmetriesError::Broken { node: symmetries.node(id).name.clone(), tensors, problem, chain })
}

/// What can go wrong with one element.
enum Trouble {
    Network(NetworkError),
    Alignment(AlignmentError),
}

impl From<NetworkError> for Trouble {
    fn from(error: NetworkError) -> Self {
        Trouble::Network(error)
    }
}

impl From<AlignmentError> for Trouble {
    fn from(error: AlignmentError) -> Self {
        Trouble::Alignment(error)
    }
}

/// Random factors between 1/2 and 2 for the units of a node.
fn scales(symmetries: &Symmetries, id: NodeId, seed: u64) -> Alignment {
    let node = symmetries.node(id);
    let factors = |copy: usize| -> Vec<f64> {
        let key = Key::new(seed, &node.name, copy as u64 + 1);
        (0..node.size as u64).map(|unit| 4.0_f64.powf(f64::from(key.uniform(unit)) - 0.5)).collect()
    };
    let transforms = symmetries.ids().map(|other| match other == id {
        true => Transform::Scale((0..symmetries.copies(id)).map(factors).collect()),
        false => Transform::Identity,
    });
    Alignment::new(symmetries, symmetries, transforms.collect())
}
