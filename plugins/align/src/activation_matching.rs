//! `activation_matching`: units are matched by what they do on data.
//!
//! For every node C[i, j] is the correlation of unit i of the reference with unit j of the model over all examples (and positions: pixels of a
//! channel, tokens), and the permutation is the assignment that maximises Σ_i C[i, p(i)]. All statistics come from one pass over the
//! data, in f64, weighted by examples whatever the size of the last batch.
//!
//! - Where several layers show one node (every block that adds to a residual stream), their matrices are added.
//! - The dimensions of a head are compared for every pair of heads, and heads go where their dimensions fit best (`nested`).
//! - A unit that never changes correlates with nothing (0), so dead units keep their places as far as they can.
//! - Nodes that no layer shows stay as they are; the fact `unseen` counts their units.
//!
//! `at = after` looks behind the activation, as the next layer does. REPAIR's code matches layer after layer and runs the partly permuted
//! model in between; permutations do not change what units do, so that gives the same matrices, and there is no such setting here.
//! Differences to it: no 10⁻⁴ in the denominator, no mean of batch means.
//!
//! Facts: `objective_before` and `objective` (Σ C at the identity and at the result), `moved`, `units`, `unseen`, `examples` (rows of the layer
//! with the fewest); over several models sums.
//!
//! Li, Yosinski, Clune, Lipson, Hopcroft, "Convergent learning", ICLR 2016; Tatro et al., "Optimizing mode connectivity via neuron
//! alignment", NeurIPS 2020; Jordan et al., "REPAIR", ICLR 2023; Ainsworth, Hayase, Srinivasa, "Git Re-Basin", ICLR 2023 (inner products).

mod cross;

use fusion_sdk::align::{Align, Aligned, Candidate, Features, Incoming, Matching, When};
use fusion_sdk::symmetry::{NodeId, Symmetries};
use fusion_sdk::{About, Category, Claim, Context, ErrorKind, MethodError, Params, Words};

use crate::cost::Joint;
use crate::family::families;
use crate::nested;
use crate::ports;
use crate::state::State;
use crate::watch::Views;

use cross::Cross;

/// What two units are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Cost {
    /// Pearson's correlation
    Correlation,
    /// the mean of their product
    InnerProduct,
}

/// Where activations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Place {
    /// what a layer gives, before normalisation and activation
    Before,
    /// what the next layer takes in
    After,
}

/// Stage parameters of `activation_matching`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct ActivationMatchingParams {
    /// what two units are compared by
    #[param(default = Cost::Correlation)]
    pub cost: Cost,
    /// where activations are taken
    #[param(default = Place::After)]
    pub at: Place,
    /// batches are run until every layer has shown this many rows (default: all data)
    #[param(range = 1..)]
    pub examples: Option<u64>,
}

/// The kernel of `activation_matching`.
#[derive(Clone, Debug)]
pub struct ActivationMatching {
    params: ActivationMatchingParams,
}

impl Align for ActivationMatching {
    type Params = ActivationMatchingParams;

    fn about() -> About {
        About {
            id: "activation_matching",
            version: 1,
            category: Category::Align,
            summary: "units matched by their values on data",
            formula: "P = argmax ⟨P, C⟩, C[i, j] = corr(unit i of the reference, unit j of the model)",
            citation: "Li et al., Convergent learning, ICLR 2016; Ainsworth, Hayase, Srinivasa, Git Re-Basin, ICLR 2023",
            ports: vec![
                ports::reference(),
                ports::from(1, None, "the models that are brought over"),
                ports::data(1),
            ],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: ActivationMatchingParams, incoming: Incoming) -> Result<Self, MethodError> {
        if incoming.reference == 0 {
            return Err(MethodError::invalid("`activation_matching` needs a model to bring others over to")
                .help("name it: `reference NAME`"));
        }
        if !incoming.data {
            return Err(MethodError::invalid("`activation_matching` needs data to run the networks on")
                .help("connect a data set: `data NAME`"));
        }
        Ok(ActivationMatching { params })
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        ports::same(matching.models)?;
        let moving = matching.moving();
        let features = matching.features.ok_or_else(|| {
            MethodError::invalid("there are no activations to compare")
                .help("connect data (`data NAME`), and give the models an architecture")
        })?;
        let ActivationMatchingParams { cost, at, examples } = self.params;
        let seen = look(features, matching.models, cost, at, examples, matching.context)?;
        let mut all = Aligned::default();
        let (mut before, mut after, mut moved, mut units) = (0.0, 0.0, 0, 0);
        for (model, joints) in moving.iter().zip(&seen.joints) {
            let identity = State::identity(model.symmetries);
            let state = solve(model.symmetries, joints, matching.context)?;
            let worth = |state: &State| -> f64 {
                joints.iter().flatten().map(|joint| joint.value(model.symmetries, state)).sum()
            };
            before += worth(&identity);
            after += worth(&state);
            moved += state.moved_from(&identity);
            units += count(model.symmetries, |_| true);
            all.alignments.push(state.alignment(model.symmetries, matching.target));
        }
        let models = moving.len();
        let facts = [
            ("objective_before", before),
            ("objective", after),
            ("moved", moved as f64),
            ("units", units as f64),
            ("unseen", (models * count(matching.target, |id| !seen.nodes[id.index()])) as f64),
            ("examples", seen.examples as f64),
        ];
        all.facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(all)
    }
}

/// Units of some nodes.
fn count(symmetries: &Symmetries, wanted: impl Fn(NodeId) -> bool) -> usize {
    let units = |id: NodeId| symmetries.copies(id) * symmetries.node(id).size;
    symmetries.ids().filter(|id| wanted(*id)).map(units).sum()
}

/// What a pass over the data has shown.
struct Seen {
    /// For each model but the first, and for each family, its costs.
    joints: Vec<Vec<Vec<Joint>>>,
    /// Which nodes a layer shows.
    nodes: Vec<bool>,
    /// Rows of the layer with the fewest.
    examples: u64,
}

/// The permutations that match activations of each model to those of the first one.
///
/// # Errors
/// A model cannot be run, no layer shows its units, an activation is not finite (with the layer), or the user asked to stop.
pub(crate) fn states(
    features: &mut dyn Features,
    models: &[Candidate<'_>],
    cost: Cost,
    at: Place,
    examples: Option<u64>,
    context: Context<'_>,
) -> Result<Vec<State>, MethodError> {
    let seen = look(features, models, cost, at, examples, context)?;
    let each = models[1..].iter().zip(&seen.joints);
    each.map(|(model, joints)| solve(model.symmetries, joints, context)).collect()
}

/// The best permutations under the costs of all families.
fn solve(symmetries: &Symmetries, joints: &[Vec<Joint>], context: Context<'_>) -> Result<State, MethodError> {
    let mut state = State::identity(symmetries);
    for (family, joints) in families(symmetries).iter().zip(joints) {
        context.check()?;
        if family.nested {
            nested::solve(symmetries, family, joints, context)?.put(&mut state);
            continue;
        }
        for &node in &family.nodes {
            let tables = nested::single(symmetries, node, joints, &state)?;
            state.set(node, tables);
        }
    }
    Ok(state)
}

/// One pass over the data.
fn look(
    features: &mut dyn Features,
    models: &[Candidate<'_>],
    cost: Cost,
    at: Place,
    examples: Option<u64>,
    context: Context<'_>,
) -> Result<Seen, MethodError> {
    let Some(first) = models.first() else { return Err(MethodError::invalid("there are no models")) };
    let symmetries = first.symmetries;
    let when = match at {
        Place::Before => When::Before,
        Place::After => When::After,
    };
    let nodes: Vec<NodeId> = symmetries.ids().collect();
    let views = Views::new(symmetries, features.taps(), when, &nodes);
    if views.views.is_empty() {
        return Err(MethodError::invalid("no layer of the network shows units that can be permuted"));
    }
    let mut found = vec![vec![Cross::default(); models.len() - 1]; views.views.len()];
    // Rows of each view so far.
    let mut rows = vec![0_u64; views.views.len()];
    let mut enough = false;
    let passed = views.pass(features, models, |view, batch| {
        let least = rows.iter().copied().min().unwrap_or(0);
        if view == 0 && examples.is_some_and(|examples| least >= examples) {
            enough = true;
            return Err(MethodError::new(ErrorKind::Cancelled, "enough"));
        }
        rows[view] += batch[0].columns as u64;
        for (cross, other) in found[view].iter_mut().zip(&batch[1..]) {
            cross.add(context, &batch[0], other)?;
        }
        Ok(())
    });
    if !enough {
        passed?;
    }
    let families = families(symmetries);
    let mut joints = vec![vec![Vec::new(); families.len()]; models.len() - 1];
    let mut shown = vec![false; symmetries.nodes.len()];
    for (view, crosses) in views.views.iter().zip(found) {
        // Parents come before what lies in them, and units of a view are numbered by them first.
        let mut together = symmetries.node(view.node).parents.clone();
        together.push(view.node);
        together.iter().for_each(|id| shown[id.index()] = true);
        let Some(family) = families.iter().position(|family| family.has(view.node)) else { continue };
        for (joints, cross) in joints.iter_mut().zip(crosses) {
            let own: &mut Vec<Joint> = &mut joints[family];
            let at = own.iter().position(|joint| joint.nodes == together).unwrap_or_else(|| {
                own.push(Joint::zeros(symmetries, &together));
                own.len() - 1
            });
            cross.add_to(cost, &mut own[at].values);
        }
    }
    Ok(Seen { joints, nodes: shown, examples: rows.into_iter().min().unwrap_or(0) })
}

#[cfg(test)]
mod tests;
