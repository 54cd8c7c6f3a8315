//! Axis expressions while they are being inferred: sums of products of nodes, where nodes are split, cut, merged and pinned as more of
//! the graph is seen.
//!
//! A node's *dependence set* holds the nodes that it has one transform for each index of. All changes make the group of transforms smaller:
//! splitting and cutting restrict it to permutations of parts, merging ties two nodes and keeps the dependences that both have, pinning and
//! dropping take freedom away. So whatever an operation was found to allow before still holds.

use std::collections::BTreeSet;

/// A factor of a product.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Atom {
    /// A node of [`Nodes`].
    Node(usize),
    /// Products behind each other, inside a product.
    Sum(Expr),
}

/// Factors in row-major order, the slowest first; none for a length of 1.
pub(super) type Term = Vec<Atom>;

/// Products behind each other.
pub(super) type Expr = Vec<Term>;

/// Set of nodes.
pub(super) type Set = BTreeSet<usize>;

/// An axis of length 1.
pub(super) fn one() -> Expr {
    vec![Vec::new()]
}

/// Two expressions that have no common refinement, or a cut in a place that cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck;

#[derive(Clone, Debug)]
struct State {
    size: usize,
    deps: Set,
    pinned: bool,
    /// Neither split nor merged so far.
    new: bool,
    /// What it was split into, or merged with.
    sub: Option<Expr>,
}

/// All nodes of an inference.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    all: Vec<State>,
}

impl Nodes {
    /// A new node; `size` is above 1.
    pub(super) fn node(&mut self, size: usize, deps: Set, pinned: bool) -> usize {
        self.all.push(State { size, deps, pinned, new: true, sub: None });
        self.all.len() - 1
    }

    /// An axis of its own.
    pub(super) fn axis(&mut self, size: usize, pinned: bool) -> Expr {
        match size {
            1 => one(),
            _ => vec![vec![Atom::Node(self.node(size, Set::new(), pinned))]],
        }
    }

    /// Replaces split and merged nodes by what they are now, and writes out products of sums as far as that keeps the order.
    pub(super) fn normal(&self, expr: &Expr) -> Expr {
        expr.iter().flat_map(|term| self.normal_term(term)).collect()
    }

    fn normal_term(&self, term: &[Atom]) -> Expr {
        let mut done = Term::new();
        for (at, atom) in term.iter().enumerate() {
            let inner = match atom {
                Atom::Sum(expr) => self.normal(expr),
                Atom::Node(id) => match &self.all[*id].sub {
                    None => {
                        done.push(Atom::Node(*id));
                        continue;
                    }
                    Some(sub) => self.normal(sub),
                },
            };
            if let [only] = inner.as_slice() {
                done.extend(only.iter().cloned());
            } else if done.is_empty() {
                let rest = self.normal_term(&term[at + 1..]);
                let with_rest = |mut head: Term| -> Expr {
                    match rest.as_slice() {
                        [only] => head.extend(only.iter().cloned()),
                        _ if head.is_empty() => return rest.clone(),
                        _ => head.push(Atom::Sum(rest.clone())),
                    }
                    vec![head]
                };
                return inner.into_iter().flat_map(with_rest).collect();
            } else {
                done.push(Atom::Sum(inner));
            }
        }
        vec![done]
    }

    pub(super) fn atom_size(&self, atom: &Atom) -> usize {
        match atom {
            Atom::Node(id) => self.all[*id].size,
            Atom::Sum(expr) => self.size(expr),
        }
    }

    pub(super) fn term_size(&self, term: &[Atom]) -> usize {
        term.iter().map(|atom| self.atom_size(atom)).product()
    }

    /// Length of an axis.
    pub(super) fn size(&self, expr: &Expr) -> usize {
        expr.iter().map(|term| self.term_size(term)).sum()
    }

    /// The nodes of an axis.
    pub(super) fn leaves(&self, expr: &Expr) -> Set {
        let mut found = Set::new();
        collect(&self.normal(expr), &mut found);
        found
    }

    /// The nodes of several axes.
    pub(super) fn leaves_of<'a>(&self, axes: impl IntoIterator<Item = &'a Expr>) -> Set {
        axes.into_iter().flat_map(|expr| self.leaves(expr)).collect()
    }

    /// What a node depends on now. A dependence on a node that was cut in pieces is none: no index says the piece.
    pub(super) fn deps(&self, id: usize) -> Set {
        let mut found = Set::new();
        for dep in &self.all[id].deps {
            let now = self.normal_term(&[Atom::Node(*dep)]);
            if let [only] = now.as_slice() {
                found.extend(only.iter().filter_map(|atom| match atom {
                    Atom::Node(id) => Some(*id),
                    Atom::Sum(_) => None,
                }));
            }
        }
        found.remove(&id);
        found
    }

    pub(super) fn set_deps(&mut self, id: usize, deps: Set) {
        self.all[id].deps = deps;
    }

    pub(super) fn node_size(&self, id: usize) -> usize {
        self.all[id].size
    }

    pub(super) fn is_pinned(&self, id: usize) -> bool {
        self.all[id].pinned
    }

    /// Whether a node is as it was made: nothing is known of it.
    pub(super) fn is_new(&self, id: usize) -> bool {
        let state = &self.all[id];
        state.new && state.sub.is_none() && state.deps.is_empty() && !state.pinned
    }

    /// Pins all nodes of an axis; says whether one was free.
    pub(super) fn pin(&mut self, expr: &Expr) -> bool {
        let mut any = false;
        for id in self.leaves(expr) {
            any |= !std::mem::replace(&mut self.all[id].pinned, true);
        }
        any
    }

    /// Takes dependences of an axis' nodes away.
    pub(super) fn drop_deps(&mut self, expr: &Expr, removed: &Set) {
        for id in self.leaves(expr) {
            let deps = &self.deps(id) - removed;
            self.all[id].deps = deps;
        }
    }

    /// Leaves an axis' nodes only these dependences.
    pub(super) fn keep_deps(&mut self, expr: &Expr, kept: &Set) {
        for id in self.leaves(expr) {
            let deps = &self.deps(id) & kept;
            self.all[id].deps = deps;
        }
    }

    /// Splits a node into `outer` blocks, in each of which the rest has a transform of its own.
    fn split(&mut self, id: usize, outer: usize) -> Result<(), Stuck> {
        let State { size, pinned, ref deps, .. } = self.all[id];
        if outer < 2 || !size.is_multiple_of(outer) || size / outer < 2 {
            return Err(Stuck);
        }
        let deps = deps.clone();
        let blocks = self.node(outer, deps.clone(), pinned);
        let mut inside = deps;
        inside.insert(blocks);
        let rest = self.node(size / outer, inside, pinned);
        self.all[blocks].new = false;
        self.all[rest].new = false;
        self.all[id].sub = Some(vec![vec![Atom::Node(blocks), Atom::Node(rest)]]);
        Ok(())
    }

    /// Cuts a node into its first `at` units and the others.
    fn cut_node(&mut self, id: usize, at: usize) {
        let State { size, pinned, ref deps, .. } = self.all[id];
        let deps = deps.clone();
        let pieces = [at, size - at].map(|length| match length {
            1 => Vec::new(),
            _ => {
                let piece = self.node(length, deps.clone(), pinned);
                self.all[piece].new = false;
                vec![Atom::Node(piece)]
            }
        });
        self.all[id].sub = Some(pieces.to_vec());
    }

    fn cut_term(&mut self, term: &[Atom], at: usize) -> Result<(), Stuck> {
        let Some((Atom::Node(first), rest)) = term.split_first() else { return Err(Stuck) };
        let inner = self.term_size(rest);
        if !at.is_multiple_of(inner) {
            return Err(Stuck);
        }
        self.cut_node(*first, at / inner);
        Ok(())
    }

    /// Writes what the nodes of an expression have become to the nodes: an axis that is cut step by step is else a long chain.
    fn shorten(&mut self, expr: &Expr) {
        for atom in expr.iter().flatten() {
            if let Atom::Node(id) = atom
                && let Some(sub) = &self.all[*id].sub
            {
                self.all[*id].sub = Some(self.normal(sub));
            }
        }
    }

    /// Makes a boundary between products at a position of an axis.
    pub(super) fn cut(&mut self, expr: &Expr, at: usize) -> Result<(), Stuck> {
        self.shorten(expr);
        'again: loop {
            let mut before = 0;
            for term in self.normal(expr) {
                let size = self.term_size(&term);
                if before < at && at < before + size {
                    self.cut_term(&term, at - before)?;
                    continue 'again;
                }
                before += size;
            }
            return Ok(());
        }
    }

    /// The products between two positions that have boundaries.
    pub(super) fn between(&self, expr: &Expr, start: usize, end: usize) -> Expr {
        let mut before = 0;
        let mut found = Expr::new();
        for term in self.normal(expr) {
            if start <= before && before < end {
                found.push(term.clone());
            }
            before += self.term_size(&term);
        }
        found
    }

    /// Ties two nodes of one size.
    fn merge(&mut self, a: usize, b: usize) {
        let (a, b) = (a.min(b), a.max(b));
        let mut deps = &self.deps(a) & &self.deps(b);
        deps.remove(&a);
        deps.remove(&b);
        let pinned = self.all[b].pinned;
        let kept = &mut self.all[a];
        kept.deps = deps;
        kept.pinned |= pinned;
        kept.new = false;
        self.all[b].sub = Some(vec![vec![Atom::Node(a)]]);
    }

    /// Ties two axes: refines both until they are the same.
    ///
    /// # Errors
    /// There is no common refinement; what was refined so far stays, and the caller pins both.
    pub(super) fn unify(&mut self, x: &Expr, y: &Expr) -> Result<(), Stuck> {
        loop {
            let (a, b) = (self.normal(x), self.normal(y));
            if a == b {
                return Ok(());
            }
            // Every step replaces a node for good, so this ends.
            self.step(&a, &b)?;
        }
    }

    fn step(&mut self, a: &Expr, b: &Expr) -> Result<(), Stuck> {
        if self.size(a) != self.size(b) {
            return Err(Stuck);
        }
        if let ([p], [q]) = (a.as_slice(), b.as_slice()) {
            return self.step_term(p, q);
        }
        for (p, q) in a.iter().zip(b) {
            if p == q {
                continue;
            }
            let (long, short) = (self.term_size(p), self.term_size(q));
            return match long.cmp(&short) {
                std::cmp::Ordering::Equal => self.step_term(p, q),
                std::cmp::Ordering::Greater => self.cut_term(p, short),
                std::cmp::Ordering::Less => self.cut_term(q, long),
            };
        }
        Err(Stuck)
    }

    fn step_term(&mut self, p: &Term, q: &Term) -> Result<(), Stuck> {
        for (f, g) in p.iter().zip(q) {
            if f == g {
                continue;
            }
            let (long, short) = (self.atom_size(f), self.atom_size(g));
            return match (f, g) {
                _ if long < short => self.split_atom(g, long),
                _ if long > short => self.split_atom(f, short),
                (Atom::Node(a), Atom::Node(b)) => {
                    self.merge(*a, *b);
                    Ok(())
                }
                (Atom::Sum(x), Atom::Sum(y)) => self.unify(x, y),
                (Atom::Sum(x), Atom::Node(id)) | (Atom::Node(id), Atom::Sum(x)) => {
                    self.unify(&vec![vec![Atom::Node(*id)]], x)
                }
            };
        }
        Err(Stuck)
    }

    fn split_atom(&mut self, atom: &Atom, outer: usize) -> Result<(), Stuck> {
        match atom {
            Atom::Node(id) => self.split(*id, outer),
            Atom::Sum(_) => Err(Stuck),
        }
    }

    /// Divides an axis into axes of these lengths, none of them 1.
    ///
    /// # Errors
    /// A boundary falls into what cannot be split.
    pub(super) fn divide(&mut self, expr: &Expr, lengths: &[usize]) -> Result<Vec<Expr>, Stuck> {
        let mut need = 1;
        for length in lengths.iter().rev().skip(1).rev() {
            need *= length;
            self.boundary(expr, need)?;
        }
        let normal = self.normal(expr);
        let [term] = normal.as_slice() else { return Err(Stuck) };
        let mut atoms = term.iter();
        let mut found = Vec::with_capacity(lengths.len());
        for length in lengths {
            let mut part = Term::new();
            while self.term_size(&part) < *length {
                part.push(atoms.next().ok_or(Stuck)?.clone());
            }
            if self.term_size(&part) != *length {
                return Err(Stuck);
            }
            found.push(self.normal(&vec![part]));
        }
        Ok(found)
    }

    /// Makes the first factors' product `need`.
    fn boundary(&mut self, expr: &Expr, need: usize) -> Result<(), Stuck> {
        'again: loop {
            let normal = self.normal(expr);
            let [term] = normal.as_slice() else { return Err(Stuck) };
            let mut before = 1;
            for atom in term {
                if before == need {
                    return Ok(());
                }
                if !need.is_multiple_of(before) {
                    return Err(Stuck);
                }
                if before * self.atom_size(atom) > need {
                    self.split_atom(atom, need / before)?;
                    continue 'again;
                }
                before *= self.atom_size(atom);
            }
            return if before == need { Ok(()) } else { Err(Stuck) };
        }
    }
}

fn collect(normal: &Expr, found: &mut Set) {
    for atom in normal.iter().flatten() {
        match atom {
            Atom::Node(id) => {
                found.insert(*id);
            }
            Atom::Sum(expr) => collect(expr, found),
        }
    }
}
