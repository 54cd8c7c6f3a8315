//! Which axes of parameters are read (summed over with what comes in) and which write, told from how the graph uses them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn_ir::TensorIr;
use fusion_sdk::symmetry::Side;

use super::groups::groups;
use super::rule::{self, Rule};
use super::walk::Graph;

/// An axis of a parameter.
type Origin = (u64, usize);

/// Where the axes of a tensor come from, if it is computed from parameters alone.
type Origins = Vec<BTreeSet<Origin>>;

struct Sides {
    /// Tensors that do not depend on the batch.
    weights: HashMap<u64, Origins>,
    read: BTreeSet<Origin>,
    written: BTreeSet<Origin>,
}

/// The side of each axis of each parameter.
pub(super) fn sides(graph: &Graph<'_>) -> BTreeMap<u64, Vec<Side>> {
    let mut sides = Sides { weights: HashMap::new(), read: BTreeSet::new(), written: BTreeSet::new() };
    let mut ranks = BTreeMap::new();
    for operation in graph.operations {
        let Some(rule) = rule::of(operation) else { continue };
        for output in operation.outputs() {
            let (id, rank) = (output.id.value(), output.shape.len());
            if graph.parameters.contains_key(&id) {
                ranks.insert(id, rank);
                sides.weights.insert(id, (0..rank).map(|axis| BTreeSet::from([(id, axis)])).collect());
                continue;
            }
            let own = match id == graph.input {
                true => None,
                false => sides.through(&rule, output),
            };
            if let Some(own) = own.filter(|own| own.len() == rank) {
                sides.weights.insert(id, own);
            }
        }
    }
    let side = |origin: Origin| match (sides.read.contains(&origin), sides.written.contains(&origin)) {
        (true, true) => Side::Both,
        (true, false) => Side::Reads,
        (false, _) => Side::Writes,
    };
    ranks.into_iter().map(|(id, rank)| (id, (0..rank).map(|axis| side((id, axis))).collect())).collect()
}

impl Sides {
    fn of(&self, tensor: &TensorIr) -> Option<&Origins> {
        self.weights.get(&tensor.id.value())
    }

    fn read(&mut self, tensor: &TensorIr, axis: usize) {
        let found = self.of(tensor).and_then(|axes| axes.get(axis)).cloned().unwrap_or_default();
        self.read.extend(found);
    }

    fn write(&mut self, tensor: &TensorIr, axis: usize) {
        let found = self.of(tensor).and_then(|axes| axes.get(axis)).cloned().unwrap_or_default();
        self.written.extend(found);
    }

    /// Notes how an operation uses parameters; gives the origins of an output that does not depend on the batch.
    fn through(&mut self, rule: &Rule<'_>, output: &TensorIr) -> Option<Origins> {
        let rank = output.shape.len();
        let nothing = || Some(vec![BTreeSet::new(); rank]);
        match rule {
            Rule::Given | Rule::Random | Rule::Fill { .. } => nothing(),
            Rule::Elementwise { inputs, .. } => {
                let known: Vec<Origins> = inputs.iter().filter_map(|input| self.of(input).cloned()).collect();
                if known.len() < inputs.len() {
                    known.iter().flatten().for_each(|axis| self.written.extend(axis));
                    return None;
                }
                let mut all = vec![BTreeSet::new(); rank];
                for own in known {
                    all.iter_mut().zip(own).for_each(|(axis, origins)| axis.extend(origins));
                }
                Some(all)
            }
            Rule::Reduce { input, .. }
            | Rule::Along { input, .. }
            | Rule::Ordered { input, .. }
            | Rule::Repeat { input, .. }
            | Rule::Pad { input, .. }
            | Rule::Slice { input, .. }
            | Rule::Select { input, .. } => self.of(input).cloned(),
            Rule::Assign { input, value, .. } => {
                let (own, value) = (self.of(input)?.clone(), self.of(value)?.clone());
                Some(own.iter().zip(&value).map(|(a, b)| a | b).collect())
            }
            Rule::Permute { input, order } => {
                let own = self.of(input)?;
                Some(order.iter().map(|axis| own[*axis].clone()).collect())
            }
            Rule::Expand { input } => {
                let own = self.of(input)?;
                let missing = rank.saturating_sub(own.len());
                Some((0..missing).map(|_| BTreeSet::new()).chain(own.iter().cloned()).collect())
            }
            Rule::Reshape { input } => {
                let own = self.of(input)?;
                let mut axes = vec![BTreeSet::new(); rank];
                for group in groups(&input.shape.to_vec(), &output.shape.to_vec()) {
                    let origins: BTreeSet<Origin> =
                        group.inputs.iter().flat_map(|axis| own[*axis].iter().copied()).collect();
                    let long = group.outputs.iter().filter(|axis| output.shape[**axis] > 1);
                    long.for_each(|axis| axes[*axis] = origins.clone());
                }
                Some(axes)
            }
            Rule::Cat { inputs, .. } => {
                let known: Vec<Origins> = inputs.iter().filter_map(|input| self.of(input).cloned()).collect();
                if known.len() < inputs.len() {
                    known.iter().flatten().for_each(|axis| self.written.extend(axis));
                    return None;
                }
                let mut all = vec![BTreeSet::new(); rank];
                for own in known {
                    all.iter_mut().zip(own).for_each(|(axis, origins)| axis.extend(origins));
                }
                Some(all)
            }
            Rule::Matmul { lhs, rhs } => {
                let (m, n) = (lhs.shape.len(), rhs.shape.len());
                // A weight in front of what comes in reads by its columns, behind it by its rows; of two weights the second reads.
                match (self.of(lhs).is_some(), self.of(rhs).is_some()) {
                    (_, true) => self.read(rhs, n.saturating_sub(2)),
                    (true, false) => self.read(lhs, m.saturating_sub(1)),
                    (false, false) => {}
                }
                if let (Some(a), Some(b)) = (self.of(lhs).cloned(), self.of(rhs).cloned()) {
                    let mut axes: Origins = a.iter().zip(&b).map(|(a, b)| a | b).collect();
                    let last = axes.len().checked_sub(1)?;
                    axes[last] = b[last].clone();
                    axes[last - 1] = a[last - 1].clone();
                    self.written.extend(a[last].iter().copied());
                    return Some(axes);
                }
                (0..m.saturating_sub(1)).for_each(|axis| self.write(lhs, axis));
                (0..n).filter(|axis| *axis + 2 != n).for_each(|axis| self.write(rhs, axis));
                None
            }
            Rule::Linear { weight, bias, .. } => {
                self.read(weight, 0);
                self.write(weight, 1);
                bias.iter().for_each(|bias| self.write(bias, 0));
                None
            }
            Rule::Conv { weight, bias, .. } => {
                self.read(weight, 1);
                self.write(weight, 0);
                bias.iter().for_each(|bias| self.write(bias, 0));
                None
            }
            Rule::ConvTranspose { weight, bias, .. } => {
                self.read(weight, 0);
                self.write(weight, 1);
                bias.iter().for_each(|bias| self.write(bias, 0));
                None
            }
            Rule::Embedding { weights, .. } => {
                self.write(weights, 0);
                self.write(weights, 1);
                None
            }
            Rule::Window { .. } | Rule::BatchNorm { .. } | Rule::LayerNorm { .. } => None,
            Rule::Attention { .. } | Rule::Unknown => None,
        }
    }
}
