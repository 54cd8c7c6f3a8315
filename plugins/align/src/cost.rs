//! What it is worth to put a unit of one model into a slot of another, given where all other units are: the costs of weight matching.
//!
//! The objective is f(π) = Σ ⟨A, π(B)⟩ over all trained tensors, which is maximal where ‖A − π(B)‖² is least. For the units X of a family
//! (`family`), with all other nodes fixed, f is a sum over tensors of K[x, y] = Σ_r A[x, r] · π(B)[y, r], where r goes over everything
//! else in the tensor (`block`), and x and y over the indices of the family's nodes in it. Tensors in which the same nodes meet share one
//! K, a [`Joint`]; for a family of one node there is one, the n × n matrix of its costs.
//!
//! Tensors are read one pair at a time, and a pinned leading axis (the vocabulary) in pieces, so memory is bounded by the largest pair and
//! n² sums. Products are computed in f32 over at most `PANEL` terms and added up in f64 (`gram`); with `Precision::Double` everything is
//! f64. Output rows are computed in fixed blocks, so results do not depend on threads.

mod block;
mod gram;
mod joint;
mod kept;
mod real;

use std::borrow::Cow;

use fusion_sdk::align::{Candidate, Source};
use fusion_sdk::alignment::Gather;
use fusion_sdk::symmetry::{Axis, Factor, NodeId, Symmetries, TensorAxes, TensorRole};
use fusion_sdk::{Context, ErrorKind, MethodError, Words};

use crate::family::Family;
use crate::state::State;

pub(crate) use joint::Joint;
pub(crate) use kept::Kept;
pub(crate) use real::Real;

/// Precision of costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Precision {
    /// products in f32, sums in f64
    Single,
    /// f64 throughout; for models that are stored so
    Double,
}

/// Most units of nodes that meet in one tensor: costs of 8 GiB.
const LONGEST: usize = 1 << 15;

/// Which of a family's tensors count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// All.
    All,
    /// Those that make its units, as far as all their other nodes are marked as settled (by node): one pass from the input.
    Incoming(&'a [bool]),
}

/// Two models of one network, of which the second is brought over.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    /// Of both.
    pub(crate) symmetries: &'a Symmetries,
    /// The one that counts.
    pub(crate) a: &'a dyn Source,
    /// The one that is brought over.
    pub(crate) b: &'a dyn Source,
    /// Their names, for errors.
    pub(crate) names: [&'a str; 2],
    /// Of products.
    pub(crate) precision: Precision,
    /// Threads, and whether to stop.
    pub(crate) context: Context<'a>,
}

impl<'a> Pair<'a> {
    /// Of two candidates with the same symmetries.
    pub(crate) fn of(
        a: &Candidate<'a>,
        b: &Candidate<'a>,
        precision: Precision,
        context: Context<'a>,
    ) -> Pair<'a> {
        let names = [a.name, b.name];
        Pair { symmetries: b.symmetries, a: a.source, b: b.source, names, precision, context }
    }

    /// The costs of a family, with all other nodes (and for a quadratic family its own units on other axes) where `state` has them. Larger
    /// is better.
    ///
    /// # Errors
    /// A source cannot be read, a value is not finite (with model and tensor), or the user asked to stop.
    pub(crate) fn joints(
        &self,
        family: &Family,
        state: &State,
        which: Which<'_>,
    ) -> Result<Vec<Joint>, MethodError> {
        let mut joints = Vec::new();
        let mut rooms = Rooms::default();
        self.add(family, (None, state), which, &family.tensors, true, &mut joints, &mut rooms)?;
        Ok(joints)
    }

    /// How many values the costs of a family are.
    ///
    /// # Errors
    /// More than fit in memory: many units of several nodes meet in one tensor (grouped convolutions with large groups).
    pub(crate) fn size(&self, family: &Family) -> Result<usize, MethodError> {
        let mut met: Vec<Vec<NodeId>> = Vec::new();
        for &tensor in &family.tensors {
            for turn in block::turns(self.symmetries, &self.symmetries.tensors[tensor], family) {
                if !met.contains(&turn.nodes) {
                    met.push(turn.nodes);
                }
            }
        }
        let mut all = 0;
        for nodes in met {
            let length: usize = nodes.iter().map(|id| self.symmetries.node(*id).size).product();
            if length > LONGEST {
                let names: Vec<&str> =
                    nodes.iter().map(|id| self.symmetries.node(*id).name.as_str()).collect();
                return Err(MethodError::new(
                    ErrorKind::Shape,
                    format!(
                        "`{}` meet in one tensor with {length} units: their costs do not fit in memory",
                        names.join("`, `")
                    ),
                )
                .help("pin the innermost of them"));
            }
            all += length * length;
        }
        Ok(all)
    }

    /// Adds what some tensors contribute to the costs of a family; from where `before` had the other nodes, only what has changed since. `check`:
    /// whether to look for values that are not finite.
    #[expect(clippy::too_many_arguments, reason = "states, tensors, sums and memory; each is another thing")]
    fn add(
        &self,
        family: &Family,
        states: (Option<&State>, &State),
        which: Which<'_>,
        tensors: &[usize],
        check: bool,
        joints: &mut Vec<Joint>,
        rooms: &mut Rooms,
    ) -> Result<(), MethodError> {
        match self.precision {
            Precision::Single => self.add_in::<f32>(family, states, which, tensors, check, joints, rooms),
            Precision::Double => self.add_in::<f64>(family, states, which, tensors, check, joints, rooms),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn add_in<T: Real>(
        &self,
        family: &Family,
        (before, state): (Option<&State>, &State),
        which: Which<'_>,
        tensors: &[usize],
        check: bool,
        joints: &mut Vec<Joint>,
        rooms: &mut Rooms,
    ) -> Result<(), MethodError> {
        let mut waiting = Waiting::<T>::default();
        for &tensor in tensors {
            let described = &self.symmetries.tensors[tensor];
            let wanted = |turn: &block::Turn| match which {
                Which::All => true,
                Which::Incoming(settled) => turn.incoming(self.symmetries, described, settled),
            };
            for piece in pieces(self.symmetries, tensor) {
                let turns = block::turns(self.symmetries, &piece.described, family);
                // Every turn with its terms; none of them where nothing has moved.
                let layouts: Vec<_> = turns
                    .into_iter()
                    .filter(wanted)
                    .map(|turn| {
                        let layout = turn.layout(self.symmetries, before, state);
                        (turn, layout)
                    })
                    .filter(|(_, layout)| !layout.own.is_empty())
                    .collect();
                if layouts.is_empty() {
                    continue;
                }
                self.context.check()?;
                let a = self.values::<T>(0, tensor, &piece, check, &mut waiting.spare)?;
                let b = self.values::<T>(1, tensor, &piece, check, &mut waiting.spare)?;
                for (turn, layout) in layouts {
                    let joint = joint::of(joints, self.symmetries, &turn.nodes);
                    waiting.layouts.push((joint, waiting.values.len(), layout));
                }
                waiting.elements += piece.elements;
                waiting.values.push([a, b]);
                if waiting.elements >= WAITING {
                    waiting.add(self.context, joints, T::room(rooms))?;
                }
            }
        }
        waiting.add(self.context, joints, T::room(rooms))
    }

    /// f: the sum of products of all trained tensors, in f64 (products of f64 with `Precision::Double`), in a fixed order.
    ///
    /// # Errors
    /// As for [`Pair::joints`].
    pub(crate) fn objective(&self, state: &State) -> Result<f64, MethodError> {
        let trained = (0..self.symmetries.tensors.len())
            .filter(|tensor| self.symmetries.tensors[*tensor].role == TensorRole::Parameter);
        self.objective_of(state, trained)
    }

    /// The part of f that these tensors contribute.
    ///
    /// # Errors
    /// As for [`Pair::joints`].
    pub(crate) fn objective_of(
        &self,
        state: &State,
        tensors: impl IntoIterator<Item = usize>,
    ) -> Result<f64, MethodError> {
        let mut sum = 0.0;
        for tensor in tensors {
            sum += match self.precision {
                Precision::Single => self.product::<f32>(state, tensor)?,
                Precision::Double => self.product::<f64>(state, tensor)?,
            };
        }
        Ok(sum)
    }

    fn product<T: Real>(&self, state: &State, tensor: usize) -> Result<f64, MethodError> {
        let mut spare = Vec::new();
        let mut sum = 0.0;
        for piece in pieces(self.symmetries, tensor) {
            self.context.check()?;
            let a = self.values::<T>(0, tensor, &piece, false, &mut spare)?;
            let b = self.values::<T>(1, tensor, &piece, false, &mut spare)?;
            let alone = Symmetries {
                origin: self.symmetries.origin.clone(),
                nodes: self.symmetries.nodes.clone(),
                tensors: vec![piece.described.as_ref().clone()],
                notes: Vec::new(),
            };
            let gather = state.alignment(&alone, &alone).gather(&alone, 0);
            let gather = gather.map_err(|error| MethodError::invalid(error.to_string()))?;
            let part = moved_dot(&a, &b, &gather);
            // A value that is not finite makes the sum so.
            if !part.is_finite() {
                self.check::<T>(0, tensor, &piece, &a)?;
                self.check::<T>(1, tensor, &piece, &b)?;
            }
            sum += part;
            keep(a, &mut spare);
            keep(b, &mut spare);
        }
        Ok(sum)
    }

    /// A piece of a tensor of model 0 or 1: where it lies in memory, or read into spare room.
    fn values<T: Real>(
        &self,
        model: usize,
        tensor: usize,
        piece: &Piece<'_>,
        check: bool,
        spare: &mut Vec<Vec<T>>,
    ) -> Result<Cow<'a, [T]>, MethodError> {
        let source = if model == 0 { self.a } else { self.b };
        let held =
            T::held(source, tensor).and_then(|held| held.get(piece.start..piece.start + piece.elements));
        let values = match held {
            Some(held) => Cow::Borrowed(held),
            None => {
                let mut room = spare.pop().unwrap_or_default();
                room.resize(piece.elements, T::default());
                T::read(source, tensor, piece.start, &mut room)?;
                Cow::Owned(room)
            }
        };
        if check {
            self.check(model, tensor, piece, &values)?;
        }
        Ok(values)
    }

    /// Looks for values that are not finite.
    fn check<T: Real>(
        &self,
        model: usize,
        tensor: usize,
        piece: &Piece<'_>,
        values: &[T],
    ) -> Result<(), MethodError> {
        let fine = fusion_sdk::simd(
            #[inline(always)]
            || finite(values),
        );
        if fine {
            return Ok(());
        }
        let at = values.iter().position(|value| !value.wide().is_finite()).unwrap_or(0);
        let name = &self.symmetries.tensors[tensor].name;
        Err(crate::ports::not_finite(self.names[model], name, piece.start + at, values[at].wide()))
    }
}

/// Memory that products use again.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    single: gram::Room<f32>,
    double: gram::Room<f64>,
}

/// Elements of a model whose products wait for each other, so that the sums of a family are gone through once for several small tensors.
const WAITING: usize = 1 << 20;

/// Values whose products are still to be taken.
#[derive(Default)]
struct Waiting<'a, T: Real> {
    values: Vec<[Cow<'a, [T]>; 2]>,
    /// Joint, values, and where their elements are.
    layouts: Vec<(usize, usize, block::Layout)>,
    elements: usize,
    spare: Vec<Vec<T>>,
}

impl<T: Real> Waiting<'_, T> {
    /// Adds them to the joints.
    fn add(
        &mut self,
        context: Context<'_>,
        joints: &mut [Joint],
        room: &mut gram::Room<T>,
    ) -> Result<(), MethodError> {
        for (at, joint) in joints.iter_mut().enumerate() {
            let own = self.layouts.iter().filter(|(joint, ..)| *joint == at);
            let parts: Vec<gram::Part<'_, T>> = own
                .map(|(_, values, layout)| {
                    let [a, b] = &self.values[*values];
                    gram::Part { a, b, layout }
                })
                .collect();
            gram::accumulate(context, &parts, room, &mut joint.values)?;
        }
        self.layouts.clear();
        self.elements = 0;
        for [a, b] in self.values.drain(..) {
            keep(a, &mut self.spare);
            keep(b, &mut self.spare);
        }
        Ok(())
    }
}

/// Puts room aside that is needed no more: that of two models.
fn keep<T: Clone>(values: Cow<'_, [T]>, spare: &mut Vec<Vec<T>>) {
    if let Cow::Owned(room) = values
        && spare.len() < 2
    {
        spare.push(room);
    }
}

/// Elements that are brought together before they are multiplied.
const GATHERED: usize = 2048;

/// Σ a[i] · b[g(i)] in f64.
fn moved_dot<T: Real>(a: &[T], b: &[T], gather: &Gather) -> f64 {
    let dot = |a: &[T], b: &[T]| {
        fusion_sdk::simd(
            #[inline(always)]
            || dot(a, b),
        )
    };
    if gather.is_still() {
        return dot(a, b);
    }
    let (mut near, mut sum) = (vec![T::default(); GATHERED], 0.0);
    gather.rows(|target, source, table, block| {
        let own = &b[source..source + table.len() * block];
        let mut a = &a[target..target + table.len() * block];
        for table in table.chunks((GATHERED / block.max(1)).max(1)) {
            let (part, rest) = a.split_at(table.len() * block);
            a = rest;
            if block == 1 {
                near.iter_mut().zip(table).for_each(|(to, from)| *to = own[*from as usize]);
                sum += dot(part, &near[..part.len()]);
            } else if block > GATHERED {
                let from = table[0] as usize * block;
                sum += dot(part, &own[from..from + block]);
            } else {
                for (to, from) in near.chunks_exact_mut(block).zip(table) {
                    let from = *from as usize * block;
                    to.copy_from_slice(&own[from..from + block]);
                }
                sum += dot(part, &near[..part.len()]);
            }
        }
    });
    sum
}

/// Whether all values are finite: a product with 0 is 0, or else NaN.
#[inline(always)]
fn finite<T: Real>(values: &[T]) -> bool {
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|value| value.wide() * 0.0).sum();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value.wide() * 0.0);
    }
    sums.iter().sum::<f64>() + rest == 0.0
}

/// Σ a·b in f64, in eight sums.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = left.remainder().iter().zip(right.remainder());
    let rest: f64 = rest.map(|(a, b)| a.wide() * b.wide()).sum();
    for (a, b) in left.zip(right) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a.wide() * b.wide());
    }
    sums.iter().sum::<f64>() + rest
}

/// A run of a tensor's elements that is a tensor itself.
struct Piece<'a> {
    start: usize,
    elements: usize,
    described: Cow<'a, TensorAxes>,
}

/// Elements that a piece has at most, where a tensor can be cut.
const PIECE: usize = 1 << 24;

/// A tensor as a whole, or cut along a leading axis whose positions all stay.
fn pieces(symmetries: &Symmetries, tensor: usize) -> Vec<Piece<'_>> {
    let described = &symmetries.tensors[tensor];
    let elements: usize = symmetries.shape(tensor).iter().product();
    let pinned = |axis: &Axis| {
        axis.segments.len() == 1 && axis.segments[0].iter().all(|factor| matches!(factor, Factor::Pinned(_)))
    };
    if elements <= PIECE || !described.axes.first().is_some_and(pinned) {
        return vec![Piece { start: 0, elements, described: Cow::Borrowed(described) }];
    }
    let rows = symmetries.axis_length(&described.axes[0]);
    let row = elements / rows;
    let step = (PIECE / row.max(1)).max(1);
    let each = (0..rows).step_by(step).map(|first| {
        let count = step.min(rows - first);
        let mut described = described.clone();
        described.axes[0].segments = vec![vec![Factor::Pinned(count)]];
        Piece { start: first * row, elements: count * row, described: Cow::Owned(described) }
    });
    each.collect()
}

/// Whether a node is among factors.
fn is_node(factor: Factor, id: NodeId) -> bool {
    factor == Factor::Node(id)
}

#[cfg(test)]
mod tests;
