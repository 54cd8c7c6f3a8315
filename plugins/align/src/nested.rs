//! Assignment of a family from the inside out: for every pair of parent indices the best assignment of what lies in them is found first, and
//! its value is the worth of that pair.
//!
//! With one root v and children w in v this is exact: max over p of Σ_i (K_v[i, p(i)] + best_w(i, p(i))). Children of one parent that meet in a
//! tensor (query heads and value dimensions of grouped attention, both in the output matrix) have no such formula; they are solved in
//! turn, given each other, until nothing is gained, from every one of them as the first.
//!
//! Nodes whose parents do not lie in each other are solved one at a time ([`single`]).

use std::sync::{Mutex, PoisonError};

use fusion_sdk::assign;
use fusion_sdk::symmetry::{NodeId, Symmetries};
use fusion_sdk::{Context, MethodError};

use crate::cost::Joint;
use crate::family::Family;
use crate::state::{State, Tables};

/// Tables for nodes, with their total worth.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Solution {
    /// Σ of the costs at the tables.
    pub(crate) value: f64,
    /// One entry for each node.
    pub(crate) tables: Vec<(NodeId, Tables)>,
}

impl Solution {
    /// Puts the tables into a state.
    pub(crate) fn put(self, state: &mut State) {
        self.tables.into_iter().for_each(|(id, tables)| state.set(id, tables));
    }
}

/// Rounds of children that meet.
const ROUNDS: usize = 50;

/// The best tables for a family under its costs (larger is better); ties go toward the identity. For families that are not nested see
/// [`single`].
///
/// # Errors
/// A cost is not finite, or the user asked to stop.
pub(crate) fn solve(
    symmetries: &Symmetries,
    family: &Family,
    joints: &[Joint],
    context: Context<'_>,
) -> Result<Solution, MethodError> {
    let joints: Vec<&Joint> = joints.iter().collect();
    Solver { symmetries, context }.all(&family.nodes, &joints)
}

/// The best tables for one node, with all others of its family where `state` has them: one assignment for each index of its parents.
///
/// # Errors
/// As for [`solve`].
pub(crate) fn single(
    symmetries: &Symmetries,
    node: NodeId,
    joints: &[Joint],
    state: &State,
) -> Result<Tables, MethodError> {
    let size = symmetries.node(node).size;
    let mut costs = vec![vec![0.0; size * size]; symmetries.copies(node)];
    for joint in joints.iter().filter(|joint| joint.nodes.contains(&node)) {
        gather(symmetries, joint, node, state, &mut costs);
    }
    costs.iter().map(|costs| assigned(costs, size)).collect()
}

/// Adds a joint to the costs of each copy of a node.
fn gather(symmetries: &Symmetries, joint: &Joint, node: NodeId, state: &State, costs: &mut [Vec<f64>]) {
    let length = joint.length();
    let place = |id: NodeId| joint.nodes.iter().position(|own| *own == id);
    let mut digits = vec![0; joint.nodes.len()];
    for x in 0..length {
        let mut rest = x;
        for (digit, size) in digits.iter_mut().zip(&joint.sizes).rev() {
            *digit = rest % size;
            rest /= size;
        }
        let copy_of = |id: NodeId| symmetries.copy_of(id, |parent| place(parent).map_or(0, |at| digits[at]));
        let (mut base, mut stride, mut own) = (0, 1, (0, 1));
        for (at, &id) in joint.nodes.iter().enumerate().rev() {
            if id == node {
                own = (digits[at], stride);
            } else {
                base += state.table(id, copy_of(id))[digits[at]] as usize * stride;
            }
            stride *= joint.sizes[at];
        }
        let size = symmetries.node(node).size;
        let target = &mut costs[copy_of(node)][own.0 * size..(own.0 + 1) * size];
        for (unit, sum) in target.iter_mut().enumerate() {
            *sum += joint.values[x * length + base + unit * own.1];
        }
    }
}

/// The best permutation of a square matrix of worths.
fn assigned(costs: &[f64], size: usize) -> Result<Vec<u32>, MethodError> {
    let found = assign::solve(costs, size, size, true);
    let found = found.map_err(|error| MethodError::invalid(error.to_string()))?;
    Ok(found.into_iter().enumerate().map(|(row, column)| column.unwrap_or(row) as u32).collect())
}

struct Solver<'a> {
    symmetries: &'a Symmetries,
    context: Context<'a>,
}

impl Solver<'_> {
    /// Nodes with all joints among them. Tables are indexed by those parents that are among the nodes.
    fn all(&self, nodes: &[NodeId], joints: &[&Joint]) -> Result<Solution, MethodError> {
        let roots: Vec<NodeId> =
            nodes.iter().copied().filter(|id| !self.parents(*id).iter().any(|p| nodes.contains(p))).collect();
        match roots.as_slice() {
            [] => Ok(Solution { value: 0.0, tables: Vec::new() }),
            [root] => self.rooted(*root, nodes, joints),
            roots => self.several(roots, nodes, joints),
        }
    }

    fn parents(&self, id: NodeId) -> &[NodeId] {
        &self.symmetries.node(id).parents
    }

    /// One root, and perhaps nodes that lie in it.
    fn rooted(&self, root: NodeId, nodes: &[NodeId], joints: &[&Joint]) -> Result<Solution, MethodError> {
        let size = self.symmetries.node(root).size;
        let mut costs = vec![0.0; size * size];
        for joint in joints.iter().filter(|joint| joint.nodes == [root]) {
            costs.iter_mut().zip(&joint.values).for_each(|(sum, value)| *sum += value);
        }
        let children: Vec<NodeId> = nodes.iter().copied().filter(|id| *id != root).collect();
        if children.is_empty() {
            let table = assigned(&costs, size)?;
            return Ok(Solution { value: total(&costs, &table), tables: vec![(root, vec![table])] });
        }
        let inner: Vec<&Joint> = joints.iter().copied().filter(|joint| joint.nodes.len() > 1).collect();
        let best = |row: usize, column: usize| {
            let parts: Vec<Joint> = inner.iter().map(|joint| joint.slice(row, column)).collect();
            self.all(&children, &parts.iter().collect::<Vec<_>>())
        };
        {
            let rows: Vec<Mutex<&mut [f64]>> = costs.chunks_mut(size).map(Mutex::new).collect();
            self.context.for_each(size, |row| {
                let mut costs = rows[row].lock().unwrap_or_else(PoisonError::into_inner);
                for (column, sum) in costs.iter_mut().enumerate() {
                    *sum += best(row, column)?.value;
                }
                Ok(())
            })?;
        }
        let table = assigned(&costs, size)?;
        let mut tables: Vec<(NodeId, Tables)> = children.iter().map(|id| (*id, Vec::new())).collect();
        for (row, &column) in table.iter().enumerate() {
            for (id, own) in best(row, column as usize)?.tables {
                if let Some((_, all)) = tables.iter_mut().find(|(child, _)| *child == id) {
                    all.extend(own);
                }
            }
        }
        tables.push((root, vec![table.clone()]));
        Ok(Solution { value: total(&costs, &table), tables })
    }

    /// Several roots: those that meet in no tensor on their own, the others in turn.
    fn several(
        &self,
        roots: &[NodeId],
        nodes: &[NodeId],
        joints: &[&Joint],
    ) -> Result<Solution, MethodError> {
        // Trees below each root.
        let trees: Vec<Vec<NodeId>> = roots
            .iter()
            .map(|root| {
                nodes.iter().copied().filter(|id| id == root || self.parents(*id).contains(root)).collect()
            })
            .collect();
        let touches = |joint: &Joint, tree: usize| joint.nodes.iter().any(|id| trees[tree].contains(id));
        let mut part: Vec<usize> = (0..roots.len()).collect();
        for joint in joints {
            let here: Vec<usize> = (0..roots.len()).filter(|tree| touches(joint, *tree)).collect();
            if let Some(least) = here.iter().map(|tree| part[*tree]).min() {
                let merged: Vec<usize> = here.iter().map(|tree| part[*tree]).collect();
                part.iter_mut().filter(|own| merged.contains(own)).for_each(|own| *own = least);
            }
        }
        let mut solution = Solution { value: 0.0, tables: Vec::new() };
        for first in 0..roots.len() {
            let members: Vec<usize> = (0..roots.len()).filter(|tree| part[*tree] == first).collect();
            let own: Vec<&Joint> = joints
                .iter()
                .copied()
                .filter(|joint| members.iter().any(|tree| touches(joint, *tree)))
                .collect();
            let found = match members.as_slice() {
                [] => continue,
                [tree] => self.all(&trees[*tree], &own)?,
                members => {
                    let members: Vec<&[NodeId]> =
                        members.iter().map(|tree| trees[*tree].as_slice()).collect();
                    self.meeting(&members, &own)?
                }
            };
            solution.value += found.value;
            solution.tables.extend(found.tables);
        }
        Ok(solution)
    }

    /// Trees that meet: each given the others, until nothing is gained; the best over which is solved first.
    fn meeting(&self, trees: &[&[NodeId]], joints: &[&Joint]) -> Result<Solution, MethodError> {
        let mut best: Option<Solution> = None;
        for first in 0..trees.len() {
            let mut known: Vec<Option<Vec<(NodeId, Tables)>>> = vec![None; trees.len()];
            let mut value = f64::NEG_INFINITY;
            for round in 0..ROUNDS {
                for step in 0..trees.len() {
                    let turn = (first + step) % trees.len();
                    let fixed: Vec<&(NodeId, Tables)> = known
                        .iter()
                        .enumerate()
                        .filter(|(tree, _)| *tree != turn)
                        .flat_map(|(_, tables)| tables.iter().flatten())
                        .collect();
                    let mut own = Vec::new();
                    for joint in joints.iter().filter(|j| j.nodes.iter().any(|id| trees[turn].contains(id))) {
                        let ready = joint
                            .nodes
                            .iter()
                            .all(|id| trees[turn].contains(id) || fixed.iter().any(|(known, _)| known == id));
                        // In the first round a tensor counts once all its nodes have a place.
                        if ready {
                            own.push(self.given(joint, trees[turn], &fixed));
                        }
                    }
                    let found = self.all(trees[turn], &own.iter().collect::<Vec<_>>())?;
                    known[turn] = Some(found.tables);
                }
                let all: Vec<&(NodeId, Tables)> = known.iter().flatten().flatten().collect();
                let whole: f64 = joints.iter().map(|joint| self.given(joint, &[], &all).values[0]).sum();
                let gained = whole > value + 1e-12 * whole.abs();
                if round > 0 && !gained {
                    break;
                }
                value = whole;
                if best.as_ref().is_none_or(|best| value > best.value) {
                    let tables = known.iter().flatten().flatten().cloned().collect();
                    best = Some(Solution { value, tables });
                }
            }
        }
        Ok(best.unwrap_or(Solution { value: 0.0, tables: Vec::new() }))
    }

    /// A joint with all nodes but those of a tree summed out where tables have them.
    fn given(&self, joint: &Joint, tree: &[NodeId], fixed: &[&(NodeId, Tables)]) -> Joint {
        let kept: Vec<bool> = joint.nodes.iter().map(|id| tree.contains(id)).collect();
        joint.fixed(&kept, |node, digits| {
            let id = joint.nodes[node];
            let copy = self.parents(id).iter().fold(0, |copy, parent| {
                match joint.nodes.iter().position(|own| own == parent) {
                    Some(at) => copy * joint.sizes[at] + digits[at],
                    None => copy, // settled further out
                }
            });
            fixed
                .iter()
                .find(|(known, _)| *known == id)
                .map_or(digits[node], |(_, tables)| tables[copy][digits[node]] as usize)
        })
    }
}

fn total(costs: &[f64], table: &[u32]) -> f64 {
    table.iter().enumerate().map(|(row, column)| costs[row * table.len() + *column as usize]).sum()
}

#[cfg(test)]
mod tests;
