//! Walks over a graph once and finds the axis expressions of all its tensors.
//!
//! Every rule either proves that its operation does with permuted inputs what it does with the others, permuted alike, or pins axes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn_ir::{OperationIr, TensorIr};

use super::expression::{Atom, Expr, Nodes, Set, Stuck, one};
use super::groups::{Group, groups};
use super::rule::{self, Cut, Rule};

/// A graph with what is known of its tensors.
pub(super) struct Graph<'a> {
    pub operations: &'a [OperationIr],
    /// Names of the parameters by number.
    pub parameters: BTreeMap<u64, String>,
    pub input: u64,
    pub output: u64,
}

/// What is pinned though one might expect otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// Which operation.
    pub operation: usize,
    /// Why.
    pub reason: String,
}

/// Axis expressions of all tensors.
pub(super) struct Walk {
    pub nodes: Nodes,
    pub axes: HashMap<u64, Vec<Expr>>,
    pub pins: Vec<Pin>,
    now: usize,
}

/// The walk over a graph.
pub(super) fn walk(graph: &Graph<'_>) -> Walk {
    let mut walk = Walk { nodes: Nodes::default(), axes: HashMap::new(), pins: Vec::new(), now: 0 };
    for (now, operation) in graph.operations.iter().enumerate() {
        walk.now = now;
        if let Some(rule) = rule::of(operation) {
            walk.operation(graph, operation, &rule);
        }
    }
    if let Some(axes) = walk.axes.get(&graph.output).cloned() {
        axes.iter().for_each(|axis| {
            walk.nodes.pin(axis);
        });
    }
    walk.settle(graph);
    walk
}

impl Walk {
    fn operation(&mut self, graph: &Graph<'_>, operation: &OperationIr, rule: &Rule<'_>) {
        let outputs: Vec<&TensorIr> = operation.outputs().collect();
        let Some(first) = outputs.first() else { return };
        let id = first.id.value();
        let shape: Vec<usize> = first.shape.to_vec();
        if graph.parameters.contains_key(&id) {
            // Whatever draws its initial values.
            let axes = shape.iter().map(|size| self.nodes.axis(*size, false)).collect();
            self.axes.insert(id, axes);
            return;
        }
        let mut axes = match id == graph.input || shape.contains(&0) {
            true => self.pinned(&shape),
            false => self.apply(operation, rule, &shape),
        };
        let fits = axes.len() == shape.len()
            && axes.iter().zip(&shape).all(|(axis, size)| self.nodes.size(axis) == *size);
        if !fits {
            axes = self.unknown(operation, &shape);
        }
        self.sound(&axes);
        for output in &outputs[1..] {
            let same = output.shape.to_vec() == shape;
            let others = if same { axes.clone() } else { self.pinned(&output.shape.to_vec()) };
            self.axes.insert(output.id.value(), others);
        }
        self.axes.insert(id, axes);
    }

    fn pinned(&mut self, shape: &[usize]) -> Vec<Expr> {
        shape.iter().map(|size| self.nodes.axis(*size, true)).collect()
    }

    /// The axes of an input.
    fn of(&mut self, tensor: &TensorIr) -> Vec<Expr> {
        match self.axes.get(&tensor.id.value()) {
            Some(axes) => axes.clone(),
            None => {
                let axes = self.pinned(&tensor.shape.to_vec());
                self.axes.insert(tensor.id.value(), axes.clone());
                axes
            }
        }
    }

    fn pin(&mut self, axis: &Expr, reason: &str) {
        if self.nodes.pin(axis) {
            let pin = Pin { operation: self.now, reason: reason.to_owned() };
            if self.pins.last() != Some(&pin) {
                self.pins.push(pin);
            }
        }
    }

    fn unknown(&mut self, operation: &OperationIr, shape: &[usize]) -> Vec<Expr> {
        for input in operation.inputs() {
            for axis in self.of(input) {
                self.pin(&axis, "there is no rule for this operation");
            }
        }
        self.pinned(shape)
    }

    fn unify(&mut self, x: &Expr, y: &Expr) {
        if self.nodes.unify(x, y).is_err() {
            self.pin(x, "its inputs' axes are cut in different ways");
            self.pin(y, "its inputs' axes are cut in different ways");
        }
    }

    /// Axes of the output of an elementwise operation; inputs of other ranks are no such thing.
    fn join(&mut self, inputs: &[Vec<Expr>]) -> Vec<Expr> {
        let rank = inputs.iter().map(Vec::len).max().unwrap_or(0);
        if inputs.iter().any(|axes| axes.len() != rank) {
            return Vec::new();
        }
        (0..rank).map(|axis| self.join_axis(inputs.iter().map(|axes| &axes[axis]))).collect()
    }

    fn join_axis<'a>(&mut self, axes: impl Iterator<Item = &'a Expr>) -> Expr {
        let mut joined: Option<&Expr> = None;
        for axis in axes {
            if self.nodes.size(axis) == 1 {
                continue;
            }
            match joined {
                None => joined = Some(axis),
                Some(first) => self.unify(first, axis),
            }
        }
        joined.cloned().unwrap_or_else(one)
    }

    fn apply(&mut self, operation: &OperationIr, rule: &Rule<'_>, shape: &[usize]) -> Vec<Expr> {
        match rule {
            Rule::Given | Rule::Random => self.pinned(shape),
            Rule::Fill { .. } => {
                let axes: Vec<Expr> = shape.iter().map(|size| self.nodes.axis(*size, false)).collect();
                for axis in &axes {
                    self.free(axis, &axes);
                }
                axes
            }
            Rule::Elementwise { inputs, .. } => {
                let inputs: Vec<_> = inputs.iter().map(|input| self.of(input)).collect();
                self.join(&inputs)
            }
            Rule::Reduce { input, axes, .. } => {
                let mut own = self.of(input);
                if own.len() != shape.len() {
                    return shape.iter().map(|_| one()).collect();
                }
                let gone = self.nodes.leaves_of(axes.iter().map(|axis| &own[*axis]));
                for axis in axes {
                    own[*axis] = one();
                }
                self.drop_all(&own, &gone);
                own
            }
            Rule::Along { input, axis } => {
                let own = self.of(input);
                let along = self.nodes.leaves(&own[*axis]);
                for (at, other) in own.iter().enumerate() {
                    if at != *axis {
                        self.nodes.drop_deps(other, &along);
                    }
                }
                own
            }
            Rule::Ordered { input, axes } => {
                let own = self.of(input);
                for axis in axes {
                    self.pin(&own[*axis], "the order along this axis matters");
                    let along = self.nodes.leaves(&own[*axis]);
                    self.drop_all(&own, &along);
                }
                own
            }
            Rule::Matmul { lhs, rhs } => {
                let (lhs, rhs) = (self.of(lhs), self.of(rhs));
                self.matmul(&lhs, &rhs)
            }
            Rule::Linear { x, weight, bias } => {
                let (x, weight) = (self.of(x), self.of(weight));
                let (Some((last, kept)), [from, to]) = (x.split_last(), weight.as_slice()) else {
                    return Vec::new();
                };
                self.contract(last, from, &[], kept.iter().chain([to]));
                if let Some(bias) = bias {
                    let bias = self.of(bias);
                    self.unify(to, &bias[0]);
                }
                kept.iter().chain([to]).cloned().collect()
            }
            Rule::Conv { x, weight, bias, groups } => {
                let (x, weight) = (self.of(x), self.of(weight));
                self.kernel(&x[2..], &weight[2..]);
                match groups {
                    1 => self.contract(&x[1], &weight[1], &[], [&x[0], &weight[0]]),
                    _ => self.grouped(&x, &weight, *groups),
                }
                self.convolved(&x, &weight[0], bias, shape)
            }
            Rule::ConvTranspose { x, weight, bias } => {
                let (x, weight) = (self.of(x), self.of(weight));
                self.kernel(&x[2..], &weight[2..]);
                self.contract(&x[1], &weight[0], &[], [&x[0], &weight[1]]);
                self.convolved(&x, &weight[1], bias, shape)
            }
            Rule::Window { x } => {
                let x = self.of(x);
                self.kernel(&x[2..], &[]);
                x[..2].iter().cloned().chain(self.pinned(&shape[2..])).collect()
            }
            Rule::BatchNorm { x, affine } => {
                let x = self.of(x);
                for tensor in affine {
                    let own = self.of(tensor);
                    self.unify(&x[1], &own[0]);
                }
                x
            }
            Rule::LayerNorm { x, affine } => {
                let x = self.of(x);
                let Some((last, kept)) = x.split_last() else { return Vec::new() };
                for tensor in affine {
                    let own = self.of(tensor);
                    self.unify(last, &own[0]);
                }
                let along = self.nodes.leaves(last);
                self.drop_all(kept, &along);
                x
            }
            Rule::Embedding { weights, indices } => {
                let (weights, indices) = (self.of(weights), self.of(indices));
                self.nodes.pin(&weights[0]);
                indices.into_iter().chain([weights[1].clone()]).collect()
            }
            Rule::Attention { query, key, value, bias, causal } => {
                let [q, k, v] = [query, key, value].map(|tensor| self.of(tensor));
                if [&q, &k, &v].iter().any(|axes| axes.len() != 4) {
                    return Vec::new();
                }
                let batch: Vec<Expr> =
                    (0..2).map(|axis| self.join_axis([&q, &k, &v].iter().map(|axes| &axes[axis]))).collect();
                self.unify(&k[2], &v[2]);
                self.contract(&q[3], &k[3], &batch, batch.iter().chain([&q[2], &k[2]]));
                let mut scores: Vec<Expr> = batch.iter().chain([&q[2], &k[2]]).cloned().collect();
                for tensor in bias {
                    let own = self.of(tensor);
                    scores = self.join(&[scores, own]);
                }
                if *causal {
                    for axis in &scores[2..] {
                        self.pin(axis, "causal attention");
                    }
                }
                let positions = self.nodes.leaves(&k[2]);
                let out: Vec<Expr> = batch.iter().chain([&q[2], &v[3]]).cloned().collect();
                self.drop_all(&out, &positions);
                let allowed = &self.nodes.leaves_of(&batch) | &positions;
                self.nodes.keep_deps(&k[2], &allowed);
                out
            }
            Rule::Reshape { input } => {
                let own = self.of(input);
                self.reshape(&own, &input.shape.to_vec(), shape)
            }
            Rule::Permute { input, order } => {
                let own = self.of(input);
                order.iter().map(|axis| own[*axis].clone()).collect()
            }
            Rule::Expand { input } => {
                let own = self.of(input);
                let missing = shape.len() - own.len().min(shape.len());
                let own: Vec<Expr> = (0..missing).map(|_| one()).chain(own).collect();
                let mut grown = Vec::new();
                let mut axes = Vec::with_capacity(shape.len());
                for (axis, length) in own.into_iter().zip(shape) {
                    if self.nodes.size(&axis) == 1 && *length > 1 {
                        let axis = self.nodes.axis(*length, false);
                        grown.push(axis.clone());
                        axes.push(axis);
                    } else {
                        axes.push(axis);
                    }
                }
                for axis in &grown {
                    self.free(axis, &axes);
                }
                axes
            }
            Rule::Repeat { input, axis, times } => {
                let mut own = self.of(input);
                if *times > 1 {
                    let repeats = self.nodes.node(*times, Set::new(), false);
                    let deps = self.nodes.leaves_of(&own);
                    self.nodes.set_deps(repeats, deps);
                    let inner = self.nodes.normal(&own[*axis]);
                    let atom = match inner.as_slice() {
                        [only] => only.clone(),
                        _ => vec![Atom::Sum(inner.clone())],
                    };
                    own[*axis] = vec![[Atom::Node(repeats)].into_iter().chain(atom).collect()];
                }
                own
            }
            Rule::Cat { inputs, axis } => {
                let inputs: Vec<_> = inputs.iter().map(|input| self.of(input)).collect();
                let Some(first) = inputs.first() else { return Vec::new() };
                let mut out = Vec::with_capacity(first.len());
                for at in 0..first.len() {
                    if at == *axis {
                        out.push(inputs.iter().flat_map(|input| input[at].iter().cloned()).collect());
                    } else {
                        inputs[1..].iter().for_each(|input| self.unify(&first[at], &input[at]));
                        out.push(first[at].clone());
                    }
                }
                out
            }
            Rule::Slice { input, cuts } => {
                let own = self.of(input);
                let mut out = Vec::with_capacity(own.len());
                for ((axis, cut), length) in own.iter().zip(cuts).zip(shape) {
                    out.push(self.slice(axis, *cut, *length));
                }
                out
            }
            Rule::Assign { input, value, cuts } => {
                let (own, value) = (self.of(input), self.of(value));
                for ((axis, part), cut) in own.iter().zip(&value).zip(cuts) {
                    let size = self.nodes.size(axis);
                    if *cut == Some((0, size)) {
                        self.unify(axis, part);
                    } else {
                        self.pin(axis, "a part of this axis is written");
                        self.pin(part, "a part of this axis is written");
                    }
                }
                own
            }
            Rule::Select { input, axis, indices } => {
                let (mut own, indices) = (self.of(input), self.of(indices));
                self.pin(&own[*axis], "entries of this axis are taken by their index");
                own[*axis] = indices.first().cloned().unwrap_or_else(one);
                own
            }
            Rule::Pad { input, padding } => {
                let mut own = self.of(input);
                // As for a fill: the same value in all new places.
                for (at, (before, behind)) in padding.iter().enumerate().take(own.len()) {
                    let mut axis = Expr::new();
                    for (length, part) in [(*before, None), (0, Some(own[at].clone())), (*behind, None)] {
                        match part {
                            Some(part) => axis.extend(part),
                            None if length > 0 => axis.extend(self.nodes.axis(length, false)),
                            None => {}
                        }
                    }
                    own[at] = axis;
                }
                own
            }
            Rule::Unknown => self.unknown(operation, shape),
        }
    }

    /// Makes the nodes of an axis depend on all others.
    fn free(&mut self, axis: &Expr, axes: &[Expr]) {
        let all = self.nodes.leaves_of(axes);
        for id in self.nodes.leaves(axis) {
            let mut deps = all.clone();
            deps.remove(&id);
            self.nodes.set_deps(id, deps);
        }
    }

    fn drop_all(&mut self, axes: &[Expr], removed: &Set) {
        axes.iter().for_each(|axis| self.nodes.drop_deps(axis, removed));
    }

    /// Ties two axes that are summed over. What is kept does not depend on them, and they depend on nothing but batch axes.
    fn contract<'a>(&mut self, x: &Expr, y: &Expr, batch: &[Expr], kept: impl IntoIterator<Item = &'a Expr>) {
        self.unify(x, y);
        let gone = self.nodes.leaves(x);
        for axis in kept {
            self.nodes.drop_deps(axis, &gone);
        }
        let mut allowed = self.nodes.leaves_of(batch);
        allowed.extend(&gone);
        self.nodes.keep_deps(x, &allowed);
    }

    fn matmul(&mut self, lhs: &[Expr], rhs: &[Expr]) -> Vec<Expr> {
        let rank = lhs.len();
        if rank < 2 || rhs.len() != rank {
            return Vec::new();
        }
        // First the batch: the contracted nodes may depend on it.
        let batch: Vec<Expr> =
            (0..rank - 2).map(|axis| self.join_axis([&lhs[axis], &rhs[axis]].into_iter())).collect();
        let kept: Vec<Expr> = batch.iter().chain([&lhs[rank - 2], &rhs[rank - 1]]).cloned().collect();
        self.contract(&lhs[rank - 1], &rhs[rank - 2], &batch, &kept);
        kept
    }

    fn kernel(&mut self, positions: &[Expr], kernel: &[Expr]) {
        positions.iter().chain(kernel).for_each(|axis| {
            self.nodes.pin(axis);
        });
    }

    fn convolved(&mut self, x: &[Expr], out: &Expr, bias: &Option<&TensorIr>, shape: &[usize]) -> Vec<Expr> {
        if let Some(bias) = bias {
            let bias = self.of(bias);
            self.unify(out, &bias[0]);
        }
        [x[0].clone(), out.clone()].into_iter().chain(self.pinned(&shape[2..])).collect()
    }

    /// Groups move as wholes; inside a group inputs and outputs move on their own, in each group differently.
    fn grouped(&mut self, x: &[Expr], weight: &[Expr], groups: usize) {
        let group = self.nodes.node(groups, Set::new(), false);
        let inside = |nodes: &mut Nodes, length: usize| -> Vec<Atom> {
            match length {
                1 => Vec::new(),
                _ => vec![Atom::Node(nodes.node(length, Set::from([group]), false))],
            }
        };
        let (out, input) = (self.nodes.size(&weight[0]), self.nodes.size(&weight[1]));
        let outputs = inside(&mut self.nodes, out / groups);
        let with_group = |atoms: &[Atom]| -> Expr {
            vec![[Atom::Node(group)].into_iter().chain(atoms.iter().cloned()).collect()]
        };
        self.unify(&weight[0], &with_group(&outputs));
        if input > 1 {
            let normal = self.nodes.normal(&weight[1]);
            match normal.as_slice() {
                // Nothing else has used it: its order may differ in each group of outputs.
                [term] if matches!(term.as_slice(), [Atom::Node(id)] if self.nodes.is_new(*id)) => {
                    for id in self.nodes.leaves(&normal) {
                        self.nodes.set_deps(id, Set::from([group]));
                    }
                    let [term] = normal.as_slice() else { return };
                    self.unify(&x[1], &with_group(term));
                }
                _ => {
                    let inputs = inside(&mut self.nodes, input);
                    self.unify(&weight[1], &vec![inputs.clone()]);
                    self.unify(&x[1], &with_group(&inputs));
                }
            }
        } else {
            self.unify(&x[1], &with_group(&[]));
        }
        let gone = self.nodes.leaves(&weight[1]);
        self.nodes.drop_deps(&weight[0], &gone);
        self.nodes.drop_deps(&x[0], &gone);
        let mut allowed = self.nodes.leaves(&vec![vec![Atom::Node(group)]]);
        allowed.extend(&gone);
        self.nodes.keep_deps(&weight[1], &allowed);
    }

    fn slice(&mut self, axis: &Expr, cut: Option<Cut>, length: usize) -> Expr {
        let size = self.nodes.size(axis);
        let cut = match cut {
            Some((0, end)) if end == size => return axis.clone(),
            Some((start, end)) => {
                let made = [start, end].iter().try_for_each(|at| self.nodes.cut(axis, *at));
                made.map(|()| (start, end))
            }
            None => Err(Stuck),
        };
        match cut {
            Ok((start, end)) => self.nodes.between(axis, start, end),
            Err(Stuck) => {
                self.pin(axis, "a part of this axis is taken that is no whole number of units");
                self.nodes.axis(length, true)
            }
        }
    }

    fn reshape(&mut self, own: &[Expr], from: &[usize], to: &[usize]) -> Vec<Expr> {
        let mut out: Vec<Expr> = to.iter().map(|_| one()).collect();
        for Group { inputs, outputs } in groups(from, to) {
            let whole: Expr = vec![inputs.iter().map(|axis| Atom::Sum(own[*axis].clone())).collect()];
            let long: Vec<usize> = outputs.into_iter().filter(|axis| to[*axis] > 1).collect();
            if let [only] = long.as_slice() {
                out[*only] = self.nodes.normal(&whole);
                continue;
            }
            let lengths: Vec<usize> = long.iter().map(|axis| to[*axis]).collect();
            match self.nodes.divide(&whole, &lengths) {
                Ok(parts) => long.iter().zip(parts).for_each(|(axis, part)| out[*axis] = part),
                Err(Stuck) => {
                    self.pin(&whole, "the new axes cut units in two");
                    for axis in long {
                        out[axis] = self.nodes.axis(to[axis], true);
                    }
                }
            }
        }
        out
    }

    /// Drops dependences that a tensor cannot follow: the index of what a node depends on must be readable from where the node stands, in its
    /// own product, or along exactly one other axis.
    fn sound(&mut self, axes: &[Expr]) -> bool {
        let normal: Vec<Expr> = axes.iter().map(|axis| self.nodes.normal(axis)).collect();
        let everywhere: Vec<Set> = normal.iter().map(everywhere).collect();
        let anywhere: Vec<Set> = normal.iter().map(|axis| self.nodes.leaves(axis)).collect();
        let mut changed = false;
        for (at, axis) in normal.iter().enumerate() {
            for term in axis {
                for atom in term {
                    changed |= self.sound_atom(atom, term, at, &everywhere, &anywhere);
                }
            }
        }
        changed
    }

    fn sound_atom(
        &mut self,
        atom: &Atom,
        term: &[Atom],
        at: usize,
        everywhere: &[Set],
        anywhere: &[Set],
    ) -> bool {
        let id = match atom {
            Atom::Node(id) => *id,
            Atom::Sum(expr) => {
                let mut changed = false;
                for inner in expr {
                    // Inside a sum the factors in front of it are the product's too.
                    let whole: Vec<Atom> =
                        term.iter().filter(|other| *other != atom).chain(inner).cloned().collect();
                    for atom in inner {
                        changed |= self.sound_atom(atom, &whole, at, everywhere, anywhere);
                    }
                }
                return changed;
            }
        };
        let deps = self.nodes.deps(id);
        let readable = |dep: &usize| match term.iter().filter(|other| **other == Atom::Node(*dep)).count() {
            0 => {
                let others = (0..everywhere.len()).filter(|other| *other != at);
                let whole = others.clone().filter(|other| everywhere[*other].contains(dep)).count();
                let any = others.filter(|other| anywhere[*other].contains(dep)).count();
                whole == 1 && any == 1
            }
            count => count == 1,
        };
        let kept: Set = deps.iter().copied().filter(readable).collect();
        let changed = kept.len() < deps.len();
        self.nodes.set_deps(id, kept);
        changed
    }

    /// What the nodes of an axis depend on outside of their products is read from one other axis.
    fn one_side(&mut self, axes: &[Expr]) -> bool {
        let normal: Vec<Expr> = axes.iter().map(|axis| self.nodes.normal(axis)).collect();
        let mut changed = false;
        for (at, axis) in normal.iter().enumerate() {
            let mut outside = Set::new();
            for term in axis {
                for id in self.nodes.leaves(&vec![term.clone()]) {
                    let deps = self.nodes.deps(id);
                    outside.extend(deps.into_iter().filter(|dep| !term.contains(&Atom::Node(*dep))));
                }
            }
            let readable =
                (0..normal.len()).any(|other| other != at && outside.is_subset(&everywhere(&normal[other])));
            if !outside.is_empty() && !readable {
                self.nodes.drop_deps(axis, &outside);
                changed = true;
            }
        }
        changed
    }

    /// What only shows at the end: pinned nodes are no parents, a node lies in all that its parents lie in, and all tensors can follow.
    fn settle(&mut self, graph: &Graph<'_>) {
        let ids: BTreeSet<u64> = self.axes.keys().copied().collect();
        let tensors: Vec<(bool, Vec<Expr>)> =
            ids.into_iter().map(|id| (graph.parameters.contains_key(&id), self.axes[&id].clone())).collect();
        loop {
            let mut changed = false;
            for (parameter, axes) in &tensors {
                changed |= self.sound(axes);
                if *parameter {
                    changed |= self.one_side(axes);
                }
                for id in self.nodes.leaves_of(axes) {
                    let deps = self.nodes.deps(id);
                    let holds = |dep: &usize| {
                        !self.nodes.is_pinned(*dep)
                            && self.nodes.deps(*dep).iter().all(|other| {
                                *other != id && (deps.contains(other) || self.nodes.is_pinned(*other))
                            })
                    };
                    let kept: Set = deps.iter().copied().filter(holds).collect();
                    changed |= kept.len() < deps.len();
                    self.nodes.set_deps(id, kept);
                }
            }
            if !changed {
                return;
            }
        }
    }
}

/// The nodes that all products of an axis have.
fn everywhere(axis: &Expr) -> Set {
    let of = |term: &Vec<Atom>| -> Set {
        term.iter()
            .filter_map(|atom| match atom {
                Atom::Node(id) => Some(*id),
                Atom::Sum(_) => None,
            })
            .collect()
    };
    let mut terms = axis.iter();
    let first = terms.next().map(of).unwrap_or_default();
    terms.fold(first, |all, term| &all & &of(term))
}
