//! What units are compared by: the weights that come into them under the transforms so far, or activations from one pass over the data.

use fusion_sdk::align::{Candidate, Features, When};
use fusion_sdk::alignment::Transform;
use fusion_sdk::symmetry::NodeId;
use fusion_sdk::{Context, MethodError};

use super::Residual;
use crate::branches::{Branch, branches};
use crate::distances::Distances;
use crate::family::Family;
use crate::ports;
use crate::rows::{Rows, brought, rows};
use crate::watch::Views;

/// Activation distances of one model, for each place that shows a node: the node, and its units' distances.
pub(super) type Watch = Vec<(NodeId, Distances)>;

/// Runs the data through the reference (the first model) and all others once.
///
/// # Errors
/// See [`Views::pass`].
pub(super) fn watch(
    features: &mut dyn Features,
    at: When,
    models: &[Candidate<'_>],
    context: Context<'_>,
) -> Result<Vec<Watch>, MethodError> {
    let [reference, moving @ ..] = models else { return Ok(Vec::new()) };
    let nodes: Vec<NodeId> = reference.symmetries.ids().collect();
    let views = Views::new(reference.symmetries, features.taps(), at, &nodes);
    let units = |model: &Candidate<'_>, node: NodeId| {
        model.symmetries.copies(node) * model.symmetries.node(node).size
    };
    let empty = |model: &Candidate<'_>| {
        let of = |node: NodeId| (node, Distances::new(units(model, node), units(reference, node)));
        views.views.iter().map(|view| of(view.node)).collect::<Watch>()
    };
    let mut found: Vec<Watch> = moving.iter().map(empty).collect();
    views.pass(features, models, |view, batch| {
        let [own, others @ ..] = batch else { return Ok(()) };
        for (watch, other) in found.iter_mut().zip(others) {
            watch[view].1.add(context, other, own)?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Distances between the units of one model and of the reference.
pub(super) struct Costs<'a> {
    pub(super) reference: &'a Candidate<'a>,
    pub(super) from: &'a Candidate<'a>,
    pub(super) seen: Option<&'a Watch>,
    pub(super) residual: Residual,
    pub(super) context: Context<'a>,
}

impl Costs<'_> {
    /// Distances of a node's units, one for each plan that is to be made of them; none if nothing says anything of them, or for a stream that
    /// stays. Nodes that no place shows are compared by weights.
    ///
    /// # Errors
    /// A tensor cannot be read, a value is not finite, or the models are of different kinds.
    pub(super) fn of(
        &self,
        family: &Family,
        node: NodeId,
        transforms: &[Option<Transform>],
    ) -> Result<Option<Vec<Distances>>, MethodError> {
        let all = branches(self.reference.symmetries, family, node);
        if self.residual == Residual::Identity && all.len() > 1 {
            return Ok(None);
        }
        let watched = self.watched(node);
        if !watched.is_empty() {
            return Ok(Some(self.chosen(watched)));
        }
        let ready = |branch: &&Branch| branch.inputs.iter().all(|id| transforms[id.index()].is_some());
        let mut found = Vec::new();
        for branch in self.picked(all.iter().filter(ready).collect()) {
            found.push(self.weights(family, node, branch, transforms)?);
        }
        Ok(Some(self.chosen(found)))
    }

    /// Whether some node is compared by weights.
    pub(super) fn looks_at_weights(&self, families: &[Family]) -> bool {
        self.seen.is_none() || self.unwatched(families) > 0
    }

    /// Nodes that are written and that no place shows.
    pub(super) fn unwatched(&self, families: &[Family]) -> usize {
        let missing = |family: &Family| {
            let unseen = |node: &&NodeId| {
                self.watched(**node).is_empty()
                    && !branches(self.reference.symmetries, family, **node).is_empty()
            };
            family.nodes.iter().filter(unseen).count()
        };
        families.iter().map(missing).sum()
    }

    fn watched(&self, node: NodeId) -> Vec<Distances> {
        let seen = self.seen.into_iter().flatten().filter(|(own, _)| *own == node);
        seen.map(|(_, distances)| distances.clone()).collect()
    }

    fn picked<T>(&self, mut all: Vec<T>) -> Vec<T> {
        match self.residual {
            Residual::First => all.truncate(1),
            Residual::Last => drop(all.drain(..all.len().saturating_sub(1))),
            Residual::All | Residual::Mean | Residual::Identity => {}
        }
        all
    }

    /// One for each plan.
    fn chosen(&self, all: Vec<Distances>) -> Vec<Distances> {
        let all = self.picked(all);
        if self.residual == Residual::Mean {
            return all;
        }
        let sum = all.into_iter().reduce(|mut sum, more| {
            sum.join(&more);
            sum
        });
        sum.into_iter().collect()
    }

    /// By the weights that come in through one branch.
    fn weights(
        &self,
        family: &Family,
        node: NodeId,
        branch: &Branch,
        transforms: &[Option<Transform>],
    ) -> Result<Distances, MethodError> {
        let (from, to) = (self.from.symmetries, self.reference.symmetries);
        let mut sum =
            Distances::new(from.copies(node) * from.node(node).size, to.copies(node) * to.node(node).size);
        for place in &branch.places {
            let name = &to.tensors[place.tensor].name;
            let own = ports::values(self.from, place.tensor)?;
            let own = brought(from, to, transforms, family, place.tensor, &own)?.rows(node, place);
            let other = ports::values(self.reference, place.tensor)?;
            let other = rows(to, &to.tensors[place.tensor].axes, node, place, &other);
            if let (Some(own), Some(other)) = (own, other) {
                self.add(&mut sum, &own, &other, name)?;
            }
        }
        Ok(sum)
    }

    fn add(&self, sum: &mut Distances, own: &Rows, other: &Rows, tensor: &str) -> Result<(), MethodError> {
        sum.add(self.context, own, other).map_err(|mut error| {
            let (from, to) = (self.from.name, self.reference.name);
            error.message = format!("`{tensor}` of `{from}` does not fit that of `{to}`: {}", error.message);
            error
        })
    }
}
