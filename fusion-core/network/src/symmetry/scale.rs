//! Which nodes may be scaled by positive factors: the exponent that a node's factor has in every tensor, from parameters to outputs.
//!
//! Parameters that write a node have exponent 1, those that read it −1, running variances 2. ReLU, sums and reductions over other axes keep
//! exponents; a sum over the node's own axis needs 0 in total, and so does everything that is not homogeneous. BatchNorm divides by the
//! scale of its statistics, up to its ε, and multiplies by its affine parameters.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn_ir::TensorIr;
use fusion_sdk::symmetry::Side;

use super::expression::Set;
use super::rule::{self, Degree, Rule};
use super::walk::{Graph, Walk};

/// The exponents of nodes; a node that is not there has 0, and `None` stands for any (zeros).
type Powers = BTreeMap<usize, Option<i32>>;

struct Scale<'a> {
    walk: &'a Walk,
    powers: HashMap<u64, Powers>,
    fixed: BTreeSet<usize>,
}

/// The nodes that may not be scaled. `sides` are those of the parameters' axes, `variances` the running variances among them.
pub(super) fn fixed(
    graph: &Graph<'_>,
    walk: &Walk,
    sides: &BTreeMap<u64, Vec<Side>>,
    variances: &BTreeSet<u64>,
) -> BTreeSet<usize> {
    let mut scale = Scale { walk, powers: HashMap::new(), fixed: BTreeSet::new() };
    for (id, sides) in sides {
        let Some(axes) = walk.axes.get(id) else { continue };
        let mut powers = Powers::new();
        for (axis, side) in axes.iter().zip(sides) {
            for node in walk.nodes.leaves(axis) {
                let power = match side {
                    Side::Writes if variances.contains(id) => 2,
                    Side::Writes | Side::Both => 1,
                    Side::Reads => -1,
                };
                if powers.insert(node, Some(power)).is_some() || *side == Side::Both {
                    scale.fixed.insert(node);
                }
            }
        }
        scale.powers.insert(*id, powers);
    }
    for operation in graph.operations {
        let Some(rule) = rule::of(operation) else { continue };
        for output in operation.outputs() {
            let id = output.id.value();
            if sides.contains_key(&id) {
                continue;
            }
            let mut powers = scale.through(&rule);
            let own = scale.nodes_of(output);
            if matches!(rule, Rule::Fill { zero: true }) {
                powers = own.iter().map(|node| (*node, None)).collect();
            }
            powers.retain(|node, power| *power != Some(0) && own.contains(node));
            scale.once_each(output, &powers);
            scale.powers.insert(id, powers);
        }
    }
    if let Some(last) = scale.powers.get(&graph.output).cloned() {
        scale.fix(&last);
    }
    scale.fixed
}

impl Scale<'_> {
    fn nodes_of(&self, tensor: &TensorIr) -> Set {
        self.walk.axes.get(&tensor.id.value()).map(|axes| self.walk.nodes.leaves_of(axes)).unwrap_or_default()
    }

    fn leaves(&self, tensor: &TensorIr, axis: usize) -> Set {
        let axes = self.walk.axes.get(&tensor.id.value());
        axes.and_then(|axes| axes.get(axis)).map(|axis| self.walk.nodes.leaves(axis)).unwrap_or_default()
    }

    /// On two axes of a tensor a factor is not one number.
    fn once_each(&mut self, tensor: &TensorIr, powers: &Powers) {
        let mut seen = Set::new();
        for axis in 0..tensor.shape.len() {
            for node in self.leaves(tensor, axis) {
                if !seen.insert(node) && powers.contains_key(&node) {
                    self.fixed.insert(node);
                }
            }
        }
    }

    fn of(&self, tensor: &TensorIr) -> Powers {
        self.powers.get(&tensor.id.value()).cloned().unwrap_or_default()
    }

    /// All nodes with a factor here may not be scaled.
    fn fix(&mut self, powers: &Powers) {
        self.fixed.extend(powers.iter().filter(|(_, power)| power.is_some()).map(|(node, _)| *node));
    }

    /// Inputs that are added have equal exponents.
    fn alike(&mut self, inputs: &[Powers]) -> Powers {
        let mut all = Powers::new();
        let nodes: Set = inputs.iter().flat_map(|powers| powers.keys().copied()).collect();
        for node in nodes {
            let mut power = None;
            for powers in inputs {
                let own = powers.get(&node).copied().unwrap_or(Some(0));
                match (power, own) {
                    (_, None) => {}
                    (None, Some(_)) => power = own,
                    (Some(a), Some(b)) if a != b => {
                        self.fixed.insert(node);
                    }
                    _ => {}
                }
            }
            all.insert(node, power);
        }
        all
    }

    /// Exponents of a product, or of a quotient with `sign` −1.
    fn times(a: &Powers, b: &Powers, sign: i32) -> Powers {
        let mut all = a.clone();
        for (node, power) in b {
            let sum = match (all.get(node).copied().unwrap_or(Some(0)), power) {
                (Some(a), Some(b)) => Some(a + sign * b),
                _ => None,
            };
            all.insert(*node, sum);
        }
        all
    }

    /// Nodes that are summed over cancel.
    fn cancel(&mut self, powers: &Powers, summed: &Set) {
        for node in summed {
            if !matches!(powers.get(node), None | Some(None | Some(0))) {
                self.fixed.insert(*node);
            }
        }
    }

    fn biased(&mut self, powers: Powers, bias: &Option<&TensorIr>) -> Powers {
        match bias {
            None => powers,
            Some(bias) => {
                let bias = self.of(bias);
                self.alike(&[powers, bias])
            }
        }
    }

    fn through(&mut self, rule: &Rule<'_>) -> Powers {
        match rule {
            Rule::Given | Rule::Random | Rule::Fill { .. } => Powers::new(),
            Rule::Elementwise { inputs, degree } => match (degree, inputs.as_slice()) {
                (Degree::Linear, inputs) => {
                    let inputs: Vec<_> = inputs.iter().map(|input| self.of(input)).collect();
                    self.alike(&inputs)
                }
                (Degree::Product, [a, b]) => Self::times(&self.of(a), &self.of(b), 1),
                (Degree::Quotient, [a, b]) => Self::times(&self.of(a), &self.of(b), -1),
                (_, inputs) => {
                    for input in inputs {
                        let powers = self.of(input);
                        self.fix(&powers);
                    }
                    Powers::new()
                }
            },
            Rule::Reduce { input, axes, degree } => {
                let powers = self.of(input);
                if *degree != Degree::Linear {
                    self.fix(&powers);
                    return Powers::new();
                }
                for axis in axes {
                    let summed = self.leaves(input, *axis);
                    self.cancel(&powers, &summed);
                }
                powers
            }
            Rule::Along { input, .. } | Rule::Ordered { input, .. } => {
                let powers = self.of(input);
                self.fix(&powers);
                Powers::new()
            }
            Rule::Matmul { lhs, rhs } => {
                let powers = Self::times(&self.of(lhs), &self.of(rhs), 1);
                let summed = self.leaves(lhs, lhs.shape.len().saturating_sub(1));
                self.cancel(&powers, &summed);
                powers
            }
            Rule::Linear { x, weight, bias } => {
                let powers = Self::times(&self.of(x), &self.of(weight), 1);
                let summed = self.leaves(weight, 0);
                self.cancel(&powers, &summed);
                let powers = without(powers, &summed);
                self.biased(powers, bias)
            }
            Rule::Conv { x, weight, bias, .. } => {
                let powers = Self::times(&self.of(x), &self.of(weight), 1);
                let summed = self.leaves(weight, 1);
                self.cancel(&powers, &summed);
                let powers = without(powers, &summed);
                self.biased(powers, bias)
            }
            Rule::ConvTranspose { x, weight, bias } => {
                let powers = Self::times(&self.of(x), &self.of(weight), 1);
                let summed = self.leaves(weight, 0);
                self.cancel(&powers, &summed);
                let powers = without(powers, &summed);
                self.biased(powers, bias)
            }
            Rule::BatchNorm { x, affine: [gamma, beta, mean, variance] } => {
                let (x, mean) = (self.of(x), self.of(mean));
                let centred = self.alike(&[x, mean]);
                for (node, power) in self.of(variance) {
                    let own = centred.get(&node).copied().unwrap_or(Some(0));
                    if power != own.map(|own| 2 * own) {
                        self.fixed.insert(node);
                    }
                }
                let (gamma, beta) = (self.of(gamma), self.of(beta));
                self.alike(&[gamma, beta])
            }
            Rule::LayerNorm { x, affine } => {
                let x = self.of(x);
                self.fix(&x);
                let affine: Vec<_> = affine.iter().map(|tensor| self.of(tensor)).collect();
                self.alike(&affine)
            }
            Rule::Embedding { weights, .. } => self.of(weights),
            Rule::Attention { query, key, value, bias, .. } => {
                let scores = Self::times(&self.of(query), &self.of(key), 1);
                let scores: Powers = scores.into_iter().filter(|(_, power)| *power != Some(0)).collect();
                self.fix(&scores);
                for tensor in bias {
                    let powers = self.of(tensor);
                    self.fix(&powers);
                }
                let powers = self.of(value);
                let summed = self.leaves(value, 2);
                self.cancel(&powers, &summed);
                powers
            }
            Rule::Window { x: input }
            | Rule::Reshape { input }
            | Rule::Permute { input, .. }
            | Rule::Expand { input }
            | Rule::Repeat { input, .. }
            | Rule::Slice { input, .. }
            | Rule::Select { input, .. } => self.of(input),
            Rule::Pad { input, .. } => {
                // A constant beside the units would have to grow with them.
                let powers = self.of(input);
                self.fix(&powers);
                Powers::new()
            }
            Rule::Cat { inputs, .. } => {
                let mut all = Powers::new();
                for input in inputs {
                    let powers = self.of(input);
                    for node in self.nodes_of(input) {
                        let own = powers.get(&node).copied().unwrap_or(Some(0));
                        match (all.get(&node).copied(), own) {
                            (None | Some(None), own) => {
                                all.insert(node, own);
                            }
                            (Some(Some(a)), Some(b)) if a != b => {
                                self.fixed.insert(node);
                            }
                            _ => {}
                        }
                    }
                }
                all
            }
            Rule::Assign { input, value, .. } => {
                let (input, value) = (self.of(input), self.of(value));
                self.alike(&[input, value])
            }
            Rule::Unknown => Powers::new(),
        }
    }
}

fn without(mut powers: Powers, summed: &Set) -> Powers {
    powers.retain(|node, _| !summed.contains(node));
    powers
}
