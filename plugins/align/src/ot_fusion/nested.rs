//! Plans of a family from the inside out: which head goes with which depends on what transport within them costs.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use fusion_sdk::align::Candidate;
use fusion_sdk::alignment::Transform;
use fusion_sdk::symmetry::NodeId;
use fusion_sdk::{Context, ErrorKind, MethodError};

use super::plan::{Coupled, Found, permutation, transform};
use super::{OtFusion, Solved};
use crate::distances::Distances;
use crate::family::Family;
use crate::rows::whole;

/// Distances of each node of a family.
type Costs = [(NodeId, Option<Vec<Distances>>)];

/// Solves a family. Nodes of which nothing is known stay; so do all nodes of a family that lie in several others at once.
///
/// # Errors
/// Nodes that stay or go as wholes have different sizes, a distance is not finite, or the user asked to stop.
pub(super) fn solve(
    method: &OtFusion,
    models: [&Candidate<'_>; 2],
    family: &Family,
    costs: &Costs,
    context: Context<'_>,
) -> Result<Solved, MethodError> {
    let nest = Nest { method, models, family, costs, context };
    if !family.nested {
        let stay = |node: &NodeId| nest.stays(*node).map(|()| (*node, Transform::Identity));
        let transforms = family.nodes.iter().map(stay).collect::<Result<_, _>>()?;
        return Ok(Solved { cost: 0.0, error: 0.0, transforms });
    }
    let mut solved = Solved { cost: 0.0, error: 0.0, transforms: Vec::new() };
    let roots = family.nodes.iter().filter(|node| nest.parents(**node).is_empty());
    for root in roots {
        let tree = nest.tree(*root, 0, 0)?;
        solved.cost += tree.cost;
        solved.error = solved.error.max(tree.error);
        for (node, entries) in tree.entries {
            let entries: Option<Vec<Coupled>> = entries.into_iter().collect();
            let found = entries.map_or(Transform::Identity, |entries| transform(&entries, method.readers));
            solved.transforms.push((node, found));
        }
    }
    Ok(solved)
}

struct Nest<'a> {
    method: &'a OtFusion,
    models: [&'a Candidate<'a>; 2],
    family: &'a Family,
    costs: &'a Costs,
    context: Context<'a>,
}

/// What was found for a node and all that lies in it, for one copy of each model.
struct Tree {
    /// Σ over nodes of cost · slots.
    cost: f64,
    error: f64,
    /// Entries of each node, in the order of the result's copies; `None` for what stays.
    entries: Vec<(NodeId, Vec<Option<Coupled>>)>,
}

impl Nest<'_> {
    fn parents(&self, node: NodeId) -> &[NodeId] {
        &self.models[1].symmetries.node(node).parents
    }

    fn size(&self, model: usize, node: NodeId) -> usize {
        self.models[model].symmetries.node(node).size
    }

    /// Refuses different sizes of a node that is not transported.
    fn stays(&self, node: NodeId) -> Result<(), MethodError> {
        let (units, slots) = (self.size(0, node), self.size(1, node));
        if units == slots {
            return Ok(());
        }
        let name = &self.models[1].symmetries.node(node).name;
        let [from, to] = self.models.map(|model| model.name);
        let message = format!(
            "`{name}` has {units} units in `{from}` and {slots} in `{to}`, and cannot be transported"
        );
        Err(MethodError::new(ErrorKind::Shape, message)
            .help("heads, groups and streams that stay need the same number in both models"))
    }

    fn ranges(&self, node: NodeId, copies: [usize; 2]) -> [Range<usize>; 2] {
        [0, 1].map(|model| {
            let size = self.size(model, node);
            copies[model] * size..(copies[model] + 1) * size
        })
    }

    /// A node in copy `from` of the model and copy `to` of the reference, with all that lies in it.
    fn tree(&self, node: NodeId, from: usize, to: usize) -> Result<Tree, MethodError> {
        let own = self.costs.iter().find(|(id, _)| *id == node).map(|(_, costs)| costs);
        let distances: &[Distances] = own.and_then(Option::as_ref).map_or(&[], Vec::as_slice);
        let mut chain = self.parents(node).to_vec();
        chain.push(node);
        let children: Vec<NodeId> =
            self.family.nodes.iter().copied().filter(|id| self.parents(*id) == chain).collect();
        let [rows, columns] = self.ranges(node, [from, to]);
        let (units, slots) = (rows.len(), columns.len());
        if children.is_empty() && distances.is_empty() {
            self.stays(node)?;
            return Ok(Tree { cost: 0.0, error: 0.0, entries: vec![(node, vec![None])] });
        }
        let symmetries = self.models[1].symmetries;
        if children.is_empty() && !whole(symmetries, node) {
            let plans =
                distances.iter().map(|own| self.method.coupling.solve(own, rows.clone(), columns.clone()));
            let found = Found::mean(plans.collect::<Result<_, _>>()?, units, slots);
            let cost = found.cost * slots as f64;
            return Ok(Tree { cost, error: found.error, entries: vec![(node, vec![Some(found.coupled)])] });
        }
        self.stays(node)?;
        let mut costs = vec![0.0; units * slots];
        for own in distances {
            let more = own.costs(rows.clone(), columns.clone(), self.method.coupling.metric);
            costs.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        if !children.is_empty() {
            let lines: Vec<Mutex<&mut [f64]>> = costs.chunks_mut(slots).map(Mutex::new).collect();
            self.context.for_each(units, |unit| {
                let mut line = lines[unit].lock().unwrap_or_else(PoisonError::into_inner);
                for (slot, sum) in line.iter_mut().enumerate() {
                    for child in &children {
                        *sum += self.tree(*child, from * units + unit, to * slots + slot)?.cost;
                    }
                }
                Ok(())
            })?;
        }
        // A stream of heads that stays keeps its heads, and what lies in them is still transported.
        let table = match own {
            Some(None) => (0..slots as u32).collect(),
            _ => match permutation(&costs, &costs, units)?.coupled {
                Coupled::Table(table) => table,
                Coupled::Plan(_) => (0..slots as u32).collect(),
            },
        };
        let mut tree = Tree { cost: 0.0, error: 0.0, entries: Vec::new() };
        for (slot, &unit) in table.iter().enumerate() {
            tree.cost += costs[unit as usize * slots + slot];
            for child in &children {
                let inner = self.tree(*child, from * units + unit as usize, to * slots + slot)?;
                tree.error = tree.error.max(inner.error);
                for (id, entries) in inner.entries {
                    match tree.entries.iter_mut().find(|(own, _)| *own == id) {
                        Some((_, all)) => all.extend(entries),
                        None => tree.entries.push((id, entries)),
                    }
                }
            }
        }
        tree.entries.push((node, vec![Some(Coupled::Table(table))]));
        Ok(tree)
    }
}
