//! Units that are not merged but go as wholes, such as heads: those of every model are assigned to those of the first, by how well what lies in
//! them can be matched.

use std::sync::{Mutex, PoisonError};

use fusion_sdk::align::Candidate;
use fusion_sdk::alignment::Transform;
use fusion_sdk::symmetry::{NodeId, Symmetries};
use fusion_sdk::{Context, MethodError, assign};

use crate::rows::whole;

/// Tables of the nodes that go as wholes.
pub(super) struct Heads {
    /// By model and node; none for nodes that are merged.
    tables: Vec<Vec<Option<Vec<Vec<u32>>>>>,
}

impl Heads {
    /// The transform of a node in a model.
    pub(super) fn transform(&self, model: usize, node: NodeId) -> Transform {
        let stays = |table: &Vec<u32>| table.iter().enumerate().all(|(slot, unit)| slot == *unit as usize);
        match &self.tables[model][node.index()] {
            Some(tables) if !tables.iter().all(stays) => Transform::Permutation(tables.clone()),
            _ => Transform::Identity,
        }
    }

    /// The copy of a node in a model for a copy of the result: the nodes that it lies in have moved.
    pub(super) fn source(&self, symmetries: &Symmetries, model: usize, node: NodeId, copy: usize) -> usize {
        let parents = &symmetries.node(node).parents;
        let mut digits = vec![0; parents.len()];
        let mut rest = copy;
        for (digit, parent) in digits.iter_mut().zip(parents).rev() {
            let size = symmetries.node(*parent).size;
            *digit = rest % size;
            rest /= size;
        }
        let of = |id: NodeId| parents.iter().position(|own| *own == id).map_or(0, |at| digits[at]);
        symmetries.copy_of(node, |parent| match &self.tables[model][parent.index()] {
            Some(tables) => tables[symmetries.copy_of(parent, of)][of(parent)] as usize,
            None => of(parent),
        })
    }
}

/// Assigns all such nodes among `nodes`, parents first: those of a model to those of the first by the sum of correlations at the best
/// assignment of what lies in them, and their own.
///
/// # Errors
/// The user asked to stop.
pub(super) fn assign(
    models: &[Candidate<'_>],
    nodes: &[NodeId],
    correlations: &[Option<Vec<f64>>],
    context: Context<'_>,
) -> Result<Heads, MethodError> {
    let symmetries = models[0].symmetries;
    let mut heads = Heads { tables: vec![vec![None; symmetries.nodes.len()]; models.len()] };
    for model in 0..models.len() {
        for &node in nodes.iter().filter(|node| whole(symmetries, **node)) {
            let size = symmetries.node(node).size;
            let search = Search { models, correlations, model };
            let mut tables = Vec::with_capacity(symmetries.copies(node));
            for copy in 0..symmetries.copies(node) {
                if model == 0 {
                    tables.push((0..size as u32).collect());
                    continue;
                }
                let source = heads.source(symmetries, model, node, copy);
                let worths = search.worths(node, source, copy, context)?;
                tables.push(assigned(&worths, size)?.1);
            }
            heads.tables[model][node.index()] = Some(tables);
        }
    }
    Ok(heads)
}

/// One model against the first.
struct Search<'a> {
    models: &'a [Candidate<'a>],
    correlations: &'a [Option<Vec<f64>>],
    model: usize,
}

impl Search<'_> {
    /// What it is worth to put a unit of copy `from` (columns) into a slot of copy `to` of the first model (rows).
    fn worths(
        &self,
        node: NodeId,
        from: usize,
        to: usize,
        context: Context<'_>,
    ) -> Result<Vec<f64>, MethodError> {
        let symmetries = self.models[0].symmetries;
        let size = symmetries.node(node).size;
        let mut worths = self.block(node, from, to);
        let mut chain = symmetries.node(node).parents.clone();
        chain.push(node);
        let children: Vec<NodeId> =
            symmetries.ids().filter(|id| symmetries.node(*id).parents == chain).collect();
        if children.is_empty() {
            return Ok(worths);
        }
        let lines: Vec<Mutex<&mut [f64]>> = worths.chunks_mut(size).map(Mutex::new).collect();
        context.for_each(size, |slot| {
            let mut line = lines[slot].lock().unwrap_or_else(PoisonError::into_inner);
            for (unit, sum) in line.iter_mut().enumerate() {
                for &child in &children {
                    let inner = self.worths(child, from * size + unit, to * size + slot, context)?;
                    *sum += assigned(&inner, self.slots(child))?.0;
                }
            }
            Ok(())
        })?;
        Ok(worths)
    }

    fn slots(&self, node: NodeId) -> usize {
        self.models[0].symmetries.node(node).size
    }

    /// Correlations of copy `to` of the first model (rows) with copy `from` of the other; zeros where nothing is known.
    fn block(&self, node: NodeId, from: usize, to: usize) -> Vec<f64> {
        let size = |model: usize| self.models[model].symmetries.node(node).size;
        let (slots, units) = (size(0), size(self.model));
        let mut block = vec![0.0; slots * units];
        if let Some(all) = &self.correlations[node.index()] {
            let width = all.len().isqrt();
            let copies = |model: usize| self.models[model].symmetries.copies(node);
            let first: usize = (0..self.model).map(|model| copies(model) * size(model)).sum();
            for (at, value) in block.iter_mut().enumerate() {
                let (slot, unit) = (at / units, at % units);
                *value = all[(to * slots + slot) * width + first + from * units + unit];
            }
        }
        block
    }
}

/// The best total of a matrix with so many rows, and the column of each.
fn assigned(worths: &[f64], rows: usize) -> Result<(f64, Vec<u32>), MethodError> {
    let columns = worths.len() / rows.max(1);
    let found = assign::solve(worths, rows, columns, true);
    let found = found.map_err(|error| MethodError::invalid(error.to_string()))?;
    let mut total = 0.0;
    let mut table = Vec::with_capacity(rows);
    for (row, column) in found.into_iter().enumerate() {
        total += column.map_or(0.0, |column| worths[row * columns + column]);
        table.push(column.unwrap_or(row) as u32);
    }
    Ok((total, table))
}
